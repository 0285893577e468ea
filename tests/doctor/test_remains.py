"""What the checks of what is left and what was said find in programs that differ in one thing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.subjects import BARE, PRELUDE, SOUND, request

from graceful._doctor import remains
from graceful._doctor.runs import NotPossibleError, Runs
from graceful._doctor.verdict import Finding, Level

pytestmark = pytest.mark.usefixtures("nothing_left")

#: Says things to the service manager when it is ready, and at its end.
NOTIFYING = """
import socket
def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(text, os.environ["NOTIFY_SOCKET"])
def stop():
    notify(b"{}")
    leave()
on(signal.SIGTERM, stop)
notify(b"{}")
forever()
"""
ORPHANS = """
import socket
server = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    os.setsid()
    while True:
        signal.pause()
"""
IN_C = """
#include <stdio.h>
#include <unistd.h>
int main(void) { puts("in a buffer"); fputs("ready\\n", stderr); for (;;) pause(); }
"""
DRAFT = 'open(os.path.join(os.environ["TMPDIR"], "draft"), "w").close()\n'


@pytest.mark.parametrize(
    ("check", "source", "level", "figure"),
    [
        (remains.stdout_kept, "print('kept', flush=True)" + SOUND, Level.OK, "lines on a terminal: 2, in a pipe: 2"),
        (remains.stdout_kept, "say('for you') if os.isatty(1) else None" + SOUND, Level.WARN, "on purpose or because it is lost in a pipe: for you"),
        (remains.stdout_kept, "import uuid; say(f'run {uuid.uuid4()} {object()}')" + SOUND, Level.OK, "lines on a terminal: 2"),
        (remains.stdout_kept, SOUND.replace("forever()", "say('ready'); time.sleep(0.1 - 0.1 * os.isatty(1)); say('on'); forever()"), Level.OK, "in a pipe: "),
        (remains.processes, SOUND, Level.OK, "none left"),
        (remains.processes, ORPHANS + SOUND, Level.FAIL, "left: python"),
        (remains.ports, SOUND, Level.OK, "none left"),
        (remains.ports, ORPHANS + SOUND, Level.FAIL, "left: port "),
        (remains.memory, SOUND, Level.OK, "none left"),
        (remains.files, SOUND, Level.OK, "none left"),
        (remains.files, DRAFT + SOUND, Level.WARN, "left: draft"),
        (remains.notify, NOTIFYING.format("STOPPING=1", "READY=1"), Level.OK, "READY, STOPPING; no WATCHDOG=1"),
        (remains.notify, NOTIFYING.format("STOPPING=1", "READY=1\\nWATCHDOG=1"), Level.OK, "READY, WATCHDOG, STOPPING"),
        (remains.notify, NOTIFYING.format("STATUS=bye", "READY=1"), Level.WARN, "it sends READY, but not STOPPING"),
    ],
)  # fmt: skip
def test_a_check(check: Callable[[Runs], Finding], source: str, level: Level, figure: str) -> None:
    """The level, and the figure that tells why."""
    found = check(Runs(request(source, grace=4.0)))

    assert level == found.level, found
    assert figure in found.figure


@pytest.mark.parametrize("name", ["python", "C"])
def test_a_line_that_is_lost(name: str, tmp_path: Path) -> None:
    """It is on a terminal and in a pipe without a buffer, and not in a pipe with one."""
    command = (sys.executable, "-S", "-c", PRELUDE + "print('in a buffer')\n" + BARE)
    if name == "C":
        compiler, stdbuf = shutil.which("cc"), shutil.which("stdbuf")
        if compiler is None or stdbuf is None:
            pytest.skip("no compiler, or no stdbuf")
        (tmp_path / "lost.c").write_text(IN_C)
        subprocess.run([compiler, "-o", tmp_path / "lost", tmp_path / "lost.c"], check=True)
        command = (str(tmp_path / "lost"),)
    found = remains.stdout_kept(Runs(request(command)))

    assert Finding(Level.FAIL, "shown on a terminal, but lost in a pipe: in a buffer") == found


def test_shared_memory() -> None:
    """A file in /dev/shm that is left is named."""
    path = Path(f"/dev/shm/doctor-left-{os.getpid()}")
    try:
        found = remains.memory(Runs(request(f"shared = open({str(path)!r}, 'w')" + SOUND)))
    finally:
        path.unlink()

    assert Finding(Level.FAIL, f"left: {path}") == found


@pytest.mark.parametrize(
    ("source", "reason"),
    [(SOUND, "sends nothing"), (NOTIFYING.format("STOPPING=1", "STATUS=x"), "does not send READY=1")],
)
def test_no_service(source: str, reason: str) -> None:
    """A program that does not speak to a service manager does not have to."""
    with pytest.raises(NotPossibleError, match=reason):
        remains.notify(Runs(request(source)))


def test_many_names() -> None:
    """The first three are enough."""
    files = "".join(DRAFT.replace("draft", f"draft{n}") for n in range(5))

    assert "left: draft0, draft1, draft2 and 2 more" == remains.files(Runs(request(files + SOUND))).figure
