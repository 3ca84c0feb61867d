//! The rules for the end of a session: one pure function over the state of its two flows.

use std::time::{Duration, Instant};

use super::earlier;

/// The kind of our source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// It will end, and it is wanted whole.
    File,
    /// It may go on for ever, or be silent for ever.
    Pipe,
    /// A person types at it.
    Terminal,
}

/// The settings of a session's end, all from the command line.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Datagrams have no end of file of their own.
    pub datagrams: bool,
    pub source: Source,
    pub listening: bool,
    /// `--half-open`.
    pub half_open: bool,
    /// `--send-only`.
    pub send_only: bool,
    /// `-q`: how long silence may last once one side has ended.
    pub quiet: Option<Duration>,
    /// `-w`: how long nothing may move.
    pub idle: Option<Duration>,
    /// Silence that ends a session of datagrams well, once a datagram was received.
    pub silence: Option<Duration>,
    /// Datagrams are followed by one that marks their end (`-s`): any that is received then is an answer.
    pub sends_eof_datagram: bool,
    /// The session began with a datagram that was received, though it may have been empty.
    pub began_with_data: bool,
    /// The peer's FIN is awaited for a while: closing with unread data sends RST, which can overtake data (RFC 1122,
    /// section 4.2.2.13).
    pub waits_for_fin: bool,
}

/// The state of one direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlowState {
    /// It has failed.
    Failed,
    /// It came to its end at this time.
    Finished(Instant),
    /// The reader of our output has closed it at this time.
    SinkClosed(Instant),
    /// It goes on.
    Open,
    /// The peer takes no more.
    Refused,
}

/// The state of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionState {
    /// From us to the peer; `None` where the session has no such direction.
    pub outbound: Option<FlowState>,
    /// From the peer to us.
    pub inbound: FlowState,
    /// The peer has sent something.
    pub heard: bool,
    /// Bytes that we have read, or must read, wait for the peer to take them.
    pub pending: bool,
    /// The reader of our output takes no more for now.
    pub sink_blocked: bool,
    /// Our own pace holds us back (`--rate`, `-d`).
    pub paced: bool,
    /// When something was last received.
    pub last_in: Instant,
    /// When something was last read from our source or sent.
    pub last_out: Instant,
    /// Bytes that the peer's system has not acknowledged.
    pub unacknowledged: u64,
    /// When that number last changed.
    pub last_acknowledged: Instant,
    /// How long the peer's system has acknowledged nothing, where that is known (TCP_INFO).
    pub since_heard: Option<Duration>,
    /// The connection is over, so that nothing will be acknowledged any more.
    pub closed: bool,
}

/// The answer of the rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Go on, and ask again at this time at the latest.
    Continue(Option<Instant>),
    Over(EndReason),
}

/// The reason why a session is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndReason {
    /// Both sides came to their end.
    Done,
    /// A direction failed.
    Failed,
    /// The peer's system has not answered for a minute.
    Gone,
    /// Nothing moved for `-w`.
    Idle,
    /// The peer closed while our source is a terminal.
    PeerClosed,
    /// One side had ended, and the other one was silent.
    Quiet,
    /// The reader of our output closed it.
    SinkClosed,
    /// No datagram was received for a while.
    Silence,
}

impl Ending {
    /// Decides whether the session is over.
    pub fn verdict(&self, state: &SessionState, now: Instant) -> Verdict {
        let verdict = self.by_flows(state, now);
        let Verdict::Continue(until) = verdict else { return verdict };
        // TCP retransmits for a quarter of an hour (tcp(7), tcp_retries2): that is too long for a shell.
        if state.unacknowledged > 0
            && !matches!(state.inbound, FlowState::Open)
            && state.since_heard.is_some_and(|time| time >= GONE_TIMEOUT)
        {
            return Verdict::Over(EndReason::Gone);
        }

        let last = state.last_in.max(state.last_out);
        match (self.silence.filter(|_| state.heard || self.began_with_data), self.idle) {
            // The silence is not the peer's: the reader of our output is slow.
            (Some(_), _) if state.sink_blocked => verdict,
            (Some(silence), _) => after(last, silence, EndReason::Silence, until, now),
            (None, Some(idle)) if !state.paced => after(last, idle, EndReason::Idle, until, now),
            (None, _) => verdict,
        }
    }

