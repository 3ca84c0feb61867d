//! All that the program says. Payload goes to stdout, and nothing else does; messages go to stderr.

mod messages;
mod progress;

pub use self::{
    messages::{Failure, Progress, Report, byte_totals, escaped, sentence, usage},
    progress::Meter,
};
