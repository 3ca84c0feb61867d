//! What may stand between: line ends, dumps, and the pace.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use crate::bench::{Dir, Remote, Server, noise, read_all};

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
fn the_dump_has_both_directions_as_they_were_on_the_wire() {
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
