"""The programs that are measured, and what each is told to do a job.

What stands in braces is put in. What a program cannot do has a reason in place of a command.
"""

import collections
import os
import shutil
import subprocess

Program = collections.namedtuple("Program", "name variant path jobs environment", defaults=(None,))


class Cannot(str):
    """Why a program has no number."""


# So slow that all of the payload would take most of the time of a run.
SLOW = ("busybox nc",)

NO_UDP = Cannot("it has no UDP")
SMALL = Cannot("a large buffer is for many bytes")
NO_SIZE = Cannot("it takes no size of datagrams")

REMOTE = {
    "send": "remote 127.0.0.1 {port}",
    "receive": "remote -l 127.0.0.1 {port}",
    "send-file": "remote 127.0.0.1 {port} -s {input}",
    "receive-file": "remote -l 127.0.0.1 {port} -r {output}",
    "call": "remote 127.0.0.1 {port}",
    "answer": "remote -l 127.0.0.1 {port}",
    "talk": "remote 127.0.0.1 {port}",
    "connect": "remote 127.0.0.1 {port}",
    "serve": "remote -lk 127.0.0.1 {port}",
    "udp-send": "remote -u 127.0.0.1 {port} -s {input} --datagram {size} --send-only",
    "udp-receive": "remote -lu 127.0.0.1 {port}",
}

REFERENCE = {
    "send": "reference send 127.0.0.1 {port}",
    "receive": "reference receive {port}",
    "call": "reference exchange 127.0.0.1 {port}",
    "answer": "reference exchange -l {port}",
    "talk": "reference talk 127.0.0.1 {port}",
    "connect": "reference send 127.0.0.1 {port}",
    "serve": "reference serve {port}",
    "udp-send": "reference udp-send 127.0.0.1 {port} {size}",
    "udp-receive": "reference udp-receive {port}",
}

SOCAT = {
    "send": "socat -u - TCP:127.0.0.1:{port}",
    "receive": "socat -u TCP-LISTEN:{port},bind=127.0.0.1 -",
    # By default it ends half a second after the first end of file.
    "call": "socat -t 10 - TCP:127.0.0.1:{port}",
    "answer": "socat -t 10 - TCP-LISTEN:{port},bind=127.0.0.1",
    "talk": "socat -t 10 - TCP:127.0.0.1:{port}",
    "connect": "socat -u - TCP:127.0.0.1:{port}",
    "serve": "socat -u TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr -",
    "udp-send": "socat -u -b {size} - UDP:127.0.0.1:{port}",
    "udp-receive": "socat -u UDP-RECV:{port},bind=127.0.0.1 -",
}

PEERS = {
    "nc.openbsd": {
        "send": "nc.openbsd -N 127.0.0.1 {port}",
        "receive": "nc.openbsd -l -N 127.0.0.1 {port}",
        "call": "nc.openbsd -N 127.0.0.1 {port}",
        # It ends with its peer, sometimes before it has sent everything, and says success; then the run has failed.
        "answer": "nc.openbsd -l -N 127.0.0.1 {port}",
        "talk": "nc.openbsd -N 127.0.0.1 {port}",
        "connect": "nc.openbsd -N 127.0.0.1 {port}",
        "serve": "nc.openbsd -lk -N 127.0.0.1 {port}",
        "udp-send": NO_SIZE,
        "udp-receive": "nc.openbsd -lu -N 127.0.0.1 {port}",
    },
    "ncat": {
        "send": "ncat 127.0.0.1 {port}",
        "receive": "ncat -l 127.0.0.1 {port}",
        "call": "ncat 127.0.0.1 {port}",
        "answer": "ncat -l 127.0.0.1 {port}",
        "talk": "ncat 127.0.0.1 {port}",
        "connect": "ncat 127.0.0.1 {port}",
        "serve": "ncat -lk 127.0.0.1 {port}",
        "udp-send": NO_SIZE,
        "udp-receive": "ncat -lu 127.0.0.1 {port}",
    },
    "socat": SOCAT,
    "socat -b262144": {
        **{job: words.replace("socat", "socat -b262144", 1) for job, words in SOCAT.items()},
        **dict.fromkeys(("talk", "connect", "serve", "udp-send", "udp-receive"), SMALL),
    },
    "busybox nc": {
        "send": "busybox nc 127.0.0.1 {port}",
        "receive": "busybox nc -l -p {port}",
        "call": Cannot("it ends with the first end of file that comes"),
        "talk": "busybox nc 127.0.0.1 {port}",
        "connect": "busybox nc 127.0.0.1 {port}",
        "serve": Cannot("it serves one client"),
        "udp-send": NO_UDP,
        "udp-receive": NO_UDP,
    },
}

VERSION = {
    "remote": ["--version"],
    "nc.openbsd": ["-h"],
    "ncat": ["--version"],
    "socat": ["-V"],
    "busybox": [],
}


def command(program, job, **places):
    """What to run; the first word of a job is the program itself."""
    words = [word.format(**places) for word in program.jobs[job].split()]
    return [program.path, *words[1:]]


def cannot(program, job):
    """Why the program has no such job, or None if it has."""
    found = program.jobs.get(job, Cannot("it has no such job"))
    return found if isinstance(found, Cannot) else None


def variant(program, name, **jobs):
    return program._replace(variant=name, jobs={**program.jobs, **jobs})


def label(program):
    return program.name if program.variant is None else f"{program.name}, {program.variant}"


def own(name, path):
    return Program(name, None, os.path.abspath(path), REMOTE, {})


def reference(path):
    return Program("C reference", None, path, REFERENCE, {})


def peers():
    """Those that are installed, and the names of those that are not."""
    found, missing = [], []
    for name, jobs in PEERS.items():
        path = shutil.which(name.split()[0])
        # A busybox may have been built without it.
        if path and name == "busybox nc" and "\nnc\n" not in output([path, "--list"]):
            path = None
        if path:
            found.append(Program(name, None, path, jobs, {}))
        else:
            missing.append(name)
    return found, missing


def output(words):
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=10, check=False)
    return ended.stdout.decode(errors="replace")


def version(program):
    """The line in which a program says its version."""
    family = program.jobs["send"].split()[0]
    lines = output([program.path, *VERSION[family]]).splitlines()
    return next((line.strip() for line in lines if any(digit.isdigit() for digit in line)), "unknown")
