"""The ways to run a program and to stop it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest
from support.subjects import DEAF, SOUND, request

from graceful._doctor.runs import NotPossibleError, Runs
from graceful._doctor.subject import NotReadyError

pytestmark = pytest.mark.usefixtures("nothing_left")


def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Make these shell scripts the only commands that are found by name."""
    for name, script in scripts.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_run_is_made_once(tmp_path: Path) -> None:
    """The checks that look at the same run share it; another signal is another run."""
    starts = tmp_path / "starts"
    runs = Runs(request(f"open({str(starts)!r}, 'a').write('x')" + SOUND))

    assert runs.stopped(signal.SIGTERM) is runs.stopped(signal.SIGTERM)
    assert runs.stopped(signal.SIGINT) is not runs.stopped(signal.SIGTERM)
    assert runs.restarted() is runs.restarted()
    assert "xxxx" == starts.read_text()


def test_an_error_is_not_kept(tmp_path: Path) -> None:
    """A program that did not start once is tried again by the next check."""
    mark = tmp_path / "mark"
    source = f"""
if not os.path.exists({str(mark)!r}):
    open({str(mark)!r}, "w").close()
    leave(3)
"""
    runs = Runs(request(source + SOUND))

    with pytest.raises(NotReadyError):
        runs.stopped(signal.SIGTERM)
    assert 0 == runs.stopped(signal.SIGTERM).status


@pytest.mark.parametrize(("run", "tool"), [("looped", "bash"), ("as_pid_1", "unshare")])
def test_a_missing_tool(run: str, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named."""
    tools(tmp_path, monkeypatch)

    with pytest.raises(NotPossibleError, match=f"{tool} is not installed"):
        getattr(Runs(request(SOUND)), run)()


def test_namespaces_that_are_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is what unshare says."""
    tools(tmp_path, monkeypatch, unshare='echo "unshare: Operation not permitted" >&2; exit 1')

    with pytest.raises(NotPossibleError, match="^unshare: Operation not permitted$"):
        Runs(request(SOUND)).as_pid_1()


def test_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace of a user's own is asked for."""
    tools(tmp_path, monkeypatch, unshare='echo "$@" >&2; exit 1')
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(NotPossibleError, match="^--user --map-root-user --pid --fork"):
        Runs(request(SOUND)).as_pid_1()


def test_both_of_a_doubled_ctrl_c_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group gets one, and the process another one."""
    monkeypatch.setattr("graceful._doctor.runs.ECHO", 0.5)  # so that they stay two on a busy machine
    source = """
on(signal.SIGINT, lambda: say("interrupted"))
on(signal.SIGTERM, leave)
if os.fork() == 0:
    while True:
        signal.pause()
forever()
"""
    ending = Runs(request(source, grace=1.5)).doubled()

    assert 3 == ending.stdout.count("interrupted")


def test_a_single_ctrl_c() -> None:
    """The group gets it, as a terminal would send it: a shell ends with what it runs."""
    ending = Runs(request(("sh", "-c", "echo ready; sleep 1000; echo done"))).interrupted()

    assert (-signal.SIGINT, "ready\n") == (ending.status, ending.stdout)


@pytest.mark.parametrize("run", ["ready_after", "with_child_stopped"])
def test_each_run_asks_it_to_stop(run: str, tmp_path: Path) -> None:
    """Also one that only looks at it, or finds that there is nothing to look at."""
    path = tmp_path / "stopped"
    source = f"def stop():\n    open({str(path)!r}, 'w').close()\n    leave()\non(signal.SIGTERM, stop); forever()"
    with contextlib.suppress(NotPossibleError):
        getattr(Runs(request(source)), run)()

    assert path.exists()


def test_a_child_that_may_not_be_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs as another user. The check is not possible."""
    real = os.kill

    def kill(pid: int, number: int) -> None:
        if number == signal.SIGSTOP:
            raise PermissionError
        real(pid, number)

    monkeypatch.setattr(os, "kill", kill)
    with pytest.raises(NotPossibleError, match="its child python.* runs as another user, and may not be signalled"):
        Runs(request("os.fork()" + SOUND)).with_child_stopped()


def test_early() -> None:
    """The signal comes when it is told to, and not when the program is ready."""
    runs = Runs(request("on(signal.SIGTERM, lambda: leave(3)); time.sleep(1)" + DEAF, grace=1.0))
    delay, ending = runs.early(0.5)

    assert runs.ready_after() == 2 * delay
    assert (3, "") == (ending.status, ending.stdout)
