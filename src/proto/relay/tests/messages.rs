//! Registrations and messages: the bytes that each client receives.

use super::{super::send_queue::MAX_QUEUE, *};

/// Two clients, `a` and `b`: the bytes that `a` sends, those that `b` and `a` receive, and the reason why `a` is closed.
#[test]
#[rustfmt::skip]
fn messages() {
    use CloseReason::*;
    let table: [(&str, &str, &str, &str, Option<CloseReason>); 27] = [
        ("a message", "b|5|hello", "hello", "", None),
        ("two messages", "b|5|hellob|1|!", "hello!", "", None),
        ("leading zeros", "b|0005|hello", "hello", "", None),
        ("any bytes", "b|6|a|1|b\n", "a|1|b\n", "", None),
        ("line ends before a header are skipped", "\r\n\nb|1|x\r\nb|1|y\n", "xy", "", None),
        ("a line end within a name is not", "b\n|1|x", "", "", Some(BadName)),
        ("to oneself", "a|2|hi", "", "hi", None),
        ("nothing to oneself", "a|0|", "", "", None),
        ("nothing to another", "b|0|b|1|x", "x", "", None),
        ("without a receiver", "c|5|hellob|1|x", "x", "", None),
        ("without a receiver, a longer one", "c|100|0123456789", "", "", None),
        ("a name is as it is written", "B|1|xb |1|y", "", "", None),
        ("no name", "|1|x", "", "", Some(BadName)),
        ("a control byte", "b\x01|1|x", "", "", Some(BadName)),
        ("DEL", "b\x7f|1|x", "", "", Some(BadName)),
        ("HTTP", "GET / HTTP/1.1\r\n\r\n", "", "", Some(BadName)),
        ("no length", "b||x", "", "", Some(BadLength)),
        ("a negative length", "b|-1|x", "", "", Some(BadLength)),
        ("a signed length", "b|+1|x", "", "", Some(BadLength)),
        ("a length with a space", "b| 1|x", "", "", Some(BadLength)),
        ("a hexadecimal length", "b|0x1|x", "", "", Some(BadLength)),
        ("a length of 21 digits", "b|000000000000000000001|x", "", "", Some(BadLength)),
        ("2^63", "b|9223372036854775808|x", "", "", Some(BadLength)),
        ("2^63-1", "b|9223372036854775807|x", "x", "", None),
        ("too large a message", "b|2000000|x", "", "", Some(TooLarge)),
        ("what came before a fault has come", "b|1|xb|z", "x", "", Some(BadLength)),
        ("a message that is not whole", "b|5|hell", "", "", None),
    ];

    for (what, sent, to_b, to_a, fate) in table {
        for cut in 0..=sent.len() {
            for piece in [1, 3, usize::MAX] {
                let limited = fate == Some(TooLarge);
                let max_message = if limited { 1_000_000 } else { u64::MAX };
                let mut sim = Simulation::with(&["a", "b"], RouterConfig { max_message, ..config() });
                sim.piece = piece;

                sim.send(0, &sent.as_bytes()[..cut]);
                sim.send(0, &sent.as_bytes()[cut..]);

                let found = (sim.got(1), sim.got(0), sim.clients[0].gone);
                assert_eq!(found, (to_b.to_owned(), to_a.to_owned(), fate), "{what}, cut at {cut} and by {piece}");
                assert_eq!(sim.clients[1].gone, None, "{what}");

                sim.reset(0);
                sim.assert_clean();
            }
        }
    }
}

#[test]
fn framed_messages_name_their_sender() {
    let mut sim = Simulation::with(&["a", "b"], RouterConfig { framed: true, ..config() });
    sim.send(0, b"b|5|hellob|0|a|0|a|1|x");
    assert_eq!(sim.got(1), "a|5|helloa|0|");
    assert_eq!(sim.got(0), "a|1|x");

    let large = vec![b'l'; MAX_STORED + 1];
    sim.send(0, &[format!("b|{}|", large.len()).as_bytes(), &large].concat());
    assert_eq!(sim.got(1)[13..], format!("a|{}|{}", large.len(), "l".repeat(large.len())));
    sim.assert_clean();
}

#[test]
fn registration_and_messages_may_arrive_together() {
    for cut in 0..=12 {
        let mut sim = Simulation::with(&["b"], config());
        let a = sim.connect();
        let sent = b"\r\na|b|5|hello";
        sim.send(a, &sent[..cut]);
        sim.send(a, &sent[cut..]);
        assert_eq!(sim.got(0), "hello", "cut at {cut}");
    }
}

#[test]
fn names_are_registered_once() {
    let mut sim = Simulation::with(&["a"], config());
    let other = sim.connect();
    sim.send(other, b"a|a|2|hi");
    assert_eq!((sim.clients[other].gone, sim.clients[0].gone), (Some(CloseReason::Duplicate), None));
    assert_eq!(sim.got(0), "");

    sim.reset(0);
    let third = sim.connect();
    sim.send(third, b"a|a|2|hi");
    assert_eq!(sim.got(third), "hi");
}

#[test]
fn bad_registrations() {
    let long = "n".repeat(256);
    let table: [(&[u8], CloseReason); 4] = [
        (b"|", CloseReason::BadName),
        (b"a\tb", CloseReason::BadName),
        (b"GET / HTTP/1.1\r\n", CloseReason::BadName),
        (long.as_bytes(), CloseReason::BadName),
    ];

    for (bytes, why) in table {
        let mut sim = Simulation::with(&[], config());
        let who = sim.connect();
        sim.send(who, bytes);
        assert_eq!(sim.clients[who].gone, Some(why), "{}", bytes.escape_ascii());
        sim.assert_clean();
    }

    let sim = Simulation::with(&[&long[..255]], config());
    assert_eq!((sim.clients[0].gone, sim.router.names()), (None, 1));
}

