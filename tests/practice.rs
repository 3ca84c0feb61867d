//! The practice servers, spoken to as the original clients do.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    os::unix::fs::symlink,
    path::Path,
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::bench::{Dir, Hosts, Remote, Running, client, has, limited, noise, read_all, reset, run, udp};

/// All servers, on loopback, at ports of the kernel's.
struct Servers(Running);

impl Servers {
    fn new(flags: &[&str]) -> Self {
        let args = ["practice", "-lv", "-p", "0", "--udp-port", "0"];
        let servers = Self(Remote::new(args.iter().chain(flags)).start());
        servers.0.said("(udp)");
        servers
    }

    fn with_files(root: &Path) -> Self {
        let servers = Self::new(&["--root", root.to_str().unwrap(), "--files-port", "0"]);
        servers.0.said("(files)");
        servers
    }

    fn port(&self, what: &str) -> u16 {
        let said = self.0.said(&format!("({what})"));
        let line =
            said.lines().find(|line| line.starts_with("Listening on 127.0.0.1") && line.contains(what));
        line.and_then(|line| line.split(' ').nth(3)).and_then(|port| port.parse().ok()).expect("it is told")
    }

    fn ask(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = client(self.port("tcp"));
        stream.write_all(request).unwrap();
        read_all(&mut stream)
    }

    fn udp(&self) -> UdpSocket {
        let socket = udp();
        socket.connect(("127.0.0.1", self.port("udp"))).unwrap();
        socket
    }

    fn visit(&self) -> TcpStream {
        let mut stream = client(self.port("files"));
        assert_eq!(exactly(&mut stream, 19), b"bthDataComServerKey");
        stream
    }
}

fn exactly(stream: &mut impl Read, bytes: usize) -> Vec<u8> {
    let mut all = vec![0; bytes];
    stream.read_exact(&mut all).expect("it comes");
    all
}

fn datagram(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    let n = socket.recv(&mut bytes).expect("a datagram comes");
    bytes.truncate(n);
    bytes
}

/// A reply of the file conversation, without its end.
fn reply(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"929Z") {
        bytes.extend(exactly(stream, 1));
    }
    bytes.truncate(bytes.len() - 4);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_asked_for_over_tcp() {
    let servers = Servers::new(&[]);
    let table: [(&str, String); 8] = [
        ("hello", "HELLO".into()),
        ("  hello you \r\nignored", "HELLO YOU".into()),
        ("10", format!("file_prepared{}", "A".repeat(10))),
        ("+0010", format!("file_prepared{}", "A".repeat(10))),
        ("123456790", "Request for file of 123456790 chars. Server limit is: 123456789 chars.".into()),
        ("stream-1-3", "stream-1-3".repeat(3)),
        ("stream-0-3-5", "A".repeat(15)),
        ("stream-x-3", "Request for transfer of 3 pakets at: x has errors.".into()),
    ];
    for (request, answer) in table {
        assert_eq!(String::from_utf8(servers.ask(request.as_bytes())).unwrap(), answer, "{request}");
    }
    // By the network's leave: cut, joined, and with an end of file.
    let mut stream = client(servers.port("tcp"));
    for part in ["str", "eam-1", "-2\n"] {
        stream.write_all(part.as_bytes()).unwrap();
    }
    assert_eq!(read_all(&mut stream), b"stream-1-2stream-1-2");
    let mut stream = client(servers.port("tcp"));
    stream.write_all(b"bye").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), b"BYE");
    let mut silent = client(servers.port("tcp"));
    silent.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut silent), b"");
    assert_eq!(servers.ask(&vec![b'x'; 5000]).len(), 1024);
}

#[test]
fn the_marker_comes_by_itself() {
    let servers = Servers::new(&[]);
    let mut stream = client(servers.port("tcp"));
    stream.write_all(b"5").unwrap();
    let mut bytes = [0; 1024];
    let n = stream.read(&mut bytes).unwrap();
    assert_eq!(&bytes[..n], b"file_prepared", "the original client takes all that it reads for the marker");
    assert_eq!(read_all(&mut stream), b"AAAAA");
}

