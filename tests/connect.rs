//! Connecting: names and literals, time limits, retries, what is said.

use std::{
    io::Write,
    net::{Shutdown, TcpListener},
};

use rustix::process::Signal;

use crate::bench::{Hosts, Remote, Server, eventually, has, on_linux, read_all};

#[test]
fn every_spelling_of_a_destination() {
    for family in ["127.0.0.1:0", "[::1]:0"] {
        let server = Server::at(family);
        let port = server.port();
        let (host, pair) = match family.starts_with('[') {
            true => ("::1", format!("[::1]:{port}")),
            false => ("127.0.0.1", format!("127.0.0.1:{port}")),
        };
        let url = format!("tcp://{pair}");
        let spellings: Vec<Vec<&str>> = vec![
            vec![host, &port],
            vec!["-p", &port, host],
            vec![&pair],
            vec![&url],
            vec!["-n", host, &port],
            vec!["--", host, &port],
        ];
        for args in spellings {
            let remote = Remote::new(&args).stdin("hello").start();
            assert_eq!(read_all(&mut server.accept()), b"hello", "{args:?}");
            remote.wait().expect_quiet_success();
        }
    }
}

#[test]
fn the_success_line_is_openbsds() {
    let server = Server::new();
    let port = server.port();
    for (host, shown) in
        [("127.0.0.1", "127.0.0.1".to_owned()), ("localhost", "localhost (127.0.0.1)".to_owned())]
    {
        let remote = Remote::new(["-4v", host, &port]).start();
        drop(server.accept());
        let line = format!("Connection to {shown} {port} port [tcp/*] succeeded!\n");
        assert!(remote.wait().stderr.starts_with(&line), "{line}");
    }
}

#[test]
fn a_name_with_two_families_is_tried_at_both() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.a.name_hosts("fd09::2 both\n10.9.0.2 both\n");
    for address in ["10.9.0.2:7001", "[fd09::2]:7001"] {
        let server = hosts.b.server(address);
        let remote = hosts.a.remote(["both", "7001"]).stdin("hello").start();
        assert_eq!(read_all(&mut server.accept()), b"hello", "{address}");
        remote.wait().expect_quiet_success();
    }
    // No address listens: every one is named.
    let parts = ["connect to both port 7001: connection refused (2 addresses tried: ", "fd09::2", "10.9.0.2"];
    hosts.a.remote(["both", "7001"]).run().expect_failure(1, &parts);
    let parts = ["connect to both port 7001: connection refused (1 address tried: 10.9.0.2)"];
    hosts.a.remote(["-4", "both", "7001"]).run().expect_failure(1, &parts);
    // A source address settles the family.
    let server = hosts.b.server("10.9.0.2:7001");
    let remote = hosts.a.remote(["-a", "10.9.0.1", "both", "7001"]).stdin("hello").start();
    assert_eq!(read_all(&mut server.accept()), b"hello");
    remote.wait().expect_quiet_success();
}

#[test]
fn timeouts_name_the_addresses() {
    let Some(hosts) = Hosts::new() else { return };
    if !has("nft") {
        return;
    }
    hosts.b.black_hole("tcp dport 7001");
    for limit in ["-T", "-w"] {
        let args = [limit, "0.3", "10.9.0.2", "7001"];
        hosts.a.remote(args).run().expect_failure(1, &["connect to 10.9.0.2 port 7001: timed out"]);
    }
    let started = std::time::Instant::now();
    let args = ["-T", "0.5", "--retry", "forever", "10.9.0.2", "7001"];
    hosts.a.remote(args).run().expect_failure(1, &["timed out"]);
    assert!(started.elapsed().as_secs() < 10, "-T did not bound the retries");
    // Ctrl-C while it connects.
    let remote = hosts.a.remote(["10.9.0.2", "7001"]).start();
    eventually("the connection to be under way", || {
        let sockets =
            crate::bench::run("ip", &["netns", "exec", &hosts.a.name, "cat", "/proc/net/tcp"]).unwrap();
        sockets.lines().any(|line| line.split_whitespace().nth(3) == Some("02")).then_some(())
    });
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);
}