#[test]
fn large_message_is_contiguous_and_others_wait() {
    let mut sim = Simulation::with(&["a", "b", "c"], config());
    let message = large("b", 1 << 20);
    sim.send(0, &message[..500_000]);
    sim.send(2, b"b|5|helloa|3|sec");
    assert_eq!(sim.got(0), "", "c is read in order, and waits for b");

    sim.send(0, &message[500_000..]);
    assert!(sim.clients[1].got[..1 << 20] == message[10..]);
    assert_eq!(sim.clients[1].got[1 << 20..], *b"hello");
    assert_eq!(sim.got(0), "sec");
    sim.assert_clean();
}

#[test]
fn large_messages_take_turns() {
    let mut sim = Simulation::with(&["a", "b", "c", "d"], config());
    let message = large("b", 300_000);
    sim.send(0, &message[..1000]);
    sim.send(2, &message);
    sim.send(3, &message);
    sim.send(0, &message[1000..]);
    assert_eq!(sim.clients[1].got.len(), 900_000);
    for part in sim.clients[1].got.chunks(300_000) {
        assert!(part == &message[9..]);
    }
    sim.assert_clean();
}

#[test]
fn sender_lost_within_a_message() {
    // A small message is dropped.
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.send(0, b"b|5|hell");
    sim.reset(0);
    assert_eq!((sim.got(1).as_str(), sim.router.stats().truncated), ("", 0));

    // Of a large one a prefix is delivered, and the next one follows at once.
    for end in [Simulation::reset, Simulation::end] {
        let mut sim = Simulation::with(&["a", "b", "c"], config());
        let message = large("b", 200_000);
        sim.send(0, &message[..100_009]);
        sim.send(2, b"b|5|hello");

        end(&mut sim, 0);
        assert_eq!(sim.clients[1].got.len(), 100_005);
        assert_eq!(sim.clients[1].got[100_000..], *b"hello");
        assert_eq!((sim.router.stats().truncated, sim.clients[1].gone), (1, None));
        sim.assert_clean();
    }
}

#[test]
fn destination_lost_within_a_message() {
    for length in [1000, 200_000] {
        let mut sim = Simulation::with(&["a", "b"], config());
        let message = large("b", length);
        sim.send(0, &message[..500]);
        sim.reset(1);

        let new = sim.connect();
        sim.send(new, b"b|");
        sim.send(0, &message[500..]);
        sim.send(0, b"b|5|hello");

        assert_eq!(sim.got(new), "hello", "nothing of {length} bytes for the one before");
        assert_eq!(sim.clients[0].gone, None);
        sim.assert_clean();
    }
}

#[test]
fn name_taken_within_a_message_to_its_holder() {
    // The length of the message, the bytes that were sent before, and those that the old holder gets.
    let table = [
        ("a small one that is not whole", 50_000, 49_999, 0),
        ("a small one", 50_000, 50_000, 50_000),
        ("a large one that is not whole", 200_000, 100_000, 100_000),
        ("a large one that fills the queue", MAX_QUEUE, MAX_QUEUE, MAX_QUEUE),
        ("a large one with one byte more than the queue takes", MAX_QUEUE + 1, MAX_QUEUE + 1, MAX_QUEUE),
    ];

    for (what, length, before, arrives) in table {
        for piece in [1000, 50_000, usize::MAX] {
            let mut sim = Simulation::with(&["a", "b"], config());
            sim.piece = piece;
            sim.read_only(1, 0);
            sim.end(1);

            let message = large("b", length);
            let header = message.len() - length;
            sim.send(0, &message[..header + before]);

            let new = sim.connect();
            sim.send(new, b"b|");
            sim.send(0, &message[header + before..]);
            sim.send(0, b"b|5|hello");
            sim.read_only(1, usize::MAX);

            assert!(sim.clients[1].got == message[header..header + arrives], "{what}, by {piece}");
            let fates = (sim.clients[0].gone, sim.clients[1].gone, sim.clients[new].gone);
            assert_eq!(fates, (None, Some(CloseReason::Ended), None), "{what}: no other client is closed");
            assert_eq!(sim.got(new), "hello", "{what}: nothing of it is for the new one");

            let cut = u64::from((1..length).contains(&arrives));
            assert_eq!(sim.router.stats().truncated, cut, "{what}");
            sim.assert_clean();
        }
    }
}

#[test]
fn unread_eof_does_not_give_the_name_away() {
    let mut sim = Simulation::with(&["a", "b"], config());
    let message = large("b", 100_000);
    sim.send(0, &message[..1000]);
    // b is not read before a's message is whole, and so it is not known that it has ended.
    sim.send(1, b"b|5|hello");
    sim.end(1);

    let early = sim.connect();
    sim.send(early, b"b|");
    assert_eq!((sim.clients[early].gone, sim.clients[1].gone), (Some(CloseReason::Duplicate), None));

    sim.send(0, &message[1000..]);
    assert!(sim.got(1).ends_with("hello"));

    let late = sim.connect();
    sim.send(late, b"b|");
    assert_eq!((sim.clients[late].gone, sim.clients[1].gone), (None, Some(CloseReason::Ended)));
}

#[test]
fn closing_down_writes_the_queues() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.read_only(1, 0);
    sim.send(0, b"b|5|hello");
    sim.router.close_down(sim.now);
    sim.pump();
    assert_eq!((sim.clients[0].gone, sim.clients[1].gone), (Some(CloseReason::Shutdown), None));

    sim.read_only(1, usize::MAX);
    assert_eq!((sim.got(1).as_str(), sim.clients[1].gone), ("hello", Some(CloseReason::Shutdown)));
}
