//! The practice servers, spoken to as the original clients do.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::bench::{
    Dir, Hosts, Remote, Running, Server, Terminal, client, eventually, has, limited, noise, on_linux,
    read_all, reset, run, udp, unread_terminal,
};

/// All servers, on loopback and random ports.
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
        line.and_then(|line| line.split(' ').nth(3)).and_then(|port| port.parse().ok()).expect("a port")
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
fn requests_over_tcp() {
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
    // Requests in pieces, joined, and with an end of file.
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
fn the_marker_is_a_piece_of_its_own() {
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
fn requests_over_udp() {
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
fn an_answer_has_the_address_of_the_request() {
    if !on_linux("IP_PKTINFO") {
        return;
    }
    for at in ["0.0.0.0", "::"] {
        let args = ["practice", "-lv", "-a", at, "-p", "0", "--udp-port", "0"];
        let servers = Remote::new(args).start();
        let said = servers.said("(udp)");
        let line = said.lines().find(|line| line.ends_with("(udp)")).unwrap();
        let port: u16 = line.split(' ').nth(3).unwrap().parse().unwrap();
        let addresses = ["127.0.0.1", "127.0.0.2", "127.1.2.3"].into_iter();
        for address in addresses.chain((at == "::").then_some("::1")) {
            let from = if address == "::1" { "[::1]:0" } else { "127.0.0.1:0" };
            let socket = UdpSocket::bind(from).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.connect((address, port)).unwrap();
            socket.send(b"hello").unwrap();
            assert_eq!(datagram(&socket), b"HELLO", "{address} of {at}");
        }
        // A broadcast address cannot be the source of an answer.
        let socket = udp();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"hello", ("127.255.255.255", port)).unwrap();
        assert_eq!(datagram(&socket), b"HELLO", "{at}");
    }
}

#[test]
fn a_file_over_udp_arrives_complete() {
    let servers = Servers::new(&[]);
    let socket = servers.udp();
    // The pace leaves room in the receive buffer of a late reader.
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
fn a_hundred_clients_at_once_and_one_that_reads_nothing() {
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
    for request in
        ["5", "123456790", "stream-1-3", "stream-1-2-9", &format!("stream-0-9-1{}", " ".repeat(900))]
    {
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

/// Makes a folder with files in it.
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
fn commands_may_be_pipelined_and_each_client_has_its_own_folder() {
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
    // tcpcli.py and udpcli.py: one send, one recv, then the rest.
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
    // No packet is early, and delays do not add up.
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    println!("200 packets, one every 5 ms, took {took:?}");
}

// ---- the client ----

/// Returns the output of the client for a command, with a scripted server.
fn asked(flags: &[&str], port: u16, command: &str) -> crate::bench::Ended {
    let port = port.to_string();
    let mut args = vec!["practice"];
    args.extend(flags);
    args.extend(["127.0.0.1", &port, "--"]);
    args.extend(command.split(' '));
    Remote::new(args).run()
}

#[test]
fn the_client_speaks_to_our_servers() {
    let dir = tree();
    let servers = Servers::with_files(&dir.join("root"));
    let (work, files) = (Dir::new(), servers.port("files").to_string());
    let script =
        "help\nhello\n1000\n3000 > made\nstream 5 1ms\nls\nchdir sub\nls\ndl small\ndl ../large\nquit\nnever";
    let args = ["practice", "127.0.0.1", &servers.port("tcp").to_string(), "--files-port", &files];
    let ended = Remote::new(args).in_folder(work.path()).stdin(script).run();
    let text = String::from_utf8(ended.stdout.clone()).unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{text}");
    for part in [
        "stream [COUNT] [INTERVAL] [SIZE]",
        "HELLO\n",
        "1000 bytes in ",
        ", in made\n",
        "5 sent, 5 received, 0 lost, unknown reordered",
        "Folders: \n\nsub\n",
        "Current Working Directory: /sub\n",
        "5 bytes in ",
        "3000000 bytes in ",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("NEVER"));
    assert_eq!(work.names(), ["large", "made", "small"]);
    assert!(work.read("large") == noise(3_000_000) && work.read("made") == [b'A'; 3000]);
    // An existing file is not replaced, and a refusal is a failure, but not the end of a script.
    let ended =
        Remote::new(args).in_folder(work.path()).stdin("dl large\ndl nothing\n123456790\nhello\n").run();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("--force replaces it"), "{}", ended.stderr);
    let wanted =
        "Invalid File!\nRequest for file of 123456790 chars. Server limit is: 123456789 chars.\nHELLO\n";
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), wanted);
}

#[test]
fn the_client_speaks_udp() {
    let servers = Servers::new(&["--sequence"]);
    let port = servers.port("udp");
    assert_eq!(asked(&["-u"], port, "hello").expect_quiet_success().stdout, b"HELLO\n");
    let ended = asked(&["-u"], port, "50000");
    assert!(ended.stdout.starts_with(b"50000 bytes in "), "{ended:?}");
    let ended = asked(&["-u", "--json"], port, "stream 20 2ms 30");
    assert_eq!(ended.code, 0, "{ended:?}");
    let object: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(
        (&object["received"], &object["reordered"], &object["duplicated"]),
        (&20.into(), &0.into(), &0.into())
    );
    assert!(ended.stdout.starts_with(b"20 sent, 20 received, 0 lost, 0 reordered, 0 duplicated; jitter "));
}

#[test]
fn the_client_knows_the_original_servers() {
    // All at once: the marker, and the file in the same segment, as tcpser.py may send it.
    let server = Server::new();
    let port = server.port().parse().unwrap();
    let original = thread::spawn(move || {
        let mut texts = Vec::new();
        for answer in [&b"file_preparedAAAAA"[..], b"file_preparedAAA", b"HELLO"] {
            let mut stream = server.accept();
            let mut bytes = [0; 1024];
            let n = stream.read(&mut bytes).unwrap();
            texts.push(String::from_utf8_lossy(&bytes[..n]).into_owned());
            stream.write_all(answer).unwrap();
        }
        texts
    });
    assert!(asked(&[], port, "5").expect_quiet_success().stdout.starts_with(b"5 bytes in "));
    let ended = asked(&[], port, "5");
    assert_eq!(ended.code, 1, "two bytes are missing");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("2 bytes lost"), "{ended:?}");
    assert_eq!(asked(&[], port, "hello").expect_quiet_success().stdout, b"HELLO\n");
    assert_eq!(original.join().unwrap(), ["5", "5", "hello"]);

    // The older reply to dl, in pieces.
    let server = Server::new();
    let port = server.port();
    let original = thread::spawn(move || {
        let mut stream = server.accept();
        for part in [&b"bthDataCom"[..], b"ServerKey"] {
            stream.write_all(part).unwrap();
        }
        assert_eq!(exactly(&mut stream, 19), b"bthDataComClientKey");
        assert_eq!(reply(&mut stream), "dl a/name");
        for part in [&b"Sending a/nameSpLi"[..], b"T5929", b"Z123", b"45"] {
            stream.write_all(part).unwrap();
        }
        assert_eq!(reply(&mut stream), "quit");
    });
    let work = Dir::new();
    let args = ["practice", "127.0.0.1", "--files-port", &port, "--", "dl", "a/name"];
    Remote::new(args).in_folder(work.path()).run().expect_quiet_success();
    original.join().unwrap();
    assert_eq!((work.names(), work.read("name")), (vec!["name".to_owned()], b"12345".to_vec()));
}

#[test]
fn the_client_prints_loss_and_order_of_a_stream() {
    let server = udp();
    let port = server.local_addr().unwrap().port();
    let bad_line = thread::spawn(move || {
        let mut bytes = [0; 1024];
        let (n, from) = server.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..n], b"stream-1-6-4");
        // 4 is lost, 2 comes before 3, 2 comes twice.
        for packet in ["6AAA", "5AAA", "2AAA", "3AAA", "2AAA", "1AAA"] {
            server.send_to(packet.as_bytes(), from).unwrap();
        }
    });
    let ended = asked(&["-u"], port, "stream 6 1ms 4");
    assert_eq!(ended.code, 1);
    let text = String::from_utf8(ended.stdout).unwrap();
    assert!(text.starts_with("6 sent, 6 received, 1 lost, 1 reordered, 1 duplicated; jitter "), "{text}");
    bad_line.join().unwrap();
    // A closed port.
    let closed = udp().local_addr().unwrap().port();
    asked(&["-u"], closed, "hello").expect_failure(1, &["connection refused"]);
}

