//! Standard streams of every kind, and what we must not do to them.

use std::{
    fs::File,
    io::{Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{fs::OFlags, process::Signal};

use crate::bench::{Dir, Remote, Server, Terminal, client, eventually, has, noise, pipe, read_all};

fn is_non_blocking(fd: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn shared_descriptions_keep_their_flags() {
    let server = Server::new();
    let (input, mut keep_open) = pipe();
    let (mut reader, output) = pipe();
    let terminal = Terminal::new();
    let remote = Remote::new(["127.0.0.1", &server.port()])
        .stdin_from(input.try_clone().unwrap())
        .stdout_to(output.try_clone().unwrap())
        .stderr_to(terminal.stdio())
        .start();
    let mut peer = server.accept();
    peer.write_all(b"x").unwrap();
    reader.read_exact(&mut [0]).unwrap();
    keep_open.write_all(b"y").unwrap();
    peer.read_exact(&mut [0]).unwrap();
    // It is at work, and waits for both.
    assert!(!is_non_blocking(&input) && !is_non_blocking(&output));
    drop((keep_open, peer));
    assert_eq!(remote.wait().code, 0);
    assert!(!is_non_blocking(&input) && !is_non_blocking(&output));
    assert!(!terminal.flags().contains(OFlags::NONBLOCK));
}

#[test]
fn sockets_as_stdin_and_stdout_keep_their_flags() {
    let server = Server::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let both = OwnedFd::from(theirs);
    let remote = Remote::new(["127.0.0.1", &server.port()])
        .stdin_from(both.try_clone().unwrap())
        .stdout_to(both.try_clone().unwrap())
        .start();
    let mut peer = server.accept();
    (&ours).write_all(b"question").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut peer), b"question");
    peer.write_all(b"answer").unwrap();
    assert!(!is_non_blocking(&both));
    drop((peer, both));
    assert_eq!(read_all(&mut &ours), b"answer");
    remote.wait().expect_quiet_success();
}

#[test]
fn a_terminal_keeps_its_flags_and_gets_its_settings_back() {
    for end in ["ctrl-D", "ctrl-C", "SIGTERM", "the peer closes"] {
        let server = Server::new();
        let terminal = Terminal::new();
        let before = terminal.settings();
        let remote = terminal.remote(&["127.0.0.1", &server.port()]).start();
        let mut peer = server.accept();
        eventually("the terminal to be taken", || terminal.is_taken().then_some(()));
        terminal.type_in(b"helo\x7flo\n");
        let mut line = [0; 6];
        peer.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"hello\n");
        peer.write_all(b"answer\n").unwrap();
        terminal.shows("answer");
        assert!(!terminal.flags().contains(OFlags::NONBLOCK));
        let code = match end {
            "ctrl-D" => {
                terminal.type_in(b"\x04");
                assert_eq!(read_all(&mut peer), b"");
                drop(peer);
                0
            }
            "ctrl-C" => {
                terminal.type_in(b"\x03");
                130
            }
            "SIGTERM" => {
                remote.signal(Signal::TERM);
                143
            }
            _ => {
                drop(peer);
                terminal.shows(&format!("remote: 127.0.0.1 port {} closed the connection", server.port()));
                0
            }
        };
        assert_eq!(remote.wait().code, code, "{end}");
        let after = terminal.settings();
        assert_eq!(after.local_modes, before.local_modes, "{end}");
        assert_eq!(after.input_modes, before.input_modes, "{end}");
        assert!(!terminal.flags().contains(OFlags::NONBLOCK), "{end}");
    }
}