    fn by_flows(&self, state: &SessionState, now: Instant) -> Verdict {
        use FlowState::{Failed, Finished, Open, Refused, SinkClosed};
        match (state.outbound, state.inbound) {
            // Nothing that is still under way can make it a success.
            (Some(Failed), _) | (_, Failed | Refused) => Verdict::Over(EndReason::Failed),
            // The peer refuses us, but may have sent a reason; a datagram's refusal has none.
            (Some(Refused), Open) if !self.datagrams => Verdict::Continue(None),
            // It had ended, and now it has closed: no byte was lost by that.
            (Some(Refused), Finished(_)) if !state.pending && state.unacknowledged == 0 => {
                Verdict::Over(EndReason::Done)
            }
            (Some(Refused), _) => Verdict::Over(EndReason::Failed),
            (None, Finished(_)) => Verdict::Over(EndReason::Done),
            (None, SinkClosed(_)) => Verdict::Over(EndReason::SinkClosed),
            (Some(Finished(_)), Finished(_)) => acknowledged(state, EndReason::Done, now),
            (Some(Finished(at)), SinkClosed(_))
                if self.waits_for_fin && !state.closed && state.unacknowledged == 0 =>
            {
                after(at.max(state.last_in), FIN_TIMEOUT, EndReason::SinkClosed, None, now)
            }
            (Some(Finished(_)), SinkClosed(_)) => acknowledged(state, EndReason::SinkClosed, now),
            (Some(Open | SinkClosed(_)), Finished(at)) => {
                self.after_peer(state, at, EndReason::PeerClosed, now)
            }
            (Some(Open | SinkClosed(_)), SinkClosed(at)) => {
                self.after_peer(state, at, EndReason::SinkClosed, now)
            }
            (Some(Finished(at)), Open) => self.after_us(state, at, now),
            (None | Some(Open | SinkClosed(_)), Open) => Verdict::Continue(None),
        }
    }

    /// Decides after our end of file, while the peer goes on.
    fn after_us(&self, state: &SessionState, at: Instant, now: Instant) -> Verdict {
        // Silence is measured from the later of our end and the last byte of the peer.
        let quiet = match (self.datagrams, self.quiet) {
            // The silence is not the peer's: the reader of our output is slow.
            _ if state.sink_blocked => return Verdict::Continue(None),
            (true, _) if self.send_only => return Verdict::Over(EndReason::Done),
            // Bytes that are under way are no silence.
            (false, Some(quiet)) if state.unacknowledged > 0 => {
                let last = at.max(state.last_in).max(state.last_acknowledged);
                let look = Some(now + next_look(state, now));
                return after(last, quiet.max(ACKNOWLEDGE_TIMEOUT), EndReason::Quiet, look, now);
            }
            (_, Some(quiet)) => quiet,
            (true, None) if !self.listening || self.sends_eof_datagram => ANSWER_TIMEOUT,
            (_, None) => return Verdict::Continue(None),
        };

        after(at.max(state.last_in), quiet, EndReason::Quiet, None, now)
    }

    /// Decides after the peer has ended, or our output was closed: we go on.
    fn after_peer(&self, state: &SessionState, at: Instant, why: EndReason, now: Instant) -> Verdict {
        match self.source {
            // Datagrams end because we have all that we wanted: a marked file, or `-W`.
            Source::Pipe | Source::Terminal if self.datagrams && !state.pending => {
                Verdict::Over(EndReason::Done)
            }
            _ if self.half_open => Verdict::Continue(Some(now + CHECK_INTERVAL)),
            Source::Terminal => Verdict::Over(why),
            Source::File => Verdict::Continue(Some(now + CHECK_INTERVAL)),
            // The silence is not our pipe's: the peer takes nothing.
            Source::Pipe if state.pending => Verdict::Continue(Some(now + CHECK_INTERVAL)),
            Source::Pipe if state.unacknowledged > 0 && !state.closed => {
                Verdict::Continue(Some(now + next_look(state, now)))
            }
            Source::Pipe => match self.quiet {
                None if !state.heard && why == EndReason::PeerClosed => {
                    Verdict::Continue(Some(now + CHECK_INTERVAL))
                }
                quiet => {
                    let quiet = quiet.unwrap_or(PIPE_SILENCE);
                    after(at.max(state.last_out), quiet, EndReason::Quiet, Some(now + CHECK_INTERVAL), now)
                }
            },
        }
    }
}

/// Decides after all was sent: it is over once all has arrived.
fn acknowledged(state: &SessionState, why: EndReason, now: Instant) -> Verdict {
    if state.unacknowledged > 0 && !state.closed {
        Verdict::Continue(Some(now + next_look(state, now)))
    } else {
        Verdict::Over(why)
    }
}

