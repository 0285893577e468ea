"""Programs for the doctor to examine."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import Any

from graceful._doctor.readiness import Line
from graceful._doctor.request import Request

#: What each program starts with. `forever` prints "ready" and waits without end.
PRELUDE = """\
import os, signal, sys, time
def say(text):
    os.write(1, text.encode() + b"\\n")
def on(number, do):
    signal.signal(number, lambda *_: do())
def forever():
    say("ready")
    while True:
        time.sleep(0.05)  # pause() would miss a signal that comes right before it
def leave(status=0):
    os._exit(status)
"""

#: Ends with 0 at every signal that stops it, and leaves nothing.
SOUND = """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    on(number, leave)
forever()
"""
#: Has no handlers at all.
BARE = "forever()"
#: Goes on at each signal that should stop it.
DEAF = """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    on(number, lambda: None)
forever()
"""


def python(source: str) -> tuple[str, ...]:
    """A command that runs this source after `PRELUDE`; without `site`, it starts in a hundredth of a second."""
    return (sys.executable, "-S", "-E", "-c", PRELUDE + source)


def request(source: str | tuple[str, ...], **changes: Any) -> Request:
    """A request to examine a program that prints "ready" when it is ready."""
    command = python(source) if isinstance(source, str) else source
    asked = Request(command=command, signal=signal.SIGTERM, grace=10.0, ready=Line("ready"), ready_timeout=20.0)
    return replace(asked, **changes)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def children_of_this_process() -> set[int]:
    """The pids of the children that this process has, also of those that have ended and were not waited for."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found |= {int(pid) for pid in file.read().split()}
    return found
