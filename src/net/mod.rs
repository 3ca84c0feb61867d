//! How the program gets a socket.

pub mod access;
pub mod address;
pub mod config;
pub mod interface;
pub mod listener;
pub mod port;
pub mod race;
pub mod resolve;

pub use self::{
    access::Access,
    address::{Address, Family, Location, Transport},
    config::SocketConfig,
    listener::{Accepted, Arrival, Hears, Listener},
    race::Race,
};
