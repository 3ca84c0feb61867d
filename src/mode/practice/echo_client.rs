//! Requests to the TCP and UDP servers: echo, generated files, streams.

use std::{
    net::Shutdown,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    client::Client,
    file_sink::{FileSink, kept_in},
    stats::{self, JsonStats},
};
use crate::{
    net::Transport,
    proto::practice::{MARKER, Request, StreamStats},
    sys::{self, Descriptor},
};

/// The host and the ports of the servers.
pub struct EchoClient {
    pub host: String,
    pub tcp: u16,
    pub udp: u16,
}

impl EchoClient {
    /// Has a text echoed. `Ok(false)` if the server refuses it.
    pub fn echo(&self, client: &mut Client<'_>, text: &str) -> Result<bool> {
        let mut socket = self.request(client, text)?;
        let mut bytes = vec![0; 1 << 16];
        // Over UDP, request and answer may be lost; over TCP, the server answers at once.
        let Some(n) = client.read(&mut socket, &mut bytes, Instant::now() + UDP_SILENCE)? else {
            bail!("no answer within {} s", UDP_SILENCE.as_secs());
        };
        if n == 0 && !client.plan.udp {
            bail!("the server has closed the connection without an answer");
        }

        bytes.truncate(n);
        let answer = read_text(client, &mut socket, bytes)?;
        client.print_line(&answer)?;
        Ok(!is_refusal(&answer))
    }

    /// Receives a generated file of `size` bytes. `Ok(false)` if it is incomplete.
    pub fn generate(
        &self,
        client: &mut Client<'_>,
        size: &str,
        into: Option<&Path>,
        sink: &mut FileSink,
    ) -> Result<bool> {
        // The server answers numbers that it cannot serve with a text.
        let Request::File(size_in_bytes) = Request::parse(size.as_bytes()) else {
            return self.echo(client, size);
        };
        // Before the request: a file that cannot be written is not asked for.
        if let Some(path) = into {
            sink.open(path, client.plan.force)?;
        }
        let mut socket = self.request(client, size)?;
        let start = Instant::now();
        let Some(first) = read_marker(client, &mut socket, start)? else {
            sink.close(false)?;
            return Ok(false);
        };

        let mut received = sink.write(&first, size_in_bytes)?;
        received += receive_file(client, &mut socket, size_in_bytes, received, sink)?;
        let seconds = start.elapsed().as_secs_f64();
        let complete = received == size_in_bytes;
        let kept = kept_in(sink.close(complete)?.as_deref());
        let lost = match size_in_bytes - received {
            0 => String::new(),
            lost => format!(", {lost} bytes lost"),
        };
        client.print_line(format!("{received} bytes in {seconds:.2} s{lost}{kept}").as_bytes())?;
        Ok(complete)
    }

    /// Receives a stream of packets, and prints its statistics. `Ok(false)` if packets are lost.
    pub fn stream(
        &self,
        client: &mut Client<'_>,
        count: u32,
        interval: Duration,
        size: Option<u32>,
    ) -> Result<bool> {
        // Rounded to microseconds: the exact value of 0.1 in f64 has 55 decimals.
        let ms = ((interval.as_nanos() + 500) / 1000) as f64 / 1000.0;
        let text = match size {
            None => format!("stream-{ms}-{count}"),
            Some(size) => format!("stream-{ms}-{count}-{size}"),
        };
        let Request::Stream(stream) = Request::parse(text.as_bytes()) else {
            return self.echo(client, &text);
        };

        let mut socket = self.request(client, &text)?;
        let mut packets = StreamStats::new(stream.count, interval, Instant::now());
        let (mut bytes, mut incomplete) = (vec![0; 1 << 16], Vec::new());
        while !packets.is_complete() {
            // Packets may be late by as much as other answers.
            let until = Instant::now() + interval + UDP_SILENCE;
            let Some(n @ 1..) = client.read(&mut socket, &mut bytes, until)? else { break };
            let now = Instant::now();

            if is_refusal(&bytes[..n]) {
                client.print_line(&bytes[..n])?;
                return Ok(false);
            }
            // A read over UDP is one packet; over TCP it may be a part of one, or many.
            if client.plan.udp {
                packets.receive(&bytes[..n], now);
            } else {
                receive_packets(&mut packets, &mut incomplete, &bytes[..n], stream.packet.len(), now);
            }
        }

        let stats = packets.stats();
        client.report.object(&JsonStats::from(&stats));
        let histogram = sys::is_terminal(std::io::stdout());
        client.print(stats::format(&stats, histogram).as_bytes())?;
        Ok(stats.lost == 0)
    }

