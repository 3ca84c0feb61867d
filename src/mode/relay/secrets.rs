//! Tokens and keys, which are read from files, because ps(1) shows the command line.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::proto::relay::{Authenticator, is_name};

/// Creates the authenticator from a file with a token, or from one with the keys of names.
pub fn authenticator(token: Option<&PathBuf>, names: Option<&PathBuf>) -> Result<Authenticator> {
    Ok(match (token, names) {
        (Some(path), _) => Authenticator::token(&first_line(path)?, sha256),
        (None, Some(path)) => Authenticator::Keys { hashes: hashes(path)?, hash: sha256 },
        (None, None) => Authenticator::Open,
    })
}

/// Reads the first line of a file, which is a token or a key.
pub fn first_line(path: &Path) -> Result<Vec<u8>> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    // Editors and echo(1) end the file with a line end, which is no part of the secret.
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if !is_name(line) {
        bail!(
            "read {}: its first line is no secret: it is empty, too long, or has strange characters",
            path.display()
        );
    }
    Ok(line.to_vec())
}

/// Reads names and the hashes of their keys: one `name hash` a line. Empty lines and those with `#` are skipped.
fn hashes(path: &Path) -> Result<HashMap<Box<[u8]>, [u8; 32]>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut found = HashMap::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }

        // A name may contain spaces; a hash cannot.
        let wanted = line.rsplit_once(char::is_whitespace);
        let entry = wanted.and_then(|(name, hash)| Some((name.trim(), from_hex(hash)?)));
        match entry {
            Some((name, hash)) if is_name(name.as_bytes()) => found.insert(name.as_bytes().into(), hash),
            _ => bail!("read {}: line {number} is not a name and a SHA-256 in hex", path.display()),
        };
    }
    Ok(found)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = (text.len() == 64 && text.is_ascii()).then_some(text)?;
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(hash)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal() {
        // FIPS 180-4's example "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(from_hex(abc), Some(sha256(b"abc")));
        for text in ["", &abc[1..], &abc.replace('b', "g"), &abc.replace("ba", "é")] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }
}
