//! The command line: wrong usage and its messages, and help.

use crate::bench::Remote;

#[test]
fn wrong_usage_is_one_line_with_a_remedy() {
    let table: Vec<(&str, &str)> = vec![
        // Missing arguments.
        ("", "HOST is missing: where to connect to?"),
        ("9000", "HOST is missing: '9000' is a port (to listen on it: -l 9000)"),
        ("-z host", "-z needs ports: HOST 22,80 or HOST 8000-8010"),
        ("-z", "-z needs HOST and ports"),
        ("-U", "-U needs a PATH"),
        ("host -p", "--port needs a value (see remote --help)"),
        // Ports.
        ("host 0", "port 0 cannot be connected to"),
        ("host 65536", "port 65536 is out of range: 65535 is the last"),
        ("host -- -1", "'-1' is neither a port number nor a service that is known here"),
        ("host -p -1", "'-1' is neither a port number nor a service that is known here"),
        ("-l -p 65536", "port 65536 is out of range: 65535 is the last"),
        (
            "host no-such-service",
            "'no-such-service' is neither a port number nor a service that is known here",
        ),
        ("host 80,90", "several ports need -z"),
        ("host 80-90", "several ports need -z"),
        ("host 80 90", "several ports need -z"),
        ("-z host 90-80", "the range 90-80 runs backwards"),
        ("host:80 90", "the port is given twice: in 'host:80' and as '90'"),
        ("-l -p 80 90", "the port is given twice: '90' and -p 80"),
        ("-p 1 --source-port 2 host 3", "the source port is given twice"),
        // Destinations.
        ("http://host/", "'http://' is not known here: tcp://, udp:// and unix: are"),
        ("host: 80", "'host:' has a colon but no port"),
        ("[::1 80", "'[::1' has no closing bracket"),
        ("-u tcp://host:80", "-u contradicts 'tcp://host:80'"),
        ("-n localhost 80", "-n looks up no names: HOST must be an address"),
        ("-6 127.0.0.1 80", "127.0.0.1 is not an IPv6 address"),
        ("-4 ::1 80", "::1 is not an IPv4 address"),
        ("-4 -6 host 80", "-4 and -6 exclude each other"),
        ("-a host host 80", "-a 'host' is not an address"),
        ("-4 -a ::1 host 80", "-a ::1 is not an IPv4 address"),
        ("-l -a 127.0.0.1 127.0.0.2 80", "the address to bind is given twice: HOST and -a"),
        // Words that -r takes for its FILE.
        (
            "-l -r 9000",
            "-r took '9000' for its FILE: to listen on that port say '-r -p 9000', to receive into that file say '-r ./9000'",
        ),
        (
            "-lr 9000",
            "-r took '9000' for its FILE: to listen on that port say '-r -p 9000', to receive into that file say '-r ./9000'",
        ),
        (
            "-l -r 127.0.0.1 9000",
            "-r took '127.0.0.1' for its FILE: to listen at that address say '-a 127.0.0.1 -r', to receive into that file say '-r ./127.0.0.1'",
        ),
        (
            "-r host 80",
            "-r took 'host' for its FILE, and no HOST is left: say 'host 80 -r', or '-r ./host HOST 80'",
        ),
        (
            "-r host",
            "-r took 'host' for its FILE, and no HOST is left: say 'host PORT -r', or '-r ./host HOST PORT'",
        ),
        // Options that mean something else in nc.
        (
            "-s 10.0.0.1 host 80",
            "-s sends a file, and there is none called '10.0.0.1'; the source address is -a 10.0.0.1",
        ),
        (
            "-T lowdelay host 80",
            "--timeout 'lowdelay': a time is a number, with ms, s, m or h if it is not in seconds; nc's -T, the type of service, is --tos here (see remote --help)",
        ),
        (
            "-I 1000 host 80",
            "there is no option '-I'; nc's receive buffer is --rcvbuf here (see remote --help)",
        ),
        ("-O 1000 host 80", "there is no option '-O'; nc's send buffer is --sndbuf here (see remote --help)"),
        // Conflicts.
        ("-k host 80", "-k needs -l"),
        ("-l -m 3 80", "-m needs -k"),
        ("-l --one-by-one 80", "--one-by-one needs -k"),
        ("-lz 80", "-z looks at ports, -l listens: give one of them"),
        ("-z -s f host 80", "-z sends and receives nothing: leave out -s and -r"),
        ("-T 1 -l 80", "-T is for connecting; for waiting use -w"),
        ("-T 1 -u host 80", "-T is for TCP: UDP connects at once; for waiting use -w"),
        ("--retry 3 -l 80", "--retry is for connecting"),
        ("--send-only --recv-only host 80", "--send-only and --recv-only exclude each other"),
        ("--send-only -r f -l 80", "--send-only contradicts -r"),
        ("--recv-only -s f host 80", "--recv-only contradicts -s"),
        ("--force host 80", "--force needs -r FILE"),
        ("-Qv host 80", "-Q and -v exclude each other"),
        ("-lb 80", "-b with -l needs -i"),
        ("-W 3 host 80", "-W counts datagrams: it needs -u"),
        ("--broadcast host 80", "--broadcast needs -u"),
        ("--datagram 100 host 80", "--datagram needs -u or -d"),
        ("-u --datagram 70000 host 80", "--datagram can be 65507 at most"),
        ("-u --half-open host 80", "--half-open is for TCP: UDP has no end to pass on"),
        ("-ut host 80", "-t is for streams: leave out -u"),
        ("-lu --zstd 80", "--zstd is for streams: leave out -u"),
        ("-t --zstd host 80", "-t and --zstd exclude each other"),
        ("-u --join 239.1.1.1 host 80", "--join needs -l -u"),
        ("-lu --join 10.0.0.1 80", "--join needs a multicast address"),
        ("-u --nodelay host 80", "--nodelay is for TCP"),
        ("-U --mptcp path", "--mptcp means nothing for a UNIX socket"),
        ("-U -i lo path", "-i means nothing for a UNIX socket"),
        ("-U path 80", "a port means nothing for a UNIX socket"),
        ("--tls -u host 80", "--tls is for streams: leave out -u"),
        ("--tls -z host 80", "-z sends nothing: leave out --tls"),
        ("--tls-insecure host 80", "--tls-insecure needs --tls"),
        (
            "--tls-pin sha256:0000000000000000000000000000000000000000000000000000000000000000 host 80",
            "--tls-pin needs --tls",
        ),
        ("--tls --tls-key f host 80", "--tls-key needs --tls-cert"),
        (
            "--tls --tls-insecure --tls-ca f host 80",
            "--tls-insecure verifies nothing: leave out --tls-ca and --tls-pin",
        ),
        ("-l --tls --tls-ca f 80", "--tls-ca verifies a server; for clients it is --tls-client-ca"),
        ("-l --tls --tls-name n 80", "--tls-name is for connecting"),
        ("-l --tls --tls-insecure 80", "--tls-insecure is for connecting"),
        ("--tls --tls-client-ca f host 80", "--tls-client-ca needs -l; for connecting it is --tls-ca"),
        ("--ssl host 80", "there is no option '--ssl'; ncat's --ssl is --tls here (see remote --help)"),
        // Proxies.
        ("-x proxy -l 80", "-x is for connecting"),
        ("-x proxy -u host 80", "-x is for TCP"),
        ("-x proxy udp://host:80", "-x is for TCP"),
        ("-x proxy -U path", "-x means nothing for a UNIX socket"),
        ("-x proxy unix:path", "-x means nothing for a UNIX socket"),
        ("-x proxy -z host 80", "-z looks at ports from here: leave out -x"),
        ("-X 4 host 80", "-X needs -x"),
        ("-P me host 80", "-P needs -x"),
        ("-x proxy --proxy-password-file f host 80", "--proxy-password-file needs -P"),
        (
            "-x proxy -X 4 -P me --proxy-password-file f host 80",
            "SOCKS 4 has no passwords: leave out --proxy-password-file",
        ),
        ("-x unix:proxy host 80", "-x 'unix:proxy' should be ADDR, ADDR:PORT or [ADDR]:PORT"),
        ("-x udp://proxy host 80", "-x 'udp://proxy' should be ADDR, ADDR:PORT or [ADDR]:PORT"),
        ("-x :1080 host 80", "-x ':1080' names no proxy"),
        ("-x proxy:0 host 80", "port 0 cannot be connected to"),
        ("-x proxy:65536 host 80", "port 65536 is out of range: 65535 is the last"),
        ("-x proxy -n 127.0.0.1 80", "-n looks up no names: the proxy must be an address"),
        ("-x 127.0.0.1 -n host 80", "-n looks up no names: HOST must be an address"),
        ("-x 127.0.0.1 -6 host 80", "127.0.0.1 is not an IPv6 address"),
        ("-x [::1]:1080 -4 host 80", "::1 is not an IPv4 address"),
        ("-x proxy fe80::1%lo 80", "fe80::1%lo is on a link of ours, where the proxy is not"),
        ("-x proxy -X 4 ::1 80", "SOCKS 4 cannot reach an IPv6 address: -X 5 can"),
        (
            "-x proxy a:b:c 80",
            "a proxy looks up names of 1 to 255 bytes, without colons, blanks and control characters",
        ),
        ("-x proxy -X connect -P a:b host 80", "the user of an HTTP proxy has no colon in his name"),
        ("-x proxy -X 3 host 80", "invalid value '3' for '--proxy-type <4|5|connect>' (see remote --help)"),
        (
            "--proxy-auth me:secret host 80",
            "there is no option '--proxy-auth'; the user is -P here, and the password is no argument (see remote --help)",
        ),
        // Values.
        (
            "--tls --tls-pin sha1:00 host 80",
            "--tls-pin 'sha1:00': a pin is sha256: and 64 hexadecimal digits, or 44 characters of Base64 (see remote --help)",
        ),
        (
            "-w soon host 80",
            "--idle-timeout 'soon': a time is a number, with ms, s, m or h if it is not in seconds (see remote --help)",
        ),
        (
            "--rate 0 host 80",
            "--rate '0': a size is a number above 0, with k, M, G, Ki, Mi or Gi if it is not in bytes (see remote --help)",
        ),
        ("--zstd=20 host 80", "--zstd '20': 20 is not in 1..=19 (see remote --help)"),
        ("-M 0 host 80", "--ttl '0': 0 is not in 1..=255 (see remote --help)"),
        (
            "--tos fast host 80",
            "--tos 'fast': a number from 0 to 255, or a name as lowdelay, ef, af11, cs1 (see remote --help)",
        ),
        ("--retry often host 80", "--retry 'often': a number or 'forever' (see remote --help)"),
        ("--join here -lu 80", "--join 'here': invalid IP address syntax (see remote --help)"),
        ("--listne 80", "there is no option '--listne'; did you mean --listen? (see remote --help)"),
        ("-p 1 -p 2 host", "--port is given twice (see remote --help)"),
    ];
    for (line, why) in table {
        Remote::new(line.split_whitespace()).run().expect(2, &format!("remote: {why}\n"));
    }
}

