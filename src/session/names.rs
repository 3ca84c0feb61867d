//! The names of both sides of a session, for messages and for `--json`.

use crate::{
    net::Address,
    plan::{self, Incoming, Outgoing},
};

/// The names, and what becomes of the bytes that are received.
#[derive(Clone, Debug)]
pub struct Names {
    pub peer: Address,
    pub local: Address,
    /// Of the source of what is sent.
    pub source: String,
    /// Of the destination of what is received.
    pub sink: String,
    /// Received bytes are dropped.
    pub drops: bool,
    /// Received bytes become a file.
    pub keeps: bool,
}

impl Names {
    /// Names the sides of a session of this plan.
    pub fn new(plan: &plan::Session, peer: Address, local: Address) -> Self {
        // A program stands in the place of both files.
        let (source, sink) = match &plan.program {
            Some(_) => ("the program".to_owned(), "the program".to_owned()),
            None => (source(&plan.input), sink(&plan.output)),
        };

        Self {
            peer,
            local,
            source,
            sink,
            drops: plan.output == Incoming::Nowhere && plan.program.is_none(),
            keeps: matches!(plan.output, Incoming::File { .. } | Incoming::Automatic),
        }
    }
}

fn source(input: &Outgoing) -> String {
    match input {
        Outgoing::File(path) => path.display().to_string(),
        Outgoing::Nothing | Outgoing::Stdin => "stdin".to_owned(),
    }
}

fn sink(output: &Incoming) -> String {
    match output {
        Incoming::File { path, .. } => path.display().to_string(),
        Incoming::Automatic => "the file".to_owned(),
        Incoming::Nowhere | Incoming::Stdout => "stdout".to_owned(),
    }
}
