//! Resolves names to addresses, and services to ports. A literal address never reaches the resolver.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use dns_lookup::{AddrInfoHints, getaddrinfo};
use socket2::{Domain, Type};

use super::{Address, Family, Transport, address::literal};
use crate::sys;

/// Returns the port of a service (getaddrinfo(3), services(5)).
pub fn service(name: &str, transport: Transport) -> Option<u16> {
    // One family is enough: a service has the same port in both.
    let found = getaddrinfo(None, Some(name), Some(hints(Some(Family::V4), transport))).ok()?;
    found.flatten().map(|info| info.sockaddr.port()).next()
}

/// A look-up in a thread of its own, because getaddrinfo(3) blocks and cannot be interrupted.
#[derive(Debug)]
pub struct Lookup(Arc<Mutex<Answer>>);

/// `None` until the resolver has answered, and after the answer was taken.
type Answer = Option<io::Result<Vec<Address>>>;

impl Lookup {
    /// Starts to look up `host`, and calls `done` from the thread once it has an answer. A literal is answered at once,
    /// without a thread or a call.
    pub fn start(
        host: &str,
        port: u16,
        only: Option<Family>,
        transport: Transport,
        done: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        if let Some(mut address) = literal(host) {
            address.set_port(port);
            return Ok(Self(Arc::new(Mutex::new(Some(Ok(vec![Address::Inet(address)]))))));
        }

        let answer: Arc<Mutex<Answer>> = Arc::default();
        let (slot, host) = (Arc::clone(&answer), host.to_owned());
        thread::Builder::new().name("resolver".into()).stack_size(STACK_SIZE).spawn(move || {
            let found = addresses(&host, port, only, transport);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            done();
        })?;
        Ok(Self(answer))
    }

    /// Takes the answer, once there is one.
    pub fn take(&self) -> Option<io::Result<Vec<Address>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Returns all addresses of a host, in the order of preference (RFC 6724); blocks.
pub fn addresses(
    host: &str,
    port: u16,
    only: Option<Family>,
    transport: Transport,
) -> io::Result<Vec<Address>> {
    if let Some(mut address) = literal(host) {
        address.set_port(port);
        return Ok(vec![Address::Inet(address)]);
    }

    let mut addresses = Vec::new();
    for info in getaddrinfo(Some(host), None, Some(hints(only, transport)))? {
        let mut address: SocketAddr = info?.sockaddr;
        address.set_port(port);
        let address = Address::Inet(address);
        // getaddrinfo(3) returns an address more than once if /etc/hosts does.
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Returns the text of a resolver's error as part of a sentence.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    // "failed to lookup address information: Name or service not known" (dns_lookup, std)
    let text = text.rsplit("information: ").next().unwrap_or_default();
    sys::reason(&io::Error::other(text.to_owned()))
}

fn hints(only: Option<Family>, transport: Transport) -> AddrInfoHints {
    let address = match only {
        Some(Family::V4) => Domain::IPV4.into(),
        Some(Family::V6) => Domain::IPV6.into(),
        None => 0,
    };
    let kind = match transport {
        Transport::Datagram => Type::DGRAM,
        Transport::Stream => Type::STREAM,
    };
    AddrInfoHints { address, socktype: kind.into(), ..AddrInfoHints::default() }
}

/// Bytes of the stack of the thread: glibc's resolver keeps its buffers there.
const STACK_SIZE: usize = 256 << 10;
