//! The file conversation: keys, then commands and replies that end in `929Z`.

use std::collections::VecDeque;

/// The first bytes of a server.
pub const SERVER_KEY: &[u8; 19] = b"bthDataComServerKey";

/// The first bytes of our client. A server takes any 19 bytes.
pub const CLIENT_KEY: &[u8; 19] = b"bthDataComClientKey";

/// The end of a command, and of a reply.
pub const END: &[u8] = b"929Z";

/// A command of a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    ChangeFolder(Vec<u8>),
    Download(Vec<u8>),
    /// Anything else: it is sent back as it is.
    Echo(Vec<u8>),
    List,
    Quit,
}

/// The commands of a client, as the server receives them.
#[derive(Debug, Default)]
pub struct CommandReader {
    /// Received bytes, from the first that belongs to no command yet.
    bytes: VecDeque<u8>,
    /// Bytes at the front in which no command ends.
    searched: usize,
    /// The key of the client was received.
    keyed: bool,
}

/// A command exceeds [`MAX_COMMAND`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong;

impl CommandReader {
    /// Takes received bytes.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Returns the next complete command. `None`: more bytes are needed.
    pub fn next_command(&mut self) -> Result<Option<Command>, TooLong> {
        if !self.keyed {
            if self.bytes.len() < CLIENT_KEY.len() {
                return Ok(None);
            }
            self.bytes.drain(..CLIENT_KEY.len());
            self.keyed = true;
        }

        let bytes = self.bytes.make_contiguous();
        let from = self.searched;
        let Some(end) = bytes[from..].windows(END.len()).position(|end| end == END).map(|at| from + at)
        else {
            // An end may be in part received.
            self.searched = bytes.len().saturating_sub(END.len() - 1);
            return if bytes.len() > MAX_COMMAND { Err(TooLong) } else { Ok(None) };
        };
        // One read may bring a command that is too long together with its end.
        if end > MAX_COMMAND {
            return Err(TooLong);
        }

        let command = parse(&bytes[..end]);
        self.bytes.drain(..end + END.len());
        self.searched = 0;
        Ok(Some(command))
    }
}

/// Parses a command without its end. Never fails: the rest is echoed.
fn parse(text: &[u8]) -> Command {
    // A command typed into a plain netcat is followed by a line end.
    let typed = text.trim_ascii();
    let argument = |word: &[u8]| typed.strip_prefix(word).map(<[u8]>::trim_ascii).map(<[u8]>::to_vec);
    match typed {
        b"ls" => Command::List,
        b"quit" => Command::Quit,
        _ => match (argument(b"chdir "), argument(b"dl ")) {
            (Some(folder), _) => Command::ChangeFolder(folder),
            (_, Some(file)) => Command::Download(file),
            _ => Command::Echo(text.to_vec()),
        },
    }
}

/// Formats the reply to `ls`.
pub fn listing(path: &[u8], folders: &[Vec<u8>], files: &[Vec<u8>]) -> Vec<u8> {
    let lines = |names: &[Vec<u8>]| {
        let listed = names.iter().filter(|name| is_listed(name));
        listed.flat_map(|name| [&name[..], b"\n"].concat()).collect::<Vec<u8>>()
    };
    let (folders, files) = (lines(folders), lines(files));
    ended(
        [b"Current Working Directory: ", path, b"\n\nFolders: \n\n", &folders, b"Files: \n\n", &files]
            .concat(),
    )
}

/// Formats the reply to a successful `chdir`.
pub fn changed(path: &[u8]) -> Vec<u8> {
    ended([CHANGED, path].concat())
}

/// Returns the folder in a reply to `chdir` without its end; `None` for a failure.
pub fn changed_to(reply: &[u8]) -> Option<&[u8]> {
    reply.strip_prefix(CHANGED)
}

/// The text before the folder in the reply to `chdir`.
const CHANGED: &[u8] = b"The new current working directory on the server is: ";

/// Formats the announcement of a file, which its bytes follow.
pub fn sending(name: &[u8], size: u64) -> Vec<u8> {
    ended([b"Sending ", name, format!(" size: {SPLIT}{size}").as_bytes()].concat())
}

/// Ends a reply, or a command.
pub fn ended(mut text: Vec<u8>) -> Vec<u8> {
    text.extend_from_slice(END);
    text
}

/// Parses the size in a reply to `dl`, in the words of any server: `Sending F size: SpLiTN` or `Sending FSpLiTN`.
pub fn announced_size(reply: &[u8]) -> Option<u64> {
    let rest = reply.strip_prefix(b"Sending ")?;
    // The last separator: the name of the file may contain it.
    let at = rest.windows(SPLIT.len()).rposition(|part| part == SPLIT.as_bytes())?;
    std::str::from_utf8(&rest[at + SPLIT.len()..]).ok()?.trim().parse().ok()
}

/// Whether a name can be listed: it must not look like an end or like a separator.
fn is_listed(name: &[u8]) -> bool {
    let holds = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    !holds(END) && !holds(SPLIT.as_bytes()) && !name.iter().any(u8::is_ascii_control)
}

/// The separator before the size of a file.
const SPLIT: &str = "SpLiT";

/// Bytes of a command.
pub const MAX_COMMAND: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_any_pieces() {
        let sent = b"any nineteen bytes.\nls929Z\nchdir a b929Zdl x.txt929Zhello 929929Zquit929Z929Z";

        for piece in 1..sent.len() {
            let (mut reader, mut commands) = (CommandReader::default(), Vec::new());
            for part in sent.chunks(piece) {
                reader.receive(part);
                while let Some(command) = reader.next_command().unwrap() {
                    commands.push(command);
                }
            }
            let wanted = [
                Command::List,
                Command::ChangeFolder(b"a b".to_vec()),
                Command::Download(b"x.txt".to_vec()),
                Command::Echo(b"hello 929".to_vec()),
                Command::Quit,
                Command::Echo(Vec::new()),
            ];
            assert_eq!(commands, wanted, "by {piece}");
        }
    }

    #[test]
    fn a_command_has_a_maximum_size() {
        for ends in [true, false] {
            let mut reader = CommandReader::default();
            reader.receive(CLIENT_KEY);
            reader.receive(&vec![b'x'; MAX_COMMAND]);
            assert_eq!(reader.next_command(), Ok(None));
            reader.receive(if ends { b"x929Z" } else { b"x" });
            assert_eq!(reader.next_command(), Err(TooLong));
        }
    }

    #[test]
    fn replies_have_the_text_of_the_protocol() {
        let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
        let listing = listing(b"/a", &names(&["x", "a929Zb"]), &names(&["y", "SpLiT", "new\nline"]));
        assert_eq!(
            String::from_utf8(listing).unwrap(),
            "Current Working Directory: /a\n\nFolders: \n\nx\nFiles: \n\ny\n929Z"
        );
        assert_eq!(sending(b"f", 5), b"Sending f size: SpLiT5929Z");
        assert_eq!(changed(b"/"), b"The new current working directory on the server is: /929Z");
    }

    #[test]
    fn sizes_are_parsed_in_both_dialects() {
        let table: [(&[u8], Option<u64>); 6] = [
            (b"Sending f size: SpLiT5", Some(5)),
            (b"Sending fSpLiT5", Some(5)),
            (b"Sending SpLiTSpLiT123456789", Some(123_456_789)),
            (b"Invalid File!", None),
            (b"Sending f size: SpLiT-5", None),
            (b"Sending f size: SpLiT99999999999999999999999", None),
        ];
        for (reply, size) in table {
            assert_eq!(announced_size(reply), size, "{}", reply.escape_ascii());
        }
    }
}