#[test]
fn one_command_starts_servers_and_client() {
    let dir = tree();
    let root = dir.join("root");
    let args = ["practice", "--root", root.to_str().unwrap()];
    let ended = Remote::new(args).stdin("hello\nls\n").run();
    assert_eq!(ended.code, 0, "{ended:?}");
    let text = String::from_utf8(ended.stdout).unwrap();
    assert!(text.starts_with("HELLO\nCurrent Working Directory: /\n"), "{text}");
    let ended = Remote::new(["practice", "--root", "/nothing/there", "--", "ls"]).run();
    ended.expect_failure(1, &["serve /nothing/there: no such file"]);

    let terminal = Terminal::new();
    let remote = terminal.remote(&["practice"]).start();
    terminal.shows("practice> ");
    terminal.type_in(b"hello\n");
    terminal.shows("HELLO\r\npractice> ");
    terminal.type_in(b"stream 3 1ms\n");
    terminal.shows("3 sent, 3 received");
    terminal.shows("#######");
    // The history.
    terminal.type_in(b"\x1b[A\x1b[A");
    terminal.shows("practice> hello");
    drop(remote);
}

#[test]
fn a_terminal_that_hangs_up_ends_the_client() {
    let (mut controller, user) = unread_terminal();
    let stdio = || user.try_clone().unwrap();
    let remote = Remote::through(&["setsid", "--ctty", "--wait"], ["practice"]);
    let remote = remote.stdin_from(stdio()).stdout_to(stdio()).stderr_to(stdio()).start();
    let mut shown = Vec::new();
    while !shown.ends_with(b"practice> ") {
        shown.extend(exactly(&mut controller, 1));
    }
    drop(controller);
    assert_eq!(remote.wait().code, 128 + Signal::HUP.as_raw());
}

