"""Programs as real processes, watched from outside, and the event loops they run under."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from dataclasses import dataclass

import pytest

try:
    import uvloop
except ImportError:
    uvloop = None

LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(uvloop is None, reason="uvloop is not installed"))]

#: What each program starts with. `LOOP` is the loop factory under test; `say` prints a line at once.
PRELUDE = """\
import asyncio, os, signal, sys, threading, time
from graceful import *
import graceful
if os.environ.get("TEST_LOOP") == "uvloop":
    import uvloop
    LOOP = uvloop.new_event_loop
else:
    LOOP = None
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""

#: Runs the script that is its argument, with `LOOP` for each `App.run` in it; uvicorn takes uvloop if it can be imported.
ON_LOOP = """\
import functools, runpy
if LOOP is None:
    sys.modules["uvloop"] = None
App.run = functools.partialmethod(App.run, loop_factory=LOOP)
sys.path[0] = os.path.dirname(sys.argv[1])
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@dataclass
class Ended:
    """
    How a program ended: the status as its parent saw it, what it printed, and the seconds it took from `since`, less
    those by which a machine that is busy with other things kept a `Bystander` waiting.
    """

    status: int
    out: str
    err: str
    took: float

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Bystander(threading.Thread):
    """Measures by how much a busy machine delays threads: it sleeps again and again, and adds up the excess."""

    UNWIND = 0.01

    def __init__(self) -> None:
        super().__init__(name="bystander", daemon=True)
        self.late = 0.0
        self._leave = False

    def run(self) -> None:
        while not self._leave:
            began = time.monotonic()
            time.sleep(self.UNWIND)
            self.late += time.monotonic() - began - self.UNWIND

    def leave(self) -> None:
        self._leave = True
        self.join()


class Program:
    """A program in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.since = time.monotonic()
        self._seen: list[str] = []

    def wait_for(self, line: str) -> Program:
        """Read its output up to and including this line: the only way tests synchronise with a program."""
        while got := self._read_line():
            self._seen.append(got)
            if got.rstrip("\n") == line:
                return self
        raise AssertionError(f"no line {line!r} in {self._seen!r}; stderr: {self.process.stderr.read().decode()}")

    def _read_line(self) -> str:
        """One line and not a byte more: what is read ahead would be lost to `communicate`."""
        got = b""
        while not got.endswith(b"\n") and (byte := self.process.stdout.read(1)):
            got += byte
        return got.decode()

    def send(self, *numbers: int) -> Program:
        """Send signals, and count the time from the first of them."""
        self.since = time.monotonic()
        for number in numbers:
            self.process.send_signal(number)
        return self

    def end(self, timeout: float = 60) -> Ended:
        """Wait for its end."""
        bystander = Bystander()
        bystander.start()
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            out, err = self.process.communicate(timeout=5)  # a forked child may hold the pipe
            raise AssertionError(f"still running after {timeout} s; out: {out!r}; err: {err.decode()}") from None
        finally:
            bystander.leave()
        out = "".join(self._seen) + out.decode()
        return Ended(self.process.returncode, out, err.decode(), time.monotonic() - self.since - bystander.late)
