//! What the process keeps when it gives up the rest.

use std::path::PathBuf;

/// All that it may still do; no new TCP connections or ports. What it has open stays open.
#[derive(Debug, Default)]
pub struct Permits {
    /// Files to open for reading, and folders beneath which to do so.
    pub read: Vec<PathBuf>,
    /// Files and devices to open for writing, or both.
    pub write: Vec<PathBuf>,
    /// Folders to make files in, write them, and give them other names.
    pub make: Vec<PathBuf>,
    /// Folders to remove files from.
    pub remove: Vec<PathBuf>,
}

/// How much was given up.
#[cfg_attr(any(portable, not(target_os = "linux")), allow(dead_code, reason = "nothing is given up there"))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confined {
    Not,
    /// The kernel knows only some of it.
    Partly,
    Wholly,
}
