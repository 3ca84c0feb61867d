//! The program and other netcats, in both roles. One that is not installed is skipped.

use std::{
    fs::File,
    io::Write,
    net::{TcpListener, UdpSocket},
    thread,
};

use crate::bench::{Dir, Remote, Running, eventually, has, noise};

/// Another netcat, as it is started by a shell: `PORT` stands for the port.
struct Peer {
    program: &'static str,
    connect: &'static str,
    /// `None` for one that cannot.
    listen: Option<&'static str>,
    /// How many bytes it is given to move; over UDP, the largest datagram that it sends whole.
    size: usize,
}

const OPENBSD: Peer = Peer {
    program: "nc.openbsd",
    connect: "nc.openbsd -N 127.0.0.1 PORT",
    listen: Some("nc.openbsd -N -l 127.0.0.1 PORT"),
    size: 100_000_000,
};

// As a listener it leaves when it sees our end of file.
const OPENBSD_CONNECTING: Peer = Peer { listen: None, ..OPENBSD };

const OPENBSD_UDP: Peer = Peer {
    connect: "nc.openbsd -u 127.0.0.1 PORT",
    listen: Some("nc.openbsd -u -l 127.0.0.1 PORT"),
    size: 16_384,
    ..OPENBSD
};

const NCAT: Peer = Peer {
    program: "ncat",
    connect: "ncat 127.0.0.1 PORT",
    listen: Some("ncat -l 127.0.0.1 PORT"),
    size: 100_000_000,
};

const NCAT_UDP: Peer =
    Peer { connect: "ncat -u 127.0.0.1 PORT", listen: Some("ncat -u -l 127.0.0.1 PORT"), size: 8192, ..NCAT };

// socat would close half a second after the first end of file.
const SOCAT: Peer = Peer {
    program: "socat",
    connect: "socat -t 30 - TCP:127.0.0.1:PORT",
    listen: Some("socat -t 30 - TCP-LISTEN:PORT,bind=127.0.0.1"),
    size: 100_000_000,
};

const SOCAT_UDP: Peer = Peer {
    connect: "socat -t 30 - UDP:127.0.0.1:PORT",
    listen: Some("socat -t 30 - UDP-LISTEN:PORT,bind=127.0.0.1"),
    size: 8192,
    ..SOCAT
};

const BUSYBOX: Peer = Peer {
    program: "busybox",
    connect: "busybox nc 127.0.0.1 PORT",
    listen: Some("busybox nc -l -p PORT"),
    size: 10_000_000,
};

const PYTHON: Peer = Peer {
    program: "python3",
    connect: "python3 -c \"$1\" tcp connect PORT",
    listen: Some("python3 -c \"$1\" tcp listen PORT"),
    size: 10_000_000,
};

const PYTHON_UDP: Peer = Peer {
    connect: "python3 -c \"$1\" udp connect PORT",
    listen: Some("python3 -c \"$1\" udp listen PORT"),
    size: 65_507,
    ..PYTHON
};

const BASH: Peer = Peer {
    program: "bash",
    connect: "bash -c 'exec 3<>/dev/tcp/127.0.0.1/PORT; cat <&3 & cat >&3; wait'",
    listen: None,
    size: 10_000_000,
};

// It has no half of a connection to close: we would wait for its end, and it for ours.
const BASH_SENDING: Peer = Peer { connect: "bash -c 'exec cat >/dev/tcp/127.0.0.1/PORT'", ..BASH };

const BASH_UDP: Peer = Peer {
    connect: "bash -c 'exec 3<>/dev/udp/127.0.0.1/PORT; cat <&3 & exec cat >&3'",
    size: 65_507,
    ..BASH
};

// With nothing to receive it sends 100 kB ten times a second.
const CURL: Peer =
    Peer { program: "curl", connect: "curl -sSN telnet://127.0.0.1:PORT", listen: None, size: 10_000_000 };

/// The tests below, with each peer that can.
macro_rules! tests {
    ($($name:ident: $peer:ident { $($test:ident)* })*) => { $(
        mod $name {
            $(
                #[test]
                fn $test() {
                    if crate::bench::has(super::$peer.program) {
                        super::$test(&super::$peer);
                    }
                }
            )*
        }
    )* };
}

