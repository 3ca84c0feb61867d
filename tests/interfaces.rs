//! Interfaces, source addresses, scopes: between two hosts with two cables.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr},
};

use crate::bench::{Hosts, on_linux, read_all};

/// A rule of policy routing: two cables, and traffic from an address
/// leaves by the cable that carries it.
const SERVER: &str = "10.9.0.2";

#[test]
fn the_interface_gives_the_source_address() {
    let Some(hosts) = Hosts::new() else { return };
    let table = [
        (vec!["-i", "veth0"], "0.0.0.0:7001", SERVER, "10.9.0.1"),
        (vec!["-i", "veth1"], "0.0.0.0:7001", "10.9.1.2", "10.9.1.1"),
        // Not the address of the cable to that host: it is what was asked for.
        (vec!["-i", "veth1"], "0.0.0.0:7001", SERVER, "10.9.1.1"),
        (vec!["-a", "10.9.1.1"], "0.0.0.0:7001", SERVER, "10.9.1.1"),
        (vec!["-i", "veth0", "-a", "10.9.0.1"], "0.0.0.0:7001", SERVER, "10.9.0.1"),
        (vec!["-i", "veth0"], "[::]:7001", "fd09::2", "fd09::1"),
        (vec!["-a", "fd09:1::1"], "[::]:7001", "fd09::2", "fd09:1::1"),
        // Without -i the route decides.
        (vec![], "0.0.0.0:7001", "10.9.1.2", "10.9.1.1"),
        (vec![], "0.0.0.0:7001", SERVER, "10.9.0.1"),
        // -b binds to the device of the route.
        (vec!["-b"], "0.0.0.0:7001", SERVER, "10.9.0.1"),
        (vec!["-b", "-i", "veth1"], "0.0.0.0:7001", "10.9.1.2", "10.9.1.1"),
    ];
    for (flags, at, to, from) in table {
        if flags.contains(&"-b") && !on_linux("-b") {
            continue;
        }
        let server = hosts.b.server(at);
        let args = flags.iter().copied().chain([to, "7001"]);
        let remote = hosts.a.remote(args).stdin("hello").start();
        let mut peer = server.accept();
        assert_eq!(peer.peer_addr().unwrap().ip(), from.parse::<IpAddr>().unwrap(), "{flags:?}");
        assert_eq!(read_all(&mut peer), b"hello", "{flags:?}");
        drop(peer);
        remote.wait().expect_quiet_success();
    }
}

#[test]
fn a_device_that_does_not_lead_there_is_used_all_the_same() {
    let Some(hosts) = Hosts::new() else { return };
    let _server = hosts.b.server("10.9.0.2:7001");
    // On veth1, no host answers ARP for 10.9.0.2: the connection cannot come about.
    hosts.b.run(&["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=2"]);
    let ended = hosts.a.remote(["-b", "-i", "veth1", "-T", "0.5", SERVER, "7001"]).run();
    assert_eq!(ended.code, 1, "{ended:?}");
}

#[test]
fn link_local_addresses_and_their_scopes() {
    let Some(hosts) = Hosts::new() else { return };
    let there = hosts.b.link_local("veth0").unwrap();
    let here = hosts.a.link_local("veth0").unwrap();
    let scoped = format!("{there}%veth0");
    let (bare, whole) = (there.to_string(), format!("[{scoped}]:7001"));
    let table = [
        vec![&*scoped, "7001"],
        vec!["-i", "veth0", &bare, "7001"],
        vec![&*whole],
        vec!["-b", "-i", "veth0", &bare, "7001"],
    ];
    for args in table {
        if args.contains(&"-b") && !on_linux("-b") {
            continue;
        }
        let server = hosts.b.server("[::]:7001");
        let remote = hosts.a.remote(&args).stdin("hello").start();
        let mut peer = server.accept();
        assert_eq!(peer.peer_addr().unwrap().ip(), here, "{args:?}");
        assert_eq!(read_all(&mut peer), b"hello", "{args:?}");
        drop(peer);
        remote.wait().expect_quiet_success();
    }
    let parts = ["a link-local address needs its interface: -i NAME, or ", "%NAME"];
    for transport in [&["-T", "5"][..], &["-u"]] {
        let args = transport.iter().map(ToString::to_string).chain([there.to_string(), "7001".into()]);
        hosts.a.remote(args).stdin("x").run().expect_failure(1, &parts);
    }
}

