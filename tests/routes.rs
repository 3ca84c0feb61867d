//! However bytes travel (sendfile, splice, a buffer), everything else is the same.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::Stdio,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Dir, Ended, Remote, Server, client, has, noise, on_linux, pipe, read_all, reset, run};

/// The source of sent bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    /// A file with a digest, so that it must be copied.
    Digested,
    /// Stdin.
    File,
    /// `-s`.
    Named,
    Pipe,
    /// Stdin is a socket that others use too, so it must be copied.
    SharedSocket,
    Socket,
}

impl Source {
    const ALL: [Self; 6] =
        [Self::Digested, Self::File, Self::Named, Self::Pipe, Self::SharedSocket, Self::Socket];
    const FILES: [Self; 3] = [Self::Digested, Self::File, Self::Named];

    /// The program, connecting to `server` and sending `bytes`.
    fn remote(self, dir: &Dir, bytes: &[u8], server: &Server, flags: &[&str]) -> Remote {
        self.start_with(&[], dir, bytes, server, flags)
    }

    fn start_with(self, prefix: &[&str], dir: &Dir, bytes: &[u8], server: &Server, flags: &[&str]) -> Remote {
        let path = dir.file("sent", bytes);
        let port = server.port();
        let mut args: Vec<&str> = flags.to_vec();
        match self {
            Self::Digested => args.extend(["--digest", "-s", path.to_str().unwrap()]),
            Self::Named => args.extend(["-s", path.to_str().unwrap()]),
            Self::File | Self::Pipe | Self::SharedSocket | Self::Socket => {}
        }
        args.extend(["127.0.0.1", &port]);
        let remote = Remote::through(prefix, args);
        match self {
            Self::Digested | Self::Named => remote,
            Self::File => remote.stdin_from(File::open(path).unwrap()),
            Self::Pipe => remote.stdin(bytes),
            Self::SharedSocket | Self::Socket => {
                let (ours, mut others) = UnixStream::pair().unwrap();
                ours.set_nonblocking(self == Self::Socket).unwrap();
                let bytes = bytes.to_vec();
                // A program that ends early does not fail the test here.
                thread::spawn(move || drop(others.write_all(&bytes)));
                remote.stdin_from(OwnedFd::from(ours))
            }
        }
    }
}

/// The destination of received bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sink {
    /// `>>`, which splice refuses.
    Appended,
    /// A file with a digest, so that its bytes must be copied.
    Digested,
    /// `>`.
    File,
    /// `-r`.
    Named,
    Pipe,
    SharedSocket,
    Socket,
}

/// The program, ready to receive, and the place of the received bytes.
struct Receiving {
    remote: Remote,
    found: Found,
}

enum Found {
    InFile(PathBuf),
    InStdout,
    ThroughSocket(JoinHandle<Vec<u8>>),
}

impl Sink {
    const ALL: [Self; 7] = [
        Self::Appended,
        Self::Digested,
        Self::File,
        Self::Named,
        Self::Pipe,
        Self::SharedSocket,
        Self::Socket,
    ];

    /// The program, listening, with a file in `folder` if it needs one.
    fn remote(self, folder: &std::path::Path, flags: &[&str]) -> Receiving {
        self.start_with(&[], folder, flags)
    }

    fn start_with(self, prefix: &[&str], folder: &std::path::Path, flags: &[&str]) -> Receiving {
        let path = folder.join("received");
        let mut args: Vec<&str> = flags.to_vec();
        args.extend(["-lv", "-p", "0"]);
        if self == Self::Digested {
            args.extend(["--digest"]);
        }
        if matches!(self, Self::Digested | Self::Named) {
            args.extend(["-r", path.to_str().unwrap()]);
        }
        let remote = Remote::through(prefix, args);
        let (remote, found) = match self {
            Self::Appended => {
                let file = File::options().append(true).create(true).open(&path).unwrap();
                (remote.stdout_to(file), Found::InFile(path))
            }
            Self::Digested | Self::Named => (remote, Found::InFile(path)),
            Self::File => (remote.stdout_to(File::create(&path).unwrap()), Found::InFile(path)),
            Self::Pipe => (remote, Found::InStdout),
            Self::SharedSocket | Self::Socket => {
                let (ours, mut others) = UnixStream::pair().unwrap();
                ours.set_nonblocking(self == Self::Socket).unwrap();
                let reader = thread::spawn(move || read_all(&mut others));
                (remote.stdout_to(Stdio::from(OwnedFd::from(ours))), Found::ThroughSocket(reader))
            }
        };
        Receiving { remote, found }
    }
}

