//! The scoreboard: thirteen things that users of netcats complain about, done right with default flags
//! (but for those that the row names), between two hosts.

use std::{
    io::{Read, Write},
    net::{Shutdown, UdpSocket},
    time::{Duration, Instant},
};

use crate::bench::{Hosts, Remote, Terminal, noise, read_all, reset};

const SERVER: &str = "10.9.0.2";

#[test]
fn a_the_server_closes_while_our_stdin_is_open() {
    let Some(hosts) = Hosts::new() else { return };
    let server = hosts.b.server("10.9.0.2:7001");
    let remote = hosts.a.remote([SERVER, "7001"]).stdin_open().start();
    server.accept().write_all(b"that is all").unwrap();
    let ended = remote.wait().expect_quiet_success();
    assert_eq!(ended.stdout, b"that is all");
}

#[test]
fn b_the_server_answers_only_after_our_end_of_file() {
    let Some(hosts) = Hosts::new() else { return };
    let server = hosts.b.server("10.9.0.2:7001");
    let remote = hosts.a.remote([SERVER, "7001"]).stdin("question").start();
    let mut client = server.accept();
    assert_eq!(read_all(&mut client), b"question");
    client.write_all(b"answer").unwrap();
    drop(client);
    assert_eq!(remote.wait().expect_quiet_success().stdout, b"answer");
}

#[test]
fn c_the_answer_comes_a_second_after_our_end_of_file() {
    let Some(hosts) = Hosts::new() else { return };
    let server = hosts.b.server("10.9.0.2:7001");
    let remote = hosts.a.remote([SERVER, "7001"]).stdin("question").start();
    let mut client = server.accept();
    assert_eq!(read_all(&mut client), b"question");
    pause(Duration::from_millis(1200));
    client.write_all(b"answer").unwrap();
    drop(client);
    assert_eq!(remote.wait().expect_quiet_success().stdout, b"answer");
}

#[test]
fn d_the_server_half_closes_first_and_we_upload_50_mb() {
    let Some(hosts) = Hosts::new() else { return };
    let bytes = noise(50_000_000);
    let dir = crate::bench::Dir::new();
    let path = dir.file("upload", &bytes);
    for from_pipe in [true, false] {
        let server = hosts.b.server("10.9.0.2:7001");
        let remote = hosts.a.remote([SERVER, "7001"]);
        let remote = match from_pipe {
            true => remote.stdin(bytes.clone()),
            false => remote.stdin_from(std::fs::File::open(&path).unwrap()),
        };
        let remote = remote.start();
        let mut client = server.accept();
        client.write_all(b"ready").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(read_all(&mut client) == bytes, "from_pipe: {from_pipe}");
        drop(client);
        assert_eq!(remote.wait().expect_quiet_success().stdout, b"ready");
    }
}

#[test]
fn e_a_udp_query_prints_the_answer_and_exits() {
    let Some(hosts) = Hosts::new() else { return };
    for delay in [300, 700] {
        let server = hosts.b.udp("10.9.0.2:7001");
        let remote = hosts.a.remote(["-u", SERVER, "7001"]).stdin("q").start();
        let mut buf = [0; 100];
        let (n, from) = server.recv_from(&mut buf).unwrap();
        assert_eq!(&buf[..n], b"q");
        pause(Duration::from_millis(delay));
        server.send_to(b"answer", from).unwrap();
        assert_eq!(remote.wait().expect_quiet_success().stdout, b"answer", "after {delay} ms");
    }
}

#[test]
fn f_a_reset_is_no_success() {
    let Some(hosts) = Hosts::new() else { return };
    let server = hosts.b.server("10.9.0.2:7001");
    let remote = hosts.a.remote([SERVER, "7001"]).stdin_open().start();
    let mut client = server.accept();
    client.write_all(b"so far").unwrap();
    remote.printed(6);
    reset(client);
    let parts = ["receive from 10.9.0.2 port 7001: connection reset by peer", "0 bytes sent, 6 received"];
    remote.wait().expect_failure(1, &parts);
}

#[test]
fn g_a_full_disk_is_no_success() {
    let Some(hosts) = Hosts::new() else { return };
    let server = hosts.b.server("10.9.0.2:7001");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let remote = hosts.a.remote([SERVER, "7001"]).stdin_open().stdout_to(full).start();
    server.accept().write_all(b"too much").unwrap();
    let parts = ["write to stdout: no space left on device", "8 received bytes were not written"];
    remote.wait().expect_failure(1, &parts);
}

