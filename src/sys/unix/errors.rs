//! Errors: their words, and the predicates that tell one from another.

use std::{ffi::c_int, io};

use rustix::io::Errno;

/// What an error says, without its number, as part of a sentence.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

/// The same error once more: errors of the standard_stream library cannot be copied.
pub fn clone_error(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Whether the process or the machine has run out of descriptors or memory.
pub fn is_exhausted(error: &io::Error) -> bool {
    has_code(error, &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM])
}

/// Whether a kernel refuses a call as such, so that another one must do.
pub fn is_refusal(error: &io::Error) -> bool {
    let codes = [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP, libc::EPERM, libc::ESPIPE];
    error.kind() == io::ErrorKind::Unsupported || has_code(error, &codes)
}

/// Whether datagrams that were to go together have to go one by one (udp(7), UDP_SEGMENT).
pub fn is_offload_refusal(error: &io::Error) -> bool {
    is_refusal(error) || has_code(error, &[libc::EIO, libc::EMSGSIZE])
}

/// The error of an address that somebody has (bind(2)).
pub fn address_in_use() -> io::Error {
    io::Error::from_raw_os_error(libc::EADDRINUSE)
}

/// Whether a connection is only under way (connect(2)).
pub fn is_in_progress(error: &io::Error) -> bool {
    has_code(error, &[libc::EINPROGRESS])
}

/// Whether this machine lacks an address family.
pub fn is_family_missing(error: &io::Error) -> bool {
    has_code(error, &[libc::EAFNOSUPPORT])
}

/// Whether the socket at an address is of another type than ours (unix(7), EPROTOTYPE).
pub fn is_wrong_type(error: &io::Error) -> bool {
    has_code(error, &[libc::EPROTOTYPE])
}

fn has_code(error: &io::Error, codes: &[c_int]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// What a call of libc counted; it returns a negative number for an error.
pub(in crate::sys) fn counted(result: isize) -> rustix::io::Result<usize> {
    let error = || Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO);
    usize::try_from(result).map_err(|_| error())
}

/// Calls again what a signal interrupted.
pub(in crate::sys) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
