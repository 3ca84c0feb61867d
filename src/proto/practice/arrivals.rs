//! What has come of a stream of packets: how many, in which order, and how evenly.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// The packets of a stream, as they come.
#[derive(Debug)]
pub struct Arrivals {
    expected: u32,
    interval: Duration,
    start: Instant,
    /// Of each packet that has come: when, and its number, counted up from 0, if it bears one.
    came: Vec<(Instant, Option<u32>)>,
    /// Numbers that have come, and packets without one.
    distinct: HashSet<u32>,
    unnumbered: usize,
}

/// What there is to say of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub sent: u32,
    pub received: u32,
    pub lost: u32,
    /// Packets that came after one with a later number; `None` where packets bear no numbers.
    pub reordered: Option<u32>,
    pub duplicated: Option<u32>,
    /// RFC 3550, 6.4.1, as it stood at the end.
    pub jitter: Duration,
    /// From the request to the last packet.
    pub time: Duration,
    /// How many gaps between packets were how long: up to each length, the last one without end.
    pub gaps: Vec<(Option<Duration>, u32)>,
}

impl Arrivals {
    /// So many are to come, one every `interval`, asked for at `now`.
    pub fn new(expected: u32, interval: Duration, now: Instant) -> Self {
        Self { expected, interval, start: now, came: Vec::new(), distinct: HashSet::new(), unnumbered: 0 }
    }

    /// A packet has come.
    pub fn packet(&mut self, bytes: &[u8], now: Instant) {
        // A server that numbers them counts down to 1.
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&bytes[..digits]).ok().and_then(|text| text.parse::<u32>().ok());
        let number = number.and_then(|number| self.expected.checked_sub(number).filter(|_| number > 0));
        match number {
            Some(number) => drop(self.distinct.insert(number)),
            None => self.unnumbered += 1,
        }
        self.came.push((now, number));
    }

    /// Whether as many have come as were to come.
    pub fn is_whole(&self) -> bool {
        self.distinct.len() + self.unnumbered >= self.expected as usize
    }

    /// All there is to say.
    pub fn figures(&self) -> Figures {
        let received = u32::try_from(self.came.len()).unwrap_or(u32::MAX);
        let numbers: Option<Vec<u32>> = self.came.iter().map(|(_, number)| *number).collect();
        let numbers = numbers.filter(|numbers| !numbers.is_empty());
        let duplicated = numbers.as_ref().map(|numbers| {
            let mut distinct = numbers.clone();
            distinct.sort_unstable();
            distinct.dedup();
            (numbers.len() - distinct.len()) as u32
        });
        let reordered = numbers.as_ref().map(|numbers| {
            let mut latest = 0;
            let late = numbers.iter().filter(|number| {
                let is_late = **number < latest;
                latest = latest.max(**number);
                is_late
            });
            late.count() as u32
        });
        Figures {
            sent: self.expected,
            received,
            lost: self.expected.saturating_sub(received - duplicated.unwrap_or(0)),
            reordered,
            duplicated,
            jitter: self.jitter(),
            time: self.came.last().map_or(Duration::ZERO, |(last, _)| *last - self.start),
            gaps: self.gaps(),
        }
    }

    /// J += (|D| - J) / 16, where D is how much longer the packets were apart here than where they left.
    fn jitter(&self) -> Duration {
        let mut jitter = 0.0;
        for pair in self.came.windows(2) {
            let [(before, first), (after, second)] = pair else { continue };
            let steps = match (first, second) {
                (Some(first), Some(second)) => f64::from(*second) - f64::from(*first),
                _ => 1.0,
            };
            let difference = (*after - *before).as_secs_f64() - steps * self.interval.as_secs_f64();
            jitter += (difference.abs() - jitter) / 16.0;
        }
        Duration::from_secs_f64(jitter)
    }

    fn gaps(&self) -> Vec<(Option<Duration>, u32)> {
        let unit = self.interval.max(LEAST_GAP);
        let limits = GAPS.map(|part| Some(unit.mul_f64(part)));
        let mut counts: Vec<_> = limits.into_iter().chain([None]).map(|limit| (limit, 0)).collect();
        for pair in self.came.windows(2) {
            let gap = pair[1].0 - pair[0].0;
            if let Some((_, count)) =
                counts.iter_mut().find(|(limit, _)| limit.is_none_or(|limit| gap <= limit))
            {
                *count += 1;
            }
        }
        counts
    }
}

/// How long the gaps are that are counted together, in parts of the interval.
const GAPS: [f64; 6] = [0.5, 0.9, 1.1, 1.5, 2.0, 4.0];

/// What the interval counts as where packets come as fast as they can.
const LEAST_GAP: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets, and how many of four were lost, reordered and duplicated.
    type Row<'a> = (&'a [(u32, &'a str)], u32, Option<u32>, Option<u32>);

    const MS: Duration = Duration::from_millis(1);

    /// The figures of packets that come at these milliseconds, with these beginnings, one being due every 10.
    fn figures(expected: u32, packets: &[(u32, &str)]) -> Figures {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(expected, MS * 10, start);
        for (at, text) in packets {
            arrivals.packet(text.as_bytes(), start + MS * *at);
        }
        arrivals.figures()
    }

    #[test]
    fn losses_and_orders() {
        let table: [Row; 6] = [
            (&[(10, "4AA"), (20, "3AA"), (30, "2AA"), (40, "1AA")], 0, Some(0), Some(0)),
            (&[(10, "4"), (30, "2"), (40, "3"), (41, "1")], 0, Some(1), Some(0)),
            (&[(10, "4"), (30, "2"), (31, "2"), (40, "1")], 1, Some(0), Some(1)),
            (&[(10, "AA"), (20, "AA"), (30, "AA")], 1, None, None),
            (&[(10, "4"), (20, "AA")], 2, None, None),
            (&[], 4, None, None),
        ];
        for (packets, lost, reordered, duplicated) in table {
            let found = figures(4, packets);
            assert_eq!(
                (found.lost, found.reordered, found.duplicated),
                (lost, reordered, duplicated),
                "{packets:?}"
            );
        }
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let even = figures(3, &[(10, ""), (20, ""), (30, "")]);
        assert_eq!((even.jitter, even.time), (Duration::ZERO, MS * 30));
        // |D| is 16 ms, then 0: J is 1 ms, then 15/16 of that.
        let late = figures(3, &[(10, ""), (36, ""), (46, "")]);
        assert_eq!(late.jitter.as_nanos() / 100, 9375);
        // One that was lost makes no jitter where it is known to be missing.
        assert_eq!(figures(3, &[(10, "3"), (30, "1")]).jitter, Duration::ZERO);
    }

    #[test]
    fn gaps_are_counted_by_their_length() {
        let found = figures(5, &[(10, ""), (20, ""), (22, ""), (40, ""), (99, "")]);
        let counts: Vec<u32> = found.gaps.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(found.gaps[2].0, Some(MS * 11));
    }
}
