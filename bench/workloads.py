"""What is measured: who is started with what, what the run has to prove, and which numbers come of it."""

import collections
import os
import signal
import socket

from processes import ENDED, Failed, counters, free_port, sockets
from programs import cannot, command, variant

GIB = 1 << 30
MIB = 1 << 20

ROUND_TRIPS, WARM_UP = 5000, 500
STARTS = 200
CLIENTS, NUMBERED = 500, 16
FLOOD_RATE, FLOOD_SECONDS = 200_000, 1
# What fits into one call of UDP_SEGMENT.
BUNDLE = 46

# `job` is what a program has to be able to do. `proved` says that every run compares what arrived; where it does not,
# an untimed run comes first that does.
Workload = collections.namedtuple("Workload", "name group says run programs job proved")


def plain(all_programs):
    return [program for program in all_programs if program.variant is None]


def cpu_and_memory(*reports):
    cpu = sum(each["user"] + each["system"] for each in reports)
    return cpu, max(each["memory"] for each in reports) / MIB


def stdin_of_receiver(run, program):
    # An end of file there makes busybox pass it on, and its peer leave.
    return run.silence() if program.name == "busybox nc" else run.null()


# ---- TCP: many bytes ----

def source(run, kind, payload):
    """What the payload is read from."""
    if kind == "file":
        return run.open(payload)
    pipe, entry = run.pipe()
    feed = run.start("feed", ["feed", payload], stdout=entry)
    run.until_full(pipe, feed)
    return pipe


class Target:
    """Where the payload lands, and how it is known to be all there."""

    def __init__(self, run, kind, payload, compare):
        self.run, self.payload, self.compare = run, payload, compare
        # Nothing can be compared in /dev/null.
        self.kind = "pipe" if kind == "null" and compare else kind
        self.path = run.path("received")
        if self.kind == "file":
            self.descriptor = run.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        elif self.kind == "pipe":
            pipe, self.descriptor = run.pipe()
            self.drain = run.start("drain", ["drain", *([payload] if compare else [])], stdin=pipe)
        else:
            self.descriptor = run.null()

    def prove(self):
        if self.kind == "null":
            return
        if self.kind in ("file", "named"):
            if not os.path.exists(self.path):
                raise Failed("exit status 0 at both ends, but nothing was received")
            self.compare = True
            self.drain = self.run.start("compare", ["drain", self.payload], self.run.open(self.path))
        self.run.wait(self.drain)
        got, size = self.drain.result(), os.path.getsize(self.payload)
        if got["bytes"] != size:
            raise Failed(f"exit status 0 at both ends, but {got['bytes']} bytes of {size} were received")
        if self.compare and not got["same"]:
            raise Failed("what was received is not what was sent")


def transfer(origin, landing, jobs=("send", "receive"), ends="both"):
    """From a file or pipe at one end to a file, a pipe or /dev/null at the other; or both ways."""
    def run(bench, program, proving):
        size = bench.proof_size if proving else bench.share(program)
        payload = bench.payload(size)
        sender = bench.reference if ends == "receiver" else program
        receiver = bench.reference if ends == "sender" else program
        ways = 2 if jobs[0] == "call" else 1
        # It opens its files by itself.
        named = program.variant == "-s/-r"
        if landing == "file":
            bench.warm(size)
        with bench.run() as run:
            port = free_port(socket.SOCK_STREAM)
            octets = counters("netstat", "IpExt")["InOctets"]
            targets = [Target(run, "named" if named else landing, payload, proving) for _ in range(ways)]
            stdin = source(run, origin, payload) if ways == 2 else stdin_of_receiver(run, receiver)
            listening = run.measure("receiver", command(receiver, jobs[1], port=port, output=targets[0].path), stdin,
                                    targets[0].descriptor, receiver.environment)
            run.until_listening("tcp", port, listening)
            stdin = None if named else source(run, origin, payload)
            calling = run.measure("sender", command(sender, jobs[0], port=port, input=payload), stdin,
                                  targets[1].descriptor if ways == 2 else None, sender.environment)
            run.wait(calling, listening)
            sent, received = calling.result(), listening.result()
            for target in targets:
                target.prove()
            came = counters("netstat", "IpExt")["InOctets"] - octets
            if came < size * ways:
                raise Failed(f"exit status 0 at both ends, but at most {came} bytes of {size * ways} came")
        wall = max(sent["ended"], received["ended"]) - sent["started"]
        measured = {"both": (sent, received), "sender": (sent,), "receiver": (received,)}[ends]
        cpu, memory = cpu_and_memory(*measured)
        return {"rate": size * ways / wall / 1e9, "cpu": cpu / (size * ways / GIB), "memory": memory,
                "sender": sent, "receiver": received}
    return run


