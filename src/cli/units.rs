//! Times, sizes and pins as they are typed.

use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

/// Parses a time: `2`, `0.5`, `250ms`, `90s`, `5m`, `1.5h`. A bare number is seconds.
pub fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) = split(text);
    let scale = match unit {
        "" => Some(1.0),
        unit => units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale),
    };
    let seconds = scale.and_then(|scale| Some(decimal(number)? * scale));
    seconds
        .filter(|seconds| *seconds <= MAX_SECONDS)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a time is a number, with ms, s, m or h if it is not in seconds".into())
}

/// Parses a size in bytes: `1400`, `64k` and `1.5M` and `2G` (powers of 1000), `64Ki`, `1Mi`, `2Gi` (of 1024).
pub fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("", 1),
        ("k", 1_000),
        ("K", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
    ];

    let (number, unit) = split(text);
    let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    let bytes = scale.and_then(|scale: u64| {
        // f64 holds integers exactly up to 2^53 only.
        if !number.contains('.') {
            return number.parse::<u64>().ok()?.checked_mul(scale);
        }
        let bytes = decimal(number)? * scale as f64;
        // As f64, u64::MAX is 2^64, which is one too many; the conversion would saturate without a word.
        (bytes < u64::MAX as f64).then_some(bytes as u64)
    });
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size is a number above 0, with k, M, G, Ki, Mi or Gi if it is not in bytes".into())
}

/// Parses the SHA-256 of a key: `sha256:` and 64 hexadecimal digits (colons between them are ignored), or the Base64 that curl's
/// `sha256//` takes (RFC 4648).
pub fn pin(text: &str) -> Result<[u8; 32], String> {
    // 64 digits are no Base64 of 32 bytes, and 44 characters no hexadecimal: one of the two decodes.
    let digits = text.strip_prefix("sha256:").or_else(|| text.strip_prefix("sha256//")).unwrap_or(text);
    let hex = digits.replace(':', "");
    let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).or_else(|_| BASE64.decode(digits.as_bytes()));
    bytes
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "a pin is sha256: and 64 hexadecimal digits, or 44 characters of Base64".into())
}

/// Splits a number from its unit.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// Parses a decimal. [`split`] leaves digits and points only: no sign, no exponent, no `inf` or `nan`.
fn decimal(number: &str) -> Option<f64> {
    number.parse().ok()
}

/// A hundred years: a deadline can be added to any clock without overflow.
const MAX_SECONDS: f64 = 100.0 * 365.0 * 86_400.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pins() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let bytes: [u8; 32] = std::array::from_fn(|i| i as u8);
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let colons =
            "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F";
        for text in [hex, base64, colons, &format!("sha256:{hex}"), &format!("sha256//{base64}")] {
            assert_eq!(pin(text), Ok(bytes), "{text}");
        }
        for text in ["", "sha256:", &hex[1..], &hex[2..], &base64[1..], "sha1:00", &format!("{hex}00")] {
            assert!(pin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times() {
        let table = [
            ("2", 2000),
            ("0", 0),
            ("0.5", 500),
            (".5", 500),
            ("250ms", 250),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ];

        for (text, ms) in table {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }

        for text in ["", "s", "-1", "1d", "1 s", "1e3", ".", "1.2.3", "inf", "nan", "99999999999999"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        let table = [
            ("1400", 1400),
            ("64k", 64_000),
            ("64K", 64_000),
            ("1.5M", 1_500_000),
            ("2G", 2_000_000_000),
            ("64Ki", 65_536),
            ("1Mi", 1 << 20),
            ("0.5Gi", 1 << 29),
            ("18446744073709551615", u64::MAX),
        ];

        for (text, bytes) in table {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }

        for text in ["", "0", "k", "-1", "1T", "1 k", "1kB", "18446744073709551616", "99999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".*") {
            let _ = (time(&text), size(&text));
        }

        #[test]
        fn whole_numbers_are_exact(n in 1_u64..1 << 40) {
            prop_assert_eq!(size(&n.to_string()), Ok(n));
            prop_assert_eq!(size(&format!("{n}Ki")), Ok(n << 10));
        }

        #[test]
        fn seconds_and_milliseconds_agree(ms in 0_u64..1 << 30) {
            prop_assert_eq!(time(&format!("{ms}ms")).unwrap().as_millis(), u128::from(ms));
        }
    }
}