impl Receiving {
    /// Runs against a peer with `script`. Returns the end of the program, and the received bytes.
    fn run(self, script: impl FnOnce(TcpStream)) -> (Ended, Vec<u8>) {
        let running = self.remote.start();
        script(client(running.port()));
        let ended = running.wait();
        let received = match self.found {
            Found::InFile(path) => {
                let part = path.with_extension("part");
                fs::read(if part.exists() { part } else { path }).unwrap()
            }
            Found::InStdout => ended.stdout.clone(),
            Found::ThroughSocket(reader) => reader.join().unwrap(),
        };
        (ended, received)
    }
}

/// The line of `--json`.
fn object(ended: &Ended) -> serde_json::Value {
    let line = ended.stderr.lines().find(|line| line.starts_with('{')).expect("there is an object");
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_peer_that_reads_late_gets_all_and_can_answer() {
    let bytes = noise(12_000_000);
    for source in Source::ALL {
        let (dir, server) = (Dir::new(), Server::new());
        let remote = source.remote(&dir, &bytes, &server, &["--json"]).start();
        let mut peer = server.accept();
        // Everything is full by then, or nearly.
        remote_is_stuck(&remote);
        assert!(read_all(&mut peer) == bytes, "{source:?}");
        peer.write_all(b"answer").unwrap();
        drop(peer);
        let ended = remote.wait();
        assert_eq!((ended.code, &*ended.stdout), (0, &b"answer"[..]), "{source:?}: {}", ended.stderr);
        let object = object(&ended);
        assert_eq!(object["sent"]["bytes"], bytes.len(), "{source:?}");
        assert_eq!(object["received"]["bytes"], 6, "{source:?}");
        assert_eq!(object["error"], serde_json::Value::Null, "{source:?}");
    }
}

/// Waits until the program uses no CPU time any more.
fn remote_is_stuck(remote: &crate::bench::Running) {
    let (mut last, mut same) = (u64::MAX, 0);
    crate::bench::eventually("it to be stuck", || {
        let switches = remote.switches();
        same = if switches == last { same + 1 } else { 0 };
        last = switches;
        (same > 20).then_some(())
    });
}

#[test]
fn everything_that_comes_arrives() {
    let bytes = noise(12_000_000);
    for sink in Sink::ALL {
        let dir = Dir::new();
        let (ended, received) = sink.remote(dir.path(), &["--json"]).run(|mut peer| {
            for piece in bytes.chunks(77_777) {
                peer.write_all(piece).unwrap();
            }
        });
        assert_eq!(ended.code, 0, "{sink:?}: {}", ended.stderr);
        assert!(received == bytes, "{sink:?}: {} bytes", received.len());
        assert_eq!(object(&ended)["received"]["bytes"], bytes.len(), "{sink:?}");
    }
}

#[test]
fn small_pieces_are_not_delayed() {
    for sink in Sink::ALL {
        let dir = Dir::new();
        let (ended, received) = sink.remote(dir.path(), &["-w", "0.3"]).run(|mut peer| {
            peer.write_all(b"hello").unwrap();
            // It is still there when the program gives up.
            thread::spawn(move || peer.read(&mut [0]));
        });
        assert_eq!(ended.code, 1, "{sink:?}");
        assert!(ended.stderr.contains("nothing moved for 0.3 s (0 bytes sent, 5 received)"), "{ended:?}");
        assert_eq!(received, b"hello", "{sink:?}");
    }
}

#[test]
fn a_peer_that_stalls_is_given_up() {
    let bytes = noise(12_000_000);
    for source in Source::ALL {
        let (dir, server) = (Dir::new(), Server::new());
        socket2::SockRef::from(&server.0).set_recv_buffer_size(1 << 20).unwrap();
        let remote = source.remote(&dir, &bytes, &server, &["-w", "0.3"]).start();
        let _peer = server.accept();
        let ended = remote.wait();
        assert_eq!(ended.code, 1, "{source:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("nothing moved for 0.3 s"), "{source:?}: {}", ended.stderr);
    }
}

#[test]
fn a_rate_is_kept() {
    let bytes = noise(60_000);
    for source in Source::ALL {
        let (dir, server) = (Dir::new(), Server::new());
        let remote = source.remote(&dir, &bytes, &server, &["--json", "--rate", "200k"]).start();
        let mut peer = server.accept();
        assert!(read_all(&mut peer) == bytes, "{source:?}");
        drop(peer);
        let ended = remote.wait();
        assert_eq!(ended.code, 0, "{source:?}: {}", ended.stderr);
        // A tenth of a second's worth may go at once.
        assert!(object(&ended)["seconds"].as_f64().unwrap() > 0.19, "{source:?}: {}", ended.stderr);
    }
}

#[test]
fn a_signal_ends_it() {
    let bytes = noise(12_000_000);
    for source in Source::ALL {
        let (dir, server) = (Dir::new(), Server::new());
        socket2::SockRef::from(&server.0).set_recv_buffer_size(1 << 20).unwrap();
        let remote = source.remote(&dir, &bytes, &server, &["--json"]).start();
        let mut peer = server.accept();
        peer.read_exact(&mut vec![0; 100_000]).unwrap();
        remote.signal(Signal::INT);
        let ended = remote.wait();
        assert_eq!(ended.code, 130, "{source:?}: {}", ended.stderr);
        let sent = object(&ended)["sent"]["bytes"].as_u64().unwrap();
        assert!((100_000..12_000_000).contains(&sent), "{source:?}: {sent}");
    }
    for sink in Sink::ALL {
        let dir = Dir::new();
        let Receiving { remote, found } = sink.remote(dir.path(), &[]);
        let remote = remote.start();
        let mut peer = client(remote.port());
        peer.write_all(&bytes[..1_000_000]).unwrap();
        remote.signal(Signal::TERM);
        assert_eq!(remote.wait().code, 143, "{sink:?}");
        drop(found);
    }
}

#[test]
fn a_reset_is_reported() {
    let bytes = noise(12_000_000);
    for source in Source::ALL {
        let (dir, server) = (Dir::new(), Server::new());
        let remote = source.remote(&dir, &bytes, &server, &[]).start();
        let mut peer = server.accept();
        peer.read_exact(&mut vec![0; 100_000]).unwrap();
        reset(peer);
        let ended = remote.wait();
        assert_eq!(ended.code, 1, "{source:?}: {}", ended.stderr);
        // sendfile(2) reports no error for a call that has sent some bytes.
        let sentences = ["connection reset by peer (", "the peer takes no more ("];
        assert!(
            sentences.iter().any(|sentence| ended.stderr.contains(sentence)),
            "{source:?}: {}",
            ended.stderr
        );
    }
    for sink in Sink::ALL {
        let dir = Dir::new();
        let (ended, received) = sink.remote(dir.path(), &[]).run(|mut peer| {
            peer.write_all(&bytes[..1_000_000]).unwrap();
            reset(peer);
        });
        assert_eq!(ended.code, 1, "{sink:?}");
        let sentence = "receive from 127.0.0.1 port ";
        assert!(
            ended.stderr.contains(sentence) && ended.stderr.contains("connection reset by peer ("),
            "{ended:?}"
        );
        assert!(bytes.starts_with(&received), "{sink:?}");
    }
}

#[test]
fn a_peer_that_ended_first_and_then_resets_has_not_got_the_file() {
    let bytes = noise(12_000_000);
    for source in Source::FILES {
        let (dir, server) = (Dir::new(), Server::new());
        // Between two steps of the rate, all that was sent is acknowledged.
        let remote = source.remote(&dir, &bytes, &server, &["--json", "--rate", "1M"]).start();
        let mut peer = server.accept();
        peer.shutdown(Shutdown::Write).unwrap();
        peer.read_exact(&mut vec![0; 100_000]).unwrap();
        reset(peer);
        let ended = remote.wait();
        assert_eq!(ended.code, 1, "{source:?}: {}", ended.stderr);
        assert_eq!(object(&ended)["end"], "failed", "{source:?}: {}", ended.stderr);
    }
}

#[test]
fn a_slow_reader_is_no_silent_peer() {
    let bytes = noise(12_000_000);
    for (kind, nonblocking) in [("pipe", true), ("socket", true), ("shared socket", false)] {
        let server = Server::new();
        let (mut reader, stdout): (Box<dyn Read>, OwnedFd) = if kind == "pipe" {
            let (reader, writer) = pipe();
            (Box::new(reader), writer.into())
        } else {
            let (ours, others) = UnixStream::pair().unwrap();
            ours.set_nonblocking(nonblocking).unwrap();
            (Box::new(others), ours.into())
        };
        let remote = Remote::new(["-q", "0.2", "127.0.0.1", &server.port()])
            .stdin_from(Stdio::null())
            .stdout_to(stdout)
            .start();
        let peer = server.accept();
        let (mut sender, all) = (peer.try_clone().unwrap(), bytes.clone());
        let sending = thread::spawn(move || sender.write_all(&all).unwrap());
        remote_is_stuck(&remote);
        // Longer than silence may last.
        thread::sleep(Duration::from_millis(300));
        let mut received = vec![0; bytes.len()];
        reader.read_exact(&mut received).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(received == bytes, "{kind}");
        sending.join().unwrap();
        // Now it is the peer that is silent.
        let ended = remote.wait();
        assert_eq!(ended.code, 0, "{kind}: {}", ended.stderr);
        drop(peer);
    }
}

#[test]
fn a_file_that_changes_while_it_is_sent() {
    let (bytes, more) = (noise(24_000_000), b"and more".repeat(100_000));
    for source in Source::FILES {
        for grows in [false, true] {
            let (dir, server) = (Dir::new(), Server::new());
            socket2::SockRef::from(&server.0).set_recv_buffer_size(1 << 20).unwrap();
            let remote = source.remote(&dir, &bytes, &server, &[]).start();
            let mut peer = server.accept();
            remote_is_stuck(&remote);
            let mut file = File::options().append(true).open(dir.join("sent")).unwrap();
            let whole = if grows {
                file.write_all(&more).unwrap();
                [&bytes[..], &more].concat()
            } else {
                file.set_len(20_000_000).unwrap();
                bytes[..20_000_000].to_vec()
            };
            let received = read_all(&mut peer);
            assert!(received == whole, "{source:?}, grows: {grows}: {} bytes", received.len());
            drop(peer);
            assert_eq!(remote.wait().code, 0, "{source:?}, grows: {grows}");
        }
    }
}

#[test]
fn a_disk_that_fills_up() {
    let dir = Dir::new();
    for sink in [Sink::Appended, Sink::Digested, Sink::File, Sink::Named] {
        if let Err(why) =
            run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs", dir.path().to_str().unwrap()])
        {
            return println!("skipped: a small disk cannot be mounted: {why}");
        }
        let (ended, received) = sink.remote(dir.path(), &[]).run(|mut peer| {
            // It ends before all of this is taken.
            drop(peer.write_all(&noise(3_000_000)));
        });
        run("umount", &[dir.path().to_str().unwrap()]).unwrap();
        assert_eq!(ended.code, 1, "{sink:?}");
        let sentence = format!("no space left on device (0 bytes sent, {} received; ", received.len());
        assert!(ended.stderr.contains(&sentence), "{sink:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(" received bytes were not written"), "{sink:?}: {}", ended.stderr);
        assert!(noise(3_000_000).starts_with(&received) && received.len() > 900_000, "{sink:?}");
    }
}

/// Bytes that calls have moved into sockets, files and pipes that are not ours, by strace's log.
fn moved(log: &str, calls: &[&str]) -> usize {
    let of_calls = log.lines().filter(|line| calls.iter().any(|call| line.contains(&format!("{call}("))));
    of_calls.filter_map(|line| line.rsplit("= ").next()?.parse::<usize>().ok()).sum()
}

#[test]
fn the_kernel_moves_bytes_where_it_can() {
    if !has("strace") || !on_linux("sendfile and splice") {
        return;
    }
    let bytes = noise(4_000_000);
    let most = bytes.len() - 200_000;
    for source in Source::ALL {
        let (dir, server) = (Dir::new(), Server::new());
        let log = dir.join("log");
        let strace = ["strace", "-o", log.to_str().unwrap(), "-e", "trace=sendfile,splice,sendto"];
        let remote = source.start_with(&strace, &dir, &bytes, &server, &[]).start();
        let mut peer = server.accept();
        assert!(read_all(&mut peer) == bytes);
        drop(peer);
        assert_eq!(remote.wait().code, 0);
        let log = fs::read_to_string(log).unwrap();
        let [sendfile, splice, copied] =
            [["sendfile"], ["splice"], ["sendto"]].map(|call| moved(&log, &call));
        let ok = match source {
            Source::Digested | Source::SharedSocket => copied == bytes.len(),
            Source::File | Source::Named => sendfile == bytes.len(),
            // Once into our pipe, once out of it.
            Source::Pipe | Source::Socket => splice > 2 * most,
        };
        assert!(ok, "{source:?}: {sendfile} by sendfile, {splice} by splice, {copied} copied");
    }
    // Each of many clients has a file of its own, though they share stdout.
    let dir = Dir::new();
    let (log, path) = (dir.join("log"), dir.file("sent", &bytes));
    let strace = ["strace", "-o", log.to_str().unwrap(), "-e", "trace=sendfile"];
    let remote = Remote::through(&strace, ["-lkv", "-p", "0", "-s", path.to_str().unwrap()]).start();
    assert!(read_all(&mut client(remote.port())) == bytes);
    // strace passes no signal on.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", remote.id())).unwrap();
    let child = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    kill_process(child, Signal::TERM).unwrap();
    remote.wait();
    assert_eq!(moved(&fs::read_to_string(log).unwrap(), &["sendfile"]), bytes.len());
    for sink in Sink::ALL {
        let dir = Dir::new();
        let log = dir.join("log");
        let strace = ["strace", "-o", log.to_str().unwrap(), "-e", "trace=splice,recvfrom"];
        let (ended, received) = sink.start_with(&strace, dir.path(), &[]).run(|mut peer| {
            peer.write_all(&bytes).unwrap();
        });
        assert!(ended.code == 0 && received == bytes, "{sink:?}: {}", ended.stderr);
        let log = fs::read_to_string(log).unwrap();
        let [splice, copied] = [["splice"], ["recvfrom"]].map(|call| moved(&log, &call));
        let ok = match sink {
            Sink::Digested | Sink::SharedSocket => copied == bytes.len() && splice == 0,
            // Bytes in the pipe of a refused splice are not received twice.
            Sink::Appended => copied + splice == bytes.len() && copied > bytes.len() / 2,
            Sink::File | Sink::Named | Sink::Socket => splice > 2 * most,
            Sink::Pipe => splice == bytes.len(),
        };
        assert!(ok, "{sink:?}: {splice} by splice, {copied} copied");
    }
}

#[test]
fn urgent_data_stops_nothing() {
    for sink in Sink::ALL {
        let dir = Dir::new();
        let (ended, received) = sink.remote(dir.path(), &["--recv-only"]).run(|mut peer| {
            peer.write_all(&vec![b'a'; 200_000]).unwrap();
            socket2::SockRef::from(&peer).send_out_of_band(b"!").unwrap();
            peer.write_all(&[b'b'; 1000]).unwrap();
        });
        assert_eq!(ended.code, 0, "{sink:?}: {}", ended.stderr);
        // The urgent byte itself is not in the stream (tcp(7), SO_OOBINLINE).
        let wanted = [&vec![b'a'; 200_000][..], &[b'b'; 1000]].concat();
        assert!(received == wanted, "{sink:?}: {} bytes", received.len());
    }
    let remote = Remote::new(["-lv"]).start();
    let mut peer = client(remote.port());
    peer.write_all(b"abc").unwrap();
    socket2::SockRef::from(&peer).send_out_of_band(b"!").unwrap();
    peer.write_all(b"def").unwrap();
    // And it need not close to be heard.
    assert_eq!(remote.printed(6), b"abcdef");
    peer.write_all(b"ghi").unwrap();
    assert_eq!(remote.printed(9), b"abcdefghi");
}
