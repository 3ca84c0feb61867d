//! --allow, --deny, --max-per-ip: the clients that are accepted.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use crate::bench::{Dir, Remote, Running, client, limited, on_linux, read_all};

/// A listener at every address.
fn listener(flags: &[&str]) -> Running {
    let listener = Remote::new(["-lvk", "0"].iter().chain(flags)).start();
    listener.said("Listening on");
    listener
}

/// A client with an address of its own.
fn from(ip: &str, port: u16) -> TcpStream {
    let domain = if ip.contains(':') { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    let ip: std::net::IpAddr = ip.parse().unwrap();
    socket.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    let to = if ip.is_ipv6() { "[::1]" } else { "127.0.0.1" };
    let to: SocketAddr = format!("{to}:{port}").parse().unwrap();
    socket.connect(&to.into()).unwrap();
    limited(socket.into())
}

#[test]
fn allowed_clients_are_accepted_and_others_refused() {
    if !on_linux("the whole of 127/8") {
        return;
    }
    let dir = Dir::new();
    let file = dir.file("rules", b"# allowed\n127.0.0.2 # a friend\n127.0.0.3\n");
    let rules = format!("@{}", file.display());
    let table: [(&[&str], &[&str], &[&str]); 8] = [
        (&["--allow", "127.0.0.2"], &["127.0.0.2"], &["127.0.0.1", "::1"]),
        (&["--allow", "127.0.0.2/31,::1"], &["127.0.0.2", "127.0.0.3", "::1"], &["127.0.0.4"]),
        (&["--allow", &rules], &["127.0.0.2", "127.0.0.3"], &["127.0.0.1"]),
        (&["--deny", &rules], &["127.0.0.1", "::1"], &["127.0.0.2", "127.0.0.3"]),
        (&["--allow", "127.0.0.0/8", "--deny", "127.0.0.2"], &["127.0.0.1"], &["127.0.0.2", "::1"]),
        (&["--allow", "localhost"], &["127.0.0.1"], &["127.0.0.2"]),
        (&["--allow", "any"], &["127.0.0.2", "::1"], &[]),
        (&["--deny", "::/0"], &["127.0.0.1"], &["::1"]),
    ];
    for (flags, friends, strangers) in table {
        let listener = listener(flags);
        for ip in strangers {
            let mut stream = from(ip, listener.port());
            // A reset if the client had sent something, else an end of file.
            let _ = stream.write_all(b"X");
            assert!(!matches!(stream.read(&mut [0; 1]), Ok(1..)), "{flags:?} {ip}");
            listener.said(&format!("Connection from {ip} "));
        }
        for (count, ip) in friends.iter().enumerate() {
            from(ip, listener.port()).write_all(b"Y").unwrap();
            assert_eq!(listener.printed(count + 1), b"Y".repeat(count + 1), "{flags:?} {ip}");
        }
    }
}

#[test]
fn a_refused_client_is_not_the_only_one() {
    if !on_linux("the whole of 127/8") {
        return;
    }
    let listener = Remote::new(["-lv", "--allow", "127.0.0.2", "0"]).start();
    let port = listener.port();
    drop(from("127.0.0.1", port));
    listener.said("Connection from 127.0.0.1");
    from("127.0.0.2", port).write_all(b"hello").unwrap();
    assert_eq!(listener.wait().stdout, b"hello");
}

#[test]
fn datagrams_of_strangers_are_dropped() {
    if !on_linux("the whole of 127/8") {
        return;
    }
    for flags in ["-luv", "-lukv"] {
        let listener = Remote::new([flags, "--allow", "127.0.0.2", "127.0.0.1", "0"]).start();
        let to = ("127.0.0.1", listener.port());
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"a stranger", to).unwrap();
        listener.said("Connection from 127.0.0.1");
        let friend = UdpSocket::bind("127.0.0.2:0").unwrap();
        friend.send_to(b"a friend", to).unwrap();
        assert_eq!(listener.printed(8), b"a friend", "{flags}");
    }
}

#[test]
fn an_address_has_only_so_many() {
    if !on_linux("the whole of 127/8") {
        return;
    }
    let listener = listener(&["--max-per-ip", "2"]);
    let port = listener.port();
    let (mut one, mut two) = (client(port), client(port));
    one.write_all(b"1").unwrap();
    two.write_all(b"2").unwrap();
    listener.printed(2);
    assert_eq!(read_all(&mut from("127.0.0.1", port)), b"");
    listener.said("it has too many");
    from("127.0.0.2", port).write_all(b"3").unwrap();
    listener.printed(3);
    // A client that leaves makes room for another.
    drop(one);
    crate::bench::eventually("a place", || {
        let mut stream = client(port);
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream.write_all(b"4").ok()?;
        matches!(stream.read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
            .then_some(())
    });
    drop(two);
}

#[test]
fn rules_that_make_no_sense() {
    let dir = Dir::new();
    let file = dir.file("rules", b"10.0.0.0/99\n");
    let rules = format!("@{}", file.display());
    let table: [(&[&str], i32, &str); 8] = [
        (&["-l", "--allow", "10.0.0.0/33"], 2, "--allow: '10.0.0.0/33': 10.0.0.0 has 32 bits"),
        (&["-l", "--deny", "example.org/8"], 2, "--deny: 'example.org/8' is no address, network or name"),
        (&["-l", "--allow", &rules], 2, "--allow: '10.0.0.0/99'"),
        (&["-l", "--allow", "@/nothing/there"], 1, "--allow @/nothing/there: no such file or directory"),
        (&["-ln", "--allow", "localhost"], 2, "-n looks up no names: --allow 'localhost' must be an address"),
        (&["-l", "--allow", "no-such-name.invalid"], 1, "look up no-such-name.invalid"),
        (&["host", "--allow", "any"], 2, "--allow, --deny and --max-per-ip need -l"),
        (&["-l", "--max-per-ip", "2"], 2, "--max-per-ip needs -k"),
    ];
    for (args, code, why) in table {
        let args = [args, &["-p", "0"]].concat();
        Remote::new(&args).run().expect_failure(code, &[why]);
    }
}
