//! Addresses of sockets: the notations that users write, and the one type that holds them.

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use socket2::{Domain, SockAddr};

use super::{Family, Transport, interface};

/// The address of a socket.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Address {
    Inet(SocketAddr),
    /// A host that the proxy resolves: no socket of ours can connect to it.
    Name {
        host: String,
        port: u16,
    },
    /// A path, or `@name` in the abstract name space (unix(7)); empty for a socket without a name.
    Unix(PathBuf),
}

impl Address {
    /// Returns the version of IP; `None` for other families.
    pub fn family(&self) -> Option<Family> {
        match self {
            Self::Inet(address) => Some(Family::of(address.ip())),
            Self::Name { .. } | Self::Unix(_) => None,
        }
    }

    /// Sets the port of an IP address; others stay as they are.
    pub fn set_port(&mut self, port: u16) {
        if let Self::Inet(address) = self {
            address.set_port(port);
        }
    }

    /// Returns the IP address, if it is known.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip()),
            Self::Name { .. } | Self::Unix(_) => None,
        }
    }

    /// Returns the address without its port; a v4-mapped address in its IPv4 form.
    pub fn host(&self) -> String {
        match self {
            // RFC 4007 section 11: the zone follows the address behind a `%`.
            Self::Inet(SocketAddr::V6(v6)) if v6.scope_id() != 0 => {
                let scope = interface::name_of(v6.scope_id());
                format!("{}%{scope}", v6.ip())
            }
            Self::Inet(address) => address.ip().to_canonical().to_string(),
            Self::Name { host, .. } => host.clone(),
            Self::Unix(path) if path.as_os_str().is_empty() => "a nameless socket".to_owned(),
            Self::Unix(path) => path.display().to_string(),
        }
    }

    /// Returns the port, if the family has ports.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Name { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// Returns the domain for socket(2); AF_UNSPEC for a name, for which no socket can be created.
    pub fn domain(&self) -> Domain {
        match self {
            Self::Inet(address) => Domain::for_address(*address),
            Self::Name { .. } => Domain::from(0),
            Self::Unix(_) => Domain::UNIX,
        }
    }

    /// Converts the address for system calls. Fails for a name, and for a UNIX path that is too long.
    pub fn to_sockaddr(&self) -> io::Result<SockAddr> {
        match self {
            Self::Inet(address) => Ok((*address).into()),
            Self::Name { .. } => Err(io::ErrorKind::Unsupported.into()),
            Self::Unix(path) => match path.to_str().and_then(|path| path.strip_prefix('@')) {
                // unix(7): a path that begins with NUL is a name in the abstract name space.
                Some(name) => SockAddr::unix(format!("\0{name}")),
                None => SockAddr::unix(path),
            },
        }
    }
}

impl From<&SockAddr> for Address {
    fn from(address: &SockAddr) -> Self {
        if let Some(inet) = address.as_socket() {
            return Self::Inet(canonical(inet));
        }
        if let Some(path) = address.as_pathname() {
            return Self::Unix(path.to_owned());
        }
        let name = address.as_abstract_namespace().map(String::from_utf8_lossy);
        Self::Unix(name.map_or_else(PathBuf::new, |name| PathBuf::from(format!("@{name}"))))
    }
}

/// The notation of messages: `127.0.0.1 port 80`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port() {
            Some(port) => write!(f, "{} port {port}", self.host()),
            None => f.write_str(&self.host()),
        }
    }
}

/// Converts a v4-mapped address, by which a dual-stack socket reports an IPv4 peer, to its IPv4 form.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, address.port())),
        IpAddr::V6(_) => address,
    }
}

/// Parses a literal address, with the scope of a link-local one: `fe80::1%eth0`, `fe80::1%2`. Returns `None` for a name.
/// The port is 0.
pub fn literal(host: &str) -> Option<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 0));
    }
    let (ip, scope) = host.split_once('%')?;
    let ip: Ipv6Addr = ip.parse().ok()?;
    // A number is an index; a name is looked up, and fails if no interface has it.
    let scope = scope.parse().ok().or_else(|| interface::index_of(scope))?;
    Some(SocketAddrV6::new(ip, 0, 0, scope).into())
}

/// A destination in one argument: `HOST`, `HOST:PORT`, `[v6]:PORT`, `tcp://…`, `udp://…`, `unix:PATH`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Location {
    Inet { transport: Option<Transport>, host: String, port: Option<String> },
    Unix(PathBuf),
}

