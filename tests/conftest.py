"""What the tests share: programs as real processes, watched from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

try:
    import uvloop
except ImportError:
    uvloop = None

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a script's `pytest &`: the programs would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
    """Sleeps a moment again and again: by how much it overslept is the machine's doing, and nobody's whom it watches."""

    MOMENT = 0.01

    def __init__(self) -> None:
        super().__init__(name="bystander", daemon=True)
        self.late = 0.0
        self._leave = False

    def run(self) -> None:
        while not self._leave:
            began = time.monotonic()
            time.sleep(self.MOMENT)
            self.late += time.monotonic() - began - self.MOMENT

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


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """
    Start a program from its source, after `PRELUDE`: `program(source, loop="uvloop", env={...}, args=[...])`; a script
    that is there already, a `Path`, as it is.

    Further keywords go to `subprocess.Popen`. Whatever still runs at the end of the test is killed.
    """
    started: list[Program] = []

    def start(
        source: str | Path, *, loop: str = "asyncio", env: dict[str, str] | None = None, args=(), **options
    ) -> Program:
        script = source
        if isinstance(source, str):
            script = tmp_path / f"program{len(started)}.py"
            script.write_text(PRELUDE + textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", str(script), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "TEST_LOOP": loop, "PYTHONUNBUFFERED": "", **(env or {})},
            **options,
        )
        started.append(Program(process))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
        for stream in (each.process.stdout, each.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def play(program: Callable[..., Program]) -> Callable[[Path, str], Ended]:
    """
    Run a script as the reader of its page would: `play(script, prints)`.

    `prints` is what the page shows. Where it shows a line `^C`, Ctrl-C is pressed once the lines above it were read.
    """

    def run(script: Path, prints: str) -> Ended:
        running = program(script, env={"PYTHONUNBUFFERED": "1"}, cwd=script.parent)
        limit = threading.Timer(60, running.process.kill)
        limit.start()
        try:
            for above in prints.split("^C\n")[:-1]:
                for line in above.splitlines():
                    running.wait_for(line)
                running.send(signal.SIGINT)
            return running.end()
        finally:
            limit.cancel()

    return run
