//! TLS: trust, ends, and other implementations.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::bench::{Dir, Remote, Running, Server, client, eventually, has, noise, read_all};

/// An authority, and a server and a client that it has signed.
struct Certificates {
    dir: Dir,
}

impl Certificates {
    fn new() -> Self {
        let dir = Dir::new();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        dir.file("ca.pem", authority.pem().as_bytes());
        let table = [("server", ["localhost", "127.0.0.1"]), ("client", ["client.example", "x.example"])];
        for (name, names) in table {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(names.map(str::to_owned)).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            let both = certificate.pem() + &key.serialize_pem();
            dir.file(&format!("{name}.pem"), both.as_bytes());
            dir.file(&format!("{name}.key"), key.serialize_pem().as_bytes());
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// A listener with the server's certificate.
    fn listening(&self, flags: &[&str]) -> Remote {
        let certificate = self.path("server.pem");
        let args = ["-lv", "--tls", "--tls-cert", &certificate, "127.0.0.1", "0"];
        Remote::new(args.iter().chain(flags))
    }

    /// One that only receives, or sends a file.
    fn listener(&self, flags: &[&str]) -> Running {
        let listener = self.listening(flags).start();
        listener.said("our key");
        listener
    }
}

fn to(port: &impl ToString, flags: &[&str]) -> Remote {
    let port = port.to_string();
    Remote::new(["--tls", "localhost", &port].iter().chain(flags))
}

/// The command that a listener prints for the other side, as its arguments.
fn command(listener: &Running) -> Vec<String> {
    let said = eventually("the whole line", || {
        let said = listener.said("on the other side run: remote ");
        said.split("run: remote ").nth(1)?.split_once('\n').map(|(line, _)| line.to_owned())
    });
    said.split(' ').map(str::to_owned).collect()
}

#[test]
fn the_command_that_a_listener_prints_is_the_one_for_the_other_side() {
    for at in ["127.0.0.1", "::1", "0.0.0.0"] {
        let mut listener = Remote::new(["-l", "--tls", at, "0"]).stdin_open().start();
        let remote = Remote::new(command(&listener)).stdin("a question").start();
        // Half-close: the answer comes after the end.
        assert_eq!(listener.printed(10), b"a question");
        listener.type_in(b"an answer");
        listener.close_stdin();
        let ended = remote.wait().expect_quiet_success();
        assert_eq!(ended.stdout, b"an answer", "{at}");
        assert_eq!(listener.wait().code, 0);
    }
}

#[test]
fn the_parameters_of_a_connection_are_printed() {
    let certificates = Certificates::new();
    let listener = certificates.listener(&["--tls-alpn", "two,one"]);
    let ca = certificates.path("ca.pem");
    let flags = ["-v", "--json", "--tls-ca", &ca, "--tls-alpn", "one"];
    let ended = to(&listener.port(), &flags).stdin("hello").run();
    assert_eq!(ended.code, 0, "{ended:?}");
    let said = listener.said("TLS 1.3");
    let pin = said.split("our key is ").nth(1).unwrap().lines().next().unwrap();
    let line = format!(
        "TLS 1.3, TLS_AES_256_GCM_SHA384, one; the peer's certificate is for localhost, its key is {pin}\n"
    );
    assert!(ended.stderr.contains(&line), "{line}: {}", ended.stderr);
    let json = ended.stderr.lines().find(|line| line.starts_with('{')).unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["tls"]["version"], "TLS 1.3");
    assert_eq!((&json["tls"]["alpn"], &json["tls"]["peer"]), (&"one".into(), &pin.into()));
    assert_eq!(json["sent"]["bytes"], 5);
}

#[test]
fn a_server_is_verified() {
    let certificates = Certificates::new();
    let (ca, server, client) =
        (certificates.path("ca.pem"), certificates.path("server.pem"), certificates.path("client.pem"));
    let wrong = format!("sha256:{}", "00".repeat(32));
    let listener = certificates.listener(&["-k"]);
    let port = listener.port().to_string();
    let pin =
        listener.said("our key").split("our key is ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let unknown = "signed by nobody who is trusted here";
    let other = "the certificate is for another name (--tls-name)";
    let table: [(&[&str], &str); 14] = [
        (&["localhost", "--tls-ca", &ca], ""),
        (&["127.0.0.1", "--tls-ca", &ca], ""),
        (&["127.0.0.1", "--tls-ca", &ca, "--tls-name", "localhost"], ""),
        (&["localhost", "--tls-ca", &server], ""),
        (&["localhost", "--tls-ca", &ca, "--tls-pin", &pin], ""),
        (&["localhost", "--tls-pin", &pin], ""),
        (&["localhost", "--tls-pin", &wrong, "--tls-pin", &pin], ""),
        (&["localhost", "--tls-insecure"], ""),
        (&["localhost"], unknown),
        (&["localhost", "--tls-ca", &client], unknown),
        (&["localhost", "--tls-ca", &ca, "--tls-name", "example.org"], other),
        (&["127.0.0.1", "--tls-ca", &ca, "--tls-name", "127.0.0.2"], other),
        (&["localhost", "--tls-pin", &wrong], "the key is not the one of --tls-pin, but sha256:"),
        (
            &["localhost", "--tls-ca", &ca, "--tls-pin", &wrong],
            "the key is not the one of --tls-pin, but sha256:",
        ),
    ];
    for (args, why) in table {
        let args = [&["--tls", "-p", &port], args].concat();
        let ended = Remote::new(&args).stdin("").run();
        let insecure = args.contains(&"--tls-insecure");
        match why {
            "" if insecure => {
                ended.expect(0, "remote: the other side is not verified (--tls-insecure)\n");
            }
            "" => drop(ended.expect_quiet_success()),
            why => drop(ended.expect_failure(1, &["remote: connect to ", &port, why])),
        }
    }
    listener.said("the peer does not accept our certificate (unknown ca)");
}

#[test]
fn a_certificate_that_is_named_itself_is_trusted() {
    if !has("openssl") {
        return;
    }
    let dir = Dir::new();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    // It says of itself that it is an authority.
    let args =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    let names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", &key, "-out", &certificate];
    crate::bench::run("openssl", &[&args[..], &names].concat()).unwrap();
    let own = ["--tls-cert", &certificate, "--tls-key", &key];
    let listener =
        Remote::new(["-lkv", "--tls", "--tls-client-ca", &certificate, "127.0.0.1", "0"].iter().chain(&own));
    let listener = listener.start();
    listener.said("our key");
    let port = listener.port();
    let flags = [&["--tls-ca", &certificate][..], &own].concat();
    to(&port, &flags).stdin("hello").run().expect_quiet_success();
    assert_eq!(listener.printed(5), b"hello");
    let other = [&flags[..], &["--tls-name", "other.example"]].concat();
    to(&port, &other).stdin("").run().expect_failure(1, &["for another name"]);
}

#[test]
fn the_systems_roots_are_trusted() {
    let certificates = Certificates::new();
    let listener = certificates.listener(&["-k"]);
    let ca = certificates.path("ca.pem");
    let port = listener.port().to_string();
    let with = |roots: &str| {
        let roots = format!("SSL_CERT_FILE={roots}");
        let prefix = ["env", "-u", "SSL_CERT_DIR", &roots];
        Remote::through(&prefix, ["--tls", "localhost", &port]).stdin("").run()
    };
    with(&ca).expect_quiet_success();
    with("/dev/null").expect_failure(1, &["this system has no root certificates"]);
}

#[test]
fn clients_are_verified_when_that_is_asked_for() {
    let certificates = Certificates::new();
    let (ca, own) = (certificates.path("ca.pem"), certificates.path("client.pem"));
    let (key, own_key) = (certificates.path("client.key"), own.clone());
    let listener = certificates.listener(&["--tls-client-ca", &ca]);
    let port = listener.port().to_string();
    // A client that is refused is not the only one.
    let ended = to(&port, &["--tls-ca", &ca]).stdin("a stranger").run();
    ended.expect_failure(1, &["the peer demands a certificate (--tls-cert)"]);
    listener.said("the peer has no certificate, and one is demanded");
    let flags = ["--tls-ca", &ca, "--tls-cert", &own, "--tls-key", &key];
    to(&port, &flags).stdin("a friend").run().expect_quiet_success();
    assert_eq!(listener.printed(8), b"a friend");
    listener.said("the peer's certificate is for client.example, x.example, its key is sha256:");
    assert_eq!(listener.wait().code, 0);

    // By its key alone, which its own listener prints.
    let other = Remote::new(["-lv", "--tls", "--tls-cert", &own, "127.0.0.1", "0"]).start();
    let pin = other.said("our key").split("our key is ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let listener = certificates.listener(&["--tls-pin", &pin, "-k"]);
    let port = listener.port().to_string();
    let stranger = certificates.path("server.pem");
    let ended = to(&port, &["--tls-ca", &ca, "--tls-cert", &stranger]).stdin("a stranger").run();
    ended.expect_failure(1, &["the peer does not accept our certificate"]);
    to(&port, &["--tls-ca", &ca, "--tls-cert", &own_key]).stdin("a friend").run().expect_quiet_success();
    assert_eq!(listener.printed(8), b"a friend");
}

/// A server that a test has written: the certificate of `name`.
fn scripted(certificates: &Certificates, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    let path = PathBuf::from(certificates.path("server.pem"));
    let chain: Vec<_> = CertificateDer::pem_file_iter(&path).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&path).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream)
}

/// Accepts the next client of a server, and completes the handshake.
fn agreed(certificates: &Certificates, server: &Server) -> StreamOwned<ServerConnection, TcpStream> {
    let mut tls = scripted(certificates, server.accept());
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock).unwrap();
    }
    tls
}

