use proptest::prelude::*;

use super::{
    handshake::ProxyHandshake,
    request::{Host, InvalidRequest, Protocol, Request},
};

fn ip(text: &str) -> Host {
    Host::Ip(text.parse().unwrap())
}

fn name(text: &str) -> Host {
    Host::Name(text.to_owned())
}

fn request(protocol: Protocol, host: Host, user: Option<&str>) -> Result<Request, InvalidRequest> {
    Request::new(protocol, host, 22, user.map(str::to_owned))
}

fn begin(protocol: Protocol, host: Host, user: Option<&str>) -> ProxyHandshake {
    request(protocol, host, user).unwrap().begin(b"secret").unwrap()
}

/// Gives a handshake the replies in pieces. Returns all that it sends, and the bytes left for the session.
fn converse(
    mut handshake: ProxyHandshake,
    replies: &[u8],
    piece: usize,
) -> (Vec<u8>, Result<Vec<u8>, String>) {
    let (mut sent, mut left) = (Vec::new(), Vec::new());

    for mut part in replies.chunks(piece).chain([&b""[..]]) {
        loop {
            sent.extend(handshake.output());
            handshake.written(handshake.output().len());
            match handshake.receive(part) {
                Ok(taken) => part = &part[taken..],
                Err(refusal) => return (sent, Err(refusal.to_string())),
            }
            if handshake.output().is_empty() {
                break;
            }
        }
        assert!(part.is_empty() || handshake.is_open(), "the handshake takes no byte, and is not open");
        left.extend(part);
    }
    let end = if handshake.is_open() { Ok(left) } else { Err("not open".to_owned()) };
    (sent, end)
}

#[test]
fn requests_byte_for_byte() {
    use Protocol::{Connect, Socks4, Socks5};
    type Row<'a> = (Protocol, Host, Option<&'a str>, &'a [u8], Vec<u8>);
    let wide = "2001:db8::1";
    let address = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
    let table: Vec<Row<'_>> = vec![
        (Socks4, ip("192.0.2.1"), None, b"", b"\x04\x01\0\x16\xc0\0\x02\x01\0".to_vec()),
        (Socks4, ip("192.0.2.1"), Some("me"), b"", b"\x04\x01\0\x16\xc0\0\x02\x01me\0".to_vec()),
        (Socks4, name("a.b"), Some("me"), b"", b"\x04\x01\0\x16\0\0\0\x01me\0a.b\0".to_vec()),
        (Socks5, ip("192.0.2.1"), None, b"\x05\0", b"\x05\x01\0\x05\x01\0\x01\xc0\0\x02\x01\0\x16".to_vec()),
        (Socks5, ip(wide), None, b"\x05\0", [b"\x05\x01\0\x05\x01\0\x04", &address[..], b"\0\x16"].concat()),
        (Socks5, name("a.b"), None, b"\x05\0", b"\x05\x01\0\x05\x01\0\x03\x03a.b\0\x16".to_vec()),
        // With a user, and a proxy that does not ask for one.
        (Socks5, name("a.b"), Some("me"), b"\x05\0", b"\x05\x02\0\x02\x05\x01\0\x03\x03a.b\0\x16".to_vec()),
        (
            Socks5,
            name("a.b"),
            Some("me"),
            b"\x05\x02\x01\0",
            b"\x05\x02\0\x02\x01\x02me\x06secret\x05\x01\0\x03\x03a.b\0\x16".to_vec(),
        ),
        (Connect, name("a.b"), None, b"", b"CONNECT a.b:22 HTTP/1.1\r\nHost: a.b:22\r\n\r\n".to_vec()),
        (Connect, ip(wide), None, b"", {
            b"CONNECT [2001:db8::1]:22 HTTP/1.1\r\nHost: [2001:db8::1]:22\r\n\r\n".to_vec()
        }),
        (Connect, ip("192.0.2.1"), Some("me"), b"", {
            b"CONNECT 192.0.2.1:22 HTTP/1.1\r\nHost: 192.0.2.1:22\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
                .to_vec()
        }),
    ];

    for (protocol, host, user, replies, wanted) in table {
        let (sent, _) = converse(begin(protocol, host.clone(), user), replies, 1);
        assert_eq!(sent.escape_ascii().to_string(), wanted.escape_ascii().to_string(), "{protocol} {host:?}");
    }
}

