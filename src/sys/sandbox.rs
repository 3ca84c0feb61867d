//! The rights that a process keeps when it gives up the rest.

use std::path::PathBuf;

/// The paths that a sandboxed process may still use. It may open no new TCP connection and no port; descriptors that
/// are already open stay usable.
#[derive(Debug, Default)]
pub struct SandboxPolicy {
    /// Files to open for reading, and folders beneath which files may be read.
    pub read: Vec<PathBuf>,
    /// Files and devices to open for writing, or for both.
    pub write: Vec<PathBuf>,
    /// Folders in which files may be created, written and renamed.
    pub make: Vec<PathBuf>,
    /// Folders from which files may be removed.
    pub remove: Vec<PathBuf>,
}

/// The part of a [`SandboxPolicy`] that the kernel enforces.
#[cfg_attr(any(portable, not(target_os = "linux")), allow(dead_code, reason = "nothing is enforced there"))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    Full,
    None,
    /// The kernel knows only some of the rights.
    Partial,
}
