//! `-z`: which ports are open.

use std::net::{TcpListener, UdpSocket};

use crate::bench::{Hosts, Remote, Server, has, udp};

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[test]
fn the_exit_status_tells_whether_a_port_is_open() {
    let server = Server::new();
    Remote::new(["-z", "127.0.0.1", &server.port()]).run().expect_quiet_success();
    Remote::new(["-z", "127.0.0.1", &free_port()]).run().expect(1, "");
    let line = format!("Connection to 127.0.0.1 {} port [tcp/*] succeeded!\n", server.port());
    Remote::new(["-zv", "127.0.0.1", &server.port()]).run().expect(0, &line);
    let free = free_port();
    let line = format!("remote: connect to 127.0.0.1 port {free} (tcp) failed: connection refused\n");
    Remote::new(["-zv", "127.0.0.1", &free]).run().expect(1, &line);
}

#[test]
fn several_ports_are_listed_in_the_order_they_were_given() {
    let servers: Vec<Server> = (0..3).map(|_| Server::new()).collect();
    let ports: Vec<String> = servers.iter().map(Server::port).collect();
    let line = |port: &String| format!("Connection to 127.0.0.1 {port} port [tcp/*] succeeded!\n");
    let free = free_port();
    let list = format!("{},{free},{}", ports[2], ports[0]);
    let expected = line(&ports[2]) + &line(&ports[0]) + &line(&ports[1]);
    Remote::new(["-z", "127.0.0.1", &list, &ports[1]]).run().expect(0, &expected);
    Remote::new(["-zQ", "127.0.0.1", &list, &ports[1]]).run().expect(0, "");
    // Nothing was sent.
    for server in &servers {
        assert_eq!(crate::bench::read_all(&mut server.accept()), b"");
    }
}

#[test]
fn a_range_is_looked_through_with_few_descriptors() {
    let server = Server::new();
    let port: u16 = server.port().parse().unwrap();
    let range = format!("{}-{}", port.saturating_sub(100), port.saturating_add(100));
    let ended = Remote::new(["-z", "127.0.0.1", &range]).with_descriptors(20).run();
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains(&format!("Connection to 127.0.0.1 {port} port")), "{ended:?}");
}

#[test]
fn udp_is_honest() {
    let echo = udp();
    let port = echo.local_addr().unwrap().port().to_string();
    let answering = std::thread::spawn(move || {
        let (_, from) = echo.recv_from(&mut [0; 10]).unwrap();
        echo.send_to(b"here", from).unwrap();
        echo
    });
    let line = format!("Connection to 127.0.0.1 {port} port [udp/*] succeeded!\n");
    Remote::new(["-zuv", "127.0.0.1", &port]).run().expect(0, &line);
    drop(answering.join().unwrap());

    let line = format!("remote: connect to 127.0.0.1 port {port} (udp) failed: connection refused\n");
    Remote::new(["-zuv", "127.0.0.1", &port]).run().expect(1, &line);

    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let line = format!("remote: connect to 127.0.0.1 port {port} (udp): no answer\n");
    Remote::new(["-zuv", "-w", "0.2", "127.0.0.1", &port]).run().expect(1, &line);
}

#[test]
fn a_port_that_drops_everything_is_given_up() {
    let Some(hosts) = Hosts::new() else { return };
    if !has("nft") {
        return;
    }
    hosts.b.black_hole("tcp dport 7001");
    let _open = hosts.b.server("10.9.0.2:7002");
    let ended = hosts.a.remote(["-zv", "-w", "0.3", "10.9.0.2", "7001-7003"]).run();
    let lines = "remote: connect to 10.9.0.2 port 7001 (tcp): no answer\n\
                 Connection to 10.9.0.2 7002 port [tcp/*] succeeded!\n\
                 remote: connect to 10.9.0.2 port 7003 (tcp) failed: connection refused\n";
    ended.expect(0, lines);
}

#[test]
fn it_waits_for_a_port_to_open() {
    let port = free_port();
    let remote = Remote::new(["-z", "--retry", "forever", "127.0.0.1", &port]).start();
    let _server = Server::at(&format!("127.0.0.1:{port}"));
    remote.wait().expect_quiet_success();
}

#[test]
fn services_have_names() {
    if crate::bench::run("getent", &["services", "discard/tcp"]).is_err() {
        return println!("skipped: this machine knows no services");
    }
    let ended = Remote::new(["-zv", "127.0.0.1", "discard"]).run();
    assert!(ended.stderr.contains("port 9 (tcp)"), "{ended:?}");
    let Ok(_discard) = TcpListener::bind("127.0.0.1:9") else {
        return println!("skipped: port 9 is not ours");
    };
    let ended = Remote::new(["-zv", "127.0.0.1", "discard"]).run();
    assert_eq!(ended.stderr, "Connection to 127.0.0.1 9 port [tcp/discard] succeeded!\n");
}

#[test]
fn json_lists_the_ports() {
    let server = Server::new();
    let ended = Remote::new(["-zQ", "--json", "127.0.0.1", &server.port(), &free_port()]).run();
    let object: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(object["ports"][0]["state"], "open");
    assert_eq!(object["ports"][1]["state"], "closed");
}
