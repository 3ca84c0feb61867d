//! The relay: clients with names, who send each other messages through one port.
//!
//! A client registers with `name|`, and sends with `dest|len|payload`; what it receives is payload, and nothing else.
//! [`Router`] is the server, [`ClientProtocol`] the other side. Neither knows a socket or asks a clock.

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
    router::{Admission, CloseReason, Event, MAX_READ, MAX_STORED, RelayStats, Router, RouterConfig},
};

use self::header::Violation;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
