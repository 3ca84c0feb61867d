//! What a direction has to answer to what came the other way: between two pieces, or by itself where there is
//! no source, or none any more.

use std::time::Instant;

use super::{Flow, State};
use crate::pump::Shape;

impl Flow {
    /// A direction without a source: what goes is answers to what comes.
    pub fn for_answers(shape: Shape, now: Instant) -> Self {
        let shape = Shape { pass_eof: false, ..shape };
        Self { has_source: false, state: State::Finished, ..Self::new(shape, now) }
    }

    /// Whether it has a source, and so an end.
    pub fn has_source(&self) -> bool {
        self.has_source
    }

    /// Bytes at the end of those that the sink has taken which are answers.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// What the sink is to be told, if it can still be told anything.
    pub(in crate::pump) fn answer(&mut self, answers: &[u8]) {
        let closed = self.state == State::Finished && (self.shape.pass_eof || self.fault.is_some());
        if !closed && self.state != State::Discarding {
            self.answers.extend_from_slice(answers);
        }
    }

    /// Whether the sink does not keep up with the answers.
    pub(in crate::pump) fn is_busy_answering(&self) -> bool {
        self.fault.is_none() && self.answers.len() > ANSWERS
    }

    /// What the other direction is to say to what came here.
    pub(in crate::pump) fn answers(&mut self) -> Option<&mut Vec<u8>> {
        self.shape.stages.answers()
    }

    /// Makes all there is to be answered the piece to send.
    pub(super) fn begin_answer(&mut self) {
        std::mem::swap(&mut self.filtered, &mut self.answers);
        self.piece = self.filtered.len();
        self.answering = true;
    }

    /// The piece, an answer, is not sent.
    pub(super) fn drop_answer(&mut self) {
        self.filtered.clear();
        self.piece = 0;
        self.answering = false;
    }
}

/// Bytes of answers that may wait before nothing more is read that would be answered.
const ANSWERS: usize = 4096;
