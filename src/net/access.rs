//! The access rules: `--allow` and `--deny`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Result, bail};

use super::{Address, Family, address::literal};

/// The networks whose clients are accepted, and those whose clients are not.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `None` allows every client.
    pub allow: Option<Vec<Network>>,
    pub deny: Vec<Network>,
}

impl Access {
    /// Tells whether a client is accepted: its address is allowed, and not denied. The rules are for IP alone.
    pub fn admits(&self, client: &Address) -> bool {
        let address = match client {
            Address::Inet(address) => *address,
            Address::Name { .. } | Address::Unix(_) => return true,
        };
        // A denied address stays denied, even within an allowed network.
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        self.allow.as_deref().is_none_or(within) && !within(&self.deny)
    }
}

/// The addresses with a common prefix (RFC 4632; RFC 4291 section 2.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    ip: IpAddr,
    /// Length of the prefix.
    bits: u32,
    /// The interface index of a link-local address (RFC 4007); 0 is any.
    scope: u32,
}

impl Network {
    /// Returns the network of all addresses of a family.
    pub fn all(family: Family) -> Self {
        Self { ip: family.any(), bits: 0, scope: 0 }
    }

    /// Returns the network of one address; its port is ignored.
    pub fn of(address: SocketAddr) -> Self {
        let ip = address.ip().to_canonical();
        Self { ip, bits: width(ip), scope: scope(address) }
    }

    /// Tells whether an address is in the network. A v4-mapped one counts as IPv4.
    pub fn contains(&self, address: SocketAddr) -> bool {
        if self.scope != 0 && self.scope != scope(address) {
            return false;
        }

        let ip = address.ip().to_canonical();
        // A shift by all bits, for the prefix /0, is `None`: every address matches.
        let free = width(self.ip) - self.bits;
        let alike = |one: u128, other: u128| (one ^ other).checked_shr(free).unwrap_or(0) == 0;
        ip.is_ipv4() == self.ip.is_ipv4() && alike(number(ip), number(self.ip))
    }
}

/// A rule as the user writes it; a name has yet to be resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rule {
    Any,
    Name(String),
    Network(Network),
}

impl Rule {
    /// Parses `any`, an address, `ADDRESS/BITS`, or a name.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "any" {
            return Ok(Self::Any);
        }

        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        // Brackets are tolerated, because URLs write IPv6 addresses in them (RFC 3986 section 3.2.2).
        let known = literal(address.trim_start_matches('[').trim_end_matches(']'));
        let (Some(known), Some(bits)) = (known, bits) else {
            // A scope needs an address: `%` is never a part of a name.
            let is_name = bits.is_none() && !text.is_empty() && !text.contains('%');
            return match known {
                Some(known) => Ok(Self::Network(Network::of(known))),
                None if is_name => Ok(Self::Name(text.to_owned())),
                None => bail!("'{text}' is no address, network or name"),
            };
        };

        let (ip, scope) = (known.ip(), scope(known));
        Ok(Self::Network(match (ip.to_canonical(), bits.parse::<u32>()) {
            // RFC 4291 section 2.5.5.2: ::ffff:0:0/96 holds the IPv4 addresses.
            (v4 @ IpAddr::V4(_), Ok(bits @ 96..=128)) if ip.is_ipv6() => {
                Network { ip: v4, bits: bits - 96, scope }
            }
            (_, Ok(bits)) if bits <= width(ip) => Network { ip, bits, scope },
            _ => bail!("'{text}': {address} has {} bits", width(ip)),
        }))
    }
}

/// Returns the part of an address that the clients of one site share: all of an IPv4 address, the first 64 bits of an IPv6
/// one, since a site chooses the rest (RFC 4291 section 2.5.4).
pub fn site(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        match Rule::parse(text).unwrap() {
            Rule::Network(network) => network,
            other => panic!("{other:?}"),
        }
    }

    fn at(ip: &str) -> SocketAddr {
        literal(ip).unwrap()
    }

    #[test]
    fn networks() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            // Bits behind the prefix are ignored.
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1/32", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("fe80::/10", "febf::1", true),
            ("fe80::/10", "fec0::1", false),
            ("fe80::/10", "fe80::1%3", true),
            ("fe80::1", "fe80::1%3", true),
            ("fe80::1%3", "fe80::1%3", true),
            ("fe80::1%3", "fe80::1%4", false),
            ("fe80::%3/10", "fe80::1%4", false),
            ("[2001:db8::]/32", "2001:db8:ffff::1", true),
        ];
        for (text, ip, within) in table {
            assert_eq!(network(text).contains(at(ip)), within, "{ip} in {text}");
        }
    }

    #[test]
    fn rules() {
        assert_eq!(Rule::parse("any").unwrap(), Rule::Any);
        assert_eq!(Rule::parse("example.org").unwrap(), Rule::Name("example.org".into()));
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "example.org/8", "fe80::1%nowhere"]
        {
            assert!(Rule::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn access() {
        let (own, one) = (at("10.0.0.5"), at("10.0.0.6"));
        let (ten, five) = (network("10.0.0.0/8"), network("10.0.0.5"));
        let table = [
            (None, vec![], (true, true)),
            (Some(vec![ten]), vec![], (true, true)),
            (Some(vec![five]), vec![], (true, false)),
            (None, vec![five], (false, true)),
            (Some(vec![ten]), vec![five], (false, true)),
            (Some(vec![]), vec![], (false, false)),
        ];
        for (allow, deny, (first, second)) in table {
            let access = Access { allow, deny };
            let admits = |address| access.admits(&Address::Inet(address));
            assert_eq!((admits(own), admits(one)), (first, second), "{access:?}");
        }
    }

    #[test]
    fn sites() {
        let table = [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ];
        for (ip, common) in table {
            assert_eq!(site(ip.parse().unwrap()).to_string(), common);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_rejected(text in ".*") {
            let _ = Rule::parse(&text);
        }

        #[test]
        fn every_prefix_of_an_address_contains_it(ip: IpAddr, bits in 0_u32..=128) {
            let bits = bits.min(width(ip));
            let within = network(&format!("{ip}/{bits}")).contains(SocketAddr::new(ip, 1));
            // A v4-mapped prefix is only one of IPv4 from 96 bits on.
            prop_assert!(within || ip.to_canonical() != ip);
        }
    }
}
