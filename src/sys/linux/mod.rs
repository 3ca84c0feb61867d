//! The abilities that only Linux has. `portable.rs` mirrors them.

mod batch;
mod files;
mod packet_info;
mod sandbox;
mod sockets;
mod splice;
#[cfg(target_env = "gnu")]
mod static_link;
mod timer;

pub use self::{batch::*, files::*, packet_info::*, sandbox::*, sockets::*, splice::*, timer::*};