#[test]
fn a_resolver_that_does_not_answer_is_not_waited_for() {
    let Some(hosts) = Hosts::new() else { return };
    // An unused address of the network.
    hosts.a.name_resolver("10.9.0.99");
    let args = ["-T", "0.3", "name.example", "80"];
    hosts.a.remote(args).run().expect_failure(1, &["look up name.example: timed out"]);
    let remote = hosts.a.remote(["-v", "name.example", "80"]).start();
    eventually("the resolver to be asked", || {
        let sockets =
            crate::bench::run("ip", &["netns", "exec", &hosts.a.name, "cat", "/proc/net/udp"]).unwrap();
        (sockets.lines().count() > 1).then_some(())
    });
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);
}

#[test]
fn names_that_do_not_resolve() {
    let long = "x".repeat(300);
    for name in ["no-such-name.invalid", long.as_str(), "a b", "-.-"] {
        let ended = Remote::new(["-T", "10", "--", name, "80"]).run();
        assert_eq!(ended.code, 1, "{ended:?}");
        ended.expect_failure(1, &["look up "]);
    }
}

#[test]
fn a_free_port_refuses() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let line = format!("remote: connect to 127.0.0.1 port {port}: connection refused\n");
    Remote::new(["127.0.0.1", &port]).run().expect(1, &line);
    Remote::new(["-Q", "127.0.0.1", &port]).run().expect(1, &line);
}

#[test]
fn it_retries_until_a_server_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let remote = Remote::new(["-v", "--retry", "forever", "127.0.0.1", &port]).stdin("hello").start();
    remote.said("trying again");
    let server = Server::at(&format!("127.0.0.1:{port}"));
    assert_eq!(read_all(&mut server.accept()), b"hello");
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn retries_are_counted() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let ended = Remote::new(["-v", "--retry", "1", "127.0.0.1", &port]).run();
    assert_eq!(ended.code, 1);
    assert_eq!(ended.stderr.matches("connection refused").count(), 2, "{ended:?}");
}

#[test]
fn the_source_port_is_the_one_asked_for() {
    let server = Server::new();
    for option in ["-p", "--source-port"] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let remote = Remote::new([option, &port.to_string(), "127.0.0.1", &server.port()]).start();
        let peer = server.accept();
        assert_eq!(peer.peer_addr().unwrap().port(), port);
        peer.shutdown(Shutdown::Both).unwrap();
        remote.wait().expect_quiet_success();
    }
}

#[test]
fn a_random_port_is_announced() {
    let ended = Remote::new(["-T", "1", "127.0.0.1"]).run();
    assert!(ended.stderr.starts_with("remote: no port was given: port "), "{ended:?}");
    assert!(ended.stderr.contains(" was chosen at random\n"), "{ended:?}");
}

#[test]
fn options_reach_the_connection() {
    let server = Server::new();
    let options = [
        "--nodelay",
        "--keepalive",
        "30",
        "--sndbuf",
        "64Ki",
        "--rcvbuf",
        "64Ki",
        "--tos",
        "lowdelay",
        "-M",
        "9",
    ];
    let remote = Remote::new(options.iter().chain(&["127.0.0.1", &server.port()])).stdin_open().start();
    let mut peer = server.accept();
    assert!(connection(&server).contains("keepalive"), "{}", connection(&server));
    peer.write_all(b"x").unwrap();
    assert_eq!(remote.printed(1), b"x");
}

/// Returns the state of the connection to a server, from ss(8).
fn connection(server: &Server) -> String {
    crate::bench::run("ss", &["-tinoH", "dport", "=", &format!(":{}", server.port())]).unwrap()
}

