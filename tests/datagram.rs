//! UDP: whole datagrams, peers, ends, and files.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use rustix::process::Signal;

use crate::bench::{Dir, Hosts, Remote, Terminal, eventually, noise, on_linux, run, udp};

/// Receives the next datagram and its source address.
fn receive(socket: &UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut buf = vec![0; 1 << 16];
    let (n, from) = socket.recv_from(&mut buf).expect("a datagram comes");
    buf.truncate(n);
    (buf, from)
}

fn port(socket: &UdpSocket) -> String {
    socket.local_addr().unwrap().port().to_string()
}

#[test]
fn sizes_are_kept_both_ways() {
    let server = udp();
    for size in [1, 1400, 8192, 60_000, 65_507] {
        let bytes = noise(size);
        let dir = Dir::new();
        let path = dir.file("f", &bytes);
        let args = ["-u", "--datagram", "65507", "-s", path.to_str().unwrap(), "127.0.0.1", &port(&server)];
        let remote = Remote::new(args).start();
        let (got, from) = receive(&server);
        assert!(got == bytes, "{size} sent, {} came", got.len());
        assert_eq!(receive(&server).0, b"", "the end is marked");
        server.send_to(&bytes, from).unwrap();
        assert!(remote.wait().expect_quiet_success().stdout == bytes, "{size}");
    }
}

#[test]
fn an_empty_datagram_is_no_end() {
    let remote = Remote::new(["-lu"]).start();
    let peer = udp();
    let to = ("127.0.0.1", remote.port());
    for bytes in [&b"one"[..], b"", b"two"] {
        peer.send_to(bytes, to).unwrap();
    }
    assert_eq!(remote.printed(6), b"onetwo");
}

#[test]
fn lines_become_datagrams() {
    let server = udp();
    let remote =
        Remote::new(["-u", "--lines", "127.0.0.1", &port(&server)]).stdin("one\ntwo\n\nlast").start();
    for line in ["one\n", "two\n", "\n", "last"] {
        assert_eq!(receive(&server).0, line.as_bytes());
    }
    remote.wait().expect_quiet_success();

    let terminal = Terminal::new();
    let _remote = terminal.remote(&["-u", "127.0.0.1", &port(&server)]).start();
    eventually("the terminal to be taken", || terminal.is_taken().then_some(()));
    terminal.type_in(b"typed\nfast\n");
    assert_eq!(receive(&server).0, b"typed\n");
    assert_eq!(receive(&server).0, b"fast\n");
}

#[test]
fn datagrams_of_converted_lines_are_not_too_large() {
    let server = udp();
    let line = ["x".repeat(65_506), "\n".to_owned()].concat();
    let args = ["-u", "-C", "--lines", "127.0.0.1", &port(&server)];
    let remote = Remote::new(args).stdin(line.clone()).start();
    assert_eq!(receive(&server).0, &line.as_bytes()[..65_506]);
    assert_eq!(receive(&server).0, b"\r\n");
    remote.wait().expect_quiet_success();
}

#[test]
fn silence_ends_a_line_that_has_no_end() {
    let server = udp();
    let remote = Remote::new(["-u", "--lines", "127.0.0.1", &port(&server)]).stdin("question").start();
    let (_, from) = receive(&server);
    server.send_to(b"an answer without an end", from).unwrap();
    let ended = remote.wait();
    assert_eq!((ended.code, &*ended.stdout), (0, &b"an answer without an end"[..]), "{}", ended.stderr);

    // A peer is forgotten after silence.
    let listener = Remote::new(["-lkuv", "--lines", "-w", "1", "127.0.0.1", "0"]).stdin_open().start();
    for _ in 0..20 {
        let peer = udp();
        peer.send_to(b"no end", ("127.0.0.1", listener.port())).unwrap();
    }
    let ended = listener.wait();
    assert_eq!(ended.stdout, b"no end".repeat(20));
    assert!(ended.code == 1 && ended.stderr.contains("nobody came within 1 s"), "{}", ended.stderr);
}

