//! Layers and taps: line ends, compression, telnet, dumps, and the pace.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::bench::{Dir, Remote, Server, client, eventually, has, noise, pipe, read_all, reset, run};

#[test]
fn line_feeds_leave_as_crlf() {
    let server = Server::new();
    let remote = Remote::new(["-C", "127.0.0.1", &server.port()]).stdin("GET /\nHost: x\r\n\n").start();
    let mut peer = server.accept();
    assert_eq!(read_all(&mut peer), b"GET /\r\nHost: x\r\n\r\n");
    peer.write_all(b"a\nb\n").unwrap();
    drop(peer);
    assert_eq!(remote.wait().expect_quiet_success().stdout, b"a\nb\n");
}

#[test]
fn the_dump_has_both_directions_of_the_wire() {
    let dir = Dir::new();
    let path = dir.join("dump");
    let server = Server::new();
    let args = ["-C", "-o", path.to_str().unwrap(), "127.0.0.1", &server.port()];
    let remote = Remote::new(args).stdin("hello\n").start();
    let mut peer = server.accept();
    assert_eq!(read_all(&mut peer), b"hello\r\n");
    peer.write_all(&(0..20).collect::<Vec<u8>>()).unwrap();
    drop(peer);
    remote.wait().expect_quiet_success();
    let dump = String::from_utf8(dir.read("dump")).unwrap();
    let expected = "\
> 00000000 68 65 6c 6c 6f 0d 0a                            # hello..\n\
< 00000000 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f # ................\n\
< 00000010 10 11 12 13                                     # ....\n";
    assert_eq!(dump, expected);
}

#[test]
fn a_dump_that_cannot_be_written_ends_the_session() {
    let server = Server::new();
    let remote = Remote::new(["-o", "/dev/full", "127.0.0.1", &server.port()]).stdin_open().start();
    let mut peer = server.accept();
    peer.write_all(b"hello").unwrap();
    remote.wait().expect_failure(1, &["write the dump: no space left on device"]);
}

