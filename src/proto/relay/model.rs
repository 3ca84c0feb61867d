//! The seed's relay, as simple as it can be said, beside the real one: both run the same random programs.
//!
//! The model reads everything at once and has room for everything. The real relay may be behind it: while a client
//! waits for a full or locked destination, what it has sent is decided later. Such messages need only be in order
//! and whole; all others have to be just where the model has them.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{
    Rules, STORED,
    tests::{World, rules},
};

/// What one of the clients does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Register(usize, u8),
    /// Sends a message, or only so many bytes of it.
    Send {
        who: usize,
        to: u8,
        length: usize,
        part: Option<usize>,
    },
    /// Sends the rest of a message.
    Finish(usize),
    Stall(usize),
    Read(usize),
    End(usize),
    Reset(usize),
}

#[derive(Debug)]
struct Message {
    from: usize,
    length: usize,
    /// Where the model has delivered it.
    to: Option<usize>,
    /// The real relay knew of it as soon as the model did.
    certain: bool,
    /// All of it was sent.
    whole: bool,
    /// But the destination was gone before that.
    late: bool,
}

#[derive(Debug)]
struct Sender {
    name: Option<u8>,
    /// It may still send.
    open: bool,
    /// The message that it is within, and what is left of it.
    within: Option<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Model {
    names: HashMap<u8, usize>,
    clients: Vec<Sender>,
    messages: Vec<Message>,
}

impl Model {
    fn payload(number: usize, length: usize) -> Vec<u8> {
        if length == 0 {
            return Vec::new();
        }
        let mut bytes = vec![1, (number >> 14) as u8 & 0x7f, (number >> 7) as u8 & 0x7f, number as u8 & 0x7f];
        bytes.resize(length, FILLER);
        bytes
    }

    fn step(&mut self, world: &mut World, step: Step) {
        match step {
            Step::Connect => {
                self.clients.push(Sender { name: None, open: true, within: None });
                world.connect();
            }
            Step::Register(who, name) => {
                let Some(client) = self.clients.get_mut(who).filter(|client| client.open) else { return };
                if client.name.is_some() {
                    return;
                }
                world.send(who, &[name, b'|']);
                match self.names.get(&name).copied().filter(|holder| world.people[*holder].gone.is_none()) {
                    Some(holder) if !world.people[holder].ended => client.open = false,
                    _ => {
                        client.name = Some(name);
                        self.names.insert(name, who);
                    }
                }
            }
            Step::Send { who, to, length, part } => {
                let Some(Sender { name: Some(_), open: true, within: None }) = self.clients.get(who) else {
                    return;
                };
                let number = self.messages.len();
                let receiver = self.names.get(&to).copied();
                let mut bytes = format!("{}|{length}|", char::from(to)).into_bytes();
                bytes.extend(Self::payload(number, length));
                // Before the header is whole, nothing is decided; and what is cut can still be told apart.
                let header = format!("{length}|").len() + 2;
                let part = part.unwrap_or(bytes.len());
                let part = if part > header { part.max(header + 4) } else { part };
                let rest = bytes.split_off(part.min(bytes.len()));
                let whole = rest.is_empty();
                self.messages.push(Message {
                    from: who,
                    length,
                    to: receiver,
                    certain: false,
                    whole,
                    late: false,
                });
                world.send(who, &bytes);
                let decided = bytes.len() >= header && world.people[who].sent.is_empty() && !world.waits(who);
                self.messages[number].certain = decided;
                if !whole {
                    self.clients[who].within = Some((number, rest));
                }
            }
            Step::Finish(who) => {
                let Some((number, rest)) = self.clients.get_mut(who).and_then(|client| client.within.take())
                else {
                    return;
                };
                self.messages[number].whole = true;
                // A destination that has gone meanwhile gets nothing more.
                let to = self.messages[number].to;
                self.messages[number].late = to.is_some_and(|to| self.names.values().all(|who| *who != to));
                world.send(who, &rest);
            }
            Step::Stall(who) if who < self.clients.len() => world.read_only(who, 0),
            Step::Read(who) if who < self.clients.len() => world.read_only(who, usize::MAX),
            Step::End(who) | Step::Reset(who) if who < self.clients.len() => {
                if !self.clients[who].open {
                    return;
                }
                // What it can still read is not lost with it.
                for reader in 0..self.clients.len() {
                    world.read_only(reader, usize::MAX);
                }
                let client = &mut self.clients[who];
                (client.open, client.within) = (false, None);
                if let (Some(name), Step::Reset(_)) = (client.name, step)
                    && self.names.get(&name) == Some(&who)
                {
                    self.names.remove(&name);
                }
                if matches!(step, Step::End(_)) { world.end(who) } else { world.reset(who) }
            }
            Step::Stall(_) | Step::Read(_) | Step::End(_) | Step::Reset(_) => {}
        }
    }

