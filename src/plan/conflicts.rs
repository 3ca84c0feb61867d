//! Options that do not go together: a table for each command and each group of options. A row is the condition, and
//! the sentence that says what to do instead.

use anyhow::Result;

use super::{host_ports::HostPorts, session::LARGEST_DATAGRAM, usage::usage};
use crate::{
    cli::{self, Addresses, Args, Limits, Messages, ProxyType, Transfer, Where},
    net::{Transport, address::literal},
};

/// Refuses what contradicts itself, lacks another option, or does not fit the kind of socket, in `remote`.
pub(super) fn of_remote(args: &Args, place: &HostPorts) -> Result<()> {
    // The first row that holds is reported: the tables go from the general to the particular.
    of_place(&args.addresses, &args.at, place)?;
    of_side(args, place)?;
    of_transfer(&args.transfer, &args.limits)?;
    of_messages(&args.messages)?;
    of_transport(args, place)?;
    of_multicast(args, place)?;
    of_program(args, place)?;
    of_access(args)?;

    // A scan makes no connections for TLS, which --tls itself is refused for above.
    if !args.z {
        of_tls(&args.tls, args.at.listen, ("--tls", args.tls.on))?;
    }
    of_socket_kind(args, place)
}

/// Refuses what does not fit a relay, or a client of one.
pub(super) fn of_relay(args: &cli::Relay) -> Result<()> {
    // The side first: its sentence explains more than one about an option that the side does not have at all.
    of_relay_side(args)?;
    // A relay has one authenticator: the other secret would be ignored without a word.
    let two_secrets = args.token_file.is_some() && (args.names.is_some() || args.key_file.is_some());
    refuse(&[(two_secrets, "a relay has one token, or a key for each name: give one of them")])?;
    of_messages(&args.messages)?;
    of_transfer(&args.transfer, &args.limits)?;

    // A relay serves both kinds of clients, on two ports.
    let switch = match args.at.listen {
        true => ("--tls-port", args.tls_port.is_some()),
        false => ("--tls", args.tls.on),
    };
    of_tls(&args.tls, args.at.listen, switch)
}

/// Options that only the relay has, and options that only its clients have.
fn of_relay_side(args: &cli::Relay) -> Result<()> {
    let relay = [
        (args.max_clients.is_some(), "--max-clients"),
        (args.per_address.max_per_ip.is_some(), "--max-per-ip"),
        (args.max_message.is_some(), "--max-message"),
        (args.buffer.is_some(), "--buffer"),
        (args.stall.is_some(), "--stall"),
        (args.idle.is_some(), "--idle"),
        (args.register_timeout.is_some(), "--register-timeout"),
        (args.deliver.is_some(), "--deliver"),
        (args.names.is_some(), "--names"),
        (args.metrics.is_some(), "--metrics"),
        (args.limits.no_sandbox, "--no-sandbox"),
        (args.tls_port.is_some(), "--tls-port"),
    ];
    let client = [
        (args.to.is_some(), "--to"),
        (args.tls.on, "--tls"),
        (args.transfer.send.is_some(), "-s"),
        (args.transfer.receive.is_some(), "-r"),
        (args.limits.force, "--force"),
        (args.transfer.send_only, "--send-only"),
        (args.transfer.recv_only, "--recv-only"),
        (args.transfer.lines, "--lines"),
        (args.transfer.idle_timeout.is_some(), "-w"),
        (args.limits.timeout.is_some(), "-T"),
        (args.transfer.retry.is_some(), "--retry"),
        (args.transfer.rate.is_some(), "--rate"),
        (args.transfer.digest, "--digest"),
        (args.messages.progress, "--progress"),
        (args.messages.no_progress, "--no-progress"),
        (args.key_file.is_some(), "--key-file"),
    ];

    match args.at.listen {
        true => refuse_given(&client, "is a client's: leave out -l"),
        false => refuse_given(&relay, "is the relay's: it needs -l"),
    }
}

