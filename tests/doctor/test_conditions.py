"""What the checks of special conditions find in programs that differ in one thing."""

from __future__ import annotations

import pytest
from support.subjects import BARE, SOUND, request

from graceful._doctor import conditions
from graceful._doctor.runs import NotPossibleError, Runs
from graceful._doctor.verdict import Level

pytestmark = pytest.mark.usefixtures("nothing_left")

#: Waits for its child, which it asks to end; `{}` is the signal by which.
PARENT = """
child = os.fork()
if child == 0:
    forever()
def stop():
    os.kill(child, signal.{})
    os.waitpid(child, 0)
    leave()
on(signal.SIGTERM, stop)
while True:
    signal.pause()
"""
#: Prints in its cleanup, and fails if it cannot.
PRINTING = """
def stop():
    try:
        say("bye")
    except OSError:
        leave(1)
    leave()
on(signal.SIGTERM, stop)
forever()
"""
#: Accepts one connection after the other, and closes it at the signal; `{}` comes before the bind.
SERVER = """
import socket
server = socket.socket()
{}
server.bind(("127.0.0.1", PORT))
server.listen()
def stop():
    accepted.close()
    leave()
on(signal.SIGTERM, {})
say("ready")
accepted, _ = server.accept()
while True:
    accepted.recv(1) or signal.pause()
"""
REUSED = "server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)"


def served(before_bind: str, at_signal: str, port: int) -> str:
    return SERVER.format(before_bind, at_signal).replace("PORT", str(port))


@pytest.mark.parametrize(("source", "grace", "level"), [(SOUND, 10.0, Level.OK), (BARE, 1.0, Level.FAIL)])
def test_pid_1(source: str, grace: float, level: Level) -> None:
    """Without a handler the first process of a namespace hears nothing."""
    try:
        found = conditions.pid_1(Runs(request(source, grace=grace)))
    except NotPossibleError as reason:
        pytest.skip(str(reason))

    assert level == found.level, found


@pytest.mark.parametrize(("number", "grace", "level"), [("SIGKILL", 10.0, Level.OK), ("SIGTERM", 1.0, Level.FAIL)])
def test_a_child_that_hangs(number: str, grace: float, level: Level) -> None:
    """A program that waits for it without a limit hangs, too."""
    found = conditions.hung_child(Runs(request(PARENT.format(number), grace=grace)))

    assert level == found.level, found
    assert "stopped:" in found.figure


def test_no_child() -> None:
    """Where there is none the check does not apply."""
    with pytest.raises(NotPossibleError, match="no child"):
        conditions.hung_child(Runs(request(SOUND)))


@pytest.mark.parametrize(("source", "level"), [(SOUND, Level.OK), (PRINTING, Level.WARN)])
def test_no_reader(source: str, level: Level) -> None:
    """What is printed in the cleanup may change the status."""
    found = conditions.closed_stdout(Runs(request(source)))

    assert level == found.level, found
    assert ("instead of exit(0)" in found.figure) == (level is Level.WARN)


@pytest.mark.parametrize(("source", "grace", "level"), [(SOUND, 10.0, Level.OK), (PRINTING, 1.0, Level.FAIL)])
def test_a_full_pipe(source: str, grace: float, level: Level) -> None:
    """What is printed in the cleanup may block it."""
    found = conditions.full_stdout(Runs(request(source, grace=grace)))

    assert level == found.level, found


@pytest.mark.parametrize(
    ("load", "level", "figure"),
    [
        ("test -e {0}; until test -e {0}.gone; do sleep 0.02; done", Level.OK, "the load ended with exit(0)"),
        ("until test -e {0}.gone; do sleep 0.02; done; echo 3 lost; exit 4", Level.FAIL, "exit(4): 3 lost"),
        ("true", Level.WARN, "over before the signal"),
    ],
)
def test_load(tmp_path, load: str, level: Level, figure: str) -> None:
    """The load says by its status whether anything was lost, and it must still run when the signal comes."""
    mark = tmp_path / "mark"
    source = f"""
def stop():
    open({str(mark) + ".gone"!r}, "w").close()
    leave()
on(signal.SIGTERM, stop)
forever()
"""
    found = conditions.load(Runs(request(source, load=load.format(mark))))
    if level is Level.FAIL:
        assert not [path for path in tmp_path.iterdir() if path.name == "mark"]
    assert level == found.level, found
    assert figure in found.figure


def test_a_load_that_goes_on() -> None:
    """It is ended, and said to go on."""
    found = conditions.load(Runs(request(SOUND, load="sleep 1000", grace=1.0)))

    assert (Level.WARN, True) == (found.level, "still running" in found.figure)


def test_no_load() -> None:
    """Without one the check does not apply."""
    with pytest.raises(NotPossibleError, match="--load"):
        conditions.load(Runs(request(SOUND)))


def test_a_client_that_stays(port: int) -> None:
    """It is connected when the signal comes."""
    found = conditions.idle_client(Runs(request(served(REUSED, "stop", port))))

    assert Level.OK == found.level, found
    assert f"connected at port {port}" in found.figure


def test_a_client_that_is_waited_for(port: int) -> None:
    """A program that ends when its clients have gone does not end."""
    runs = Runs(request(served(REUSED, "lambda: None", port), grace=1.0))

    assert Level.FAIL is conditions.idle_client(runs).level
    with pytest.raises(NotPossibleError, match="while a client is connected"):
        conditions.restart(runs)


def test_restart(port: int) -> None:
    """A port that is used again."""
    assert Level.OK is conditions.restart(Runs(request(served(REUSED, "stop", port)))).level


def test_restart_with_the_address_in_use(port: int) -> None:
    """Without SO_REUSEADDR the port is taken by the connection that was there."""
    found = conditions.restart(Runs(request(served("", "stop", port))))

    assert Level.FAIL is found.level
    assert "Address already in use" in found.figure


def test_no_port() -> None:
    """A program that listens nowhere has no clients, but can be started again."""
    runs = Runs(request(SOUND))

    with pytest.raises(NotPossibleError, match="no TCP port"):
        conditions.idle_client(runs)
    assert Level.OK is conditions.restart(runs).level
