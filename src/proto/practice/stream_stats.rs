//! Statistics of a received stream of packets: loss, order and jitter.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// The packets received so far of a stream.
#[derive(Debug)]
pub struct StreamStats {
    expected: u32,
    interval: Duration,
    /// The time of the request.
    start: Instant,
    /// Of each packet: its time, and its number, counted up from 0, if it has one.
    received: Vec<(Instant, Option<u32>)>,
    /// Numbers received, without duplicates.
    distinct: HashSet<u32>,
    /// Packets without a number.
    unnumbered: usize,
}

/// The statistics of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Packets that were requested.
    pub sent: u32,
    /// Packets received, duplicates included.
    pub received: u32,
    /// Packets that have not arrived.
    pub lost: u32,
    /// Packets that arrived after one with a later number; `None` if packets have no numbers.
    pub reordered: Option<u32>,
    pub duplicated: Option<u32>,
    /// Interarrival jitter at the end of the stream (RFC 3550, section 6.4.1).
    pub jitter: Duration,
    /// From the request to the last packet.
    pub time: Duration,
    /// Histogram of the gaps between packets: the upper limit of each class, and its count. The last has no limit.
    pub gaps: Vec<(Option<Duration>, u32)>,
}

impl StreamStats {
    /// Starts at `now`, the time of the request, for `expected` packets, one every `interval`.
    pub fn new(expected: u32, interval: Duration, now: Instant) -> Self {
        Self { expected, interval, start: now, received: Vec::new(), distinct: HashSet::new(), unnumbered: 0 }
    }

    /// Counts a packet.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        // A server that numbers packets counts down to 1.
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&bytes[..digits]).ok().and_then(|text| text.parse::<u32>().ok());
        // Digits that are no number from 1 to COUNT are payload.
        let number = number.and_then(|number| self.expected.checked_sub(number).filter(|_| number > 0));
        match number {
            Some(number) => drop(self.distinct.insert(number)),
            None => self.unnumbered += 1,
        }
        self.received.push((now, number));
    }

    /// Whether all packets have arrived.
    pub fn is_complete(&self) -> bool {
        // Duplicates do not make up for packets that are still missing.
        self.distinct.len() + self.unnumbered >= self.expected as usize
    }

    /// Returns the statistics.
    pub fn stats(&self) -> Stats {
        let received = u32::try_from(self.received.len()).unwrap_or(u32::MAX);

        // One packet without a number makes the order of all of them unknown.
        let numbers: Option<Vec<u32>> = self.received.iter().map(|(_, number)| *number).collect();
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

        Stats {
            sent: self.expected,
            received,
            // Duplicates replace no lost packet. Without numbers they cannot be told.
            lost: self.expected.saturating_sub(received - duplicated.unwrap_or(0)),
            reordered,
            duplicated,
            jitter: self.jitter(),
            time: self.received.last().map_or(Duration::ZERO, |(last, _)| *last - self.start),
            gaps: self.gaps(),
        }
    }

    /// Computes J += (|D| - J) / 16, where D is the gap of two packets here less their gap at the sender.
    fn jitter(&self) -> Duration {
        let mut jitter = 0.0;
        for pair in self.received.windows(2) {
            let [(before, first), (after, second)] = pair else { continue };
            // Between numbered packets, lost ones are part of the expected gap.
            let steps = match (first, second) {
                (Some(first), Some(second)) => f64::from(*second) - f64::from(*first),
                _ => 1.0,
            };
            let difference = (*after - *before).as_secs_f64() - steps * self.interval.as_secs_f64();
            jitter += (difference.abs() - jitter) / 16.0;
        }
        Duration::from_secs_f64(jitter)
    }

    /// Counts the gaps between packets in classes of parts of the interval.
    fn gaps(&self) -> Vec<(Option<Duration>, u32)> {
        let unit = self.interval.max(MIN_GAP_UNIT);
        let limits = GAP_LIMITS.map(|part| Some(unit.mul_f64(part)));
        let mut counts: Vec<_> = limits.into_iter().chain([None]).map(|limit| (limit, 0)).collect();
        for pair in self.received.windows(2) {
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

/// Upper limits of the classes of gaps, in parts of the interval.
const GAP_LIMITS: [f64; 6] = [0.5, 0.9, 1.1, 1.5, 2.0, 4.0];

/// The least interval that classes of gaps are made of: a stream may have none.
const MIN_GAP_UNIT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets, and how many of four were lost, reordered and duplicated.
    type Row<'a> = (&'a [(u32, &'a str)], u32, Option<u32>, Option<u32>);

    const MS: Duration = Duration::from_millis(1);

    /// Statistics of packets that arrive at these milliseconds, with this text, one expected every 10.
    fn stats_of(expected: u32, packets: &[(u32, &str)]) -> Stats {
        let start = Instant::now();
        let mut stats = StreamStats::new(expected, MS * 10, start);
        for (at, text) in packets {
            stats.receive(text.as_bytes(), start + MS * *at);
        }
        stats.stats()
    }

    #[test]
    fn losses_reorderings_and_duplicates_are_counted() {
        let table: [Row; 6] = [
            (&[(10, "4AA"), (20, "3AA"), (30, "2AA"), (40, "1AA")], 0, Some(0), Some(0)),
            (&[(10, "4"), (30, "2"), (40, "3"), (41, "1")], 0, Some(1), Some(0)),
            (&[(10, "4"), (30, "2"), (31, "2"), (40, "1")], 1, Some(0), Some(1)),
            (&[(10, "AA"), (20, "AA"), (30, "AA")], 1, None, None),
            (&[(10, "4"), (20, "AA")], 2, None, None),
            (&[], 4, None, None),
        ];

        for (packets, lost, reordered, duplicated) in table {
            let found = stats_of(4, packets);
            assert_eq!(
                (found.lost, found.reordered, found.duplicated),
                (lost, reordered, duplicated),
                "{packets:?}"
            );
        }
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let even = stats_of(3, &[(10, ""), (20, ""), (30, "")]);
        assert_eq!((even.jitter, even.time), (Duration::ZERO, MS * 30));
        // |D| is 16 ms, then 0: J is 1 ms, then 15/16 of that.
        let late = stats_of(3, &[(10, ""), (36, ""), (46, "")]);
        assert_eq!(late.jitter.as_nanos() / 100, 9375);
        // A numbered packet that was lost adds no jitter.
        assert_eq!(stats_of(3, &[(10, "3"), (30, "1")]).jitter, Duration::ZERO);
    }

    #[test]
    fn gaps_are_counted_by_their_length() {
        let found = stats_of(5, &[(10, ""), (20, ""), (22, ""), (40, ""), (99, "")]);
        let counts: Vec<u32> = found.gaps.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(found.gaps[2].0, Some(MS * 11));
    }
}