#[test]
fn a_new_conversation_goes_on_in_the_same_folder() {
    let work = Dir::new();
    let server = Server::new();
    let port = server.port();
    let script = thread::spawn(move || {
        let hear = |stream: &mut TcpStream| {
            let mut command = reply(stream);
            if let Some(rest) = command.strip_prefix("bthDataComClientKey") {
                command = rest.to_owned();
            }
            command
        };
        let changed = b"The new current working directory on the server is: /sub929Z";
        let mut stream = server.accept();
        stream.write_all(b"bthDataComServerKey").unwrap();
        assert_eq!(hear(&mut stream), "chdir sub");
        stream.write_all(changed).unwrap();
        assert_eq!(hear(&mut stream), "dl small");
        stream.write_all(b"Sending small size: SpLiT5929Z12").unwrap();
        drop(stream);
        let mut stream = server.accept();
        stream.write_all(b"bthDataComServerKey").unwrap();
        assert_eq!(hear(&mut stream), "chdir /sub", "it goes where it was");
        stream.write_all(changed).unwrap();
        assert_eq!(hear(&mut stream), "ls");
        stream.write_all(b"Files: 929Z").unwrap();
        drop(stream);
        let mut stream = server.accept();
        stream.write_all(b"bthDataComServerKey").unwrap();
        assert_eq!(hear(&mut stream), "chdir /sub");
        stream.write_all(b"Invalid Path!929Z").unwrap();
    });
    let args = ["practice", "127.0.0.1", "--files-port", &port];
    let remote = Remote::new(args).in_folder(work.path()).stdin("chdir sub\ndl small\nls\nls\nls\n").start();
    let ended = remote.wait();
    script.join().unwrap();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("the folder /sub is not there any more"), "{}", ended.stderr);
}

#[test]
fn mistakes_of_usage() {
    let table: [(&[&str], &str); 7] = [
        (&["-l", "host"], "HOST is the client's: leave out -l"),
        (&["host", "--open"], "--open is the server's: it needs -l"),
        (&["host", "80", "-p", "81"], "the port is given twice"),
        (&["host", "x y"], "port"),
        (&["host", "--root", "/"], "--root is the server's"),
        (&["-l", "--files-port", "1"], "--files-port needs --root"),
        (&["-p", "8120"], "a port needs HOST"),
    ];
    for (args, complaint) in table {
        Remote::new([&["practice"], args].concat()).run().expect_failure(2, &[complaint]);
    }
    Remote::new(["practice", "-l", "--root", "/nothing/there"]).run().expect_failure(1, &["no such file"]);
}

#[test]
fn wireshark_reads_a_stream() {
    if !has("tshark") || !rustix::process::getuid().is_root() {
        println!("skipped: capturing needs tshark and root");
        return;
    }
    let (dir, servers) = (Dir::new(), Servers::new(&[]));
    let (port, capture, log) = (servers.port("udp"), dir.join("capture"), dir.join("log"));
    let mut tshark = Command::new("tshark")
        .args(["-q", "-i", "lo", "-c", "6", "-f", &format!("udp port {port}"), "-w"])
        .arg(&capture)
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let started = || fs::read_to_string(&log).unwrap().contains("Capture started").then_some(());
    eventually("the capture to start", started);
    asked(&["-u"], port, "hello").expect_quiet_success();
    assert_eq!(asked(&["-u"], port, "stream 3 20ms 50").code, 0);
    let status = eventually("six packets", || tshark.try_wait().unwrap());
    assert!(status.success());
    let filter = format!("udp.srcport == {port} && data.len == 50");
    let path = capture.to_str().unwrap();
    let packets =
        run("tshark", &["-r", path, "-Y", &filter, "-T", "fields", "-e", "frame.time_delta"]).unwrap();
    let gaps: Vec<f64> = packets.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(gaps.len(), 3, "{packets}");
    assert!(gaps.iter().all(|gap| *gap > 0.01), "each comes 20 ms after the one before: {packets}");
}

