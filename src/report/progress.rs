//! The progress of a transfer: a bar on a terminal, lines elsewhere.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::sys;

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    Always,
    /// For a transfer of files, where somebody reads along.
    Auto,
    Never,
}

/// What shows the progress of one session.
#[derive(Debug)]
pub struct Meter {
    shown: Shown,
    started: Instant,
    next: Instant,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { length: Option<u64> },
    Nothing,
}

impl Meter {
    /// `transfer` says that this is a transfer of a file, of `length` bytes if that is known.
    pub fn new(progress: Progress, quiet: bool, transfer: bool, length: Option<u64>, now: Instant) -> Self {
        let terminal = io::stderr().is_terminal();
        let shown = match progress {
            Progress::Always if !terminal => Shown::Lines { length },
            Progress::Always => Shown::Bar(bar(length)),
            Progress::Auto if transfer && terminal && !quiet => Shown::Bar(bar(length)),
            Progress::Auto | Progress::Never => Shown::Nothing,
        };
        // What is over at once needs no progress.
        Self { shown, started: now, next: now + PATIENCE }
    }

    /// When to show something next.
    pub fn deadline(&self) -> Option<Instant> {
        match self.shown {
            Shown::Nothing => None,
            Shown::Bar(_) | Shown::Lines { .. } => Some(self.next),
        }
    }

    /// So many bytes have moved.
    pub fn show(&mut self, moved: u64, now: Instant) {
        if now < self.next {
            return;
        }
        match &self.shown {
            Shown::Nothing => return,
            // A terminal that was stopped must not stop the transfer.
            Shown::Bar(bar) if sys::is_writable(io::stderr()) => bar.set_position(moved),
            Shown::Bar(_) => {}
            Shown::Lines { length } => super::write_line(&plain(moved, *length, now - self.started)),
        }
        self.next = now + if matches!(self.shown, Shown::Bar(_)) { REDRAW } else { PATIENCE };
    }

    /// It is over: the last state stays on the screen, if any was shown.
    pub fn finish(&mut self, moved: u64, now: Instant) {
        match &self.shown {
            Shown::Bar(bar) if now >= self.started + PATIENCE && sys::is_writable(io::stderr()) => {
                bar.set_position(moved);
                bar.abandon();
            }
            Shown::Lines { length } => super::write_line(&plain(moved, *length, now - self.started)),
            Shown::Bar(_) | Shown::Nothing => {}
        }
        self.shown = Shown::Nothing;
    }
}

/// The shapes are those of `pv`.
fn bar(length: Option<u64>) -> ProgressBar {
    let template = match length {
        Some(_) => {
            "{bytes} {elapsed_precise} [{binary_bytes_per_sec}] [{wide_bar}] {percent}% ETA {eta_precise}"
        }
        None => "{bytes} {elapsed_precise} [{binary_bytes_per_sec}]",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let target = ProgressDrawTarget::stderr_with_hz(10);
    ProgressBar::with_draw_target(length, target).with_style(style.progress_chars("=> "))
}

fn plain(moved: u64, length: Option<u64>, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = moved as f64 / seconds.max(0.001);
    let head = format!("{} {seconds:.1} s [{}/s]", HumanBytes(moved), HumanBytes(rate as u64));
    match length {
        Some(length) if length > 0 => {
            let left = length.saturating_sub(moved) as f64 / rate.max(1.0);
            format!("{head} {}% ETA {left:.0} s", moved * 100 / length)
        }
        _ => head,
    }
}

/// Before the first sign, and between lines.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between drawings of the bar.
const REDRAW: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let table = [
            (0, None, 1000, "0 B 1.0 s [0 B/s]"),
            (1 << 20, None, 1000, "1.00 MiB 1.0 s [1.00 MiB/s]"),
            (1 << 20, Some(4 << 20), 2000, "1.00 MiB 2.0 s [512.00 KiB/s] 25% ETA 6 s"),
            (0, Some(0), 0, "0 B 0.0 s [0 B/s]"),
        ];
        for (moved, length, ms, text) in table {
            assert_eq!(plain(moved, length, Duration::from_millis(ms)), text);
        }
    }
}
