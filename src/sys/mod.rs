//! Everything unsafe or bound to a platform. Callers write `sys::name` and find the same names everywhere.
//!
//! [`MisalignedBuffer`], memory for the kernel to copy into, and [`SandboxPolicy`] are portable.
//!
//! A platform provides, one file a subject (`unix/`; `windows/` would have the same names):
//!
//! * `descriptor`: [`Descriptor`], [`Kind`], [`Raw`]; inherited ones: [`Inherited`], [`classify`], [`standard_stream`],
//!   [`StandardStream`], [`duplicate_stderr`], [`silence_stdout`], [`is_writable`], [`wait_readable`], [`wait_writable`];
//! * `errors`: [`reason`], [`clone_error`], [`address_in_use`], and the predicates that tell one error from another;
//! * `files`: [`NULL_DEVICE`], [`TIME_ZONES`], [`is_written_directly`], [`is_null`], [`is_fifo`], [`is_socket`], [`Entry`],
//!   [`list_names`], [`check_writable_folder`];
//! * `process`: [`spawn_in_group`], [`socket_pair`], [`duplicate_blocking`], [`peek_exit_status`], [`exit_code`],
//!   [`hang_up_group`], [`kill_group`], [`group_exists`]; our own limits: [`raise_descriptor_limit`], [`can_open`];
//! * `signals`: [`Signal`], [`Signals`], [`exit_by_signal`], [`stop_self`];
//! * `sockets`: [`receive_from`], [`ReceivedDatagram`], [`send_to`], [`set_keepalive`], [`unread`], [`interface_index`],
//!   [`interface_name`], [`service_name`];
//! * `terminal`: [`RawModeGuard`], [`NoEcho`], [`Keys`], [`terminal_width`], [`is_terminal`], [`is_background_read`],
//!   [`standard_terminals`].
//!
//! A kernel provides (`linux/`), or refuses with `Unsupported` (`portable.rs`):
//!
//! * `batch`: [`send_segments`], [`MAX_SEGMENTS`], [`Batch`], [`MAX_MESSAGES`]: many datagrams in one call;
//! * `files`: [`reopen`], [`never_blocks`], [`rename_new`], [`open_beneath`], [`kind_beneath`];
//! * `packet_info`: [`enable_packet_info`], [`destination`], [`send_from`]: the local address of a datagram;
//! * `sandbox`: [`confine`], [`Enforcement`];
//! * `sockets`: [`accept`], [`unacknowledged`], [`at_mark`], [`dropped`], [`tcp_info`], [`TcpInfo`], [`HANGUP_ONLY`],
//!   [`force_receive_buffer`], [`set_congestion`], [`bind_device`];
//! * `splice`: [`send_file`], [`splice`], [`SplicePipe`], [`enlarge_pipe`], [`discard`]: bytes that never enter the process;
//! * `timer`: [`Timer`], finer than the milliseconds of a poll.

#![allow(unsafe_code)]

mod misaligned_buffer;
mod sandbox;

// The platform is chosen here and nowhere else. `--cfg portable` builds on Linux what other kernels would run.
mod unix;

#[cfg(all(target_os = "linux", not(portable)))]
#[path = "linux/mod.rs"]
mod kernel;

#[cfg(not(all(target_os = "linux", not(portable))))]
#[path = "portable.rs"]
mod kernel;

pub use self::{kernel::*, misaligned_buffer::*, sandbox::*, unix::*};
