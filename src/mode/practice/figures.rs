//! What is said of a stream.

use std::time::Duration;

use serde::Serialize;

use crate::proto::practice::Figures;

/// The figures of a stream, for people; with a histogram, if somebody looks.
pub fn text(figures: &Figures, watched: bool) -> String {
    let known = |count: Option<u32>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let mut text = format!(
        "{} sent, {} received, {} lost, {} reordered, {} duplicated; jitter {:.3} ms; {:.2} s\n",
        figures.sent,
        figures.received,
        figures.lost,
        known(figures.reordered),
        known(figures.duplicated),
        figures.jitter.as_secs_f64() * 1000.0,
        figures.time.as_secs_f64(),
    );
    let most = figures.gaps.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    for (limit, count) in figures.gaps.iter().filter(|_| watched) {
        let limit = limit
            .map_or_else(|| "more".to_owned(), |limit| format!("{:.2} ms", limit.as_secs_f64() * 1000.0));
        let bar = "#".repeat((count * BAR / most) as usize);
        text += &format!("{limit:>12} {count:>6} {bar}\n");
    }
    text
}

/// The figures of a stream, for `--json`.
#[derive(Debug, Serialize)]
pub struct Shown {
    sent: u32,
    received: u32,
    lost: u32,
    reordered: Option<u32>,
    duplicated: Option<u32>,
    jitter_ms: f64,
    seconds: f64,
    gaps: Vec<Gap>,
}

#[derive(Debug, Serialize)]
struct Gap {
    up_to_ms: Option<f64>,
    count: u32,
}

impl From<&Figures> for Shown {
    fn from(figures: &Figures) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let gap = |(limit, count): &(Option<Duration>, u32)| Gap { up_to_ms: limit.map(ms), count: *count };
        Self {
            sent: figures.sent,
            received: figures.received,
            lost: figures.lost,
            reordered: figures.reordered,
            duplicated: figures.duplicated,
            jitter_ms: ms(figures.jitter),
            seconds: figures.time.as_secs_f64(),
            gaps: figures.gaps.iter().map(gap).collect(),
        }
    }
}

/// Characters of the longest bar of a histogram.
const BAR: u32 = 40;
