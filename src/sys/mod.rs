//! Everything unsafe or bound to a platform.
//!
//! A platform provides, in `unix.rs` (Windows would have `windows.rs` with the same names):
//!
//! * [`Descriptor`], [`Kind`], [`Inherited`], [`adopt`], [`standard`], [`Stream`], [`silence_stdout`]: descriptors, ours and inherited;
//! * [`receive_from`], [`local_name`]: datagrams with their size and addresses;
//! * [`is_null`], [`is_terminal`], [`writable_folder`], [`rename_new`]: files and devices;
//! * [`LineMode`]: the terminal's line mode, taken over and given back;
//! * [`Signal`], [`Signals`], [`die_of`], [`stop_self`]: signals.
//!
//! And, in `linux.rs`, or in `portable.rs` where there is no such thing:
//!
//! * [`reopen`]: a description of our own for an inherited descriptor;
//! * [`never_blocks`]: whether a device can be waited for;
//! * [`unacknowledged`], [`dropped`], [`figures`], [`force_receive_buffer`]: what the kernel knows of a socket;
//! * [`bind_device`], [`want_destination`], [`destination`]: devices, and the address a datagram was sent to.

#![allow(unsafe_code)]

mod unix;

#[cfg(all(target_os = "linux", not(portable)))]
#[path = "linux.rs"]
mod extras;

#[cfg(not(all(target_os = "linux", not(portable))))]
#[path = "portable.rs"]
mod extras;

pub use self::{extras::*, unix::*};
