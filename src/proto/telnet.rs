//! Telnet as far as netcat speaks it (RFC 854, RFC 855): every option is refused, commands are taken out of
//! the text, and a byte 255 of the text is sent twice.

/// What a peer sends, byte by byte: its text is told from its commands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Telnet {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// IAC has come.
    Command,
    /// DO, DONT, WILL or WONT has come; the option is still to come.
    Option(u8),
    /// Between SB and SE.
    Subnegotiation,
    /// IAC has come in there.
    SubnegotiationCommand,
    #[default]
    Text,
}

impl Telnet {
    /// Takes the next byte, and gives it back if it is text. What is to be answered is put at the end of
    /// `answers`: three bytes for a request, nothing for a refusal, so that two sides that refuse do not go
    /// on for ever (RFC 854, "the loop").
    pub fn receive(&mut self, byte: u8, answers: &mut Vec<u8>) -> Option<u8> {
        let mut text = None;
        self.state = match (self.state, byte) {
            (State::Text, IAC) => State::Command,
            (State::Text, _) | (State::Command, IAC) => {
                text = Some(byte);
                State::Text
            }
            (State::Command, DO | DONT | WILL | WONT) => State::Option(byte),
            (State::Command, SB) => State::Subnegotiation,
            (State::Command, _) => State::Text,
            (State::Option(verb), option) => {
                match verb {
                    DO => answers.extend([IAC, WONT, option]),
                    WILL => answers.extend([IAC, DONT, option]),
                    _ => {}
                }
                State::Text
            }
            (State::Subnegotiation, IAC) => State::SubnegotiationCommand,
            (State::Subnegotiation, _) | (State::SubnegotiationCommand, IAC) => State::Subnegotiation,
            // Its end was left out: otherwise no text would ever be seen again.
            (State::SubnegotiationCommand, DO | DONT | WILL | WONT) => State::Option(byte),
            (State::SubnegotiationCommand, SB) => State::Subnegotiation,
            (State::SubnegotiationCommand, _) => State::Text,
        };
        text
    }
}

/// Puts `text`, as it is sent, at the end of `out`.
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        out.push(byte);
        if byte == IAC {
            out.push(IAC);
        }
    }
}

/// Interpret as command.
const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
/// Subnegotiation begins; SE, or any other command, ends it.
const SB: u8 = 250;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SE: u8 = 240;
    const NOP: u8 = 241;

    fn receive(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut telnet, mut answers) = (Telnet::default(), Vec::new());
        let text = bytes.iter().filter_map(|byte| telnet.receive(*byte, &mut answers)).collect();
        (text, answers)
    }

    #[test]
    #[rustfmt::skip]
    fn what_comes() {
        let table: [(&str, [&[u8]; 3]); 16] = [
            ("text",                               [b"login: ",                                    b"login: ", b""]),
            ("a request is refused",               [&[IAC, DO, 24],                                b"",        &[IAC, WONT, 24]]),
            ("an offer is refused",                [&[IAC, WILL, 1],                               b"",        &[IAC, DONT, 1]]),
            ("a refusal is not answered",          [&[IAC, WONT, 1, IAC, DONT, 3],                 b"",        b""]),
            ("each request has its answer",        [&[IAC, DO, 1, b'a', IAC, DO, 1],               b"a",       &[IAC, WONT, 1, IAC, WONT, 1]]),
            ("an option may look like a command",  [&[IAC, DO, IAC, b'a'],                         b"a",       &[IAC, WONT, IAC]]),
            ("a byte 255 of the text",             [&[b'a', IAC, IAC, b'b'],                       &[b'a', IAC, b'b'], b""]),
            ("a command without option",           [&[b'a', IAC, NOP, b'b'],                       b"ab",      b""]),
            ("a byte that is no command",          [&[b'a', IAC, b'x', b'b'],                      b"ab",      b""]),
            ("a subnegotiation",                   [&[b'a', IAC, SB, 24, 1, IAC, SE, b'b'],        b"ab",      b""]),
            ("a byte 255 in a subnegotiation",     [&[IAC, SB, 24, IAC, IAC, SE, 7, IAC, SE, b'b'], b"b",      b""]),
            ("a subnegotiation that never ends",   [&[IAC, SB, 24, 1, 2, 3],                       b"",        b""]),
            ("one whose end was left out",         [&[IAC, SB, 24, 1, IAC, DO, 5, b'b'],           b"b",       &[IAC, WONT, 5]]),
            ("one in another",                     [&[IAC, SB, 24, IAC, SB, 1, IAC, SE, b'b'],     b"b",       b""]),
            ("SE without SB",                      [&[IAC, SE, b'b'],                              b"b",       b""]),
            ("an end in the middle",               [&[b'a', IAC, DO],                              b"a",       b""]),
        ];
        for (sentence, [bytes, text, answers]) in table {
            assert_eq!(receive(bytes), (text.to_vec(), answers.to_vec()), "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_comes_back_as_text(text: Vec<u8>) {
            let mut sent = Vec::new();
            escape(&text, &mut sent);
            prop_assert_eq!(receive(&sent), (text, Vec::new()));
        }

        #[test]
        fn answers_are_commands_that_need_no_answer(
            bytes in prop::collection::vec(prop_oneof![Just(IAC), 240_u8..=255, any::<u8>()], 0..200),
        ) {
            let (text, answers) = receive(&bytes);
            prop_assert!(text.len() + answers.len() <= bytes.len());
            prop_assert_eq!(receive(&answers), (Vec::new(), Vec::new()));
        }
    }
}
