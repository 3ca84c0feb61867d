"""The processes and files of one run: everything has a limit, and nothing outlives the run."""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import termios
import time


# By itself, or by the SIGTERM that it was sent; some catch that.
ENDED = (0, -signal.SIGTERM, 128 + signal.SIGTERM)


class Failed(Exception):
    """Why a run gives no number."""


def free_port(kind):
    """A port of the kernel's choice; nobody else is in this network to take it meanwhile."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def sockets(table, port):
    """Rows of /proc/net/tcp or udp, of either family, for a local port."""
    for family in ("", "6"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{table}{family}") as lines:
            # Listeners stand at the top, and behind them there can be thousands that are closed.
            for line in lines.read(1 << 16 if table == "tcp" else -1).splitlines()[1:]:
                words = line.split()
                if len(words) > 9 and int(words[1].rsplit(":", 1)[1], 16) == port:
                    yield words


def counters(file, group):
    """A group of the counters that the kernel keeps for this network."""
    with open(f"/proc/net/{file}") as lines:
        names, values = [line.split()[1:] for line in lines if line.startswith(f"{group}:")]
    return dict(zip(names, map(int, values)))


class Process:
    """One job of the driver, with the report that it leaves."""

    def __init__(self, name, words, report, stderr, stdin, stdout, environment):
        self.name, self.report, self.stderr = name, report, stderr
        with open(stderr, "wb") as errors:
            self.child = subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=errors,
                                          env={**os.environ, **environment})
        self.pidfd = None

    def ended(self):
        return self.child.poll() is not None

    def signal(self, number):
        # The driver makes a group for what it starts, a moment after it has itself been started.
        for target in (lambda: os.killpg(self.child.pid, number), lambda: os.kill(self.child.pid, number)):
            with contextlib.suppress(ProcessLookupError):
                if not self.ended():
                    target()

    def complaint(self):
        with open(self.stderr, errors="replace") as lines:
            said = [line.strip() for line in lines if line.strip() and line != "listening\n"]
        return f": {said[-1]}" if said else ""

    def has_failed(self):
        with contextlib.suppress(Failed):
            self.result(ENDED)
            return False
        return True

    def result(self, statuses=(0,)):
        """The report, once the process has ended as it should."""
        try:
            with open(self.report) as text:
                report = json.load(text)
        except FileNotFoundError:
            raise Failed(f"{self.name} failed{self.complaint()}") from None
        if report.get("status", 0) not in statuses:
            raise Failed(f"{self.name} ended with {ending(report['status'])}{self.complaint()}")
        return report


def ending(status):
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


class Run:
    """The time from the first process to the last; what is left then is ended and removed."""

    def __init__(self, folder, driver, limit):
        self.folder, self.driver = folder, driver
        self.deadline = time.monotonic() + limit
        self.limit = limit
        self.processes, self.descriptors, self.files = [], [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.signal(signal.SIGKILL)
            process.child.wait()
        for descriptor in self.descriptors:
            os.close(descriptor)
        for path in self.files:
            for name in (path, f"{path}.part"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)

    def path(self, name):
        path = os.path.join(self.folder, f"{name}-{len(self.files)}")
        self.files.append(path)
        return path

    def open(self, path, flags=os.O_RDONLY):
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        self.descriptors.append(descriptor)
        return descriptor

    def null(self):
        return self.open("/dev/null", os.O_RDWR)

    def pipe(self):
        ends = os.pipe()
        self.descriptors.extend(ends)
        return ends

    def silence(self):
        """A stdin that says nothing, and does not end."""
        return self.pipe()[0]

    def start(self, name, words, stdin=None, stdout=None, environment=None):
        """Descriptors that a process gets are its own from then on: a pipe has to end some day."""
        stdin, stdout = stdin or self.null(), stdout or self.null()
        report = self.path("report")
        words = [self.driver, words[0], report, *map(str, words[1:])]
        process = Process(name, words, report, self.path("stderr"), stdin, stdout, environment or {})
        self.processes.append(process)
        for descriptor in {stdin, stdout}:
            os.close(descriptor)
            self.descriptors.remove(descriptor)
        return process

    def measure(self, name, words, stdin=None, stdout=None, environment=None):
        return self.start(name, ["measure", *words], stdin, stdout, environment)

    def until(self, what, condition, *processes):
        """Looks every millisecond, for as long as the processes live that can make it true."""
        while not condition():
            for process in processes:
                if process.ended() and not condition():
                    process.result()
                    raise Failed(f"{process.name} ended early{process.complaint()}")
            if time.monotonic() > self.deadline:
                raise Failed(f"{what} has not come within {self.limit:.0f} s")
            time.sleep(0.001)

    def until_listening(self, table, port, process):
        state = {"tcp": ("0A",), "udp": ("07", "01")}[table]
        self.until("a listener", lambda: any(row[3] in state for row in sockets(table, port)), process)

    def until_full(self, pipe, process):
        def waiting():
            return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0] > 0
        self.until("input", waiting, process)

    def wait(self, *processes):
        """Waits without a look at the clock; when one has failed the others get little time."""
        deadline = self.deadline
        while running := [process for process in processes if not process.ended()]:
            if any(process.ended() and process.has_failed() for process in processes):
                deadline = min(deadline, time.monotonic() + 3)
            left = deadline - time.monotonic()
            if left <= 0:
                for process in processes:
                    if process.ended():
                        process.result(ENDED)
                names = " and ".join(process.name for process in running)
                raise Failed(f"{names} had not ended after {self.limit:.0f} s")
            select.select(self.alive(running), [], [], left)

    def alive(self, processes):
        """Descriptors that can be read from as soon as a process ends."""
        for process in processes:
            if process.pidfd is None:
                process.pidfd = os.pidfd_open(process.child.pid)
                self.descriptors.append(process.pidfd)
        return [process.pidfd for process in processes]