#[test]
fn failures_are_reported_and_partial_files_kept() {
    let work = Dir::new();
    let ask = |port: &str, command: &[&str]| {
        let args = [&["practice", "127.0.0.1", port, "--"], command].concat();
        Remote::new(args).in_folder(work.path()).run()
    };
    // A closed port: nothing is left behind.
    let closed = { Server::new().port() };
    ask(&closed, &["generate", "5", ">", "x"]).expect_failure(1, &["connection refused"]);
    assert!(work.names().is_empty(), "{:?}", work.names());
    // A reset in the middle, and a server that says nothing.
    let server = Server::new();
    let port = server.port();
    let script = thread::spawn(move || {
        let mut stream = server.accept();
        let _ = stream.read(&mut [0; 100]);
        stream.write_all(b"file_preparedAAA").unwrap();
        thread::park_timeout(Duration::from_millis(200));
        reset(stream);
        let mut stream = server.accept();
        let _ = stream.read(&mut [0; 100]);
    });
    let ended = ask(&port, &["generate", "5", ">", "y"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("what was received is in y.part"), "{}", ended.stderr);
    assert_eq!((work.names(), work.read("y.part")), (vec!["y.part".to_owned()], b"AAA".to_vec()));
    ask(&port, &["hello"]).expect_failure(1, &["without an answer"]);
    script.join().unwrap();
    // A device is written to directly.
    let servers = Servers::new(&[]);
    let port = servers.port("tcp").to_string();
    assert_eq!(ask(&port, &["generate", "5", ">", "/dev/null"]).code, 0);
    ask(&port, &["dl", "a929Zls"]).expect_failure(1, &["cannot hold '929Z'"]);
}

#[test]
fn listing_wakes_no_fifo_and_duplicates_are_no_losses() {
    let dir = tree();
    let fifo = dir.join("root/fifo");
    run("mkfifo", &[fifo.to_str().unwrap()]).unwrap();
    let path = fifo.clone();
    let writer = thread::spawn(move || fs::write(path, b"precious").unwrap());
    let servers = Servers::with_files(&dir.join("root"));
    let mut stream = servers.visit();
    stream.write_all(b"bthDataComClientKeyls929Zdl fifo929Zls929Z").unwrap();
    assert!(!reply(&mut stream).contains("fifo"));
    assert_eq!(reply(&mut stream), "Invalid File!");
    reply(&mut stream);
    assert_eq!(fs::read(&fifo).unwrap(), b"precious");
    writer.join().unwrap();

    let server = udp();
    let port = server.local_addr().unwrap().port();
    let script = thread::spawn(move || {
        let (_, from) = server.recv_from(&mut [0; 100]).unwrap();
        for packet in ["2A", "2A", "1A"] {
            server.send_to(packet.as_bytes(), from).unwrap();
        }
    });
    let ended = asked(&["-u"], port, "stream 2 1ms 2");
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(
        ended.code == 0 && text.starts_with("2 sent, 3 received, 0 lost, 0 reordered, 1 duplicated"),
        "{text}"
    );
    script.join().unwrap();
}

#[test]
fn the_prompt_comes_back_with_the_program() {
    let terminal = Terminal::new();
    let shell = ["setsid", "--ctty", "--wait", "sh", "-mc", "\"$0\" \"$@\"; echo stopped; fg >/dev/null"];
    let remote = Remote::through(&shell, ["practice"]);
    let stdio = || terminal.stdio();
    let remote = remote.stdin_from(stdio()).stdout_to(stdio()).stderr_to(stdio()).start();
    terminal.shows("practice> ");
    terminal.type_in(b"hel");
    terminal.shows("practice> hel");
    terminal.type_in(b"\x1a");
    terminal.shows("stopped\r\npractice> hel");
    terminal.type_in(b"lo\n");
    terminal.shows("stopped\r\npractice> hello\r\n");
    terminal.shows("HELLO");
    terminal.type_in(b"quit\n");
    assert_eq!(remote.wait().code, 0);
}
