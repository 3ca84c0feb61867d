//! -e and -c: programs on connections.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, UdpSocket},
    path::Path,
    time::Duration,
};

use rustix::process::Signal;

use crate::bench::{Dir, Remote, Running, Server, client, eventually, on_linux, read_all, reset, run};

/// A listener on loopback that runs programs.
fn listener(flags: &[&str]) -> Running {
    let listener = Remote::new(["-lv", "127.0.0.1", "0"].iter().chain(flags)).start();
    listener.said("Listening on");
    listener
}

/// Returns the output of a program for a client that sends this and half-closes.
fn ask(port: u16, text: &str) -> String {
    let mut stream = client(port);
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    String::from_utf8(read_all(&mut stream)).unwrap()
}

/// Reads a line from a program.
fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a line comes");
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap().trim().to_owned()
}

fn is_alive(id: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(id).join("stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

fn dies(id: &str) {
    eventually(&format!("{id} to end"), || (!is_alive(id)).then_some(()));
}

#[test]
fn a_peer_is_closed_before_a_program_that_goes_on() {
    let ways: [&[&str]; 2] = [&["--json"], &["--lines"]];
    for flags in ways {
        let (dir, server) = (Dir::new(), Server::new());
        let fifo = dir.join("fifo");
        run("mkfifo", &[fifo.to_str().unwrap()]).unwrap();
        // fifo(7): opening for both waits for no other side.
        let mut gate = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let program = format!("cat >&2; exec >&- <&-; read line <{}; exit 5", fifo.display());
        let remote = Remote::new([flags, &["-c", &program, "127.0.0.1", &server.port()]].concat()).start();
        let mut peer = server.accept();
        peer.write_all(b"all").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut peer), b"");
        // The program has closed its end. The kernel refuses what arrives for a socket that is closed.
        let mut late = socket2::Socket::from(peer);
        eventually("the peer's socket to be reset", || match late.write(b"x") {
            Ok(_) => late.take_error().unwrap(),
            Err(error) => Some(error),
        });
        drop(late);
        // It has not been told of a hang-up.
        gate.write_all(b"go on\n").unwrap();
        let ended = remote.wait();
        assert!(ended.code == 5 && ended.stderr.starts_with("all"), "{ended:?}");
    }
}

#[test]
fn a_shell_for_each_client() {
    let dir = Dir::new();
    dir.file("there", b"");
    let out = dir.join("out");
    let listener = listener(&["-k", "-c", "sh"]);
    let port = listener.port();
    // The exercise: a client sends a command and leaves.
    let mut stream = client(port);
    write!(stream, "ls {} > {}; echo done >> {1}", dir.path().display(), out.display()).unwrap();
    drop(stream);
    eventually("the command", || fs::read_to_string(&out).ok().filter(|text| text.ends_with("done\n")));
    assert_eq!(dir.read("out"), b"out\nthere\ndone\n");
    // All at once.
    let mut clients: Vec<_> = (0..20).map(|_| client(port)).collect();
    for (n, stream) in clients.iter_mut().enumerate().rev() {
        writeln!(stream, "echo {n}").unwrap();
        assert_eq!(line(stream), n.to_string());
    }
    drop(clients);
    // No process is left, not even as a zombie.
    let children = format!("/proc/{}/task/{0}/children", listener.id());
    eventually("all to end", || {
        fs::read_to_string(&children).is_ok_and(|list| list.is_empty()).then_some(())
    });
}

#[test]
fn only_so_many_at_once() {
    let listener = listener(&["-k", "-m", "1", "-c", "sh"]);
    let (mut one, mut two) = (client(listener.port()), client(listener.port()));
    two.write_all(b"echo two\n").unwrap();
    one.write_all(b"echo one\n").unwrap();
    assert_eq!(line(&mut one), "one");
    drop(one);
    assert_eq!(line(&mut two), "two");
}

