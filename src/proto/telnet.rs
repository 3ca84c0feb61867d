//! Telnet as far as netcat speaks it (RFC 854, RFC 855): every option is refused, commands are removed from the text,
//! and a byte 255 of the text is sent twice.

/// A parser of received bytes, which parts text from commands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Telnet {
    state: TelnetState,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum TelnetState {
    /// After IAC.
    Command,
    /// After DO, DONT, WILL or WONT, and before the option.
    Option(u8),
    /// Between SB and SE.
    Subnegotiation,
    /// After IAC in a subnegotiation.
    SubnegotiationCommand,
    #[default]
    Text,
}

impl Telnet {
    /// Takes the next byte, and returns it if it is text. Appends answers to `answers`: three bytes to a request, none
    /// to a refusal, so that two refusing sides do not loop (RFC 854, "General Considerations").
    pub fn receive(&mut self, byte: u8, answers: &mut Vec<u8>) -> Option<u8> {
        let mut text = None;
        self.state = match (self.state, byte) {
            (TelnetState::Text, IAC) => TelnetState::Command,
            (TelnetState::Text, _) | (TelnetState::Command, IAC) => {
                text = Some(byte);
                TelnetState::Text
            }
            (TelnetState::Command, DO | DONT | WILL | WONT) => TelnetState::Option(byte),
            (TelnetState::Command, SB) => TelnetState::Subnegotiation,
            // NOP, GA and all other commands are this one byte (RFC 854), and ask for no answer.
            (TelnetState::Command, _) => TelnetState::Text,
            (TelnetState::Option(verb), option) => {
                match verb {
                    DO => answers.extend([IAC, WONT, option]),
                    WILL => answers.extend([IAC, DONT, option]),
                    _ => {}
                }
                TelnetState::Text
            }
            (TelnetState::Subnegotiation, IAC) => TelnetState::SubnegotiationCommand,
            (TelnetState::Subnegotiation, _) | (TelnetState::SubnegotiationCommand, IAC) => {
                TelnetState::Subnegotiation
            }
            // SE is missing: without this, all further text would be lost in the subnegotiation.
            (TelnetState::SubnegotiationCommand, DO | DONT | WILL | WONT) => TelnetState::Option(byte),
            (TelnetState::SubnegotiationCommand, SB) => TelnetState::Subnegotiation,
            (TelnetState::SubnegotiationCommand, _) => TelnetState::Text,
        };
        text
    }
}

/// Appends `text` to `out` in the form in which it is sent.
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        out.push(byte);
        if byte == IAC {
            out.push(IAC);
        }
    }
}

/// "Interpret as command": the escape byte.
const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
/// Begin of a subnegotiation; SE, or any other command, ends it.
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
    fn text_is_parted_from_commands() {
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
        fn escaped_text_is_received_unchanged(text: Vec<u8>) {
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
