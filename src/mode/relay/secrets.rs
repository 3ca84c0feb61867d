//! Tokens and keys, which come from files and never from the command line.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::proto::relay::{Authenticator, is_name};

/// Whom the relay lets in.
pub fn authenticator(token: Option<&PathBuf>, names: Option<&PathBuf>) -> Result<Authenticator> {
    Ok(match (token, names) {
        (Some(path), _) => Authenticator::token(&first_line(path)?, sha256),
        (None, Some(path)) => Authenticator::Keys { hashes: hashes(path)?, hash: sha256 },
        (None, None) => Authenticator::Open,
    })
}

/// The first line of a file of secrets.
pub fn first_line(path: &Path) -> Result<Vec<u8>> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if !is_name(line) {
        bail!(
            "read {}: its first line is no secret: it is empty, too long, or has strange characters",
            path.display()
        );
    }
    Ok(line.to_vec())
}

/// Names, and the hashes of their keys: a line each, `name hash`. Empty lines and `#` are left out.
fn hashes(path: &Path) -> Result<HashMap<Box<[u8]>, [u8; 32]>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut found = HashMap::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
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