#[test]
fn a_terminal_set_to_raw_is_left_alone() {
    let server = Server::new();
    let terminal = Terminal::new();
    let mut raw = terminal.settings();
    raw.make_raw();
    let fd: OwnedFd = terminal.user();
    rustix::termios::tcsetattr(&fd, rustix::termios::OptionalActions::Now, &raw).unwrap();
    let _remote = terminal.remote(&["127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    terminal.type_in(b"a\x03\x04");
    let mut keys = [0; 3];
    peer.read_exact(&mut keys).unwrap();
    assert_eq!(&keys, b"a\x03\x04");
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_takes_it_again() {
    let server = Server::new();
    let terminal = Terminal::new();
    let shell = ["setsid", "--ctty", "--wait", "sh", "-mc", "\"$0\" \"$@\"; echo back; fg >/dev/null"];
    let remote = Remote::through(&shell, ["127.0.0.1", &server.port()]);
    let remote = remote.stdin_from(terminal.stdio()).stdout_to(terminal.stdio()).stderr_to(terminal.stdio());
    let remote = remote.start();
    let mut peer = server.accept();
    eventually("the terminal to be taken", || terminal.is_taken().then_some(()));
    terminal.type_in(b"\x1a");
    terminal.shows("back");
    eventually("the terminal to be taken again", || terminal.is_taken().then_some(()));
    terminal.type_in(b"hello\n");
    let mut line = [0; 6];
    peer.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"hello\n");
    drop(peer);
    assert_eq!(remote.wait().code, 0);
    assert!(!terminal.is_taken());
}

#[test]
fn a_background_job_receives_and_is_not_stopped() {
    let server = Server::new();
    let terminal = Terminal::new();
    let shell = [
        "setsid",
        "--ctty",
        "--wait",
        "sh",
        "-mc",
        "\"$0\" \"$@\" & read line; echo \"typed: $line\"; fg >/dev/null",
    ];
    let remote = Remote::through(&shell, ["127.0.0.1", &server.port()]);
    let remote = remote.stdin_from(terminal.stdio()).stdout_to(terminal.stdio()).stderr_to(terminal.stdio());
    let remote = remote.start();
    let mut peer = server.accept();
    peer.write_all(b"from the peer\n").unwrap();
    terminal.shows("from the peer");
    assert!(!terminal.is_taken(), "a background job took the terminal");
    // Typed text goes to the shell until the job is in the foreground.
    terminal.type_in(b"one\n");
    terminal.shows("typed: one");
    eventually("the terminal to be taken", || terminal.is_taken().then_some(()));
    terminal.type_in(b"two\n");
    let mut line = [0; 4];
    peer.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"two\n");
    drop(peer);
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn closed_streams_are_no_streams() {
    let server = Server::new();
    for closed in ["<&-", "<&- >&-", "<&- >&- 2>&-", ">&-"] {
        let shell = ["sh", "-c", &format!("exec \"$0\" \"$@\" {closed}")];
        let remote = Remote::through(&shell, ["127.0.0.1", &server.port()]).start();
        let mut peer = server.accept();
        // A client without stdin sends its end of file at once.
        assert_eq!(read_all(&mut peer), b"", "{closed}");
        peer.write_all(b"answer").unwrap();
        drop(peer);
        let ended = remote.wait().expect_quiet_success();
        let printed: &[u8] = if closed.contains(">&-") { b"" } else { b"answer" };
        assert_eq!(ended.stdout, printed, "{closed}");
    }
}

#[test]
fn a_listener_without_stdin_only_receives() {
    for closed in ["</dev/null", "<&-"] {
        let shell = ["sh", "-c", &format!("exec \"$0\" \"$@\" {closed}")];
        let remote = Remote::through(&shell, ["-l"]).start();
        let mut peer = client(remote.port());
        peer.write_all(b"first").unwrap();
        assert_eq!(remote.printed(5), b"first");
        // Nothing was shut early: the peer sees no end before it has ended itself.
        peer.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        let error = peer.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{closed}");
        peer.write_all(b"second").unwrap();
        drop(peer);
        assert_eq!(remote.wait().stdout, b"firstsecond", "{closed}");
    }
}

#[test]
fn regular_files_and_devices() {
    let dir = Dir::new();
    let bytes = noise(300_000);
    let input = File::open(dir.file("in", &bytes)).unwrap();
    let output = File::create(dir.join("out")).unwrap();
    let server = Server::new();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin_from(input).stdout_to(output).start();
    let mut peer = server.accept();
    assert!(read_all(&mut peer) == bytes);
    peer.write_all(&bytes).unwrap();
    drop(peer);
    remote.wait().expect_quiet_success();
    assert!(dir.read("out") == bytes);
    // Appending goes on where the shell left off.
    let output = File::options().append(true).open(dir.join("out")).unwrap();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdout_to(output).start();
    server.accept().write_all(b"tail").unwrap();
    remote.wait().expect_quiet_success();
    assert!(dir.read("out").ends_with(b"tail") && dir.read("out").len() == bytes.len() + 4);
}

#[test]
fn a_stalled_reader_of_stdout_does_not_stop_sending() {
    let server = Server::new();
    let (mut reader, output) = pipe();
    let mut remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().stdout_to(output).start();
    let mut peer = server.accept();
    // More than the pipe, the socket buffers and ours hold: it must get stuck.
    peer.set_nonblocking(true).unwrap();
    let bytes = noise(1 << 20);
    let mut stuffed = 0;
    eventually("the way to stdout to be full", || {
        match peer.write(&bytes[stuffed % bytes.len()..]) {
            Ok(n) => {
                stuffed += n;
                None
            }
            // Twice in a row, with every process given time: nothing moves any more.
            Err(_) => remote_is_asleep(remote.id()).then_some(()),
        }
    });
    peer.set_nonblocking(false).unwrap();
    for _ in 0..3 {
        remote.type_in(b"still here\n");
        let mut line = [0; 11];
        peer.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"still here\n");
    }
    drop(peer);
    remote.close_stdin();
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), stuffed);
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn a_closed_stdout_is_noticed_at_once() {
    let server = Server::new();
    let (reader, output) = pipe();
    let mut remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().stdout_to(output).start();
    let mut peer = server.accept();
    drop(reader);
    // No byte was received that could have been written: the hang-up alone ends it.
    remote.close_stdin();
    assert_eq!(read_all(&mut peer), b"");
    remote.wait().expect_quiet_success();
    drop(peer);
}

