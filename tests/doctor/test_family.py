"""A program and all it has started."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess

import pytest
from support.subjects import children_of_this_process, is_alive, python

from graceful._doctor.family import PR_GET_CHILD_SUBREAPER, Family, adopting, wait_until

#: Starts a child in a session of its own, tells its pid and ends: the child has lost its parent.
FORGETFUL = """
if os.fork() == 0:
    os.setsid()
    forever()
say("bye")
"""


def start(source: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(python(source), stdout=subprocess.PIPE)


def is_subreaper() -> int:
    value = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(value), 0, 0, 0)
    return value.value


def test_adopting() -> None:
    """The process is the parent of orphans inside the block, and not after it."""
    before = is_subreaper()
    with adopting():
        assert 1 == is_subreaper()
    assert before == is_subreaper()


def test_orphans_are_found_and_ended(nothing_left: None) -> None:
    """A child that has left the session of its parent and lost it is still the program's."""
    family = Family()
    with start(FORGETFUL) as program:
        assert {b"bye\n", b"ready\n"} == {program.stdout.readline(), program.stdout.readline()}
        program.wait()
        [orphan] = family.members()

        family.kill(program)
    assert os.getpid() == orphan.parent
    assert not is_alive(orphan.pid)
    assert [] == family.members()


def test_a_stopped_process_is_ended(nothing_left: None) -> None:
    """SIGSTOP does not protect it."""
    family = Family()
    with start("forever()") as program:
        program.send_signal(signal.SIGSTOP)
        family.kill(program)

    assert -signal.SIGKILL == program.returncode


def test_what_was_there_before_is_left_alone(nothing_left: None) -> None:
    """So is what is left out."""
    with start("forever()") as before:
        family = Family()
        with start("forever()") as left_out:
            family.leave_out(left_out.pid)

            assert [] == family.members()
            family.kill()
            assert [None, None] == [before.poll(), left_out.poll()]
            left_out.kill()
        before.kill()


def test_the_block_leaves_nothing() -> None:
    """Whatever was started in it is ended, also when it is left by an exception."""
    before = children_of_this_process()
    with pytest.raises(KeyboardInterrupt), adopting():
        program = start(FORGETFUL)
        assert {b"bye\n", b"ready\n"} == {program.stdout.readline(), program.stdout.readline()}
        program.wait()
        program.stdout.close()
        raise KeyboardInterrupt
    assert before == children_of_this_process()


@pytest.mark.parametrize("timeout", [-1.0, 0.0, 0.001])
def test_wait_until(timeout: float) -> None:
    """It looks at least once, also when there is no time."""
    assert wait_until(lambda: True, timeout)
    assert not wait_until(lambda: False, timeout)


def test_what_may_not_be_killed(nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs as another user. It is left, and not waited for."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    family = Family()
    with start("forever()") as program:
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", refuse)
            patch.setattr(os, "killpg", refuse)
            family.kill(program)
        assert program.poll() is None
        family.kill(program)


def test_without_proc(nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program itself is known, and with it its process group."""
    with monkeypatch.context() as patch:
        patch.setattr("graceful._doctor.family.all_processes", list)
        family = Family()
        source = "child = os.fork()\nif child: say(str(child))\nforever()"
        with subprocess.Popen(python(source), stdout=subprocess.PIPE, start_new_session=True) as program:
            child = next(int(line) for line in program.stdout if line.strip().isdigit())
            family.kill(program)

    assert -signal.SIGKILL == program.returncode
    assert wait_until(lambda: not is_alive(child), 10)