#[test]
fn the_rate_is_kept() {
    let server = Server::new();
    let started = Instant::now();
    let remote = Remote::new(["--rate", "100k", "127.0.0.1", &server.port()]).stdin(noise(50_000)).start();
    let mut peer = server.accept();
    assert_eq!(read_all(&mut peer), noise(50_000));
    // At most a tenth of a second's worth goes ahead of its time.
    assert!(started.elapsed() >= Duration::from_millis(350), "{:?}", started.elapsed());
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn a_delay_stands_between_lines_and_chunks() {
    let server = Server::new();
    let remote = Remote::new(["-d", "150ms", "127.0.0.1", &server.port()]).stdin("one\ntwo\nthree").start();
    let mut peer = server.accept();
    let mut buf = [0; 100];
    let mut heard = Vec::new();
    let started = Instant::now();
    loop {
        let n = peer.read(&mut buf).unwrap();
        if n == 0 {
            break;
        }
        heard.push(String::from_utf8_lossy(&buf[..n]).into_owned());
    }
    assert_eq!(heard, ["one\n", "two\n", "three"]);
    assert!(started.elapsed() >= Duration::from_millis(250));
    drop(peer);
    remote.wait().expect_quiet_success();

    let dir = Dir::new();
    let path = dir.file("f", &noise(25));
    let args = ["-d", "100ms", "--datagram", "10", "-s", path.to_str().unwrap(), "127.0.0.1", &server.port()];
    let remote = Remote::new(args).start();
    let mut peer = server.accept();
    let sizes: Vec<usize> = (0..3).map(|_| peer.read(&mut buf).unwrap()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    drop(peer);
    remote.wait().expect_quiet_success();
}

/// Returns the output of zstd(1) for these bytes, or its complaint.
fn zstd(args: &[&str], bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = Command::new("zstd")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    // After an error, zstd(1) does not read to the end.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// One frame in which each block of four bytes is 128 KiB of zeros (RFC 8878, 3.1.1.2.2).
fn zeros(blocks: usize) -> Vec<u8> {
    let mut frame = b"\x28\xb5\x2f\xfd\x00\x68".to_vec();
    for block in 1..=blocks {
        frame.extend([0x02 | u8::from(block == blocks), 0x00, 0x10, 0x00]);
    }
    frame
}

#[test]
fn a_file_goes_compressed_and_arrives_as_it_was() {
    let dir = Dir::new();
    let text: Vec<u8> = (0..200_000).flat_map(|i: u32| format!("{i}\n").into_bytes()).collect();
    let path = dir.file("sent", &text);
    let listener =
        Remote::new(["-lv", "127.0.0.1", "--zstd", "--digest", "-r", "got"]).in_folder(dir.path()).start();
    let port = listener.port().to_string();
    let args = ["--zstd=7", "--digest", "--json", "127.0.0.1", &port, "-s", path.to_str().unwrap()];
    let sender = Remote::new(args).start().wait();
    let listener = listener.wait();
    assert_eq!((sender.code, listener.code), (0, 0), "{sender:?} {listener:?}");
    assert!(dir.read("got") == text);
    // Both sides print the digests of b3sum.
    let digest = blake3(&text);
    for said in [&sender.stderr, &listener.stderr] {
        assert!(
            said.contains(&format!("{digest}  ")) && said.contains(&format!(" {} bytes\n", text.len())),
            "{said}"
        );
    }
    let object = sender.stderr.lines().find(|line| line.starts_with('{')).unwrap();
    let object: serde_json::Value = serde_json::from_str(object).unwrap();
    assert_eq!(object["sent"]["content"], text.len());
    let wire = object["sent"]["bytes"].as_u64().unwrap();
    assert!(wire < text.len() as u64 / 2 && wire > 1000, "{wire}");
    assert!(listener.stderr.contains(&format!("received {} bytes into got", text.len())), "{listener:?}");
    assert!(listener.stderr.contains(&format!("{wire} bytes received in")), "{listener:?}");
}

/// Returns the digest that the program prints for these bytes.
fn blake3(bytes: &[u8]) -> String {
    let server = Server::new();
    let remote = Remote::new(["--digest", "--send-only", "127.0.0.1", &server.port()]).stdin(bytes).start();
    assert!(read_all(&mut server.accept()) == bytes);
    remote.wait().stderr.split(' ').next().unwrap().to_owned()
}

#[test]
fn zstd_delays_no_line() {
    let mut listener = Remote::new(["-lv", "127.0.0.1", "--zstd"]).stdin_open().start();
    let mut client = Remote::new(["--zstd", "127.0.0.1", &listener.port().to_string()]).stdin_open().start();
    let (mut here, mut there) = (0, 0);
    for word in ["one\n", "two\n", "three\n"] {
        client.type_in(word.as_bytes());
        here += word.len();
        assert!(listener.printed(here).ends_with(word.as_bytes()));
        listener.type_in(word.as_bytes());
        there += word.len();
        assert!(client.printed(there).ends_with(word.as_bytes()));
    }
    client.close_stdin();
    listener.close_stdin();
    assert_eq!(client.wait().expect_quiet_success().stdout, b"one\ntwo\nthree\n");
    assert_eq!(listener.wait().code, 0);
}

#[test]
fn zstd_reads_what_we_send() {
    if !has("zstd") {
        return;
    }
    let dir = Dir::new();
    let text = [noise(300_000), vec![b'a'; 3_000_000]].concat();
    let path = dir.file("sent", &text);
    for level in ["--zstd", "--zstd=1", "--zstd=19"] {
        let server = Server::new();
        let remote = Remote::new([level, "-s", path.to_str().unwrap(), "127.0.0.1", &server.port()]).start();
        let wire = read_all(&mut server.accept());
        remote.wait().expect_quiet_success();
        assert!(wire.len() < 310_000 && zstd(&["-dc"], &wire).unwrap() == text, "{level}");
    }
    // Nothing is an empty frame: zstd would take no byte for a failure.
    let server = Server::new();
    let remote = Remote::new(["--zstd", "127.0.0.1", &server.port()]).stdin("").start();
    let wire = read_all(&mut server.accept());
    remote.wait().expect_quiet_success();
    assert_eq!(zstd(&["-dc"], &wire).unwrap(), b"");
}

#[test]
fn we_read_what_zstd_sends() {
    if !has("zstd") {
        return;
    }
    let text = [noise(300_000), vec![b'a'; 3_000_000]].concat();
    let frames = [
        zstd(&["-c", "-1"], b"one ").unwrap(),
        // To be skipped (RFC 8878, 3.1.2).
        b"\x5f\x2a\x4d\x18\x03\x00\x00\x00abc".to_vec(),
        zstd(&["-c", "--ultra", "-19", "--no-check"], &text).unwrap(),
        zstd(&["-c"], b"").unwrap(),
    ];
    let server = Server::new();
    let remote = Remote::new(["--zstd", "--recv-only", "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    peer.write_all(&frames.concat()).unwrap();
    drop(peer);
    assert!(remote.wait().expect_quiet_success().stdout == [b"one ".to_vec(), text.clone()].concat());

    // It may use more memory than we are ready to give.
    let server = Server::new();
    let remote = Remote::new(["--zstd", "--recv-only", "127.0.0.1", &server.port()]).start();
    let large = zstd(&["-c", "--long=27"], &text).unwrap();
    server.accept().write_all(&large).unwrap();
    remote.wait().expect_failure(1, &["needs a window of more than 8 MiB"]);
}

#[test]
fn a_truncated_stream_leaves_a_part() {
    let wire = zeros(3);
    for (length, came) in [(wire.len() - 1, 2 << 17), (wire.len() - 4, 2 << 17), (7, 0), (1, 0)] {
        let dir = Dir::new();
        let listener = Remote::new(["-lv", "127.0.0.1", "--zstd", "-r", "got"]).in_folder(dir.path()).start();
        client(listener.port()).write_all(&wire[..length]).unwrap();
        let ended = listener.wait();
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("the zstd stream ends inside a frame"), "{ended:?}");
        let part = std::fs::read(dir.join("got.part")).map_or(0, |part| part.len());
        assert!(part == came && !dir.join("got").exists(), "{part}");
    }
    // All of it is whole, and so is nothing.
    for (length, came) in [(wire.len(), 3 << 17), (0, 0)] {
        let server = Server::new();
        let remote = Remote::new(["--zstd", "--recv-only", "127.0.0.1", &server.port()]).start();
        server.accept().write_all(&wire[..length]).unwrap();
        assert_eq!(remote.wait().expect_quiet_success().stdout.len(), came);
    }
}

#[test]
fn a_corrupt_frame_gives_the_bytes_before_the_fault() {
    let table = [
        ([&zeros(1)[..], b"GET / HTTP/1.0"].concat(), 1 << 17, "what came is no zstd stream"),
        (
            [&zeros(3)[..14], b"\x07\x00\x00"].concat(),
            2 << 17,
            "the zstd stream cannot be decoded: data corruption detected",
        ),
    ];
    for (wire, good, what) in table {
        let server = Server::new();
        let remote = Remote::new(["--zstd", "127.0.0.1", &server.port()]).stdin_open().start();
        let mut peer = server.accept();
        peer.write_all(&wire).unwrap();
        assert_eq!(remote.wait().expect_failure(1, &["receive from 127.0.0.1", what]).stdout.len(), good);
    }
}

#[test]
fn a_bomb_takes_little_memory() {
    // 1 GiB in 32 KiB.
    let wire = zeros(8192);
    let (mut read, write) = pipe();
    let server = Server::new();
    let remote = Remote::new(["--zstd", "--recv-only", "127.0.0.1", &server.port()]).stdout_to(write).start();
    let mut peer = server.accept();
    peer.write_all(&wire[..wire.len() - 4]).unwrap();
    let (mut buf, mut came) = (vec![0; 1 << 20], 0);
    while came < 8191 << 17 {
        came += read.read(&mut buf).unwrap();
    }
    let peak = remote.peak_memory();
    assert!(peak < 32 << 10, "{peak} KiB");
    peer.write_all(&wire[wire.len() - 4..]).unwrap();
    drop(peer);
    assert_eq!(came + read_all(&mut read).len(), 1 << 30);
    remote.wait().expect_quiet_success();

    // A reader that has seen enough closes.
    let (mut read, write) = pipe();
    let server = Server::new();
    let remote = Remote::new(["--zstd", "--recv-only", "127.0.0.1", &server.port()]).stdout_to(write).start();
    server.accept().write_all(&wire).unwrap();
    read.read_exact(&mut [0; 1000]).unwrap();
    drop(read);
    remote.wait().expect_quiet_success();
}

#[test]
fn a_signal_does_not_complete_a_frame() {
    let dir = Dir::new();
    let listener = Remote::new(["-lv", "127.0.0.1", "--zstd", "-r", "got"]).in_folder(dir.path()).start();
    let mut sender = Remote::new(["--zstd", "127.0.0.1", &listener.port().to_string()]).stdin_open().start();
    sender.type_in(b"so far\n");
    eventually("the line", || std::fs::read(dir.join("got.part")).ok().filter(|text| text == b"so far\n"));
    sender.signal(rustix::process::Signal::TERM);
    assert_eq!(sender.wait().code, 143);
    let ended = listener.wait();
    assert!(ended.code == 1 && ended.stderr.contains("ends inside a frame"), "{ended:?}");
    assert_eq!(dir.read("got.part"), b"so far\n");
}

#[test]
fn a_signal_does_not_complete_a_frame_whose_rest_is_delayed() {
    let dir = Dir::new();
    let listener = Remote::new(["-lv", "127.0.0.1", "--zstd", "-r", "got"]).in_folder(dir.path()).start();
    let args = ["--zstd", "-d", "60", "127.0.0.1", &listener.port().to_string()];
    let sender = Remote::new(args).stdin("one\ntwo\nthree\n").start();
    eventually("the line", || std::fs::read(dir.join("got.part")).ok().filter(|text| text == b"one\n"));
    sender.signal(rustix::process::Signal::INT);
    assert_eq!(sender.wait().code, 130);
    let ended = listener.wait();
    assert!(ended.code == 1 && ended.stderr.contains("ends inside a frame"), "{ended:?}");
    assert_eq!(dir.names(), ["got.part"]);
}

#[test]
fn a_receiver_that_sends_nothing_sends_no_frame() {
    let frame = zstd(&["-c"], b"text").unwrap();
    for flags in [&["--recv-only"][..], &["-r", "got"]] {
        let (dir, server) = (Dir::new(), Server::new());
        let port = server.port();
        let args = [&["--zstd", "127.0.0.1", &port][..], flags].concat();
        let remote = Remote::new(args).in_folder(dir.path()).start();
        let mut peer = server.accept();
        peer.write_all(&frame).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut peer), b"", "{flags:?}");
        assert_eq!(remote.wait().code, 0);
    }
}

#[test]
fn lines_are_ended_and_then_compressed_and_dumped_as_they_go() {
    let dir = Dir::new();
    let (ours, theirs) = (dir.join("ours"), dir.join("theirs"));
    let listener =
        Remote::new(["-lv", "127.0.0.1", "--zstd", "-o", theirs.to_str().unwrap()]).stdin("yes\n").start();
    let args = ["--zstd", "-C", "-o", ours.to_str().unwrap(), "127.0.0.1", &listener.port().to_string()];
    assert_eq!(Remote::new(args).stdin("hello\n").run().expect_quiet_success().stdout, b"yes\n");
    assert_eq!(listener.wait().stdout, b"hello\r\n");
    // Each side has received what the other has sent: a frame each way.
    let turned = |name: &str, mark: char| {
        let text = String::from_utf8(dir.read(name)).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(mark)).map(|line| line[1..].to_owned());
        lines.collect::<Vec<_>>()
    };
    for (sent, received) in [("ours", "theirs"), ("theirs", "ours")] {
        let lines = turned(sent, '>');
        assert!(lines[0].starts_with(" 00000000 28 b5 2f fd "), "{lines:?}");
        assert_eq!(lines.len(), turned(received, '<').len());
    }
}

#[test]
fn the_dump_has_the_end_of_a_frame_whose_source_goes_on() {
    let dir = Dir::new();
    let args = ["-lv", "127.0.0.1", "--zstd", "-q", "0", "-o", "dump"];
    let mut listener = Remote::new(args).stdin_open().in_folder(dir.path()).start();
    let mut peer = client(listener.port());
    listener.type_in(b"answer");
    let mut start = [0; 4];
    peer.read_exact(&mut start).unwrap();
    peer.write_all(&zstd(&["-c"], b"text").unwrap()).unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let frame = [&start[..], &read_all(&mut peer)].concat();
    assert_eq!(zstd(&["-dc"], &frame).unwrap(), b"answer");

    assert_eq!(listener.wait().code, 0);
    let dump = String::from_utf8(dir.read("dump")).unwrap();
    let sent =
        dump.lines().filter(|line| line.starts_with('>')).map(|line| line[11..58].split_whitespace().count());
    assert_eq!(sent.sum::<usize>(), frame.len(), "{dump}");
}

#[test]
fn a_delay_stands_between_lines_that_are_compressed() {
    let listener = Remote::new(["-lv", "127.0.0.1", "--zstd"]).start();
    let port = listener.port().to_string();
    let started = Instant::now();
    let sender =
        Remote::new(["--zstd", "-d", "200ms", "127.0.0.1", &port]).stdin("one\ntwo\nthree\n").start();
    assert!(listener.printed(4) == b"one\n" && listener.printed(8) == b"one\ntwo\n");
    assert!(started.elapsed() >= Duration::from_millis(190));
    assert_eq!(listener.wait().stdout, b"one\ntwo\nthree\n");
    assert!(started.elapsed() >= Duration::from_millis(390));
    sender.wait().expect_quiet_success();
}

#[test]
fn each_client_has_a_stream_of_its_own() {
    let mut listener = Remote::new(["-lkv", "127.0.0.1", "--zstd"]).stdin_open().start();
    let port = listener.port().to_string();
    let mut clients = [(); 2].map(|()| Remote::new(["--zstd", "127.0.0.1", &port]).stdin_open().start());
    for (client, heard) in clients.iter_mut().zip([4, 8]) {
        client.type_in(b"one\n");
        assert_eq!(listener.printed(heard).len(), heard);
    }
    listener.type_in(b"to all\n");
    for client in &clients {
        assert_eq!(client.printed(7), b"to all\n");
    }
    // A later client receives the frame from its start, too.
    let mut late = Remote::new(["--zstd", "127.0.0.1", &port]).stdin_open().start();
    late.type_in(b"one\n");
    listener.printed(12);
    listener.type_in(b"more\n");
    assert_eq!(late.printed(5), b"more\n");
    assert_eq!(clients[0].printed(12), b"to all\nmore\n");
    // A client that breaks its frame does not break those of others.
    client(listener.port()).write_all(b"hello").unwrap();
    listener.said("what came is no zstd stream");
    clients[1].type_in(b"two\n");
    assert!(listener.printed(16).ends_with(b"two\n"));
}

#[test]
fn telnet_is_answered_and_taken_out() {
    let says = b"\xff\xfd\x18\xff\xfb\x01login: \xff\xfa\x18\x01\xff\xf0\xff\xff\xff\xfe\x01\xff\xf1done";
    let answers = b"\xff\xfc\x18\xff\xfe\x01";
    // Stdin is silent, and stdin is empty.
    for (args, silent) in
        [(&["-t"][..], true), (&["-t", "--recv-only"], false), (&["-t", "--no-shutdown"], false)]
    {
        let server = Server::new();
        let remote = Remote::new(args.iter().chain(&["127.0.0.1", &server.port()]));
        let mut remote = if silent { remote.stdin_open() } else { remote }.start();
        let mut peer = server.accept();
        for byte in says {
            peer.write_all(&[*byte]).unwrap();
        }
        let mut heard = [0; 6];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, answers, "{args:?}");
        if silent {
            remote.type_in(b"a\xffb");
            remote.close_stdin();
            assert_eq!(read_all(&mut peer), b"a\xff\xffb");
        }
        drop(peer);
        assert_eq!(remote.wait().expect_quiet_success().stdout, b"login: \xffdone", "{args:?}");
    }
}