#[test]
fn the_environment_has_the_addresses() {
    let command = "echo $REMOTE_ADDR $REMOTE_PORT $LOCAL_ADDR $LOCAL_PORT $PROTO $REMOTE_PROXY_PASSWORD";
    for (at, host) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        let prefix = ["env", "REMOTE_PROXY_PASSWORD=secret"];
        let listener = Remote::through(&prefix, ["-l", at, "0", "-c", command]).start();
        let port = listener.port();
        let mut stream = std::net::TcpStream::connect((host, port)).unwrap();
        let own = stream.local_addr().unwrap().port();
        assert_eq!(line(&mut stream), format!("{host} {own} {host} {port} TCP"));
    }
    let dir = Dir::new();
    let path = dir.join("socket");
    let listener = Remote::new(["-lvU", path.to_str().unwrap(), "-c", command]).start();
    listener.said("Listening on");
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert!(line(&mut stream).ends_with(" UNIX"));
    // Connecting, too.
    let server = Server::new();
    let remote = Remote::new(["127.0.0.1", &server.port(), "-c", command]).start();
    let mut stream = server.accept();
    let own = stream.peer_addr().unwrap().port();
    assert_eq!(line(&mut stream), format!("127.0.0.1 {} 127.0.0.1 {own} TCP", server.port()));
    remote.wait().expect_quiet_success();
}

#[test]
fn a_program_gets_the_bare_socket_if_no_byte_has_to_be_seen() {
    if !on_linux("/proc/net") {
        return;
    }
    let look = "grep -c $(readlink /proc/self/fd/0 | tr -dc 0-9) /proc/net/tcp";
    let table: [(&[&str], &str); 6] = [
        (&[], "1"),
        (&["-k"], "1"),
        (&["-C"], "0"),
        (&["-w", "20"], "0"),
        (&["--rate", "1M"], "0"),
        (&["--json"], "0"),
    ];
    for (flags, count) in table {
        let listener = listener(&[&["-c", look][..], flags].concat());
        assert_eq!(ask(listener.port(), "").trim(), count, "{flags:?}");
    }
    // Nothing of ours is inherited, and no signal ignored that others do not ignore.
    let look = "ls /proc/self/fd; grep SigIgn /proc/self/status";
    let without = crate::bench::run("sh", &["-c", look]).unwrap();
    for flags in [&[][..], &["--rate", "1M"]] {
        let listener = listener(&[&["-c", look][..], flags].concat());
        assert_eq!(ask(listener.port(), ""), without, "{flags:?}");
    }
}

#[test]
fn a_conversation_passes_in_both_directions() {
    // On the socket itself, and through the pump.
    for flags in [&[][..], &["-C"], &["--json"], &["--digest"]] {
        let listener = listener(&[&["-e", "tr a-z A-Z"][..], flags].concat());
        assert_eq!(ask(listener.port(), "hello"), "HELLO", "{flags:?}");
        assert_eq!(listener.wait().code, 0, "{flags:?}");
    }
    let encrypted = Remote::new(["-l", "--tls", "127.0.0.1", "0", "-e", "tr a-z A-Z"]).start();
    let said = encrypted.said("on the other side run: remote ");
    let args = said.split("run: remote ").nth(1).unwrap().lines().next().unwrap().split(' ');
    let ended = Remote::new(args).stdin("hello").run().expect_quiet_success();
    assert_eq!(ended.stdout, b"HELLO");
    assert_eq!(encrypted.wait().code, 0);
    // The output of a program arrives, although it has not read all of its input.
    for flags in [&[][..], &["--json"]] {
        let listener =
            listener(&[&["-c", "head -c 1; head -c 300000 /dev/zero | tr '\\0' x"][..], flags].concat());
        let text = ask(listener.port(), "a");
        assert_eq!(text.len(), 300_001, "{flags:?}");
    }
}

#[test]
fn its_status_is_ours_when_we_have_connected() {
    for (command, status) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("exit 255", 255)] {
        for flags in [&[][..], &["--rate", "1M"]] {
            let server = Server::new();
            let port = server.port();
            let args = ["127.0.0.1", &port, "-c", command].into_iter().chain(flags.iter().copied());
            let remote = Remote::new(args).start();
            read_all(&mut server.accept());
            remote.wait().expect(status, "");
        }
    }
    let listener = listener(&["-c", "exit 7"]);
    drop(client(listener.port()));
    assert_eq!(listener.wait().code, 0, "a listener has done what it was asked for");
}

