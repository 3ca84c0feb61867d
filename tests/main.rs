//! One binary for all tests of the program as a whole; tables and properties stand beside the code.

mod bench;

mod access; // --allow, --deny, --max-per-ip
mod cli; // wrong usage, and help
mod connect; // names, addresses, Happy Eyeballs, time limits
mod datagram; // UDP: sizes, peers, queries, files, groups
mod ending; // half-close, timeouts, resets, signals
mod exec; // -e and -c: programs on connections
mod files; // -s and -r: names, parts, refusals, digests, progress
mod interfaces; // -i, -b, -a, scopes
mod interop; // with other netcats, curl, bash and Python, in both roles
mod interrupted; // signals before a session, and between its connections
mod layout; // the layers, and their imports
mod listen; // one client or many
mod load; // much at once, in little memory
mod practice; // the servers to learn networks with
mod proxy; // SOCKS and HTTP CONNECT: scripts, and the proxies that people run
mod readme; // its examples run, its table is the program's own
mod relay; // named clients on one port, and the program as one of them
mod routes; // sendfile, splice, a buffer: the same whatever carries the bytes
mod sandbox; // the rights given up after set-up
mod scan; // -z
mod scoreboard; // cases that no other netcat passes with default flags
mod stages; // -C, --zstd, -t, -o, --rate, -d
mod stdio; // terminals, pipes, files, sockets, closed descriptors; what is shared stays as it is
mod tls; // --tls: trust, ends, peers