#[test]
fn an_end_that_is_not_announced_is_no_end() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    for (text, announced) in [("", true), ("", false), ("half", false), ("all", true)] {
        let work = Dir::new();
        let server = Server::new();
        let port = server.port();
        let args = ["--tls", "--tls-ca", &ca, "localhost", &port, "-r", "file"];
        let remote = Remote::new(args).in_folder(work.path()).start();
        let mut tls = agreed(&certificates, &server);
        tls.write_all(text.as_bytes()).unwrap();
        if announced {
            tls.conn.send_close_notify();
        }
        tls.flush().unwrap();
        tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let ended = remote.wait();
        if text == "half" {
            ended
                .expect_failure(1, &["the end was not announced", "(0 bytes sent, 4 received)", "file.part"]);
            assert_eq!(work.read("file.part"), b"half");
        } else if !announced {
            ended.expect_failure(1, &["the end was not announced", "(0 bytes sent, 0 received)"]);
            assert!(work.names().is_empty());
        } else {
            ended.expect_quiet_success();
            assert_eq!(work.read("file"), text.as_bytes());
        }
        // close_notify is sent, although no data was.
        assert_eq!(tls.read(&mut [0; 1]).is_ok_and(|n| n == 0), announced, "{text} {announced}");
    }
}

#[test]
fn a_sender_of_a_file_needs_no_close_notify() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    let dir = Dir::new();
    let file = dir.file("file", b"a file");
    let file = file.to_str().unwrap();
    let received = dir.join("received");
    let received = received.to_str().unwrap();
    // Received bytes, their number, and their outcome.
    let table: [(&[&str], &[u8], usize, i32); 8] = [
        (&["-s", file], b"", 0, 0),
        // From a pipe; and for a file, an empty one would be something.
        (&["-s", "-"], b"", 0, 0),
        (&["-s", file, "-r", received], b"", 0, 1),
        (&["-s", file], b"thanks", usize::MAX, 1),
        // A part of a record.
        (&["-s", file], b"thanks", 7, 1),
        (&["-s", file, "--send-only"], b"thanks", usize::MAX, 0),
        (&["-s", file, "--send-only"], b"thanks", 7, 0),
        (&["--recv-only"], b"thanks", 7, 1),
    ];
    for (flags, answer, most, code) in table {
        let server = Server::new();
        let port = server.port();
        let remote = to(&port, &[&["--tls-ca", &ca][..], flags].concat()).stdin("a file").start();
        let mut tls = agreed(&certificates, &server);
        if flags[0] == "-s" {
            assert_eq!(read_all(&mut tls), b"a file");
        }
        if !answer.is_empty() {
            tls.conn.writer().write_all(answer).unwrap();
        }
        let mut record = Vec::new();
        tls.conn.write_tls(&mut record).unwrap();
        tls.sock.write_all(&record[..most.min(record.len())]).unwrap();
        drop(tls);
        assert_eq!(remote.wait().code, code, "{flags:?} {answer:?} {most}");
    }
}

