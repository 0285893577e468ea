"""What a service manager is told of a run, by the protocol of sd_notify(3)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.apps import ENTRANCES, nothing
from support.manager import listening

from graceful import App

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is of Linux")


@pytest.fixture(params=["path", "abstract"])
def manager(request, monkeypatch):
    """One that listens at either kind of address."""
    with listening(request.param) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        yield manager


def without_extensions(told):
    """The assignments, less those that ask for time."""
    return [line for each in told for line in each.splitlines() if not line.startswith("EXTEND_TIMEOUT_USEC=")]


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_run_is_told(app, manager, entrance):
    """READY after the startup, STOPPING before the first hook, and a status for each."""
    seen = []

    @app.on_startup
    async def connect():
        seen.append(without_extensions(manager.rest()))

    @app.on_shutdown
    async def disconnect():
        seen.append(without_extensions(manager.rest()))

    ENTRANCES[entrance](app, nothing)
    name = app.report.outcomes[0].hook

    assert [
        ["STATUS=starting", f"STATUS=starting: {name}"],
        ["READY=1", "STATUS=running", "STOPPING=1", seen[1][3]],
    ] == seen
    assert seen[1][3].startswith("STATUS=stopping (")


def test_no_ready_if_the_startup_fails(app, manager):
    """A startup that fails is never ready."""

    @app.on_startup
    async def connect():
        raise ConnectionError("refused")

    with pytest.raises(ConnectionError):
        app.run(nothing)
    told = without_extensions(manager.rest())

    assert "READY=1" not in told
    assert ["STOPPING=1", "STATUS=stopping (ConnectionError: refused)"] == told[-2:]


def test_a_run_in_another_thread_is_silent(app, manager):
    """It does not speak for the process, which goes on when that run is over."""
    thread = threading.Thread(target=app.run, args=(nothing,))
    thread.start()
    thread.join()

    assert [] == manager.rest()


def test_an_app_in_another_app_is_silent(app, manager):
    """It may be stopped alone: only the outer one speaks for the process."""

    async def main():
        manager.rest()
        async with App("inner"):
            pass
        return manager.rest()

    assert [] == app.run(main)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_environment(app, manager, monkeypatch, entrance):
    """While the app runs children do not inherit the variables; afterwards they are back, for a second run."""
    given = {"NOTIFY_SOCKET": os.environ["NOTIFY_SOCKET"], "WATCHDOG_USEC": "9000000", "WATCHDOG_PID": str(os.getpid())}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    script = f"import os; print(*[name for name in {[*given]} if name in os.environ])"
    inherited = []

    async def main():
        inherited.append(subprocess.check_output([sys.executable, "-c", script], text=True).strip())

    for _ in range(2):
        ENTRANCES[entrance](app, main)

    assert ["", ""] == inherited
    assert given == {name: os.environ.get(name) for name in given}
    assert 2 == without_extensions(manager.rest()).count("READY=1")


def test_a_watchdog_of_another_process(app, manager, monkeypatch):
    """WATCHDOG_PID names another process: that one is meant, and the variables are left to it."""
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    left = []

    async def main():
        left.append(os.environ.get("WATCHDOG_USEC"))
        await asyncio.sleep(0.05)

    app.run(main)

    assert ["20000"] == left
    assert [] == [line for line in without_extensions(manager.rest()) if line == "WATCHDOG=1"]


def test_the_watchdog_hears_from_the_loop(app, manager, monkeypatch):
    """At half of WATCHDOG_USEC, before and during the shutdown, and not while the loop is blocked."""
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    counted = {}

    def count(what):
        counted[what] = without_extensions(manager.rest()).count("WATCHDOG=1")

    async def main():
        await asyncio.sleep(0.2)
        count("running")
        time.sleep(0.2)
        count("blocked")

    @app.on_shutdown
    async def disconnect():
        manager.rest()
        await asyncio.sleep(0.2)
        count("stopping")

    app.run(main)

    assert counted["running"] > 2
    assert 0 == counted["blocked"]
    assert counted["stopping"] > 2


def test_more_time_is_asked_for_while_the_loop_turns(manager):
    """In each message for a few seconds, and never for more than a second past the deadline."""
    app = App("orders", grace=2.5)
    asked = []

    @app.on_shutdown
    async def disconnect():
        await asyncio.sleep(1.2)
        asked.extend(line for each in manager.rest() for line in each.splitlines() if line.startswith("EXTEND_"))

    app.run(nothing)
    seconds = [int(line.partition("=")[2]) / 1e6 for line in asked]

    assert 2 == len(seconds)
    assert seconds == sorted(seconds, reverse=True)
    assert 3 < seconds[0] <= 3.5
    assert seconds[1] <= 2.5


def test_status_of_a_long_shutdown(app, manager):
    """It says what is waited for, in one line."""

    @app.on_shutdown
    async def disconnect():
        await asyncio.sleep(2.2)

    app.run(nothing)
    [status] = [line for line in without_extensions(manager.rest()) if "waiting for" in line]

    assert status.startswith("STATUS=stopping (main returned), 1 s left, waiting for hook ")
    assert "disconnect" in status


# --- reloading -------------------------------------------------------------------------------------------------------


def reloads(told):
    """The names of the assignments of what was told of reloads."""
    return [
        line.partition("=")[0] for line in without_extensions(told) if line.startswith(("RELOADING", "MONO", "READY"))
    ]


def test_reload(app, manager):
    """RELOADING with the time when hooks for SIGHUP begin, READY once when the last of them has ended."""
    began = time.monotonic_ns() // 1000
    app.on_signal(signal.SIGHUP)(lambda: None)

    @app.on_signal(signal.SIGHUP)
    async def reload():
        await asyncio.sleep(0.02)

    async def main():
        await asyncio.sleep(0)
        manager.rest()
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(0.1)

    app.run(main)
    manager.rest()
    told = manager.heard
    times = [int(line.partition("=")[2]) for line in without_extensions(told) if line.startswith("MONOTONIC")]

    assert ["READY", *["RELOADING", "MONOTONIC_USEC"] * 2, "READY"] == reloads(told)
    assert began < times[0] <= times[1] < time.monotonic_ns() // 1000


def test_another_signal_is_no_reload(app, manager):
    """Only SIGHUP is."""
    app.on_signal(signal.SIGUSR1)(lambda: None)

    async def main():
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.05)

    app.run(main)

    assert ["READY"] == reloads(manager.rest())


@pytest.mark.parametrize(("dealt_with", "last"), [(True, "READY"), (False, "MONOTONIC_USEC")])
def test_reload_that_fails(app, manager, dealt_with, last):
    """READY only if the failure was dealt with and the program goes on."""
    app.on_exception(ValueError)(lambda: dealt_with)

    @app.on_signal(signal.SIGHUP)
    def reload():
        raise ValueError("bad file")

    async def main():
        await asyncio.sleep(0)
        manager.rest()
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(0.7)

    if dealt_with:
        app.run(main)
    else:
        with pytest.raises(ValueError, match="bad file"):
            app.run(main)

    assert last == reloads(manager.rest())[-1]


# --- a socket that fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/nonexistent/notify", "@graceful-nobody", "/" + "x" * 300, "vsock:2:1", "x", ""])
def test_nobody_listens(app, monkeypatch, address):
    """Where it is gone, or no address that is known, everything runs as ever."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    seen = []
    app.on_shutdown(lambda: seen.append("cleaned up"))

    app.run(nothing)

    assert ["cleaned up"] == seen
    assert address == os.environ["NOTIFY_SOCKET"]


def test_a_full_socket(app, manager, monkeypatch):
    """What finds it full costs nobody time, and is sent again when there is room."""
    import socket

    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    filler.setblocking(False)
    address = os.environ["NOTIFY_SOCKET"]
    with filler, pytest.raises(BlockingIOError):
        while True:
            filler.sendto(b"X", "\0" + address[1:] if address[0] == "@" else address)

    async def main():
        manager.rest()
        await asyncio.sleep(0.3)
        return without_extensions(manager.rest())

    assert ["STATUS=starting", "READY=1", "STATUS=running"] == app.run(main)
