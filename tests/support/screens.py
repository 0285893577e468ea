"""Programs on a terminal of their own, and what a person sees there."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte

from support.programs import PRELUDE

#: Makes the terminal that the program was started on the one that controls it, so that Ctrl-C and job control work.
ON_TERMINAL = "import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"

#: Seconds that anything may take to appear.
_PATIENCE = 30


class Screen:
    """A program in a session of its own, whose terminal is read by pyte."""

    def __init__(self, script: Path, args: tuple[str, ...], env: dict[str, str], rows: int, columns: int) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self.script = script
        self.terminal, self.slave = os.openpty()
        self._set_size(rows, columns)
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", str(script), *args],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **env},
        )

    def resize(self, rows: int, columns: int) -> None:
        """As a terminal does whose window is dragged."""
        self._screen.resize(rows, columns)
        self._set_size(rows, columns)

    def _set_size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """`b"\\x03"` is Ctrl-C."""
        os.write(self.terminal, keys)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without trailing space."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def everything(self) -> list[str]:
        """What has scrolled off the screen, and what is on it, up to the last line that is not empty."""
        columns = range(self._screen.columns)
        gone = ["".join(row[column].data for column in columns).rstrip() for row in self._screen.history.top]
        return "\n".join([*gone, *self.lines]).rstrip().split("\n")

    @property
    def whole(self) -> bool:
        """Whether all of it scrolls."""
        return self._screen.margins in (None, (0, self._screen.lines - 1))

    def colours(self, line: int) -> set[str]:
        """The colours of the characters in a line of the screen."""
        return {each.fg for each in self._screen.buffer[line].values() if each.data != " "}

    def wait_for(self, seen: str | Callable[[Screen], bool]) -> Screen:
        """Read until the screen matches a pattern, or a function says that it has come to what is waited for."""
        until = time.monotonic() + _PATIENCE
        while not (re.search(seen, self.text) if isinstance(seen, str) else seen(self)):
            if not self._read(until - time.monotonic()):
                raise AssertionError(
                    f"not seen: {seen}; the screen, and what is above it:\n" + "\n".join(self.everything)
                )
        return self

    def pause(self, seconds: float) -> None:
        """A person who reads nothing for a while."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(left)

    def end(self) -> int:
        """Read to the end; returns the exit status."""
        until = time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < until, f"still running:\n{self.text}"
            self._read(0.05)
        while self._read(0.0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self.terminal], [], [], max(seconds, 0.0))[0]:
            return False
        got = os.read(self.terminal, 65536)
        self.raw += got
        self._stream.feed(got)
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.terminal)
        os.close(self.slave)


def screens(tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    """Start programs from their source, after `PRELUDE`; whatever still runs in the end is killed."""
    started: list[Screen] = []

    def start(source: str, *args: str, loop: str = "asyncio", rows: int = 24, columns: int = 120, **env: str) -> Screen:
        script = tmp_path / f"program{len(started)}.py"
        script.write_text(ON_TERMINAL + PRELUDE + textwrap.dedent(source))
        started.append(Screen(script, args, {"TEST_LOOP": loop, **env}, rows, columns))
        return started[-1]

    yield start
    for each in started:
        each.close()