#[test]
fn bytes_before_a_bad_record_are_kept() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    let server = Server::new();
    let port = server.port();
    let remote = to(&port, &["--tls-ca", &ca, "--recv-only"]).start();
    let mut tls = agreed(&certificates, &server);
    tls.conn.writer().write_all(b"good").unwrap();
    let mut records = Vec::new();
    tls.conn.write_tls(&mut records).unwrap();
    records.extend([23, 3, 3, 0, 20]);
    records.extend([7; 20]);
    tls.sock.write_all(&records).unwrap();
    let ended = remote.wait();
    assert_eq!(ended.stdout, b"good");
    assert!(ended.code == 1 && ended.stderr.contains("(0 bytes sent, 4 received)"), "{}", ended.stderr);
}

#[test]
fn bytes_without_an_end_are_sent_all_the_same() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    let dir = Dir::new();
    let bytes = noise(300_000);
    let file = dir.file("file", &bytes);
    let server = Server::new();
    socket2::SockRef::from(&server.0).set_recv_buffer_size(4096).unwrap();
    let port = server.port();
    let flags = ["--tls-ca", &ca, "--no-shutdown", "--sndbuf", "8k", "-s", file.to_str().unwrap()];
    let remote = to(&port, &flags).start();
    let mut tls = agreed(&certificates, &server);
    // It has ended before it takes anything.
    tls.conn.send_close_notify();
    tls.conn.write_tls(&mut tls.sock).unwrap();
    tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let mut received = vec![0; bytes.len()];
    tls.read_exact(&mut received).unwrap();
    assert!(received == bytes);
    drop(tls);
    assert_eq!(remote.wait().code, 0);
}