tests! {
    openbsd: OPENBSD {
        moves_much_both_ways_at_once
        gets_our_answer_after_its_end_of_file
        receives_our_file
        sends_us_a_file
    }
    openbsd_connecting: OPENBSD_CONNECTING { answers_after_our_end_of_file }
    openbsd_udp: OPENBSD_UDP { exchanges_datagrams answers_a_query }
    ncat: NCAT {
        moves_much_both_ways_at_once
        gets_our_answer_after_its_end_of_file
        receives_our_file
        sends_us_a_file
    }
    ncat_udp: NCAT_UDP { exchanges_datagrams answers_a_query }
    socat: SOCAT {
        moves_much_both_ways_at_once
        answers_after_our_end_of_file
        gets_our_answer_after_its_end_of_file
        receives_our_file
        sends_us_a_file
    }
    socat_udp: SOCAT_UDP { exchanges_datagrams answers_a_query }
    busybox: BUSYBOX {
        moves_much_both_ways_at_once
        gets_our_answer_after_its_end_of_file
        receives_our_file
        sends_us_a_file
    }
    python: PYTHON {
        moves_much_both_ways_at_once
        answers_after_our_end_of_file
        gets_our_answer_after_its_end_of_file
        receives_our_file
        sends_us_a_file
    }
    python_udp: PYTHON_UDP { exchanges_datagrams answers_a_query }
    bash: BASH { moves_much_both_ways_at_once receives_our_file }
    bash_sending: BASH_SENDING { sends_us_a_file }
    bash_udp: BASH_UDP { exchanges_datagrams }
    curl: CURL { moves_much_both_ways_at_once receives_our_file }
}

/// Our end of file comes last: some peers leave when they see it.
fn moves_much_both_ways_at_once(peer: &Peer) {
    let bytes = text(peer.size);
    for role in peer.roles() {
        let theirs = |theirs: Remote| theirs.stdin(bytes.clone());
        let mut pair = peer.pair(role, &[], Remote::stdin_open, theirs);
        let mut pipe = pair.ours.stdin.take().expect("stdin is open");
        let ours = bytes.clone();
        let written = thread::spawn(move || pipe.write_all(&ours).map(|()| pipe));
        assert!(pair.ours.printed(bytes.len()) == bytes, "{role:?}: from them to us");
        assert!(pair.theirs.printed(bytes.len()) == bytes, "{role:?}: from us to them");
        drop(written.join().unwrap().expect("stdin takes it"));
        pair.end_well();
    }
}

fn answers_after_our_end_of_file(peer: &Peer) {
    for role in peer.roles() {
        let mut pair = peer.pair(role, &[], |ours| ours.stdin("question\n"), Remote::stdin_open);
        assert_eq!(pair.theirs.printed(9), b"question\n", "{role:?}");
        eventually("our end of file", || pair.half_closed_by_us());
        pair.theirs.type_in(b"answer\n");
        assert_eq!(pair.ours.printed(7), b"answer\n", "{role:?}");
        pair.theirs.close_stdin();
        pair.end_well();
    }
}

fn gets_our_answer_after_its_end_of_file(peer: &Peer) {
    for role in peer.roles() {
        let mut pair = peer.pair(role, &[], Remote::stdin_open, |theirs| theirs.stdin("question\n"));
        assert_eq!(pair.ours.printed(9), b"question\n", "{role:?}");
        eventually("their end of file", || pair.half_closed_by_them());
        pair.ours.type_in(b"answer\n");
        assert_eq!(pair.theirs.printed(7), b"answer\n", "{role:?}");
        pair.ours.close_stdin();
        pair.end_well();
    }
}

/// `nc > file`: a receiver whose stdin ends at once.
fn receives_our_file(peer: &Peer) {
    let (dir, bytes) = (Dir::new(), text(10_000_003));
    let sent = dir.file("sent", &bytes);
    for role in peer.roles() {
        let received = File::create(dir.join("received")).unwrap();
        let theirs = |theirs: Remote| theirs.stdout_to(received);
        let pair = peer.pair(role, &["-s", sent.to_str().unwrap()], |ours| ours, theirs);
        pair.end_well();
        assert!(dir.read("received") == bytes, "{role:?}");
    }
}

/// `nc < file`.
fn sends_us_a_file(peer: &Peer) {
    let (dir, bytes) = (Dir::new(), text(10_000_003));
    let sent = dir.file("sent", &bytes);
    for role in peer.roles() {
        let received = dir.join("received");
        let theirs = |theirs: Remote| theirs.stdin_from(File::open(&sent).unwrap());
        let pair = peer.pair(role, &["-r", received.to_str().unwrap()], |ours| ours, theirs);
        pair.end_well();
        assert!(dir.read("received") == bytes, "{role:?}");
        assert_eq!(dir.names(), ["received", "sent"], "{role:?}");
        std::fs::remove_file(received).unwrap();
    }
}