#[test]
fn nothing_behind_a_reply_is_taken() {
    use Protocol::{Connect, Socks4, Socks5};
    let named = [b"\x05\0\x05\0\0\x03\xff", &[b'n'; 255][..], b"\0\0"].concat();
    let table: [(Protocol, Option<&str>, &[u8]); 11] = [
        (Socks4, None, b"\0\x5a\0\x16\0\0\0\0"),
        (Socks5, None, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0"),
        (Socks5, None, b"\x05\0\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        (Socks5, None, b"\x05\0\x05\0\0\x03\0\0\0"),
        (Socks5, None, &named),
        (Socks5, Some("me"), b"\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0"),
        (Connect, None, b"HTTP/1.1 200 Connection established\r\n\r\n"),
        (Connect, None, b"HTTP/1.0 299\r\nContent-Length: 5\r\nA: b\r\n\r\n"),
        (Connect, None, b"HTTP/1.1 200 OK\nA: b\n\n"),
        (
            Connect,
            None,
            b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ),
        (Connect, Some("me"), b"HTTP/1.1 200 \xff\r\n\r\n"),
    ];

    for (protocol, user, reply) in table {
        for payload in [&b""[..], b"\r\nHTTP/1.1 403 x\r\n\r\n", b"\0\0\x05\x01"] {
            let all = [reply, payload].concat();
            for piece in [1, 2, 3, 7, all.len()] {
                let (_, end) = converse(begin(protocol, name("a.b"), user), &all, piece);
                assert_eq!(end.unwrap(), payload, "{protocol}, {piece} bytes at a time");
            }
        }
        for cut in 0..reply.len() {
            let (_, end) = converse(begin(protocol, name("a.b"), user), &reply[..cut], 1);
            assert_eq!(end.unwrap_err(), "not open", "{protocol}, {cut} bytes");
        }
    }
}

#[test]
fn refusals_have_their_words() {
    use Protocol::{Connect, Socks4, Socks5};
    let endless = [&b"HTTP/1.1 200 OK\r\nA: "[..], &vec![b'b'; 70_000]].concat();
    let empty = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(3000);
    let long = [b"HTTP/1.1 500 ", &[b'x'; 300][..], b"\r\n"].concat();
    let shown = format!("the proxy says: HTTP/1.1 500 {} …", "x".repeat(187));
    let table: Vec<(Protocol, Option<&str>, &[u8], &str)> = vec![
        (Socks4, None, b"\0\x5b", "request rejected or failed"),
        (Socks4, None, b"\0\x5c", "the proxy cannot connect to an identd here"),
        (Socks4, None, b"\0\x5d", "the identd here reports another user"),
        (Socks4, None, b"\0\x01", "the proxy refuses, with the unknown code 1"),
        (Socks4, None, b"H", "the proxy does not speak SOCKS 4"),
        (Socks5, None, b"\x05\xff", "the proxy wants a user and a password (-P USER)"),
        (Socks5, Some("me"), b"\x05\xff", "the proxy does not accept the user or the password"),
        (Socks5, Some("me"), b"\x05\x02\x01\x01", "the proxy does not accept the user or the password"),
        // A method that was not offered.
        (Socks5, None, b"\x05\x02", "the proxy does not speak SOCKS 5"),
        (Socks5, Some("me"), b"\x05\x01", "the proxy does not speak SOCKS 5"),
        (Socks5, None, b"H", "the proxy does not speak SOCKS 5"),
        (Socks5, None, b"\x05\0\x04", "the proxy does not speak SOCKS 5"),
        (Socks5, None, b"\x05\0\x05\0\0\x02", "the proxy does not speak SOCKS 5"),
        (Socks5, None, b"\x05\0\x05\x01", "general SOCKS server failure"),
        (Socks5, None, b"\x05\0\x05\x02", "connection not allowed by the proxy's ruleset"),
        (Socks5, None, b"\x05\0\x05\x03", "network unreachable"),
        (Socks5, None, b"\x05\0\x05\x04", "host unreachable"),
        (Socks5, None, b"\x05\0\x05\x05", "connection refused"),
        (Socks5, None, b"\x05\0\x05\x06", "TTL expired"),
        (Socks5, None, b"\x05\0\x05\x07", "command not supported by the proxy"),
        (Socks5, None, b"\x05\0\x05\x08", "address type not supported by the proxy"),
        (Socks5, None, b"\x05\0\x05\x09", "the proxy refuses, with the unknown code 9"),
        (Connect, None, b"HTTP/1.1 403 Forbidden\r\n", "the proxy says: HTTP/1.1 403 Forbidden"),
        (Connect, None, b"HTTP/1.1 302 \x1b[31m\xc3\xa9\n", r"the proxy says: HTTP/1.1 302 \x1b[31m\xc3\xa9"),
        (
            Connect,
            None,
            b"HTTP/1.1 407 Auth\r\n",
            "the proxy wants a user and a password (-P USER): HTTP/1.1 407 Auth",
        ),
        (
            Connect,
            Some("me"),
            b"HTTP/1.1 407 Auth\r\n",
            "the proxy does not accept the user or the password: HTTP/1.1 407 Auth",
        ),
        (Connect, None, b"SSH-", "the proxy does not speak HTTP"),
        (Connect, None, b"\n", "the proxy does not speak HTTP"),
        (Connect, None, b"HTTP/1.1\r\n", "the proxy does not speak HTTP"),
        (Connect, None, b"HTTP/1.1 20 OK\r\n", "the proxy does not speak HTTP"),
        (Connect, None, b"HTTP/1.1 2000 OK\r\n", "the proxy does not speak HTTP"),
        (Connect, None, b"HTTP/1.1 100 C\r\n\r\nx", "the proxy does not speak HTTP"),
        (Connect, None, &endless, "the proxy's reply does not end"),
        (Connect, None, &empty, "the proxy's reply does not end"),
        (Connect, None, &long, &shown),
    ];

    for (protocol, user, reply, why) in table {
        for piece in [1, 2, reply.len()] {
            let (_, end) = converse(begin(protocol, name("a.b"), user), reply, piece);
            assert_eq!(end.unwrap_err(), why, "{protocol}, {piece} bytes at a time");
        }
    }
}

#[test]
fn invalid_requests_are_refused() {
    use Protocol::{Connect, Socks4, Socks5};
    let (fits, long) = ("x".repeat(255), "x".repeat(256));

    for protocol in [Connect, Socks4, Socks5] {
        for strange in ["", "a b", "a:b", "a\r\nb", "a\0b", "a\u{a0}b", &long] {
            assert_eq!(request(protocol, name(strange), None), Err(InvalidRequest::HostName), "{strange:?}");
        }
        assert!(request(protocol, name(&fits), Some(&fits)).is_ok());
        assert_eq!(request(protocol, name("a"), Some("")), Err(InvalidRequest::NoUser));
        assert_eq!(request(protocol, name("a"), Some("a\0")), Err(InvalidRequest::ControlCharacter));
        let with = request(protocol, name("a"), Some("me")).unwrap();
        assert!(with.begin(fits.as_bytes()).is_ok());
        assert_eq!(with.begin(b"a\nb").err(), Some(InvalidRequest::ControlCharacter));
    }

    for protocol in [Socks4, Socks5] {
        assert_eq!(request(protocol, name("a"), Some(&long)), Err(InvalidRequest::LongUser));
        assert!(request(protocol, name("a"), Some("a:b")).is_ok());
    }
    let with = request(Socks5, name("a"), Some("me")).unwrap();
    assert_eq!(with.begin(long.as_bytes()).err(), Some(InvalidRequest::LongPassword));
    // Tokens are longer than passwords.
    assert!(request(Connect, name("a"), Some(&long)).unwrap().begin(long.as_bytes()).is_ok());
    assert_eq!(request(Connect, name("a"), Some("a:b")), Err(InvalidRequest::Colon));
    assert_eq!(request(Socks4, ip("::1"), None), Err(InvalidRequest::Ipv6));
    assert!(request(Socks4, ip("127.0.0.1"), None).is_ok());
}

#[test]
fn only_socks_4_has_users_without_passwords() {
    for (protocol, user) in
        [(Protocol::Connect, Some("me")), (Protocol::Socks4, None), (Protocol::Socks5, Some("me"))]
    {
        assert_eq!(request(protocol, name("a"), Some("me")).unwrap().user_with_password(), user);
        assert_eq!(request(protocol, name("a"), None).unwrap().user_with_password(), None);
    }
}

proptest! {
    #[test]
    fn replies_in_any_pieces_are_the_same(
        which in 0_usize..3,
        user in proptest::option::of(Just("me")),
        start in 0_usize..4,
        rest: Vec<u8>,
        piece in 1_usize..9,
    ) {
        let protocol = [Protocol::Connect, Protocol::Socks4, Protocol::Socks5][which];
        let starts: [&[u8]; 4] = [b"", b"\x05\0\x05\0\0", b"\x05\x02\x01\0", b"HTTP/1.1 200"];
        let bytes = [starts[start], &rest].concat();
        let [whole, chopped] = [bytes.len().max(1), piece]
            .map(|piece| converse(begin(protocol, name("a.b"), user), &bytes, piece));
        prop_assert_eq!(whole, chopped);
    }
}
