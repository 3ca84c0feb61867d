//! Bytes that bypass the router.

use super::{super::router::FLUSH_TIMEOUT, *};

#[test]
fn splice_bypasses_the_queue() {
    let mut sim = Simulation::with(&["a", "b", "c"], config());
    let now = sim.now;
    sim.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (sim.clients[0].id.unwrap(), sim.clients[1].id.unwrap());

    let left = (1 << 20) - 100_000;
    assert_eq!(sim.router.splice(a), Some(Splice { to: b, left, queued: false }));

    sim.router.spliced(a, b, 500_000, 0, now);
    assert_eq!((sim.router.lock_holder(b), sim.router.read_budget(a)), (Some(a), 0));
    sim.router.spliced(a, b, 0, 400_000, now);
    sim.router.spliced(a, b, left - 500_000, 0, now);
    assert_eq!(sim.router.splice(a), None, "all of it was taken");

    // The next message waits for its end, and so do those of other clients.
    sim.send(2, b"b|5|hello");
    sim.send(0, b"b|1|!");
    assert_eq!(sim.clients[1].got.len(), 100_000);

    sim.router.spliced(a, b, 0, 100_000, now);
    sim.router.copied_back(b, &vec![7; left as usize - 500_000], now);
    sim.pump();
    assert_eq!(sim.clients[1].got.len(), 100_000 + left as usize - 500_000 + 6);
    assert!(sim.got(1).ends_with("hello!") || sim.got(1).ends_with("!hello"));
    assert_eq!(sim.router.stats().messages, 3);
    sim.assert_clean();
}

#[test]
fn bytes_in_the_pipe_outlive_their_sender() {
    let mut sim = Simulation::with(&["a", "b", "c"], config());
    let now = sim.now;
    sim.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (sim.clients[0].id.unwrap(), sim.clients[1].id.unwrap());
    sim.router.spliced(a, b, 1000, 0, now);

    sim.reset(0);
    sim.send(2, b"b|5|hello");
    assert_eq!(sim.clients[1].got.len(), 100_000, "the end of the prefix comes first");

    sim.router.copied_back(b, &[7; 1000], now);
    sim.pump();
    assert_eq!(sim.clients[1].got.len(), 101_005);
    sim.assert_clean();
}

#[test]
fn destination_that_leaves_frees_the_sender_of_a_splice() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (sim.clients[0].id.unwrap(), sim.clients[1].id.unwrap());
    sim.router.spliced(a, b, 1000, 0, sim.now);

    sim.end(1);
    let heir = sim.connect();
    sim.send(heir, b"b|");

    let before = sim.clients[0].resumed;
    sim.pass(FLUSH_TIMEOUT);
    assert_eq!(sim.clients[1].gone, Some(CloseReason::Ended));
    assert!(sim.clients[0].resumed > before, "otherwise it would never be read again");
    assert_eq!(sim.router.discardable(a), (1 << 20) - 101_000);
    sim.assert_clean();
}

#[test]
fn sender_that_waits_for_a_pipe_is_not_idle() {
    let mut sim =
        Simulation::with(&["a", "b"], RouterConfig { stall_timeout: Duration::from_secs(1000), ..config() });
    sim.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (sim.clients[0].id.unwrap(), sim.clients[1].id.unwrap());
    sim.router.spliced(a, b, 1000, 0, sim.now);

    for _ in 0..3 {
        sim.pass_seconds(29);
        sim.send(1, b"b|0|");
    }
    assert_eq!(sim.clients[0].gone, None);

    sim.router.spliced(a, b, 0, 1000, sim.now);
    sim.pump();
    sim.pass_seconds(30);
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Idle));
}

#[test]
fn pending_bytes_are_not_discardable() {
    let mut sim = Simulation::with(&["a", "b", "c"], RouterConfig { max_clients: 3, ..config() });
    sim.read_only(1, 0);
    sim.end(1);
    for _ in 0..5 {
        sim.send(0, &large("b", 50_000));
    }

    // A part of the large one waits with its sender; then its destination must make room.
    sim.send(0, &large("b", 300_000)[..240_000]);
    let a = sim.clients[0].id.unwrap();
    assert_eq!((sim.router.read_budget(a), sim.router.discardable(a)), (0, 0));

    sim.connect();
    assert_eq!(sim.clients[1].gone, Some(CloseReason::Ended));
    sim.send(0, &large("b", 300_000)[240_000..]);
    sim.send(0, b"c|5|hello");
    assert_eq!((sim.got(2).as_str(), sim.clients[0].gone), ("hello", None));
}

#[test]
fn memory_blocked_clients_are_resumed() {
    let mut sim =
        Simulation::with(&["a", "b", "c", "d", "e"], RouterConfig { memory_limit: 200_000, ..config() });

    // Incomplete messages, and bytes in a pipe.
    sim.send(0, &large("c", 60_000)[..47_000]);
    sim.send(1, &large("c", 60_000)[..45_000]);
    sim.send(4, &large("d", 1 << 20)[..10]);
    let (e, d) = (sim.clients[4].id.unwrap(), sim.clients[3].id.unwrap());
    sim.router.spliced(e, d, 150_000, 0, sim.now);

    sim.send(0, &large("c", 60_000)[47_000..]);
    sim.send(1, &large("c", 60_000)[45_000..]);
    assert_eq!(sim.clients[2].got.len(), 0, "there is no memory");

    // A new client is admitted all the same.
    let new = sim.connect();
    sim.send(new, b"new|");
    assert_eq!(sim.router.names(), 6);

    sim.router.spliced(e, d, 0, 150_000, sim.now);
    sim.pump();
    assert_eq!(sim.clients[2].got.len(), 120_000);
}
