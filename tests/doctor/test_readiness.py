"""When a program is ready."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from graceful._doctor.output import plain
from graceful._doctor.readiness import QUIET, SILENT, File, Line, Port, Ready, Settled, ready_from


@dataclass
class Wrote:
    """What a program has written, and how long ago."""

    so_far: str = ""
    quiet: float = 0.0

    def text(self) -> str:
        return self.so_far

    def quiet_for(self) -> float:
        return self.quiet


@pytest.mark.parametrize(
    ("text", "ready"),
    [
        (None, Settled()),
        ("listening", Line("listening")),
        ("8000", Port(8000)),
        ("/run/app.ready", File("/run/app.ready")),
        ("run/ready", File("run/ready")),
        ("text:8000", Line("8000")),
        ("text:a/b", Line("a/b")),
        ("file:ready", File("ready")),
        ("port:80", Port(80)),
        ("at: work", Line("at: work")),
    ],
)
def test_what_is_meant(text: str | None, ready: Ready) -> None:
    """Digits are a port, a slash is a file, a word before a colon settles it."""
    assert ready == ready_from(text)


@pytest.mark.parametrize("text", ["", "0", "65536", "port:http", "text:", "file:"])
def test_what_cannot_be_meant(text: str) -> None:
    """An empty text or a port that there cannot be is an error."""
    with pytest.raises(ValueError, match="expected"):
        ready_from(text)


@pytest.mark.parametrize(
    ("so_far", "is_ready"),
    [
        ("", False),
        ("it is rea", False),
        ("now ready", False),
        ("x\nnow ready!\n", True),
        ("already\n", False),
        ("readying\n", True),
    ],
)
def test_a_line(so_far: str, is_ready: bool) -> None:
    """The whole line must have arrived, or what is read of it next would be taken for something later."""
    assert is_ready == Line("ready").watch()(Wrote(so_far))


def test_a_line_with_colours() -> None:
    """The last letter of a code for the terminal is no beginning of the word. `Output` takes the codes away."""
    assert Line("ready").watch()(Wrote(plain("\x1b[1mready\x1b[0m\n")))


def test_a_line_of_signs() -> None:
    """What is no word is found wherever it is, and means itself."""
    assert Line("(.*)").watch()(Wrote("x(.*)\n"))
    assert not Line("(.*)").watch()(Wrote("anything\n"))


def test_a_port(port: int) -> None:
    """It accepts as long as somebody listens."""
    watch = Port(port).watch()
    assert not watch(Wrote())

    with socket.create_server(("127.0.0.1", port)):
        assert watch(Wrote())


@pytest.mark.skipif(not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"), reason="needs IPv6")
def test_a_port_of_ipv6() -> None:
    """A program may listen at the IPv6 address only."""
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with server:
        assert Port(server.getsockname()[1]).accepts()


def test_a_file(tmp_path: Path) -> None:
    """It exists."""
    watch = File(str(tmp_path / "ready")).watch()
    assert not watch(Wrote())

    (tmp_path / "ready").touch()
    assert watch(Wrote())


def test_a_file_of_an_earlier_run(tmp_path: Path) -> None:
    """One that was there before counts once it is written again, and not when it goes away."""
    path = tmp_path / "ready"
    path.touch()
    watch = File(str(path)).watch()
    assert not watch(Wrote())

    path.unlink()
    assert not watch(Wrote())
    path.touch()
    os.utime(path, ns=(1, 1))  # the new file may have the number of the old one, and come within the same tick
    assert watch(Wrote())


@pytest.mark.parametrize(
    ("so_far", "quiet", "is_ready"),
    [("", QUIET, False), ("", SILENT, True), ("x", QUIET / 2, False), ("x", QUIET, True)],
)
def test_settled(so_far: str, quiet: float, is_ready: bool) -> None:
    """One that has written something is waited for less long than one that says nothing."""
    assert is_ready == Settled().watch()(Wrote(so_far, quiet))