#[test]
fn a_certificate_that_is_named_itself_has_to_be_good_for_something() {
    let dir = Dir::new();
    let make = |name: &str, change: &dyn Fn(&mut CertificateParams)| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let both = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        dir.file(name, both.as_bytes()).to_str().unwrap().to_owned()
    };
    let authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let old = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let for_clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let both = |one: &dyn Fn(&mut CertificateParams), params: &mut CertificateParams| {
        authority(params);
        one(params);
    };
    let table = [
        (make("good", &|_| ()), ""),
        (make("authority", &authority), ""),
        (make("old", &old), "has expired"),
        (make("old-authority", &|params| both(&old, params)), "has expired"),
        (make("client", &for_clients), "the certificate is not good"),
        (make("client-authority", &|params| both(&for_clients, params)), "an authority's, and no server's"),
    ];
    for (path, why) in table {
        let listener = Remote::new(["-lvk", "--tls", "--tls-cert", &path, "127.0.0.1", "0"]).start();
        listener.said("our key");
        let ended = to(&listener.port(), &["--tls-ca", &path]).stdin("").run();
        match why {
            "" => drop(ended.expect_quiet_success()),
            why => drop(ended.expect_failure(1, &[why])),
        }
    }
}

#[test]
fn a_silent_client_blocks_no_other() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    for flags in [&[][..], &["-k", "-m", "1"]] {
        let listener = certificates.listener(flags);
        let silent: Vec<_> = (0..3).map(|_| client(listener.port())).collect();
        to(&listener.port(), &["--tls-ca", &ca]).stdin("hello").run().expect_quiet_success();
        assert_eq!(listener.printed(5), b"hello", "{flags:?}");
        drop(silent);
    }
    // Nor does it keep us waiting for longer than we want to.
    for flags in [&["-w", "1"][..], &["-k", "-w", "1"]] {
        let listener = certificates.listener(flags);
        let silent = client(listener.port());
        listener.said("TLS: no handshake within 1 s");
        let ended = listener.wait();
        assert!(
            ended.code == 1 && ended.stderr.contains("nobody came within 1 s"),
            "{flags:?} {}",
            ended.stderr
        );
        drop(silent);
    }
}

