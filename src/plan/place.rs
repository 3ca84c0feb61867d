//! Where to: host, port and transport, from the many ways in which they can be typed.

use std::path::PathBuf;

use anyhow::Result;

use super::{to_usage, usage};
use crate::{
    cli::Args,
    net::{Location, Transport, address::literal, port},
};

/// Host, port and transport, from wherever they were given.
#[derive(Debug)]
pub(super) struct Place {
    pub transport: Transport,
    pub unix: Option<PathBuf>,
    pub host: Option<String>,
    /// As typed; several only for a scan.
    pub ports: Vec<String>,
    pub source_port: Option<u16>,
}

impl Place {
    /// Finds out what is what.
    pub fn settle(args: &mut Args) -> Result<Self> {
        let mut host = args.host.take();
        let mut ports = std::mem::take(&mut args.ports);
        let udp = if args.udp { Transport::Datagram } else { Transport::Stream };
        refuse_swallowed(args, host.as_deref(), &ports)?;
        if args.unix {
            let Some(path) = host else { return usage("-U needs a PATH") };
            let path = path.strip_prefix("unix:").map_or(path.clone(), str::to_owned);
            return Ok(Self {
                transport: udp,
                unix: Some(path.into()),
                host: None,
                ports,
                source_port: None,
            });
        }
        if args.listen && ports.is_empty() && host.as_deref().is_some_and(port::looks_like) {
            ports.extend(host.take());
        }
        let mut transport = udp;
        if let Some(text) = host.take() {
            match Location::parse(&text).map_err(to_usage)? {
                Location::Unix(path) => {
                    return Ok(Self { transport, unix: Some(path), host: None, ports, source_port: None });
                }
                Location::Inet { transport: Some(Transport::Stream), .. } if args.udp => {
                    return usage(format!("-u contradicts '{text}'"));
                }
                Location::Inet { transport: scheme, host: name, port } => {
                    transport = scheme.unwrap_or(udp);
                    if port.is_some() && !ports.is_empty() {
                        return usage(format!("the port is given twice: in '{text}' and as '{}'", ports[0]));
                    }
                    ports.extend(port);
                    host = (!name.is_empty()).then_some(name);
                }
            }
        }
        let mut source = args.source_port.take();
        match args.port.take() {
            Some(port) if ports.is_empty() => ports.push(port),
            Some(port) if args.listen => {
                return usage(format!("the port is given twice: '{}' and -p {port}", ports[0]));
            }
            Some(_) if source.is_some() => return usage("the source port is given twice"),
            Some(port) => source = Some(port),
            None => {}
        }
        let source_port = match source {
            Some(text) => Some(port::parse(&text, transport).map_err(to_usage)?),
            None => None,
        };
        Ok(Self { transport, unix: None, host, ports, source_port })
    }

    /// The one port, if there is one.
    pub fn port(&self) -> Result<Option<u16>> {
        match &self.ports[..] {
            [] => Ok(None),
            [one] if !one.contains([',']) && !is_range(one) => {
                Ok(Some(port::parse(one, self.transport).map_err(to_usage)?))
            }
            _ => usage("several ports need -z"),
        }
    }
}

/// `-r` takes what follows it for its FILE, even the host or the port.
fn refuse_swallowed(args: &Args, host: Option<&str>, ports: &[String]) -> Result<()> {
    let Some(Some(file)) = &args.receive else { return Ok(()) };
    let Some(file) = file.to_str().filter(|file| !file.contains('/')) else { return Ok(()) };
    let is_port = port::looks_like(file);
    let is_address = literal(file).is_some();
    let lone_port = ports.is_empty() && host.is_some_and(port::looks_like);
    let has_port = !ports.is_empty() || args.port.is_some() || host.is_some_and(|host| host.contains(':'));
    if args.unix {
        return Ok(());
    }
    if args.listen && is_port && !has_port && !lone_port {
        return usage(format!(
            "-r took '{file}' for its FILE: to listen on that port say '-r -p {file}', to receive into that file say '-r ./{file}'"
        ));
    }
    if args.listen && is_address && host.is_none_or(port::looks_like) {
        return usage(format!(
            "-r took '{file}' for its FILE: to listen at that address say '-a {file} -r', to receive into that file say '-r ./{file}'"
        ));
    }
    if !args.listen && (host.is_none() || lone_port) {
        let port = host.unwrap_or("PORT");
        return usage(format!(
            "-r took '{file}' for its FILE, and no HOST is left: say '{file} {port} -r', or '-r ./{file} HOST {port}'"
        ));
    }
    Ok(())
}

fn is_range(text: &str) -> bool {
    text.contains('-') && port::looks_like(text)
}
