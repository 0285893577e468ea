"""One process of a program: its start, its readiness and its end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.subjects import BARE, DEAF, SOUND, is_alive, python, request

from graceful._doctor.readiness import Line, Settled
from graceful._doctor.subject import CannotStartError, NotPermittedError, NotReadyError, started

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_from_start_to_end() -> None:
    """What it wrote and how it ended is known."""
    with started(request("print('some'); print('words', file=sys.stderr); sys.stdout.flush()" + SOUND)) as subject:
        assert subject.wait_ready() > 0
        subject.send(signal.SIGTERM)
        ending = subject.ending()

    assert (0, True, "some\nready\n", "words\n") == (ending.status, ending.caught, ending.stdout, ending.stderr)
    assert ((), (), (), ()) == (ending.left, ending.ports, ending.memory, ending.files)


def test_death_by_a_signal() -> None:
    """The status is the signal's, and it is known that there was no handler."""
    with started(request(BARE)) as subject:
        subject.wait_ready()
        subject.send(signal.SIGTERM)
        ending = subject.ending()

    assert (-signal.SIGTERM, False) == (ending.status, ending.caught)


def test_one_that_does_not_end() -> None:
    """It has no status, and is gone after the block."""
    with started(request(DEAF)) as subject:
        subject.wait_ready()
        subject.send(signal.SIGTERM)
        ending = subject.ending(grace=0.1)

    assert ending.status is None
    assert ending.took >= 0.1


@pytest.mark.parametrize("command", [("/nonexistent/program",), ("/dev/null",), ("no-such-program-anywhere",)])
def test_a_program_that_cannot_be_started(command: tuple[str, ...]) -> None:
    """The error names it, and no descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CannotStartError, match=command[0]), started(request(command)):
        pass

    assert before == len(os.listdir("/proc/self/fd"))


def test_one_that_ends_before_it_is_ready() -> None:
    """Its status and its last words are in the error."""
    with (
        started(request("say('no config'); leave(3)")) as subject,
        pytest.raises(NotReadyError, match=r"ended before it was ready: exit\(3\); it wrote last: no config"),
    ):
        subject.wait_ready()


def test_one_that_does_not_become_ready() -> None:
    """The error says how long it was waited for."""
    with (
        started(request(SOUND, ready=Line("never"), ready_timeout=0.5)) as subject,
        pytest.raises(NotReadyError, match=r"not ready after 0\.5 s; it wrote"),
    ):
        subject.wait_ready()


def test_one_that_settles() -> None:
    """Without a sign, a program that has written something and then no more is ready."""
    with started(request(SOUND, ready=Settled())) as subject:
        assert subject.wait_ready() < 20


def test_children_and_temporary_files() -> None:
    """It has a TMPDIR of its own; what is left there, and which processes are left, is known."""
    source = """
open(os.path.join(os.environ["TMPDIR"], "draft"), "w").close()
if os.fork() == 0:
    os.setsid()
    on(signal.SIGTERM, lambda: None)
    while True:
        signal.pause()
on(signal.SIGTERM, leave)
forever()
"""
    with started(request(source)) as subject:
        subject.wait_ready()
        [child] = subject.children()
        subject.send(signal.SIGTERM)
        ending = subject.ending(grace=1)

        assert is_alive(child.pid)
        assert (f"{child.name} ({child.pid})",) == ending.left
        assert ("draft",) == ending.files
    assert not is_alive(child.pid)
    assert not os.path.exists(subject.folder)


def test_an_inherited_socket(port: int) -> None:
    """A port at which a child still listens is known, and is free after the block."""
    source = f"""
import socket
server = socket.create_server(("127.0.0.1", {port}))
if os.fork() == 0:
    while True:
        signal.pause()
forever()
"""
    with started(request(source)) as subject:
        subject.wait_ready()
        assert {port} == subject.ports()
        subject.send(signal.SIGTERM)
        assert (port,) == subject.ending(grace=1).ports


def test_shared_memory_that_is_left() -> None:
    """A file in /dev/shm that it had in use and did not unlink."""
    path = Path(f"/dev/shm/doctor-{os.getpid()}")
    try:
        with started(request(f"shared = open({str(path)!r}, 'w')" + SOUND)) as subject:
            subject.wait_ready()
            subject.send(signal.SIGTERM)
            assert (str(path),) == subject.ending().memory
    finally:
        path.unlink()


def test_a_terminal() -> None:
    """With a terminal as stdout the program finds one there."""
    with started(request("say(str(os.isatty(1)))" + SOUND), terminal=True) as subject:
        subject.wait_ready()
        subject.send(signal.SIGTERM)

        assert "True\nready\n" == subject.ending().stdout


def test_a_wrapper() -> None:
    """The signals are for the program, and not for what has started it."""
    wrapper = python("import subprocess; on(signal.SIGTERM, lambda: leave(9)); sys.exit(subprocess.call(sys.argv[1:]))")
    with started(request("on(signal.SIGTERM, lambda: leave(3)); forever()"), wrapper=wrapper) as subject:
        subject.wait_ready()
        subject.send(signal.SIGTERM)

        assert 3 == subject.ending().status


def test_one_that_ends_by_itself() -> None:
    """A signal that comes too late is no error."""
    with started(request("say('ready'); sys.stdin.read(); time.sleep(0.2); leave(4)")) as subject:
        subject.wait_ready()
        assert 4 == subject.ending().status
        subject.send(signal.SIGTERM)
        subject.send_to_group(signal.SIGTERM)


def test_one_that_becomes_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not be signalled, and that is said before anything is asked of it."""
    real = os.kill

    def kill(pid: int, number: int) -> None:
        if number != signal.SIGKILL:
            raise PermissionError
        real(pid, number)

    monkeypatch.setattr(os, "kill", kill)
    with (
        started(request(SOUND)) as subject,
        pytest.raises(NotPermittedError, match=r"process \d+ runs as another user, so it may not be signalled"),
    ):
        subject.wait_ready()
