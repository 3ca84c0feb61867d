//! Timeouts and limits.

use super::{super::router::FLUSH_TIMEOUT, *};

#[test]
fn register_timeout_is_not_extended_by_a_trickle() {
    let mut sim = Simulation::new(config());
    let who = sim.connect();
    for _ in 0..29 {
        sim.pass(Duration::from_millis(100));
        sim.send(who, b"n");
    }

    assert_eq!(sim.clients[who].gone, None);
    sim.pass(Duration::from_millis(100));
    assert_eq!(sim.clients[who].gone, Some(CloseReason::RegisterTimeout));
}

#[test]
fn header_timeout_is_not_extended_by_a_trickle() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.pass_seconds(20);
    for _ in 0..9 {
        sim.send(0, b"b");
        sim.pass_seconds(1);
    }

    sim.pass(Duration::from_millis(999));
    assert_eq!(sim.clients[0].gone, None);
    sim.pass(Duration::from_millis(1));
    assert_eq!(sim.clients[0].gone, Some(CloseReason::HeaderTimeout));

    // The payload has no such limit.
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.send(0, b"b|9|");
    for _ in 0..9 {
        sim.pass_seconds(29);
        sim.send(1, b"b|0|");
        sim.send(0, b"x");
    }
    assert_eq!((sim.got(1).as_str(), sim.clients[0].gone), ("xxxxxxxxx", None));
}

#[test]
fn idle_timeout_counts_sent_bytes_only() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.pass_seconds(29);
    sim.send(0, b"b|1|x");
    assert_eq!(sim.clients[1].gone, None);

    sim.pass_seconds(1);
    assert_eq!((sim.clients[1].gone, sim.clients[0].gone), (Some(CloseReason::Idle), None));

    sim.pass_seconds(28);
    sim.send(0, b"a|0|");
    sim.pass_seconds(29);
    assert_eq!(sim.clients[0].gone, None);
    sim.pass_seconds(1);
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Idle));
}

#[test]
fn client_after_eof_receives_until_its_name_is_taken() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.end(1);
    sim.send(0, b"b|5|hello");
    assert_eq!(sim.got(1), "hello");

    sim.pass_seconds(29);
    sim.send(0, b"b|1|!");
    let new = sim.connect();
    sim.send(new, b"b|");
    assert_eq!(sim.clients[1].gone, Some(CloseReason::Ended), "it was told all there was");
    sim.send(0, b"b|3|new");
    assert_eq!((sim.got(1).as_str(), sim.got(new).as_str()), ("hello!", "new"));

    // If the name is not taken, the idle timeout closes the client.
    sim.end(new);
    sim.pass_seconds(30);
    assert_eq!(sim.clients[new].gone, Some(CloseReason::Ended));
}

#[test]
fn leaving_client_gets_its_queue_for_five_seconds() {
    for reads in [0, usize::MAX] {
        let mut sim = Simulation::with(&["a", "b"], config());
        sim.read_only(1, 0);
        sim.pass_seconds(25);

        sim.send(0, b"b|5|hello");
        sim.pass_seconds(5);
        assert_eq!(sim.clients[1].gone, None, "it still has something to read");

        sim.send(0, b"b|1|x");
        sim.read_only(1, reads);

        sim.pass(FLUSH_TIMEOUT);
        assert_eq!(sim.clients[1].gone, Some(CloseReason::Idle));
        assert_eq!(sim.got(1), if reads == 0 { "" } else { "hello" }, "the name was gone at once");
        sim.assert_clean();
    }
}

#[test]
fn full_queue_stops_only_its_senders() {
    let mut sim = Simulation::with(&["a", "slow", "c"], config());
    sim.read_only(1, 0);
    let message = large("slow", 50_000);
    for _ in 0..20 {
        sim.send(0, &message);
    }

    let unread = sim.clients[0].sent.len();
    assert!(unread > 500_000, "{unread} bytes were not read");
    assert!(sim.router.used() < 400_000, "{} bytes are kept", sim.router.used());

    sim.send(2, b"c|2|hi");
    assert_eq!(sim.got(2), "hi");

    sim.read_only(1, usize::MAX);
    assert_eq!(sim.clients[1].got.len(), 1_000_000);
    sim.assert_clean();
}

#[test]
fn stalled_client_is_closed_and_its_senders_go_on() {
    let mut sim = Simulation::with(&["a", "slow"], config());
    sim.read_only(1, 0);
    for _ in 0..10 {
        sim.send(0, &large("slow", 60_000));
    }

    sim.send(0, b"a|4|here");
    for _ in 0..9 {
        sim.pass_seconds(1);
        sim.read_only(1, 400);
        sim.send(1, b"slow|0|");
    }

    assert_eq!((sim.clients[1].gone, sim.got(0).as_str()), (None, ""));
    sim.pass_seconds(1);
    assert_eq!((sim.clients[1].gone, sim.got(0).as_str()), (Some(CloseReason::Slow), "here"));
    sim.assert_clean();
}

#[test]
fn slow_client_is_not_closed() {
    let mut sim = Simulation::with(&["a", "slow"], config());
    sim.read_only(1, 0);
    for _ in 0..10 {
        sim.send(0, &large("slow", 60_000));
    }

    for _ in 0..60 {
        sim.pass_seconds(9);
        sim.read_only(1, 5000);
        sim.send(1, b"slow|0|");
    }
    assert_eq!((sim.clients[1].gone, sim.clients[0].gone), (None, None), "a waits, and is not idle");
}

