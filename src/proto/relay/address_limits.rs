//! Limits by address: the number of clients, and the rate at which they connect.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// The clients of each address, and their rate.
#[derive(Debug)]
pub struct AddressLimits {
    /// Connected clients of one address; 0 is no limit.
    max_clients: usize,
    known: HashMap<IpAddr, AddressRecord>,
}

/// A token bucket, and the connected clients.
#[derive(Debug)]
struct AddressRecord {
    clients: usize,
    /// Clients that may connect at `since`.
    tokens: f64,
    since: Instant,
}

impl AddressLimits {
    /// Sets the limit of connected clients of one address; 0 is none.
    pub fn new(max_clients: usize) -> Self {
        Self { max_clients, known: HashMap::new() }
    }

    /// Admits a client, unless its address has too many: `Ok(false)`. If they connect too fast, fails with the time at
    /// which the client may be admitted. Loopback has no limits.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Result<bool, Instant> {
        let Some(key) = key(address) else { return Ok(true) };
        if self.known.len() > MAX_ADDRESSES {
            // An address with a full bucket and no client is as good as unknown.
            self.known.retain(|_, record| record.clients > 0 || record.available(now) < MAX_BURST);
        }
        let new = AddressRecord { clients: 0, tokens: MAX_BURST, since: now };
        let record = self.known.entry(key).or_insert(new);
        if self.max_clients > 0 && record.clients >= self.max_clients {
            return Ok(false);
        }

        let tokens = record.available(now);
        if tokens < 1.0 {
            // The time at which the bucket holds a whole token again.
            return Err(now + Duration::from_secs_f64((1.0 - tokens) / CLIENTS_PER_SECOND));
        }
        *record = AddressRecord { clients: record.clients + 1, tokens: tokens - 1.0, since: now };
        Ok(true)
    }

    /// Records that a client of this address has left.
    pub fn leave(&mut self, address: IpAddr) {
        if let Some(record) = key(address).and_then(|key| self.known.get_mut(&key)) {
            record.clients = record.clients.saturating_sub(1);
        }
    }
}

impl AddressRecord {
    /// Returns the clients that may connect now.
    fn available(&self, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.since).as_secs_f64() * CLIENTS_PER_SECOND;
        (self.tokens + gained).min(MAX_BURST)
    }
}

/// Returns the part of an address that the limits apply to: an IPv4 address, or the /64 that an IPv6 host can choose from
/// (RFC 4291 section 2.5.1). `None` for loopback.
fn key(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    Some(match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    })
}

/// Clients of one address that may connect in a second, in the long run.
const CLIENTS_PER_SECOND: f64 = 200.0;

/// Clients of one address that may connect at once.
const MAX_BURST: f64 = 400.0;

/// Addresses that are kept before those without clients are dropped.
const MAX_ADDRESSES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_a_limit_of_its_own() {
        let (mut limits, now) = (AddressLimits::new(2), Instant::now());
        let mut admit = |text| limits.admit(ip(text), now).unwrap();
        assert!(admit("192.0.2.1") && admit("::ffff:192.0.2.1"));
        assert!(!admit("192.0.2.1"));
        assert!(admit("192.0.2.2"));
        assert!(admit("2001:db8::1") && admit("2001:db8::ffff"));
        assert!(!admit("2001:db8::2"), "the same /64");
        assert!(admit("2001:db8:0:1::2"));

        for _ in 0..1000 {
            assert!(limits.admit(ip("127.0.0.1"), now).unwrap() && limits.admit(ip("::1"), now).unwrap());
        }
        limits.leave(ip("192.0.2.1"));
        assert!(limits.admit(ip("192.0.2.1"), now).unwrap());
    }

    #[test]
    fn burst_then_rate() {
        let (mut limits, mut now) = (AddressLimits::new(0), Instant::now());
        let peer = ip("192.0.2.1");
        let mut admitted = 0;

        let until = now + Duration::from_secs(2);
        while now < until {
            match limits.admit(peer, now) {
                Ok(within_limit) => {
                    assert!(within_limit);
                    admitted += 1;
                }
                Err(when) => {
                    assert!(when > now, "it would spin");
                    now = when;
                }
            }
        }

        assert!((798..=802).contains(&admitted), "{admitted}");
    }

    #[test]
    fn idle_addresses_are_dropped() {
        let (mut limits, now) = (AddressLimits::new(1), Instant::now());
        for n in 0..=u32::try_from(MAX_ADDRESSES).unwrap() {
            let peer = IpAddr::from(n.wrapping_add(1 << 30).to_be_bytes());
            assert_eq!(limits.admit(peer, now), Ok(true));
            limits.leave(peer);
        }
        assert_eq!(limits.admit(ip("192.0.2.1"), now + Duration::from_secs(9)), Ok(true));
        assert_eq!(limits.known.len(), 1);
    }
}
