//! How much may be sent now, and when more: a rate, and a delay between pieces. It sees no bytes.

use std::time::{Duration, Instant};

/// The pace of one direction.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Bytes per second (`--rate`).
    rate: Option<u64>,
    /// Bytes that may be saved up while the source is silent.
    burst: f64,
    /// Between the starts of pieces (`-d`).
    delay: Option<Duration>,
    /// Bytes that may go at `since`; below zero after a piece that could not be divided.
    tokens: f64,
    since: Option<Instant>,
    /// When the next piece may start.
    next: Option<Instant>,
}

impl Pace {
    /// Takes a rate in bytes per second, and a delay between pieces.
    pub fn new(rate: Option<u64>, delay: Option<Duration>) -> Self {
        // Silence saves up a little, so that a bursty source keeps its average.
        let burst = rate.map_or(0.0, |rate| (rate as f64 * MAX_SAVED_SECONDS).max(1.0));
        Self { rate, burst, delay, tokens: 0.0, since: None, next: None }
    }

    /// Allows as many datagrams of `size` bytes in a millisecond as half a receiver's buffer holds: nothing else holds a
    /// sender back, and a receiver that has to wait for its turn can still catch up.
    pub fn for_datagrams(size: usize, delay: Option<Duration>) -> Self {
        // The kernel charges each datagram for its bookkeeping too.
        let burst = RECEIVE_BUFFER / 2 / (size + DATAGRAM_COST) * size;
        let (rate, burst) = (burst as u64 * 1000, burst as f64);
        Self { rate: Some(rate), burst, delay, tokens: burst, since: None, next: None }
    }

    /// Returns whether pieces are kept apart in time.
    pub fn has_delay(&self) -> bool {
        self.delay.is_some()
    }

    /// Returns whether a new piece may start; else when.
    pub fn start(&mut self, now: Instant) -> Result<(), Instant> {
        match self.next {
            Some(next) if now < next => Err(next),
            _ => Ok(()),
        }
    }

    /// Returns how many bytes may be sent now; else when.
    pub fn allow(&mut self, now: Instant) -> Result<usize, Instant> {
        let Some(rate) = self.rate else { return Ok(usize::MAX) };
        let rate = rate as f64;

        let since = *self.since.get_or_insert(now);
        if now > since {
            let gained = (now - since).as_secs_f64() * rate;
            self.tokens = (self.tokens + gained).min(self.burst);
            self.since = Some(now);
        }

        // A wake-up for every byte would cost more than it sends: a part of the burst is awaited.
        let wanted = (self.burst * WAKE_BURST_PART).min(MAX_WAKE_BYTES).min(rate * WAKE_SECONDS).max(1.0);
        if self.tokens >= wanted {
            return Ok(self.tokens as usize);
        }

        let wait = Duration::from_secs_f64((wanted - self.tokens) / rate);
        Err(now + wait.max(MIN_WAIT))
    }

    /// Counts bytes that were sent.
    pub fn spend(&mut self, bytes: usize) {
        if self.rate.is_some() {
            self.tokens -= bytes as f64;
        }
    }

    /// Counts a piece that was sent whole.
    pub fn finish_piece(&mut self, now: Instant) {
        self.next = self.delay.map(|delay| now + delay);
    }
}

/// Seconds of the rate that may be saved up while the source is silent.
const MAX_SAVED_SECONDS: f64 = 0.1;

/// Bytes of the receive buffer that a Linux program has when it asks for nothing (socket(7), rmem_default).
const RECEIVE_BUFFER: usize = 212_992;

/// Bytes that the kernel counts for a datagram beside its data, at least.
const DATAGRAM_COST: usize = 1024;

/// The part of a burst that is worth waking up for.
const WAKE_BURST_PART: f64 = 0.25;

/// Seconds of the rate that are worth waking up for.
const WAKE_SECONDS: f64 = 0.01;

/// The shortest wait: the clock of a poll ticks no faster.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// Bytes that are worth waking up for, whatever the rate.
const MAX_WAKE_BYTES: f64 = 65_536.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends pieces of up to `size` bytes for `time`, and tells how many bytes went.
    fn run(mut pace: Pace, size: usize, time: Duration) -> usize {
        let start = Instant::now();
        let (mut now, mut sent) = (start, 0);

        while now < start + time {
            match pace.start(now).and_then(|()| pace.allow(now)) {
                Ok(most) => {
                    let n = size.min(most);
                    pace.spend(n);
                    pace.finish_piece(now);
                    sent += n;
                }
                Err(when) => {
                    assert!(when > now, "it would spin");
                    now = when;
                }
            }
        }
        sent
    }

    #[test]
    fn the_rate_is_kept_whatever_the_pieces() {
        for rate in [1_u64, 100, 10_000, 1_000_000, 5_000_000_000] {
            for size in [1_usize, 1400, 1 << 20] {
                let size = size.max(usize::try_from(rate / 1000).unwrap());
                let sent = run(Pace::new(Some(rate), None), size, Duration::from_secs(20)) as f64;
                let due = rate as f64 * 20.0;
                assert!((due * 0.95 - 1.0..due * 1.05 + 1.0).contains(&sent), "{rate} {size}: {sent}");
            }
        }
    }

    #[test]
    fn a_delay_stands_between_pieces_and_not_before_the_first() {
        let mut pace = Pace::new(None, Some(Duration::from_secs(2)));
        let now = Instant::now();
        assert_eq!(pace.start(now), Ok(()));
        pace.spend(3);
        assert_eq!(pace.start(now), Ok(()));
        pace.spend(3);
        pace.finish_piece(now);
        let next = now + Duration::from_secs(2);
        assert_eq!(pace.start(now), Err(next));
        assert_eq!(pace.start(next), Ok(()));
    }

    #[test]
    fn datagrams_leave_as_half_a_receive_buffer_holds_them() {
        for size in [1_usize, 64, 512, 1400, 9000, 65_507] {
            let now = Instant::now();
            let mut pace = Pace::for_datagrams(size, None);
            let (mut time, mut datagrams) = (now, Vec::new());

            while time < now + Duration::from_millis(30) {
                match pace.allow(time) {
                    Ok(_) => {
                        pace.spend(size);
                        pace.finish_piece(time);
                        datagrams.push(time);
                    }
                    Err(when) => time = when,
                }
            }

            // Those of any millisecond, with what the kernel keeps for each.
            let most = datagrams.iter().enumerate().map(|(first, start)| {
                let end = *start + Duration::from_millis(1);
                datagrams.partition_point(|at| *at < end) - first
            });
            let most = most.max().unwrap();

            assert!(most * (size + DATAGRAM_COST) <= RECEIVE_BUFFER / 2, "{size}: {most}");
            assert!(datagrams.len() >= 25, "{size}: {}", datagrams.len());
        }
    }

    #[test]
    fn silence_saves_up_a_tenth_of_a_second_and_no_more() {
        let now = Instant::now();
        let mut pace = Pace::new(Some(1000), None);
        let _ = pace.allow(now);
        assert_eq!(pace.allow(now + Duration::from_secs(60)), Ok(100));
    }
}
