//! Network interfaces: their names, indices, and source addresses.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, bail};
use if_addrs::get_if_addrs;

use super::Family;
use crate::sys;

/// An interface that is up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// The name that the system uses.
    pub name: String,
    /// The index, which is also the scope of link-local addresses (RFC 4007).
    pub index: u32,
    /// The addresses, in the order of the system.
    pub addresses: Vec<IpAddr>,
}

impl Interface {
    /// Finds an interface by name. It must exist, be up, and have an address.
    pub fn by_name(name: &str) -> Result<Self> {
        let entries: Vec<_> = get_if_addrs()
            .context("list the interfaces")?
            .into_iter()
            .filter(|entry| entry.name == name)
            .collect();
        let Some(first) = entries.first() else {
            match index_of(name) {
                Some(_) => bail!("interface '{name}' has no address (is it up?)"),
                None => bail!("there is no interface '{name}'{}", known()),
            }
        };

        if !first.is_oper_up() {
            bail!("interface '{name}' is down");
        }
        Ok(Self {
            name: name.to_owned(),
            index: first.index.or_else(|| index_of(name)).unwrap_or(0),
            addresses: entries.iter().map(if_addrs::Interface::ip).collect(),
        })
    }

    /// Finds the interface of the route to `destination`. For an address of this machine that is the loopback, whatever
    /// interface carries the address.
    pub fn for_route(destination: SocketAddr) -> Result<Self> {
        let probe = UdpSocket::bind((Family::of(destination.ip()).any(), 0))?;
        // connect(2) on a UDP socket sends no packet, but makes the kernel choose a route.
        probe.connect(destination)?;
        let local = probe.local_addr()?.ip();

        let entries = get_if_addrs().context("list the interfaces")?;
        // The kernel routes such an address through lo, but getifaddrs(3) lists it at its interface.
        let ours = entries.iter().any(|entry| entry.ip() == destination.ip());
        let found = entries
            .iter()
            .find(|entry| if ours { entry.is_loopback() } else { entry.ip() == local })
            .with_context(|| format!("no interface has the address {local}"))?;
        Self::by_name(&found.name)
    }

    /// Returns the source address for traffic to `destination`: of its family, and preferably link-local if and only if the
    /// destination is.
    pub fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        let family = Family::of(destination);
        let mut ours = self.addresses.iter().copied().filter(|ip| Family::of(*ip) == family);
        let wanted = is_link_local(destination);
        // An address of the other scope may still be routed, which the kernel decides.
        ours.clone().find(|ip| is_link_local(*ip) == wanted).or_else(|| ours.next())
    }
}

/// Tells whether an address is link-local (RFC 4291 section 2.5.6).
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Returns the index of an interface.
pub fn index_of(name: &str) -> Option<u32> {
    sys::interface_index(name)
}

/// Returns the name of an interface, or the index in decimal if no interface has it.
pub fn name_of(index: u32) -> String {
    sys::interface_name(index).unwrap_or_else(|| index.to_string())
}

/// Returns the address by which other machines can probably reach a wildcard listener: IPv4 if there is one, never
/// link-local, the loopback as a last resort. `v6` says that the listener accepts IPv6.
pub fn reachable(v6: bool) -> IpAddr {
    let known = get_if_addrs().unwrap_or_default();
    let fit = |entry: &&if_addrs::Interface| {
        !entry.is_loopback() && !is_link_local(entry.ip()) && entry.is_oper_up()
    };
    let mut fitting: Vec<IpAddr> = known.iter().filter(fit).map(if_addrs::Interface::ip).collect();
    fitting.retain(|ip| ip.is_ipv4() || v6);
    // The sort is stable, so the order of the system decides within a family.
    fitting.sort_by_key(IpAddr::is_ipv6);
    fitting.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

/// Lists the names of all interfaces, for the message that one is unknown.
fn known() -> String {
    let mut names: Vec<String> =
        get_if_addrs().unwrap_or_default().into_iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { String::new() } else { format!(" (there are {})", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_has_the_family_and_scope_of_the_destination() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let interface = Interface {
            name: "eth0".into(),
            index: 2,
            addresses: ["10.0.0.1", "fe80::1", "fd00::1", "10.0.0.2"].map(ip).to_vec(),
        };
        let table =
            [("192.0.2.1", Some("10.0.0.1")), ("2001:db8::1", Some("fd00::1")), ("fe80::2", Some("fe80::1"))];
        for (destination, source) in table {
            assert_eq!(interface.source_for(ip(destination)), source.map(ip), "{destination}");
        }
        let v4_only = Interface { addresses: vec![ip("10.0.0.1")], ..interface };
        assert_eq!(v4_only.source_for(ip("::1")), None);
    }

    #[test]
    fn route_to_this_machine_is_the_loopback() {
        let interface = Interface::for_route("127.0.0.1:9".parse().unwrap()).unwrap();
        assert!(interface.addresses.contains(&"127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_missing_interface_is_named() {
        let error = Interface::by_name("no-such-interface").unwrap_err().to_string();
        assert!(error.starts_with("there is no interface 'no-such-interface'"), "{error}");
    }
}
