//! The file that an answer is received into.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    endpoint::{Download, Name},
    sys,
};

/// A file in progress, if there is one. Without one, bytes are counted and dropped.
#[derive(Default)]
pub struct FileSink(Option<Destination>);

/// An open file.
enum Destination {
    /// A device or a FIFO, which is written to directly.
    Direct(File),
    /// A file that gets its name when it is complete.
    Part(Download),
}

impl FileSink {
    /// Opens a file for the next answer. `force` replaces an existing one.
    pub fn open(&mut self, path: &Path, force: bool) -> Result<()> {
        let context = || format!("receive into {}", path.display());
        // A device such as /dev/null must not be replaced by a regular file of its name.
        self.0 = Some(if sys::is_written_directly(path) {
            Destination::Direct(File::options().write(true).open(path).with_context(context)?)
        } else {
            let name = Name { path: path.to_owned(), force, numbered: false };
            Destination::Part(Download::open(name).with_context(context)?)
        });
        Ok(())
    }

    /// Writes up to `max` of the bytes. Returns how many were taken.
    pub fn write(&mut self, bytes: &[u8], max: u64) -> Result<u64> {
        let n = usize::try_from(max).unwrap_or(usize::MAX).min(bytes.len());
        match &mut self.0 {
            Some(Destination::Direct(file)) => file.write_all(&bytes[..n]),
            Some(Destination::Part(file)) => file.write_all(&bytes[..n]),
            None => Ok(()),
        }
        .context("write the file")?;
        Ok(n as u64)
    }

    /// Closes the file, and gives it its name if it is complete. Returns the path of what was kept.
    pub fn close(&mut self, complete: bool) -> Result<Option<PathBuf>> {
        let Some(Destination::Part(file)) = self.0.take() else { return Ok(None) };
        let part = file.part().display().to_string();
        match complete {
            true => Ok(Some(file.keep().with_context(|| format!("give {part} its name"))?)),
            false => file.leave().with_context(|| part),
        }
    }
}

/// Formats the end of a message about a received file: its path, if there is one.
pub fn kept_in(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!(", in {}", path.display()))
}
