//! The right to register a name: for every client, with a token, or with the key of the name.

use std::collections::HashMap;

/// A SHA-256 function (FIPS 180-4); the caller provides it, because formats contain no cryptography.
pub type Hash = fn(&[u8]) -> [u8; 32];

/// The secret that a registration must contain. Secrets are compared by their hashes, so that the time of a comparison
/// reveals nothing about them.
#[derive(Debug)]
pub enum Authenticator {
    /// `key:name|` registers `name`, if the key has the hash of the name.
    Keys {
        hashes: HashMap<Box<[u8]>, [u8; 32]>,
        hash: Hash,
    },
    Open,
    /// `token:name|` registers `token:name`, by which other clients write to it.
    Token {
        length: usize,
        token: [u8; 32],
        hash: Hash,
    },
}

impl Authenticator {
    /// Creates an authenticator that demands a token.
    pub fn token(token: &[u8], hash: Hash) -> Self {
        Self::Token { length: token.len(), token: hash(token), hash }
    }

    /// Returns the name that a registration is for, if it contains the secret.
    pub fn name<'a>(&self, registration: &'a [u8]) -> Option<&'a [u8]> {
        let named = match self {
            Self::Open => return Some(registration),
            Self::Token { length, token, hash } => {
                let (shown, rest) = registration.split_at_checked(*length)?;
                // The token stays a part of the name, so that only clients that know it can write to it.
                (hash(shown) == *token && rest.len() > 1 && rest[0] == b':').then_some(registration)
            }
            Self::Keys { hashes, hash } => {
                let colon = registration.iter().position(|byte| *byte == b':')?;
                let (key, name) = (&registration[..colon], &registration[colon + 1..]);
                // Hashed before the look-up, so that the time does not tell whether the name exists.
                let hash = hash(key);
                hashes.get(name).is_some_and(|wanted| *wanted == hash).then_some(name)
            }
        };

        // `token:` and `key:` alone register no name.
        named.filter(|name| !name.is_empty())
    }

    /// Returns the part of a name that is no secret.
    pub fn public_name<'a>(&self, name: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Token { length, .. } => name.get(length + 1..).unwrap_or_default(),
            Self::Keys { .. } | Self::Open => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The authenticator, a registration, and the name that it registers.
    type Row<'a> = (&'a Authenticator, &'a [u8], Option<&'a [u8]>);

    /// Returns a hash that is not secure, but differs.
    fn hash(bytes: &[u8]) -> [u8; 32] {
        let mut sum = [0; 32];
        for (at, byte) in bytes.iter().enumerate() {
            sum[at % 32] = byte.wrapping_mul(3).wrapping_add(sum[at % 32]);
        }
        sum
    }

    #[test]
    fn registrations() {
        let keys =
            Authenticator::Keys { hashes: HashMap::from([(b"web:1"[..].into(), hash(b"secret"))]), hash };
        let token = Authenticator::token(b"T:t", hash);
        let table: [Row; 12] = [
            (&Authenticator::Open, b"device_a", Some(b"device_a")),
            (&Authenticator::Open, b"a:b", Some(b"a:b")),
            (&token, b"T:t:device_a", Some(b"T:t:device_a")),
            (&token, b"device_a", None),
            (&token, b"T:x:device_a", None),
            (&token, b"T:t:", None),
            (&token, b"T:t", None),
            (&token, b"", None),
            (&keys, b"secret:web:1", Some(b"web:1")),
            (&keys, b"secret:web:2", None),
            (&keys, b"wrong:web:1", None),
            (&keys, b"web:1", None),
        ];

        for (authenticator, registration, name) in table {
            assert_eq!(authenticator.name(registration), name, "{}", registration.escape_ascii());
        }
        assert_eq!(token.public_name(b"T:t:device_a"), b"device_a");
        assert_eq!(keys.public_name(b"web:1"), b"web:1");
    }
}