/// Refuses what does not fit the side of the practice servers that was asked for.
pub(super) fn of_practice(args: &cli::Practice) -> Result<()> {
    of_messages(&args.messages)?;
    let server = [
        (args.at.source.is_some(), "-a"),
        (args.open, "--open"),
        (args.sequence, "--sequence"),
        (args.marker_pause.is_some(), "--marker-pause"),
        (args.limits.no_sandbox, "--no-sandbox"),
    ];
    let client = [
        (!args.places.is_empty(), "HOST"),
        (!args.command.is_empty(), "a command"),
        (args.transport.udp, "-u"),
        (args.limits.force, "--force"),
        (args.limits.timeout.is_some(), "-T"),
        (args.messages.progress || args.messages.no_progress, "--progress"),
        (args.messages.json, "--json"),
    ];

    match args.at.listen {
        true => refuse_given(&client, "is the client's: leave out -l")?,
        false => refuse_given(&server, "is the server's: it needs -l")?,
    }

    let no_files = args.at.listen && args.files_port.is_some() && args.root.is_none();
    refuse(&[
        (no_files, "--files-port needs --root"),
        (!args.places.is_empty() && args.root.is_some(), "--root is the server's"),
    ])
}

/// Refuses addresses that contradict each other.
pub(super) fn of_place(addresses: &Addresses, at: &Where, place: &HostPorts) -> Result<()> {
    let host = place.host.as_deref();
    let named = host.is_some_and(|host| literal(host).is_none());
    refuse(&[
        (addresses.ip4 && addresses.ip6, "-4 and -6 exclude each other"),
        (addresses.no_lookup && named, "-n looks up no names: HOST must be an address"),
        (
            at.listen && at.source.is_some() && host.is_some(),
            "the address to bind is given twice: HOST and -a",
        ),
    ])
}

/// Options of the input and the output of a session.
fn of_transfer(transfer: &Transfer, limits: &Limits) -> Result<()> {
    let received = transfer.receive.is_some();
    refuse(&[
        (transfer.send_only && transfer.recv_only, "--send-only and --recv-only exclude each other"),
        (transfer.send_only && received, "--send-only contradicts -r"),
        (transfer.recv_only && transfer.send.is_some(), "--recv-only contradicts -s"),
        (limits.force && !matches!(transfer.receive, Some(Some(_))), "--force needs -r FILE"),
    ])
}

/// Options of messages.
fn of_messages(messages: &Messages) -> Result<()> {
    refuse(&[(messages.quiet && messages.verbose > 0, "-Q and -v exclude each other")])
}

/// Options of connecting, listening and scanning.
fn of_side(args: &Args, place: &HostPorts) -> Result<()> {
    let (clients, proxy) = (&args.clients, &args.proxy);
    let listen = args.at.listen;
    let datagram = place.transport == Transport::Datagram;
    let files = args.transfer.send.is_some() || args.transfer.receive.is_some();

    refuse(&[
        (clients.keep_open && !listen, "-k needs -l"),
        (clients.max_conns.is_some() && !clients.keep_open, "-m needs -k"),
        (clients.one_by_one && !clients.keep_open, "--one-by-one needs -k"),
        (clients.one_by_one && clients.max_conns.is_some(), "--one-by-one is -m 1: give one of them"),
        (args.z && listen, "-z looks at ports, -l listens: give one of them"),
        (args.z && files, "-z sends and receives nothing: leave out -s and -r"),
        (proxy.at.is_some() && listen, "-x is for connecting"),
        (proxy.at.is_some() && args.z, "-z looks at ports from here: leave out -x"),
        (proxy.protocol.is_some() && proxy.at.is_none(), "-X needs -x"),
        (proxy.user.is_some() && proxy.at.is_none(), "-P needs -x"),
        (proxy.password_file.is_some() && proxy.user.is_none(), "--proxy-password-file needs -P"),
        (
            proxy.password_file.is_some() && proxy.protocol == Some(ProxyType::Socks4),
            "SOCKS 4 has no passwords: leave out --proxy-password-file",
        ),
        (args.limits.timeout.is_some() && listen, "-T is for connecting; for waiting use -w"),
        (
            args.limits.timeout.is_some() && datagram,
            "-T is for TCP: UDP connects at once; for waiting use -w",
        ),
        (args.transfer.retry.is_some() && listen, "--retry is for connecting"),
        (
            listen && args.source_port.is_some(),
            "--source-port is for connecting; -p is the port to listen on",
        ),
        // Connecting, the route names the device; a listener has no route.
        (args.bind_device && listen && args.addresses.interface.is_none(), "-b with -l needs -i"),
    ])
}

