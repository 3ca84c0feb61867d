//! The order and times of connection attempts (RFC 8305, Happy Eyeballs Version 2): a schedule without sockets.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use super::Address;

/// A race between the addresses of one host.
#[derive(Debug)]
pub struct Race {
    waiting: VecDeque<Address>,
    running: usize,
    /// The time when the next attempt starts although others are still running.
    next: Instant,
    failures: Vec<(Address, io::Error)>,
}

/// The next step of a race.
#[derive(Debug, Eq, PartialEq)]
pub enum Next {
    /// Every address has failed: see [`Race::failures`].
    Failed,
    /// Start to connect to this address.
    Try(Address),
    /// Wait for the attempts that are running; until this time, if more addresses are left.
    Wait(Option<Instant>),
}

impl Race {
    /// Orders the addresses: the families take turns, and the one that the resolver put first begins (RFC 8305 section
    /// 4).
    pub fn new(addresses: Vec<Address>, now: Instant) -> Self {
        let first = addresses.first().and_then(Address::family);
        let (mut ours, mut others): (VecDeque<_>, VecDeque<_>) =
            addresses.into_iter().partition(|address| address.family() == first);

        let mut waiting = VecDeque::with_capacity(ours.len() + others.len());
        while !(ours.is_empty() && others.is_empty()) {
            waiting.extend(ours.pop_front());
            waiting.extend(others.pop_front());
        }
        Self { waiting, running: 0, next: now, failures: Vec::new() }
    }

    /// Returns the step to take at `now`. Must be called again until the step is to wait.
    pub fn next(&mut self, now: Instant) -> Next {
        // Without a running attempt there is none to wait for, as at the start and after the last failure.
        if self.running == 0 || now >= self.next {
            if let Some(address) = self.waiting.pop_front() {
                self.running += 1;
                self.next = now + ATTEMPT_DELAY;
                return Next::Try(address);
            }
            if self.running == 0 {
                return Next::Failed;
            }
        }
        Next::Wait((!self.waiting.is_empty()).then_some(self.next))
    }

    /// Records that an attempt has failed; the next one starts at once (RFC 8305 section 5).
    pub fn failed(&mut self, address: Address, error: io::Error, now: Instant) {
        self.running -= 1;
        self.next = now;
        self.failures.push((address, error));
    }

    /// Puts back an address whose attempt could not start, to be tried next.
    pub fn postpone(&mut self, address: Address) {
        self.running -= 1;
        self.waiting.push_front(address);
    }

    /// Returns the addresses that have failed, and their errors.
    pub fn failures(self) -> Vec<(Address, io::Error)> {
        self.failures
    }

    /// Returns all addresses, failed, running and waiting, for the message that time is up.
    pub fn addresses<'a>(&'a self, running: impl Iterator<Item = &'a Address>) -> Vec<&'a Address> {
        self.failures.iter().map(|(address, _)| address).chain(running).chain(&self.waiting).collect()
    }
}

/// The "Connection Attempt Delay" (RFC 8305 section 8: 250 ms is recommended).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses<const N: usize>(list: [&str; N]) -> Vec<Address> {
        list.map(|text| Address::Inet(text.parse().unwrap())).to_vec()
    }

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    fn tried(race: &mut Race, now: Instant) -> String {
        match race.next(now) {
            Next::Try(address) => address.host(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn families_take_turns() {
        let table: [(Vec<Address>, &[&str]); 4] = [
            (
                addresses(["[::1]:1", "[::2]:1", "1.1.1.1:1", "1.1.1.2:1"]),
                &["::1", "1.1.1.1", "::2", "1.1.1.2"],
            ),
            (addresses(["1.1.1.1:1", "1.1.1.2:1", "[::1]:1"]), &["1.1.1.1", "::1", "1.1.1.2"]),
            (addresses(["[::1]:1", "[::2]:1"]), &["::1", "::2"]),
            (addresses(["1.1.1.1:1"]), &["1.1.1.1"]),
        ];
        for (list, order) in table {
            let now = Instant::now();
            let mut race = Race::new(list, now);
            for host in order {
                assert_eq!(tried(&mut race, now + ATTEMPT_DELAY * 9), *host);
                race.next = now;
            }
        }
    }

    #[test]
    fn next_attempt_starts_after_250_ms_or_at_once_on_failure() {
        let now = Instant::now();
        let ms = |ms| now + Duration::from_millis(ms);
        let mut race = Race::new(addresses(["[::1]:1", "1.1.1.1:1", "1.1.1.2:1"]), now);
        assert_eq!(tried(&mut race, now), "::1");
        assert_eq!(race.next(ms(249)), Next::Wait(Some(ms(250))));
        assert_eq!(tried(&mut race, ms(250)), "1.1.1.1");
        assert_eq!(race.next(ms(260)), Next::Wait(Some(ms(500))));
        race.failed(addresses(["1.1.1.1:1"]).remove(0), refused(), ms(260));
        assert_eq!(tried(&mut race, ms(260)), "1.1.1.2");
        assert_eq!(race.next(ms(900)), Next::Wait(None));
    }

    #[test]
    fn fails_with_the_last_attempt() {
        let now = Instant::now();
        let mut race = Race::new(addresses(["[::1]:1", "1.1.1.1:1"]), now);
        for host in ["::1", "1.1.1.1"] {
            assert_eq!(tried(&mut race, now), host);
            race.failed(addresses(["1.1.1.1:1"]).remove(0), refused(), now);
        }
        assert_eq!(race.next(now), Next::Failed);
        assert_eq!(race.failures().len(), 2);
    }

    #[test]
    fn postponed_attempts_are_repeated() {
        let now = Instant::now();
        let mut race = Race::new(addresses(["[::1]:1"]), now);
        assert_eq!(tried(&mut race, now), "::1");
        race.postpone(addresses(["[::1]:1"]).remove(0));
        assert_eq!(tried(&mut race, now), "::1");
        assert_eq!(race.next(now), Next::Wait(None));
    }

    #[test]
    fn fails_at_once_without_addresses() {
        let now = Instant::now();
        assert_eq!(Race::new(Vec::new(), now).next(now), Next::Failed);
    }
}