#[test]
fn letters_that_are_not_ours_yet_are_refused() {
    for letter in ["-F", "--vsock", "tunnel --to"] {
        let ended = Remote::new(letter.split(' ').chain(["host", "80"])).run();
        assert_eq!(ended.code, 2, "{letter}");
        ended.expect_failure(2, &["there is no option '"]);
    }
}

#[test]
fn control_characters_in_arguments_are_shown_and_not_obeyed() {
    let ended = Remote::new(["--", "a\x1b[31mb", "no\nport"]).run();
    ended.expect_failure(2, &["no\\nport"]);
    Remote::new(["-\x1b"]).run().expect_failure(2, &["\\u{1b}"]);
}

#[test]
fn help_and_version_go_to_stdout() {
    for flag in ["-h", "--help"] {
        let ended = Remote::new([flag]).run().expect_quiet_success();
        let help = String::from_utf8(ended.stdout).unwrap();
        for option in
            ["-l, --listen", "-u, --udp", "-r, --receive [<FILE>]", "-T, --timeout <TIME>", "Exit status: 0"]
        {
            assert!(help.contains(option), "{flag}: no {option} in {help}");
        }
    }
    let version = Remote::new(["--version"]).run().expect_quiet_success();
    assert_eq!(version.stdout, format!("remote {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}

#[test]
fn nothing_but_payload_is_on_stdout() {
    let lines = [
        "-v",
        "127.0.0.1 1",
        "-zv 127.0.0.1 1-5",
        "-lv -w 0.1",
        "-z --json 127.0.0.1 1",
        "no-such-name.invalid 80",
    ];
    for line in lines {
        assert_eq!(Remote::new(line.split(' ')).run().stdout, b"", "{line}");
    }
}