#[test]
fn the_greatest_file_in_little_memory() {
    let servers = Servers::new(&[]);
    let mut stream = client(servers.port("tcp"));
    stream.write_all(b"123456789\n").unwrap();
    assert_eq!(exactly(&mut stream, 13), b"file_prepared");
    let (mut bytes, mut room) = (0, vec![0; 1 << 16]);
    loop {
        match stream.read(&mut room).unwrap() {
            0 => break,
            n => bytes += n,
        }
        assert!(room[..1] == *b"A");
    }
    assert_eq!(bytes, 123_456_789);
    assert!(servers.0.peak_memory() < 16 << 10, "{} KiB", servers.0.peak_memory());
}

#[test]
fn what_is_asked_for_over_udp() {
    let servers = Servers::new(&[]);
    let socket = servers.udp();
    socket.send(b"hello\n").unwrap();
    assert_eq!(datagram(&socket), b"HELLO");
    socket.send(b"2500").unwrap();
    assert_eq!(datagram(&socket), b"file_prepared");
    let sizes: Vec<usize> = (0..3).map(|_| datagram(&socket).len()).collect();
    assert_eq!(sizes, [1024, 1024, 452]);
    socket.send(b"stream-1-3-700").unwrap();
    for _ in 0..3 {
        assert_eq!(datagram(&socket), [b'A'; 700]);
    }
    socket.send(b"stream-2").unwrap();
    assert_eq!(datagram(&socket), b"Request for transfer of  pakets at: 2 has errors.");
    // Of a flood of requests, most are lost.
    for _ in 0..5000 {
        socket.send(b"stream-50-10").unwrap();
    }
    assert!(servers.0.peak_memory() < 16 << 10, "{} KiB", servers.0.peak_memory());
}

#[test]
fn a_file_over_udp_arrives_whole() {
    let servers = Servers::new(&[]);
    let socket = servers.udp();
    // No more than a receive buffer holds, however late we are to read it.
    socket.send(b"80000").unwrap();
    assert_eq!(datagram(&socket), b"file_prepared");
    let mut bytes = 0;
    while bytes < 80_000 {
        bytes += datagram(&socket).len();
    }
    assert_eq!(bytes, 80_000);
}

#[test]
fn numbers_count_down_when_asked_for() {
    let servers = Servers::new(&["--sequence"]);
    let socket = servers.udp();
    socket.send(b"stream-1-3-4").unwrap();
    let packets: Vec<_> = (0..3).map(|_| String::from_utf8(datagram(&socket)).unwrap()).collect();
    assert_eq!(packets, ["3AAA", "2AAA", "1AAA"]);
}

