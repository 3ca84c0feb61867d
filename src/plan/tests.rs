//! Tables over [`Plan::new`]: a row for every option of every command, and one for every conflict.

use std::{collections::BTreeSet, ffi::OsString};

use clap::CommandFactory;

use super::*;

/// Returns the options about messages and the plan, or the error, as `Debug` shows them.
fn plan(line: &str) -> String {
    let args = std::iter::once("remote").chain(line.split_whitespace()).map(OsString::from);
    let command = cli::Command::read(args).unwrap_or_else(|error| panic!("{line}: {error}"));
    format!("{:?} {:?}", command.messages(), Plan::new(&command))
}

/// A command line, an option to add to it, and a part of the plan that the option brings about.
type Row = (&'static str, &'static str, &'static str);

const OPTIONS: &[Row] = &[
    // remote
    ("host 80", "-4", "only: Some(V4)"),
    ("host 80", "-6", "only: Some(V6)"),
    ("host 80", "-n", "-n looks up no names"),
    ("host 80", "-i none", "there is no interface 'none'"),
    ("127.0.0.1 80", "-l", "Listen(Listen {"),
    ("host", "-p 81", "port: 81, random: false"),
    ("host 80", "-p 81", "source_port: Some(81)"),
    ("host 80", "-a 127.0.0.1", "source: Some(127.0.0.1)"),
    ("host 80", "--source-port 81", "source_port: Some(81)"),
    ("host 80", "-b", "bind_device: true"),
    ("host 80", "-u", "transport: Datagram"),
    ("path", "-U", "Unix(\"path\")"),
    ("host 80", "-z", "Scan(Scan {"),
    ("host 80", "-s f", "input: File(\"f\")"),
    ("host 80", "-r f", "output: File { path: \"f\""),
    ("host 80", "-r", "output: Automatic"),
    ("host 80", "-r f", "direction: Receive"),
    ("host 80", "--send-only", "direction: Send"),
    ("host 80", "--recv-only", "direction: Receive"),
    ("host 80", "--lines", "lines: true"),
    ("host 80", "-w 3", "idle: Some(3s)"),
    ("host 80", "--retry 3", "retry: 3"),
    ("host 80", "--rate 1k", "rate: Some(1000)"),
    ("host 80", "--digest", "digest: true"),
    ("host 80 -r f", "--force", "force: true"),
    ("host 80", "-T 3", "timeout: Some(3s)"),
    ("-z host 80", "-T 3", "timeout: Some(3s)"),
    ("host 80", "--no-sandbox", "sandbox: false"),
    ("host 80", "-d 3", "delay: Some(3s)"),
    ("host 80", "-q 3", "quit: Some(3s)"),
    ("host 80 --no-shutdown", "-N", "pass_eof: true"),
    ("host 80", "--no-shutdown", "pass_eof: false"),
    ("host 80", "--half-open", "half_open: true"),
    ("host 80", "-C", "crlf: true"),
    ("host 80", "-t", "telnet: true"),
    ("host 80", "--zstd=7", "zstd: Some(7)"),
    ("-u host 80", "--datagram 500", "datagram_size: 500"),
    ("-u host 80", "-W 3", "max_datagrams: Some(3)"),
    ("-l 80", "-k", "Serve(Serve {"),
    ("-l 80", "-k", "role: Serve"),
    ("-lk 80", "-m 3", "max_clients: 3 }"),
    ("-lk 80", "--one-by-one", "max_clients: 1 }"),
    ("-l 80", "--allow any", "allow: Some([Any])"),
    ("-l 80", "--deny any", "deny: [Any]"),
    ("-lk 80", "--max-per-ip 3", "max_per_ip: Some(3)"),
    ("host 80", "-e sh", "Words([\"sh\"])"),
    ("host 80", "-c true", "Shell(\"true\")"),
    ("host 80 -e sh", "--keep-children", "keep: true"),
    ("host 80", "--tls", "trust: System"),
    ("host 80 --tls", "--tls-ca f", "trust: CaFile(\"f\")"),
    (
        "host 80 --tls",
        "--tls-pin 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "trust: Pins",
    ),
    ("host 80 --tls", "--tls-name n", "name: Some(\"n\")"),
    ("host 80 --tls", "--tls-alpn h2", "alpn: [\"h2\"]"),
    ("host 80 --tls", "--tls-cert f", "identity: Some((\"f\", \"f\"))"),
    ("host 80 --tls --tls-cert f", "--tls-key g", "identity: Some((\"f\", \"g\"))"),
    ("-l --tls 80", "--tls-client-ca f", "trust: CaFile(\"f\")"),
    ("host 80 --tls", "--tls-insecure", "trust: Unverified"),
    ("host 80", "-x proxy", "proxy: Some(Proxy { at: Host { host: \"proxy\", port: 1080"),
    ("host 80 -x proxy", "-X 4", "protocol: Socks4"),
    ("host 80 -x proxy", "-P me", "user: Some(\"me\")"),
    ("host 80 -x proxy -P me", "--proxy-password-file f", "password_file: Some(\"f\")"),
    ("host 80", "-o f", "dump: Some(\"f\")"),
    ("host 80", "--json", "json: true"),
    ("host 80", "--progress", " progress: true"),
    ("host 80", "--no-progress", "no_progress: true"),
    ("host 80", "-Q", "quiet: true"),
    ("host 80", "-v", "verbose: 1"),
    ("-u host 80", "--broadcast", "broadcast: true"),
    ("-lu 80", "--join 239.1.1.1", "join: Some(239.1.1.1)"),
    ("host 80", "--tos ef", "tos: Some(184)"),
    ("host 80", "-M 3", "ttl: Some(3)"),
    ("host 80", "--sndbuf 1k", "sndbuf: Some(1000)"),
    ("host 80", "--rcvbuf 1k", "rcvbuf: Some(1000)"),
    ("host 80", "--nodelay", "nodelay: true"),
    ("host 80", "--keepalive 3", "keepalive: Some(3s)"),
    ("host 80", "--congestion reno", "congestion: Some(\"reno\")"),
    ("host 80", "--mptcp", "mptcp: true"),
    // remote relay
    ("relay 127.0.0.1 81", "-l", "Relay(Relay {"),
    ("relay host name", "-p 81", "port: 81,"),
    ("relay host name", "-a 127.0.0.1", "source: Some(127.0.0.1)"),
    ("relay host name", "-i none", "there is no interface 'none'"),
    ("relay host name", "-4", "only: Some(V4)"),
    ("relay host name", "-6", "only: Some(V6)"),
    ("relay host name", "-n", "-n looks up no names"),
    ("relay host name", "--to other", "to: Some(\"other\")"),
    ("relay host name --to other", "-s f", "input: File(\"f\")"),
    ("relay host name", "-r f", "output: File { path: \"f\""),
    ("relay host name -r f", "--force", "force: true"),
    ("relay host name", "--send-only", "direction: Send"),
    ("relay host name", "--recv-only", "direction: Receive"),
    ("relay host name", "--lines", "lines: true"),
    ("relay host name", "-w 3", "idle: Some(3s)"),
    ("relay host name", "-T 3", "timeout: Some(3s)"),
    ("relay host name", "--retry forever", "retry: 18446744073709551615"),
    ("relay host name", "--rate 1k", "rate: Some(1000)"),
    ("relay host name", "--digest", "digest: true"),
    ("relay host name", "--progress", " progress: true"),
    ("relay host name", "--no-progress", "no_progress: true"),
    ("relay -l", "--token-file f", "token: Some(\"f\")"),
    ("relay host name", "--token-file f", "token: Some(\"f\")"),
    ("relay host name", "--key-file f", "key: Some(\"f\")"),
    ("relay -l", "--max-clients 3", "max_clients: Some(3)"),
    ("relay -l", "--max-per-ip 0", "max_per_ip: 0"),
    ("relay -l", "--max-message 1k", "max_message: 1000"),
    ("relay -l", "--buffer 1k", "buffer: 1000"),
    ("relay -l", "--stall 4", "stall: 4s"),
    ("relay -l", "--idle 4", "idle: 4s"),
    ("relay -l", "--register-timeout 4", "register_timeout: 4s"),
    ("relay -l", "--deliver framed", "framed: true"),
    ("relay -l", "--names f", "names: Some(\"f\")"),
    ("relay -l", "--tls-port 81", "tls: Some((81, Tls {"),
    ("relay -l", "--metrics 81", "metrics: Some(127.0.0.1:81)"),
    ("relay -l", "--no-sandbox", "sandbox: false"),
    ("relay host name", "--tls", "trust: System"),
    ("relay host name --tls", "--tls-ca f", "trust: CaFile(\"f\")"),
    (
        "relay host name --tls",
        "--tls-pin 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "trust: Pins",
    ),
    ("relay host name --tls", "--tls-name n", "name: Some(\"n\")"),
    ("relay host name --tls", "--tls-alpn h2", "alpn: [\"h2\"]"),
    ("relay host name --tls", "--tls-cert f", "identity: Some((\"f\", \"f\"))"),
    ("relay host name --tls --tls-cert f", "--tls-key g", "identity: Some((\"f\", \"g\"))"),
    ("relay -l --tls-port 81", "--tls-client-ca f", "trust: CaFile(\"f\")"),
    ("relay host name --tls", "--tls-insecure", "trust: Unverified"),
    ("relay host name", "--json", "json: true"),
    ("relay host name", "-Q", "quiet: true"),
    ("relay host name", "-v", "verbose: 1"),
    // remote practice
    ("practice", "-l", "Practice(Practice {"),
    ("practice host", "-p 81", " port: 81,"),
    ("practice host", "--udp-port 81", "udp_port: 81,"),
    ("practice host", "--files-port 81", "files_port: 81,"),
    ("practice host", "-u", "udp: true"),
    ("practice host -p 81", "-u", "udp_port: 81,"),
    ("practice host", "--force", "force: true"),
    ("practice host", "-T 3", "timeout: Some(3s)"),
    ("practice host", "--progress", " progress: true"),
    ("practice host", "--no-progress", "no_progress: true"),
    ("practice host", "--json", "json: true"),
    ("practice -l", "--root d", "root: Some(\"d\")"),
    ("practice -l", "-a 10.0.0.1", "addresses: [10.0.0.1]"),
    ("practice -l", "--open", "open: true"),
    ("practice -l", "--sequence", "sequence: true"),
    ("practice -l", "--marker-pause 3", "marker_pause: 3s"),
    ("practice -l", "--no-sandbox", "sandbox: false"),
    ("practice -l", "--while-open", "while_open: true"),
    ("practice host", "-Q", "quiet: true"),
    ("practice host", "-v", "verbose: 1"),
];

#[test]
fn every_option_sets_its_field() {
    for (line, option, part) in OPTIONS {
        let (without, with) = (plan(line), plan(&format!("{line} {option}")));
        assert!(!without.contains(part), "{line}: {without}");
        assert!(with.contains(part), "{line} {option}: {part} is not in {with}");
    }
}

#[test]
fn every_option_has_a_row() {
    for (command, name) in
        [(cli::Args::command(), ""), (cli::Relay::command(), "relay"), (cli::Practice::command(), "practice")]
    {
        let rows = OPTIONS.iter().filter(|(line, ..)| {
            let first = line.split(' ').next().unwrap_or_default();
            let of = if matches!(first, "relay" | "practice") { first } else { "" };
            of == name
        });
        let tested: BTreeSet<&str> =
            rows.map(|(_, option, _)| option.split([' ', '=']).next().unwrap_or_default()).collect();

        let mut count = 0;
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            let short = arg.get_short().map(|letter| format!("-{letter}")).unwrap_or_default();
            let long = arg.get_long().map(|name| format!("--{name}")).unwrap_or_default();
            assert!(tested.contains(&*short) || tested.contains(&*long), "{name} {short} {long} has no row");
            count += 1;
        }
        assert!(count > 15, "{name} has {count} options");
    }
}