impl Location {
    /// Parses a destination. A bare IPv6 literal is a host without a port.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                bail!("'{text}' names no path");
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }

        let schemes = [("tcp://", Transport::Stream), ("udp://", Transport::Datagram)];
        let scheme =
            schemes.into_iter().find_map(|(scheme, transport)| Some((text.strip_prefix(scheme)?, transport)));
        let (rest, transport) = match scheme {
            Some((rest, transport)) => (rest.strip_suffix('/').unwrap_or(rest), Some(transport)),
            None => match text.split_once("://") {
                Some((scheme, _)) => bail!("'{scheme}://' is not known here: tcp://, udp:// and unix: are"),
                None => (text, None),
            },
        };

        let (host, port) = split_port(rest)?;
        // A port alone means every address of a listener, or this machine.
        if host.is_empty() && port.is_none() {
            bail!("the host is empty");
        }
        Ok(Self::Inet { transport, host: host.to_owned(), port: port.map(str::to_owned) })
    }
}

/// Splits `HOST:PORT` and `[ADDRESS]:PORT`.
fn split_port(text: &str) -> Result<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, "")) => Ok((host, None)),
            Some((host, rest)) => match rest.strip_prefix(':') {
                Some(port) if !port.is_empty() => Ok((host, Some(port))),
                _ => bail!("'{text}' should be [ADDRESS]:PORT"),
            },
            None => bail!("'{text}' has no closing bracket"),
        };
    }

    match text.split_once(':') {
        // More than one colon: a bare IPv6 address.
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((_, "")) => bail!("'{text}' has a colon but no port"),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

/// The file of a UNIX socket, removed when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl SocketFile {
    /// Takes ownership of a file that bind(2) has created.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed already, which is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inet(transport: Option<Transport>, host: &str, port: Option<&str>) -> Location {
        Location::Inet { transport, host: host.to_owned(), port: port.map(str::to_owned) }
    }

    #[test]
    fn locations() {
        use Transport::{Datagram, Stream};
        let table = [
            ("example.org", inet(None, "example.org", None)),
            ("example.org:80", inet(None, "example.org", Some("80"))),
            (":80", inet(None, "", Some("80"))),
            ("::1", inet(None, "::1", None)),
            ("fe80::1%eth0", inet(None, "fe80::1%eth0", None)),
            ("[::1]", inet(None, "::1", None)),
            ("[::1]:http", inet(None, "::1", Some("http"))),
            ("[fe80::1%eth0]:9", inet(None, "fe80::1%eth0", Some("9"))),
            ("tcp://a:1", inet(Some(Stream), "a", Some("1"))),
            ("tcp://a:1/", inet(Some(Stream), "a", Some("1"))),
            ("udp://[::1]:53", inet(Some(Datagram), "::1", Some("53"))),
            ("udp://a", inet(Some(Datagram), "a", None)),
            ("unix:/run/x", Location::Unix("/run/x".into())),
            ("unix:///run/x", Location::Unix("/run/x".into())),
            ("unix:@name", Location::Unix("@name".into())),
        ];
        for (text, location) in table {
            assert_eq!(Location::parse(text).unwrap(), location, "{text}");
        }
        for text in ["", "a:", "[::1", "[::1]x", "[::1]:", "http://a", "unix:", "tcp://"] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn literals_and_names() {
        for text in ["127.0.0.1", "::1", "::ffff:1.2.3.4", "fe80::1%1", "fe80::1%lo"] {
            assert!(literal(text).is_some(), "{text}");
        }
        for text in ["localhost", "127.1", "1.2.3.4.5", "::g", "fe80::1%no-such-interface", "1.2.3.4%1"] {
            assert!(literal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn mapped_addresses_are_shown_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:80".parse().unwrap();
        assert_eq!(Address::from(&SockAddr::from(mapped)).to_string(), "192.0.2.1 port 80");
    }

    #[test]
    fn unix_names_survive_conversion_to_a_sockaddr() {
        for name in ["/tmp/x", "@abstract", "relative"] {
            let address = Address::Unix(name.into());
            assert_eq!(Address::from(&address.to_sockaddr().unwrap()), address);
        }
        assert!(Address::Unix("x".repeat(200).into()).to_sockaddr().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_rejected(text in ".*") {
            let _ = Location::parse(&text);
            let _ = literal(&text);
        }

        #[test]
        fn every_address_parses_back(ip: IpAddr, port in 0_u16..) {
            let spelled = SocketAddr::new(ip, port).to_string();
            let host = ip.to_string();
            prop_assert_eq!(Location::parse(&spelled).unwrap(), inet(None, &host, Some(&port.to_string())));
            prop_assert_eq!(literal(&host), Some(SocketAddr::new(ip, 0)));
        }
    }
}
