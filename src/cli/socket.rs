//! The options of sockets (socket(7), ip(7), tcp(7)).

use std::{net::IpAddr, time::Duration};

use clap::Args;

use super::units;

/// Options to set on a socket.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Socket {
    /// Allow sending to broadcast addresses
    #[arg(long)]
    pub broadcast: bool,

    /// Join a multicast group, with -l -u: receive what is sent to it, and send to it
    #[arg(long, value_name = "GROUP")]
    pub join: Option<IpAddr>,

    /// Type of service, the whole octet: 0x10, 16, or lowdelay, throughput, reliability, ef, af11 …, cs1 …
    #[arg(long, value_name = "TOS", value_parser = type_of_service)]
    pub tos: Option<u8>,

    /// Time to live, or hop limit
    #[arg(short = 'M', long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub ttl: Option<u8>,

    /// Size of the kernel's send buffer
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub sndbuf: Option<u64>,

    /// Size of the kernel's receive buffer
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub rcvbuf: Option<u64>,

    /// Send small pieces at once, without waiting to fill a segment
    #[arg(long)]
    pub nodelay: bool,

    /// Probe a peer that is silent for so long (TCP keepalive)
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub keepalive: Option<Duration>,

    /// Use this congestion control
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,

    /// Use Multipath TCP where both sides have it
    #[arg(long)]
    pub mptcp: bool,
}

/// Parses a type of service. The names are those of nc; the code points are those of RFC 2474, RFC 2597, RFC 3246 and RFC 1349.
fn type_of_service(text: &str) -> Result<u8, String> {
    let class = |n: &str| n.parse::<u8>().ok();
    let named = match text.to_ascii_lowercase().as_str() {
        "lowdelay" => Some(0x10),
        "throughput" => Some(0x08),
        // Lower effort (RFC 8622) has the code point 1, which is the bit of the older `reliability` (RFC 1349).
        "reliability" | "le" => Some(0x04),
        "lowcost" => Some(0x02),
        // Precedences (RFC 791, section 3.1) are the upper three bits.
        "critical" => Some(0xa0),
        "inetcontrol" => Some(0xc0),
        "netcontrol" => Some(0xe0),
        "ef" => Some(46 << 2),
        // VOICE-ADMIT (RFC 5865).
        "va" => Some(44 << 2),
        // DSCP fills the upper six bits of the octet: a class is three bits, a drop precedence two.
        name => match name.split_at_checked(2) {
            Some(("cs", n)) => class(n).filter(|n| *n < 8).map(|n| n << 5),
            Some(("af", n)) => class(n)
                .filter(|n| matches!(n / 10, 1..=4) && matches!(n % 10, 1..=3))
                .map(|n| ((n / 10) << 5) | ((n % 10) << 3)),
            Some(("0x", n)) => u8::from_str_radix(n, 16).ok(),
            _ => name.parse().ok(),
        },
    };

    named.ok_or_else(|| "a number from 0 to 255, or a name as lowdelay, ef, af11, cs1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_service() {
        let table = [
            ("0", 0),
            ("255", 255),
            ("0x10", 16),
            ("lowdelay", 0x10),
            ("EF", 0xb8),
            ("af11", 0x28),
            ("af43", 0x98),
            ("cs7", 0xe0),
        ];

        for (text, value) in table {
            assert_eq!(type_of_service(text), Ok(value), "{text}");
        }

        for text in ["", "256", "-1", "0x100", "af44", "af51", "cs8", "fast", "é"] {
            assert!(type_of_service(text).is_err(), "{text}");
        }
    }
}
