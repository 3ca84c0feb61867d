//! How sockets are made: everything that was asked of them, applied in one place.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{
    Address, Family, Transport,
    interface::{Interface, is_link_local},
};
use crate::sys::{self, Descriptor};

/// What was asked of every socket of the session.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    pub transport: Transport,
    /// `-4` or `-6`.
    pub only: Option<Family>,
    /// `-i`: where the source address and the scope come from.
    pub interface: Option<Interface>,
    /// `-b`: traffic can use no other device than `interface`.
    pub bind_device: bool,
    /// `-a`.
    pub source: Option<IpAddr>,
    /// `--source-port`.
    pub source_port: Option<u16>,
    pub options: Options,
}

/// Socket options, named as on the command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub broadcast: bool,
    pub congestion: Option<String>,
    /// The group to join.
    pub join: Option<IpAddr>,
    /// Silence after which TCP probes the peer.
    pub keepalive: Option<Duration>,
    pub mptcp: bool,
    pub nodelay: bool,
    /// Bytes.
    pub rcvbuf: Option<usize>,
    /// Bytes.
    pub sndbuf: Option<usize>,
    /// The whole octet: DSCP and ECN (RFC 2474).
    pub tos: Option<u8>,
    /// 1–255; for IPv6 the hop limit.
    pub ttl: Option<u8>,
}

impl SocketConfig {
    /// Makes a socket and starts to connect it, which for a stream may not be done yet. A datagram
    /// socket for a group or a broadcast stays unconnected: the answers come from others.
    pub fn connect(&self, to: &Address) -> io::Result<Descriptor> {
        let to = &self.scoped(to)?;
        let socket = self.socket(to.domain())?;
        if let Address::Inet(inet) = to {
            let source = self.source_for(inet.ip())?;
            if source.is_some() || self.source_port.is_some() {
                if self.transport == Transport::Stream {
                    socket.set_reuse_address(true)?;
                }
                let ip = source.unwrap_or(Family::of(inet.ip()).any());
                let port = self.source_port.unwrap_or(0);
                let from = with_scope(SocketAddr::new(ip, port), self.scope_of(ip, *inet));
                socket.bind(&from.into()).map_err(|error| bind_error(&error, &Address::Inet(from)))?;
            }
        } else if self.transport == Transport::Datagram {
            // Without a name of its own (unix(7), "Autobind feature") nobody could answer it.
            let nameless = Address::Unix(std::path::PathBuf::new()).to_sockaddr()?;
            socket.bind(&nameless)?;
        }
        if !self.reaches_many(to) {
            match socket.connect(&to.to_sockaddr()?) {
                Err(error) if sys::is_in_progress(&error) => {}
                result => result?,
            }
        }
        Ok(socket.into())
    }

    /// Makes a socket that listens, or, for datagrams, that anybody can send to.
    pub fn listen(&self, at: &Address) -> io::Result<Descriptor> {
        let socket = self.bound(at, |socket| {
            // TCP: a port whose last connections linger in TIME_WAIT is free. UDP: a group's port is
            // shared by all its members.
            if self.transport == Transport::Stream || self.options.join.is_some() {
                socket.set_reuse_address(at.family().is_some())?;
            }
            Ok(())
        })?;
        match self.transport {
            Transport::Stream => socket.listen(BACKLOG)?,
            Transport::Datagram => {
                self.join(&socket, at)?;
                // Where it is not told, answers leave from the address that the route prefers.
                let _ = sys::enable_packet_info(&SockRef::from(&socket), at.family() == Some(Family::V6));
            }
        }
        Ok(socket.into())
    }

