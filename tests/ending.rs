//! How sessions end: half-close, silence, timeouts, refusals. The whole table is in `pump/ending.rs`.

use std::{
    io::{Read, Write},
    net::Shutdown,
    time::Duration,
};

use rustix::process::Signal;

use crate::bench::{Dir, Remote, Server, client, eventually, noise, on_linux, pipe, read_all, reset};

#[test]
fn our_end_of_file_is_passed_on_unless_switched_off() {
    let server = Server::new();
    for flags in [&["-N"][..], &[], &["--no-shutdown", "-N"]] {
        let args = flags.iter().copied().chain(["127.0.0.1"]).chain([]);
        let port = server.port();
        let remote = Remote::new(args.chain([port.as_str()])).stdin("hello").start();
        let mut peer = server.accept();
        assert_eq!(read_all(&mut peer), b"hello", "{flags:?}");
        peer.write_all(b"bye").unwrap();
        drop(peer);
        assert_eq!(remote.wait().expect_quiet_success().stdout, b"bye");
    }
    let remote = Remote::new(["--no-shutdown", "127.0.0.1", &server.port()]).stdin("hello").start();
    let mut peer = server.accept();
    peer.read_exact(&mut [0; 5]).unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn a_listener_follows_the_same_rules() {
    let remote = Remote::new(["-lv"]).stdin("answer").start();
    let mut peer = client(remote.port());
    assert_eq!(read_all(&mut peer), b"answer");
    peer.write_all(b"question").unwrap();
    drop(peer);
    let ended = remote.wait();
    assert_eq!((ended.code, &ended.stdout[..]), (0, &b"question"[..]));
}

#[test]
fn a_busy_pipe_is_sent_to_a_half_closed_peer() {
    let server = Server::new();
    let mut remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().start();
    let mut peer = server.accept();
    peer.write_all(b"ready").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    remote.printed(5);
    for _ in 0..3 {
        remote.type_in(b"more");
        peer.read_exact(&mut [0; 4]).unwrap();
    }
    // Then the pipe is silent, and after 2 s it is over.
    assert_eq!(read_all(&mut peer), b"");
    remote.wait().expect_quiet_success();
}

#[test]
fn a_peer_that_never_sent_a_byte_is_a_receiver() {
    let server = Server::new();
    let mut remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().start();
    let mut peer = server.accept();
    peer.shutdown(Shutdown::Write).unwrap();
    remote.type_in(b"one");
    peer.read_exact(&mut [0; 3]).unwrap();
    // Longer than the usual time for a silent pipe.
    peer.set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    remote.type_in(b"two");
    peer.read_exact(&mut [0; 3]).unwrap();
    remote.close_stdin();
    assert_eq!(read_all(&mut peer), b"");
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn half_open_keeps_sending_from_a_silent_pipe() {
    let server = Server::new();
    let mut remote = Remote::new(["--half-open", "127.0.0.1", &server.port()]).stdin_open().start();
    let mut peer = server.accept();
    peer.write_all(b"ready").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    remote.type_in(b"late");
    peer.read_exact(&mut [0; 4]).unwrap();
    remote.close_stdin();
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn quit_bounds_the_silence_after_an_end() {
    let server = Server::new();
    // The end of our input.
    let remote = Remote::new(["-q", "0.2", "127.0.0.1", &server.port()]).stdin("hello").start();
    let mut peer = server.accept();
    peer.write_all(b"partly").unwrap();
    let ended = remote.wait().expect_quiet_success();
    assert_eq!(ended.stdout, b"partly");
    // The end of the peer.
    let remote = Remote::new(["-q", "0.2", "127.0.0.1", &server.port()]).stdin_open().start();
    server.accept().shutdown(Shutdown::Write).unwrap();
    remote.wait().expect_quiet_success();
}

#[test]
fn idleness_is_a_failure() {
    let server = Server::new();
    let remote = Remote::new(["-w", "0.2", "127.0.0.1", &server.port()]).stdin_open().start();
    let mut peer = server.accept();
    peer.write_all(b"hello").unwrap();
    let parts = ["127.0.0.1 port ", "nothing moved for 0.2 s (0 bytes sent, 5 received)"];
    let ended = remote.wait();
    assert_eq!(ended.stdout, b"hello");
    ended.expect_failure(1, &parts);
    // A delay that was asked for is no idleness.
    let args = ["-w", "0.2", "-d", "0.4", "127.0.0.1", &server.port()];
    let remote = Remote::new(args).stdin("a\nb\nc\n").start();
    let mut peer = server.accept();
    assert_eq!(read_all(&mut peer), b"a\nb\nc\n");
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn refused_bytes_are_counted() {
    let server = Server::new();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin(noise(30_000_000)).start();
    let mut peer = server.accept();
    peer.read_exact(&mut [0; 1000]).unwrap();
    reset(peer);
    let ended = remote.wait();
    assert_eq!(ended.code, 1, "{ended:?}");
    // Only Linux counts the bytes that the kernel had not sent.
    if on_linux("what is not acknowledged") {
        assert!(ended.stderr.contains("bytes of ours were not delivered"), "{ended:?}");
    }
    ended.expect_failure(1, &[]);
}

#[test]
fn an_answer_that_came_before_the_refusal_is_kept() {
    let server = Server::new();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin(noise(30_000_000)).start();
    let mut peer = server.accept();
    peer.write_all(b"too large, go away\n").unwrap();
    peer.read_exact(&mut [0; 1000]).unwrap();
    // Closing with bytes unread makes the kernel send a reset after the answer.
    drop(peer);
    let ended = remote.wait();
    assert_eq!(ended.stdout, b"too large, go away\n");
    ended.expect_failure(1, &[]);
}

#[test]
fn send_only_waits_for_the_peer() {
    let server = Server::new();
    let remote = Remote::new(["--send-only", "127.0.0.1", &server.port()]).stdin("hello").start();
    let mut peer = server.accept();
    peer.write_all(b"not wanted at all").unwrap();
    assert_eq!(read_all(&mut peer), b"hello");
    drop(peer);
    assert_eq!(remote.wait().expect_quiet_success().stdout, b"");
}

#[test]
fn recv_only_does_not_read_stdin_nor_shut_early() {
    let server = Server::new();
    let remote = Remote::new(["--recv-only", "127.0.0.1", &server.port()]).stdin("not sent").start();
    let mut peer = server.accept();
    peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    peer.write_all(b"hello").unwrap();
    drop(peer);
    assert_eq!(remote.wait().expect_quiet_success().stdout, b"hello");
}

#[test]
fn head_ends_it() {
    let server = Server::new();
    let shell = ["sh", "-c", "\"$0\" \"$@\" | head -n 1"];
    let remote = Remote::through(&shell, ["127.0.0.1", &server.port()]).stdin_open().start();
    let mut peer = server.accept();
    peer.write_all(b"one\ntwo\n").unwrap();
    let ended = remote.wait();
    assert_eq!((ended.code, &ended.stdout[..], &ended.stderr[..]), (0, &b"one\n"[..], ""));
}

#[test]
fn a_file_interrupted_by_a_signal_does_not_look_complete() {
    let dir = Dir::new();
    let path = dir.file("big", &noise(30_000_000));
    let server = Server::new();
    let remote = Remote::new(["-s", path.to_str().unwrap(), "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    peer.read_exact(&mut [0; 1000]).unwrap();
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);
    let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn bytes_read_from_a_pipe_are_sent_after_a_signal() {
    let server = Server::new();
    let (_reader, output) = pipe();
    let mut remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().stdout_to(output).start();
    let mut peer = server.accept();
    remote.type_in(b"said before");
    peer.read_exact(&mut [0; 11]).unwrap();
    remote.signal(Signal::TERM);
    assert_eq!(read_all(&mut peer), b"");
    assert_eq!(remote.wait().code, 143);
}

#[test]
fn a_signal_prints_the_progress() {
    let server = Server::new();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().start();
    let mut peer = server.accept();
    peer.write_all(b"hello").unwrap();
    remote.printed(5);
    remote.signal(Signal::USR1);
    remote.said("0 bytes sent, 5 bytes received in ");
    drop(peer);
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let server = Server::new();
    let shell = ["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    let mut remote = Remote::through(&shell, ["127.0.0.1", &server.port()]).stdin_open().start();
    let mut peer = server.accept();
    remote.signal(Signal::HUP);
    remote.type_in(b"still here");
    peer.read_exact(&mut [0; 10]).unwrap();
    remote.close_stdin();
    drop(peer);
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn an_idle_session_uses_no_cpu() {
    let server = Server::new();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().start();
    let mut peer = server.accept();
    peer.shutdown(Shutdown::Write).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let before = eventually("it to have begun", || Some(remote.ticks()));
    let _ = peer.read(&mut [0]);
    // A second is a hundred ticks.
    assert!(remote.ticks() - before < 10, "it spins");
}

#[test]
fn bytes_that_the_peer_has_not_taken_are_no_success() {
    let dir = Dir::new();
    let path = dir.file("f", &noise(20_000_000));
    let server = Server::new();
    let remote =
        Remote::new(["-q", "0.3", "-s", path.to_str().unwrap(), "127.0.0.1", &server.port()]).start();
    // It takes what the buffers hold, and never reads.
    let peer = server.accept();
    let mut remote = remote;
    eventually("it to be stuck", || remote.is_running().then_some(()));
    drop(peer);
    remote.wait().expect_failure(1, &["bytes of ours were not delivered"]);

    if !on_linux("the count of what is not acknowledged") {
        return;
    }
    // All was handed to the kernel, and the peer does not read: silence does not make it a success.
    let path = dir.file("g", &noise(1_500_000));
    let listener = Server::new();
    socket2::SockRef::from(&listener.0).set_recv_buffer_size(64 << 10).unwrap();
    let args = ["-q", "0.3", "--sndbuf", "4M", "-s", path.to_str().unwrap(), "127.0.0.1", &listener.port()];
    let remote = Remote::new(args).start();
    let _peer = listener.accept();
    remote.wait().expect_failure(1, &["takes nothing more", "bytes of ours were not delivered"]);
}

#[test]
fn silence_is_not_counted_while_our_reader_is_slow() {
    let server = Server::new();
    let shell = ["sh", "-c", "\"$0\" \"$@\" | (sleep 2; wc -c)"];
    let remote = Remote::through(&shell, ["-q", "0.3", "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    peer.write_all(&noise(3_000_000)).unwrap();
    drop(peer);
    let ended = remote.wait();
    assert_eq!((ended.stdout.trim_ascii(), &ended.stderr[..]), (&b"3000000"[..], ""));
}

#[test]
fn a_unix_peer_that_closes_has_only_ended() {
    let dir = Dir::new();
    let path = dir.join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let remote = Remote::new(["-U", path.to_str().unwrap()]).stdin_open().start();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"hello").unwrap();
    drop(peer);
    assert_eq!(remote.wait().expect_quiet_success().stdout, b"hello");
}

#[test]
fn our_own_pace_is_no_idleness() {
    let server = Server::new();
    let args = ["--rate", "2", "-w", "0.2", "127.0.0.1", &server.port()];
    let remote = Remote::new(args).stdin("abcd").start();
    let mut peer = server.accept();
    assert_eq!(read_all(&mut peer), b"abcd");
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn a_reset_is_no_end_of_file_though_our_reader_is_slow() {
    let bytes = noise(24_000_000);
    for flags in [&[][..], &["--digest"], &["-l"]] {
        let server = Server::new();
        let (mut read, write) = pipe();
        let port = server.port();
        let (remote, mut peer) = if flags == ["-l"] {
            let remote = Remote::new(["-lv"]).stdin_open().stdout_to(write).start();
            let peer = client(remote.port());
            (remote, peer)
        } else {
            let args = flags.iter().copied().chain(["127.0.0.1", &port]);
            let remote = Remote::new(args).stdin_open().stdout_to(write).start();
            (remote, server.accept())
        };
        // Stdout is not read until the peer has reset.
        peer.set_nonblocking(true).unwrap();
        let mut sent = 0;
        let mut stuck = 0;
        while stuck < 20 && sent < bytes.len() {
            if let Ok(n) = peer.write(&bytes[sent..]) {
                (sent, stuck) = (sent + n, 0);
            } else {
                stuck += 1;
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
        reset(peer);
        let mut received = Vec::new();
        read.read_to_end(&mut received).unwrap();
        let ended = remote.wait();
        assert_eq!(ended.code, 1, "{flags:?}: {} of {sent} bytes, {}", received.len(), ended.stderr);
        assert!(ended.stderr.contains("connection reset by peer"), "{flags:?}: {}", ended.stderr);
        assert!(bytes.starts_with(&received));
    }
}

#[test]
fn a_reset_after_both_ends_is_noticed_at_once() {
    if !on_linux("what is not acknowledged") {
        return;
    }
    let (dir, server) = (Dir::new(), Server::new());
    socket2::SockRef::from(&server.0).set_recv_buffer_size(4096).unwrap();
    let path = dir.file("f", &noise(600_000));
    let remote = Remote::new(["--json", "-s", path.to_str().unwrap(), "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    peer.write_all(b"hi").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    remote.printed(2);
    reset(peer);
    let ended = remote.wait();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains("does not answer any more"), "{}", ended.stderr);
}

#[test]
fn a_closed_stdout_hides_a_reset() {
    let server = Server::new();
    let (read, write) = pipe();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().stdout_to(write).start();
    let mut peer = server.accept();
    drop(read);
    peer.write_all(b"this is not read!").unwrap();
    // It goes on: its stdin may still bring something.
    peer.write_all(&noise(1_000_000)).unwrap();
    reset(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn quit_does_not_count_while_the_last_bytes_are_under_way() {
    if !on_linux("what is not acknowledged") {
        return;
    }
    let server = Server::new();
    socket2::SockRef::from(&server.0).set_recv_buffer_size(4096).unwrap();
    let bytes = noise(300_000);
    let remote = Remote::new(["-q", "0", "127.0.0.1", &server.port()]).stdin(bytes.clone()).start();
    let mut peer = server.accept();
    let mut received = vec![0; bytes.len()];
    for chunk in received.chunks_mut(30_000) {
        peer.read_exact(chunk).unwrap();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(received == bytes);
    remote.wait().expect_quiet_success();
}

#[test]
fn bytes_after_the_end_of_the_peer_are_a_failure() {
    if !on_linux("what is not acknowledged") {
        return;
    }
    let server = Server::new();
    let mut remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().start();
    drop(server.accept());
    // By now the kernel knows of its end.
    let inbound = format!("dst 127.0.0.1:{}", server.port());
    eventually("the end to arrive", || {
        crate::bench::run("ss", &["-tnH", "state", "close-wait", &inbound])
            .ok()
            .filter(|lines| !lines.is_empty())
    });
    remote.type_in(b"late");
    remote.close_stdin();
    let ended = remote.wait();
    ended.expect_failure(1, &["4 bytes of ours were not delivered"]);
}
