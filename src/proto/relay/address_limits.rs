//! Where clients come from: how many of each address there are, and how fast they come.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// All addresses that clients have come from of late.
#[derive(Debug)]
pub struct AddressLimits {
    /// Clients of one address at once; 0 is no limit.
    most: usize,
    known: HashMap<IpAddr, Origin>,
}

#[derive(Debug)]
struct Origin {
    clients: usize,
    /// Clients that may come at `since`.
    tokens: f64,
    since: Instant,
}

impl AddressLimits {
    /// Nobody has come; `most` clients may come from one address at once, 0 being no limit.
    pub fn new(most: usize) -> Self {
        Self { most, known: HashMap::new() }
    }

    /// Lets a client of this address in: `Ok(false)` if there are too many; or says when it may come. This machine
    /// may do as it likes.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Result<bool, Instant> {
        let Some(key) = key(address) else { return Ok(true) };
        if self.known.len() > MAX_ADDRESSES {
            self.known.retain(|_, origin| origin.clients > 0 || origin.gain(now) < MAX_BURST);
        }
        let new = Origin { clients: 0, tokens: MAX_BURST, since: now };
        let origin = self.known.entry(key).or_insert(new);
        if self.most > 0 && origin.clients >= self.most {
            return Ok(false);
        }
        let tokens = origin.gain(now);
        if tokens < 1.0 {
            return Err(now + Duration::from_secs_f64((1.0 - tokens) / CLIENTS_PER_SECOND));
        }
        *origin = Origin { clients: origin.clients + 1, tokens: tokens - 1.0, since: now };
        Ok(true)
    }

    /// A client of this address has gone.
    pub fn leave(&mut self, address: IpAddr) {
        if let Some(origin) = key(address).and_then(|key| self.known.get_mut(&key)) {
            origin.clients = origin.clients.saturating_sub(1);
        }
    }
}

impl Origin {
    fn gain(&self, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.since).as_secs_f64() * CLIENTS_PER_SECOND;
        (self.tokens + gained).min(MAX_BURST)
    }
}

/// What counts as one address: an IPv4 address, or the /64 that an IPv6 host can choose from (RFC 4291, 2.5.1).
/// `None` for loopback.
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

/// Clients a second from one address.
const CLIENTS_PER_SECOND: f64 = 200.0;

/// Clients at once from one address, before the rate counts.
const MAX_BURST: f64 = 400.0;

/// Addresses before those that have done nothing for a while are forgotten.
const MAX_ADDRESSES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_may_have_so_many_and_another_has_its_own() {
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
    fn a_burst_and_then_the_rate() {
        let (mut limits, mut now) = (AddressLimits::new(0), Instant::now());
        let peer = ip("192.0.2.1");
        let mut came = 0;
        let until = now + Duration::from_secs(2);
        while now < until {
            match limits.admit(peer, now) {
                Ok(let_in) => {
                    assert!(let_in);
                    came += 1;
                }
                Err(when) => {
                    assert!(when > now, "it would spin");
                    now = when;
                }
            }
        }
        assert!((798..=802).contains(&came), "{came}");
    }

    #[test]
    fn who_is_gone_is_forgotten() {
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
