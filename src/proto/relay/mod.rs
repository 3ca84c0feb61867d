//! The relay protocol: clients with names send each other messages through one port.
//!
//! A client registers with `name|`, and sends messages as `dest|len|payload`; it receives payload alone. [`Router`] is the
//! server's side, [`ClientProtocol`] the client's. Neither knows a socket or reads a clock.
//!
//! The driver of a [`Router`] calls, for each connection, [`Router::admit`], and then in any order:
//!
//! * when the socket is readable, [`Router::splice`] or [`Router::discardable`] to learn whether the bytes can bypass the
//!   router, else [`Router::read_budget`] and a read of no more than that; afterwards [`Router::spliced`],
//!   [`Router::discarded`], or [`Router::receive`] with the bytes; [`Router::ended`] at EOF;
//! * when the socket is writable, [`Router::output`], a write, and [`Router::written`], until there is no output;
//! * [`Router::lost`] when the connection fails. If bytes of the client are in a pipe when its `Left` event comes, they are
//!   handed back by [`Router::copied_back`].
//!
//! After any of these calls, and after [`Router::tick`] at [`Router::deadline`], it calls [`Router::next_output`] and
//! [`Router::next_event`] until both return `None`. A connection is closed at its `Left` event, and not before.

mod address_limits;
mod authenticator;
mod client_protocol;
mod header;
mod registry;
mod router;
mod send_queue;

pub use self::{
    authenticator::Authenticator,
    client_protocol::{ClientProtocol, Nonce},
    header::{MAX_NAME, is_name},
    registry::Id,
    router::{Admission, CloseReason, Event, MAX_READ, MAX_STORED, RelayStats, Router, RouterConfig, Splice},
};

use self::header::Violation;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
