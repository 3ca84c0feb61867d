//! The state of a client's connection, between its conversation and the server's loop.

use std::time::Instant;

/// The result of advancing a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnStatus {
    /// The peer is gone, or has taken too long.
    Closed,
    /// Everything was sent: the connection ends with a lingering close.
    Finished,
    /// To be advanced at this time, or when something happens.
    Open(Instant),
}
