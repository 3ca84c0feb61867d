//! `-x`: proxies that follow a script, and those that people run. One that is not installed is skipped.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use rustix::process::Signal;

use crate::bench::{
    Dir, Hosts, Remote, Running, Server, Terminal, eventually, has, noise, on_linux, read_all, reset,
};

/// The bytes that a proxy receives, and its answer to them.
type Script<'a> = &'a [(&'a [u8], &'a [u8])];

const GREETING: &[u8] = b"\x05\x01\0";
const GREETING_WITH_LOGIN: &[u8] = b"\x05\x02\0\x02";
const NAME: &[u8] = b"\x05\x01\0\x03\x0cname.invalid\x1f\x90";
const SOCKS5_OPEN: &[u8] = b"\x05\0\0\x01\0\0\0\0\0\0";
const CONNECT: &[u8] = b"CONNECT name.invalid:8080 HTTP/1.1\r\nHost: name.invalid:8080\r\n\r\n";
const CONNECT_OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";

/// Plays a proxy, and then the destination, which sends `payload` at once; all of it in pieces of `piece` bytes.
fn play(stream: &mut TcpStream, script: Script<'_>, payload: &[u8], piece: usize) {
    stream.set_nodelay(true).unwrap();
    for ((hears, says), left) in script.iter().zip((0..script.len()).rev()) {
        let mut heard = vec![0; hears.len()];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(heard.escape_ascii().to_string(), hears.escape_ascii().to_string());
        let says = if left == 0 { [says, payload].concat() } else { says.to_vec() };
        says.chunks(piece).for_each(|part| stream.write_all(part).unwrap());
    }
}

/// The program, with a proxy on loopback.
fn through(proxy: &Server, args: &str) -> Remote {
    let at = format!("127.0.0.1:{}", proxy.port());
    Remote::new(["-x", &at].into_iter().chain(args.split_whitespace()))
}

