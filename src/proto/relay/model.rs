//! A model of the relay, as simple as possible, beside the real one: both run the same random programs.
//!
//! The model reads everything at once and has room for everything. The real relay may be behind it: while a client
//! waits for a full or locked destination, its further messages are decided later. Such messages need only be in order
//! and complete; all others must be exactly where the model has them. A destination that leaves gets no more bytes than
//! the real relay has taken by then: of a large message it may have a part, and that is the last that it gets.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{
    MAX_STORED, RouterConfig,
    tests::{Simulation, config},
};

/// An action of a client.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Register(usize, u8),
    /// Sends a message, or the first `part` bytes of it.
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
    /// The client that the model has delivered it to.
    to: Option<usize>,
    /// The real relay decided it as soon as the model did.
    certain: bool,
    /// All of it was sent.
    whole: bool,
    /// Its destination or its sender had left before the real relay had certainly taken all of it.
    late: bool,
}

#[derive(Debug)]
struct Sender {
    name: Option<u8>,
    /// It may still send.
    open: bool,
    /// The message that it is within, and the bytes that are left of it.
    within: Option<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Model {
    names: HashMap<u8, usize>,
    clients: Vec<Sender>,
    messages: Vec<Message>,
}

impl Model {
    /// Returns the payload of a message: its number, then filler.
    fn payload(number: usize, length: usize) -> Vec<u8> {
        if length == 0 {
            return Vec::new();
        }
        let mut bytes = vec![1, (number >> 14) as u8 & 0x7f, (number >> 7) as u8 & 0x7f, number as u8 & 0x7f];
        bytes.resize(length, FILLER);
        bytes
    }

    /// Takes a step in the model and in the simulation.
    fn step(&mut self, sim: &mut Simulation, step: Step) {
        let who = match step {
            Step::Connect => self.clients.len(),
            Step::Register(who, _) | Step::Send { who, .. } | Step::Finish(who) => who,
            Step::Stall(who) | Step::Read(who) | Step::End(who) | Step::Reset(who) => who,
        };
        if who >= self.clients.len() && !matches!(step, Step::Connect) {
            return;
        }

        match step {
            Step::Connect => {
                self.clients.push(Sender { name: None, open: true, within: None });
                sim.connect();
            }
            Step::Register(_, name) => self.register(sim, who, name),
            Step::Send { to, length, part, .. } => self.send(sim, who, to, length, part),
            Step::Finish(_) => {
                if let Some((number, rest)) = self.clients[who].within.take() {
                    self.messages[number].whole = true;
                    sim.send(who, &rest);
                }
            }
            Step::Stall(_) => sim.read_only(who, 0),
            Step::Read(_) => sim.read_only(who, usize::MAX),
            Step::End(_) => self.disconnect(sim, who, false),
            Step::Reset(_) => self.disconnect(sim, who, true),
        }
    }

    fn register(&mut self, sim: &mut Simulation, who: usize, name: u8) {
        let client = &mut self.clients[who];
        if !client.open || client.name.is_some() {
            return;
        }

        let holder = self.names.get(&name).copied();
        match holder.filter(|holder| sim.clients[*holder].gone.is_none()) {
            // While its last messages wait, its EOF is not read.
            Some(holder) if !sim.clients[holder].heard => client.open = false,
            holder => {
                client.name = Some(name);
                self.names.insert(name, who);
                holder.inspect(|holder| self.leave(*holder, sim));
            }
        }
        sim.send(who, &[name, b'|']);
    }

