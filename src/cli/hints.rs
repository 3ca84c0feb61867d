//! Errors of the parser as one line, with a hint at the right option.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Formats an error of the parser as one line.
pub fn one_line(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    // clap names an option as in its usage: `--rate <SIZE>`, `--zstd[=<LEVEL>]`.
    let arg = text(ContextKind::InvalidArg);
    let name = arg.split([' ', '=', '[']).next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue);

    let message = match error.kind() {
        ErrorKind::UnknownArgument => {
            let suggested = text(ContextKind::SuggestedArg);
            let instead = match nc_counterpart(name) {
                Some(hint) => format!("; {hint}"),
                None if suggested.is_empty() => String::new(),
                None => format!("; did you mean {suggested}?"),
            };
            format!("there is no option '{}'{instead}", arg.escape_debug())
        }
        // clap reports a missing value as an invalid one that is empty.
        ErrorKind::InvalidValue if value.is_empty() => format!("{name} needs a value"),
        ErrorKind::ValueValidation => {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{name} '{}': {reason}{}", value.escape_debug(), nc_meaning(name))
        }
        // The parsers define no conflicts: clap reports a repeated option like this.
        ErrorKind::ArgumentConflict => format!("{name} is given twice"),
        _ => {
            // Behind the first line, clap prints tips and the usage.
            let whole = error.to_string();
            let first = whole.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    };
    format!("{message} (see remote --help)")
}

/// Returns the counterpart of an option that only other netcats have.
fn nc_counterpart(name: &str) -> Option<&'static str> {
    Some(match name {
        "-I" => "nc's receive buffer is --rcvbuf here",
        "-L" => "it is -l -k here",
        "-O" => "nc's send buffer is --sndbuf here",
        "-G" => "macOS's connection timeout is -T here",
        "--ssl" => "ncat's --ssl is --tls here",
        "--ssl-cert" => "ncat's --ssl-cert is --tls-cert here",
        "--ssl-key" => "ncat's --ssl-key is --tls-key here",
        "--ssl-verify" => "it is what --tls does; ncat's --ssl-trustfile is --tls-ca here",
        "--ssl-trustfile" => "ncat's --ssl-trustfile is --tls-ca here",
        "--ssl-servername" => "ncat's --ssl-servername is --tls-name here",
        "--proxy-auth" => "the user is -P here, and the password is no argument",
        "--idle" => "ncat's -i is -w here",
        _ => return None,
    })
}

/// Returns the counterpart of an option that has another meaning in nc, for a value that does not parse.
fn nc_meaning(name: &str) -> &'static str {
    match name {
        "--timeout" => "; nc's -T, the type of service, is --tos here",
        "--delay" => "; nc's -d, not to read stdin, is --recv-only here",
        _ => "",
    }
}
