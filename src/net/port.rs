//! Ports as users write them: `80`, `http`, `22,80,8000-8010`.

use anyhow::{Context, Result, bail};

use super::{Transport, resolve};

/// Parses one port: a number, 0 included, or the name of a service (services(5)).
pub fn parse(text: &str, transport: Transport) -> Result<u16> {
    if let Ok(port) = text.parse() {
        return Ok(port);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        bail!("port {text} is out of range: 65535 is the last");
    }
    // getaddrinfo(3) would parse a number with a sign or spaces before it (strtoul(3)).
    let named = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    named
        .then(|| resolve::service(text, transport))
        .flatten()
        .with_context(|| format!("'{text}' is neither a port number nor a service that is known here"))
}

/// Parses a list of ports and ranges; the result keeps their order and has no duplicates. Port 0 is an error.
pub fn parse_list(text: &str, transport: Transport) -> Result<Vec<u16>> {
    let mut ports = Vec::new();
    for part in text.split(',') {
        // Names of services may contain hyphens, as `http-alt` does; a range begins with a number.
        let range = part.split_once('-').filter(|(first, _)| first.parse::<u32>().is_ok());
        let (first, last) = if let Some((first, last)) = range {
            (parse(first, transport)?, parse(last, transport)?)
        } else {
            let port = parse(part, transport)?;
            (port, port)
        };
        if first == 0 {
            bail!("port 0 cannot be connected to");
        }
        if first > last {
            bail!("the range {part} runs backwards");
        }
        ports.extend(first..=last);
    }

    let mut seen = vec![false; 1 << 16];
    ports.retain(|port| !std::mem::replace(&mut seen[usize::from(*port)], true));
    Ok(ports)
}

/// Tells whether the text can only be a port, a range or a list: digits, commas and hyphens.
pub fn looks_like(text: &str) -> bool {
    !text.is_empty() && text.split([',', '-']).all(|part| part.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists() {
        let table: [(&str, &[u16]); 6] = [
            ("80", &[80]),
            ("80,22", &[80, 22]),
            ("1-3", &[1, 2, 3]),
            ("8000-8002,80,8001", &[8000, 8001, 8002, 80]),
            ("65535", &[65535]),
            ("7-7", &[7]),
        ];
        for (text, ports) in table {
            assert_eq!(parse_list(text, Transport::Stream).unwrap(), ports, "{text}");
        }
    }

    #[test]
    fn errors_name_the_cause() {
        let table = [
            ("0", "port 0 cannot be connected to"),
            ("65536", "port 65536 is out of range: 65535 is the last"),
            ("99999999999999999999", "port 99999999999999999999 is out of range: 65535 is the last"),
            ("3-1", "the range 3-1 runs backwards"),
            ("1-", "'' is neither a port number nor a service that is known here"),
            ("-1", "'-1' is neither a port number nor a service that is known here"),
            ("80,,90", "'' is neither a port number nor a service that is known here"),
            (
                "no-such-service",
                "'no-such-service' is neither a port number nor a service that is known here",
            ),
        ];
        for (text, why) in table {
            assert_eq!(parse_list(text, Transport::Stream).unwrap_err().to_string(), why, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_rejected(text in "[0-9,-]{0,12}") {
            if let Ok(ports) = parse_list(&text, Transport::Stream) {
                prop_assert!(!ports.is_empty() && !ports.contains(&0));
            }
        }

        #[test]
        fn a_range_has_all_its_ports(first in 1_u16.., length in 0_u16..500) {
            let last = first.saturating_add(length);
            let ports = parse_list(&format!("{first}-{last}"), Transport::Datagram).unwrap();
            prop_assert_eq!(ports, (first..=last).collect::<Vec<_>>());
        }
    }
}
