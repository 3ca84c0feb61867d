//! Listening: addresses, one client or many, and what many do to each other.

use std::{
    io::{Read, Write},
    net::{IpAddr, Shutdown, TcpStream},
    path::Path,
};

use rustix::process::Signal;

use crate::bench::{Dir, Hosts, Remote, Running, client, eventually, limited, noise, pipe, read_all};

#[test]
fn every_form_of_the_port() {
    let forms: [&[&str]; 6] = [
        &["-lv"],
        &["-lvp", "0"],
        &["-l", "-v", "0"],
        &["-lv", "127.0.0.1"],
        &["-lv", "127.0.0.1:0"],
        &["-lv", "-a", "127.0.0.1", "-p", "0"],
    ];
    for args in forms {
        let remote = Remote::new(args).start();
        client(remote.port()).write_all(b"hello").unwrap();
        let ended = remote.wait();
        assert_eq!((ended.code, &ended.stdout[..]), (0, &b"hello"[..]), "{args:?}");
    }
}

#[test]
fn nc_bundles_work() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = port.to_string();
    for args in [vec!["-lvnp", &text], vec!["-nvlp", &text], vec!["-lv", &text]] {
        let remote = Remote::new(&args).start();
        assert_eq!(remote.port(), port, "{args:?}");
        drop(client(port));
        assert_eq!(remote.wait().code, 0, "{args:?}");
    }
}

#[test]
fn a_random_port_is_announced_without_v() {
    let remote = Remote::new(["-l"]).start();
    drop(client(remote.port()));
    remote.wait();
}

#[test]
fn a_name_is_listened_at_with_all_its_addresses() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.b.name_hosts("fd09::2 both\n10.9.0.2 both\n");
    for address in ["10.9.0.2", "fd09::2"] {
        let remote = hosts.b.remote(["-lv", "both"]).start();
        remote.said("Listening on 10.9.0.2 ");
        remote.said("Listening on fd09::2 ");
        // A random port is the same for all.
        let to = (address.parse::<IpAddr>().unwrap(), remote.port()).into();
        hosts.a.connect(to).write_all(b"hello").unwrap();
        assert_eq!(remote.wait().stdout, b"hello", "{address}");
    }
}

#[test]
fn six_alone_refuses_four() {
    let remote = Remote::new(["-6lv"]).start();
    let port = remote.port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    drop(TcpStream::connect(("::1", port)).unwrap());
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn no_second_client_is_accepted() {
    let remote = Remote::new(["-lv"]).start();
    let port = remote.port();
    let mut first = client(port);
    first.write_all(b"x").unwrap();
    remote.printed(1);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the listening socket is still open");
    drop(first);
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn many_clients_share_stdin_and_stdout() {
    let mut remote = Remote::new(["-lk"]).stdin_open().start();
    let port = remote.port();
    let mut clients: Vec<_> = (0..5).map(|_| client(port)).collect();
    for (number, peer) in clients.iter_mut().enumerate() {
        peer.write_all(format!("client {number}\n").as_bytes()).unwrap();
    }
    let printed = String::from_utf8(remote.printed(5 * 9)).unwrap();
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["client 0", "client 1", "client 2", "client 3", "client 4"]);
    remote.type_in(b"to all");
    for peer in &mut clients {
        let mut heard = [0; 6];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"to all");
    }
    // One leaves, by a reset even: the others stay.
    crate::bench::reset(clients.remove(0));
    remote.said("connection reset by peer");
    remote.type_in(b"again");
    for peer in &mut clients {
        peer.read_exact(&mut [0; 5]).unwrap();
    }
    // The end of stdin is passed on to all clients, later ones too.
    remote.close_stdin();
    for peer in &mut clients {
        assert_eq!(read_all(peer), b"");
    }
    let mut late = client(port);
    assert_eq!(read_all(&mut late), b"");
    late.write_all(b"late").unwrap();
    remote.printed(5 * 9 + 4);
    remote.signal(Signal::TERM);
    assert_eq!(remote.wait().code, 143);
}

#[test]
fn stdin_is_not_read_without_clients() {
    let (input, mut writer) = pipe();
    let remote = Remote::new(["-lk"]).stdin_from(input).start();
    let port = remote.port();
    writer.write_all(b"kept for the first").unwrap();
    let mut first = client(port);
    let mut heard = [0; 18];
    first.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"kept for the first");
    drop(first);
}

