//! The statistics of a stream, for people and for `--json`.

use std::time::Duration;

use serde::Serialize;

use crate::proto::practice::Stats;

/// Formats statistics for people, on a terminal with a histogram of the gaps.
pub fn format(stats: &Stats, histogram: bool) -> String {
    let known = |count: Option<u32>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let mut text = format!(
        "{} sent, {} received, {} lost, {} reordered, {} duplicated; jitter {:.3} ms; {:.2} s\n",
        stats.sent,
        stats.received,
        stats.lost,
        known(stats.reordered),
        known(stats.duplicated),
        stats.jitter.as_secs_f64() * 1000.0,
        stats.time.as_secs_f64(),
    );

    // The highest bar has a fixed width, and the others are in proportion; 1 avoids a division by 0.
    let highest = stats.gaps.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    for (limit, count) in stats.gaps.iter().filter(|_| histogram) {
        let limit = limit
            .map_or_else(|| "more".to_owned(), |limit| format!("{:.2} ms", limit.as_secs_f64() * 1000.0));
        let bar = "#".repeat((count * BAR / highest) as usize);
        text += &format!("{limit:>12} {count:>6} {bar}\n");
    }
    text
}

/// Statistics as a JSON object.
#[derive(Debug, Serialize)]
pub struct JsonStats {
    sent: u32,
    received: u32,
    lost: u32,
    reordered: Option<u32>,
    duplicated: Option<u32>,
    jitter_ms: f64,
    seconds: f64,
    gaps: Vec<JsonGap>,
}

#[derive(Debug, Serialize)]
struct JsonGap {
    up_to_ms: Option<f64>,
    count: u32,
}

impl From<&Stats> for JsonStats {
    fn from(stats: &Stats) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let gap =
            |(limit, count): &(Option<Duration>, u32)| JsonGap { up_to_ms: limit.map(ms), count: *count };

        Self {
            sent: stats.sent,
            received: stats.received,
            lost: stats.lost,
            reordered: stats.reordered,
            duplicated: stats.duplicated,
            jitter_ms: ms(stats.jitter),
            seconds: stats.time.as_secs_f64(),
            gaps: stats.gaps.iter().map(gap).collect(),
        }
    }
}

/// Characters of the longest bar of the histogram.
const BAR: u32 = 40;