#[test]
fn files_become_datagrams_that_do_not_fragment() {
    let server = udp();
    let dir = Dir::new();
    let bytes = noise(3000);
    let path = dir.file("f", &bytes);
    let args = ["-u", "-s", path.to_str().unwrap(), "127.0.0.1", &port(&server)];
    let remote = Remote::new(args).start();
    let sizes: Vec<usize> = (0..4).map(|_| receive(&server).0.len()).collect();
    assert_eq!(sizes, [1400, 1400, 200, 0]);
    remote.wait().expect_quiet_success();
}

#[test]
fn files_become_the_same_datagrams_on_unix_sockets() {
    let dir = Dir::new();
    let bytes = noise(10_000);
    let (file, path) = (dir.file("f", &bytes), dir.join("socket"));
    let server = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let args = ["--json", "-uU", "-s", file.to_str().unwrap(), path.to_str().unwrap()];
    let remote = Remote::new(args).start();
    let (mut sizes, mut received, mut buf) = (Vec::new(), Vec::new(), vec![0; 1 << 16]);
    while sizes.last() != Some(&0) {
        let n = server.recv(&mut buf).unwrap();
        sizes.push(n);
        received.extend_from_slice(&buf[..n]);
    }
    assert_eq!(sizes, [1400, 1400, 1400, 1400, 1400, 1400, 1400, 200, 0]);
    assert!(received == bytes);
    assert!(remote.wait().stderr.contains("\"datagrams\":8"));
}