/// Each is waited for before the next is sent: as many that came as were sent are as large as they were.
fn exchanges_datagrams(peer: &Peer) {
    let sizes = [1, 1400, peer.size];
    let bytes = text(sizes.iter().sum());
    for role in peer.roles() {
        let mut pair = peer.pair(role, &["-u", "-q", "0", "--json"], Remote::stdin_open, Remote::stdin_open);
        let mut so_far = 0;
        for size in sizes {
            let speak = |from: &mut Running, to: &Running| {
                from.type_in(&bytes[so_far..][..size]);
                assert!(to.printed(so_far + size) == bytes[..so_far + size], "{role:?}: {size} bytes");
            };
            // A listener does not know its peer before the first datagram.
            let (first, second) = match role {
                Role::Connecting => (&mut pair.ours, &mut pair.theirs),
                Role::Listening => (&mut pair.theirs, &mut pair.ours),
            };
            speak(first, second);
            speak(second, first);
            so_far += size;
        }
        pair.ours.close_stdin();
        let ended = pair.ours.wait();
        assert_eq!((ended.code, ended.stdout.len()), (0, bytes.len()), "{role:?}: {}", ended.stderr);
        let json = ended.stderr.strip_prefix(&pair.announced).expect("it says the port, and then the rest");
        let json: serde_json::Value = serde_json::from_str(json).expect("it is an object");
        let counts = ["sent", "received"].map(|way| json[way]["datagrams"].as_u64());
        assert_eq!(counts, [Some(3); 2], "{role:?}: sent, received");
    }
}

/// `printf question | remote -u HOST PORT` ends by itself.
fn answers_a_query(peer: &Peer) {
    let ours = |ours: Remote| ours.stdin("question");
    let mut pair = peer.pair(Role::Connecting, &["-u"], ours, Remote::stdin_open);
    assert_eq!(pair.theirs.printed(8), b"question");
    pair.theirs.type_in(b"an answer");
    assert_eq!(pair.ours.wait().expect_quiet_success().stdout, b"an answer");
}

/// A file over UDP: nc sends no end, and so an empty datagram is sent by hand.
#[test]
fn python_receives_our_file_as_datagrams() {
    if !has("python3") {
        return;
    }
    let (dir, bytes) = (Dir::new(), noise(100_000));
    let sent = dir.file("sent", &bytes);
    let port = free_port("udp");
    let theirs = shell("python3 -c \"$1\" udp receive PORT", port).start();
    eventually("the peer to be bound", || is_there("udp", port, UNCONNECTED));
    let ours =
        Remote::new(["-u", "-s", sent.to_str().unwrap(), "--rate", "5M", "127.0.0.1", &port.to_string()]);
    let ours = ours.start();
    let theirs = theirs.wait();
    assert_eq!((theirs.code, theirs.stderr.as_str()), (0, ""));
    assert!(theirs.stdout == bytes);
    ours.wait().expect_quiet_success();
}

#[test]
fn python_sends_us_a_file_as_datagrams() {
    if !has("python3") {
        return;
    }
    let (dir, bytes) = (Dir::new(), noise(100_000));
    let sent = File::open(dir.file("sent", &bytes)).unwrap();
    let ours = Remote::new(["-u", "-l", "-r", dir.join("received").to_str().unwrap()]).start();
    let theirs = shell("python3 -c \"$1\" udp send PORT", ours.port()).stdin_from(sent).run();
    assert_eq!((theirs.code, theirs.stderr.as_str()), (0, ""));
    let announced = ours.said("\n");
    ours.wait().expect(0, &announced);
    assert!(dir.read("received") == bytes);
    assert_eq!(dir.names(), ["received", "sent"]);
}

/// Our side; the peer has the other one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Connecting,
    Listening,
}

/// We and a peer.
struct Pair {
    ours: Running,
    theirs: Running,
    /// The random port that we print.
    announced: String,
    role: Role,
    /// Where the listener listens.
    port: u16,
}

impl Peer {
    fn roles(&self) -> impl Iterator<Item = Role> + use<> {
        [Role::Listening, Role::Connecting].into_iter().take(if self.listen.is_some() { 2 } else { 1 })
    }