/// Silence of a peer whose FIN is awaited.
const FIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns how soon to look again whether the last bytes were acknowledged: no event tells.
fn next_look(state: &SessionState, now: Instant) -> Duration {
    let waited = now.saturating_duration_since(state.last_out);
    (waited / 4).clamp(ACKNOWLEDGE_CHECKS.0, ACKNOWLEDGE_CHECKS.1)
}

fn after(last: Instant, time: Duration, why: EndReason, until: Option<Instant>, now: Instant) -> Verdict {
    let end = last + time;
    if now >= end { Verdict::Over(why) } else { Verdict::Continue(earlier(until, Some(end))) }
}

/// How long a query over datagrams waits for the next answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long our pipe may be silent once the peer has ended.
const PIPE_SILENCE: Duration = Duration::from_secs(2);

/// How long bytes that are under way may stay unacknowledged, whatever `-q` says of silence.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often we look whether the last bytes were acknowledged: at first, and at last.
const ACKNOWLEDGE_CHECKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How often we look whether the peer's system is still there.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How long the peer's system may acknowledge nothing before it counts as gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const Q: Option<Duration> = Some(Duration::from_secs(7));
    const SECOND: Duration = Duration::from_secs(1);

    /// A session over a stream, with a pipe.
    fn rules() -> Ending {
        Ending {
            datagrams: false,
            source: Source::Pipe,
            listening: false,
            half_open: false,
            send_only: false,
            quiet: None,
            idle: None,
            silence: None,
            sends_eof_datagram: false,
            began_with_data: false,
            waits_for_fin: false,
        }
    }

    /// The seconds of a session, which began at second 0 and moved last at second 10.
    struct Clock {
        zero: Instant,
    }

    impl Clock {
        fn at(&self, second: u64) -> Instant {
            self.zero + SECOND * u32::try_from(second).unwrap()
        }

        fn state(&self, outbound: Option<FlowState>, inbound: FlowState) -> SessionState {
            SessionState {
                outbound,
                inbound,
                heard: true,
                pending: false,
                sink_blocked: false,
                paced: false,
                last_in: self.at(10),
                last_out: self.at(10),
                unacknowledged: 0,
                last_acknowledged: self.at(10),
                since_heard: None,
                closed: false,
            }
        }
    }

    /// One row a rule: the sentence, the rules, the state, the second we ask, the verdict.
    #[test]
    fn endings() {
        use FlowState::{Failed, Finished, Open, Refused, SinkClosed};
        let t = Clock { zero: Instant::now() };
        let done = |second| Finished(t.at(second));
        let left = |second| SinkClosed(t.at(second));
        let state = |outbound, inbound| t.state(outbound, inbound);
        let continues = Verdict::Continue(None);
        let until = |second| Verdict::Continue(Some(t.at(second)));
        let over = Verdict::Over;

        let file = Ending { source: Source::File, ..rules() };
        let terminal = Ending { source: Source::Terminal, ..rules() };
        let half_open = Ending { half_open: true, ..rules() };
        let quiet = Ending { quiet: Q, ..rules() };
        let idle = Ending { idle: Q, ..rules() };
        let query = Ending { datagrams: true, ..rules() };
        let query_q = Ending { datagrams: true, quiet: Q, ..rules() };
        let server = Ending { datagrams: true, listening: true, ..rules() };
        let shout = Ending { datagrams: true, send_only: true, ..rules() };
        let receiver = Ending { silence: Some(SECOND * 2), ..server.clone() };
        let receiver_w = Ending { idle: Q, ..receiver.clone() };
        let silent = SessionState { heard: false, ..state(Some(Open), done(20)) };
        let nothing_yet = SessionState { heard: false, ..state(None, Open) };
        let held_up_refused = SessionState { pending: true, ..state(Some(Refused), done(20)) };
        let in_flight = SessionState { unacknowledged: 5, ..state(Some(Open), done(20)) };
        let slow_reader = |outbound| SessionState { sink_blocked: true, ..state(outbound, Open) };
        let under_way = |second| SessionState {
            unacknowledged: 5,
            last_acknowledged: t.at(second),
            ..state(Some(done(20)), Open)
        };
        let held_up = SessionState { pending: true, ..state(Some(Open), done(20)) };
        let on_its_way = SessionState { unacknowledged: 5, ..state(Some(done(20)), done(20)) };
        let closed = SessionState { closed: true, ..on_its_way };
        let dead = SessionState { since_heard: Some(GONE_TIMEOUT), ..on_its_way };
        let soon = Verdict::Continue(Some(t.at(30) + ACKNOWLEDGE_CHECKS.1));

        #[rustfmt::skip]
        let table: Vec<(&str, Ending, SessionState, u64, Verdict)> = vec![
            ("both go on", rules(), state(Some(Open), Open), 30, continues),
            ("both have ended", rules(), state(Some(done(20)), done(20)), 30, over(EndReason::Done)),
            ("both have ended, and the last bytes are on their way", rules(), on_its_way, 30, soon),
            ("both have ended, and the last bytes will not arrive", rules(), closed, 30, over(EndReason::Done)),
            ("they are on their way to a dead system", rules(), dead, 30, over(EndReason::Gone)),
            // Rule 1: our end of file is passed on, and we go on receiving.
            ("our source has ended", rules(), state(Some(done(20)), Open), 999, continues),
            ("our source has ended, -q 7", quiet.clone(), state(Some(done(20)), Open), 26, until(27)),
            ("our source has ended 7 s ago, -q 7", quiet.clone(), state(Some(done(20)), Open), 27, over(EndReason::Quiet)),
            ("our source has ended, -q 7, and our reader is slow", quiet.clone(), slow_reader(Some(done(20))), 99, continues),
            ("our source has ended, -q 7, and it is on its way", quiet.clone(), under_way(10), 29, Verdict::Continue(Some(t.at(29) + ACKNOWLEDGE_CHECKS.1))),
            ("our source has ended, -q 7, and nothing is acknowledged for 10 s", quiet.clone(), under_way(10), 30, over(EndReason::Quiet)),
            ("our source has ended, -q 7, and more was acknowledged", quiet.clone(), under_way(25), 30, Verdict::Continue(Some(t.at(30) + ACKNOWLEDGE_CHECKS.1))),
            // Rule 2: the peer has ended.
            ("the peer has ended, we are at a terminal", terminal.clone(), state(Some(Open), done(20)), 20, over(EndReason::PeerClosed)),
            ("the peer has ended, we send a file", file.clone(), state(Some(Open), done(20)), 995, until(1000)),
            ("the peer has ended, our pipe is silent", rules(), state(Some(Open), done(20)), 21, until(22)),
            ("the peer has ended, our pipe was silent for 2 s", rules(), state(Some(Open), done(20)), 22, over(EndReason::Quiet)),
            ("the peer has ended, our pipe speaks", rules(), SessionState { last_out: t.at(29), ..state(Some(Open), done(20)) }, 30, until(31)),
            ("the peer has ended, and does not take what our pipe said", rules(), held_up, 30, until(35)),
            ("the peer has ended, and has not got what our pipe said", rules(), in_flight, 30, soon),
            ("the peer has ended, our pipe is silent, -q 7", quiet.clone(), state(Some(Open), done(20)), 26, until(27)),
            ("the peer has ended, our pipe was silent for 7 s, -q 7", quiet.clone(), state(Some(Open), done(20)), 27, over(EndReason::Quiet)),
            ("the peer has ended and never sent a byte", rules(), silent, 995, until(1000)),
            ("the peer has ended and never sent a byte, -q 7", quiet.clone(), silent, 27, over(EndReason::Quiet)),
            ("the peer has ended, --half-open", half_open.clone(), state(Some(Open), done(20)), 995, until(1000)),
            ("the peer has ended, at a terminal, --half-open", Ending { source: Source::Terminal, ..half_open.clone() }, state(Some(Open), done(20)), 995, until(1000)),
            // Rule 3: there is only one direction.
            ("we only receive, and the peer goes on", rules(), state(None, Open), 999, continues),
            ("we only receive, and the peer has ended", rules(), state(None, done(20)), 20, over(EndReason::Done)),
            ("we only send, and the peer has not closed yet", Ending { send_only: true, ..rules() }, state(Some(done(20)), Open), 999, continues),
            ("we only send, and the peer has not closed for -q 7", Ending { send_only: true, ..quiet.clone() }, state(Some(done(20)), Open), 27, over(EndReason::Quiet)),
            // Rule 4: the reader of our output has left.
            ("nobody reads our output, and nothing is to be sent", rules(), state(None, left(20)), 20, over(EndReason::SinkClosed)),
            ("nobody reads our output, all is sent", rules(), state(Some(done(20)), left(20)), 20, over(EndReason::SinkClosed)),
            ("nobody reads our output, all is sent and on its way", rules(), SessionState { unacknowledged: 5, ..state(Some(done(20)), left(20)) }, 30, soon),
            ("nobody reads our output, we send a file", file.clone(), state(Some(Open), left(20)), 995, until(1000)),
            ("nobody reads our output, we are at a terminal", terminal.clone(), state(Some(Open), left(20)), 20, over(EndReason::SinkClosed)),
            ("nobody reads our output, our pipe was silent for 2 s", rules(), state(Some(Open), left(20)), 22, over(EndReason::Quiet)),
            ("nobody reads our output, our pipe speaks", rules(), SessionState { last_out: t.at(29), ..state(Some(Open), left(20)) }, 30, until(31)),
            // Rule 5: failures.
            ("the peer has reset", rules(), state(Some(Open), Failed), 20, over(EndReason::Failed)),
            ("the peer refuses what we send, and may say why", rules(), state(Some(Refused), Open), 999, continues),
            ("the peer refuses what we send, and has ended", rules(), held_up_refused, 20, over(EndReason::Failed)),
            ("the peer had ended, and has gone", rules(), state(Some(Refused), done(20)), 20, over(EndReason::Done)),
            ("our source cannot be read", rules(), state(Some(Failed), Open), 20, over(EndReason::Failed)),
            ("nothing moved for less than -w 7", idle.clone(), state(Some(Open), Open), 16, until(17)),
            ("nothing moved for -w 7", idle.clone(), state(Some(Open), Open), 17, over(EndReason::Idle)),
            ("nothing moved for -w 7, our source having ended", idle.clone(), state(Some(done(10)), Open), 17, over(EndReason::Idle)),
            ("nothing moved for -w 7, because of our own pace", idle.clone(), SessionState { paced: true, ..state(Some(Open), Open) }, 99, continues),
            // Rule 6: datagrams.
            ("a query waits for an answer", query.clone(), state(Some(done(20)), Open), 20, until(21)),
            ("a query waits 1 s after the last answer", query.clone(), SessionState { last_in: t.at(25), ..state(Some(done(20)), Open) }, 25, until(26)),
            ("a query had no answer for 1 s", query.clone(), state(Some(done(20)), Open), 21, over(EndReason::Quiet)),
            ("a query waits as long as -q says", query_q.clone(), state(Some(done(20)), Open), 26, until(27)),
            ("a query goes on while somebody types", Ending { source: Source::Terminal, ..query.clone() }, state(Some(Open), Open), 999, continues),
            ("a query had answers, and our reader is slow", query.clone(), slow_reader(Some(done(20))), 99, continues),
            ("a query is refused", query.clone(), state(Some(Refused), Open), 20, over(EndReason::Failed)),
            ("a listener goes on when its source has ended", server.clone(), state(Some(done(20)), Open), 999, continues),
            ("a listener has sent a marked file, and had no answer for 1 s", Ending { sends_eof_datagram: true, ..server.clone() }, state(Some(done(20)), Open), 21, over(EndReason::Quiet)),
            ("only sent, all is said", shout.clone(), state(Some(done(20)), Open), 20, over(EndReason::Done)),
            ("a file is received: nothing has come yet", receiver.clone(), nothing_yet, 999, continues),
            ("a file is received: nothing has come yet, -w 7", receiver_w.clone(), nothing_yet, 17, over(EndReason::Idle)),
            ("a file is received: the last piece came just now", receiver.clone(), state(None, Open), 11, until(12)),
            ("a file is received: 2 s of silence, and our disk is slow", receiver.clone(), slow_reader(None), 99, continues),
            ("a peer came with nothing and left", Ending { began_with_data: true, ..receiver.clone() }, nothing_yet, 12, over(EndReason::Silence)),
            ("a file is received: 2 s of silence", receiver.clone(), state(None, Open), 12, over(EndReason::Silence)),
            ("we had all the datagrams that we wanted", query.clone(), state(Some(Open), done(20)), 20, over(EndReason::Done)),
            ("we had all the datagrams that we wanted, and send a file", Ending { source: Source::File, ..query.clone() }, state(Some(Open), done(20)), 20, until(25)),
            ("a file is received: its end was marked", receiver.clone(), state(None, done(11)), 11, over(EndReason::Done)),
        ];
        for (sentence, rules, state, second, verdict) in table {
            assert_eq!(rules.verdict(&state, t.at(second)), verdict, "{sentence}");
        }
    }
}
