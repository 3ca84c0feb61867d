//! Binding: from addresses to the sockets of a listener.

use std::{io, net::SocketAddr, path::Path};

use anyhow::{Context, Result, bail};

use super::{Access, Address, Family, SocketConfig, address::SocketFile};
use crate::sys::{self, Descriptor};

/// The sockets of a listener, and the peers that they admit.
#[derive(Debug)]
pub struct Bound {
    pub sockets: Vec<Descriptor>,
    pub access: Access,
    /// The file of a UNIX socket, removed when dropped.
    pub file: Option<SocketFile>,
}

impl Bound {
    /// Binds and listens at every address. An address family that this machine lacks is left out, if another one
    /// remains; a port that is in use is an error. The kernel chooses port 0, one for all addresses. Without IPv6,
    /// `config` is changed to IPv4 alone.
    pub fn new(config: &mut SocketConfig, addresses: &[Address]) -> Result<Self> {
        let mut attempts = PORT_ATTEMPTS;
        let sockets = loop {
            match bind_all(config, addresses) {
                // A port that was free for the first address need not be free for the second.
                Err((_, error))
                    if attempts > 0 && addresses.len() > 1 && has_port_0(addresses) && in_use(&error) =>
                {
                    attempts -= 1;
                }
                // Without IPv6, the IPv4 wildcard stands for the dual-stack one.
                Err((address, error))
                    if config.only.is_none() && is_wildcard(&address) && is_missing(&error) =>
                {
                    let port = address.port().unwrap_or(0);
                    config.only = Some(Family::V4);
                    return Self::new(config, &[Address::Inet(SocketAddr::new(Family::V4.any(), port))]);
                }
                Err((address, error)) => {
                    return Err(error).with_context(|| format!("listen on {address}"));
                }
                Ok(sockets) => break sockets,
            }
        };

        let file = addresses.iter().find_map(|address| match address {
            Address::Unix(path) if !is_abstract(path) => Some(SocketFile::new(path)),
            _ => None,
        });
        Ok(Self { sockets, access: Access::default(), file })
    }

    /// Returns the local addresses, ports included.
    pub fn addresses(&self) -> Vec<Address> {
        self.sockets.iter().filter_map(|socket| local_address(socket).ok()).collect()
    }
}

/// Returns the local address of a socket.
pub fn local_address(socket: &Descriptor) -> io::Result<Address> {
    Ok(Address::from(&socket.socket().local_addr()?))
}

/// Binds one socket for each address; on failure, returns the address as well.
fn bind_all(
    config: &SocketConfig,
    addresses: &[Address],
) -> Result<Vec<Descriptor>, (Address, anyhow::Error)> {
    let mut sockets = Vec::new();
    let mut missing = None;
    let mut port = None;
    for address in addresses {
        let mut address = address.clone();
        if let (Address::Inet(inet), Some(port)) = (&mut address, port) {
            inet.set_port(port);
        }

        let bound = remove_stale(&address).and_then(|()| Ok(config.listen(&address)?));
        match bound {
            Ok(socket) => {
                // The other addresses get the port that the kernel chose for the first.
                port = port.or(local_address(&socket).ok().and_then(|local| local.port()));
                sockets.push(socket);
            }
            Err(error) if addresses.len() > 1 && is_missing(&error) => missing = Some((address, error)),
            Err(error) => return Err((address, error)),
        }
    }

    match missing {
        Some(missing) if sockets.is_empty() => Err(missing),
        _ => Ok(sockets),
    }
}

/// Removes the file of a UNIX socket that has no listener any more. Fails for one that has, and for any other file.
fn remove_stale(address: &Address) -> Result<()> {
    let Address::Unix(path) = address else { return Ok(()) };
    if is_abstract(path) {
        return Ok(());
    }
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if !sys::is_socket(&found) {
        bail!("the file exists and is not a socket");
    }

    for kind in [socket2::Type::STREAM, socket2::Type::DGRAM] {
        let probe = socket2::Socket::new(socket2::Domain::UNIX, kind, None)?;
        probe.set_nonblocking(true)?;
        match probe.connect(&address.to_sockaddr()?) {
            // unix(7): no socket is listening behind the file.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            // A socket of the other type owns the file; its own probe tells whether it listens.
            Err(error) if sys::is_wrong_type(&error) => {}
            _ => return Err(sys::address_in_use().into()),
        }
    }
    Ok(std::fs::remove_file(path)?)
}

fn is_abstract(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.starts_with('@'))
}

fn is_wildcard(address: &Address) -> bool {
    matches!(address, Address::Inet(SocketAddr::V6(v6)) if v6.ip().is_unspecified())
}

fn has_port_0(addresses: &[Address]) -> bool {
    addresses.iter().any(|address| address.port() == Some(0))
}

fn in_use(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Tells whether the machine lacks the address or its family.
fn is_missing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable || sys::is_family_missing(error))
}

/// The most ports that the kernel is asked to choose before one is free for every address.
const PORT_ATTEMPTS: usize = 32;