def with_copying(all_programs):
    found = []
    for program in plain(all_programs):
        found.append(program)
        if program.name == "C reference":
            found.append(variant(program, "copying")._replace(environment={"COPY": "1"}))
    return found


def with_files(all_programs):
    found = []
    for program in with_copying(all_programs):
        found.append(program)
        if program.variant is None and not cannot(program, "send-file"):
            found.append(variant(program, "-s/-r", send=program.jobs["send-file"],
                                 receive=program.jobs["receive-file"]))
    return found


# ---- TCP: many round trips, starts, connections ----

def ping_pong(bench, program, _):
    with bench.run() as run:
        port = free_port(socket.SOCK_STREAM)
        echo = run.start("echo", ["echo", port])
        run.until_listening("tcp", port, echo)
        (question, ask), (answer, reply) = run.pipe(), run.pipe()
        client = run.measure("client", command(program, "talk", port=port), question, reply, program.environment)
        ping = run.start("ping", ["ping", ROUND_TRIPS, WARM_UP], answer, ask)
        run.wait(ping, client, echo)
        used, times, _ = client.result(), ping.result(), echo.result()
    cpu, memory = cpu_and_memory(used)
    return {"p50": times["p50"] * 1e6, "p99": times["p99"] * 1e6, "cpu": cpu / (ROUND_TRIPS + WARM_UP) * 1e6,
            "memory": memory}


def start_up(bench, program, _):
    with bench.run() as run:
        starts = run.start("client", ["starts", STARTS, *command(program, "connect", port="PORT")],
                           environment=program.environment)
        run.wait(starts)
        times = starts.result()
    return {"wall": times["median"] * 1e3, "cpu": times["cpu"] * 1e3, "memory": times["memory"] / MIB,
            "runs": times["runs"]}


def many_connections(bench, program, _):
    with bench.run() as run:
        port = free_port(socket.SOCK_STREAM)
        path = run.path("received")
        # Each of those that serve many by many processes writes behind the others.
        landing = run.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        server = run.measure("server", command(program, "serve", port=port), None, landing, program.environment)
        run.until_listening("tcp", port, server)
        clients = run.start("clients", ["clients", port, CLIENTS])
        run.wait(clients)
        seconds = clients.result()["seconds"]
        run.until("the last message", lambda: os.path.getsize(path) >= CLIENTS * NUMBERED, server)
        server.signal(signal.SIGTERM)
        run.wait(server)
        used = server.result(ENDED)
        with open(path) as lines:
            if sorted(lines.read().split()) != [f"{number:0{NUMBERED - 1}}" for number in range(CLIENTS)]:
                raise Failed("what was received is not what was sent")
    cpu, memory = cpu_and_memory(used)
    return {"connections": CLIENTS / seconds, "cpu": cpu / CLIENTS * 1e3, "memory": memory}


# ---- UDP ----

def udp_send(size, total):
    def run(bench, program, _):
        length = min(total, bench.size)
        datagram = 16384 if program.variant == "16 KiB" else size
        payload = bench.payload(length)
        with bench.run() as run:
            port = free_port(socket.SOCK_DGRAM)
            sink = run.start("sink", ["sink", port, datagram, payload])
            run.until_listening("udp", port, sink)
            words = command(program, "udp-send", port=port, input=payload, size=size)
            sender = run.measure("sender", words, run.open(payload), None, program.environment)
            run.wait(sender, sink)
            used, got = sender.result(), sink.result()
        if got["odd"]:
            raise Failed(f"{got['odd']} of {got['datagrams']} datagrams were of another size")
        cpu, memory = cpu_and_memory(used)
        wall = used["ended"] - used["started"]
        return {"cpu": cpu / (length / GIB), "datagrams": length / datagram / wall / 1e3,
                "loss": 100 * (1 - got["bytes"] / length), "rate": length / wall / 1e9, "memory": memory,
                "sender": used}
    return run


def with_ways_to_send(all_programs):
    found = []
    for program in plain(all_programs):
        found.append(program)
        if not cannot(program, "send-file"):
            # The others do not hold back for a slow receiver.
            unpaced = program.jobs["udp-send"] + " --rate 100G"
            found.append(variant(program, "--rate 100G", **{"udp-send": unpaced}))
        if program.name == "C reference":
            one_by_one = "reference udp-send-one 127.0.0.1 {port} {size}"
            found.append(variant(program, "one by one", **{"udp-send": one_by_one}))
        if program.name == "nc.openbsd":
            found.append(variant(program, "16 KiB", **{"udp-send": "nc.openbsd -u -q 0 127.0.0.1 {port}"}))
    return found