#[test]
fn a_peer_without_tls_is_reported() {
    let server = Server::new();
    let remote = to(&server.port(), &["--tls-insecure", "-Q"]).stdin("").start();
    let mut stream = server.accept();
    stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
    remote.wait().expect_failure(1, &["TLS: what the peer speaks is no TLS"]);
    let certificates = Certificates::new();
    let listener = certificates.listener(&["-k"]);
    let mut stream = client(listener.port());
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    listener.said("TLS: what the peer speaks is no TLS");
    // An alert, and the end.
    assert_eq!(read_all(&mut stream)[..2], [21, 3]);
}

#[test]
fn a_handshake_has_an_end() {
    let certificates = Certificates::new();
    let server = Server::new();
    let ended = to(&server.port(), &["--tls-insecure", "-Q", "-T", "0.3"]).stdin("").run();
    ended.expect_failure(1, &["TLS: timed out"]);
    // A silent client blocks no other.
    let listener = certificates.listener(&["-k", "-m", "2"]);
    let mut silent = client(listener.port());
    listener.said("Connection received");
    let ca = certificates.path("ca.pem");
    to(&listener.port(), &["--tls-ca", &ca]).stdin("hello").run().expect_quiet_success();
    assert_eq!(listener.printed(5), b"hello");
    listener.said("TLS: no handshake within 10 s");
    assert_eq!(read_all(&mut silent), b"");
}

#[test]
fn full_duplex_at_full_load() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    let bytes = noise(30_000_000);
    let dir = Dir::new();
    let (there, back) = (dir.file("there", &bytes), dir.file("back", &bytes[1..]));
    let listener = certificates.listener(&["-s", back.to_str().unwrap()]);
    let ended =
        to(&listener.port(), &["--tls-ca", &ca, "-s", there.to_str().unwrap()]).run().expect_quiet_success();
    assert!(ended.stdout == bytes[1..]);
    let ended = listener.wait();
    assert!(ended.code == 0 && ended.stdout == bytes, "{}", ended.stderr);
}

#[test]
fn many_clients_at_once() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    let dir = Dir::new();
    let bytes = noise(300_000);
    let file = dir.file("file", &bytes);
    let listener = certificates.listener(&["-k", "-s", file.to_str().unwrap()]);
    let port = listener.port();
    let clients: Vec<Running> = (0..20).map(|_| to(&port, &["--tls-ca", &ca]).stdin("").start()).collect();
    for client in clients {
        assert!(client.wait().expect_quiet_success().stdout == bytes);
    }
}

#[test]
fn over_unix_sockets() {
    let dir = Dir::new();
    let path = format!("unix:{}", dir.join("socket").display());
    let listener = Remote::new(["-l", "--tls", &path]).start();
    let args = command(&listener);
    assert_eq!(args.last(), Some(&path));
    Remote::new(args).stdin("hello").run().expect_quiet_success();
    assert_eq!(listener.wait().stdout, b"hello");
}

#[test]
fn certificate_files_of_the_wrong_kind() {
    let certificates = Certificates::new();
    let (key, server) = (certificates.path("server.key"), certificates.path("server.pem"));
    let other = certificates.path("client.key");
    let empty = certificates.dir.file("empty", b"");
    let empty = empty.to_str().unwrap();
    let table: [(&[&str], &str); 7] = [
        (
            &["-l", "--tls-cert", "/nothing/there"],
            "read the key in /nothing/there: no such file or directory",
        ),
        (&["-l", "--tls-cert", &key], "holds no certificate (PEM)"),
        (&["-l", "--tls-cert", empty], "read the key in"),
        (&["-l", "--tls-cert", &server, "--tls-key", &other], "the key is not that of the certificate"),
        (&["localhost", "--tls-ca", empty], "holds no certificate (PEM)"),
        (&["localhost", "--tls-ca", "/nothing/there"], "no such file or directory"),
        (&["localhost", "--tls-ca", "/"], "is a directory"),
    ];
    for (args, why) in table {
        let args = [&["--tls", "-p", "1"], args].concat();
        Remote::new(&args).run().expect_failure(1, &[why]);
    }
}

