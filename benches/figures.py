#!/usr/bin/env python3
"""Turns runs of the benches `compare` and `ipc` (as it is, and without spinning) into the tables of docs/performance.md and the plots of docs/plots.

usage: benches/figures.py COMPARE.jsonl IPC.jsonl PARKED.jsonl

A table stands between `<!-- table NAME -->` and `<!-- end -->`; what stood there goes. Plots follow the reader's light
or dark colours. benches/figures.sh measures, and runs this.
"""

import json
import pathlib
import re
import statistics
import sys
from collections import defaultdict
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
LENS = {64: "64 B", 1024: "1 KiB", 65536: "64 KiB", 1048576: "1 MiB"}
WAYS = ["uds", "fifo", "tcp", "mqueue"]
NAMES = {
    "wayside": "wayside",
    "wayside-all": "wayside, 64 events with each call",
    "tokio": "tokio, length codec, postcard",
    "interprocess": "interprocess, postcard",
    "zeromq": "ZeroMQ, postcard",
    "ipc-channel": "ipc-channel",
    "tarpc": "tarpc",
    "tonic": "tonic",
    "raw-spin": "bare, never sleeping",
    "raw": "bare, one write each",
    "raw-batch": "bare, 64 KiB writes",
    "raw-typed": "bare, with lengths and postcard",
}
# In a plot there is less room.
SHORT = NAMES | {"wayside-all": "wayside, in bulk", "tokio": "tokio + postcard", "interprocess": "interprocess",
                 "zeromq": "ZeroMQ", "raw-spin": "bare, spinning", "raw": "bare socket", "raw-batch": "bare, batched",
                 "raw-typed": "bare + postcard"}


class Runs:
    """Every run of a case, and what they have in common."""

    def __init__(self, path):
        self.cases = defaultdict(list)
        for line in pathlib.Path(path).read_text().splitlines():
            run = json.loads(line)
            key = tuple(run[name] for name in ("workload", "way", "len", "clients", "pinning", "mechanism"))
            self.cases[key].append(run)
        # Where the machine's host took a core away meanwhile, it was the host that was measured.
        for key, runs in self.cases.items():
            self.cases[key] = [run for run in runs if not run["disturbed"]] or runs

    def values(self, figure, workload, length, mechanism, way="uds", clients=1, pinning="two"):
        runs = self.cases.get((workload, way, length, clients, pinning, mechanism), [])
        return sorted(figure(run) for run in runs)

    def median(self, *args, **kwargs):
        values = self.values(*args, **kwargs)
        return statistics.median(values) if values else None


def p50(run):
    return run["p50_ns"] / 1e3


def p99(run):
    return run["p99_ns"] / 1e3


def rate(run):
    return run["messages"] / run["elapsed_ns"] * 1e9


def receiver_per_million(run):
    return run["server_cpu_ns"] / run["messages"] / 1e3


def receiver_share(run):
    return run["server_cpu_ns"] / run["elapsed_ns"] * 100


def fairness(run):
    return run["least"] / run["most"]


def receiver_peak(run):
    return run["server_peak_kib"] / 1024


# ---- numbers as text ----

def short(value):
    """Three digits are enough."""
    if value is None:
        return "–"
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return plain(value / limit) + unit
    return plain(value)


def plain(value):
    if value is None:
        return "–"
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2
    return f"{value:.{digits}f}"


def thousandths(value):
    return "–" if value is None else f"{value:.3f}"


def ratio(value, of):
    return "" if value is None or not of else f"{value / of:.2f}"


def with_ratios(value, text, *baselines):
    """A figure, and how many times those of bare loops it is."""
    ratios = ", ".join(filter(None, (ratio(value, baseline) for baseline in baselines)))
    return f"{text} ({ratios})" if ratios else text


# ---- tables ----