    /// Makes a datagram socket for one peer of a listener's, on the same port: the kernel then gives
    /// it all that this peer sends, and what it sends comes from the address the peer knows.
    pub fn connected_socket(
        &self,
        listener: &Descriptor,
        at: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<Descriptor> {
        let shared = listener.socket();
        // The branches share the port; the listener only while we bind, so that no other program can
        // take the port from us.
        shared.set_reuse_address(true)?;
        let socket = self.bound(&Address::Inet(at), |socket| socket.set_reuse_address(true));
        shared.set_reuse_address(false)?;
        let socket = socket?;
        socket.connect(&peer.into())?;
        Ok(socket.into())
    }

    /// Whether datagrams to this address reach more than one receiver: it is a group, or a broadcast
    /// was asked for.
    pub fn reaches_many(&self, to: &Address) -> bool {
        match to {
            Address::Inet(inet) if self.transport == Transport::Datagram => {
                inet.ip().is_multicast() || (self.options.broadcast && inet.is_ipv4())
            }
            Address::Inet(_) | Address::Name { .. } | Address::Unix(_) => false,
        }
    }

    /// `to` with the scope that `-i` gives a link-local address.
    pub fn scoped(&self, to: &Address) -> io::Result<Address> {
        let Address::Inet(inet) = to else { return Ok(to.clone()) };
        let missing = matches!(inet, SocketAddr::V6(v6) if v6.scope_id() == 0) && needs_scope(inet.ip());
        match &self.interface {
            _ if !missing => Ok(to.clone()),
            Some(interface) => Ok(Address::Inet(with_scope(*inet, interface.index))),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a link-local address needs its interface: -i NAME, or {}%NAME", inet.ip()),
            )),
        }
    }

    /// The config with the device that the route to `to` uses, if `-b` was given without `-i`.
    pub fn routed(&self, to: &Address) -> anyhow::Result<Self> {
        let mut config = self.clone();
        if let (true, None, Address::Inet(inet)) = (self.bind_device, &self.interface, to) {
            config.interface = Some(Interface::for_route(*inet)?);
        }
        Ok(config)
    }

    fn bound(&self, at: &Address, prepare: impl FnOnce(&Socket) -> io::Result<()>) -> io::Result<Socket> {
        let at = self.scoped(at)?;
        let socket = self.socket(at.domain())?;
        prepare(&socket)?;
        if at.family() == Some(Family::V6) {
            socket.set_only_v6(self.only == Some(Family::V6))?;
        }
        socket.bind(&at.to_sockaddr()?)?;
        Ok(socket)
    }

    /// A socket with all its options, neither bound nor connected; never waits.
    fn socket(&self, domain: Domain) -> io::Result<Socket> {
        let kind = match self.transport {
            Transport::Datagram => Type::DGRAM,
            Transport::Stream => Type::STREAM,
        };
        let stream = domain != Domain::UNIX && self.transport == Transport::Stream;
        // RFC 8684; a kernel without it gives us TCP, and so does a peer without it.
        let mptcp = (stream && self.options.mptcp).then_some(Protocol::from(IPPROTO_MPTCP));
        let socket = match mptcp {
            Some(_) => Socket::new(domain, kind, mptcp).or_else(|_| Socket::new(domain, kind, None))?,
            None => Socket::new(domain, kind, None)?,
        };
        socket.set_nonblocking(true)?;
        if let (true, Some(interface)) = (self.bind_device, &self.interface) {
            sys::bind_device(&socket, &interface.name, interface.index)
                .map_err(|error| named("bind to the device", &interface.name, &error))?;
        }
        let options = &self.options;
        if let Some(size) = options.sndbuf {
            socket.set_send_buffer_size(size)?;
        }
        match options.rcvbuf {
            Some(size) => socket.set_recv_buffer_size(size)?,
            // A burst of datagrams that finds no room is lost.
            None if self.transport == Transport::Datagram
                && domain != Domain::UNIX
                && sys::force_receive_buffer(&SockRef::from(&socket), DATAGRAM_BUFFER).is_err() =>
            {
                socket.set_recv_buffer_size(DATAGRAM_BUFFER)?;
            }
            None => {}
        }
        if domain == Domain::IPV4 {
            options.tos.map_or(Ok(()), |tos| socket.set_tos_v4(tos.into()))?;
            options.ttl.map_or(Ok(()), |ttl| socket.set_ttl_v4(ttl.into()))?;
        } else if domain == Domain::IPV6 {
            options.tos.map_or(Ok(()), |tos| socket.set_tclass_v6(tos.into()))?;
            options.ttl.map_or(Ok(()), |ttl| socket.set_unicast_hops_v6(ttl.into()))?;
        }
        if options.broadcast && domain == Domain::IPV4 {
            socket.set_broadcast(true)?;
        }
        if stream {
            if options.nodelay {
                socket.set_tcp_nodelay(true)?;
            }
            if let Some(time) = options.keepalive {
                sys::set_keepalive(&SockRef::from(&socket), time, KEEPALIVE_PROBES)?;
            }
            if let Some(name) = &options.congestion {
                sys::set_congestion(&socket, name).map_err(|error| named("--congestion", name, &error))?;
            }
        }
        if self.transport == Transport::Datagram {
            self.aim_at_groups(&socket, domain)?;
        }
        Ok(socket)
    }

    /// How far, and through which interface, datagrams to a group go.
    fn aim_at_groups(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
        let ttl = self.options.ttl;
        if domain == Domain::IPV4 {
            ttl.map_or(Ok(()), |ttl| socket.set_multicast_ttl_v4(ttl.into()))?;
        } else if domain == Domain::IPV6 {
            ttl.map_or(Ok(()), |ttl| socket.set_multicast_hops_v6(ttl.into()))?;
        }
        let Some(interface) = &self.interface else { return Ok(()) };
        match interface.source_for(Family::V4.any()) {
            Some(IpAddr::V4(ip)) if domain == Domain::IPV4 => socket.set_multicast_if_v4(&ip),
            _ if domain == Domain::IPV6 => socket.set_multicast_if_v6(interface.index),
            _ => Ok(()),
        }
    }

    fn join(&self, socket: &Socket, at: &Address) -> io::Result<()> {
        let index = self.interface.as_ref().map_or(0, |interface| interface.index);
        match (self.options.join, at.family()) {
            (Some(IpAddr::V4(group)), Some(Family::V4)) => {
                let interface = match self.interface.as_ref().map(|i| i.source_for(Family::V4.any())) {
                    Some(Some(IpAddr::V4(ip))) => ip,
                    _ => std::net::Ipv4Addr::UNSPECIFIED,
                };
                socket.join_multicast_v4(&group, &interface)
            }
            (Some(IpAddr::V6(group)), Some(Family::V6)) => socket.join_multicast_v6(&group, index),
            _ => Ok(()),
        }
    }

    /// The address to come from: what `-a` says, or the interface's of the family in use.
    fn source_for(&self, destination: IpAddr) -> io::Result<Option<IpAddr>> {
        let family = Family::of(destination);
        let missing = |what: String| Err(io::Error::new(io::ErrorKind::AddrNotAvailable, what));
        match (self.source, &self.interface) {
            (Some(source), _) if Family::of(source) != family => {
                missing(format!("the source address {source} is not {family}"))
            }
            (Some(source), _) => Ok(Some(source)),
            // `-b` alone leaves the choice of the address to the kernel, on that device.
            (None, Some(interface)) => match interface.source_for(destination) {
                Some(source) => Ok(Some(source)),
                None => missing(format!("interface '{}' has no {family} address", interface.name)),
            },
            (None, None) => Ok(None),
        }
    }

    fn scope_of(&self, ip: IpAddr, to: SocketAddr) -> u32 {
        match (&self.interface, to) {
            _ if !needs_scope(ip) => 0,
            (Some(interface), _) => interface.index,
            (None, SocketAddr::V6(v6)) => v6.scope_id(),
            (None, SocketAddr::V4(_)) => 0,
        }
    }
}