/// Another program's TLS, in a shell: `PORT` and `DIR` stand for the port and the folder with the certificates, `FILE` for
/// the file to send. It prints received bytes.
struct Peer {
    program: &'static str,
    /// Connects and sends, connects and receives, listens and receives, listens and sends; empty where it cannot do that
    /// to the end.
    ways: [&'static str; 4],
    /// Whether it announces its end.
    announces: bool,
}

const PEERS: [Peer; 4] = [
    Peer {
        program: "openssl",
        ways: [
            // Otherwise it goes before it has sent it all, and takes some of what it reads for commands.
            "openssl s_client -quiet -no_ign_eof -verify_return_error -CAfile DIR/ca.pem -connect localhost:PORT < <(cat FILE; sleep 1)",
            "openssl s_client -quiet -CAfile DIR/ca.pem -connect localhost:PORT < <(sleep 9)",
            "openssl s_server -quiet -cert DIR/server.pem -key DIR/server.key -accept PORT -naccept 1 < <(sleep 9)",
            "",
        ],
        announces: true,
    },
    Peer {
        program: "openssl",
        ways: [
            "openssl s_client -tls1_2 -quiet -no_ign_eof -CAfile DIR/ca.pem -connect localhost:PORT < <(cat FILE; sleep 1)",
            "openssl s_client -tls1_2 -quiet -CAfile DIR/ca.pem -connect localhost:PORT < <(sleep 9)",
            "openssl s_server -tls1_2 -quiet -cert DIR/server.pem -key DIR/server.key -accept PORT -naccept 1 < <(sleep 9)",
            "",
        ],
        announces: true,
    },
    Peer {
        program: "ncat",
        ways: [
            "ncat --ssl-verify --ssl-trustfile DIR/ca.pem --send-only localhost PORT < FILE",
            "ncat --ssl-verify --ssl-trustfile DIR/ca.pem --recv-only localhost PORT",
            "ncat --ssl --ssl-cert DIR/server.pem --ssl-key DIR/server.key -l 127.0.0.1 PORT < /dev/null",
            "ncat --ssl --ssl-cert DIR/server.pem --ssl-key DIR/server.key -l 127.0.0.1 PORT < FILE",
        ],
        announces: false,
    },
    Peer {
        program: "socat",
        ways: [
            "socat -u OPEN:FILE OPENSSL:localhost:PORT,cafile=DIR/ca.pem",
            "socat -u OPENSSL:localhost:PORT,cafile=DIR/ca.pem -",
            "socat -u OPENSSL-LISTEN:PORT,cert=DIR/server.pem,key=DIR/server.key,verify=0 -",
            "socat -U OPENSSL-LISTEN:PORT,cert=DIR/server.pem,key=DIR/server.key,verify=0 OPEN:FILE",
        ],
        announces: true,
    },
];

#[test]
fn other_programs_are_peers() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    let folder = Path::new(&ca).parent().unwrap().to_str().unwrap().to_owned();
    // Digits: openssl's programs take some letters for commands.
    let bytes: Vec<u8> = noise(2_000_000).into_iter().map(|byte| b'0' + byte % 10).collect();
    let file = certificates.dir.file("file", &bytes);
    let file = file.to_str().unwrap();
    for peer in PEERS.iter().filter(|peer| has(peer.program)) {
        for (way, shell) in peer.ways.iter().enumerate().filter(|(_, shell)| !shell.is_empty()) {
            let sends = matches!(way, 0 | 3);
            let start = |port: &str| {
                let shell = shell.replace("PORT", port).replace("DIR", &folder).replace("FILE", file);
                let mut command = std::process::Command::new("bash");
                command.args(["-c", &shell]).stdin(std::process::Stdio::null());
                let into = std::fs::File::create(certificates.dir.join("theirs")).unwrap();
                command.stdout(into).stderr(std::process::Stdio::null());
                command.spawn().unwrap()
            };
            let flags: &[&str] = if sends { &["--recv-only"] } else { &["-s", file] };
            let (mut child, ended) = if way < 2 {
                let listener = certificates.listener(flags);
                let child = start(&listener.port().to_string());
                (child, listener.wait())
            } else {
                let port = { Server::new().port() };
                let child = start(&port);
                let flags = [flags, &["--tls-ca", &ca, "--retry", "30"]].concat();
                let ended = to(&port, &flags).run();
                (child, ended)
            };
            eventually(shell, || child.try_wait().unwrap());
            let theirs = certificates.dir.read("theirs");
            assert_eq!(ended.code, i32::from(sends && !peer.announces), "{shell}: {}", ended.stderr);
            let got = if sends { &ended.stdout } else { &theirs };
            assert!(*got == bytes, "{shell}: {} bytes", got.len());
        }
    }
}