#[test]
fn a_listener_that_has_sent_its_file_ends() {
    let dir = Dir::new();
    let path = dir.file("f", &noise(3000));
    let remote = Remote::new(["-luv", "-s", path.to_str().unwrap()]).start();
    let peer = udp();
    peer.send_to(b"go", ("127.0.0.1", remote.port())).unwrap();
    let sizes: Vec<usize> = (0..4).map(|_| receive(&peer).0.len()).collect();
    assert_eq!(sizes, [1400, 1400, 200, 0]);
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn a_fifo_whose_reader_comes_late_gets_it_all() {
    let dir = Dir::new();
    let path = dir.join("fifo");
    run("mkfifo", &[path.to_str().unwrap()]).unwrap();
    let mut remote = Remote::new(["-lu", "--json", "-r", path.to_str().unwrap()]).start();
    let peer = udp();
    let to = ("127.0.0.1", remote.port());
    peer.send_to(&noise(5000), to).unwrap();
    peer.send_to(b"", to).unwrap();
    // The peer has sent all; our reader opens the FIFO after more silence than ends a session.
    std::thread::park_timeout(Duration::from_millis(2500));
    assert!(remote.is_running(), "it waits for the reader");
    assert!(std::fs::read(&path).unwrap() == noise(5000));
    let ended = remote.wait();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn a_delay_stands_between_datagrams() {
    let server = udp();
    let started = std::time::Instant::now();
    let args = ["-u", "--lines", "-d", "100ms", "127.0.0.1", &port(&server)];
    let remote = Remote::new(args).stdin("a\nb\nc\n").start();
    for line in ["a\n", "b\n", "c\n"] {
        assert_eq!(receive(&server).0, line.as_bytes());
    }
    assert!(started.elapsed() >= Duration::from_millis(200));
    remote.wait().expect_quiet_success();
}

#[test]
fn a_listener_locks_on_to_the_first_peer() {
    let mut remote = Remote::new(["-luv"]).stdin_open().start();
    let to = ("127.0.0.1", remote.port());
    let (one, two) = (udp(), udp());
    one.send_to(b"one", to).unwrap();
    remote.printed(3);
    two.send_to(b"intruder", to).unwrap();
    one.send_to(b"more", to).unwrap();
    assert_eq!(remote.printed(7), b"onemore");
    remote.type_in(b"answer");
    assert_eq!(receive(&one).0, b"answer");
    let said = remote.said("Connection received on 127.0.0.1 ");
    assert!(said.contains(&port(&one)), "{said}");
}

#[test]
fn a_burst_before_the_lock_is_complete() {
    let remote = Remote::new(["-lu", "-W", "500"]).start();
    let peer = udp();
    let to = ("127.0.0.1", remote.port());
    remote.signal(Signal::STOP);
    for number in 0..500_u32 {
        peer.send_to(&number.to_be_bytes(), to).unwrap();
    }
    remote.signal(Signal::CONT);
    let numbers: Vec<u8> = (0..500_u32).flat_map(u32::to_be_bytes).collect();
    assert!(remote.wait().stdout == numbers);
}

#[test]
fn each_peer_of_many_has_a_session_of_its_own() {
    let mut remote = Remote::new(["-lkuv"]).stdin_open().start();
    let to = ("127.0.0.1", remote.port());
    let (one, two) = (udp(), udp());
    one.send_to(b"one", to).unwrap();
    remote.printed(3);
    two.send_to(b"two", to).unwrap();
    remote.printed(6);
    remote.type_in(b"to all");
    assert_eq!(receive(&one).0, b"to all");
    assert_eq!(receive(&two).0, b"to all");
    two.send_to(b"more", to).unwrap();
    assert_eq!(remote.printed(10), b"onetwomore");
    let said = remote.said(&port(&two));
    assert_eq!(said.matches("Connection received on").count(), 2, "{said}");
}

#[test]
fn a_burst_of_many_peers_is_complete() {
    let remote = Remote::new(["-lku"]).start();
    let to = ("127.0.0.1", remote.port());
    let peers: Vec<_> = (0..20).map(|_| udp()).collect();
    remote.signal(Signal::STOP);
    for round in 0..20_u8 {
        for peer in &peers {
            peer.send_to(&[round], to).unwrap();
        }
    }
    remote.signal(Signal::CONT);
    for peer in &peers {
        peer.send_to(&[20], to).unwrap();
    }
    let mut counts = [0; 21];
    for round in remote.printed(20 * 21) {
        counts[usize::from(round)] += 1;
    }
    assert_eq!(counts, [20; 21]);
}

#[test]
fn silence_ends_a_peers_session() {
    let remote = Remote::new(["-lku", "-w", "0.2", "--json"]).start();
    let peer = udp();
    peer.send_to(b"hello", ("127.0.0.1", remote.port())).unwrap();
    remote.said("\"end\":\"silence\"");
}

#[test]
fn a_refusal_is_reported() {
    let free = port(&udp());
    let ended = Remote::new(["-u", "127.0.0.1", &free]).stdin("any server?").run();
    ended.expect_failure(1, &["connection refused", &free]);
}

#[test]
fn enough_datagrams_are_enough() {
    let remote = Remote::new(["-lu", "-W", "2"]).start();
    let peer = udp();
    let to = ("127.0.0.1", remote.port());
    for bytes in [b"one", b"two", b"six"] {
        peer.send_to(bytes, to).unwrap();
    }
    assert_eq!(remote.wait().stdout, b"onetwo");
}

#[test]
fn a_file_crosses_and_both_sides_end() {
    let dir = Dir::new();
    let bytes = noise(1_000_000);
    let path = dir.file("sent", &bytes);
    let target = dir.join("received");
    let receiver = Remote::new(["-lu", "--json", "-r", target.to_str().unwrap(), "-p", "0"]).start();
    let to = receiver.port().to_string();
    let args = ["-u", "--rate", "50M", "-s", path.to_str().unwrap(), "127.0.0.1", &to];
    Remote::new(args).run().expect_quiet_success();
    let ended = receiver.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("\"end\":\"done\""), "the mark was not heeded: {ended:?}");
    assert!(dir.read("received") == bytes);
    assert_eq!(dir.names(), ["received", "sent"]);
}

#[test]
fn a_file_from_a_sender_without_marks_ends_by_silence() {
    let dir = Dir::new();
    let target = dir.join("received");
    let receiver = Remote::new(["-lu", "--json", "-r", target.to_str().unwrap(), "-p", "0"]).start();
    let peer = udp();
    peer.send_to(b"all of it", ("127.0.0.1", receiver.port())).unwrap();
    let ended = receiver.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("\"end\":\"silence\""), "{ended:?}");
    assert_eq!(dir.read("received"), b"all of it");
}

