//! Everything unsafe or bound to a platform.
//!
//! [`Storage`], memory for the kernel to copy into, is the same everywhere.
//!
//! A platform provides, in `unix.rs`, `terminal.rs`, `program.rs` and `signal.rs` (Windows would have the same names):
//!
//! * [`Descriptor`], [`Kind`], [`Raw`], [`Inherited`], [`Stream`], [`standard`], [`adopt`], [`silence_stdout`]:
//!   descriptors, ours and inherited;
//! * [`receive_from`], [`Received`], [`send_to`], [`keep_alive`], [`unread`]: sockets, beyond what socket2 has;
//! * [`interface_index`], [`interface_name`], [`service_name`]: what numbers are called;
//! * [`is_fifo`], [`is_null`], [`is_socket`], [`is_terminal`], [`writable_folder`], [`names`], [`Entry`], [`has_room`], [`wait_to_read`],
//!   [`wait_to_write`]: files and devices;
//! * [`LineMode`], [`Hidden`], [`Keys`], [`width`]: the terminal's line editing and echo, taken over and given back;
//! * [`Signal`], [`Signals`], [`die_of`], [`stop_self`], [`raise_descriptor_limit`], [`can_open`]: signals and limits;
//! * [`start`], [`hang_up`], [`kill`], [`has_group`], [`pair`], [`hand_over`]: programs that we start;
//! * [`reason`], [`same`], and the predicates that tell one error from another.
//!
//! And, in `linux/`, or in `portable.rs` where there is no such thing:
//!
//! * [`accept`]: a connection that never makes us wait;
//! * [`send_file`], [`splice`], [`Pipe`], [`enlarge`], [`discard`]: bytes that the kernel moves by itself;
//! * [`send_segments`], [`SEGMENTS`], [`Batch`], [`MESSAGES`]: many datagrams in one call;
//! * [`rename_new`]: a rename that replaces nothing; [`open_beneath`], [`kind_beneath`]: a file that is in a folder;
//! * [`Timer`]: a clock finer than that of a poll;
//! * [`reopen`], [`never_blocks`]: a description of our own for an inherited descriptor;
//! * [`unacknowledged`], [`at_mark`], [`dropped`], [`figures`]: what the kernel knows of a socket;
//! * [`confine`]: what the process gives up, but for its [`Permits`];
//! * [`END`]: what to watch a socket for that somebody else reads;
//! * [`force_receive_buffer`], [`set_congestion`], [`bind_device`]: options that not every kernel has;
//! * [`want_destination`], [`destination`], [`send_from`]: the address a datagram was sent to, and is answered from.

#![allow(unsafe_code)]

mod misaligned_buffer;
mod sandbox;
mod unix;

#[cfg(all(target_os = "linux", not(portable)))]
#[path = "linux/mod.rs"]
mod extras;

#[cfg(not(all(target_os = "linux", not(portable))))]
#[path = "portable.rs"]
mod extras;

pub use self::{extras::*, misaligned_buffer::*, sandbox::*, unix::*};