def table(heads, rows):
    yield "| " + " | ".join(heads) + " |"
    yield "|---|" + "--:|" * (len(heads) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def present(runs, workload, mechanisms=NAMES):
    """The mechanisms that have anything to say about a workload, in order."""
    there = {key[-1] for key in runs.cases if key[0] == workload}
    return [name for name in mechanisms if name in there]


def compare_calls(runs):
    heads = ["p50 in µs", *LENS.values(), "64 B, both on one core"]
    rows = []
    for name in present(runs, "calls"):
        cells = [plain(runs.median(p50, "calls", length, name)) for length in LENS]
        rows.append([NAMES[name], *cells, plain(runs.median(p50, "calls", 64, name, pinning="one"))])
    return table(heads, rows)


def compare_events(runs):
    rows = [[NAMES[name], *(short(runs.median(rate, "events", length, name)) for length in LENS)]
            for name in present(runs, "events")]
    return table(["messages a second", *LENS.values()], rows)


def compare_fan_in(runs):
    heads = ["messages of 64 B a second", "8 clients", "64", "512", "CPU s per million (64)", "least / most (64)",
             "peak MiB (512)"]
    rows = []
    for name in present(runs, "fan-in"):
        def cell(figure, clients, name=name):
            return runs.median(figure, "fan-in", 64, name, clients=clients)
        rows.append([NAMES[name], *(short(cell(rate, clients)) for clients in (8, 64, 512)),
                     thousandths(cell(receiver_per_million, 64)), plain(cell(fairness, 64)),
                     plain(cell(receiver_peak, 512))])
    return table(heads, rows)


def compare_bursts(runs):
    rows = []
    for name in present(runs, "bursts"):
        cells = (runs.median(figure, "bursts", 256, name) for figure in (p50, p99, receiver_share))
        rows.append([NAMES[name], *map(plain, cells)])
    return table(["bursts", "p50 µs", "p99 µs", "CPU of the receiver, % of a core"], rows)


def ways_calls(runs):
    rows = []
    for way in WAYS:
        for pinning, place in (("two", "two cores"), ("one", "one core")):
            cells = []
            for length in LENS:
                def of(mechanism, length=length):
                    return runs.median(p50, "calls", length, mechanism, way=way, pinning=pinning)
                cells.append(with_ratios(of("wayside"), plain(of("wayside")), of("raw"), of("raw-spin"),
                                          of("raw-typed")))
            rows.append([f"{way}, {place}", *cells])
    return table(["p50 in µs (× `raw`, × `raw-spin`, × `raw-typed`)", *LENS.values()], rows)


def ways_parked(runs):
    rows = []
    for way in WAYS:
        def cell(length, way=way):
            wayside, raw, poll = (runs.median(p50, "calls", length, name, way=way) for name in ("wayside", "raw", "raw-poll"))
            return with_ratios(wayside, plain(wayside), raw, poll)
        rows.append([way, cell(64), cell(1024)])
    return table(["p50 in µs (× `raw`, × `raw-poll`), two cores", "64 B", "1 KiB"], rows)


def ways_events(runs):
    rows = []
    for way in WAYS:
        for pinning, place in (("two", "two cores"), ("one", "one core")):
            def of(mechanism, figure=rate, length=64, way=way, pinning=pinning):
                return runs.median(figure, "events", length, mechanism, way=way, pinning=pinning)
            cells = [with_ratios(of("wayside", length=length), short(of("wayside", length=length)),
                                 of("raw-batch", length=length), of("raw-typed", length=length)) for length in LENS]
            for name in ("wayside", "raw-batch"):
                sides = (of(name, lambda run, side=side: run[f"{side}_cpu_ns"] / run["messages"])
                         for side in ("client", "server"))
                cells.append(" + ".join(map(plain, sides)))
            rows.append([f"{way}, {place}", *cells])
    heads = ["events a second (× `raw-batch`, × `raw-typed`)", *LENS.values(), "CPU ns for 64 B, client + server", "`raw-batch`"]
    return table(heads, rows)


def ways_fan_in(runs):
    rows = []
    for way in WAYS:
        counts = (8, 48) if way == "mqueue" else (8, 64, 512)
        for clients in counts:
            def of(mechanism, figure, clients=clients):
                return runs.median(figure, "fan-in", 64, mechanism, way=way, clients=clients)
            rows.append([f"{way}, {clients} clients",
                         with_ratios(of("wayside", rate), short(of("wayside", rate)), of("raw-batch", rate)),
                         thousandths(of("wayside", receiver_per_million)), plain(of("wayside", fairness)),
                         plain(of("wayside", receiver_peak))])
    heads = ["64 B", "a second (× `raw-batch`)", "CPU s per million", "least / most", "peak MiB"]
    return table(heads, rows)


def ways_bursts(runs):
    rows = []
    for way in WAYS:
        cells = []
        for name in ("wayside", "raw", "raw-batch"):
            delays = [plain(runs.median(figure, "bursts", 256, name, way=way)) for figure in (p50, p99)]
            share = plain(runs.median(receiver_share, "bursts", 256, name, way=way))
            cells.append(f"{' / '.join(delays)}, {share} %")
        rows.append([way, *cells])
    return table(["p50 / p99 in µs, CPU of the receiver", "wayside", "`raw`", "`raw-batch`"], rows)


def ways_idle(runs):
    rows = []
    for way in WAYS:
        def ms(side, way=way):
            return runs.median(lambda run: run[f"{side}_cpu_ns"] / run["elapsed_ns"] * 5e3, "idle", 64, "wayside",
                               way=way, pinning="free")
        rows.append([way, plain(ms("client")), plain(ms("server"))])
    return table(["CPU ms in 5 s", "client", "server"], rows)


# ---- plots ----

STYLE = """\
text { font: 13px -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.unit, .limit text { fill: #59636e }
.ours text { font-weight: 600 }
.bar { fill: #9aa6b2 }
.ours .bar { fill: #3b6ea5 }
.limit .bar { fill: none; stroke: #9aa6b2; stroke-dasharray: 3 2 }
.spread { stroke: #1f2328; stroke-opacity: .55; stroke-width: 1.2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .unit, .limit text { fill: #9198a1 }
  .bar { fill: #5b6672 }
  .ours .bar { fill: #6ea8e0 }
  .limit .bar { stroke: #6e7883 }
  .spread { stroke: #e6edf3 }
}
"""
WIDTH, GAP, ROW, BAR = 840, 40, 22, 13
LABEL, VALUE = 136, 52


def panel(x, y, width, title, unit, bars, text):
    """Bars from nought, the best on top; `bars` are (mechanism, values)."""
    yield f'<text class="title" x="{x}" y="{y + 14}">{escape(title)}</text>'
    yield f'<text class="unit" x="{x}" y="{y + 32}">{escape(unit)}</text>'
    room = width - LABEL - VALUE
    longest = max(values[-1] for _, values in bars)
    left = x + LABEL
    for index, (name, values) in enumerate(bars):
        middle = y + 52 + index * ROW
        kind = "ours" if name.startswith("wayside") else "limit" if name.startswith("raw") else "other"
        median = statistics.median(values)
        ends = [left + value / longest * room for value in (values[0], values[-1])]
        yield f'<g class="{kind}">'
        yield f'<text x="{left - 8}" y="{middle + 4}" text-anchor="end">{escape(SHORT[name])}</text>'
        yield (f'<rect class="bar" x="{left}" y="{middle - BAR / 2}" width="{max(median / longest * room, 1):.1f}" '
               f'height="{BAR}" rx="2"/>')
        if ends[1] - ends[0] > 2:
            yield f'<path class="spread" d="M{ends[0]:.1f} {middle}H{ends[1]:.1f}"/>'
        yield f'<text x="{max(ends[1], left + median / longest * room) + 6:.1f}" y="{middle + 4}">{text(median)}</text>'
        yield "</g>"


def plot(name, description, panels):
    """Two panels beside each other, as many rows as it takes. A panel is (title, unit, bars, text, best)."""
    panels = [entry for entry in panels if entry[2]]
    width = (WIDTH - GAP) / 2
    body, y = [], 4
    for start in range(0, len(panels), 2):
        row = panels[start:start + 2]
        for column, (title, unit, bars, text, best) in enumerate(row):
            ordered = sorted(bars, key=lambda bar: statistics.median(bar[1]), reverse=best == "most")
            body += panel(column * (width + GAP), y, width, title, unit, ordered, text)
        y += 52 + max(len(entry[2]) for entry in row) * ROW + 14
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">',
           f"<title>{escape(description)}</title>", f"<style>\n{STYLE}</style>", *body, "</svg>"]
    (ROOT / "docs/plots").mkdir(exist_ok=True)
    (ROOT / f"docs/plots/{name}.svg").write_text("\n".join(svg) + "\n")


