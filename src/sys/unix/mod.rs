//! The subjects that every Unix has.

mod descriptor;
mod errors;
mod files;
mod process;
mod signals;
mod sockets;
mod terminal;

pub use self::{descriptor::*, errors::*, files::*, process::*, signals::*, sockets::*, terminal::*};