#[test]
fn telnet_that_cannot_be_answered_is_no_failure() {
    // Our direction is closed, or the peer has closed before the answer.
    for stdin_open in [false, true] {
        let server = Server::new();
        let remote = Remote::new(["-t", "127.0.0.1", &server.port()]);
        let mut remote = if stdin_open { remote.stdin_open() } else { remote }.start();
        let mut peer = server.accept();
        if !stdin_open {
            assert_eq!(read_all(&mut peer), b"");
        }
        peer.write_all(b"\xff\xfd\x18hello\xff\xfd\x01").unwrap();
        drop(peer);
        assert_eq!(remote.printed(5), b"hello");
        remote.close_stdin();
        remote.wait().expect_quiet_success();
    }
}

#[test]
fn telnet_that_reads_no_answers_costs_little() {
    let server = Server::new();
    let remote =
        Remote::new(["-t", "--recv-only", "--rcvbuf", "64k", "--sndbuf", "64k", "127.0.0.1", &server.port()]);
    let remote = remote.start();
    let mut peer = server.accept();
    peer.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // It sends requests until no more are taken.
    let requests = b"\xff\xfd\x18".repeat(20_000);
    let asked = (0..2000).take_while(|_| peer.write_all(&requests).is_ok()).count();
    assert!(asked < 2000, "all was read");
    assert!(remote.peak_memory() < 16 << 10, "{} KiB", remote.peak_memory());
    // It reads now: every request is answered.
    let mut answers = vec![0; 60_000 * asked];
    peer.read_exact(&mut answers).unwrap();
    assert!(answers.chunks(3).all(|answer| answer == b"\xff\xfc\x18"));

    // Or it closes without having read.
    while peer.write_all(&requests).is_ok() {}
    reset(peer);
    remote.wait().expect_failure(1, &["connection reset"]);
}