#[test]
fn listening_at_an_interface() {
    let Some(hosts) = Hosts::new() else { return };
    let link_local = match hosts.b.link_local("veth0").unwrap() {
        IpAddr::V6(ip) => ip,
        IpAddr::V4(_) => unreachable!(),
    };
    let scope = hosts.a.socket(|| {
        Ok(rustix::net::netdevice::name_to_index(
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?,
            "veth0",
        )?)
    });
    let scoped = SocketAddr::V6(std::net::SocketAddrV6::new(link_local, 7001, 0, scope));
    let all: [SocketAddr; 3] = ["10.9.0.2:7001".parse().unwrap(), "[fd09::2]:7001".parse().unwrap(), scoped];
    for to in all {
        let remote = hosts.b.remote(["-lv", "-i", "veth0", "7001"]).start();
        remote.said("Listening on 10.9.0.2 7001\n");
        remote.said("Listening on fd09::2 7001\n");
        remote.said(&format!("Listening on {link_local}%veth0 7001\n"));
        hosts.a.connect(to).write_all(b"hello").unwrap();
        assert_eq!(remote.wait().stdout, b"hello", "{to}");
    }
    // No client reaches the address of the other cable.
    let remote = hosts.b.remote(["-lv", "-i", "veth0", "7001"]).start();
    remote.said("Listening on 10.9.0.2 7001\n");
    hosts.a.remote(["10.9.1.2", "7001"]).run().expect_failure(1, &["connection refused"]);
    drop(remote);
    if !on_linux("-b") {
        return;
    }
    // Nor, with -b, by the other cable.
    let remote = hosts.b.remote(["-lv", "-b", "-i", "veth0", "7002"]).start();
    remote.said("Listening on :: 7002\n");
    hosts.a.remote(["10.9.1.2", "7002"]).run().expect_failure(1, &["connection refused"]);
    hosts.a.connect("10.9.0.2:7002".parse().unwrap()).write_all(b"hello").unwrap();
    assert_eq!(remote.wait().stdout, b"hello");
}

#[test]
fn datagrams_are_answered_from_the_address_of_the_request() {
    if !on_linux("the address that a datagram was sent to") {
        return;
    }
    let Some(hosts) = Hosts::new() else { return };
    for to in ["10.9.0.2:7001", "10.9.1.2:7001", "[fd09:1::2]:7001"] {
        let to: SocketAddr = to.parse().unwrap();
        let mut remote = hosts.b.remote(["-luv", "7001"]).stdin_open().start();
        remote.port();
        // From the far cable's address, so that the route back would prefer another source.
        let client = hosts.a.udp(if to.is_ipv4() { "10.9.0.1:0" } else { "[fd09::1]:0" });
        client.connect(to).unwrap();
        client.send(b"question").unwrap();
        remote.printed(8);
        remote.type_in(b"answer");
        let mut buf = [0; 10];
        assert_eq!(client.recv(&mut buf).unwrap(), 6, "{to}");
    }
}

#[test]
fn missing_interfaces_are_named() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.a.ip("link set veth1 down");
    let table = [
        (vec!["-i", "nosuch", SERVER, "1"], 1, "there is no interface 'nosuch' (there are lo, veth0"),
        (vec!["-i", "5", SERVER, "1"], 2, "nc's -i, the delay between lines, is -d 5 here"),
        (vec!["-i", "veth1", SERVER, "1"], 1, "interface 'veth1' is down"),
        (vec!["-l", "-i", "veth1", "1"], 1, "interface 'veth1' is down"),
        (vec!["-i", "lo", "-6", "-a", "10.9.0.1", SERVER, "1"], 2, "-a 10.9.0.1 is not an IPv6 address"),
        (
            vec!["-i", "veth0", "-a", "10.9.1.1", SERVER, "1"],
            2,
            "-a 10.9.1.1 is not an address of interface 'veth0'",
        ),
        (vec!["-a", "10.9.9.9", SERVER, "1"], 1, "bind to 10.9.9.9 port 0: cannot assign requested address"),
        (vec!["-a", "fd09::1", SERVER, "1"], 2, "10.9.0.2 is not an IPv6 address"),
        (vec!["-l", "-a", "10.9.9.9", "1"], 1, "listen on 10.9.9.9 port 1: cannot assign requested address"),
        (vec!["10.8.0.1", "1"], 1, "connect to 10.8.0.1 port 1: network is unreachable"),
        (vec!["-u", "10.8.0.1", "1"], 1, "connect to 10.8.0.1 port 1: network is unreachable"),
    ];
    for (args, code, part) in table {
        hosts.a.remote(&args).stdin("x").run().expect_failure(code, &[part]);
    }
    hosts.a.ip("addr flush dev veth0");
    let ended = hosts.a.remote(["-i", "veth0", SERVER, "1"]).run();
    ended.expect_failure(1, &["interface 'veth0' has no address"]);
}

#[test]
fn without_ipv6_a_listener_takes_ipv4() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.b.run(&["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
    let mut remote = hosts.b.remote(["-lv", "7001"]).stdin_open().start();
    remote.port();
    let mut peer = hosts.a.connect("10.9.0.2:7001".parse().unwrap());
    remote.type_in(b"hello");
    peer.read_exact(&mut [0; 5]).unwrap();
}