#[test]
fn positional_arguments_are_hosts_ports_and_names() {
    let table = [
        ("host 80", "to: Host { host: \"host\", port: 80, random: false }"),
        ("host:80", "to: Host { host: \"host\", port: 80, random: false }"),
        ("host", "random: true"),
        ("udp://host:80", "transport: Datagram"),
        ("unix:path", "to: Unix(\"path\")"),
        ("-l 80", "at: Addresses([Inet([::]:80)])"),
        ("-l host 80", "at: Name { host: \"host\", port: 80 }"),
        ("-z host 80 90-92", "ports: [80, 90, 91, 92]"),
        ("relay host name", "port: 8080"),
        ("relay host 81 name", "port: 81"),
        ("relay host 81 name", "name: \"name\""),
        ("relay -l 127.0.0.1 81", "at: Addresses([Inet(127.0.0.1:81)])"),
        ("practice host 81", " port: 81,"),
        ("practice host -- stream 10 1", "command: Some(\"stream 10 1\")"),
    ];

    for (line, part) in table {
        let plan = plan(line);
        assert!(plan.contains(part), "{line}: {part} is not in {plan}");
    }
}

const CONFLICTS: &[(&str, &str)] = &[
    ("-4 -6 host 80", "-4 and -6 exclude each other"),
    ("-n host 80", "-n looks up no names: HOST must be an address"),
    ("-l -a 127.0.0.1 127.0.0.2 80", "the address to bind is given twice: HOST and -a"),
    ("-k host 80", "-k needs -l"),
    ("-l -m 3 80", "-m needs -k"),
    ("-l --one-by-one 80", "--one-by-one needs -k"),
    ("-lk --one-by-one -m 3 80", "--one-by-one is -m 1: give one of them"),
    ("-lz 80", "-z looks at ports, -l listens: give one of them"),
    ("-z -s f host 80", "-z sends and receives nothing: leave out -s and -r"),
    ("-l -x proxy 80", "-x is for connecting"),
    ("-z -x proxy host 80", "-z looks at ports from here: leave out -x"),
    ("-X 4 host 80", "-X needs -x"),
    ("-P me host 80", "-P needs -x"),
    ("-x proxy --proxy-password-file f host 80", "--proxy-password-file needs -P"),
    (
        "-x proxy -X 4 -P me --proxy-password-file f host 80",
        "SOCKS 4 has no passwords: leave out --proxy-password-file",
    ),
    ("-l -T 3 80", "-T is for connecting; for waiting use -w"),
    ("-u -T 3 host 80", "-T is for TCP: UDP connects at once; for waiting use -w"),
    ("-l --retry 3 80", "--retry is for connecting"),
    ("-l --source-port 81 80", "--source-port is for connecting; -p is the port to listen on"),
    ("-lb 80", "-b with -l needs -i"),
    ("--send-only --recv-only host 80", "--send-only and --recv-only exclude each other"),
    ("--send-only host 80 -r", "--send-only contradicts -r"),
    ("--recv-only -s f host 80", "--recv-only contradicts -s"),
    ("--force host 80", "--force needs -r FILE"),
    ("--force host 80 -r", "--force needs -r FILE"),
    ("-Qv host 80", "-Q and -v exclude each other"),
    ("-ut host 80", "-t is for streams: leave out -u"),
    ("-u --zstd host 80", "--zstd is for streams: leave out -u"),
    ("-t --zstd host 80", "-t and --zstd exclude each other"),
    ("-W 3 host 80", "-W counts datagrams: it needs -u"),
    ("--broadcast host 80", "--broadcast needs -u"),
    ("--datagram 500 host 80", "--datagram needs -u or -d"),
    ("-u --half-open host 80", "--half-open is for TCP: UDP has no end to pass on"),
    ("-u --datagram 65508 host 80", "--datagram can be 65507 at most"),
    ("-lkuU path", "-k with -u is for UDP, not for UNIX datagrams"),
    ("-u --tls host 80", "--tls is for streams: leave out -u"),
    ("-z --tls host 80", "-z sends nothing: leave out --tls"),
    ("-u --join 239.1.1.1 host 80", "--join needs -l -u"),
    ("-luk --join 239.1.1.1 80", "--join hears every sender: leave out -k"),
    ("-lu --join 239.1.1.1 host 80", "--join listens at the group: leave out HOST"),
    ("-lu --join 10.0.0.1 80", "--join needs a multicast address"),
    ("-e sh -c true host 80", "-e and -c exclude each other"),
    ("--keep-children host 80", "--keep-children needs -e or -c"),
    ("-z -e sh host 80", "-z sends nothing: leave out -e and -c"),
    ("-e sh -s f host 80", "a program takes the place of stdin and stdout: leave out -s and -r"),
    ("-e sh --recv-only host 80", "a program sends and receives: leave out --recv-only"),
    ("-e sh --send-only host 80", "a program sends and receives: leave out --send-only"),
    ("-lu --join 239.1.1.1 -e sh 80", "-e and -c are for clients: a group has none"),
    ("-luU -e sh path", "-e and -c need clients, which UNIX datagrams do not have"),
    ("-u -e sh -W 3 host 80", "a program serves one datagram: leave out -W"),
    ("-lk --max-per-ip 0 80", "--max-per-ip '0': 0 is not in 1..=4294967295 (see remote --help)"),
    ("--deny any host 80", "--allow, --deny and --max-per-ip need -l"),
    ("-lu --join 239.1.1.1 --deny any 80", "--allow and --deny are for clients: a group has none"),
    ("-l --max-per-ip 3 80", "--max-per-ip needs -k"),
    ("--tls-ca f host 80", "--tls-ca needs --tls"),
    (
        "--tls-pin 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f host 80",
        "--tls-pin needs --tls",
    ),
    ("--tls-name n host 80", "--tls-name needs --tls"),
    ("--tls-alpn h2 host 80", "--tls-alpn needs --tls"),
    ("--tls-cert f host 80", "--tls-cert needs --tls"),
    ("--tls-key f host 80", "--tls-key needs --tls"),
    ("-l --tls-client-ca f 80", "--tls-client-ca needs --tls"),
    ("--tls-insecure host 80", "--tls-insecure needs --tls"),
    ("relay -l --tls-cert f", "--tls-cert needs --tls-port"),
    ("--tls --tls-key f host 80", "--tls-key needs --tls-cert"),
    (
        "--tls --tls-insecure --tls-ca f host 80",
        "--tls-insecure verifies nothing: leave out --tls-ca and --tls-pin",
    ),
    ("-l --tls --tls-ca f 80", "--tls-ca verifies a server; for clients it is --tls-client-ca"),
    ("-l --tls --tls-name n 80", "--tls-name is for connecting"),
    ("-l --tls --tls-insecure 80", "--tls-insecure is for connecting"),
    ("--tls --tls-client-ca f host 80", "--tls-client-ca needs -l; for connecting it is --tls-ca"),
    // Kinds of sockets.
    ("-U -4 path", "-4 and -6 means nothing for a UNIX socket"),
    ("-U -i none path", "-i means nothing for a UNIX socket"),
    ("-U -b path", "-b means nothing for a UNIX socket"),
    ("-U -a 127.0.0.1 path", "-a means nothing for a UNIX socket"),
    ("-U path 80", "a port means nothing for a UNIX socket"),
    ("-U --source-port 81 path", "--source-port means nothing for a UNIX socket"),
    ("-U -z path", "-z means nothing for a UNIX socket"),
    ("-U --tos ef path", "--tos means nothing for a UNIX socket"),
    ("-U -M 3 path", "-M means nothing for a UNIX socket"),
    ("-uU --broadcast path", "--broadcast means nothing for a UNIX socket"),
    ("-luU --join 239.1.1.1 path", "--join means nothing for a UNIX socket"),
    ("-lU --allow any path", "--allow means nothing for a UNIX socket"),
    ("-lU --deny any path", "--deny means nothing for a UNIX socket"),
    ("-lkU --max-per-ip 3 path", "--max-per-ip means nothing for a UNIX socket"),
    ("-U --nodelay path", "--nodelay means nothing for a UNIX socket"),
    ("-u -x proxy host 80", "-x is for TCP"),
    ("-u --nodelay host 80", "--nodelay is for TCP"),
    ("-u --keepalive 3 host 80", "--keepalive is for TCP"),
    ("-u --congestion reno host 80", "--congestion is for TCP"),
    ("-u --mptcp host 80", "--mptcp is for TCP"),
    // The relay, and its clients.
    ("relay --max-clients 3 host name", "--max-clients is the relay's: it needs -l"),
    ("relay --max-per-ip 3 host name", "--max-per-ip is the relay's: it needs -l"),
    ("relay --max-message 1k host name", "--max-message is the relay's: it needs -l"),
    ("relay --buffer 1k host name", "--buffer is the relay's: it needs -l"),
    ("relay --stall 3 host name", "--stall is the relay's: it needs -l"),
    ("relay --idle 3 host name", "--idle is the relay's: it needs -l"),
    ("relay --register-timeout 3 host name", "--register-timeout is the relay's: it needs -l"),
    ("relay --deliver raw host name", "--deliver is the relay's: it needs -l"),
    ("relay --names f host name", "--names is the relay's: it needs -l"),
    ("relay --metrics 81 host name", "--metrics is the relay's: it needs -l"),
    ("relay --no-sandbox host name", "--no-sandbox is the relay's: it needs -l"),
    ("relay --tls-port 81 host name", "--tls-port is the relay's: it needs -l"),
    ("relay -l --to name", "--to is a client's: leave out -l"),
    ("relay -l --tls", "--tls is a client's: leave out -l"),
    ("relay -l -s f", "-s is a client's: leave out -l"),
    ("relay -l -r", "-r is a client's: leave out -l"),
    ("relay -l --force", "--force is a client's: leave out -l"),
    ("relay -l --send-only", "--send-only is a client's: leave out -l"),
    ("relay -l --recv-only", "--recv-only is a client's: leave out -l"),
    ("relay -l --lines", "--lines is a client's: leave out -l"),
    ("relay -l -w 3", "-w is a client's: leave out -l"),
    ("relay -l -T 3", "-T is a client's: leave out -l"),
    ("relay -l --retry 3", "--retry is a client's: leave out -l"),
    ("relay -l --rate 1k", "--rate is a client's: leave out -l"),
    ("relay -l --digest", "--digest is a client's: leave out -l"),
    ("relay -l --progress", "--progress is a client's: leave out -l"),
    ("relay -l --no-progress", "--no-progress is a client's: leave out -l"),
    ("relay -l --key-file f", "--key-file is a client's: leave out -l"),
    ("relay -l --token-file f --names f", "a relay has one token, or a key for each name: give one of them"),
    ("relay -Qv host name", "-Q and -v exclude each other"),
    ("relay -n host name", "-n looks up no names: HOST must be an address"),
    ("relay --send-only host name -r", "--send-only contradicts -r"),
    // The practice servers, and their client.
    ("practice -Qv", "-Q and -v exclude each other"),
    ("practice -a 127.0.0.1", "-a is the server's: it needs -l"),
    ("practice --open", "--open is the server's: it needs -l"),
    ("practice --sequence", "--sequence is the server's: it needs -l"),
    ("practice --marker-pause 3", "--marker-pause is the server's: it needs -l"),
    ("practice --no-sandbox", "--no-sandbox is the server's: it needs -l"),
    ("practice -l host", "HOST is the client's: leave out -l"),
    ("practice -l -- files", "a command is the client's: leave out -l"),
    ("practice -l -u", "-u is the client's: leave out -l"),
    ("practice -l --force", "--force is the client's: leave out -l"),
    ("practice -l -T 3", "-T is the client's: leave out -l"),
    ("practice -l --progress", "--progress is the client's: leave out -l"),
    ("practice -l --json", "--json is the client's: leave out -l"),
    ("practice -l --files-port 81", "--files-port needs --root"),
    ("practice host --root d", "--root is the server's"),
];

#[test]
fn conflicts_are_refused_with_their_sentence() {
    for (line, sentence) in CONFLICTS {
        let args = std::iter::once("remote").chain(line.split_whitespace()).map(OsString::from);
        let error = Plan::new(&cli::Command::read(args).unwrap()).unwrap_err();
        assert!(error.is::<Usage>(), "{line}: {error}");
        assert_eq!(&error.to_string(), sentence, "{line}");
    }
}

#[test]
fn every_conflict_has_a_row() {
    let code: String =
        include_str!("conflicts.rs").lines().filter(|line| !line.trim().starts_with("//")).collect();
    let literals: Vec<&str> = code.split('"').skip(1).step_by(2).filter(|text| !text.contains('{')).collect();
    assert!(literals.len() > 100, "{literals:?}");
    for literal in literals {
        assert!(CONFLICTS.iter().any(|(_, sentence)| sentence.contains(literal)), "{literal} has no row");
    }
}