    /// Sends a message, or its first `part` bytes.
    fn send(&mut self, sim: &mut Simulation, who: usize, to: u8, length: usize, part: Option<usize>) {
        let Sender { name: Some(_), open: true, within: None } = self.clients[who] else { return };
        let number = self.messages.len();
        let mut bytes = format!("{}|{length}|", char::from(to)).into_bytes();
        let header = bytes.len();
        bytes.extend(Self::payload(number, length));

        // Before the header is complete, nothing is decided. A message is cut behind its number, to stay recognizable.
        let part = part.unwrap_or(bytes.len());
        let part = if part > header { part.max(header + 4) } else { part };
        let rest = bytes.split_off(part.min(bytes.len()));
        let whole = rest.is_empty();

        let to = self.names.get(&to).copied();
        self.messages.push(Message { from: who, length, to, certain: false, whole, late: false });
        sim.send(who, &bytes);
        self.messages[number].certain = bytes.len() >= header && !sim.is_behind(who);
        if !whole {
            self.clients[who].within = Some((number, rest));
        }
    }

    /// Ends the connection of a client: by EOF, or by a reset.
    fn disconnect(&mut self, sim: &mut Simulation, who: usize, reset: bool) {
        if !self.clients[who].open {
            return;
        }
        // Bytes that it can still read must not be lost with it.
        for reader in 0..self.clients.len() {
            sim.read_only(reader, usize::MAX);
        }

        let client = &mut self.clients[who];
        (client.open, client.within) = (false, None);
        if !reset {
            return sim.end(who);
        }
        if let Some(name) = client.name
            && self.names.get(&name) == Some(&who)
        {
            self.names.remove(&name);
        }
        self.leave(who, sim);
        sim.reset(who);
    }

    /// Records that a client leaves: messages from it and to it may not arrive.
    fn leave(&mut self, who: usize, sim: &mut Simulation) {
        for sender in 0..self.clients.len() {
            let behind = sim.is_behind(sender);
            // When the next message was decided, all of this one had been taken.
            let decided = self.messages.iter().rposition(|message| message.from == sender && message.certain);
            for (number, message) in self.messages.iter_mut().enumerate() {
                let concerned = message.from == sender && (sender == who || message.to == Some(who));
                let taken = message.whole && (!behind || decided.is_some_and(|decided| number < decided));
                message.late |= concerned && !taken;
            }
        }
    }

    /// Tells whether a client had a name, and has it no more.
    fn has_left(&self, who: usize) -> bool {
        self.clients[who].name.is_some_and(|name| self.names.get(&name) != Some(&who))
    }

    /// Parses the bytes that a client has received: the numbers of the messages, in order.
    fn read(&self, who: usize, mut got: &[u8]) -> Result<Vec<usize>, TestCaseError> {
        let mut numbers = Vec::new();
        while let [1, high, middle, low, rest @ ..] = got {
            let number = usize::from(*high) << 14 | usize::from(*middle) << 7 | usize::from(*low);
            let message = &self.messages[number];
            let filler = rest.iter().take_while(|byte| **byte == FILLER).count();
            let sender = &self.clients[message.from];
            prop_assert!(filler + 4 <= message.length, "{number} for {who} is too long");

            got = &rest[filler..];
            let cut = filler + 4 < message.length;
            // Only the real relay knows the destination of a message that is not certain.
            let left = got.is_empty() && if message.certain { message.late } else { self.has_left(who) };
            prop_assert!(
                !cut || message.length > MAX_STORED && (!sender.open || left),
                "{number} of {sender:?} was cut at {filler}"
            );
            prop_assert!(!message.certain || message.to == Some(who), "{number} came to {who}");
            numbers.push(number);
        }

        // A large message may be cut within its first bytes.
        prop_assert!(got.len() < 4, "{} strange bytes", got.len());
        Ok(numbers)
    }