#[test]
fn busyboxs_telnet_understands_us() {
    if !has("busybox") || run("busybox", &["telnet", "--help"]).is_err_and(|why| !why.contains("Usage")) {
        println!("skipped: busybox has no telnet");
        return;
    }
    let mut remote = Remote::new(["-ltv", "127.0.0.1"]).stdin_open().start();
    let mut telnet = Command::new("busybox")
        .args(["telnet", "127.0.0.1", &remote.port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    remote.type_in(b"login: \xff");
    telnet.stdin.as_mut().unwrap().write_all(b"me\xff\n").unwrap();
    assert_eq!(remote.printed(5), b"me\xff\r\n");
    remote.close_stdin();
    eventually("telnet to end", || telnet.try_wait().unwrap());
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn an_orderly_end_is_one_for_both_sides() {
    // Our pipe stays open and is silent: when the peer has ended, that is the end, of the frame too.
    for flags in [&["--zstd"][..], &["--zstd", "--tls"]] {
        let listener = Remote::new(["-lv", "127.0.0.1", "0", "-q", "0.2"].iter().chain(flags)).stdin_open();
        let mut listener = listener.start();
        listener.said("Listening on");
        let port = listener.port().to_string();
        let insecure: &[&str] = if flags.contains(&"--tls") { &["--tls-insecure", "-Q"] } else { &[] };
        let args = [&["127.0.0.1", &port][..], flags, insecure].concat();
        listener.type_in(b"hello");
        let ended = Remote::new(&args).stdin("a question").run().expect_quiet_success();
        assert_eq!(ended.stdout, b"hello", "{flags:?}");
        assert_eq!(listener.wait().stdout, b"a question");
    }
}
