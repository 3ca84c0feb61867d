//! One binary for all tests of the program as a whole; tables and properties stand beside the code.

mod bench;

mod connect; // names, addresses, Happy Eyeballs, time limits
mod ending; // half-close, timeouts, resets, signals
mod stdio; // terminals, pipes, files, sockets, closed descriptors; what is shared stays as it is
mod scoreboard; // PEERS, section 0: what no peer does, with default flags
