//! The words of errors, and the predicates that tell one error from another.

use std::{ffi::c_int, io};

use rustix::io::Errno;

/// Returns the text of an error as part of a sentence: without its number, in lower case.
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

/// Copies an error, which `io::Error` itself cannot do; only its code or its kind is kept.
pub fn clone_error(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Tells whether the process or the machine has run out of descriptors or memory.
pub fn is_exhausted(error: &io::Error) -> bool {
    has_code(error, &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM])
}

/// Tells whether the kernel does not support a call for these descriptors, so that another call must do.
pub fn is_refusal(error: &io::Error) -> bool {
    let codes = [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP, libc::EPERM, libc::ESPIPE];
    error.kind() == io::ErrorKind::Unsupported || has_code(error, &codes)
}

/// Tells whether segmentation offload was refused (udp(7), UDP_SEGMENT), so that each datagram needs its own call.
pub fn is_offload_refusal(error: &io::Error) -> bool {
    is_refusal(error) || has_code(error, &[libc::EIO, libc::EMSGSIZE])
}

/// Returns the error for an address that is taken (bind(2), EADDRINUSE).
pub fn address_in_use() -> io::Error {
    io::Error::from_raw_os_error(libc::EADDRINUSE)
}

/// Tells whether a connection is still being made (connect(2), EINPROGRESS).
pub fn is_in_progress(error: &io::Error) -> bool {
    has_code(error, &[libc::EINPROGRESS])
}

/// Tells whether this machine lacks an address family (socket(2), EAFNOSUPPORT).
pub fn is_family_missing(error: &io::Error) -> bool {
    has_code(error, &[libc::EAFNOSUPPORT])
}

/// Tells whether the socket at a path is of another type than ours (unix(7), EPROTOTYPE).
pub fn is_wrong_type(error: &io::Error) -> bool {
    has_code(error, &[libc::EPROTOTYPE])
}

fn has_code(error: &io::Error, codes: &[c_int]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Converts the result of a libc call that counts bytes and returns a negative number for an error.
pub(in crate::sys) fn counted(result: isize) -> rustix::io::Result<usize> {
    let error = || Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO);
    usize::try_from(result).map_err(|_| error())
}

/// Repeats a call while a signal interrupts it (signal(7), EINTR).
pub(in crate::sys) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