#[test]
fn a_hundred_at_once_and_one_who_reads_nothing() {
    let servers = Servers::new(&[]);
    let mut idler = client(servers.port("tcp"));
    idler.write_all(b"123456789\n").unwrap();
    let threads: Vec<_> = (0..100)
        .map(|n| {
            let mut stream = client(servers.port("tcp"));
            thread::spawn(move || {
                stream.write_all(format!("{}\n", 100_000 + n).as_bytes()).unwrap();
                assert_eq!(read_all(&mut stream).len(), 13 + 100_000 + n);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    reset(idler);
    assert_eq!(servers.ask(b"still there"), b"STILL THERE");
    servers.0.signal(Signal::TERM);
    assert_eq!(servers.0.wait().code, 143);
}

#[test]
fn it_is_no_amplifier() {
    let Some(hosts) = Hosts::new() else { return };
    let start = |flags: &[&str]| {
        let args = ["practice", "-lv", "-a", "10.9.0.2", "-p", "0", "--udp-port", "0"];
        let servers = hosts.b.remote(args.iter().chain(flags)).start();
        let said = servers.said("(udp)");
        let line = said.lines().find(|line| line.contains("(udp)")).unwrap();
        let port: u16 = line.split(' ').nth(3).unwrap().parse().unwrap();
        let socket = hosts.a.udp("10.9.0.1:0");
        socket.connect(("10.9.0.2", port)).unwrap();
        (servers, socket)
    };
    let (servers, socket) = start(&[]);
    for request in ["5", "123456790", "stream-1-3", "stream-1-2-9"] {
        socket.send(request.as_bytes()).unwrap();
    }
    socket.send(b"echo").unwrap();
    assert_eq!(datagram(&socket), b"ECHO", "nothing came for the others");
    socket.send(b"stream-1-1").unwrap();
    assert_eq!(datagram(&socket), b"stream-1-1", "as much as was sent");
    servers.said("not answered");
    let (servers, socket) = start(&["--open"]);
    socket.send(b"5").unwrap();
    assert_eq!((datagram(&socket), datagram(&socket)), (b"file_prepared".to_vec(), b"AAAAA".to_vec()));
    servers.said("--open");
}

/// A folder with something in it.
fn tree() -> Dir {
    let dir = Dir::new();
    fs::create_dir_all(dir.join("root/sub")).unwrap();
    dir.file("secret", b"secret");
    dir.file("root/large", &noise(3_000_000));
    dir.file("root/empty", b"");
    dir.file("root/sub/small", b"12345");
    dir.file("root/a929Zb", b"");
    symlink("../secret", dir.join("root/out")).unwrap();
    symlink("/etc", dir.join("root/etc")).unwrap();
    dir
}

#[test]
fn the_file_conversation() {
    let dir = tree();
    let servers = Servers::with_files(&dir.join("root"));
    let mut stream = servers.visit();
    stream.write_all(b"bthDataComClientKey").unwrap();
    let mut say = |command: &str| {
        stream.write_all(format!("{command}929Z").as_bytes()).unwrap();
        reply(&mut stream)
    };
    assert_eq!(say("ls"), "Current Working Directory: /\n\nFolders: \n\nsub\nFiles: \n\nempty\nlarge\n");
    assert_eq!(say("chdir sub"), "The new current working directory on the server is: /sub");
    assert_eq!(say("ls"), "Current Working Directory: /sub\n\nFolders: \n\nFiles: \n\nsmall\n");
    for path in ["../..", "/etc", "../etc", "nothing", "small", "../out"] {
        assert_eq!(say(&format!("chdir {path}")), "Invalid Path!", "{path}");
    }
    for path in ["/etc/passwd", "../etc/passwd", "../../secret", "../out", "..", "nothing", "../sub"] {
        assert_eq!(say(&format!("dl {path}")), "Invalid File!", "{path}");
    }
    assert_eq!(say("hello there"), "hello there");
    assert_eq!(say("dl ../empty"), "Sending ../empty size: SpLiT0");
    assert_eq!(say("dl small"), "Sending small size: SpLiT5");
    assert_eq!(exactly(&mut stream, 5), b"12345");
    stream.write_all(b"quit929Z").unwrap();
    assert_eq!(read_all(&mut stream), b"");
}

#[test]
fn commands_may_come_all_at_once_and_everybody_has_a_place_of_his_own() {
    let dir = tree();
    let servers = Servers::with_files(&dir.join("root"));
    let (mut one, mut other) = (servers.visit(), servers.visit());
    one.write_all(b"any nineteen bytes.chdir sub929Zdl ../large929Zls929Zquit929Z").unwrap();
    assert_eq!(reply(&mut one), "The new current working directory on the server is: /sub");
    other.write_all(b"bthDataComClientKeyls929Z").unwrap();
    assert!(reply(&mut other).starts_with("Current Working Directory: /\n"));
    assert_eq!(reply(&mut one), "Sending ../large size: SpLiT3000000");
    assert!(exactly(&mut one, 3_000_000) == noise(3_000_000));
    assert!(reply(&mut one).starts_with("Current Working Directory: /sub\n"));
    assert_eq!(read_all(&mut one), b"");
    // A command that does not end is the end.
    other.write_all(&vec![b'x'; 5000]).unwrap();
    assert_eq!(limited(other).read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn the_original_programs_are_peers() {
    if !has("python3") {
        return;
    }
    let servers = Servers::new(&[]);
    // What tcpcli.py and udpcli.py do: one send, one recv, then the rest.
    let script = "import socket, sys\n\
                  s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
                  s.send(b'100000'); print(s.recv(1024).decode(), end=' ')\n\
                  n = 0\n\
                  while n < 100000: n += len(s.recv(4096))\n\
                  u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                  u.sendto(b'hello', ('127.0.0.1', int(sys.argv[2])))\n\
                  print(n, u.recvfrom(1024)[0].decode())";
    let (tcp, udp) = (servers.port("tcp").to_string(), servers.port("udp").to_string());
    assert_eq!(run("python3", &["-c", script, &tcp, &udp]).unwrap(), "file_prepared 100000 HELLO\n");
}

#[test]
fn packets_leave_in_time() {
    let servers = Servers::new(&[]);
    let socket = servers.udp();
    let start = std::time::Instant::now();
    socket.send(b"stream-5-200-100").unwrap();
    for _ in 0..200 {
        datagram(&socket);
    }
    // None is early, and the last one is not late by what the others were.
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    println!("200 packets, one every 5 ms, took {took:?}");
}