/// Options of streams, and of datagrams.
fn of_transport(args: &Args, place: &HostPorts) -> Result<()> {
    let datagram = place.transport == Transport::Datagram;
    let too_large = args.datagram.is_some_and(|size| size > LARGEST_DATAGRAM as u64);

    refuse(&[
        (args.telnet && datagram, "-t is for streams: leave out -u"),
        (args.zstd.is_some() && datagram, "--zstd is for streams: leave out -u"),
        (args.telnet && args.zstd.is_some(), "-t and --zstd exclude each other"),
        (args.packets.is_some() && !datagram, "-W counts datagrams: it needs -u"),
        (args.socket.broadcast && !datagram, "--broadcast needs -u"),
        (args.datagram.is_some() && !datagram && args.delay.is_none(), "--datagram needs -u or -d"),
        (args.half_open && datagram, "--half-open is for TCP: UDP has no end to pass on"),
        // send(2), EMSGSIZE, would refuse the first datagram, when the session has begun already.
        (too_large, "--datagram can be 65507 at most"),
        (
            args.at.listen && datagram && args.clients.keep_open && place.unix.is_some(),
            "-k with -u is for UDP, not for UNIX datagrams",
        ),
        (args.tls.on && datagram, "--tls is for streams: leave out -u"),
        (args.tls.on && args.z, "-z sends nothing: leave out --tls"),
    ])
}

/// Options of multicast groups.
fn of_multicast(args: &Args, place: &HostPorts) -> Result<()> {
    let Some(group) = args.socket.join else { return Ok(()) };
    let datagram = place.transport == Transport::Datagram;
    refuse(&[
        (!(args.at.listen && datagram), "--join needs -l -u"),
        (args.clients.keep_open, "--join hears every sender: leave out -k"),
        (place.host.is_some(), "--join listens at the group: leave out HOST"),
        (!group.is_multicast(), "--join needs a multicast address"),
    ])
}

/// Options of programs.
fn of_program(args: &Args, place: &HostPorts) -> Result<()> {
    let program = match (&args.program.exec, &args.program.sh_exec) {
        (Some(_), Some(_)) => return usage("-e and -c exclude each other"),
        (exec, command) => exec.is_some() || command.is_some(),
    };
    if !program {
        return refuse(&[(args.program.keep_children, "--keep-children needs -e or -c")]);
    }

    let files = args.transfer.send.is_some() || args.transfer.receive.is_some();
    let datagram = place.transport == Transport::Datagram;
    refuse(&[
        (args.z, "-z sends nothing: leave out -e and -c"),
        (files, "a program takes the place of stdin and stdout: leave out -s and -r"),
        (args.transfer.recv_only, "a program sends and receives: leave out --recv-only"),
        (args.transfer.send_only, "a program sends and receives: leave out --send-only"),
        (args.socket.join.is_some(), "-e and -c are for clients: a group has none"),
        // unix(7): the sender of a datagram may have no name, and then it cannot be told from others or answered.
        (datagram && place.unix.is_some(), "-e and -c need clients, which UNIX datagrams do not have"),
        (args.packets.is_some(), "a program serves one datagram: leave out -W"),
    ])
}

/// Options of the clients of a listener.
fn of_access(args: &Args) -> Result<()> {
    let clients = &args.clients;
    let limited = clients.limit.max_per_ip.is_some();
    let restricted = !clients.allow.is_empty() || !clients.deny.is_empty() || limited;

    refuse(&[
        (
            // In the words of clap, whose parser of this option allows 0 because the relay does.
            clients.limit.max_per_ip == Some(0),
            "--max-per-ip '0': 0 is not in 1..=4294967295 (see remote --help)",
        ),
        (restricted && !args.at.listen, "--allow, --deny and --max-per-ip need -l"),
        (restricted && args.socket.join.is_some(), "--allow and --deny are for clients: a group has none"),
        (limited && !clients.keep_open, "--max-per-ip needs -k"),
    ])
}