    /// Connects, and sends a request. Returns the socket to read the answer from.
    fn request(&self, client: &mut Client<'_>, request: &str) -> Result<Descriptor> {
        let (port, transport) = match client.plan.udp {
            true => (self.udp, Transport::Datagram),
            false => (self.tcp, Transport::Stream),
        };
        let mut socket = client.connect(&self.host, port, transport)?;
        client.write(&mut socket, request.as_bytes())?;
        if !client.plan.udp {
            // A FIN completes the request: the server does not wait for silence.
            socket.socket().shutdown(Shutdown::Write).context("end the request")?;
        }
        Ok(socket)
    }
}

/// Parts the bytes of a TCP stream, which has no packets, by the size of its packets. `incomplete` keeps the rest.
fn receive_packets(
    packets: &mut StreamStats,
    incomplete: &mut Vec<u8>,
    bytes: &[u8],
    size: usize,
    now: Instant,
) {
    incomplete.extend_from_slice(bytes);
    let end = incomplete.len() - incomplete.len() % size;
    for packet in incomplete[..end].chunks(size) {
        packets.receive(packet, now);
    }
    incomplete.drain(..end);
}

/// Reads the marker. Returns the bytes behind it that were read with it; `None` if there is another answer, which is
/// printed.
fn read_marker(client: &mut Client<'_>, socket: &mut Descriptor, start: Instant) -> Result<Option<Vec<u8>>> {
    // A server may make the whole file before it sends the marker.
    let until = start + MARKER_TIMEOUT;
    let mut bytes = vec![0; 1 << 17];
    let mut marker = Vec::new();
    // TCP may deliver the 13 bytes in pieces, or with a part of the file behind them.
    while marker.len() < MARKER.len() {
        match client.read(socket, &mut bytes, until)? {
            Some(n @ 1..) => marker.extend_from_slice(&bytes[..n]),
            // An empty datagram ends nothing.
            Some(_) if client.plan.udp && Instant::now() < until => {}
            Some(_) => break,
            None => bail!("no file was prepared within {} s", MARKER_TIMEOUT.as_secs()),
        }
    }

    if marker.starts_with(MARKER) {
        return Ok(Some(marker.split_off(MARKER.len())));
    }
    let answer = read_text(client, socket, marker)?;
    client.print_line(&answer)?;
    Ok(None)
}

/// Receives the rest of a file of `size` bytes behind the first `received`. Returns the bytes of the rest, which are
/// fewer if the file ends early.
fn receive_file(
    client: &mut Client<'_>,
    socket: &mut Descriptor,
    size: u64,
    received: u64,
    sink: &mut FileSink,
) -> Result<u64> {
    let mut bytes = vec![0; 1 << 17];
    let mut total = received;
    let mut meter = client.meter(size);
    let mut last = Instant::now();

    while total < size {
        match client.read(socket, &mut bytes, last + UDP_SILENCE)? {
            // An empty datagram is no part of the file, and no sign of progress.
            Some(0) if client.plan.udp && last.elapsed() < UDP_SILENCE => continue,
            None if client.plan.udp => break,
            // TCP loses nothing: a silent connection is slow, and FIN or RST ends it.
            None => {}
            Some(0) => break,
            Some(n) => total += sink.write(&bytes[..n], size - total)?,
        }
        last = Instant::now();
        meter.show(total, last);
    }
    meter.finish(total, Instant::now());
    Ok(total - received)
}

/// Reads the rest of an answer that is text, and begins with `bytes`.
fn read_text(client: &mut Client<'_>, socket: &mut Descriptor, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut buf = [0; 4096];
    // A datagram is a complete answer.
    while !client.plan.udp {
        if bytes.len() > MAX_TEXT {
            bail!("the answer does not end");
        }

        match client.read(socket, &mut buf, Instant::now() + SERVER_TIMEOUT)? {
            // FIN ends a text over TCP. A server that keeps the connection open is not waited for longer.
            None | Some(0) => break,
            Some(n) => bytes.extend_from_slice(&buf[..n]),
        }
    }
    Ok(bytes)
}

/// Whether an answer is a refusal. The protocol has no other sign of one than its words.
fn is_refusal(answer: &[u8]) -> bool {
    answer.starts_with(b"Request for ") && (answer.ends_with(b" chars.") || answer.ends_with(b" has errors."))
}

/// Silence after which the rest of an answer over UDP counts as lost.
const UDP_SILENCE: Duration = Duration::from_secs(2);

/// Time for a server to prepare a file.
const MARKER_TIMEOUT: Duration = Duration::from_secs(100);

/// Silence of a server over TCP.
const SERVER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer that is text.
const MAX_TEXT: usize = 64 << 10;
