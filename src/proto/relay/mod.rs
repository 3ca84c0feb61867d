//! The relay: clients with names, who send each other messages through one port.
//!
//! A client registers with `name|`, and sends with `dest|len|payload`; what it receives is payload, and nothing else.
//! [`Router`] is the server, [`Client`] the other side. Neither knows a socket or asks a clock.

mod client;
mod gate;
mod header;
mod inbox;
mod origins;
mod roster;
mod router;

pub use self::{
    client::{Client, Nonce},
    gate::Gate,
    header::{LONGEST_NAME, is_name},
    roster::Id,
    router::{Admission, Event, Figures, READ, Router, Rules, STORED, Why},
};

use self::header::Violation;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