#[test]
fn stdin_is_sent_while_stdout_is_not_read() {
    let server = Server::new();
    let (mut reader, output) = pipe();
    let bytes = noise(20_000_000);
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin(bytes.clone()).stdout_to(output).start();
    let mut peer = server.accept();
    peer.write_all(b"one line\n").unwrap();
    reader.read_exact(&mut [0; 9]).unwrap();
    drop(reader);
    let speaker = peer.try_clone().unwrap();
    let talk = std::thread::spawn(move || {
        let mut speaker = speaker;
        for _ in 0..1000 {
            if speaker.write_all(&[7; 4096]).is_err() {
                return;
            }
        }
    });
    let received = read_all(&mut peer);
    assert!(received == bytes, "{} bytes", received.len());
    talk.join().unwrap();
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn ctrl_c_works_in_every_state_of_a_session() {
    // Waiting for either side.
    let server = Server::new();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().start();
    let _peer = server.accept();
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);

    // The peer does not read, and what we read from stdin is stuck.
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin(noise(30_000_000)).start();
    let _peer = server.accept();
    eventually("it to be stuck", || remote_is_asleep(remote.id()).then_some(()));
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);

    // Stdout is not read.
    let (_reader, output) = pipe();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin_open().stdout_to(output).start();
    let mut peer = server.accept();
    peer.write_all(&noise(200_000)).unwrap();
    eventually("it to be stuck", || remote_is_asleep(remote.id()).then_some(()));
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);

    // Both have ended but for the last bytes.
    let remote = Remote::new(["-l"]).stdin_open().start();
    remote.port();
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let server = Server::new();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin(noise(30_000_000)).start();
    let _peer = server.accept();
    eventually("it to be stuck", || remote_is_asleep(remote.id()).then_some(()));
    remote.signal(Signal::INT);
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);
}

/// Whether the process sleeps in the kernel, waiting (proc_pid_stat(5)), and has for a moment.
fn remote_is_asleep(id: u32) -> bool {
    let wakes = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let asleep = status.lines().any(|line| line.starts_with("State:\tS"));
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:\t"));
        asleep.then(|| count.unwrap().to_owned())
    };
    let before = wakes();
    std::thread::park_timeout(std::time::Duration::from_millis(100));
    before.is_some() && before == wakes()
}

