//! Host, ports and transport, from the many ways in which they can be typed.

use std::path::PathBuf;

use anyhow::Result;

use super::usage::{to_usage, usage};
use crate::{
    cli::{Args, Transfer, Where},
    net::{Location, Transport, address::literal, port},
};

/// Host, ports and transport.
#[derive(Debug)]
pub(super) struct HostPorts {
    pub transport: Transport,
    /// The path of a UNIX socket, in place of host and ports.
    pub unix: Option<PathBuf>,
    /// A name or an address; `None` is every address of a listener.
    pub host: Option<String>,
    /// As typed; several only for a scan.
    pub ports: Vec<String>,
    /// The local port of a connection.
    pub source_port: Option<u16>,
}

impl HostPorts {
    /// Parses the command line of `remote`.
    pub fn from_args(args: &Args) -> Result<Self> {
        let (host, ports) = (args.host.clone(), args.ports.clone());
        let transport = if args.transport.udp { Transport::Datagram } else { Transport::Stream };
        if !args.unix {
            check_receive_file(&args.transfer, &args.at, host.as_deref(), &ports)?;
            return Self::new(host, ports, transport, &args.at, args.source_port.as_deref());
        }
        let Some(path) = host else { return usage("-U needs a PATH") };
        // Location::parse is left out: with -U, even a path such as `tcp://a` or `a:80` is a path.
        let path = path.strip_prefix("unix:").map_or(path.clone(), str::to_owned);
        Ok(Self { transport, unix: Some(path.into()), host: None, ports, source_port: None })
    }

    /// Parses the command line of the relay or of a client of it.
    pub fn of_relay(
        host: Option<String>,
        ports: Vec<String>,
        at: &Where,
        transfer: &Transfer,
        default_port: u16,
    ) -> Result<Self> {
        check_receive_file(transfer, at, host.as_deref(), &ports)?;
        let mut place = Self::new(host, ports, Transport::Stream, at, None)?;
        if place.ports.is_empty() {
            place.ports.push(default_port.to_string());
        }
        Ok(place)
    }

    /// Parses HOST, which may hold a scheme and a port, and the ports.
    fn new(
        mut host: Option<String>,
        mut ports: Vec<String>,
        mut transport: Transport,
        at: &Where,
        source_port: Option<&str>,
    ) -> Result<Self> {
        // `-l 9000` is as common as `-l -p 9000`: a lone number is the port.
        if at.listen && ports.is_empty() && host.as_deref().is_some_and(port::looks_like) {
            ports.extend(host.take());
        }

        if let Some(text) = host.take() {
            match Location::parse(&text).map_err(to_usage)? {
                Location::Unix(path) => {
                    return Ok(Self { transport, unix: Some(path), host: None, ports, source_port: None });
                }
                // Only tcp:// can contradict -u: udp:// needs none, and a name without a scheme accepts it.
                Location::Inet { transport: Some(Transport::Stream), .. }
                    if transport == Transport::Datagram =>
                {
                    return usage(format!("-u contradicts '{text}'"));
                }
                Location::Inet { transport: scheme, host: name, port } => {
                    transport = scheme.unwrap_or(transport);
                    if port.is_some() && !ports.is_empty() {
                        return usage(format!("the port is given twice: in '{text}' and as '{}'", ports[0]));
                    }
                    ports.extend(port);
                    // `:80` is a port alone, which a listener opens on every address.
                    host = (!name.is_empty()).then_some(name);
                }
            }
        }

        let source_port = place_port_option(at, &mut ports, source_port)?;
        let source_port =
            source_port.map(|text| port::parse(text, transport)).transpose().map_err(to_usage)?;
        Ok(Self { transport, unix: None, host, ports, source_port })
    }

    /// Returns the only port, if there is one.
    pub fn port(&self) -> Result<Option<u16>> {
        match &self.ports[..] {
            [] => Ok(None),
            // `80-90` and `80,90` are one word, and several ports.
            [one] if !one.contains([',']) && !is_range(one) => {
                Ok(Some(port::parse(one, self.transport).map_err(to_usage)?))
            }
            _ => usage("several ports need -z"),
        }
    }
}

/// Makes the port of `-p` the port, or beside another one the source port, as in nc. Returns the source port.
fn place_port_option<'a>(
    at: &'a Where,
    ports: &mut Vec<String>,
    source_port: Option<&'a str>,
) -> Result<Option<&'a str>> {
    match at.port.as_deref() {
        None => Ok(source_port),
        Some(port) if ports.is_empty() => {
            ports.push(port.to_owned());
            Ok(source_port)
        }
        // A listener has no source port, so the second port can only be a mistake.
        Some(port) if at.listen => usage(format!("the port is given twice: '{}' and -p {port}", ports[0])),
        Some(_) if source_port.is_some() => usage("the source port is given twice"),
        Some(port) => Ok(Some(port)),
    }
}

/// Refuses a FILE of `-r` that must have been meant as the host or the port: the option takes the word after it.
fn check_receive_file(transfer: &Transfer, at: &Where, host: Option<&str>, ports: &[String]) -> Result<()> {
    let Some(Some(file)) = &transfer.receive else { return Ok(()) };
    // A name with a slash is a path, and no host.
    let Some(file) = file.to_str().filter(|file| !file.contains('/')) else { return Ok(()) };
    let is_port = port::looks_like(file);
    let is_address = literal(file).is_some();
    // In `-r example.org 80` the host becomes FILE, and the port stands in the place of HOST.
    let lone_port = ports.is_empty() && host.is_some_and(port::looks_like);
    let has_port = !ports.is_empty() || at.port.is_some() || host.is_some_and(|host| host.contains(':'));

    if at.listen && is_port && !has_port && !lone_port {
        return usage(format!(
            "-r took '{file}' for its FILE: to listen on that port say '-r -p {file}', to receive into that file say '-r ./{file}'"
        ));
    }
    if at.listen && is_address && host.is_none_or(port::looks_like) {
        return usage(format!(
            "-r took '{file}' for its FILE: to listen at that address say '-a {file} -r', to receive into that file say '-r ./{file}'"
        ));
    }
    if !at.listen && (host.is_none() || lone_port) {
        let port = host.unwrap_or("PORT");
        return usage(format!(
            "-r took '{file}' for its FILE, and no HOST is left: say '{file} {port} -r', or '-r ./{file} HOST {port}'"
        ));
    }
    Ok(())
}

/// Whether a word is a range of ports. A service name may have a hyphen, too.
fn is_range(text: &str) -> bool {
    text.contains('-') && port::looks_like(text)
}