#[test]
fn lost_datagrams_are_reported() {
    let dir = Dir::new();
    let target = dir.join("received");
    let args = ["-lu", "--rcvbuf", "16Ki", "-r", target.to_str().unwrap(), "-p", "0"];
    if !on_linux("the count of what was dropped") {
        return;
    }
    let receiver = Remote::new(args).start();
    let peer = udp();
    let to = ("127.0.0.1", receiver.port());
    peer.send_to(b"first", to).unwrap();
    eventually("the session to begin", || (!dir.names().is_empty()).then_some(()));
    receiver.signal(Signal::STOP);
    for _ in 0..200 {
        peer.send_to(&[7; 1400], to).unwrap();
    }
    receiver.signal(Signal::CONT);
    let ended = receiver.wait();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains(" datagrams from 127.0.0.1 port "), "{ended:?}");
    assert!(ended.stderr.contains(" were lost: the receive buffer was full"), "{ended:?}");
    assert_eq!(dir.names(), ["received.part"]);
}

#[test]
fn answers_have_the_address_of_the_request() {
    if !on_linux("the address that a datagram was sent to") {
        return;
    }
    let mut remote = Remote::new(["-lu"]).stdin_open().start();
    let asked = ("127.0.0.77", remote.port());
    let peer = udp();
    peer.connect(asked).unwrap();
    peer.send(b"question").unwrap();
    remote.printed(8);
    remote.type_in(b"answer");
    // A connected socket receives from no other peer.
    let mut buf = [0; 10];
    assert_eq!(peer.recv(&mut buf).unwrap(), 6);
}

#[test]
fn a_group_is_joined_and_spoken_to() {
    let Some(hosts) = Hosts::new() else { return };
    for host in [&hosts.a, &hosts.b] {
        host.ip("route add 224.0.0.0/4 dev veth0");
    }
    let args = ["-luv", "--join", "239.1.2.3", "-i", "veth0", "7001"];
    let mut member = hosts.b.remote(args).stdin_open().start();
    member.port();
    let other = hosts.a.udp("0.0.0.0:7001");
    other.join_multicast_v4(&Ipv4Addr::new(239, 1, 2, 3), &Ipv4Addr::new(10, 9, 0, 1)).unwrap();
    for from in ["10.9.0.1:0", "10.9.0.1:0"] {
        hosts.a.udp(from).send_to(b"hello", "239.1.2.3:7001").unwrap();
    }
    assert_eq!(member.printed(10), b"hellohello");
    member.type_in(b"to the group");
    let heard =
        eventually("the group to hear it", || Some(receive(&other).0).filter(|heard| heard != b"hello"));
    assert_eq!(heard, b"to the group");

    // A query to a group is answered by its members, each from its own address.
    let query = hosts.a.remote(["-u", "-i", "veth0", "239.1.2.3", "7001"]).stdin("query").start();
    member.printed(14);
    let (_, from) = receive(&other);
    let answering = hosts.b.udp("10.9.0.2:0");
    answering.send_to(b"me", from).unwrap();
    let ended = query.wait();
    assert!(String::from_utf8_lossy(&ended.stdout).contains("me"), "{ended:?}");
}

#[test]
fn a_broadcast_is_sent_when_asked_for_and_answered() {
    let Some(hosts) = Hosts::new() else { return };
    let server = hosts.b.udp("0.0.0.0:7001");
    let args = ["-u", "10.9.0.255", "7001"];
    hosts.a.remote(args).stdin("hello").run().expect_failure(1, &["permission denied"]);
    let args = ["-u", "--broadcast", "10.9.0.255", "7001"];
    let remote = hosts.a.remote(args).stdin("query").start();
    let (query, from) = receive(&server);
    assert_eq!(query, b"query");
    server.send_to(b"me", from).unwrap();
    assert_eq!(remote.wait().expect_quiet_success().stdout, b"me");
}

