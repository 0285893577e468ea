"""What Linux says about processes in /proc: who is whose child, what they listen on, map and catch."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "Process",
    "all_processes",
    "catches",
    "connected_ports",
    "is_mounted",
    "listening_ports",
    "process",
    "shared_memory",
]

# TCP_ESTABLISHED and TCP_LISTEN in net/tcp_states.h, as /proc/net/tcp writes them
ESTABLISHED, LISTEN = "01", "0A"


@dataclass(frozen=True)
class Process:
    """One process; `state` is the letter that proc(5) names, `Z` for one that has ended and was not waited for."""

    pid: int
    parent: int
    state: str
    name: str


def is_mounted() -> bool:
    """Whether there is a /proc; without one, the functions here find nothing."""
    return os.path.exists("/proc/self/stat")


def all_processes() -> list[Process]:
    """Those that there are now."""
    try:
        entries = os.listdir("/proc")
    except OSError:
        return []
    found = [process(int(entry)) for entry in entries if entry.isdecimal()]
    return [each for each in found if each is not None]


def process(pid: int) -> Process | None:
    """The process with this pid; `None`: there is none any more."""
    line = _read(f"/proc/{pid}/stat")
    name, parenthesis, rest = line.partition("(")[2].rpartition(")")  # a name may have parentheses and spaces in it
    if not parenthesis:
        return None
    state, parent = rest.split()[:2]
    return Process(pid, int(parent), state, name)


def catches(pid: int, number: signal.Signals) -> bool | None:
    """Whether the process has a handler for this signal; `None`: that cannot be seen."""
    match = re.search(r"^SigCgt:\s*([0-9a-f]+)", _read(f"/proc/{pid}/status"), re.MULTILINE)
    return None if match is None else bool(int(match[1], 16) >> (number - 1) & 1)


def listening_ports(pids: Iterable[int]) -> frozenset[int]:
    """The TCP ports at which one of these processes accepts connections."""
    return _ports(pids, LISTEN)


def connected_ports(pids: Iterable[int]) -> frozenset[int]:
    """The local TCP ports at which one of these processes has a connection; one that waits to be accepted is nobody's."""
    return _ports(pids, ESTABLISHED)


def shared_memory(pids: Iterable[int]) -> frozenset[str]:
    """The files in /dev/shm that one of these processes has open or mapped."""
    mapped = {line.split(maxsplit=5)[-1] for pid in pids for line in _lines(f"/proc/{pid}/maps") if "/dev/shm/" in line}
    opened = {link for pid in pids for link in _open_files(pid)}
    return frozenset(path for path in mapped | opened if path.startswith("/dev/shm/") and os.path.exists(path))


def _ports(pids: Iterable[int], state: str) -> frozenset[int]:
    """The local ports of the TCP sockets in this state that one of these processes has open."""
    pids = [*pids]
    sockets = {link for pid in pids for link in _open_files(pid) if link.startswith("socket:")}
    rows = [line.split() for pid in pids[:1] for net in ("tcp", "tcp6") for line in _lines(f"/proc/{pid}/net/{net}")]
    return frozenset(
        int(row[1].rpartition(":")[2], 16)
        for row in rows
        if len(row) > 9 and row[3] == state and f"socket:[{row[9]}]" in sockets
    )


def _open_files(pid: int) -> list[str]:
    links: list[str] = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                links.append(os.readlink(entry.path))
    return links


def _lines(path: str) -> list[str]:
    return _read(path).splitlines()


def _read(path: str) -> str:
    """The text of a file, empty where it is gone or not for us."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