    /// Everything that a client has got: the numbers of the messages, in order.
    fn read(&self, who: usize, mut got: &[u8]) -> Result<Vec<usize>, TestCaseError> {
        let mut numbers = Vec::new();
        while let [1, high, middle, low, rest @ ..] = got {
            let number = usize::from(*high) << 14 | usize::from(*middle) << 7 | usize::from(*low);
            let message = &self.messages[number];
            let filler = rest.iter().take_while(|byte| **byte == FILLER).count();
            let sender = &self.clients[message.from];
            prop_assert!(filler + 4 <= message.length, "{number} for {who} is too long");
            let cut = filler + 4 < message.length;
            let ended = !sender.open || !message.whole || message.late;
            prop_assert!(
                !cut || ended && message.length > STORED,
                "{number} of {sender:?} was cut at {filler}"
            );
            prop_assert!(!message.certain || message.to == Some(who), "{number} came to {who}");
            numbers.push(number);
            got = &rest[filler..];
        }
        // A large message may be cut within its first bytes.
        prop_assert!(got.len() < 4, "{} strange bytes", got.len());
        Ok(numbers)
    }

    fn check(&self, world: &World) -> Result<(), TestCaseError> {
        let mut arrived = vec![0; self.messages.len()];
        for (who, person) in world.people.iter().enumerate() {
            let numbers = self.read(who, &person.got)?;
            for sender in 0..self.clients.len() {
                let of_sender: Vec<_> =
                    numbers.iter().filter(|n| self.messages[**n].from == sender).collect();
                prop_assert!(of_sender.is_sorted(), "{sender} to {who}: {of_sender:?}");
            }
            for number in numbers {
                arrived[number] += 1;
            }
        }
        for (number, message) in self.messages.iter().enumerate() {
            prop_assert!(arrived[number] <= 1, "{number} came {} times", arrived[number]);
            let due = message.certain
                && message.whole
                && !message.late
                && message.to.is_some()
                && message.length > 0;
            prop_assert!(!due || arrived[number] == 1, "{number} was lost: {message:?}");
        }
        Ok(())
    }
}

/// What payloads are filled with: no byte of a number.
const FILLER: u8 = 0xaa;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0_usize..8;
    let name = (0_u8..5).prop_map(|n| b'a' + n);
    let length = prop_oneof![
        4 => Just(0), 4 => Just(4), 8 => 4_usize..2000,
        4 => 40_000_usize..STORED + 1, 2 => Just(STORED + 1), 2 => 100_000_usize..400_000,
    ];
    let part = prop::option::weighted(0.3, prop_oneof![1_usize..12, 1000_usize..300_000]);
    let step = prop_oneof![
        2 => Just(Step::Connect),
        4 => (who.clone(), name.clone()).prop_map(|(who, name)| Step::Register(who, name)),
        12 => (who.clone(), name, length, part)
            .prop_map(|(who, to, length, part)| Step::Send { who, to, length, part }),
        6 => who.clone().prop_map(Step::Finish),
        2 => who.clone().prop_map(Step::Stall),
        2 => who.clone().prop_map(Step::Read),
        1 => who.clone().prop_map(Step::End),
        1 => who.prop_map(Step::Reset),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_same_messages_arrive(
        steps in steps(),
        piece in prop_oneof![Just(usize::MAX), Just(50_000), 1_000_usize..9000],
    ) {
        let (mut model, mut world) = (Model::default(), World::new(Rules { most_clients: 100, ..rules() }));
        world.piece = piece;
        for step in [Step::Connect, Step::Connect, Step::Register(0, b'a'), Step::Register(1, b'b')] {
            model.step(&mut world, step);
        }
        for step in steps {
            model.step(&mut world, step);
        }
        for who in 0..model.clients.len() {
            model.step(&mut world, Step::Read(who));
        }
        for who in 0..model.clients.len() {
            model.step(&mut world, Step::Finish(who));
        }
        for who in 0..model.clients.len() {
            let (unread, gone) = (world.people[who].sent.len(), world.people[who].gone.is_some());
            prop_assert!(unread == 0 || gone || world.people[who].ended, "{who} was never read again");
        }
        model.check(&world)?;
        for who in 0..model.clients.len() {
            world.reset(who);
        }
        prop_assert_eq!((world.router.used(), world.router.names(), world.router.clients()), (0, 0, 0));
    }
}