#[test]
fn idle_timeout_stands_while_a_sender_is_not_read() {
    let mut sim = Simulation::with(
        &["a", "slow"],
        RouterConfig { stall_timeout: Duration::from_secs(1000), ..config() },
    );

    sim.read_only(1, 0);
    for _ in 0..10 {
        sim.send(0, &large("slow", 60_000));
    }

    for _ in 0..30 {
        sim.pass_seconds(29);
        sim.send(1, b"slow|0|");
    }
    assert_eq!(sim.clients[0].gone, None);

    sim.read_only(1, usize::MAX);
    assert_eq!(sim.clients[1].got.len(), 600_000);

    sim.pass_seconds(29);
    sim.send(1, b"slow|0|");
    assert_eq!(sim.clients[0].gone, None);
    sim.pass_seconds(1);
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Idle));
}

#[test]
fn lock_holder_that_stops_is_closed_if_others_wait() {
    let mut sim = Simulation::with(&["a", "b", "c"], config());
    sim.send(0, &large("b", 200_000)[..1000]);
    sim.pass_seconds(20);
    assert_eq!(sim.clients[0].gone, None, "no client waits");

    sim.send(2, b"b|5|hello");
    sim.pass_seconds(5);
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Stuck));
    assert!(sim.got(1).ends_with("hello"));
    assert_eq!(sim.router.stats().truncated, 1);
}

#[test]
fn memory_limit_closes_the_oldest_incomplete_message() {
    let mut sim =
        Simulation::with(&["a", "b", "c", "slow"], RouterConfig { memory_limit: 100_000, ..config() });

    sim.send(0, &large("b", 60_000)[..45_000]);
    sim.pass_seconds(1);
    sim.send(1, &large("b", 60_000)[..45_000]);
    sim.pass_seconds(1);
    sim.send(2, &large("b", 60_000)[..45_000]);
    assert_eq!((sim.clients[0].gone, sim.clients[1].gone), (Some(CloseReason::Memory), None));

    // A full queue closes no client, but no more is read.
    let mut sim =
        Simulation::with(&["a", "b", "c", "slow"], RouterConfig { memory_limit: 100_000, ..config() });

    sim.read_only(3, 0);
    sim.send(0, &large("slow", 60_000));
    sim.send(1, &large("slow", 60_000));
    sim.send(2, b"a|2|hi");
    assert_eq!(sim.got(0), "");

    sim.pass_seconds(10);
    assert_eq!((sim.clients[3].gone, sim.got(0).as_str()), (Some(CloseReason::Slow), "hi"));
    sim.assert_clean();
}

#[test]
fn stalled_client_is_retried() {
    let mut sim = Simulation::with(&["a", "slow"], config());
    sim.read_only(1, 0);
    sim.send(0, &large("slow", 60_000));
    let id = sim.clients[1].id.unwrap();
    while sim.router.next_output().is_some() {}

    for second in [2.5, 5.0, 7.5] {
        sim.now += Duration::from_millis(2500);
        sim.router.tick(sim.now);
        assert_eq!(sim.router.next_output(), Some(id), "at {second} s");
    }

    assert_eq!(sim.clients[1].gone, None);
    sim.pass_seconds(3);
    assert_eq!(sim.clients[1].gone, Some(CloseReason::Slow));
}

#[test]
fn oldest_unregistered_client_makes_room() {
    let mut sim = Simulation::new(RouterConfig { max_clients: 5000, ..config() });
    for _ in 0..1025 {
        sim.connect();
    }
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Evicted));
    assert!(sim.clients[1..].iter().all(|client| client.gone.is_none()));
}

#[test]
fn clients_beyond_the_limit_are_refused() {
    let mut router = Router::new(RouterConfig { max_clients: 1, ..config() });
    let (now, ip) = (Instant::now(), "192.0.2.1".parse().unwrap());
    assert!(matches!(router.admit(ip, now), Admission::Joined(_)));
    assert_eq!(router.admit(ip, now), Admission::Refused(CloseReason::TooMany));

    // But one that only listens makes room.
    let mut sim = Simulation::with(&["a", "b"], RouterConfig { max_clients: 2, ..config() });
    sim.end(1);
    sim.connect();
    assert_eq!((sim.clients[0].gone, sim.clients[1].gone), (None, Some(CloseReason::Ended)));
}

#[test]
fn hour_of_connections_leaves_nothing_behind() {
    let mut sim = Simulation::with(&["sink"], config());
    for turn in 0..3600_usize {
        let who = sim.connect();
        sim.send(who, format!("c{}|sink|5|hello", turn % 20).as_bytes());

        match turn % 4 {
            0 => sim.reset(who),
            1 => sim.end(who),
            _ => {}
        }

        sim.send(0, b"sink|0|");
        sim.pass_seconds(1);
        sim.clients[0].got.clear();

        assert!(sim.router.clients() <= 32, "{} clients", sim.router.clients());
        if turn % 100 == 99 {
            // Clients that have left are not checked again.
            assert!(sim.clients[1..turn - 40].iter().all(|client| client.gone.is_some()));
        }
    }

    sim.pass_seconds(60);
    assert_eq!((sim.router.clients(), sim.router.names(), sim.router.deadline()), (0, 0, None));
    sim.assert_clean();
}

#[test]
fn hundred_thousand_idle_clients() {
    let mut router = Router::new(RouterConfig { max_clients: 200_000, ..config() });
    let now = Instant::now();
    let mut ids = Vec::new();

    for number in 0..100_000 {
        let Admission::Joined(id) = router.admit(IpAddr::V4(Ipv4Addr::LOCALHOST), now) else { panic!() };
        router.receive(id, format!("client_{number}|").as_bytes(), now);
        ids.push(id);
    }

    assert_eq!((router.clients(), router.names()), (100_000, 100_000));

    router.receive(ids[0], b"client_99999|5|hello", now);
    assert_eq!(router.output(ids[99_999]), b"hello");

    router.tick(now + Duration::from_secs(30));
    assert_eq!((router.clients(), router.used()), (0, 0));
}