#[test]
fn h_a_busy_port_is_refused() {
    let Some(hosts) = Hosts::new() else { return };
    for transport in ["-l", "-lu"] {
        let first = hosts.b.remote([transport, "-v", "7001"]).start();
        assert_eq!(first.port(), 7001);
        let parts = ["listen on :: port 7001: address already in use"];
        hosts.b.remote([transport, "7001"]).run().expect_failure(1, &parts);
    }
}

#[test]
fn i_a_listener_takes_both_families() {
    let Some(hosts) = Hosts::new() else { return };
    for address in ["10.9.0.2:7001", "[fd09:0::2]:7001"] {
        let remote = hosts.b.remote(["-lv", "7001"]).start();
        remote.port();
        hosts.a.connect(address.parse().unwrap()).write_all(b"hello").unwrap();
        let ended = remote.wait();
        assert_eq!((ended.code, &ended.stdout[..]), (0, &b"hello"[..]), "{address}");
        let from = if address.starts_with('[') { "fd09::1" } else { "10.9.0.1" };
        assert!(ended.stderr.contains(&format!("Connection received on {from} ")), "{ended:?}");
    }
}

#[test]
fn j_a_dead_first_family_costs_a_third_of_a_second() {
    let Some(hosts) = Hosts::new() else { return };
    if !crate::bench::has("nft") {
        return;
    }
    // A resolver puts IPv6 first; whichever it puts first here, the other one is alive.
    for (dead, alive) in [
        ("ip6 daddr fd09::2 tcp dport 7001", "10.9.0.2:7001"),
        ("ip daddr 10.9.0.2 tcp dport 7002", "[fd09::2]:7002"),
    ] {
        hosts.b.run(&["nft", "flush", "ruleset"]);
        hosts.b.black_hole(dead);
        let server = hosts.b.server(alive);
        let port = server.port();
        hosts.a.name_hosts("fd09::2 both\n10.9.0.2 both\n");
        let started = Instant::now();
        let remote = hosts.a.remote(["both", &port]).stdin("hello").start();
        let mut client = server.accept();
        let took = started.elapsed();
        assert_eq!(read_all(&mut client), b"hello");
        drop(client);
        remote.wait().expect_quiet_success();
        // 250 ms is the schedule, which has a test of its own; this only excludes a minute.
        assert!(took < Duration::from_secs(5), "{dead}: {took:?}");
    }
}

#[test]
fn k_a_datagram_of_60000_bytes_is_received_complete() {
    let Some(hosts) = Hosts::new() else { return };
    for size in [60_000, 65_507] {
        let remote = hosts.b.remote(["-ulv", "7001", "-W", "1"]).start();
        remote.port();
        let bytes = noise(size);
        hosts.a.udp("10.9.0.1:0").send_to(&bytes, "10.9.0.2:7001").unwrap();
        let ended = remote.wait();
        assert_eq!(ended.code, 0);
        assert!(ended.stdout == bytes, "{size}: {} bytes", ended.stdout.len());
    }
}

#[test]
fn l_a_line_of_10001_bytes_is_kept_when_it_is_pasted() {
    let Some(hosts) = Hosts::new() else { return };
    let server = hosts.b.server("10.9.0.2:7001");
    let terminal = Terminal::new();
    let prefix = ["ip", "netns", "exec", &hosts.a.name, "setsid", "--ctty", "--wait"];
    let remote = Remote::through(&prefix, [SERVER, "7001"]);
    let remote = remote.stdin_from(terminal.stdio()).stdout_to(terminal.stdio()).stderr_to(terminal.stdio());
    let mut remote = remote.start();
    let mut client = server.accept();
    crate::bench::eventually("the terminal to be taken", || terminal.is_taken().then_some(()));
    let line = format!("{}\n", "x".repeat(10_000));
    terminal.type_in(line.as_bytes());
    let mut got = vec![0; line.len()];
    client.read_exact(&mut got).unwrap();
    assert!(got == line.as_bytes());
    assert!(remote.is_running());
}

#[test]
fn m_a_listener_gives_up_without_a_client() {
    let Some(hosts) = Hosts::new() else { return };
    for transport in ["-l", "-lu", "-lk", "-lku"] {
        hosts
            .b
            .remote([transport, "-w", "0.3", "7001"])
            .run()
            .expect_failure(1, &["nobody came within 0.3 s"]);
    }
}

/// Delays a peer. Nothing is waited for: time itself is tested.
fn pause(time: Duration) {
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.set_read_timeout(Some(time)).unwrap();
    let _ = deaf.recv(&mut [0]);
}
