//! What does not make sense together: one row each, and what to do instead.

use anyhow::Result;

use super::{LARGEST_DATAGRAM, place::Place, usage};
use crate::{
    cli::{Args, ProxyType},
    net::{Transport, address::literal},
};

/// Flags that contradict each other, or that need another one.
pub(super) fn contradictions(args: &Args, place: &Place) -> Result<()> {
    let datagram = place.transport == Transport::Datagram;
    let received = args.receive.is_some();
    let program = args.exec.is_some() || args.command.is_some();
    let restricted = !args.allow.is_empty() || !args.deny.is_empty() || args.max_per_ip.is_some();
    let table = [
        (args.ip4 && args.ip6, "-4 and -6 exclude each other"),
        (args.keep_open && !args.listen, "-k needs -l"),
        (args.max_conns.is_some() && !args.keep_open, "-m needs -k"),
        (args.one_by_one && !args.keep_open, "--one-by-one needs -k"),
        (args.one_by_one && args.max_conns.is_some(), "--one-by-one is -m 1: give one of them"),
        (args.z && args.listen, "-z looks at ports, -l listens: give one of them"),
        (args.z && (args.send.is_some() || received), "-z sends and receives nothing: leave out -s and -r"),
        (args.proxy.is_some() && args.listen, "-x is for connecting"),
        (args.proxy.is_some() && args.z, "-z looks at ports from here: leave out -x"),
        (args.proxy_type.is_some() && args.proxy.is_none(), "-X needs -x"),
        (args.proxy_user.is_some() && args.proxy.is_none(), "-P needs -x"),
        (args.proxy_password_file.is_some() && args.proxy_user.is_none(), "--proxy-password-file needs -P"),
        (
            args.proxy_password_file.is_some() && args.proxy_type == Some(ProxyType::Socks4),
            "SOCKS 4 has no passwords: leave out --proxy-password-file",
        ),
        (args.timeout.is_some() && args.listen, "-T is for connecting; for waiting use -w"),
        (args.timeout.is_some() && datagram, "-T is for TCP: UDP connects at once; for waiting use -w"),
        (args.retry.is_some() && args.listen, "--retry is for connecting"),
        (args.send_only && args.recv_only, "--send-only and --recv-only exclude each other"),
        (args.send_only && received, "--send-only contradicts -r"),
        (args.recv_only && args.send.is_some(), "--recv-only contradicts -s"),
        (args.force && !matches!(args.receive, Some(Some(_))), "--force needs -r FILE"),
        (args.quiet && args.verbose > 0, "-Q and -v exclude each other"),
        (args.bind_device && args.listen && args.interface.is_none(), "-b with -l needs -i"),
        (args.telnet && datagram, "-t is for streams: leave out -u"),
        (args.zstd.is_some() && datagram, "--zstd is for streams: leave out -u"),
        (args.telnet && args.zstd.is_some(), "-t and --zstd exclude each other"),
        (args.packets.is_some() && !datagram, "-W counts datagrams: it needs -u"),
        (args.broadcast && !datagram, "--broadcast needs -u"),
        (args.datagram.is_some() && !datagram && args.delay.is_none(), "--datagram needs -u or -d"),
        (args.half_open && datagram, "--half-open is for TCP: UDP has no end to pass on"),
        (args.join.is_some() && !(args.listen && datagram), "--join needs -l -u"),
        (args.join.is_some() && args.keep_open, "--join hears every sender: leave out -k"),
        (args.join.is_some() && place.host.is_some(), "--join listens at the group: leave out HOST"),
        (args.join.is_some_and(|group| !group.is_multicast()), "--join needs a multicast address"),
        (
            args.no_lookup && place.host.as_deref().is_some_and(|host| literal(host).is_none()),
            "-n looks up no names: HOST must be an address",
        ),
        (args.datagram.is_some_and(|size| size > LARGEST_DATAGRAM as u64), "--datagram can be 65507 at most"),
        (
            args.listen && args.source_port.is_some(),
            "--source-port is for connecting; -p is the port to listen on",
        ),
        (
            args.listen && args.source.is_some() && place.host.is_some(),
            "the address to bind is given twice: HOST and -a",
        ),
        (
            args.listen && datagram && args.keep_open && place.unix.is_some(),
            "-k with -u is for UDP, not for UNIX datagrams",
        ),
        (program && args.z, "-z sends nothing: leave out -e and -c"),
        (
            program && (args.send.is_some() || received),
            "a program takes the place of stdin and stdout: leave out -s and -r",
        ),
        (program && args.recv_only, "a program sends and receives: leave out --recv-only"),
        (program && args.send_only, "a program sends and receives: leave out --send-only"),
        (program && args.join.is_some(), "-e and -c are for clients: a group has none"),
        (
            program && datagram && place.unix.is_some(),
            "-e and -c need clients, which UNIX datagrams do not have",
        ),
        (program && args.packets.is_some(), "a program serves one datagram: leave out -W"),
        (restricted && !args.listen, "--allow, --deny and --max-per-ip need -l"),
        (restricted && args.join.is_some(), "--allow and --deny are for clients: a group has none"),
        (args.max_per_ip.is_some() && !args.keep_open, "--max-per-ip needs -k"),
        (args.tls.on && datagram, "--tls is for streams: leave out -u"),
        (args.tls.on && args.z, "-z sends nothing: leave out --tls"),
    ];
    match table.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, why)) => usage(why),
        None => Ok(()),
    }
}

/// Flags that do not fit the kind of socket.
pub(super) fn misfits(args: &Args, place: &Place) -> Result<()> {
    let unix = place.unix.is_some();
    let no_tcp = unix || place.transport == Transport::Datagram;
    let table = [
        (unix, args.ip4 || args.ip6, "-4 and -6"),
        (unix, args.interface.is_some(), "-i"),
        (unix, args.bind_device, "-b"),
        (unix, args.source.is_some(), "-a"),
        (unix, !place.ports.is_empty() || args.port.is_some(), "a port"),
        (unix, place.source_port.is_some() || args.source_port.is_some(), "--source-port"),
        (unix, args.z, "-z"),
        (unix, args.tos.is_some(), "--tos"),
        (unix, args.ttl.is_some(), "-M"),
        (unix, args.broadcast, "--broadcast"),
        (unix, args.join.is_some(), "--join"),
        (unix, !args.allow.is_empty(), "--allow"),
        (unix, !args.deny.is_empty(), "--deny"),
        (unix, args.max_per_ip.is_some(), "--max-per-ip"),
        (no_tcp, args.proxy.is_some(), "-x"),
        (no_tcp, args.nodelay, "--nodelay"),
        (no_tcp, args.keepalive.is_some(), "--keepalive"),
        (no_tcp, args.congestion.is_some(), "--congestion"),
        (no_tcp, args.mptcp, "--mptcp"),
    ];
    match table.into_iter().find(|(misfit, given, _)| *misfit && *given) {
        Some((_, _, what)) if unix => usage(format!("{what} means nothing for a UNIX socket")),
        Some((_, _, what)) => usage(format!("{what} is for TCP")),
        None => Ok(()),
    }
}
