//! Signals before a session and between its connections: the summary, its JSON object and the rule for `.part` files hold
//! in each state.

use std::io::{Read, Write};

use rustix::process::Signal;

use crate::bench::{Dir, Ended, Hosts, Remote, Running, Server, eventually, on_linux, reset, run};

/// Returns the object of `--json`.
fn object(ended: &Ended) -> serde_json::Value {
    let mut objects = ended.stderr.lines().filter(|line| line.starts_with('{'));
    let object = objects.next().unwrap_or_else(|| panic!("no object in {ended:?}"));
    assert_eq!(objects.next(), None, "one object");
    serde_json::from_str(object).unwrap()
}

/// Ends a program by SIGTERM, and looks at its last words.
fn terminate(remote: Running, peer: &str) {
    remote.signal(Signal::TERM);
    let ended = remote.wait();
    let object = object(&ended);
    assert_eq!(ended.code, 143);
    assert_eq!((&object["end"], &object["error"]), (&"interrupted".into(), &serde_json::Value::Null));
    assert_eq!((&object["sent"]["bytes"], &object["received"]["bytes"]), (&0.into(), &0.into()));
    assert_eq!(object["peer"]["address"].as_str().unwrap_or_default(), peer);
    assert!(ended.stderr.contains("0 bytes sent, 0 bytes received in "), "{}", ended.stderr);
}

#[test]
fn a_handshake_with_a_proxy() {
    let (proxy, dir) = (Server::new(), Dir::new());
    let at = format!("127.0.0.1:{}", proxy.port());
    let args = ["-v", "--json", "-r", "file", "-x", &at, "name.invalid", "80"];
    let remote = Remote::new(args).in_folder(dir.path()).start();
    let mut stream = proxy.accept();
    stream.read_exact(&mut [0; 3]).unwrap();
    terminate(remote, "name.invalid");
    assert!(dir.names().is_empty());
}

#[test]
fn a_tls_handshake() {
    let (server, dir) = (Server::new(), Dir::new());
    let args = ["-v", "--json", "-r", "file", "--tls", "--tls-insecure", "127.0.0.1", &server.port()];
    let remote = Remote::new(args).in_folder(dir.path()).start();
    // The header of its first record (RFC 8446, section 5.1).
    let mut stream = server.accept();
    stream.read_exact(&mut [0; 5]).unwrap();
    terminate(remote, "127.0.0.1");
    assert!(dir.names().is_empty());
}

#[test]
fn a_look_up() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.a.name_resolver("10.9.0.99");
    for (args, peer) in [(["--json", "-v"], "name.example"), (["--json", "-lv"], "")] {
        let remote = hosts.a.remote(args.iter().chain(&["name.example", "80"])).start();
        eventually("the resolver to be asked", || {
            let sockets = run("ip", &["netns", "exec", &hosts.a.name, "cat", "/proc/net/udp"]).unwrap();
            (sockets.lines().count() > 1).then_some(())
        });
        terminate(remote, peer);
    }
}

#[test]
fn the_pause_before_the_next_attempt() {
    // A port that was free a moment ago.
    let port = Server::new().port();
    let remote = Remote::new(["-v", "--json", "--retry", "forever", "127.0.0.1", &port]).start();
    remote.said("trying again");
    terminate(remote, "127.0.0.1");
}

#[test]
fn the_wait_for_a_client() {
    let dir = Dir::new();
    let remote = Remote::new(["-lv", "--json", "-r", "file", "127.0.0.1", "0"]).in_folder(dir.path()).start();
    remote.port();
    terminate(remote, "");
    assert!(dir.names().is_empty());
}

/// A client of a relay that has received into `file` and lost its relay.
fn orphaned(server: &Server, dir: &Dir, text: &[u8], more: &[&str]) -> Running {
    let port = server.port();
    let args = ["relay", "-v", "--json", "127.0.0.1", &port, "me", "--to", "you"];
    let remote = Remote::new(args.iter().chain(more)).in_folder(dir.path()).stdin_open().start();
    let mut relay = server.accept();
    let mut hello = vec![0; "me|me|24|".len() + 24];
    relay.read_exact(&mut hello).unwrap();
    relay.write_all(&hello[9..]).unwrap();
    remote.said("registered as me");
    relay.write_all(text).unwrap();
    if !text.is_empty() {
        eventually("the text to be written", || {
            dir.names().first().filter(|name| dir.read(name) == text).map(|_| ())
        });
    }
    reset(relay);
    remote.said("trying again");
    remote
}

#[test]
fn a_relay_that_is_lost() {
    for text in [&b""[..], b"half"] {
        let (server, dir) = (Server::new(), Dir::new());
        let remote = orphaned(&server, &dir, text, &["-r", "file", "--retry", "forever"]);
        remote.signal(Signal::TERM);
        let ended = remote.wait();
        let object = object(&ended);
        assert_eq!((ended.code, &object["end"]), (143, &"interrupted".into()));
        assert_eq!(object["received"]["content"], text.len());
        assert!(ended.stderr.contains("bytes received in "), "{}", ended.stderr);
        // Nothing received leaves nothing.
        let names: &[&str] = if text.is_empty() { &[] } else { &["file.part"] };
        assert_eq!(dir.names(), names);
    }
}

#[test]
fn a_relay_that_does_not_come_back() {
    let (server, dir) = (Server::new(), Dir::new());
    let remote = orphaned(&server, &dir, b"half", &["-r", "file", "--retry", "1"]);
    // Closing the listener refuses the next attempts.
    drop(server);
    let ended = remote.wait();
    let object = object(&ended);
    assert_eq!((ended.code, &object["end"]), (1, &"failed".into()));
    assert_eq!(object["received"]["content"], 4);
    assert!(ended.stderr.contains("refused"), "{}", ended.stderr);
    assert_eq!(dir.names(), ["file.part"]);
}

#[test]
fn only_a_new_registration_gives_new_retries() {
    let (server, dir) = (Server::new(), Dir::new());
    let remote = orphaned(&server, &dir, b"", &["--retry", "2"]);
    for _ in 0..2 {
        let mut relay = server.accept();
        // An attempt that is reset while it connects is the dial's own to repeat.
        relay.read_exact(&mut [0; "me|me|24|".len() + 24]).unwrap();
        reset(relay);
    }
    let ended = remote.wait();
    assert_eq!((ended.code, ended.stderr.matches("registered as me").count()), (1, 1), "{ended:?}");
}

#[test]
fn a_session_goes_on_while_its_relay_is_lost() {
    if !on_linux("SIGUSR1 while it reconnects") {
        return;
    }
    let (server, dir) = (Server::new(), Dir::new());
    let mut remote = orphaned(&server, &dir, b"", &["--retry", "forever"]);
    remote.signal(Signal::USR1);
    remote.said("0 bytes sent, 0 bytes received in ");
    // Text that is typed meanwhile is sent to the relay that is there again.
    remote.type_in(b"late");
    let mut relay = server.accept();
    let mut hello = vec![0; "me|me|24|".len() + 24];
    relay.read_exact(&mut hello).unwrap();
    relay.write_all(&hello[9..]).unwrap();
    let mut late = vec![0; "you|4|late".len()];
    relay.read_exact(&mut late).unwrap();
    assert_eq!(late, b"you|4|late");
}