fn needs_scope(ip: IpAddr) -> bool {
    let link_local_group = matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xff0f == 0xff02);
    is_link_local(ip) || link_local_group
}

fn with_scope(address: SocketAddr, scope: u32) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into(),
        SocketAddr::V4(_) => address,
    }
}

fn named(what: &str, value: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {value}: {}", sys::reason(error)))
}

fn bind_error(error: &io::Error, from: &Address) -> io::Error {
    let why = sys::reason(error);
    io::Error::new(error.kind(), format!("bind to {from}: {why}"))
}

/// Connections that wait to be accepted; the kernel caps it (listen(2)).
const BACKLOG: i32 = 4096;

/// Bytes asked for the receive buffer of a datagram socket.
const DATAGRAM_BUFFER: usize = 4 << 20;

/// Unanswered probes that end a connection.
const KEEPALIVE_PROBES: u32 = 9;

/// The protocol number of Multipath TCP in socket(2).
const IPPROTO_MPTCP: i32 = 262;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(transport: Transport) -> SocketConfig {
        SocketConfig {
            transport,
            only: None,
            interface: None,
            bind_device: false,
            source: None,
            source_port: None,
            options: Options::default(),
        }
    }

    fn address(text: &str) -> Address {
        Address::Inet(text.parse().unwrap())
    }

    #[test]
    fn a_link_local_address_gets_its_scope_from_the_interface() {
        let interface = Interface { name: "eth0".into(), index: 7, addresses: Vec::new() };
        let with = SocketConfig { interface: Some(interface), ..config(Transport::Stream) };
        assert_eq!(with.scoped(&address("[fe80::1]:9")).unwrap(), address("[fe80::1%7]:9"));
        assert_eq!(with.scoped(&address("[fe80::1%3]:9")).unwrap(), address("[fe80::1%3]:9"));
        assert_eq!(with.scoped(&address("[ff02::1]:9")).unwrap(), address("[ff02::1%7]:9"));
        assert_eq!(with.scoped(&address("[2001:db8::1]:9")).unwrap(), address("[2001:db8::1]:9"));
        let without = config(Transport::Stream).scoped(&address("[fe80::1]:9")).unwrap_err();
        assert!(without.to_string().contains("needs its interface"), "{without}");
    }

    #[test]
    fn the_source_address_must_be_of_the_family() {
        let with = SocketConfig { source: Some("10.0.0.1".parse().unwrap()), ..config(Transport::Stream) };
        let error = with.connect(&address("[::1]:9")).unwrap_err();
        assert_eq!(error.to_string(), "the source address 10.0.0.1 is not IPv6");
    }

    #[test]
    fn the_options_reach_the_socket() {
        let options = Options {
            broadcast: true,
            nodelay: true,
            tos: Some(0x10),
            ttl: Some(9),
            sndbuf: Some(10_000),
            rcvbuf: Some(10_000),
            keepalive: Some(Duration::from_millis(7500)),
            ..Options::default()
        };
        let config = SocketConfig { options, ..config(Transport::Stream) };
        let socket = config.socket(Domain::IPV4).unwrap();
        assert!(socket.broadcast().unwrap() && socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!((socket.tos_v4().unwrap(), socket.ttl_v4().unwrap()), (0x10, 9));
        assert!(socket.send_buffer_size().unwrap() >= 10_000);
        assert!(socket.recv_buffer_size().unwrap() >= 10_000);
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(7));
        assert!(socket.nonblocking().unwrap());
    }

    #[test]
    fn two_listeners_cannot_share_a_port() {
        for transport in [Transport::Stream, Transport::Datagram] {
            let config = config(transport);
            let first = config.listen(&address("[::]:0")).unwrap();
            let port = first.socket().local_addr().unwrap().as_socket().unwrap().port();
            for at in ["[::]", "0.0.0.0", "127.0.0.1"] {
                let error = config.listen(&address(&format!("{at}:{port}"))).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{transport:?} {at}");
            }
        }
    }
}