#[test]
fn congestion_control_is_chosen() {
    if !on_linux("--congestion") {
        return;
    }
    let server = Server::new();
    let _remote = Remote::new(["--congestion", "reno", "127.0.0.1", &server.port()]).stdin_open().start();
    let _peer = server.accept();
    assert!(connection(&server).contains("reno"), "{}", connection(&server));
    let args = ["--congestion", "no-such-control", "127.0.0.1", &server.port()];
    Remote::new(args).run().expect_failure(1, &["--congestion no-such-control: no such file"]);
}

#[test]
fn multipath_is_asked_for() {
    let server = Server::new();
    let remote = Remote::new(["--mptcp", "127.0.0.1", &server.port()]).stdin("hello").start();
    assert_eq!(read_all(&mut server.accept()), b"hello");
    remote.wait().expect_quiet_success();
}

#[test]
fn unix_sockets_of_every_kind() {
    let dir = crate::bench::Dir::new();
    let path = dir.join("socket");
    let path = path.to_str().unwrap();
    let name = format!("@remote-test-{}", std::process::id());
    for (listen, connect) in [
        (vec!["-lvU", path], vec!["-U", path]),
        (vec!["-lv", &format!("unix:{path}")], vec![&*format!("unix:{path}")]),
        (vec!["-lvU", &name], vec!["-U", &name]),
    ] {
        let listener = Remote::new(&listen).stdin("from the listener").start();
        listener.said("Listening on ");
        let ended = Remote::new(&connect).stdin("from the client").run().expect_quiet_success();
        assert_eq!(ended.stdout, b"from the listener", "{listen:?}");
        assert_eq!(listener.wait().stdout, b"from the client", "{listen:?}");
        assert!(dir.names().is_empty(), "the socket's file is still there");
    }
    // Datagrams, answered although the client's socket has no name of its own.
    let listener = Remote::new(["-lvuU", path]).stdin_open().start();
    listener.said("Listening on ");
    let mut listener = listener;
    let client = Remote::new(["-uU", path]).stdin("question").start();
    assert_eq!(listener.printed(8), b"question");
    listener.type_in(b"answer");
    assert_eq!(client.wait().expect_quiet_success().stdout, b"answer");
    listener.signal(Signal::TERM);
    assert_eq!(listener.wait().code, 143);
    assert!(dir.names().is_empty(), "the socket's file is still there");
}

#[test]
fn a_stale_unix_socket_is_replaced_and_nothing_else_is() {
    let dir = crate::bench::Dir::new();
    let stale = dir.join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let listener = Remote::new(["-lvU", stale.to_str().unwrap()]).start();
    listener.said("Listening on ");
    // It is alive now.
    Remote::new(["-lU", stale.to_str().unwrap()]).run().expect_failure(1, &["address already in use"]);
    let file = dir.file("file", b"precious");
    Remote::new(["-lU", file.to_str().unwrap()]).run().expect_failure(1, &["exists and is not a socket"]);
    assert_eq!(dir.read("file"), b"precious");
    Remote::new(["-U", dir.join("none").to_str().unwrap()]).run().expect_failure(1, &["no such file"]);
}

#[test]
fn a_unix_listener_that_is_busy_is_waited_for() {
    let dir = crate::bench::Dir::new();
    let path = dir.join("socket");
    let address = socket2::SockAddr::unix(&path).unwrap();
    let socket = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut clients = Vec::new();
    loop {
        let client = socket();
        client.set_nonblocking(true).unwrap();
        match client.connect(&address) {
            Ok(()) => clients.push(client),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    let path = path.to_str().unwrap();
    Remote::new(["-T", "0.2", "-U", path]).run().expect_failure(1, &["timed out"]);
    let remote = Remote::new(["-U", path]).stdin("hello").start();
    for _ in &clients {
        drop(listener.accept().unwrap());
    }
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(read_all(&mut peer), b"hello");
    drop(peer);
    remote.wait().expect_quiet_success();
}