#[test]
fn a_second_ctrl_c_leaves_the_terminal_in_order() {
    let terminal = Terminal::new();
    let (_reader, output) = pipe();
    let remote = terminal.remote(&["-lkv"]).stdout_to(output).start();
    let said = terminal.shows("\n");
    let port = said.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let mut peer = client(port);
    // It gets stuck with this, and so uses the time that it has after the first ctrl-C.
    let _ = peer.set_nonblocking(true);
    let bytes = noise(1 << 20);
    eventually("the way to stdout to be full", || peer.write(&bytes).is_err().then_some(()));
    eventually("the terminal to be taken", || terminal.is_taken().then_some(()));
    terminal.type_in(b"\x03");
    eventually("the terminal to be given back", || (!terminal.is_taken()).then_some(()));
    terminal.type_in(b"\x03");
    assert_eq!(remote.wait().code, 130);
    assert!(!terminal.is_taken());
}

#[test]
fn a_stderr_that_takes_nothing_changes_nothing() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(Remote::new(["--bogus"]).stderr_to(full()).run().code, 2);
    let dir = Dir::new();
    let path = dir.file("f", &noise(200_000));
    let server = Server::new();
    let args = ["--progress", "--rate", "150k", "-s", path.to_str().unwrap(), "127.0.0.1", &server.port()];
    let remote = Remote::new(args).stderr_to(full()).start();
    let mut peer = server.accept();
    assert_eq!(read_all(&mut peer).len(), 200_000);
    drop(peer);
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn one_socket_for_both_streams_gets_our_end() {
    // As inetd starts it: the peer answers only after the end of file.
    let server = Server::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let both = OwnedFd::from(theirs);
    let remote = Remote::new(["--half-open", "127.0.0.1", &server.port()])
        .stdin_from(both.try_clone().unwrap())
        .stdout_to(both)
        .start();
    let mut peer = server.accept();
    peer.write_all(b"question").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut &ours), b"question");
    (&ours).write_all(b"answer").unwrap();
    drop(ours);
    assert_eq!(read_all(&mut peer), b"answer");
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn a_stopped_terminal_does_not_stop_a_transfer() {
    let dir = Dir::new();
    let path = dir.file("f", &noise(1_500_000));
    let server = Server::new();
    let (controller, user) = crate::bench::unread_terminal();
    // The screen takes no more: not one byte that we want to show.
    rustix::fs::fcntl_setfl(&user, OFlags::NONBLOCK).unwrap();
    let mut screen = File::from(user.try_clone().unwrap());
    while screen.write(b"full ").is_ok() {}
    rustix::fs::fcntl_setfl(&user, OFlags::empty()).unwrap();
    let args = ["--rate", "1M", "-s", path.to_str().unwrap(), "127.0.0.1", &server.port()];
    let remote = Remote::new(args).stderr_to(user).start();
    let mut peer = server.accept();
    assert_eq!(read_all(&mut peer).len(), 1_500_000);
    drop(peer);
    assert_eq!(remote.wait().code, 0);
    drop(controller);
}

#[test]
fn a_reader_that_leaves_a_socket_is_head_too() {
    let server = Server::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdout_to(OwnedFd::from(theirs)).start();
    let mut peer = server.accept();
    peer.write_all(&noise(5000)).unwrap();
    (&ours).read_exact(&mut [0; 100]).unwrap();
    drop(ours);
    // Output without a reader is dropped.
    let _ = peer.write_all(&noise(100_000));
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn a_nonblocking_pipe_of_another_user() {
    if !rustix::process::getuid().is_root() || !has("setpriv") {
        println!("skipped: only root can change the user");
        return;
    }
    let bytes = noise(300_000);
    let server = Server::new();
    let ((read, mut write), (mut out, theirs)) = (pipe(), pipe());
    for end in [&read, &theirs] {
        rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK).unwrap();
    }
    // Without permission to open it again, the pipe is used as it is.
    let other = ["setpriv", "--reuid=65534", "--clear-groups"];
    let remote =
        Remote::through(&other, ["127.0.0.1", &server.port()]).stdin_from(read).stdout_to(theirs).start();
    let mut peer = server.accept();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || write.write_all(&sent).unwrap());
    let mut received = vec![0; bytes.len()];
    peer.read_exact(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == bytes);
    peer.write_all(&bytes).unwrap();
    drop(peer);
    assert!(read_all(&mut out) == bytes);
    remote.wait().expect_quiet_success();
}