    /// Checks that each client has received its messages: in order, once, and all that are certain.
    fn check(&self, sim: &Simulation) -> Result<(), TestCaseError> {
        let mut arrived = vec![0; self.messages.len()];
        for (who, client) in sim.clients.iter().enumerate() {
            let numbers = self.read(who, &client.got)?;
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

/// The byte that payloads are filled with, which is in no number.
const FILLER: u8 = 0xaa;

/// Generates programs with a limited number of clients, names and steps.
fn steps(clients: usize, names: u8, most: usize) -> impl Strategy<Value = Vec<Step>> {
    let who = 0..clients;
    let name = (0..names).prop_map(|n| b'a' + n);
    let length = prop_oneof![
        4 => Just(0), 4 => Just(4), 8 => 4_usize..2000,
        4 => 40_000_usize..MAX_STORED + 1, 2 => Just(MAX_STORED + 1), 2 => 100_000_usize..400_000,
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
    prop::collection::vec(step, 1..most)
}

/// Runs a program of clients `a`, `b` and others in both relays, and compares the results.
fn run(steps: &[Step], piece: usize) -> Result<(), TestCaseError> {
    let (mut model, mut sim) =
        (Model::default(), Simulation::new(RouterConfig { max_clients: 100, ..config() }));
    sim.piece = piece;
    for step in [Step::Connect, Step::Connect, Step::Register(0, b'a'), Step::Register(1, b'b')] {
        model.step(&mut sim, step);
    }
    for step in steps {
        model.step(&mut sim, *step);
    }

    // Let every client read, then send the rest of its message.
    for who in 0..model.clients.len() {
        model.step(&mut sim, Step::Read(who));
    }
    for who in 0..model.clients.len() {
        model.step(&mut sim, Step::Finish(who));
    }

    for who in 0..model.clients.len() {
        let (unread, gone) = (sim.clients[who].sent.len(), sim.clients[who].gone.is_some());
        prop_assert!(unread == 0 || gone || sim.clients[who].ended, "{who} was never read again");
    }
    model.check(&sim)?;

    for who in 0..model.clients.len() {
        sim.reset(who);
    }
    prop_assert_eq!((sim.router.used(), sim.router.names(), sim.router.clients()), (0, 0, 0));
    Ok(())
}

/// Programs that random search has found, reduced to the smallest.
#[test]
fn programs_with_the_real_relay_behind() {
    use Step::*;
    let send = |who, to, length, part| Send { who, to, length, part };
    let table: [(&str, &[Step]); 7] = [
        (
            "a name is taken while its holder has a part of a message",
            &[End(0), Stall(0), send(1, b'a', 262_145, None), Connect, Register(2, b'a')],
        ),
        (
            "so it is, and the header came in two pieces",
            &[send(1, b'a', 262_145, Some(1)), End(0), Stall(0), Finish(1), Connect, Register(2, b'a')],
        ),
        (
            "a name is taken while a message waits for room in the queue of its holder",
            &[
                Connect,
                Register(2, b'c'),
                End(0),
                Stall(0),
                send(1, b'a', 5, Some(4)),
                send(2, b'a', 262_145, None),
                Finish(1),
                Connect,
                Register(3, b'a'),
            ],
        ),
        (
            "the destination is gone while a message waits for the end of another",
            &[send(0, b'b', 65_537, Some(8)), send(1, b'b', 5, Some(4)), Finish(1), Reset(1)],
        ),
        (
            "so it is, and is itself the sender of that other",
            &[send(1, b'a', 5, Some(4)), send(0, b'a', 65_537, Some(8)), Finish(1), Reset(0)],
        ),
        (
            "the sender is gone while its message waits for the end of another",
            &[send(1, b'a', 5, Some(4)), send(0, b'a', 65_537, Some(8)), Finish(1), Reset(1)],
        ),
        (
            "an end is not heard while a message before it waits",
            &[
                Connect,
                send(1, b'a', 126_718, Some(1000)),
                send(0, b'a', 4, None),
                End(0),
                Connect,
                Register(2, b'a'),
                Finish(1),
                send(1, b'a', 4, None),
            ],
        ),
    ];
    for (what, steps) in table {
        for piece in [1000, 50_000, usize::MAX] {
            if let Err(fault) = run(steps, piece) {
                panic!("{what}, by {piece}: {fault}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_same_messages_arrive(
        // Few clients are in each other's way more often.
        steps in prop_oneof![steps(8, 5, 80), steps(4, 3, 30)],
        piece in prop_oneof![Just(usize::MAX), Just(50_000), 1_000_usize..9000],
    ) {
        run(&steps, piece)?;
    }
}
