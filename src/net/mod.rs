//! How the program gets a socket: from names and addresses to connected, bound and accepted sockets.

pub mod access;
pub mod address;
mod arrival;
mod bind;
pub mod config;
mod datagram_listener;
mod family;
pub mod interface;
pub mod listener;
pub mod port;
pub mod race;
pub mod resolve;
mod stream_listener;

pub use self::{
    access::Access,
    address::{Address, Location},
    arrival::{Accepted, Arrival, Denied, Isolation},
    config::SocketConfig,
    datagram_listener::DatagramListener,
    family::{Family, Transport},
    listener::Listener,
    race::Race,
    stream_listener::StreamListener,
};
