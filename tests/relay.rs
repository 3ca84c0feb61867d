//! The relay and its clients: the wire of the seed, faults, and metrics. The decisions of the router are tested in
//! `proto/relay`; here it is sockets.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
};

use rustix::process::Signal;

use crate::bench::{
    Dir, Hosts, Remote, Running, Server, Terminal, client, eventually, has, limited, noise, on_linux,
    read_all, reset, run,
};

/// A relay on loopback and a random port.
struct Relay(Running);

impl Relay {
    fn new(flags: &[&str]) -> Self {
        let args = ["relay", "-lv", "-p", "0", "-a", "127.0.0.1"];
        let relay = Self(Remote::new(args.iter().chain(flags)).start());
        relay.0.said("clients\n");
        relay
    }

    fn port(&self) -> String {
        self.0.port().to_string()
    }

    /// Connects without registering.
    fn stranger(&self) -> TcpStream {
        client(self.0.port())
    }

    /// Connects and registers.
    fn registered(&self, name: &str) -> TcpStream {
        let mut stream = self.stranger();
        // A message to itself comes back after the relay has read everything before it.
        stream.write_all(format!("{name}|{name}|5|hello").as_bytes()).unwrap();
        assert_eq!(exactly(&mut stream, 5), b"hello");
        stream
    }
}

fn exactly(stream: &mut impl Read, bytes: usize) -> Vec<u8> {
    let mut all = vec![0; bytes];
    stream.read_exact(&mut all).expect("it comes");
    all
}

fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0) | Err(_))
}

#[test]
fn the_conversation_of_the_seed() {
    let relay = Relay::new(&[]);
    let mut a = relay.stranger();
    a.write_all(b"device_a|").unwrap();
    let mut b = relay.stranger();
    // Registration, header and payload, each in a segment of its own.
    for part in [&b"device_b|"[..], b"device_a|5|", b"hello"] {
        b.write_all(part).unwrap();
        relay.0.said(if part == b"device_b|" { "+device_b " } else { "+device_a " });
    }
    assert_eq!(exactly(&mut a, 5), b"hello");
    // All in one.
    let mut c = relay.stranger();
    c.write_all(b"device_c|device_a|5|world").unwrap();
    assert_eq!(exactly(&mut a, 5), b"world");
    a.write_all(b"device_b|0|device_b|2|hi").unwrap();
    assert_eq!(exactly(&mut b, 2), b"hi");
}

