//! The relay: clients with names, who send each other messages through one port.
//!
//! A client registers with `name|`, and sends with `dest|len|payload`; what it receives is payload, and nothing else.
//! [`Router`] is the server, [`Client`] the other side. Neither knows a socket or asks a clock.

mod gate;
mod header;
mod inbox;
mod origins;
mod roster;
mod router;

pub use self::{
    gate::{Gate, Hash},
    header::{Violation, is_name},
    roster::Id,
    router::{Admission, Event, Figures, Passage, READ, Router, Rules, STORED, Why},
};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