#[test]
fn every_kind_of_proxy_connects_and_nothing_is_lost() {
    let wide = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
    let socks5_wide = [b"\x05\x01\0\x04", &wide[..], b"\x1f\x90"].concat();
    let socks5_open_wide = [b"\x05\0\0\x04", &wide[..], b"\0\0"].concat();
    let wide_connect = b"CONNECT [2001:db8::1]:8080 HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n";
    let basic = b"CONNECT name.invalid:8080 HTTP/1.1\r\nHost: name.invalid:8080\r\n\
                  Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
    let socks4_open = b"\0\x5a\x1f\x90\x7f\0\0\x01";
    let early = [b"HTTP/1.1 100 Continue\r\n\r\n", CONNECT_OPEN].concat();
    let table: [(&str, Script<'_>); 11] = [
        ("-X 4 127.0.0.1 8080", &[(b"\x04\x01\x1f\x90\x7f\0\0\x01\0", socks4_open)]),
        ("-X 4 -P me 127.0.0.1 8080", &[(b"\x04\x01\x1f\x90\x7f\0\0\x01me\0", socks4_open)]),
        ("-X socks4 name.invalid 8080", &[(b"\x04\x01\x1f\x90\0\0\0\x01\0name.invalid\0", socks4_open)]),
        ("name.invalid 8080", &[(GREETING, b"\x05\0"), (NAME, SOCKS5_OPEN)]),
        ("-X 5 -n 2001:db8::1 8080", &[(GREETING, b"\x05\0"), (&socks5_wide, &socks5_open_wide)]),
        (
            "-P me name.invalid 8080",
            &[
                (GREETING_WITH_LOGIN, b"\x05\x02"),
                (b"\x01\x02me\x06secret", b"\x01\0"),
                (NAME, b"\x05\0\0\x03\x04some\0\0"),
            ],
        ),
        ("-P me name.invalid 8080", &[(GREETING_WITH_LOGIN, b"\x05\0"), (NAME, SOCKS5_OPEN)]),
        ("-X connect name.invalid 8080", &[(CONNECT, CONNECT_OPEN)]),
        ("-X http name.invalid 8080", &[(CONNECT, &early)]),
        ("-X connect 2001:db8::1 8080", &[(wide_connect, CONNECT_OPEN)]),
        ("-X connect -P me name.invalid 8080", &[(basic, CONNECT_OPEN)]),
    ];
    let payload = noise(100_000);
    for (args, script) in table {
        for (payload, piece) in [(&payload[..], usize::MAX), (&payload[..300], 1), (b"", 1)] {
            let proxy = Server::new();
            let remote = through(&proxy, args).env("REMOTE_PROXY_PASSWORD", "secret").stdin("hello").start();
            let mut stream = proxy.accept();
            play(&mut stream, script, payload, piece);
            assert_eq!(read_all(&mut stream), b"hello", "{args}");
            drop(stream);
            assert!(remote.wait().expect_quiet_success().stdout == payload, "{args}, by {piece} bytes");
        }
    }
}

#[test]
fn messages_name_the_destination() {
    let proxy = Server::new();
    let (port, script) = (proxy.port(), [(GREETING, &b"\x05\0"[..]), (NAME, SOCKS5_OPEN)]);
    let remote = through(&proxy, "-vv --json name.invalid 8080").start();
    play(&mut proxy.accept(), &script, b"", 1);
    let stderr = remote.wait().stderr;
    let mut lines = stderr.lines();
    assert_eq!(lines.next(), Some(&*format!("through the proxy 127.0.0.1 port {port}")));
    assert_eq!(lines.next(), Some("Connection to name.invalid 8080 port [tcp/http-alt] succeeded!"));
    let json: serde_json::Value = serde_json::from_str(lines.next_back().unwrap()).unwrap();
    assert_eq!(json["peer"], serde_json::json!({ "address": "name.invalid", "port": 8080 }));
    assert_eq!(json["transport"], "tcp");

    let remote = through(&proxy, "name.invalid 8080").stdin_open().start();
    let mut stream = proxy.accept();
    play(&mut stream, &script, b"", 1);
    reset(stream);
    let why = "receive from name.invalid port 8080: connection reset by peer";
    remote.wait().expect_failure(1, &[why]);

    let dir = Dir::new();
    let remote = through(&proxy, "-r None name.invalid 8080").in_folder(dir.path()).start();
    play(&mut proxy.accept(), &script, b"content", 1);
    remote.wait().expect_quiet_success();
    assert!(dir.names()[0].ends_with("_name.invalid_8080"), "{:?}", dir.names());
}

#[test]
fn refusals_are_reported_in_words() {
    let endless =
        [b"HTTP/1.1 200 OK\r\nA: ", &noise(100_000).escape_ascii().to_string().into_bytes()[..]].concat();
    let login = "the proxy wants a user and a password (-P USER)";
    let table: [(&str, Script<'_>, &str); 12] = [
        ("-X 4", &[(b"\x04", b"\0\x5b\0\0\0\0\0\0")], "request rejected or failed"),
        ("-X 4", &[(b"\x04", b"HTTP/1.0 400 Bad Request\r\n\r\n")], "the proxy does not speak SOCKS 4"),
        ("", &[(GREETING, b"\x05\xff")], login),
        ("", &[(GREETING, b"\x05\0"), (NAME, b"\x05\x05\0\x01\0\0\0\0\0\0")], "connection refused"),
        ("", &[(GREETING, b"\x05\0"), (NAME, b"\x05\x04")], "host unreachable"),
        ("", &[(GREETING, b"SSH-2.0-x\r\n")], "the proxy does not speak SOCKS 5"),
        ("", &[(GREETING, b"\x05\0"), (NAME, b"\x05\0\0")], "the proxy has closed the connection"),
        (
            "-P me",
            &[(GREETING_WITH_LOGIN, b"\x05\x02"), (b"\x01\x02me\x06secret", b"\x01\x01")],
            "the proxy does not accept the user or the password",
        ),
        (
            "-X connect",
            &[(CONNECT, b"HTTP/1.1 403 \x1b[31mNo\r\nContent-Length: 4\r\n\r\nnono")],
            r"the proxy says: HTTP/1.1 403 \x1b[31mNo",
        ),
        (
            "-X connect",
            &[(CONNECT, b"HTTP/1.1 407 Authenticate\r\n\r\n")],
            "the proxy wants a user and a password (-P USER): HTTP/1.1 407 Authenticate",
        ),
        ("-X connect", &[(CONNECT, b"\x05\xff")], "the proxy does not speak HTTP"),
        ("-X connect", &[(CONNECT, &endless)], "the proxy's reply does not end"),
    ];
    for (args, script, why) in table {
        let proxy = Server::new();
        let remote = through(&proxy, &format!("{args} name.invalid 8080"))
            .env("REMOTE_PROXY_PASSWORD", "secret")
            .start();
        let mut stream = proxy.accept();
        // To close with unread bytes would send a reset.
        for (hears, says) in script {
            stream.read_exact(&mut vec![0; hears.len()]).unwrap();
            // It may have closed already.
            let _ = stream.write_all(says);
        }
        if args == "-X 4" {
            stream.read_exact(&mut [0; 20]).unwrap();
        }
        drop(stream);
        let at = format!("127.0.0.1 port {}", proxy.port());
        let line = format!("remote: connect to name.invalid port 8080 through the proxy {at}: {why}\n");
        assert_eq!(remote.wait().expect(1, &line).stdout, b"", "{args}");
    }
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = format!("127.0.0.1:{port}");
    let line = format!("remote: reach the proxy: connect to 127.0.0.1 port {port}: connection refused\n");
    Remote::new(["-x", &at, "name.invalid", "80"]).run().expect(1, &line);
    let sentence = ["remote: reach the proxy: look up no-such-proxy.invalid: "];
    Remote::new(["-x", "no-such-proxy.invalid", "127.0.0.1", "80"]).run().expect_failure(1, &sentence);
}

#[test]
fn a_proxy_that_keeps_silent_is_not_waited_for() {
    let proxy = Server::new();
    let at = format!("127.0.0.1 port {}", proxy.port());
    for (limit, part) in [("-T", ""), ("-w", ""), ("-T", "\x05"), ("-T", "\x05\0\x05\0\0\x03\x09")] {
        let remote = through(&proxy, &format!("{limit} 0.3 name.invalid 80")).start();
        let mut stream = proxy.accept();
        stream.write_all(part.as_bytes()).unwrap();
        let why = format!("connect to name.invalid port 80 through the proxy {at}: timed out");
        remote.wait().expect_failure(1, &[&why]);
    }
    let remote = through(&proxy, "name.invalid 80").start();
    let mut stream = proxy.accept();
    stream.read_exact(&mut [0; 3]).unwrap();
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);
}

#[test]
fn a_refusal_is_tried_again() {
    let proxy = Server::new();
    let remote = through(&proxy, "-v --retry 2 -X connect name.invalid 8080").stdin("hello").start();
    play(&mut proxy.accept(), &[(CONNECT, b"HTTP/1.1 503 Later\r\n\r\n")], b"", 1);
    remote.said("the proxy says: HTTP/1.1 503 Later; trying again");
    drop(proxy.accept());
    remote.said("; trying again\n");
    let mut stream = proxy.accept();
    play(&mut stream, &[(CONNECT, CONNECT_OPEN)], b"answer", 1);
    assert_eq!(read_all(&mut stream), b"hello");
    drop(stream);
    let ended = remote.wait();
    assert_eq!((ended.code, &ended.stdout[..]), (0, &b"answer"[..]), "{ended:?}");
    // The time limit is for all tries together.
    let started = Instant::now();
    let remote = through(&proxy, "-T 0.5 --retry forever -X connect name.invalid 8080").start();
    play(&mut proxy.accept(), &[(CONNECT, b"HTTP/1.1 503 Later\r\n\r\n")], b"", 1);
    remote.wait().expect_failure(1, &["503 Later"]);
    assert!(started.elapsed().as_secs() < 10, "-T did not bound the tries");
}

/// Plays a proxy that accepts `me` with this password.
fn let_in(proxy: &Server, password: &str) -> TcpStream {
    let mut stream = proxy.accept();
    let login = [b"\x01\x02me", &[password.len() as u8][..], password.as_bytes()].concat();
    let script: Script<'_> = &[(GREETING_WITH_LOGIN, b"\x05\x02"), (&login, b"\x01\0"), (NAME, SOCKS5_OPEN)];
    play(&mut stream, script, b"", 1);
    stream
}

#[test]
fn the_password_comes_from_a_file_or_the_environment() {
    let (dir, proxy) = (Dir::new(), Server::new());
    let long = "x".repeat(255);
    for (text, password) in [("in a file\nmore\n", "in a file"), ("crlf\r\n", "crlf"), (&long, &long)] {
        let file = dir.file("password", text.as_bytes());
        let args = format!("-P me --proxy-password-file {} name.invalid 8080", file.display());
        let remote = through(&proxy, &args).env("REMOTE_PROXY_PASSWORD", "of less weight").start();
        drop(let_in(&proxy, password));
        remote.wait().expect_quiet_success();
    }
    for password in ["with blanks and ünlauts", ""] {
        let remote =
            through(&proxy, "-P me name.invalid 8080").env("REMOTE_PROXY_PASSWORD", password).start();
        drop(let_in(&proxy, password));
        remote.wait().expect_quiet_success();
    }
    let run = |password: &str| {
        through(&proxy, "-P me name.invalid 8080").env("REMOTE_PROXY_PASSWORD", password).run()
    };
    run(&"x".repeat(256)).expect(2, "remote: the password for a SOCKS proxy has 255 bytes at most\n");
    run("a\nb").expect(2, "remote: the user or the password for the proxy has control characters\n");
    let args = |file: &str| format!("-P me --proxy-password-file {file} name.invalid 8080");
    through(&proxy, &args("/no/such")).run().expect(1, "remote: read /no/such: no such file or directory\n");
    let empty = dir.file("empty", b"\nsecond\n");
    let why = "its first line is no password: it is empty";
    through(&proxy, &args(empty.to_str().unwrap())).run().expect_failure(1, &[why]);
}

#[test]
fn without_a_password_or_a_terminal_the_sources_of_one_are_named() {
    let why = "remote: -P needs a password: REMOTE_PROXY_PASSWORD in the environment, --proxy-password-file FILE, \
               or a terminal to ask at\n";
    let args = ["-x", "127.0.0.1", "-P", "me", "name.invalid", "80"];
    // A session of its own has no terminal.
    Remote::through(&["setsid", "--wait"], args).run().expect(2, why);
}

#[test]
fn the_password_is_asked_for_and_not_shown() {
    let (terminal, proxy) = (Terminal::new(), Server::new());
    let before = terminal.settings();
    let at = format!("127.0.0.1:{}", proxy.port());
    let args = ["-x", &at, "-P", "me", "name.invalid", "8080"];
    let prompt = format!("Password of me for the proxy 127.0.0.1 port {}: ", proxy.port());
    // Even if all three streams are something else.
    let remote = Remote::through(&["setsid", "--ctty", "--wait"], args).stdin_from(terminal.stdio()).start();
    terminal.shows(&prompt);
    terminal.type_in(b"secreT\x7ft\n");
    let mut stream = let_in(&proxy, "secret");
    stream.write_all(b"answer").unwrap();
    assert_eq!(remote.printed(6), b"answer");
    // The terminal is a terminal again.
    terminal.type_in(b"typed\n");
    let mut typed = [0; 6];
    stream.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"typed\n");
    drop(stream);
    remote.wait();
    let screen = terminal.shows("typed");
    assert!(!screen.to_lowercase().contains("secret"), "{screen}");
    assert_eq!(terminal.settings().local_modes, before.local_modes);

    // Ctrl-C, and ctrl-D.
    for (key, code) in [(b"\x03", 130), (b"\x04", 1)] {
        let terminal = Terminal::new();
        let remote = terminal.remote(&args).start();
        terminal.shows(&prompt);
        terminal.type_in(key);
        assert_eq!(remote.wait().code, code);
        assert_eq!(terminal.settings().local_modes, before.local_modes);
    }
}