#[test]
fn lines_are_not_mixed() {
    let remote = Remote::new(["-lk", "--lines"]).start();
    let port = remote.port();
    let (mut one, mut two) = (client(port), client(port));
    one.write_all(b"one begins, ").unwrap();
    two.write_all(b"two speaks\n").unwrap();
    assert_eq!(remote.printed(11), b"two speaks\n");
    one.write_all(b"one ends\n").unwrap();
    assert_eq!(remote.printed(32), b"two speaks\none begins, one ends\n");
    // A last line without its end is not lost.
    one.write_all(b"tail").unwrap();
    drop(one);
    assert!(remote.printed(36).ends_with(b"tail"));
}

#[test]
fn a_client_that_falls_behind_is_disconnected_and_the_others_are_not() {
    let bytes = noise(30_000_000);
    let remote = Remote::new(["-lk"]).stdin_open().start();
    let port = remote.port();
    let mut remote = remote;
    let (mut quick, slow) = (client(port), client(port));
    remote.said("Listening");
    // Both are known before stdin brings anything.
    eventually("both to be accepted", || (remote.descriptors() >= 2 + 6).then_some(()));
    let mut stdin = remote.stdin.take().unwrap();
    let sent = bytes.clone();
    std::thread::spawn(move || stdin.write_all(&sent));
    assert!(read_all(&mut quick) == bytes);
    let mut slow = slow;
    remote.said(&format!("127.0.0.1 port {} fell too far behind", slow.local_addr().unwrap().port()));
    // A partial stream must not look complete.
    let error = slow.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn at_most_so_many_at_once() {
    for flags in [&["-lk", "-m", "1"][..], &["-lk", "--one-by-one"]] {
        let remote = Remote::new(flags).start();
        let port = remote.port();
        let (mut one, mut two) = (client(port), client(port));
        two.write_all(b"second").unwrap();
        one.write_all(b"first ").unwrap();
        assert_eq!(remote.printed(6), b"first ", "{flags:?}");
        drop(one);
        assert_eq!(remote.printed(12), b"first second", "{flags:?}");
    }
}

#[test]
fn without_descriptors_it_waits_and_does_not_spin() {
    let remote = Remote::new(["-lk"]).with_descriptors(20).start();
    let port = remote.port();
    let mut clients: Vec<_> = (0..30).map(|_| client(port)).collect();
    for peer in &mut clients {
        peer.write_all(b"x").unwrap();
    }
    let served = eventually("the descriptors to run out", || {
        let all = remote.printed(1).len();
        (remote.descriptors() >= 20).then_some(all)
    });
    assert!(served < 30);
    let ticks = remote.ticks();
    clients[29].set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    let _ = clients[29].read(&mut [0]);
    assert!(remote.ticks() - ticks < 20, "it spins");
    // As places become free, every client is served.
    drop(clients);
    assert_eq!(remote.printed(30), [b'x'; 30]);
}

/// Starts it with this many descriptors more than it needs to listen.
fn with_descriptors_to_spare(flags: &[&str], spare: usize) -> Running {
    let listening = Remote::new(flags).start();
    listening.port();
    // The limit is one of numbers, and a number may be taken by a descriptor of the test runner.
    let is_free = |fd: &u32| !Path::new(&format!("/proc/{}/fd/{fd}", listening.id())).exists();
    let limit = (0..).filter(is_free).nth(spare).unwrap();
    Remote::new(flags).with_descriptors(limit).start()
}

#[test]
fn without_a_descriptor_for_its_only_client_it_fails() {
    // accept(2) on Linux takes the descriptor before it looks for a client.
    let ended = with_descriptors_to_spare(&["-l"], 0).wait();
    let why = "remote: accept a client: too many open files\n";
    assert!(ended.code == 1 && ended.stderr.ends_with(why), "{ended:?}");
}

#[test]
fn without_descriptors_it_waits_for_handshakes() {
    let mut remote = with_descriptors_to_spare(&["-lv", "--tls"], 1);
    let port = remote.port();
    let silent = client(port);
    remote.said("Connection received on");
    let _waiting = client(port);
    assert!(remote.is_running());
    drop(silent);
    eventually("the second client to be accepted", || {
        (remote.said("").matches("Connection received on").count() == 2).then_some(())
    });
}

#[test]
fn each_client_gets_the_file_from_its_start() {
    let dir = Dir::new();
    let bytes = noise(300_000);
    let path = dir.file("f", &bytes);
    let remote = Remote::new(["-lk", "-s", path.to_str().unwrap()]).start();
    let port = remote.port();
    let mut clients: Vec<_> = (0..4).map(|_| client(port)).collect();
    for peer in &mut clients {
        assert!(read_all(peer) == bytes);
    }
}

#[test]
fn each_client_has_a_file_of_its_own() {
    let dir = Dir::new();
    let path = dir.join("in");
    let remote = Remote::new(["-lk", "-r", path.to_str().unwrap(), "-p", "0"]).start();
    let port = remote.port();
    let (mut one, mut two) = (client(port), client(port));
    one.write_all(b"one").unwrap();
    two.write_all(b"two").unwrap();
    drop(one);
    eventually("the first to be kept", || (dir.names().iter().any(|name| name == "in")).then_some(()));
    drop(two);
    eventually("both to be kept", || (dir.names() == ["in", "in_1"]).then_some(()));
    let mut contents = [dir.read("in"), dir.read("in_1")];
    contents.sort();
    assert_eq!(contents, [b"one", b"two"]);
}

#[test]
fn one_clients_stall_is_not_anothers() {
    let remote = Remote::new(["-lk"]).stdin_open().start();
    let port = remote.port();
    let _silent = client(port);
    let mut talker = client(port);
    let talk = std::thread::spawn(move || {
        talker.write_all(&vec![b'x'; 3_000_000]).unwrap();
        talker.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(remote.printed(3_000_000).len(), 3_000_000);
    talk.join().unwrap();
}

#[test]
fn it_ends_when_stdout_is_closed() {
    let (reader, output) = pipe();
    let remote = Remote::new(["-lk"]).stdout_to(output).start();
    let mut peer = client(remote.port());
    drop(reader);
    // It may end before it has read this.
    let _ = peer.write_all(b"hello");
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn many_come_and_go() {
    let remote = Remote::new(["-lkv"]).start();
    let port = remote.port();
    client(port).write_all(b"x").unwrap();
    remote.printed(1);
    // The summary of a session follows the end of its client.
    remote.said("0 bytes sent, 1 bytes received");
    let before = remote.descriptors();
    for _ in 0..200 {
        let mut peer = limited(TcpStream::connect(("127.0.0.1", port)).unwrap());
        peer.write_all(b"x").unwrap();
    }
    assert_eq!(remote.printed(201).len(), 201);
    eventually("all to be gone", || (remote.descriptors() <= before).then_some(()));
}

#[test]
fn a_flood_of_one_leaves_room_for_a_line_of_another() {
    let (mut reader, output) = pipe();
    let remote = Remote::new(["-lk"]).stdout_to(output).start();
    let port = remote.port();
    let mut flooding = client(port);
    let flood = std::thread::spawn(move || {
        let bytes = vec![b'.'; 1 << 20];
        while flooding.write_all(&bytes).is_ok() {}
    });
    // Stdout is what is short: it takes a little at a time.
    let mut buf = vec![0; 1 << 16];
    reader.read_exact(&mut buf).unwrap();
    let mut other = client(port);
    other.write_all(b"!").unwrap();
    let mut read = 0;
    while !buf.contains(&b'!') {
        read += reader.read(&mut buf).unwrap();
        assert!(read < 200 << 20, "the other one is not heard");
    }
    drop((remote, reader));
    flood.join().unwrap();
}

#[test]
fn clients_are_drained_when_the_reader_of_a_full_stdout_leaves() {
    let (reader, output) = pipe();
    let remote = Remote::new(["-lk"]).stdin_open().stdout_to(output).start();
    let mut peer = client(remote.port());
    let bytes = noise(1 << 20);
    peer.set_nonblocking(true).unwrap();
    eventually("the way to stdout to be full", || peer.write(&bytes).is_err().then_some(()));
    peer.set_nonblocking(false).unwrap();
    drop(reader);
    for _ in 0..30 {
        peer.write_all(&bytes).unwrap();
    }
}

#[test]
fn a_fifo_without_a_writer_does_not_stop_the_others() {
    let dir = Dir::new();
    let fifo = dir.join("fifo");
    crate::bench::run("mkfifo", &[fifo.to_str().unwrap()]).unwrap();
    let remote = Remote::new(["-lk", "-s", fifo.to_str().unwrap()]).start();
    let port = remote.port();
    for number in 1..=3 {
        client(port).write_all(b"hello").unwrap();
        remote.printed(5 * number);
    }
}
