"""The flagship example as a process, the log it reads and the database it fills."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PROGRAM = Path(__file__).parents[2] / "examples" / "ingest.py"


#: Small batches and short pauses, so that a stop comes at every kind of moment.
NERVOUS = ("--batch", "20", "--interval", "0.01")


class Ended(NamedTuple):
    status: int
    out: list[str]
    err: str


class Running:
    """The example in a process of its own. One that hangs is killed: its test fails, and does not hang with it."""

    def __init__(self, command: list[str | Path], options: dict) -> None:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, *command], **(pipes | options))
        self.limit = threading.Timer(60, self.process.kill)
        self.limit.daemon = True
        self.limit.start()
        self._seen: list[str] = []

    def line(self, containing: str = "") -> str:
        """Read what it prints up to this; the first line is printed when log and database are open."""
        for line in self.process.stdout:
            self._seen.append(line.decode().rstrip("\n"))
            if containing in self._seen[-1]:
                return self._seen[-1]
        raise AssertionError(f"no {containing!r} in {self._seen!r}; stderr: {self.process.stderr.read().decode()}")

    def stop(self, number: int) -> Ended:
        self.process.send_signal(number)
        return self.end()

    def end(self) -> Ended:
        out, err = self.process.communicate()
        return Ended(self.process.returncode, self._seen + out.decode().splitlines(), err.decode())


def good(*numbers: int) -> bytes:
    """Lines to be recognised by their path."""
    time = "23/Nov/2025:14:00:00 +0100"
    return b"".join(b'192.0.2.1 - - [%b] "GET /%d HTTP/1.1" 200 512\n' % (time.encode(), n) for n in numbers)


def add(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def query(log: Path, sql: str) -> list:
    """Ask the database, once the example has created it."""
    with contextlib.closing(sqlite3.connect(f"{log}.db", timeout=10)) as connection:
        return connection.execute(sql).fetchall()


def paths(log: Path) -> list[str]:
    return [path for (path,) in query(log, "SELECT path FROM requests ORDER BY id")]


def malformed(log: Path) -> list[bytes]:
    return [line for (line,) in query(log, "SELECT line FROM malformed ORDER BY id")]


def numbered(*numbers: int) -> list[str]:
    return [f"/{number}" for number in numbers]


def until(condition: Callable[[], bool]) -> None:
    """Ask again and again; the time is only there to end a test that has failed."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@contextlib.contextmanager
def suspended(running: Running) -> Iterator[None]:
    """What happens in here happens between two looks of the program."""
    running.process.send_signal(signal.SIGSTOP)
    os.waitpid(running.process.pid, os.WUNTRACED)
    yield
    running.process.send_signal(signal.SIGCONT)


def a_way_round(log: Path) -> Path:
    log.with_name("sub").mkdir()
    return log.parent / "sub" / ".." / log.name


def a_link(log: Path) -> Path:
    log.with_name("sub").mkdir()
    link = log.parent / "sub" / "current.log"
    link.symlink_to(log)
    return link
