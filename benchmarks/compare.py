"""
How programs end that were written with this library, and with others: the comparison in the README, from real processes.

    python benchmarks/compare.py [LIBRARY ...]

Each program (`programs/ends.py`) is started, brought into a situation, and told to stop, by signals, as a terminal or a supervisor
does. Prints a table in Markdown. What is not installed is left out with a note. Takes about two minutes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).parent / "programs/ends.py"

#: Seconds after which a supervisor kills what has not ended: Docker's.
LIMIT = 10.0

#: A column each: its name in the program, the heading, and the module that it needs.
LIBRARIES = {
    "graceful": ("graceful", "graceful"),
    "by-hand": ("asyncio by hand", "asyncio"),
    "anyio": ("anyio", "anyio"),
    "aiorun": ("aiorun", "aiorun"),
    "fastapi": ("FastAPI lifespan", "fastapi"),
}


@dataclass(frozen=True)
class Ended:
    """
    How a program ended.

    Attributes:
        lines: What it said.
        status: Its exit status, negative for a signal; `None`: it had to be killed.
    """

    lines: list[str]
    status: int | None

    def was_clean(self, *resources: str) -> bool:
        """Whether it ended by itself and these were left clean; without any: both."""
        return self.status is not None and all(
            f"{each} is clean" in self.lines for each in resources or ("inner", "outer")
        )


@dataclass(frozen=True)
class Situation:
    """
    A row.

    Attributes:
        name: What the program calls it.
        title: What the table calls it.
        stop: The signals that it is sent: the first when it is ready, the others when its cleanup has begun.
        good: Whether it has ended well.
    """

    name: str
    title: str
    stop: list[signal.Signals]
    good: Callable[[Ended], bool] = Ended.was_clean


SITUATIONS = [
    Situation("sigterm", "SIGTERM: the cleanup runs to its end", [signal.SIGTERM]),
    Situation("twice", "so it does if Ctrl-C arrives twice", [signal.SIGINT, signal.SIGINT]),
    Situation("status", "Ctrl-C also ends the shell loop around it", [signal.SIGINT], lambda ended: ended.status == -signal.SIGINT),
    Situation("failing", "a failed background task ends it, with status 1", [], lambda ended: ended.was_clean() and ended.status == 1),
    Situation("hanging", "one cleanup hangs: the other one still runs", [signal.SIGTERM], lambda ended: ended.was_clean("outer")),
    Situation("thread", "a job in a thread ends before the cleanup", [signal.SIGTERM], lambda ended: ended.lines[1:] == ["job done", "cleaning up", "inner is clean", "outer is clean"]),
    Situation("stuck-thread", "a thread is stuck: the cleanup runs, and it ends", [signal.SIGTERM]),
    Situation("blocked", "`time.sleep` blocks the loop: the same", [signal.SIGTERM]),
]  # fmt: skip


def end(library: str, situation: Situation) -> Ended:
    """Run one program."""
    command = [sys.executable, str(PROGRAM), library, situation.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip()]
        killed = threading.Event()

        def kill() -> None:
            killed.set()
            process.kill()

        if library == "fastapi":
            time.sleep(0.5)  # uvicorn takes the signals after the startup, and tells nobody
        limit = threading.Timer(LIMIT, kill)
        limit.start()
        for number, until in zip(situation.stop, ["ready", "cleaning up"], strict=False):
            while until not in lines and (line := process.stdout.readline()):
                lines.append(line.strip())
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        lines += [line.strip() for line in process.stdout]
        status = process.wait()
        limit.cancel()
    return Ended(lines, None if killed.is_set() else status)


def told(ended: Ended, situation: Situation) -> str:
    """A cell of the table."""
    if situation.good(ended):
        return "yes"
    if ended.status is None:
        return "no: killed"
    if not ended.was_clean("outer" if situation.name == "hanging" else "inner"):
        return "no: cut short" if "cleaning up" in ended.lines else "no cleanup"
    return "no" if situation.name == "thread" else f"no: status {ended.status}"


def main() -> None:
    """Print the table."""
    wanted = sys.argv[1:] or [*LIBRARIES]
    columns = [name for name in wanted if importlib.util.find_spec(LIBRARIES[name][1])]
    for name in sorted({*wanted} - {*columns}):
        print(f"{name} is not installed", file=sys.stderr)
    print("| situation |", " | ".join(LIBRARIES[name][0] for name in columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for situation in SITUATIONS:
        cells = [told(end(name, situation), situation) for name in columns]
        print(f"| {situation.title} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