#[test]
fn a_client_that_goes_away_takes_its_program_with_it() {
    // With its children; on the socket itself, and through the pump.
    for flags in [&[][..], &["-C"]] {
        let command = "sleep 1000 & echo $! $$; wait";
        let listener = listener(&[&["-k", "-c", command][..], flags].concat());
        let mut stream = client(listener.port());
        let ids = line(&mut stream);
        let ids: Vec<&str> = ids.split(' ').collect();
        assert!(ids.iter().all(|id| is_alive(id)), "{ids:?}");
        reset(stream);
        for id in ids {
            dies(id);
        }
    }
}

#[test]
fn a_program_that_does_not_listen_is_made_to_end() {
    let listener = listener(&["-k", "-c", "trap '' HUP; echo $$; while :; do sleep 1; done"]);
    let mut stream = client(listener.port());
    let id = line(&mut stream);
    reset(stream);
    dies(&id);
}

#[test]
fn or_it_may_stay() {
    let mut listener = listener(&["-k", "--keep-children", "-c", "echo $$; sleep 1000; :"]);
    let mut stream = client(listener.port());
    let id = line(&mut stream);
    reset(stream);
    let mut other = client(listener.port());
    let other = line(&mut other);
    assert!(other != id && is_alive(&id));
    listener.signal(Signal::TERM);
    eventually("the listener to end", || (!listener.is_running()).then_some(()));
    for id in [id, other] {
        assert!(is_alive(&id));
        let pid = rustix::process::Pid::from_raw(id.parse().unwrap()).unwrap();
        rustix::process::kill_process_group(pid, Signal::KILL).unwrap();
    }
    assert_eq!(listener.wait().code, 143);
}

#[test]
fn a_signal_ends_the_programs_too() {
    for flags in [&["-k"][..], &[], &["-C"]] {
        let listener = listener(&[&["-c", "echo $$; sleep 1000; :"][..], flags].concat());
        let mut stream = client(listener.port());
        let id = line(&mut stream);
        listener.signal(Signal::INT);
        assert_eq!(listener.wait().code, 130, "{flags:?}");
        dies(&id);
    }
}

#[test]
fn stderr_of_a_program_is_ours() {
    let listener = listener(&["-c", "echo to us >&2; echo to the client"]);
    assert_eq!(ask(listener.port(), ""), "to the client\n");
    listener.said("to us");
}

#[test]
fn a_datagram_is_answered() {
    for flags in [&["-uk"][..], &["-u"]] {
        let listener = listener(&[flags, &["-c", "tr a-z A-Z; echo $PROTO"]].concat());
        let rounds = if flags == ["-uk"] { 5 } else { 1 };
        for n in 0..rounds {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.connect(("127.0.0.1", listener.port())).unwrap();
            socket.send(format!("hello {n} ").as_bytes()).unwrap();
            let (mut answer, mut room) = (String::new(), [0; 1000]);
            while !answer.ends_with("UDP\n") {
                let n = socket.recv(&mut room).expect("an answer comes");
                answer += std::str::from_utf8(&room[..n]).unwrap();
            }
            assert_eq!(answer, format!("HELLO {n} UDP\n"));
        }
    }
}

#[test]
fn programs_are_not_for_everybody() {
    let sentence = "to run programs for others than this machine, say for whom";
    for args in [
        &["-l", "0"][..],
        &["-lk", "0.0.0.0", "0"],
        &["-l", "--deny", "10.0.0.1", "0"],
        &["-l", "--tls", "0"],
    ] {
        let ended = Remote::new(args.iter().chain(&["-c", "sh"])).run();
        ended.expect_failure(2, &[sentence]);
    }
    for args in [
        &["-lv", "--allow", "any", "0"][..],
        &["-lv", "localhost", "0"],
        &["-lv", "--allow", "127.0.0.0/8", "0"],
    ] {
        let listener = Remote::new(args.iter().chain(&["-c", "echo hello"])).start();
        listener.said("Listening on");
        assert_eq!(ask(listener.port(), ""), "hello\n", "{args:?}");
    }
}

