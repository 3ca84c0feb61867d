//! The progress of a transfer: a bar on a terminal, lines elsewhere.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::messages::{Progress, write_line};
use crate::sys;

/// The progress of one session.
#[derive(Debug)]
pub struct Meter {
    style: Style,
    started: Instant,
    /// The time of the next output.
    next: Instant,
}

#[derive(Debug)]
enum Style {
    Bar(ProgressBar),
    Lines { length: Option<u64> },
    Nothing,
}

impl Meter {
    /// Starts to measure at `now`. `transfer` says that a file is transferred; `length` is its size in bytes, if known.
    pub fn new(progress: Progress, quiet: bool, transfer: bool, length: Option<u64>, now: Instant) -> Self {
        let terminal = io::stderr().is_terminal();
        let style = match progress {
            // Each drawing of a bar would be a part of one endless line in a log.
            Progress::Always if !terminal => Style::Lines { length },
            Progress::Always => Style::Bar(bar(length)),
            Progress::Auto if transfer && terminal && !quiet => Style::Bar(bar(length)),
            Progress::Auto | Progress::Never => Style::Nothing,
        };

        // A transfer of less than a second is over before a bar could be read.
        Self { style, started: now, next: now + LINE_INTERVAL }
    }

    /// Returns the time of the next output.
    pub fn deadline(&self) -> Option<Instant> {
        match self.style {
            Style::Nothing => None,
            Style::Bar(_) | Style::Lines { .. } => Some(self.next),
        }
    }

    /// Shows the progress, `moved` bytes so far, if its time has come.
    pub fn show(&mut self, moved: u64, now: Instant) {
        if now < self.next {
            return;
        }
        match &self.style {
            Style::Nothing => return,
            // Ctrl-S stops a terminal: a write to it would block the transfer.
            Style::Bar(bar) if sys::is_writable(io::stderr()) => bar.set_position(moved),
            Style::Bar(_) => {}
            Style::Lines { length } => write_line(&line(moved, *length, now - self.started)),
        }
        // Counted from now: after SIGSTOP, all outputs that were missed would be due one after the other.
        self.next = now + if matches!(self.style, Style::Bar(_)) { REDRAW_INTERVAL } else { LINE_INTERVAL };
    }

    /// Shows the final state, which stays on the screen, if progress was shown at all.
    pub fn finish(&mut self, moved: u64, now: Instant) {
        match &self.style {
            Style::Bar(bar) if now >= self.started + LINE_INTERVAL && sys::is_writable(io::stderr()) => {
                bar.set_position(moved);
                // indicatif's finish() would draw the bar full, even if the transfer has failed half-way.
                bar.abandon();
            }
            Style::Lines { length } => write_line(&line(moved, *length, now - self.started)),
            Style::Bar(_) | Style::Nothing => {}
        }
        self.style = Style::Nothing;
    }
}

/// Makes a bar in the form of pv(1).
fn bar(length: Option<u64>) -> ProgressBar {
    let template = match length {
        Some(_) => {
            "{bytes} {elapsed_precise} [{binary_bytes_per_sec}] [{wide_bar}] {percent}% ETA {eta_precise}"
        }
        None => "{bytes} {elapsed_precise} [{binary_bytes_per_sec}]",
    };
    // The templates are constant and parse; a progress display must not end the program in any case.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let target = ProgressDrawTarget::stderr_with_hz(10);
    ProgressBar::with_draw_target(length, target).with_style(style.progress_chars("=> "))
}

/// Formats a line of progress where there is no terminal.
fn line(moved: u64, length: Option<u64>, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    // The mean of the whole transfer; 1 ms avoids a division by 0.
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

/// Delay of the first output, and of each further line.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Pause between two drawings of the bar.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_bytes_time_rate_and_rest() {
        let table = [
            (0, None, 1000, "0 B 1.0 s [0 B/s]"),
            (1 << 20, None, 1000, "1.00 MiB 1.0 s [1.00 MiB/s]"),
            (1 << 20, Some(4 << 20), 2000, "1.00 MiB 2.0 s [512.00 KiB/s] 25% ETA 6 s"),
            (0, Some(0), 0, "0 B 0.0 s [0 B/s]"),
        ];
        for (moved, length, ms, text) in table {
            assert_eq!(line(moved, length, Duration::from_millis(ms)), text);
        }
    }
}