def unread(port):
    return sum(int(row[4].split(":")[1], 16) for row in sockets("udp", port))


def udp_receive(size, most=1):
    """Loss by the kernel's own counters, which are the same for every program."""
    def run(bench, program, proving):
        payload = bench.payload(bench.proof_size)
        # Each piece can be found only once, and slowly enough none is lost.
        count, rate = FLOOD_RATE * FLOOD_SECONDS, FLOOD_RATE
        if proving:
            count, rate = min(10_000, bench.proof_size // size), 10_000
        with bench.run() as run:
            port = free_port(socket.SOCK_DGRAM)
            path = run.path("received")
            landing = run.open(path, os.O_WRONLY | os.O_CREAT) if proving else run.null()
            receiver = run.measure("receiver", command(program, "udp-receive", port=port), None, landing,
                                   program.environment)
            run.until_listening("udp", port, receiver)
            before = counters("snmp", "Udp")
            flood = run.start("flood", ["flood", port, size, rate, count, most, payload])
            run.wait(flood)
            sent = flood.result()
            run.until("the last datagram", lambda: unread(port) == 0, receiver)
            after = counters("snmp", "Udp")
            handed, dropped = after["InDatagrams"] - before["InDatagrams"], after["InErrors"] - before["InErrors"]
            # Who takes bundles whole (UDP_GRO) is counted once for each, but for those that came before it said so.
            whole = handed + dropped < (sent["calls"] + count) / 2
            received = count * handed / (handed + dropped) if whole else handed
            if received == 0:
                raise Failed("nothing was received")
            if proving:
                run.until("the last write", lambda: os.path.getsize(path) >= int(received) * size, receiver)
            receiver.signal(signal.SIGTERM)
            run.wait(receiver)
            used = receiver.result(ENDED)
            if proving:
                match = run.start("compare", ["match", payload, size], run.open(path))
                run.wait(match)
                match.result()
        cpu, memory = cpu_and_memory(used)
        return {"loss": 100 * (1 - received / count), "offered": count / sent["seconds"] / 1e3,
                "million": cpu / received * 1e6, "cpu": cpu / (received * size / GIB), "memory": memory,
                "receiver": used}
    return run


def with_static(all_programs):
    return [program for program in all_programs if program.variant in (None, "static")]


WORKLOADS = [
    Workload("file-to-null", "transfer", "file to /dev/null", transfer("file", "null"), with_copying, "send", False),
    Workload("file-to-file", "transfer", "file to file", transfer("file", "file"), with_files, "send", True),
    Workload("pipe-to-pipe", "transfer", "pipe to pipe", transfer("pipe", "pipe"), with_copying, "send", False),
    Workload("both-ways", "transfer", "both ways at once", transfer("file", "null", ("call", "answer")), plain, "call",
             False),
    Workload("send-only", "transfer", "the sender alone", transfer("file", "null", ends="sender"), plain, "send",
             False),
    Workload("receive-only", "transfer", "the receiver alone", transfer("file", "null", ends="receiver"), plain,
             "receive", False),
    Workload("ping-pong", "latency", "round trip of 64 bytes", ping_pong, plain, "talk", True),
    Workload("start-up", "start-up", "start, connect, end of file, exit", start_up, with_static, "connect", True),
    Workload("many-connections", "connections", "clients one after the other", many_connections, plain, "serve", True),
    Workload("udp-send-1400", "udp-send", "sending datagrams of 1400 bytes", udp_send(1400, 256 * MIB),
             with_ways_to_send, "udp-send", True),
    Workload("udp-send-64", "udp-send", "sending datagrams of 64 bytes", udp_send(64, 16 * MIB), with_ways_to_send,
             "udp-send", True),
    Workload("udp-receive-1400", "udp-receive", "receiving datagrams of 1400 bytes", udp_receive(1400), plain,
             "udp-receive", False),
    Workload("udp-receive-1400-gso", "udp-receive", f"receiving them, {BUNDLE} in a bundle",
             udp_receive(1400, BUNDLE), plain, "udp-receive", False),
    Workload("udp-receive-64", "udp-receive", "receiving datagrams of 64 bytes", udp_receive(64), plain, "udp-receive",
             False),
]