#[test]
fn programs_that_make_no_sense() {
    let table: [(&[&str], i32, &str); 12] = [
        (&["-l", "-e", "no-such-program"], 1, "run no-such-program: there is no such program"),
        (&["-l", "-e", "/no/such"], 1, "run /no/such: there is no such program"),
        (&["-l", "-e", ""], 2, "-e needs a program"),
        (&["-l", "-e", "'cat"], 2, "-e ''cat': a quote is not closed"),
        (&["-l", "-e", "cat", "-c", "cat"], 2, "-e and -c exclude each other"),
        (
            &["-l", "-c", "cat", "-s", "f"],
            2,
            "a program takes the place of stdin and stdout: leave out -s and -r",
        ),
        (&["-l", "-c", "cat", "-r"], 2, "a program takes the place of stdin and stdout: leave out -s and -r"),
        (&["-l", "-c", "cat", "--recv-only"], 2, "leave out --recv-only"),
        (&["host", "-z", "-c", "cat"], 2, "-z sends nothing: leave out -e and -c"),
        (&["-lu", "-c", "cat", "-W", "3"], 2, "a program serves one datagram: leave out -W"),
        (&["-l", "--keep-children"], 2, "--keep-children needs -e or -c"),
        (&["-luU", "path", "-c", "cat"], 2, "-e and -c need clients, which UNIX datagrams do not have"),
    ];
    for (args, code, why) in table {
        let port: &[&str] = if args[0].contains('U') { &[] } else { &["-p", "1"] };
        Remote::new([args, port].concat()).run().expect_failure(code, &[why]);
    }
    // One that can be found and not run.
    let dir = Dir::new();
    let file = dir.file("text", b"no program");
    let listener = listener(&["-k", "-e", file.to_str().unwrap()]);
    // The failure must not look like an empty output.
    assert!(client(listener.port()).read(&mut [0; 1]).is_err());
    listener.said("permission denied");
}

#[test]
fn unread_input_of_a_program_does_not_reset_its_output() {
    let answer = 2_000_000;
    let command = format!("read l; head -c {answer} /dev/zero | tr '\\0' x");
    for flags in [&["-k"][..], &["-k", "--json"], &["-k", "-C"]] {
        let listener = listener(&[&["-c", &command][..], flags].concat());
        let mut stream = client(listener.port());
        // More than it reads, and more still while it answers.
        stream.write_all(b"GET / HTTP/1.0\r\nHost: example.org\r\nAccept: everything\r\n\r\n").unwrap();
        let (mut received, mut room) = (0, vec![0; 1 << 16]);
        loop {
            match stream.read(&mut room) {
                Ok(0) => break,
                Ok(n) => received += n,
                Err(error) => panic!("{flags:?}: {error} after {received}"),
            }
            if received < answer / 2 {
                stream.write_all(b"and more").unwrap();
            }
        }
        assert_eq!(received, answer, "{flags:?}");
    }
    // Connecting, too.
    for flags in [&[][..], &["--json", "-Q"]] {
        let server = Server::new();
        let port = server.port();
        let args = ["127.0.0.1", &port, "-c", "read x; exit 3"].into_iter().chain(flags.iter().copied());
        let remote = Remote::new(args).start();
        let mut stream = server.accept();
        stream.write_all(b"one line\nand another one\n").unwrap();
        assert_eq!(read_all(&mut stream), b"");
        drop(stream);
        assert_eq!(remote.wait().code, 3, "{flags:?}");
    }
}

#[test]
fn orphans_of_a_program_end_with_the_client() {
    // The program ends and its child does not, or it ignores SIGHUP.
    for (command, flags) in [
        ("sleep 1000 & echo $!", &["-k", "-C"][..]),
        ("(trap '' HUP; sleep 1000) & sleep 0.1; echo $!; wait", &["-k"]),
    ] {
        let listener = listener(&[&["-c", command][..], flags].concat());
        let mut stream = client(listener.port());
        let id = line(&mut stream);
        assert!(is_alive(&id));
        reset(stream);
        dies(&id);
    }
}