#[test]
fn nc_and_python_are_clients() {
    let relay = Relay::new(&[]);
    let port = relay.port();
    if has("python3") {
        let mut a = relay.registered("device_a");
        let script = "import socket, sys\n\
                      s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
                      s.send(b'device_b|')\n\
                      s.send(b'device_a|'); s.send(b'5|'); s.send(b'hel'); s.send(b'lo')\n\
                      print(s.recv(9).decode())";
        let python = thread::spawn(move || run("python3", &["-c", script, &port]).unwrap());
        assert_eq!(exactly(&mut a, 5), b"hello");
        a.write_all(b"device_b|6|answer").unwrap();
        assert_eq!(python.join().unwrap(), "answer\n");
    }
    for nc in ["nc.openbsd", "nc.traditional", "ncat"] {
        if !has(nc) {
            continue;
        }
        let mut a = relay.registered(&format!("a_{nc}"));
        let input = format!("b_{nc}|a_{nc}|5|hello");
        let mut child = Command::new(nc)
            .args(["127.0.0.1", &relay.port()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
        assert_eq!(exactly(&mut a, 5), b"hello", "{nc}");
        a.write_all(format!("b_{nc}|6|answer").as_bytes()).unwrap();
        assert_eq!(exactly(child.stdout.as_mut().unwrap(), 6), b"answer", "{nc}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn violations_are_disconnected_without_an_answer() {
    let relay = Relay::new(&["--register-timeout", "300ms", "--max-message", "1000"]);
    let _holder = relay.registered("taken");
    let table: [(&[u8], &str); 7] = [
        (b"taken|", "dup"),
        (b"GET / HTTP/1.1\r\n\r\n", "bad-name"),
        (b"\x16\x03\x01\x02\x00", "bad-name"),
        (b"|", "bad-name"),
        (b"x1|taken|-5|hello", "bad-length"),
        (b"x2|taken|1001|", "too-large"),
        (b"slow", "register-timeout"),
    ];
    for (sent, why) in table {
        let mut stream = relay.stranger();
        stream.write_all(sent).unwrap();
        assert_eq!(stream.read(&mut [0; 9]).unwrap_or(0), 0, "{why}: not a byte");
        relay.0.said(&format!(" {why}\n"));
    }
}

#[test]
fn large_messages_cross_in_order_both_ways_at_once() {
    let relay = Relay::new(&[]);
    let pairs = [("a", "b"), ("b", "a")];
    let streams: Vec<TcpStream> = ["a", "b"].iter().map(|name| relay.registered(name)).collect();
    let bytes = noise(20_000_000);
    let threads: Vec<_> = pairs
        .iter()
        .zip(&streams)
        .map(|((_, to), stream)| {
            let (mut out, mut back) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
            let sent = bytes.clone();
            let to = (*to).to_owned();
            let sender = thread::spawn(move || {
                // Sizes around every limit: stored, passed on, spliced.
                let sizes = [1, 100, 65_535, 65_536, 65_537, 131_072, 200_000, 1_000_000, 3_000_000, 10];
                let mut rest = &sent[..];
                for size in sizes.iter().cycle() {
                    let (message, after) = rest.split_at((*size).min(rest.len()));
                    out.write_all(format!("{to}|{}|", message.len()).as_bytes()).unwrap();
                    out.write_all(message).unwrap();
                    rest = after;
                    if rest.is_empty() {
                        return;
                    }
                }
            });
            let length = bytes.len();
            (sender, thread::spawn(move || exactly(&mut back, length)))
        })
        .collect();
    for (sender, receiver) in threads {
        sender.join().unwrap();
        assert!(receiver.join().unwrap() == bytes);
    }
}

#[test]
fn messages_to_unknown_names_are_dropped() {
    let relay = Relay::new(&[]);
    let mut a = relay.registered("a");
    let bytes = noise(3_000_000);
    for _ in 0..3 {
        a.write_all(format!("nobody|{}|", bytes.len()).as_bytes()).unwrap();
        a.write_all(&bytes).unwrap();
    }
    a.write_all(b"a|4|here").unwrap();
    assert_eq!(exactly(&mut a, 4), b"here");
    relay.0.signal(Signal::USR1);
    relay.0.said("3 messages (9000000 bytes) to nobody");
}

#[test]
fn a_receiver_that_dies_within_a_message_harms_no_other_client() {
    let relay = Relay::new(&[]);
    let mut a = relay.registered("a");
    let mut b = relay.registered("b");
    let bytes = noise(8_000_000);
    a.write_all(format!("b|{}|", bytes.len()).as_bytes()).unwrap();
    a.write_all(&bytes[..2_000_000]).unwrap();
    assert!(exactly(&mut b, 1_000_000) == bytes[..1_000_000]);
    reset(b);
    let mut heir = relay.registered("b");
    a.write_all(&bytes[2_000_000..]).unwrap();
    a.write_all(b"b|3|newa|4|here").unwrap();
    assert_eq!(exactly(&mut heir, 3), b"new");
    assert_eq!(exactly(&mut a, 4), b"here");
}

#[test]
fn a_sender_that_dies_within_a_message_leaves_its_prefix() {
    let relay = Relay::new(&[]);
    let (mut a, mut b, mut c) = (relay.registered("a"), relay.registered("b"), relay.registered("c"));
    let bytes = noise(3_000_000);
    a.write_all(b"b|8000000|").unwrap();
    a.write_all(&bytes).unwrap();
    let got = exactly(&mut b, bytes.len());
    assert!(got == bytes);
    c.write_all(b"b|5|hello").unwrap();
    drop(a);
    assert_eq!(exactly(&mut b, 5), b"hello");
    relay.0.signal(Signal::USR1);
    relay.0.said("1 truncated");
}

#[test]
fn a_stalled_receiver_is_disconnected_and_blocks_no_other_client() {
    let relay = Relay::new(&["--stall", "1s"]);
    let slow = relay.registered("slow");
    let mut flood = relay.registered("flood");
    let (mut a, mut b) = (relay.registered("a"), relay.registered("b"));
    // 2 GiB, if a receiver took them.
    let writer = thread::spawn(move || {
        flood.write_all(b"slow|2147483648|").unwrap();
        let bytes = vec![7; 1 << 20];
        for _ in 0..64 {
            flood.write_all(&bytes).unwrap();
        }
        flood
    });
    for turn in 0..200 {
        a.write_all(format!("b|4|{turn:04}").as_bytes()).unwrap();
        assert_eq!(exactly(&mut b, 4), format!("{turn:04}").as_bytes());
    }
    relay.0.said("-slow slow");
    // The sender goes on, and its bytes are dropped.
    let _flood = writer.join().unwrap();
    assert!(relay.0.peak_memory() < 16 << 10, "{} KiB", relay.0.peak_memory());
    drop(slow);
}

#[test]
fn squatters_and_dawdlers_leave_everybody_else_served() {
    let relay = Relay::new(&[]);
    let (mut a, mut b) = (relay.registered("a"), relay.registered("b"));
    let dawdlers: Vec<TcpStream> = (0..1000)
        .map(|_| {
            let mut stream = relay.stranger();
            stream.write_all(b"half a na").unwrap();
            stream
        })
        .collect();
    let headers: Vec<TcpStream> = (0..1000)
        .map(|n| {
            let mut stream = relay.registered(&format!("h{n}"));
            stream.write_all(b"a|12").unwrap();
            stream
        })
        .collect();
    for name in ["a", "b"].iter().cycle().take(200) {
        let mut squatter = relay.stranger();
        squatter.write_all(format!("{name}|").as_bytes()).unwrap();
        assert!(is_closed(&mut squatter));
    }
    a.write_all(b"b|5|hello").unwrap();
    assert_eq!(exactly(&mut b, 5), b"hello");
    assert!(relay.0.peak_memory() < 16 << 10, "{} KiB", relay.0.peak_memory());
    drop((dawdlers, headers));
}

#[test]
fn fifteen_thousand_idle_clients_are_a_few_mib() {
    if !on_linux("so many descriptors") {
        return;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < 18_000) {
        println!("skipped: only {:?} descriptors", limit.maximum);
        return;
    }
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: limit.maximum, ..limit },
    )
    .unwrap();
    let relay = Relay::new(&["--idle", "1h"]);
    let before = relay.0.peak_memory();
    let clients: Vec<TcpStream> = (0..15_000)
        .map(|n| {
            let mut stream = relay.stranger();
            stream.write_all(format!("client_{n}|").as_bytes()).unwrap();
            stream
        })
        .collect();
    let mut a = relay.registered("a");
    let mut last = &clients[14_999];
    a.write_all(b"client_14999|5|hello").unwrap();
    assert_eq!(exactly(&mut last, 5), b"hello");
    let each = (relay.0.peak_memory() - before) * 1024 / 15_000;
    println!("{each} bytes for each idle client");
    assert!(each <= 600, "{each} bytes for each idle client");
}

#[test]
fn without_descriptors_it_waits_and_then_serves_waiting_clients() {
    let prefix = ["prlimit", "--nofile=200:200"];
    if !has("prlimit") {
        return;
    }
    let args = ["relay", "-lv", "-p", "0", "-a", "127.0.0.1"];
    let relay = Relay(Remote::through(&prefix, args).start());
    relay.0.said("up to 40 clients\n");
    let clients: Vec<TcpStream> = (0..40).map(|n| relay.registered(&format!("c{n}"))).collect();
    assert!(is_closed(&mut relay.stranger()), "one too many");
    relay.0.said("too-many");
    // Clients that have ended give way.
    drop(clients);
    let welcome = |n: usize| {
        let mut stream = relay.stranger();
        stream.write_all(format!("c{n}|c{n}|2|ok").as_bytes()).ok()?;
        stream.read_exact(&mut [0; 2]).ok().map(|()| stream)
    };
    // It has to see their ends first.
    let again: Vec<TcpStream> = (40..80).map(|n| eventually("a place", || welcome(n))).collect();
    relay.0.said("-c39 eof");
    drop(again);
}

#[test]
fn coming_and_going_leaves_nothing_behind() {
    let relay = Relay::new(&[]);
    let mut hub = relay.registered("hub");
    let mut settled = None;
    for round in 0..6 {
        for n in 0..200 {
            let mut stream = relay.registered(&format!("n{n}"));
            stream.write_all(b"hub|5|hello").unwrap();
            assert_eq!(exactly(&mut hub, 5), b"hello");
            if n % 2 == 0 {
                reset(stream);
            }
        }
        relay.0.signal(Signal::USR1);
        let memory = relay.0.peak_memory();
        if round >= 2 {
            let before = *settled.get_or_insert(memory);
            assert!(memory <= before + 512, "{before} KiB, then {memory}");
        }
    }
    assert!(relay.0.descriptors() < 300, "{}", relay.0.descriptors());
}

#[test]
fn a_signal_drains_it() {
    let relay = Relay::new(&[]);
    let (mut a, b) = (relay.registered("a"), relay.registered("b"));
    let bytes = noise(60_000);
    a.write_all(format!("b|{}|", bytes.len()).as_bytes()).unwrap();
    a.write_all(&bytes).unwrap();
    a.write_all(b"a|4|sent").unwrap();
    assert_eq!(exactly(&mut a, 4), b"sent");
    relay.0.signal(Signal::TERM);
    let mut b = limited(b);
    assert!(read_all(&mut b) == bytes);
    assert!(is_closed(&mut a));
    assert_eq!(relay.0.wait().code, 143);
}

#[test]
fn framed_deliveries_and_json() {
    let relay = Relay::new(&["--deliver", "framed", "--json"]);
    let mut a = relay.stranger();
    a.write_all(b"a|").unwrap();
    let mut b = relay.stranger();
    b.write_all(b"b\x22|a|5|hello").unwrap();
    assert_eq!(exactly(&mut a, 10), b"b\"|5|hello");
    reset(b);
    let said = relay.0.said("\"lost\"");
    let objects: Vec<serde_json::Value> = said
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((&objects[1]["event"], &objects[1]["name"]), (&"joined".into(), &"b\"".into()));
    assert_eq!((&objects[2]["event"], &objects[2]["why"]), (&"left".into(), &"lost".into()));
    assert_eq!(objects[0]["address"], "127.0.0.1");
    assert!(!said.contains("hello"), "payload is in the log");
}

#[test]
fn tokens_and_keys() {
    let dir = Dir::new();
    let token = dir.file("token", b"sesame\nsecond line\n");
    let token = token.to_str().unwrap();
    let relay = Relay::new(&["--token-file", token]);
    let mut stranger = relay.stranger();
    stranger.write_all(b"a|").unwrap();
    assert!(is_closed(&mut stranger));
    let mut a = relay.registered("sesame:a");
    let port = relay.port();
    let args = ["relay", "127.0.0.1", &port, "b", "--to", "a", "--token-file", token, "--send-only"];
    Remote::new(args).stdin("hello").run().expect_quiet_success();
    assert_eq!(exactly(&mut a, 5), b"hello");
    let said = relay.0.said("+b ");
    assert!(said.contains("+a ") && !said.contains("sesame"), "{said}");

    // SHA-256 of "key", from sha256sum(1).
    let names = "# names\nweb 2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\n";
    let (names, key) = (dir.file("names", names.as_bytes()), dir.file("key", b"key\n"));
    let relay = Relay::new(&["--names", names.to_str().unwrap()]);
    for wrong in ["web|", "kex:web|", "key:other|"] {
        let mut stranger = relay.stranger();
        stranger.write_all(wrong.as_bytes()).unwrap();
        assert!(is_closed(&mut stranger), "{wrong}");
    }
    let port = relay.port();
    let args =
        ["relay", "127.0.0.1", &port, "web", "--to", "web", "--key-file", key.to_str().unwrap(), "-w", "1"];
    assert_eq!(Remote::new(args).stdin("echo").run().expect_quiet_success().stdout, b"echo");
}

#[test]
fn figures_for_prometheus() {
    let relay = Relay::new(&["--metrics", "0"]);
    let _a = relay.registered("a");
    let said = relay.0.said("Figures at 127.0.0.1 ");
    let port = said.split("Figures at 127.0.0.1 ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    let ask = |request: &str| {
        let mut stream = client(port);
        stream.write_all(request.as_bytes()).unwrap();
        String::from_utf8(read_all(&mut stream)).unwrap()
    };
    // Many silent clients at once: each has its turn, and none is a level of the stack.
    relay.0.signal(Signal::STOP);
    for _ in 0..3000 {
        drop(TcpStream::connect(("127.0.0.1", port)));
    }
    relay.0.signal(Signal::CONT);
    let answer = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for row in ["remote_relay_names 1\n", "remote_relay_messages_total 1\n", "remote_relay_bytes_total 5\n"] {
        assert!(answer.contains(row), "{answer}");
    }
    assert!(ask("GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    if has("curl") {
        let url = format!("http://127.0.0.1:{port}/metrics");
        assert!(run("curl", &["-sS", &url]).unwrap().contains("remote_relay_clients 1\n"));
    }
}

// ---- the client ----

#[test]
fn a_client_sends_stdin_and_prints_messages() {
    let relay = Relay::new(&[]);
    let mut peer = relay.registered("peer");
    let mut remote =
        Remote::new(["relay", "-v", &format!("127.0.0.1:{}", relay.port()), "me", "--to", "peer"])
            .stdin_open()
            .start();
    remote.said("registered as me");
    remote.type_in(b"no line, any \x00 bytes");
    assert_eq!(exactly(&mut peer, 20), b"no line, any \x00 bytes");
    peer.write_all(b"me|6|answer").unwrap();
    assert_eq!(remote.printed(6), b"answer");
    // At the end of its stdin it goes on receiving.
    remote.close_stdin();
    peer.write_all(b"me|5|later").unwrap();
    assert_eq!(remote.printed(11), b"answerlater");
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);
}

#[test]
fn lines_name_their_receivers() {
    let relay = Relay::new(&[]);
    let (mut a, mut b) = (relay.registered("a"), relay.registered("b"));
    let port = relay.port();
    Remote::new(["relay", "127.0.0.1", &port, "me", "--send-only"])
        .stdin("a|one\nb|two|too\r\na|\na|three")
        .run()
        .expect_quiet_success();
    assert_eq!((exactly(&mut a, 8), exactly(&mut b, 7)), (b"onethree".to_vec(), b"two|too".to_vec()));
    Remote::new(["relay", "127.0.0.1", &port, "me", "--send-only", "--lines"])
        .stdin("a|one\n")
        .run()
        .expect_quiet_success();
    assert_eq!(exactly(&mut a, 4), b"one\n");
    // A line that is too long is refused before any byte of it is sent; one of the maximum length arrives.
    let text = "x".repeat(65_536);
    Remote::new(["relay", "127.0.0.1", &port, "me", "--send-only"])
        .stdin(format!("\n\na|{text}\n"))
        .run()
        .expect_quiet_success();
    assert!(exactly(&mut a, 65_536) == text.as_bytes());
    for longer in [format!("a|x{text}\nb|no"), format!("a|{text}b|no\n"), format!("a|{text}{text}\n")] {
        let remote = Remote::new(["relay", "127.0.0.1", &port, "me", "--send-only"]).stdin(longer);
        remote.run().expect_failure(1, &["longer than a message may be"]);
    }
    for (line, complaint) in [("nobody", "'name|text'"), ("|x", "is not a name"), ("a\tb|x", "is not a name")]
    {
        let remote = Remote::new(["relay", "127.0.0.1", &port, "me", "--send-only"]).stdin(line);
        remote.run().expect_failure(1, &[complaint]);
    }
}

#[test]
fn a_taken_name_and_the_end_of_the_relay_are_reported() {
    let relay = Relay::new(&[]);
    let _holder = relay.registered("me");
    let port = relay.port();
    let remote = Remote::new(["relay", "127.0.0.1", &port, "me"]).stdin_open();
    remote.run().expect_failure(1, &["somebody has it"]);
    let remote = Remote::new(["relay", "-v", "127.0.0.1", &port, "you"]).stdin_open().start();
    remote.said("registered as you");
    relay.0.signal(Signal::TERM);
    let ended = remote.wait();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("the relay has closed the connection ("), "{}", ended.stderr);
}

#[test]
fn files_cross_and_are_kept_after_silence() {
    let relay = Relay::new(&[]);
    let (dir, port) = (Dir::new(), relay.port());
    let bytes = noise(5_000_000);
    let (sent, kept) = (dir.file("sent", &bytes), dir.join("kept"));
    let args = ["relay", "-v", "127.0.0.1", &port, "to", "-r", kept.to_str().unwrap(), "-w", "1"];
    let receiver = Remote::new(args).start();
    receiver.said("registered as to");
    let args =
        ["relay", "127.0.0.1", &port, "from", "--to", "to", "-s", sent.to_str().unwrap(), "--send-only"];
    Remote::new(args).run().expect_quiet_success();
    assert_eq!(receiver.wait().code, 0);
    assert!(dir.read("kept") == bytes);
    // Nothing has come: that is no success.
    let args = ["relay", "127.0.0.1", &port, "to2", "--recv-only", "-w", "300ms"];
    assert_eq!(Remote::new(args).run().code, 1);
}

#[test]
fn a_client_reconnects_when_the_relay_is_back() {
    let server = Server::new();
    let port = server.port();
    let remote = Remote::new(["relay", "-v", "127.0.0.1", &port, "me", "--to", "you", "--retry", "forever"]);
    let mut remote = remote.stdin_open().start();
    for (turn, text) in ["one", "two"].iter().enumerate() {
        let mut relay = server.accept();
        let hello = exactly(&mut relay, "me|me|24|".len() + 24);
        assert!(hello.starts_with(b"me|me|24|"));
        relay.write_all(&hello[9..]).unwrap();
        eventually("the registration", || {
            (remote.said("registered").matches("registered as me").count() == turn + 1).then_some(())
        });
        remote.type_in(text.as_bytes());
        assert_eq!(exactly(&mut relay, 9), format!("you|3|{text}").as_bytes());
        relay.write_all(text.as_bytes()).unwrap();
        remote.printed(3 * (turn + 1));
        if turn == 0 {
            reset(relay);
            remote.said("trying again");
        } else {
            remote.signal(Signal::TERM);
        }
    }
    let ended = remote.wait();
    assert_eq!((ended.code, &ended.stdout[..]), (143, &b"onetwo"[..]));
}

#[test]
fn messages_do_not_break_the_prompt() {
    let relay = Relay::new(&[]);
    let mut peer = relay.registered("peer");
    let terminal = Terminal::new();
    let remote = terminal.remote(&["relay", "127.0.0.1", &relay.port(), "me", "--to", "peer"]).start();
    terminal.shows("me> ");
    terminal.type_in(b"half");
    terminal.shows("half");
    peer.write_all(b"me|5|hello").unwrap();
    terminal.shows("hello\r\nme> half");
    terminal.type_in(b" and half\n");
    assert_eq!(exactly(&mut peer, 13), b"half and half", "without the line's end");
    terminal.shows("half and half\r\nme> ");
    drop(remote);
    // Without --to, a line that makes no sense is no end.
    let terminal = Terminal::new();
    let remote = terminal.remote(&["relay", "127.0.0.1", &relay.port(), "me2"]).start();
    terminal.shows("me2> ");
    terminal.type_in(b"nonsense\n");
    terminal.shows("'name|text'");
    terminal.type_in(b"peer|sense\n");
    assert_eq!(exactly(&mut peer, 5), b"sense");
    drop(remote);
}

#[test]
fn a_client_keeps_itself_alive() {
    let relay = Relay::new(&["--idle", "11s"]);
    let remote =
        Remote::new(["relay", "-v", "127.0.0.1", &relay.port(), "me", "-w", "13"]).stdin_open().start();
    remote.said("registered as me");
    // It ends by itself, before the relay would disconnect it.
    let ended = remote.wait();
    assert!(ended.stderr.contains("nothing moved for 13 s"), "{}", ended.stderr);
}

#[test]
fn mistakes_of_usage() {
    let table: [(&[&str], &str); 12] = [
        (&["relay"], "a client needs HOST"),
        (&["relay", "-l", "--tls"], "--tls is a client's: leave out -l"),
        (&["relay", "-l", "--tls-cert", "f"], "--tls-cert needs --tls-port"),
        (&["relay", "host", "x", "--tls-port", "1"], "--tls-port is the relay's: it needs -l"),
        (&["relay", "host"], "a client needs HOST"),
        (&["relay", "host", "8080", "a|b"], "is not a name"),
        (&["relay", "host", "x", "--to", ""], "is not a name"),
        (&["relay", "host", "x", "--stall", "1"], "--stall is the relay's: it needs -l"),
        (&["relay", "-l", "--to", "x"], "--to is a client's: leave out -l"),
        (&["relay", "host", "x", "-s", "f"], "-s needs --to NAME"),
        (&["relay", "-l", "--metrics", "x:y"], "--metrics 'x:y'"),
        (&["relay", "-l", "--deliver", "x"], "--deliver"),
    ];
    for (args, complaint) in table {
        Remote::new(args).run().expect_failure(2, &[complaint]);
    }
    // Behind `--` it is a host.
    let ended = Remote::new(["-n", "--", "relay", "80"]).run();
    ended.expect_failure(2, &["HOST must be an address"]);
    let dir = Dir::new();
    let empty = dir.file("empty", b"\n");
    let args = ["relay", "-l", "--token-file", empty.to_str().unwrap()];
    Remote::new(args).run().expect_failure(1, &["is no secret"]);
}

#[test]
fn addresses_have_their_limit_and_loopback_has_none() {
    let Some(hosts) = Hosts::new() else { return };
    let relay = hosts.b.remote(["relay", "-lv", "-p", "0", "--max-per-ip", "2"]).start();
    let port = relay.port();
    let to = ([10, 9, 0, 2], port).into();
    let friends: Vec<TcpStream> = (0..2).map(|_| hosts.a.connect(to)).collect();
    for (mut friend, name) in friends.iter().zip(["a", "b"]) {
        friend.write_all(format!("{name}|{name}|2|ok").as_bytes()).unwrap();
        assert_eq!(exactly(&mut friend, 2), b"ok");
    }
    assert!(is_closed(&mut hosts.a.connect(to)));
    relay.said("-10.9.0.1:");
    relay.said(" crowded\n");
    let local: Vec<TcpStream> = (0..5).map(|_| hosts.b.connect(([127, 0, 0, 1], port).into())).collect();
    for (mut stream, n) in local.iter().zip(0..) {
        stream.write_all(format!("l{n}|l{n}|2|ok").as_bytes()).unwrap();
        assert_eq!(exactly(&mut stream, 2), b"ok");
    }
}

/// A relay with a port for TLS, and the arguments of a client there: from the command that it prints.
fn encrypted(flags: &[&str]) -> (Relay, Vec<String>) {
    let relay = Relay::new(&[&["--tls-port", "0"][..], flags].concat());
    let said = relay.0.said("on the other side run: remote ");
    let line = said.split("run: remote ").nth(1).unwrap().lines().next().unwrap();
    assert!(line.starts_with("relay --tls --tls-pin sha256:") && line.ends_with(" NAME"), "{line}");
    let args = line.trim_end_matches(" NAME").split(' ').map(str::to_owned).collect();
    (relay, args)
}

#[test]
fn clients_with_tls_and_without_meet() {
    let (relay, args) = encrypted(&[]);
    let secret = |more: &[&str]| Remote::new(args.iter().map(String::as_str).chain(more.iter().copied()));
    let dir = Dir::new();
    let bytes = noise(3_000_000);
    let file = dir.file("file", &bytes);
    let file = file.to_str().unwrap();
    // Every sender with every receiver, with TLS or without.
    for (sends, receives) in [(true, true), (true, false), (false, true)] {
        let plain = ["relay", "127.0.0.1", &relay.port()].map(str::to_owned);
        let side = |is_encrypted: bool, more: &[&str]| match is_encrypted {
            true => secret(more),
            false => Remote::new(plain.iter().map(String::as_str).chain(more.iter().copied())),
        };
        let name = format!("to_{sends}_{receives}");
        let receiver = side(receives, &[&name, "-v", "--recv-only", "-w", "5"]).start();
        receiver.said("registered");
        let from = format!("from_{sends}_{receives}");
        side(sends, &[&from, "--to", &name, "-s", file, "--send-only"]).run().expect_quiet_success();
        assert!(receiver.printed(bytes.len()) == bytes, "{sends} {receives}");
        receiver.signal(Signal::TERM);
        assert_eq!(receiver.wait().code, 143);
    }
    // A message larger than what is kept whole, to a client with TLS.
    let mut sender = relay.registered("large");
    let receiver = secret(&["reads", "-v", "--recv-only"]).start();
    receiver.said("registered");
    sender.write_all(format!("reads|{}|", bytes.len()).as_bytes()).unwrap();
    sender.write_all(&bytes).unwrap();
    assert!(receiver.printed(bytes.len()) == bytes);
}

#[test]
fn a_client_without_a_complete_handshake_is_disconnected() {
    let (relay, args) = encrypted(&["--register-timeout", "0.5"]);
    let port: u16 = args.last().unwrap().parse().unwrap();
    let mut silent = client(port);
    let mut rude = client(port);
    rude.write_all(b"device_a|device_a|5|hello").unwrap();
    // An alert, perhaps, and the end.
    read_all(&mut silent);
    read_all(&mut rude);
    relay.0.said("-127.0.0.1:");
    let more = ["--", "device_b"];
    let args = args.iter().map(String::as_str).chain(more);
    let remote = Remote::new(args).stdin("device_b|hello\n").start();
    assert_eq!(remote.printed(5), b"hello");
}

#[test]
fn an_encrypted_client_comes_back() {
    let (relay, args) = encrypted(&[]);
    let more = ["--retry", "30", "-v", "--recv-only", "device_a"];
    let remote = Remote::new(args.iter().map(String::as_str).chain(more)).start();
    remote.said("registered");
    let port = args.last().unwrap().clone();
    drop(relay);
    remote.said("trying again");
    // Another relay there has another key, and is none of ours.
    let other = Remote::new(["relay", "-lv", "127.0.0.1", "0", "--tls-port", &port]).start();
    other.said("clients\n");
    let ended = remote.wait();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("the key is not the one of --tls-pin"), "{}", ended.stderr);
}
