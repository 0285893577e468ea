"""
The command: run CPython's tests of asyncio without graceful and inside an app, and compare.

    python -m support.cpython                      all tests, both modes: about five minutes
    python -m support.cpython --short              the modules in which most tests run inside an app
    python -m support.cpython --mode guest test_locks test_queues

Each module is run in a process of its own. A test that differs and is not listed is run again, together with the others
of its module that do, without graceful and inside an app by turns. All of that is printed. The status is 1 if a
difference is new, or if an entry of the list no longer differs; 77 if this Python has no `test.test_asyncio`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.cpython.compare import MISSING, differing, judge
from support.cpython.differences import DIFFERENCES

PREFIX = "test.test_asyncio."
#: For Windows only.
WINDOWS = {"test_windows_events", "test_windows_utils"}
SHORT = [
    *("test_taskgroups", "test_locks", "test_context", "test_eager_task_factory", "test_futures2", "test_queues"),
    *("test_runners", "test_server", "test_staggered", "test_threads", "test_timeouts", "test_unix_events"),
    *("test_waitfor", "test_graph", "test_buffered_proto"),
]
#: How many tests of a module may end their process, by a crash or because they take too long.
ENDED_BY_TESTS = 10
#: How often a test that differs is run again, in each way.
AGAIN = 5
NOT_INSTALLED = 77
TESTS = Path(__file__).parents[2]


def modules() -> list[str]:
    """The modules of tests that this Python has."""
    package = importlib.util.find_spec("test.test_asyncio") if importlib.util.find_spec("test") else None
    if package is None:
        return []
    return sorted({each.stem for each in Path(package.origin).parent.glob("test_*.py")} - WINDOWS)


def run_module(mode: str, module: str, ids: list[str]) -> dict[str, dict]:
    """Run a module, all of it or these tests, in a process of its own; what each test has written, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results")
        results.touch()
        command = [sys.executable, "-m", "support.cpython.worker", mode, str(results), PREFIX + module]
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        options = {"cwd": folder, "env": {**os.environ, "PYTHONPATH": path}, "stdin": subprocess.DEVNULL}
        with Path(folder, "log").open("w+b") as log:
            for _ in range(ENDED_BY_TESTS):
                before = results.stat().st_size
                run = [*command, *(PREFIX + each for each in ids)]
                status = subprocess.run(run, **options, stdout=log, stderr=subprocess.STDOUT).returncode
                if status == 0 or results.stat().st_size == before:
                    break
            if status != 0:
                log.seek(0)
                print(f"{mode} {module}: status {status}; its last lines:")
                print(*log.read().decode(errors="replace").splitlines()[-20:], sep="\n")
        lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return {line["id"].removeprefix(PREFIX): line for line in lines}


def run_modules(mode: str, wanted: dict[str, list[str]], jobs: int) -> dict[str, dict]:
    """Run modules, the tests with these ids of each, or all if there are none."""
    with ThreadPoolExecutor(jobs) as pool:
        parts = pool.map(lambda item: run_module(mode, *item), wanted.items())
        return {test: line for part in parts for test, line in part.items()}


def results(lines: dict[str, dict]) -> dict[str, str]:
    return {test: line["result"] for test, line in lines.items()}


def compare(mode: str, plain: dict[str, dict], wanted: dict[str, list[str]], *, full: bool, jobs: int) -> bool:
    """Run the tests in a mode, and print how they differ. Returns whether all is as it should be."""
    inside = run_modules(mode, wanted, jobs)
    first = differing(results(plain), results(inside))
    rounds = {test: [(result_of(plain, test), result_of(inside, test))] for test in first}
    unlisted = [test for test in first if not any(entry.covers(mode, test) for entry in DIFFERENCES)]
    again: dict[str, list[str]] = {}
    for test in unlisted:
        again.setdefault(test.partition(".")[0] if "(" not in test else "", []).append(test)
    again.pop("", None)  # the set-up of a class or a module has no id by which to run it
    for _ in range(AGAIN if again else 0):
        once = [run_modules(each, again, 1) for each in ("plain", mode)]
        for test in unlisted:
            rounds[test].append((result_of(once[0], test), result_of(once[1], test)))
    verdicts = judge(mode, DIFFERENCES, rounds, plain if full else ())
    for kind in ("new", "flaky", "not_again", "listed"):
        for test in getattr(verdicts, kind):
            show(kind, mode, test, rounds[test], inside)
    for entry in verdicts.rotten:
        print(f"{mode}: no longer differs, take it off the list: {', '.join(entry.tests)}")
    in_app = sum(line["apps"] > 0 for line in inside.values())
    counts = ", ".join(f"{len(getattr(verdicts, kind))} {kind}" for kind in ("listed", "new", "flaky", "not_again"))
    print(f"{mode}: {len(inside)} tests, {in_app} of them inside an app; {len(first)} differ: {counts}", flush=True)
    return not verdicts.failed


def result_of(lines: dict[str, dict], test: str) -> str:
    return results(lines).get(test, MISSING)


def show(kind: str, mode: str, test: str, rounds: list[tuple[str, str]], inside: dict[str, dict]) -> None:
    print(f"{mode}: {kind}: {test}: without graceful and inside: {', '.join(map('/'.join, rounds))}")
    if kind != "listed":
        print(inside.get(test, {"text": ""})["text"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m support.cpython", description=__doc__.splitlines()[1])
    parser.add_argument("modules", nargs="*", help="such as test_locks; all of them if there are none")
    parser.add_argument("--short", action="store_true", help="about a third of the tests")
    parser.add_argument("--mode", choices=["owner", "guest"], action="append", help="both if none is given")
    parser.add_argument("--jobs", type=int, default=2, help="how many modules are run at a time")
    arguments = parser.parse_args()
    there = modules()
    if not there:
        print("this Python is installed without test.test_asyncio")
        return NOT_INSTALLED
    chosen = arguments.modules or (SHORT if arguments.short else there)
    wanted: dict[str, list[str]] = {module: [] for module in chosen if module in there}
    plain = run_modules("plain", wanted, arguments.jobs)
    print(f"Python {sys.version.split()[0]}, without graceful: {len(plain)} tests")
    full = len(wanted) == len(there)
    passed = [
        compare(mode, plain, wanted, full=full, jobs=arguments.jobs) for mode in arguments.mode or ("owner", "guest")
    ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