    /// Starts both, with these arguments and streams.
    fn pair(
        &self,
        role: Role,
        args: &[&str],
        ours: impl FnOnce(Remote) -> Remote,
        theirs: impl FnOnce(Remote) -> Remote,
    ) -> Pair {
        let transport = if args.contains(&"-u") { "udp" } else { "tcp" };
        match role {
            Role::Connecting => {
                let port = free_port(transport);
                let theirs = theirs(shell(self.listen.expect("it listens"), port)).start();
                let state = if transport == "udp" { UNCONNECTED } else { LISTEN };
                eventually("the peer to listen", || is_there(transport, port, state));
                let to = ["127.0.0.1", &port.to_string()];
                let ours = ours(Remote::new([args, &to].concat())).start();
                Pair { ours, theirs, announced: String::new(), role, port }
            }
            Role::Listening => {
                let ours = ours(Remote::new([args, &["-l"]].concat())).start();
                let port = ours.port();
                let announced = ours.said("\n");
                let theirs = theirs(shell(self.connect, port)).start();
                Pair { ours, theirs, announced, role, port }
            }
        }
    }
}

impl Pair {
    /// Asserts that both end by themselves with success, and that we print nothing.
    #[track_caller]
    fn end_well(self) {
        let theirs = self.theirs.wait();
        assert_eq!((theirs.code, theirs.stderr.as_str()), (0, ""), "{:?}: the peer", self.role);
        self.ours.wait().expect(0, &self.announced);
    }

    fn half_closed_by_us(&self) -> Option<()> {
        let state = if self.role == Role::Connecting { CLOSE_WAIT } else { FIN_WAIT };
        is_there("tcp", self.port, state)
    }

    fn half_closed_by_them(&self) -> Option<()> {
        let state = if self.role == Role::Connecting { FIN_WAIT } else { CLOSE_WAIT };
        is_there("tcp", self.port, state)
    }
}

/// A command of a peer, ready to start, with the limits and pipes of the bench.
fn shell(command: &str, port: u16) -> Remote {
    let command = format!("exec {}", command.replace("PORT", &port.to_string()));
    // Our own path, which comes next, is what the shell is called; $1 is for the peer that needs it.
    Remote::through(&["sh", "-c", &command], [SCRIPT])
}

/// A port that was free a moment ago.
fn free_port(transport: &str) -> u16 {
    let any = "127.0.0.1:0";
    let address = match transport {
        "udp" => UdpSocket::bind(any).and_then(|socket| socket.local_addr()),
        _ => TcpListener::bind(any).and_then(|listener| listener.local_addr()),
    };
    address.expect("there is a port").port()
}

/// Whether a socket at this local port is in this state (`proc_net(5)`, `/proc/net/tcp`).
fn is_there(transport: &str, port: u16, state: &str) -> Option<()> {
    let tables = [format!("/proc/net/{transport}"), format!("/proc/net/{transport}6")];
    let found = tables.iter().filter_map(|table| std::fs::read_to_string(table).ok()).any(|table| {
        table.lines().skip(1).any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, state_there) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
            local.ends_with(&format!(":{port:04X}")) && state_there == state
        })
    });
    found.then_some(())
}

/// Bytes that telnet has no other meaning for.
fn text(length: usize) -> Vec<u8> {
    noise(length).into_iter().map(|byte| b'a' + byte % 26).collect()
}

/// A netcat in Python: standard input and output, a thread for each way.
const SCRIPT: &str = r#"
import os, socket, sys, threading

transport, role, port = sys.argv[1:4]
tcp = transport == "tcp"
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
at = ("127.0.0.1", int(port))

def receive():
    while data := s.recv(1 << 16):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

def send(size):
    while data := os.read(0, size):
        s.sendall(data)

if role in ("connect", "send"):
    s.connect(at)
else:
    s.bind(at)
    if tcp:
        s.listen()
        s = s.accept()[0]
    elif role == "listen":
        s.connect(s.recvfrom(1, socket.MSG_PEEK)[1])
if role == "receive":
    receive()
elif role == "send":
    send(1000)
    s.send(b"")
else:
    thread = threading.Thread(target=receive)
    thread.start()
    send(1 << 16)
    if tcp:
        s.shutdown(socket.SHUT_WR)
    thread.join()
"#;

const CLOSE_WAIT: &str = "08";
const FIN_WAIT: &str = "05";
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";