#[test]
fn the_time_limit_begins_when_the_password_is_typed() {
    let (terminal, proxy) = (Terminal::new(), Server::new());
    let at = format!("127.0.0.1:{}", proxy.port());
    let remote = terminal.remote(&["-x", &at, "-P", "me", "-T", "2", "name.invalid", "8080"]).start();
    terminal.shows("Password of me");
    // For as long as -T allows, the password is not typed.
    assert_eq!(Remote::new(["-l", "-w", "2"]).run().code, 1);
    terminal.type_in(b"secret\n");
    drop(let_in(&proxy, "secret"));
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn ctrl_z_shows_again_what_is_typed_and_fg_hides_it() {
    let (terminal, proxy) = (Terminal::new(), Server::new());
    let script = "\"$0\" \"$@\"; stty -a | grep -ow -- '-*echo'; fg >/dev/null";
    let at = format!("127.0.0.1:{}", proxy.port());
    let args = ["-x", &at, "-P", "me", "name.invalid", "8080"];
    let remote = Remote::through(&["setsid", "--ctty", "--wait", "sh", "-mc", script], args);
    let remote = remote.stdin_from(terminal.stdio()).stdout_to(terminal.stdio()).stderr_to(terminal.stdio());
    let remote = remote.start();
    terminal.shows("port ");
    terminal.type_in(b"half\x1a");
    terminal.shows(": echo");
    let hides = || !terminal.settings().local_modes.contains(rustix::termios::LocalModes::ECHO);
    eventually("the echo to be off", || hides().then_some(()));
    let screen = eventually("the second prompt", || {
        let screen = terminal.shows("");
        (screen.matches("Password of me").count() == 2).then_some(screen)
    });
    assert!(!screen.contains("half"), "{screen}");
    terminal.type_in(b"secret\n");
    drop(let_in(&proxy, "secret"));
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn a_proxy_costs_no_copies() {
    if !has("strace") || !on_linux("splice") {
        return;
    }
    let (dir, proxy, bytes) = (Dir::new(), Server::new(), noise(4_000_000));
    let log = dir.join("log");
    let strace = ["strace", "-o", log.to_str().unwrap(), "-e", "trace=splice,recvfrom,sendto"];
    let at = format!("127.0.0.1:{}", proxy.port());
    let args = ["-x", &at, "-X", "connect", "--recv-only", "name.invalid", "8080"];
    let remote = Remote::through(&strace, args).start();
    play(&mut proxy.accept(), &[(CONNECT, CONNECT_OPEN)], &bytes, usize::MAX);
    assert!(remote.wait().expect_quiet_success().stdout == bytes);
    let log = fs::read_to_string(log).unwrap();
    let moved = |call: &str| -> usize {
        let calls = log.lines().filter(|line| line.starts_with(call) && !line.contains("MSG_PEEK"));
        calls.filter_map(|line| line.rsplit("= ").next()?.parse::<usize>().ok()).sum()
    };
    assert_eq!((moved("splice"), moved("recvfrom")), (bytes.len(), CONNECT_OPEN.len()));
}

/// Sends much both ways through a proxy that is asked with `args`, to a destination `of` the name. Our end of file comes last:
/// not every proxy knows half of a connection.
fn carries_much(start: impl Fn(&[&str]) -> Remote, args: &[&str], host: &str, destination: &Server) {
    let (port, bytes) = (destination.port(), noise(2_000_000));
    let mut remote = start(&[&["--retry", "30"], args, &[host, &port]].concat()).stdin_open().start();
    let mut stream = destination.accept();
    stream.write_all(&bytes).unwrap();
    assert!(remote.printed(bytes.len()) == bytes, "{args:?} {host}");
    remote.type_in(&bytes[..50_000]);
    let mut came = vec![0; 50_000];
    stream.read_exact(&mut came).unwrap();
    assert!(came == bytes[..50_000], "{args:?} {host}");
    remote.close_stdin();
    drop(stream);
    remote.wait().expect_quiet_success();
}

/// Another program, with the limits and pipes of the bench.
fn shell(prefix: &[&str], command: &str) -> Running {
    let command = format!("exec {command}");
    Remote::through(&[prefix, &["sh", "-c", &command]].concat(), [""; 0]).start()
}

#[test]
fn ncat_is_a_proxy() {
    if !has("ncat") {
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = format!("127.0.0.1:{port}");
    let _ncat = shell(&[], &format!("ncat -lk --proxy-type http --proxy-auth me:secret 127.0.0.1 {port}"));
    let start = |args: &[&str]| Remote::new(args).env("REMOTE_PROXY_PASSWORD", "secret");
    let args = ["-X", "connect", "-x", &at, "-P", "me"];
    for (host, address) in [("127.0.0.1", "127.0.0.1:0"), ("localhost", "127.0.0.1:0"), ("::1", "[::1]:0")] {
        carries_much(start, &args, host, &Server::at(address));
    }
    let wanted = ["-X", "connect", "-x", &at, "127.0.0.1", "1"];
    let why = "the proxy wants a user and a password (-P USER): HTTP/1.0 407 ";
    Remote::new(wanted).run().expect_failure(1, &[why]);
    let why = "the proxy does not accept the user or the password: HTTP/1.0 407 ";
    let wrong = Remote::new([&args[..], &["127.0.0.1", "1"]].concat()).env("REMOTE_PROXY_PASSWORD", "wrong");
    wrong.run().expect_failure(1, &[why]);
}

/// The proxy is `b`, the destination too; the ports are the ones that we take if none is given.
#[test]
fn tinyproxy_is_a_proxy() {
    if !has("tinyproxy") {
        return;
    }
    let Some(hosts) = Hosts::new() else { return };
    hosts.b.name_hosts("10.9.0.2 four\nfd09::2 six\n");
    let dir = Dir::new();
    let config = dir.file("config", b"Port 3128\nBasicAuth me secret\nLogLevel Critical\n");
    let netns = ["ip", "netns", "exec", &hosts.b.name];
    let _tinyproxy = shell(&netns, &format!("tinyproxy -d -c {}", config.display()));
    let start = |args: &[&str]| hosts.a.remote(args).env("REMOTE_PROXY_PASSWORD", "secret");
    let args = ["-X", "connect", "-P", "me", "-x", "10.9.0.2"];
    for (host, address) in [
        ("10.9.0.2", "10.9.0.2:7001"),
        ("four", "10.9.0.2:7002"),
        ("fd09::2", "[fd09::2]:7003"),
        ("six", "[fd09::2]:7004"),
    ] {
        carries_much(start, &args, host, &hosts.b.server(address));
    }
    carries_much(
        start,
        &["-X", "connect", "-P", "me", "-x", "fd09::2"],
        "four",
        &hosts.b.server("10.9.0.2:7005"),
    );
    let refused = start(&[&args[..], &["10.9.0.2", "1"]].concat()).run();
    refused.expect_failure(1, &["the proxy says: HTTP/1."]);
    let refused = hosts.a.remote(["-X", "connect", "-x", "10.9.0.2", "10.9.0.2", "1"]).run();
    refused.expect_failure(1, &["the proxy wants a user and a password (-P USER): HTTP/1."]);
}

/// Without users, which would have to be the system's; of SOCKS 4a it knows nothing.
#[test]
fn dante_is_a_proxy() {
    if !has("danted") {
        return;
    }
    let Some(hosts) = Hosts::new() else { return };
    hosts.b.name_hosts("10.9.0.2 four\nfd09::2 six\n");
    let dir = Dir::new();
    let text = "logoutput: /dev/null\ninternal: veth0 port = 1080\nexternal: veth0\nclientmethod: none\n\
                socksmethod: none\nclient pass { from: 0/0 to: 0/0 }\n\
                socks block { from: 0/0 to: 0/0 port = 9 }\nsocks pass { from: 0/0 to: 0/0 }\n";
    let config = dir.file("config", text.as_bytes());
    let netns = ["ip", "netns", "exec", &hosts.b.name];
    let danted = shell(&netns, &format!("danted -p {} -f {}", dir.join("pid").display(), config.display()));
    let start = |args: &[&str]| hosts.a.remote(args);
    for (kind, host, address) in [
        ("4", "10.9.0.2", "10.9.0.2:7001"),
        ("5", "10.9.0.2", "10.9.0.2:7003"),
        ("5", "four", "10.9.0.2:7004"),
        ("5", "fd09::2", "[fd09::2]:7005"),
        ("5", "six", "[fd09::2]:7006"),
    ] {
        carries_much(start, &["-X", kind, "-x", "10.9.0.2"], host, &hosts.b.server(address));
    }
    let refused = |kind: &str, port: &str, why: &str| {
        let args = ["-X", kind, "-x", "10.9.0.2:1080", "10.9.0.2", port];
        hosts.a.remote(args).run().expect_failure(1, &[why]);
    };
    refused("5", "1", "through the proxy 10.9.0.2 port 1080: connection refused");
    refused("5", "9", "through the proxy 10.9.0.2 port 1080: connection not allowed by the proxy's ruleset");
    refused("4", "1", "through the proxy 10.9.0.2 port 1080: request rejected or failed");
    // It has children that it takes with it.
    danted.signal(Signal::TERM);
    danted.wait();
}
