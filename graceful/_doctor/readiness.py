"""How a program shows that it is ready: by a line of output, a port, a file, or output that has come to rest."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["File", "Line", "Port", "Ready", "Settled", "Written", "connect", "ready_from"]

#: Seconds without output after which a program that has written something has settled.
QUIET = 0.3
#: Seconds after which a program that has written nothing has settled.
SILENT = 2.0


class Written(Protocol):
    """What a program has written so far, on all its streams."""

    def text(self) -> str:
        """All of it."""
        ...

    def quiet_for(self) -> float:
        """The seconds since it wrote something, or since it was started."""
        ...


class Ready(Protocol):
    """A way to know that a program is ready."""

    def described(self) -> str:
        """It in a few words, for the report."""
        ...

    def watch(self) -> Callable[[Written], bool]:
        """Begin to watch before the program is started; returns a function that says whether it is ready by now."""
        ...

    def missed(self) -> str:
        """What to say where it has not come, but output has; may be empty."""
        ...


@dataclass(frozen=True)
class Line:
    """It has written a line with this text in it, at the beginning of a word: "Address already in use" is not `ready`."""

    wanted: str

    def described(self) -> str:
        return f"a line with {self.wanted!r}"

    def watch(self) -> Callable[[Written], bool]:
        pattern = re.compile(
            rf"(?<!\w){re.escape(self.wanted)}" if self.wanted[0].isalnum() else re.escape(self.wanted)
        )
        return lambda written: any(pattern.search(line) for line in written.text().split("\n")[:-1])

    def missed(self) -> str:
        return ""


@dataclass(frozen=True)
class Port:
    """It accepts connections at this TCP port of the local host."""

    number: int

    def described(self) -> str:
        return f"port {self.number} accepts"

    def accepts(self) -> bool:
        """Whether somebody accepts there now."""
        connection = connect(self.number)
        if connection is None:
            return False
        connection.close()
        return True

    def watch(self) -> Callable[[Written], bool]:
        return lambda _: self.accepts()

    def missed(self) -> str:
        return ""


@dataclass(frozen=True)
class File:
    """A file exists. One that was there before counts only once it was written again."""

    path: str

    def described(self) -> str:
        return f"file {self.path} exists"

    def watch(self) -> Callable[[Written], bool]:
        before = self._stamp()
        return lambda _: self._stamp() not in {before, None}

    def missed(self) -> str:
        return ""

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


@dataclass(frozen=True)
class Settled:
    """It has written something and then nothing for `QUIET` seconds, or nothing at all for `SILENT` seconds."""

    def described(self) -> str:
        return f"no more output for {QUIET:g} s, or none at all for {SILENT:g} s; --ready is more exact"

    def watch(self) -> Callable[[Written], bool]:
        def settled(written: Written) -> bool:
            quiet = written.quiet_for()
            return quiet >= QUIET and (quiet >= SILENT or written.text() != "")

        return settled

    def missed(self) -> str:
        return f"; its output never came to rest for {QUIET:g} s: --ready TEXT says which line to wait for"


def ready_from(text: str | None) -> Ready:
    """
    What `--ready` means: digits are a port, a text with a `/` is a file, anything else is part of a line.

    A prefix `text:`, `port:` or `file:` says which one is meant. `None`: the program has to settle.

    Raises:
        ValueError: There is no such port, or nothing is left to look for.
    """
    if text is None:
        return Settled()
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("text", "port", "file"):
        kind, rest = "port" if text.isdecimal() else "file" if "/" in text else "text", text
    if not rest:
        raise ValueError(f"expected a text, a port or a file, got {text!r}")
    if kind != "port":
        return File(rest) if kind == "file" else Line(rest)
    if not rest.isdecimal() or not 0 < int(rest) < 2**16:
        raise ValueError(f"expected a port from 1 to 65535, got {rest!r}")
    return Port(int(rest))


def connect(port: int) -> socket.socket | None:
    """A connection to this port of the local host, IPv4 or IPv6, or `None`."""
    for host in ("127.0.0.1", "::1"):
        with contextlib.suppress(OSError):
            return socket.create_connection((host, port), timeout=1)
    return None
