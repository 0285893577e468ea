"""
Measure graceful and its alternatives: prints a table, and with --json writes all samples.

    python benchmarks/run.py                            everything: half an hour
    python benchmarks/run.py --quick                    fewer rounds, no rows with a million tasks: minutes
    python benchmarks/run.py --only import kill         some rows; --help names them
    python benchmarks/run.py --python .venv/bin/python  the interpreter to measure, with graceful and the peers in it

See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from measure import Sample
from rows import ROWS, Row

PEERS = ("aiohttp", "aiomisc", "aiorun", "anyio", "uvloop")
PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")

#: Runs in the interpreter that is measured.
_PROBE = f"""
import importlib.metadata, importlib.util, json, platform
found = [name for name in {PEERS} if importlib.util.find_spec(name)]
versions = {{name: importlib.metadata.version(name) for name in found}}
print(json.dumps([platform.python_implementation() + " " + platform.python_version(), versions]))
"""


def machine(python: str) -> dict[str, Any]:
    """The machine, the date and the versions of a measurement."""
    version, peers = json.loads(subprocess.check_output([python, "-c", _PROBE], text=True))
    with open("/proc/cpuinfo") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "python": version,
        "peers": peers,
        "cpu": models[0] if models else platform.machine(),
        "cpus": os.cpu_count(),
        "os": platform.platform(),
    }


def measure(row: Row, python: str, missing: Sequence[str], *, quick: bool) -> dict[str, list[Sample]]:
    """All samples, in turn: floor, graceful, each peer, floor, ... The first round is a warm-up and not counted."""
    commands: dict[str, list[str]] = {}
    for name, contender in row.contenders.items():
        if name not in missing:
            program, *arguments = contender.split()
            commands[name] = [python, os.path.join(PROGRAMS, program), *arguments]
    samples: dict[str, list[Sample]] = {name: [] for name in commands}
    rounds = max(3, row.rounds // 5) if quick else row.rounds
    for number in range(rounds + 1):
        print(f"\r{row.name}: {number}/{rounds} \033[K", end="", file=sys.stderr, flush=True)
        # A contender that exceeded the CPU limit is not run again.
        slow = {name for name, taken in samples.items() if taken and math.inf in taken[-1].values()}
        measured = row.measure({name: command for name, command in commands.items() if name not in slow})
        for name, taken in samples.items():
            taken.append(measured.get(name) or taken[-1])
    print("\r\033[K", end="", file=sys.stderr)
    return {name: taken[1:] for name, taken in samples.items()}


HEAD = ["what", "unit", "floor", "graceful", "ratio", "quartiles", "target", "", "the floor", "others, to the floor"]


def line(row: Row, samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """The row as the table shows it."""
    values, ratios, spread = result = row.result(samples)
    text, met = row.target
    # If the floor is 0, there is no ratio to it.
    others = {name: values[name] if math.isnan(ratio) else ratio for name, ratio in ratios.items()}
    return [
        row.what,
        row.unit,
        _short(values["floor"]),
        _short(values["graceful"]),
        _short(ratios["graceful"]),
        " to ".join(map(_short, spread)),
        text,
        "" if met(result) else "MISSED",
        row.floor,
        ", ".join(f"{name} {_short(other)}" for name, other in others.items() if name not in ("floor", "graceful")),
    ]


def _short(number: float) -> str:
    if math.isnan(number):
        return "-"
    return "too slow" if number == math.inf else f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def table(lines: Sequence[Sequence[str]]) -> str:
    """The table in Markdown, aligned."""
    widths = [max(map(len, column)) for column in zip(HEAD, *lines, strict=True)]
    ruled = [HEAD, ["-" * width for width in widths], *lines]
    return "\n".join(f"| {' | '.join(map(str.ljust, cells, widths))} |" for cells in ruled)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    names = list(dict.fromkeys(row.name for row in ROWS))
    parser = argparse.ArgumentParser(description="Measure graceful beside what one would use instead.")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"of these rows: {', '.join(names)}")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="the interpreter to measure")
    parser.add_argument("--json", metavar="PATH", help="where to write all samples to")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and without what takes minutes")
    return parser.parse_args()


def main() -> None:
    """Measure the selected rows and print the table."""
    asked = arguments()
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        del os.environ[name]  # above all PYTHONDONTWRITEBYTECODE, because installed packages are compiled
    os.environ["AIOMISC_USE_UVLOOP"] = "0"  # the same loop for all
    where = machine(asked.python)
    missing = [peer for peer in PEERS if peer not in where["peers"]]
    if missing:
        print(f"not installed, and left out: {', '.join(missing)}", file=sys.stderr)
    lines: list[list[str]] = []
    where["samples"] = {}
    with contextlib.suppress(KeyboardInterrupt):  # print the rows that are complete
        for name, group in itertools.groupby(ROWS, lambda row: row.name):
            rows = [*group]
            chosen = name in asked.only if asked.only else not (asked.quick and rows[0].slow)
            if chosen and rows[0].needs not in missing:
                samples = where["samples"][name] = measure(rows[0], asked.python, missing, quick=asked.quick)
                lines += [line(row, samples) for row in rows]
    print("{python}, {os}, {cpus} x {cpu}, {date}; ".format(**where), end="")
    print(", ".join(f"{name} {version}" for name, version in where["peers"].items()), end="\n\n")
    print(table(lines))
    if asked.json:
        with open(asked.json, "w") as file:
            json.dump(where, file, indent=1)


if __name__ == "__main__":
    main()
