"""Tables for people: one for each group of workloads, and a small one for the README."""

import collections
import statistics

Column = collections.namedtuple("Column", "key says digits")

COLUMNS = {
    "transfer": [Column("cpu", "CPU s/GiB", 3), Column("rate", "GB/s", 2)],
    "latency": [Column("p50", "p50 µs", 1), Column("p99", "p99 µs", 1), Column("cpu", "CPU µs each", 1)],
    "start-up": [Column("wall", "ms", 2), Column("cpu", "CPU ms", 2)],
    "connections": [Column("connections", "connections/s", 0), Column("cpu", "CPU ms each", 3)],
    "udp-send": [Column("cpu", "CPU s/GiB", 3), Column("datagrams", "k datagrams/s", 0), Column("loss", "lost %", 2)],
    "udp-receive": [Column("million", "CPU s/million", 3), Column("cpu", "CPU s/GiB", 3), Column("loss", "lost %", 2),
                    Column("offered", "k datagrams/s offered", 0)],
}

TITLES = {
    "transfer": "Many bytes over TCP",
    "latency": "Round trips over TCP: 64 bytes there and back, through the client's stdin and stdout",
    "start-up": "Start-up: connect, pass on an end of file, exit",
    "connections": "Connections, one after the other, to a listener that stays",
    "udp-send": "Sending datagrams",
    "udp-receive": "Receiving datagrams",
}

# What the README's cells show, the first of them and one in brackets.
BRIEF = {
    "transfer": ("cpu", "rate", "CPU s/GiB (GB/s)"),
    "latency": ("p50", "p99", "µs: p50 (p99)"),
    "start-up": ("wall", "cpu", "ms (CPU ms)"),
    "connections": ("connections", "cpu", "connections/s (CPU ms each)"),
    "udp-send": ("cpu", "datagrams", "CPU s/GiB (k datagrams/s)"),
    "udp-receive": ("million", "loss", "CPU s/million datagrams (lost %)"),
}

BASES = {"nc": "nc.openbsd", "C": "C reference"}


def bases(result):
    """What others are held against; of several builds of our own, the first too."""
    rows = [row for workload in result["workloads"] for row in workload["rows"]]
    own = list(dict.fromkeys(row["program"] for row in rows if row["own"] and row["variant"] is None))
    return {**BASES, own[0].removeprefix("remote "): own[0]} if len(own) > 1 else BASES


def markdown(header, rows):
    """The first two columns are words, the others numbers."""
    lines = [header, ["---"] * 2 + ["---:"] * (len(header) - 2), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def number(value, digits):
    return f"{value:.{digits}f}"


def spread(row, column):
    values = [run[column.key] for run in row["runs"]]
    low, high = number(min(values), column.digits), number(max(values), column.digits)
    middle = number(statistics.median(values), column.digits)
    return middle if low == high else f"{middle} [{low}–{high}]"


def short(row, key):
    """As many digits as a glance takes."""
    value = statistics.median(run[key] for run in row["runs"])
    return number(value, 0 if value >= 100 or value == 0 else 1 if value >= 10 else 2)


def ratio(row, base, key):
    """The median of the rounds' own ratios: what a round had to suffer, both suffered."""
    if base is None or base is row or trouble(base):
        return ""
    other = {run["round"]: run[key] for run in base["runs"]}
    found = [run[key] / other[run["round"]] for run in row["runs"] if other.get(run["round"])]
    return number(statistics.median(found), 2) if found else ""


def trouble(row):
    for kind in ("failed", "cannot"):
        if row[kind]:
            return f"{kind}: {row[kind]}"
    return None


def group_table(group, workloads, against):
    columns = COLUMNS[group]
    compared = columns[:2] if group != "udp-receive" else columns[:1]
    header = ["workload", "program", *(column.says for column in columns), "peak MiB"]
    header += [f"{column.says.rsplit(' ', 1)[0] if column.key == 'cpu' else column.says} ÷ {base}"
               for column in compared for base in against]
    rows = []
    for workload in workloads:
        by_name = {row["program"]: row for row in workload["rows"]}
        for row in workload["rows"]:
            words = [workload["name"], row["program"]]
            if trouble(row):
                rows.append(words + [trouble(row)] + [""] * (len(header) - 3))
                continue
            words += [spread(row, column) for column in columns]
            words.append(number(max(run["memory"] for run in row["runs"]), 1))
            words += [ratio(row, by_name.get(base), column.key) for column in compared for base in against.values()]
            rows.append(words)
    return markdown(header, rows)


def surroundings(result):
    """One line on where and how, and the rest of the foot."""
    machine, settings = result["machine"], result["settings"]
    return (f"{settings['size'] / (1 << 20):g} MiB, {settings['rounds']} rounds, over loopback; {machine['cpu']}, "
            f"{machine['cores']} cores, Linux {machine['kernel']}, congestion control {machine['congestion_control']}; "
            f"{result['date']}.")


def foot(result):
    lines = [f"* {name}: {version}" for name, version in result["versions"].items()]
    lines += [f"* not installed: {', '.join(result['missing'])}"] if result["missing"] else []
    lines += [f"* {note}" for note in result["notes"]]
    return "\n".join(lines) + "\n"


def whole(result):
    parts = []
    for group, title in TITLES.items():
        workloads = [workload for workload in result["workloads"] if workload["group"] == group]
        if workloads:
            parts.append(f"### {title}\n\n{group_table(group, workloads, bases(result))}")
    parts.append(f"Median [least–most] of the rounds. {surroundings(result)}\n")
    parts.append(foot(result))
    return "\n".join(parts)


def brief(result):
    """A line for each workload, a column for each program."""
    names = list(dict.fromkeys(row["name"] for workload in result["workloads"] for row in workload["rows"]))
    rows = []
    for workload in result["workloads"]:
        first, second, unit = BRIEF[workload["group"]]
        variants = [None]
        # Other ways to use a peer are left to the whole table.
        variants += [row["variant"] for row in workload["rows"] if row["variant"] and row["own"]]
        for variant in dict.fromkeys(variants):
            cells = {row["name"]: row for row in workload["rows"] if row["variant"] == variant}
            line = [workload["says"] + (f", {variant}" if variant else ""), unit]
            for name in names:
                row = cells.get(name)
                if row is None or row["cannot"]:
                    line.append("–")
                elif row["failed"]:
                    line.append("failed")
                else:
                    line.append(f"{short(row, first)} ({short(row, second)})")
            rows.append(line)
    parts = [markdown(["", "", *names], rows), f"{surroundings(result)}\n"]
    parts += [f"{row['program']}, {workload['says']}: failed, {row['failed']}.\n"
              for workload in result["workloads"] for row in workload["rows"] if row["failed"]]
    if result["missing"]:
        parts.append(f"Not installed: {', '.join(result['missing'])}.\n")
    return "\n".join(parts)


def into_readme(path, result):
    with open(path) as file:
        text = file.read()
    head, mark, rest = text.partition("<!-- bench -->\n")
    _, end, tail = rest.partition("<!-- /bench -->")
    if not mark or not end:
        raise SystemExit("README.md: the marks <!-- bench --> and <!-- /bench --> are not both there")
    with open(path, "w") as file:
        file.write(f"{head}{mark}{brief(result)}{end}{tail}")
