//! The configuration of sockets, applied in one place.

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

/// The settings of every socket of a session.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    pub transport: Transport,
    /// `-4` or `-6`.
    pub only: Option<Family>,
    /// `-i`: the interface that the source address and the scope are taken from.
    pub interface: Option<Interface>,
    /// `-b`: packets use no other device than `interface`.
    pub bind_device: bool,
    /// `-a`: the source address.
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
    /// The multicast group to join.
    pub join: Option<IpAddr>,
    /// The silence after which TCP probes the peer.
    pub keepalive: Option<Duration>,
    pub mptcp: bool,
    pub nodelay: bool,
    /// Bytes of the receive buffer.
    pub rcvbuf: Option<usize>,
    /// Bytes of the send buffer.
    pub sndbuf: Option<usize>,
    /// The whole octet: DSCP and ECN (RFC 2474).
    pub tos: Option<u8>,
    /// 1–255; for IPv6 the hop limit.
    pub ttl: Option<u8>,
}

impl SocketConfig {
    /// Creates a socket and starts to connect it, which may still be in progress for a stream (connect(2), EINPROGRESS).
    /// A datagram socket for a group or a broadcast stays unconnected, because its members answer from other addresses.
    pub fn connect(&self, to: &Address) -> io::Result<Descriptor> {
        let to = &self.scoped(to)?;
        let socket = self.socket(to.domain())?;

        if let Address::Inet(inet) = to {
            self.bind_source(&socket, *inet)?;
        } else if self.transport == Transport::Datagram {
            // Without a name, the socket could not be answered (unix(7), "Autobind feature").
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

    /// Creates a socket that listens, or, for datagrams, one that receives from every peer.
    pub fn listen(&self, at: &Address) -> io::Result<Descriptor> {
        let socket = self.bound(at, |socket| {
            // TCP: a port with connections in TIME_WAIT is free. UDP: the members of a group share its port (socket(7),
            // SO_REUSEADDR).
            if self.transport == Transport::Stream || self.options.join.is_some() {
                socket.set_reuse_address(at.family().is_some())?;
            }
            Ok(())
        })?;

        match self.transport {
            Transport::Stream => socket.listen(BACKLOG)?,
            Transport::Datagram => {
                self.join(&socket, at)?;
                // Without the destination address, answers leave from the address that the route prefers.
                let _ = sys::enable_packet_info(&SockRef::from(&socket), at.family() == Some(Family::V6));
            }
        }
        Ok(socket.into())
    }

    /// Creates a socket for one peer of a datagram listener, bound to the same port and connected: it receives the
    /// datagrams of this peer, and sends from the address that the peer knows.
    pub fn connected_socket(
        &self,
        listener: &Descriptor,
        at: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<Descriptor> {
        let shared = listener.socket();
        // Connected sockets share the port with each other, the listener only during this bind(2): with SO_REUSEADDR set
        // for longer, another program could bind the port as well.
        shared.set_reuse_address(true)?;
        let socket = self.bound(&Address::Inet(at), |socket| socket.set_reuse_address(true));
        shared.set_reuse_address(false)?;

        let socket = socket?;
        socket.connect(&peer.into())?;
        Ok(socket.into())
    }

    /// Tells whether datagrams to this address reach more than one receiver: it is a group, or `--broadcast` was given.
    pub fn reaches_many(&self, to: &Address) -> bool {
        match to {
            Address::Inet(inet) if self.transport == Transport::Datagram => {
                inet.ip().is_multicast() || (self.options.broadcast && inet.is_ipv4())
            }
            Address::Inet(_) | Address::Name { .. } | Address::Unix(_) => false,
        }
    }

    /// Adds the scope of `-i` to a link-local address that has none. Fails if it is missing altogether.
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

    /// Returns the configuration for connecting to `to`: `-b` without `-i` takes the device of the route.
    pub fn routed(&self, to: &Address) -> anyhow::Result<Self> {
        let mut config = self.clone();
        if let (true, None, Address::Inet(inet)) = (self.bind_device, &self.interface, to) {
            config.interface = Some(Interface::for_route(*inet)?);
        }
        Ok(config)
    }

    /// Binds a socket to the source address and port that were asked for, if any were.
    fn bind_source(&self, socket: &Socket, to: SocketAddr) -> io::Result<()> {
        let source = self.source_for(to.ip())?;
        if source.is_none() && self.source_port.is_none() {
            return Ok(());
        }
        // A port whose last connection is in TIME_WAIT can be used for another destination.
        if self.transport == Transport::Stream {
            socket.set_reuse_address(true)?;
        }

        let ip = source.unwrap_or(Family::of(to.ip()).any());
        let from = with_scope(SocketAddr::new(ip, self.source_port.unwrap_or(0)), self.scope_of(ip, to));
        socket.bind(&from.into()).map_err(|error| bind_error(&error, &Address::Inet(from)))
    }

    /// Creates a bound socket; `prepare` sets the options that must precede bind(2).
    fn bound(&self, at: &Address, prepare: impl FnOnce(&Socket) -> io::Result<()>) -> io::Result<Socket> {
        let at = self.scoped(at)?;
        let socket = self.socket(at.domain())?;
        prepare(&socket)?;
        if at.family() == Some(Family::V6) {
            // The default depends on the system (ipv6(7), bindv6only).
            socket.set_only_v6(self.only == Some(Family::V6))?;
        }
        socket.bind(&at.to_sockaddr()?)?;
        Ok(socket)
    }

    /// Creates a non-blocking socket with all its options, neither bound nor connected.
    fn socket(&self, domain: Domain) -> io::Result<Socket> {
        let kind = match self.transport {
            Transport::Datagram => Type::DGRAM,
            Transport::Stream => Type::STREAM,
        };
        let is_tcp = domain != Domain::UNIX && self.transport == Transport::Stream;
        // RFC 8684: a kernel without MPTCP creates a TCP socket, and a peer without it makes the connection TCP.
        let mptcp = (is_tcp && self.options.mptcp).then_some(Protocol::from(IPPROTO_MPTCP));
        let socket = match mptcp {
            Some(_) => Socket::new(domain, kind, mptcp).or_else(|_| Socket::new(domain, kind, None))?,
            None => Socket::new(domain, kind, None)?,
        };
        socket.set_nonblocking(true)?;

        if let (true, Some(interface)) = (self.bind_device, &self.interface) {
            sys::bind_device(&socket, &interface.name, interface.index)
                .map_err(|error| named("bind to the device", &interface.name, &error))?;
        }
        self.set_buffers(&socket, domain)?;
        self.set_ip_options(&socket, domain)?;
        if is_tcp {
            self.set_tcp_options(&socket)?;
        }
        if self.transport == Transport::Datagram {
            self.set_multicast_options(&socket, domain)?;
        }
        Ok(socket)
    }

    fn set_buffers(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
        if let Some(size) = self.options.sndbuf {
            socket.set_send_buffer_size(size)?;
        }

        match self.options.rcvbuf {
            Some(size) => socket.set_recv_buffer_size(size),
            // A datagram that finds the buffer full is lost, so it should hold a burst.
            None if self.transport == Transport::Datagram
                && domain != Domain::UNIX
                && sys::force_receive_buffer(&SockRef::from(socket), DATAGRAM_BUFFER).is_err() =>
            {
                socket.set_recv_buffer_size(DATAGRAM_BUFFER)
            }
            None => Ok(()),
        }
    }

    fn set_ip_options(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
        let options = &self.options;
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
        Ok(())
    }

    fn set_tcp_options(&self, socket: &Socket) -> io::Result<()> {
        let options = &self.options;
        if options.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(time) = options.keepalive {
            sys::set_keepalive(&SockRef::from(socket), time, KEEPALIVE_PROBES)?;
        }
        if let Some(name) = &options.congestion {
            sys::set_congestion(socket, name).map_err(|error| named("--congestion", name, &error))?;
        }
        Ok(())
    }

    /// Sets the reach of multicast datagrams, and the interface that they leave through.
    fn set_multicast_options(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
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

    /// Joins the multicast group of `--join`, if there is one.
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

    /// Returns the source address: that of `-a`, or the interface's of the same family as the destination.
    fn source_for(&self, destination: IpAddr) -> io::Result<Option<IpAddr>> {
        let family = Family::of(destination);
        let missing = |text: String| Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));

        match (self.source, &self.interface) {
            (Some(source), _) if Family::of(source) != family => {
                missing(format!("the source address {source} is not {family}"))
            }
            (Some(source), _) => Ok(Some(source)),
            // With `-b` alone, the kernel chooses the address on that device.
            (None, Some(interface)) => match interface.source_for(destination) {
                Some(source) => Ok(Some(source)),
                None => missing(format!("interface '{}' has no {family} address", interface.name)),
            },
            (None, None) => Ok(None),
        }
    }

    /// Returns the scope for a source address of ours.
    fn scope_of(&self, ip: IpAddr, to: SocketAddr) -> u32 {
        match (&self.interface, to) {
            _ if !needs_scope(ip) => 0,
            (Some(interface), _) => interface.index,
            (None, SocketAddr::V6(v6)) => v6.scope_id(),
            (None, SocketAddr::V4(_)) => 0,
        }
    }
}

/// Tells whether an address is ambiguous without a scope: link-local, or a link-local group (RFC 4007, RFC 4291 section 2.7).
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

fn named(action: &str, value: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{action} {value}: {}", sys::reason(error)))
}

fn bind_error(error: &io::Error, from: &Address) -> io::Error {
    let reason = sys::reason(error);
    io::Error::new(error.kind(), format!("bind to {from}: {reason}"))
}

/// Connections that wait to be accepted; the kernel caps the number (listen(2), somaxconn).
const BACKLOG: i32 = 4096;

/// Bytes of the receive buffer of a datagram socket, if the system permits as many.
const DATAGRAM_BUFFER: usize = 4 << 20;

/// Unanswered keepalive probes that end a connection (tcp(7), TCP_KEEPCNT).
const KEEPALIVE_PROBES: u32 = 9;

/// The protocol of Multipath TCP for socket(2), from linux/in.h.
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
    fn link_local_addresses_get_the_scope_of_the_interface() {
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
    fn source_address_must_be_of_the_family() {
        let with = SocketConfig { source: Some("10.0.0.1".parse().unwrap()), ..config(Transport::Stream) };
        let error = with.connect(&address("[::1]:9")).unwrap_err();
        assert_eq!(error.to_string(), "the source address 10.0.0.1 is not IPv6");
    }

    #[test]
    fn options_reach_the_socket() {
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
