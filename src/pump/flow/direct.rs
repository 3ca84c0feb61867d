//! The bytes that the kernel moves without our seeing them.

use std::{io, time::Instant};

use super::{Fault, Flow, Step, receive::is_empty_handed};
use crate::{endpoint::Endpoint, sys};

impl Flow {
    /// Has the kernel move bytes from the source to the sink.
    pub(super) fn pass(&mut self, from: &dyn Endpoint, to: &mut dyn Endpoint, now: Instant) -> Step {
        let most = match self.config.pace.start(now).and_then(|()| self.config.pace.allow(now)) {
            Ok(most) => most.min(MAX_CALL),
            Err(when) => return self.hold_back(when),
        };
        let Some(route) = &mut self.route else { return Step::Finished };

        let passed = route.pass(from, to, most);
        if is_empty_handed(&passed) && route.is_stopped(from) {
            return self.fall_back();
        }
        match passed {
            Ok(0) => self.end(from),
            Ok(n) => {
                self.reads += 1;
                self.count(n, 1, now);
                Step::Moved(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Blocked(None),
            Err(error) if sys::is_refusal(&error) => self.fall_back(),
            // The error of splice(2) and sendfile(2) does not say which end it is of.
            Err(error) if to.broken().is_some() => {
                self.refuse(error);
                Step::Moved(0)
            }
            Err(error) => self.fail_source(error),
        }
    }

    /// Sends bytes that a pipe of ours holds. Returns `None` without such a pipe.
    pub(super) fn drain(&mut self, to: &mut dyn Endpoint, now: Instant) -> Option<Step> {
        let most = match self.config.pace.allow(now) {
            Ok(most) => most,
            Err(when) => return Some(self.hold_back(when)),
        };

        Some(match self.route.as_mut()?.drain(to, most) {
            Ok(0) => {
                self.refuse(io::ErrorKind::WriteZero.into());
                Step::Moved(0)
            }
            Ok(n) => {
                self.count(n, 1, now);
                Step::Moved(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Blocked(None),
            Err(error) if sys::is_refusal(&error) => self.fall_back(),
            Err(error) => {
                self.refuse(error);
                Step::Moved(0)
            }
        })
    }

    /// Copies from now on, what a pipe of ours holds first.
    pub(super) fn fall_back(&mut self) -> Step {
        let fallen = self.route.as_mut().map_or(Ok(()), |route| route.fall_back(&mut self.buffer));
        match fallen {
            Ok(()) => Step::Moved(0),
            Err(error) => {
                self.fail(Fault::Source(error));
                Step::Finished
            }
        }
    }
}

/// Bytes that the kernel is asked to move in one call: other sessions wait meanwhile.
const MAX_CALL: usize = 1 << 20;
