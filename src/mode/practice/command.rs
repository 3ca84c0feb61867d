//! The commands of the prompt.

use std::{path::PathBuf, time::Duration};

/// A parsed command.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    ChangeFolder(String),
    Download(String),
    Echo(String),
    /// Bytes to generate, as typed, and the file to receive them into.
    Generate {
        size: String,
        into: Option<PathBuf>,
    },
    Help,
    List,
    Quit,
    /// `size` is that of a packet in bytes; without it, each packet is the request.
    Stream {
        count: u32,
        interval: Duration,
        size: Option<u32>,
    },
}

/// Parses a command; `None` for an empty line. The error is the usage of the command.
pub fn parse(line: &str) -> Result<Option<Task>, String> {
    let line = line.trim();
    let (word, rest) =
        line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim()));

    Ok(Some(match word {
        "" => return Ok(None),
        // `ls -l` and the like are no commands here, and are echoed as any other text.
        "help" | "?" if rest.is_empty() => Task::Help,
        "ls" if rest.is_empty() => Task::List,
        "quit" | "exit" if rest.is_empty() => Task::Quit,
        "chdir" | "cd" if !rest.is_empty() => Task::ChangeFolder(rest.to_owned()),
        "dl" if !rest.is_empty() => Task::Download(rest.to_owned()),
        "generate" => generate(rest).ok_or("generate N, or generate N > FILE: N is a number")?,
        "stream" => stream(rest).ok_or("stream [COUNT] [INTERVAL] [SIZE], as: stream 1000 10ms 100")?,
        // A plain number is short for `generate`, as it is the request of the protocol.
        _ => generate(line).unwrap_or_else(|| Task::Echo(line.to_owned())),
    }))
}

/// Parses `N`, or `N > FILE`.
fn generate(text: &str) -> Option<Task> {
    let (size, into) = text.split_once('>').map_or((text, None), |(size, file)| (size, Some(file.trim())));
    let size = size.trim();
    let digits = size.strip_prefix('+').unwrap_or(size);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && into != Some(""))
        .then(|| Task::Generate { size: size.to_owned(), into: into.map(PathBuf::from) })
}

/// Parses `[COUNT] [INTERVAL] [SIZE]`.
fn stream(text: &str) -> Option<Task> {
    let mut words = text.split_whitespace();
    let count = words.next().map_or(Some(COUNT), |word| word.parse().ok())?;
    let interval = words.next().map_or(Some(INTERVAL), time)?;
    let size = words.next().map(str::parse).transpose().ok()?;
    words.next().is_none().then_some(Task::Stream { count, interval, size })
}

/// Parses `10ms`, `0.5s` or `2`: a bare number is seconds.
fn time(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    // f64 would parse signs, exponents and `inf` as well.
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = plain.then(|| number.parse().ok())??;
    Duration::try_from_secs_f64(number * unit).ok()
}

/// Packets of a stream, and their interval, by default.
const COUNT: u32 = 10;
const INTERVAL: Duration = Duration::from_millis(100);

/// The text of `help`.
pub const HELP: &str = "\
any text                          is echoed, in upper case
N  or  generate N [> FILE]        N bytes are made (up to 123456789) and counted, or saved
stream [COUNT] [INTERVAL] [SIZE]  COUNT packets, one every INTERVAL (10 packets, one every 100ms)
ls                                what is in the folder of the server
chdir FOLDER                      go to another one
dl FILE                           download a file
quit                              end
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_as_commands() {
        let stream = |count, ms, size| {
            let interval = Duration::from_millis(ms);
            Ok(Some(Task::Stream { count, interval, size }))
        };
        let generate = |size: &str, into: Option<&str>| {
            Ok(Some(Task::Generate { size: size.into(), into: into.map(PathBuf::from) }))
        };
        let echo = |text: &str| Ok(Some(Task::Echo(text.into())));
        let table = [
            ("  ", Ok(None)),
            ("help", Ok(Some(Task::Help))),
            ("ls", Ok(Some(Task::List))),
            ("ls -l", echo("ls -l")),
            ("quit", Ok(Some(Task::Quit))),
            ("chdir a b", Ok(Some(Task::ChangeFolder("a b".into())))),
            ("dl f", Ok(Some(Task::Download("f".into())))),
            ("dl", echo("dl")),
            ("hello you", echo("hello you")),
            ("1000", generate("1000", None)),
            ("+10 > f", generate("+10", Some("f"))),
            ("generate 5>f g", generate("5", Some("f g"))),
            ("5 >", echo("5 >")),
            ("stream", stream(10, 100, None)),
            ("stream 1000 10ms", stream(1000, 10, None)),
            ("stream 5 0.5s 100", stream(5, 500, Some(100))),
            ("stream 5 2", stream(5, 2000, None)),
        ];

        for (line, wanted) in table {
            assert_eq!(parse(line), wanted, "{line}");
        }

        for line in ["stream x", "stream 5 x", "stream 5 1ms 5 5", "stream 5 -1", "generate", "generate x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