def bars_of(runs, figure, workload, length, **kwargs):
    bars = ((name, runs.values(figure, workload, length, name, **kwargs)) for name in NAMES)
    return [(name, values) for name, values in bars if values]


def plots(compare):
    less, more = "µs, half of them took no longer; less is better", "messages a second; more is better"
    places = [(64, "two", "Call of 64 B, a core each"), (64, "one", "Call of 64 B, both on one core"),
              (65536, "two", "Call of 64 KiB, a core each"), (1048576, "two", "Call of 1 MiB, a core each")]
    plot("calls", "Round trips between two processes over Unix sockets",
         [(title, less, bars_of(compare, p50, "calls", length, pinning=pinning), plain, "least")
          for length, pinning, title in places])
    plot("events", "Messages one way between two processes over Unix sockets",
         [(f"Events of {text}", more, bars_of(compare, rate, "events", length), short, "most")
          for length, text in LENS.items()])
    fan_in = [(f"{clients} clients, 64 B", more, bars_of(compare, rate, "fan-in", 64, clients=clients), short, "most")
              for clients in (8, 64, 512)]
    fan_in.append(("64 clients: what it costs the receiver", "CPU seconds for a million; less is better",
                   bars_of(compare, receiver_per_million, "fan-in", 64, clients=64), thousandths, "least"))
    plot("fan-in", "Many clients, one server, over Unix sockets", fan_in)
    bursts = [("Half of the messages are handled within", "µs; less is better", p50),
              ("99 of 100 are handled within", "µs; less is better", p99),
              ("What it costs the receiver", "% of a core; less is better", receiver_share)]
    plot("bursts", "100 messages of 256 B every millisecond, over Unix sockets",
         [(title, unit, bars_of(compare, figure, "bursts", 256), plain, "least") for title, unit, figure in bursts])


def main():
    if len(sys.argv) != 4 or sys.argv[1] == "--help":
        sys.exit(__doc__)
    compare, ipc, parked = map(Runs, sys.argv[1:])
    makers = {
        "compare-calls": (compare_calls, compare), "compare-events": (compare_events, compare),
        "compare-fan-in": (compare_fan_in, compare), "compare-bursts": (compare_bursts, compare),
        "calls": (ways_calls, ipc), "parked": (ways_parked, parked), "events": (ways_events, ipc), "fan-in": (ways_fan_in, ipc),
        "bursts": (ways_bursts, ipc), "idle": (ways_idle, ipc),
    }

    def fill(match):
        maker, runs = makers[match[1]]
        return f"<!-- table {match[1]} -->\n\n" + "\n".join(maker(runs)) + "\n\n<!-- end -->"

    document = ROOT / "docs/performance.md"
    text = document.read_text()
    document.write_text(re.sub(r"<!-- table ([\w-]+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL))
    plots(compare)


main()