#[test]
fn a_peer_at_a_link_local_address_is_answered() {
    let Some(hosts) = Hosts::new() else { return };
    let there = hosts.b.link_local("veth0").unwrap();
    for flags in ["-luv", "-lkuv"] {
        let mut remote = hosts.b.remote([flags, "7001"]).stdin_open().start();
        remote.port();
        let query = hosts.a.remote(["-u", &format!("{there}%veth0"), "7001"]).stdin("question").start();
        assert_eq!(remote.printed(8), b"question", "{flags}");
        remote.type_in(b"answer");
        assert_eq!(query.wait().expect_quiet_success().stdout, b"answer", "{flags}");
    }
}

#[test]
fn a_broadcast_is_received_by_a_dual_stack_listener() {
    let Some(hosts) = Hosts::new() else { return };
    for flags in ["-luv", "-lkuv"] {
        let mut remote = hosts.b.remote([flags, "7001"]).stdin_open().start();
        remote.port();
        let peer = hosts.a.udp("10.9.0.1:0");
        peer.set_broadcast(true).unwrap();
        for round in 1..=3 {
            peer.send_to(b"all", "10.9.0.255:7001").unwrap();
            remote.printed(3 * round);
        }
        remote.type_in(b"answer");
        assert_eq!(receive(&peer).0, b"answer", "{flags}");
    }
}

#[test]
fn a_sender_that_cannot_be_answered_ends_nothing() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.a.ip("addr add 203.0.113.7/32 dev veth0");
    hosts.b.run(&["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.veth0.rp_filter=0"]);
    for flags in ["-luv", "-lkuv"] {
        let remote = hosts.b.remote([flags, "7001"]).start();
        remote.port();
        hosts.a.udp("203.0.113.7:0").send_to(b"spoofed", "10.9.0.2:7001").unwrap();
        remote.said("remote: answer 203.0.113.7 port ");
        hosts.a.udp("10.9.0.1:0").send_to(b"real", "10.9.0.2:7001").unwrap();
        assert_eq!(remote.printed(4), b"real", "{flags}");
    }
}

#[test]
fn a_flood_is_passed_on_in_bounded_memory_and_can_be_interrupted() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let remote = Remote::new(["-lu"]).stdout_to(std::fs::File::create("/dev/null").unwrap()).start();
    let to = ("127.0.0.1", remote.port());
    let over = AtomicBool::new(false);
    let peer = udp();
    peer.connect(to).unwrap();
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let bytes = vec![7; 60_000];
            while !over.load(Ordering::Relaxed) {
                // A flood meets a full queue, and in the end a closed port.
                let _ = peer.send(&bytes);
            }
        });
        let from = remote.ticks();
        eventually("it to have worked for a while", || (remote.ticks() > from + 50).then_some(()));
        let memory = remote.peak_memory();
        remote.signal(Signal::INT);
        let code = remote.wait().code;
        over.store(true, Ordering::Relaxed);
        flood.join().unwrap();
        assert_eq!(code, 130);
        assert!(memory < 16 << 10, "{memory} KiB");
    });
}

#[test]
fn a_refused_file_is_a_failure_at_once() {
    let dir = Dir::new();
    let path = dir.file("f", &noise(1_000_000));
    let free = port(&udp());
    let ended = Remote::new(["-u", "-s", path.to_str().unwrap(), "127.0.0.1", &free]).run();
    ended.expect_failure(1, &["connection refused"]);
}

#[test]
fn a_peer_that_sent_nothing_but_emptiness_is_forgotten_too() {
    let remote = Remote::new(["-lku", "-w", "0.2", "--json"]).start();
    let peer = udp();
    peer.send_to(b"", ("127.0.0.1", remote.port())).unwrap();
    remote.said("\"end\":\"silence\"");
}

#[test]
fn answers_are_not_lost_with_a_slow_reader() {
    let server = udp();
    let shell = ["sh", "-c", "\"$0\" \"$@\" | (sleep 2; wc -c)"];
    let remote = Remote::through(&shell, ["-u", "127.0.0.1", &port(&server)]).stdin("q").start();
    let (_, from) = receive(&server);
    for _ in 0..4 {
        server.send_to(&noise(60_000), from).unwrap();
    }
    let ended = remote.wait();
    assert_eq!((ended.stdout.trim_ascii(), &ended.stderr[..]), (&b"240000"[..], ""));
}