#[test]
fn a_second_signal_waits_for_no_program() {
    let dir = Dir::new();
    for flags in [&["-k"][..], &[], &["-C"]] {
        let signalled = dir.join("signalled");
        let command = format!("trap ': > {}' HUP; echo $$; while :; do sleep 1; done", signalled.display());
        let listener = listener(&[&["-c", &command][..], flags].concat());
        let mut stream = client(listener.port());
        let id = line(&mut stream);
        listener.signal(Signal::TERM);
        eventually("the program to get the signal", || signalled.exists().then_some(()));
        fs::remove_file(&signalled).unwrap();
        listener.signal(Signal::INT);
        let code = listener.wait().code;
        assert!(code == 130 || code == 143, "{flags:?} {code}");
        dies(&id);
    }
}

#[test]
fn an_empty_datagram_is_an_end_and_others_wait_their_turn() {
    let listener = listener(&["-uk", "-c", "cat > /dev/null; echo done"]);
    let ask = |texts: &[&str], answers: usize| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.connect(("127.0.0.1", listener.port())).unwrap();
        for text in texts {
            socket.send(text.as_bytes()).unwrap();
        }
        for _ in 0..answers {
            let n = socket.recv(&mut [0; 100]).expect("an answer comes");
            assert_eq!(n, 5);
        }
    };
    ask(&[""], 1);
    ask(&["one", "two", "three", "four"], 4);
    // No process is left.
    let children = format!("/proc/{}/task/{0}/children", listener.id());
    eventually("all to end", || {
        fs::read_to_string(&children).is_ok_and(|list| list.is_empty()).then_some(())
    });
}

#[test]
fn out_of_descriptors_clients_wait() {
    for more in [&[][..], &["--json"]] {
        let args = ["-lvk", "127.0.0.1", "0", "-c", "cat"];
        let listener = Remote::new(args.iter().chain(more)).with_descriptors(40).start();
        let clients: Vec<_> = (0..30).map(|_| client(listener.port())).collect();
        // A program takes several descriptors: after each pause, there must be room for more than its client.
        eventually("the second pause to be over", || {
            (listener.said("; waiting").matches("; waiting").count() > 2).then_some(())
        });

        for (n, mut stream) in clients.into_iter().enumerate() {
            writeln!(stream, "{n}").unwrap();
            assert_eq!(line(&mut stream), n.to_string());
        }
        assert!(!listener.said("").contains("serve "), "a client was turned away");
    }
}

#[test]
fn a_child_that_outlives_the_program_keeps_the_connection() {
    let listener = listener(&["-k", "-c", "exec 3<&0; (sleep 0.3; head -1 <&3) &"]);
    let mut stream = client(listener.port());
    // It is unread when the program ends.
    stream.write_all(b"hello\n").unwrap();
    assert_eq!(line(&mut stream), "hello");
}

#[test]
fn signals_are_passed_on_with_and_without_a_pump() {
    let dir = Dir::new();
    for stays in [true, false] {
        let signalled = dir.join("signalled");
        let command = format!("trap ': > {}' HUP; echo $$; while :; do sleep 1; done", signalled.display());
        let flags: &[&str] = if stays { &["--keep-children"] } else { &[] };
        let mut listener = listener(&[&["--rate", "1M", "-c", &command], flags].concat());
        let mut stream = client(listener.port());
        let id = line(&mut stream);
        listener.signal(Signal::TERM);
        if !stays {
            eventually("the program to get the signal", || signalled.exists().then_some(()));
            listener.signal(Signal::TERM);
        }
        eventually("the listener to end", || (!listener.is_running()).then_some(()));
        assert_eq!((is_alive(&id), signalled.exists()), (stays, !stays));
        if stays {
            let pid = rustix::process::Pid::from_raw(id.parse().unwrap()).unwrap();
            rustix::process::kill_process_group(pid, Signal::KILL).unwrap();
        }
    }
}
