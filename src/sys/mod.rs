//! Everything unsafe or bound to a platform.
//!
//! [`MisalignedBuffer`], memory for the kernel to copy into, is the same everywhere.
//!
//! A platform provides, in `unix.rs`, `terminal.rs`, `program.rs` and `signal.rs` (Windows would have the same names):
//!
//! * [`Descriptor`], [`Kind`], [`Raw`], [`Inherited`], [`StandardStream`], [`standard_stream`], [`classify`], [`silence_stdout`]:
//!   descriptors, ours and inherited;
//! * [`receive_from`], [`Received`], [`send_to`], [`set_keepalive`], [`unread`]: sockets, beyond what socket2 has;
//! * [`interface_index`], [`interface_name`], [`service_name`]: what numbers are called;
//! * [`is_fifo`], [`is_null`], [`is_socket`], [`is_terminal`], [`check_writable_folder`], [`list_names`], [`Entry`], [`is_writable`], [`wait_readable`],
//!   [`wait_writable`]: files and devices;
//! * [`RawModeGuard`], [`NoEcho`], [`Keys`], [`terminal_width`]: the terminal's line editing and echo, taken over and given back;
//! * [`Signal`], [`Signals`], [`exit_by_signal`], [`stop_self`], [`raise_descriptor_limit`], [`can_open`]: signals and limits;
//! * [`spawn_in_group`], [`hang_up_group`], [`kill_group`], [`group_exists`], [`socket_pair`], [`duplicate_blocking`]: programs that we start;
//! * [`reason`], [`clone_error`], and the predicates that tell one error from another.
//!
//! And, in `linux/`, or in `portable.rs` where there is no such thing:
//!
//! * [`accept`]: a connection that never makes us wait;
//! * [`send_file`], [`splice`], [`SplicePipe`], [`enlarge`], [`discard`]: bytes that the kernel moves by itself;
//! * [`send_segments`], [`MAX_SEGMENTS`], [`Batch`], [`MAX_MESSAGES`]: many datagrams in one call;
//! * [`rename_new`]: a rename that replaces nothing; [`open_beneath`], [`kind_beneath`]: a file that is in a folder;
//! * [`Timer`]: a clock finer than that of a poll;
//! * [`reopen`], [`never_blocks`]: a description of our own for an inherited descriptor;
//! * [`unacknowledged`], [`at_mark`], [`dropped`], [`tcp_info`]: what the kernel knows of a socket;
//! * [`confine`]: what the process gives up, but for its [`SandboxPolicy`];
//! * [`HANGUP_ONLY`]: what to watch a socket for that somebody else reads;
//! * [`force_receive_buffer`], [`set_congestion`], [`bind_device`]: options that not every kernel has;
//! * [`enable_packet_info`], [`destination`], [`send_from`]: the address a datagram was sent to, and is answered from.

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