/// Options of TLS. `switch` is the option that turns it on, and whether it was given.
fn of_tls(args: &cli::Tls, listen: bool, (switch, on): (&str, bool)) -> Result<()> {
    let options = [
        (args.ca.is_some(), "--tls-ca"),
        (!args.pin.is_empty(), "--tls-pin"),
        (args.name.is_some(), "--tls-name"),
        (!args.alpn.is_empty(), "--tls-alpn"),
        (args.cert.is_some(), "--tls-cert"),
        (args.key.is_some(), "--tls-key"),
        (args.client_ca.is_some(), "--tls-client-ca"),
        (args.insecure, "--tls-insecure"),
    ];
    if !on {
        // Ignored, an option of TLS would leave a connection in clear text that looks protected.
        refuse_given(&options, &format!("needs {switch}"))?;
    }

    let verified = args.ca.is_some() || !args.pin.is_empty();
    refuse(&[
        (args.key.is_some() && args.cert.is_none(), "--tls-key needs --tls-cert"),
        (args.insecure && verified, "--tls-insecure verifies nothing: leave out --tls-ca and --tls-pin"),
        (listen && args.ca.is_some(), "--tls-ca verifies a server; for clients it is --tls-client-ca"),
        (listen && args.name.is_some(), "--tls-name is for connecting"),
        (listen && args.insecure, "--tls-insecure is for connecting"),
        (!listen && args.client_ca.is_some(), "--tls-client-ca needs -l; for connecting it is --tls-ca"),
    ])
}

/// Options that UNIX sockets do not have, or UDP.
fn of_socket_kind(args: &Args, place: &HostPorts) -> Result<()> {
    let socket = &args.socket;
    let inet = [
        (args.addresses.ip4 || args.addresses.ip6, "-4 and -6"),
        (args.addresses.interface.is_some(), "-i"),
        (args.bind_device, "-b"),
        (args.at.source.is_some(), "-a"),
        (!place.ports.is_empty() || args.at.port.is_some(), "a port"),
        (place.source_port.is_some() || args.source_port.is_some(), "--source-port"),
        (args.z, "-z"),
        (socket.tos.is_some(), "--tos"),
        (socket.ttl.is_some(), "-M"),
        (socket.broadcast, "--broadcast"),
        (socket.join.is_some(), "--join"),
        (!args.clients.allow.is_empty(), "--allow"),
        (!args.clients.deny.is_empty(), "--deny"),
        (args.clients.limit.max_per_ip.is_some(), "--max-per-ip"),
    ];
    let tcp = [
        (args.proxy.at.is_some(), "-x"),
        (socket.nodelay, "--nodelay"),
        (socket.keepalive.is_some(), "--keepalive"),
        (socket.congestion.is_some(), "--congestion"),
        (socket.mptcp, "--mptcp"),
    ];

    if place.unix.is_some() {
        let nothing = "means nothing for a UNIX socket";
        refuse_given(&inet, nothing)?;
        return refuse_given(&tcp, nothing);
    }
    match place.transport {
        Transport::Datagram => refuse_given(&tcp, "is for TCP"),
        Transport::Stream => Ok(()),
    }
}

/// Refuses the first row whose condition holds, with its sentence.
fn refuse(table: &[(bool, &str)]) -> Result<()> {
    match table.iter().find(|(holds, _)| *holds) {
        Some((_, sentence)) => usage(*sentence),
        None => Ok(()),
    }
}

/// Refuses the first option that was given, for this reason.
fn refuse_given(options: &[(bool, &str)], reason: &str) -> Result<()> {
    match options.iter().find(|(given, _)| *given) {
        Some((_, option)) => usage(format!("{option} {reason}")),
        None => Ok(()),
    }
}