#[test]
fn curl_speaks_with_a_listener() {
    if !has("curl") {
        return;
    }
    let certificates = Certificates::new();
    let mut listener = certificates.listening(&["--tls-alpn", "http/1.1"]).stdin_open().start();
    listener.said("our key");
    let url = format!("https://localhost:{}/", listener.port());
    let ca = certificates.path("ca.pem");
    let curl = thread::spawn(move || crate::bench::run("curl", &["-sS", "--http1.1", "--cacert", &ca, &url]));
    listener.said("http/1.1");
    listener.type_in(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(curl.join().unwrap().as_deref(), Ok("hello"));
    listener.close_stdin();
    let ended = listener.wait();
    assert!(ended.stdout.starts_with(b"GET / HTTP/1.1\r\n"), "{ended:?}");
}

#[test]
fn a_farewell_that_is_not_read_does_no_harm() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    let dir = Dir::new();
    let bytes = noise(100_000);
    let file = dir.file("file", &bytes);
    for says_farewell in [true, false] {
        let server = Server::new();
        let port = server.port();
        let remote = to(&port, &["--tls-ca", &ca, "-s", file.to_str().unwrap()]).start();
        let mut tls = scripted(&certificates, server.accept());
        // Its bytes are sent before it closes.
        tls.sock.set_nodelay(true).unwrap();
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            // One record, and nothing behind it.
            let mut record = vec![0; 5];
            tls.sock.read_exact(&mut record).unwrap();
            let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
            record.resize(5 + length, 0);
            tls.sock.read_exact(&mut record[5..]).unwrap();
            let mut rest = &record[..];
            while !rest.is_empty() {
                tls.conn.read_tls(&mut rest).unwrap();
                tls.conn.process_new_packets().unwrap();
            }
            // Messages of the handshake.
            while tls.conn.wants_write() {
                tls.conn.write_tls(&mut tls.sock).unwrap();
            }
            let _ = tls.conn.reader().read_to_end(&mut received);
        }
        assert!(received == bytes);
        // close_notify was received, and is not read: to close sends a reset.
        eventually("close_notify", || (tls.sock.peek(&mut [0; 24]).unwrap() > 5).then_some(()));
        // All that follows comes at once.
        remote.signal(rustix::process::Signal::STOP);
        if says_farewell {
            tls.conn.send_close_notify();
            tls.conn.write_tls(&mut tls.sock).unwrap();
        }
        drop(tls);
        remote.signal(rustix::process::Signal::CONT);
        let ended = remote.wait();
        assert_eq!(ended.code, i32::from(!says_farewell), "{ended:?}");
    }
}

#[test]
fn a_crowd_of_mute_clients_that_leaves_makes_room() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    for flags in [&[][..], &["-k"]] {
        let listener = certificates.listener(flags);
        let port = listener.port();
        let clients: Vec<_> = (0..256).map(|_| client(port)).collect();
        let remote = to(&port, &["--tls-ca", &ca]).stdin("hello").start();
        // This client waits to be accepted.
        let said = listener.said("Connection received");
        assert!(!said.contains("TLS 1.3"), "{said}");
        drop(clients);
        remote.wait().expect_quiet_success();
        assert_eq!(listener.printed(5), b"hello", "{flags:?}");
    }
}

#[test]
fn a_bad_record_after_the_end_ends_one_client_only() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem");
    let dir = Dir::new();
    let file = dir.file("file", b"a file");
    let listener = certificates.listener(&["-k", "-s", file.to_str().unwrap()]);
    let bytes = std::fs::read(&ca).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&bytes).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tls = StreamOwned::new(connection, client(listener.port()));
    assert_eq!(read_all(&mut tls), b"a file");
    tls.sock.write_all(&[&[23, 3, 3, 0, 32][..], &[7; 32]].concat()).unwrap();
    listener.said("cannot decrypt peer's message");
    let ended = to(&listener.port(), &["--tls-ca", &ca]).stdin("").run().expect_quiet_success();
    assert_eq!(ended.stdout, b"a file");
}
