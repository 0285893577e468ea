"""A real process, real signals, and the datagrams that a service manager receives from it, on both loops."""

from __future__ import annotations

import signal
import sys

import pytest
from support.manager import listening
from support.programs import LOOPS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is of Linux")


@pytest.fixture(params=["path", "abstract"])
def manager(request):
    """One that listens at either kind of address."""
    with listening(request.param) as manager:
        yield manager


ORDERS = """
app = App("orders", grace=5)

@app.on_signal(signal.SIGHUP)
async def reload():
    await asyncio.sleep(0.01)
    say("reloaded")

@app.background
async def consume():
    await asyncio.sleep(60)

@app.on_shutdown
async def disconnect():
    await asyncio.sleep(0.01)
    say("disconnected")

app.run(loop_factory=LOOP)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_the_life_of_a_service(program, manager, loop):
    """Ready, reloading, ready again, stopping: each when it is so, and from the process itself."""
    running = program(ORDERS, loop=loop, env=manager.environment)
    manager.wait_for("READY=1")
    running.send(signal.SIGHUP)
    reloading = manager.wait_for("RELOADING=1")
    running.wait_for("reloaded")
    reloaded = manager.wait_for("READY=1")
    running.send(signal.SIGTERM)
    stopping = manager.wait_for("STOPPING=1")
    more_time = manager.receive()
    ended = running.end()

    assert ["RELOADING=1", "STATUS=reloading: reload"] == [reloading[0], reloading[2]]
    assert ["READY=1", "STATUS=running"] == reloaded
    assert ["STOPPING=1", "STATUS=stopping (SIGTERM)"] == stopping
    assert more_time.startswith("EXTEND_TIMEOUT_USEC=")
    assert (0, "reloaded\ndisconnected\n", "") == (ended.status, ended.out, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_task_that_fails(program, manager, loop):
    """The status says why, after READY; the exit status is that of a failure."""
    source = """
    app = App("orders")
    @app.background
    async def consume():
        await asyncio.sleep(0.01)
        raise RuntimeError("the exchange hung up")
    app.run(loop_factory=LOOP)
    """
    running = program(source, loop=loop, env=manager.environment)
    manager.wait_for("READY=1")
    stopping = manager.wait_for("STOPPING=1")

    assert ["STOPPING=1", "STATUS=stopping (RuntimeError: the exchange hung up)"] == stopping
    assert 1 == running.end().status


@pytest.mark.parametrize("loop", LOOPS)
def test_the_watchdog_of_a_loop_that_is_blocked(program, manager, loop):
    """It hears nothing from a loop that is blocked, however many threads there are."""
    source = """
    async def main():
        await asyncio.sleep(0.1)
        say("blocked")
        time.sleep(0.5)
        say("going on")
        await asyncio.sleep(60)
    App("orders", grace=3).run(main, loop_factory=LOOP)
    """
    running = program(source, loop=loop, env={**manager.environment, "WATCHDOG_USEC": "40000"})
    manager.wait_for("WATCHDOG=1")
    running.wait_for("blocked")
    manager.rest()
    running.wait_for("going on")
    while_blocked = manager.rest()
    manager.wait_for("WATCHDOG=1")
    running.send(signal.SIGTERM)

    assert len(while_blocked) <= 1  # the one that it was due to send as it woke
    assert -signal.SIGTERM == running.end().status


@pytest.mark.parametrize("loop", LOOPS)
def test_under_a_server(program, manager, loop):
    """The server is told to stop: the manager hears of it before the first hook, also where the loop is the server's."""
    pytest.importorskip("uvicorn")
    source = """
    import uvicorn
    app = App("site")
    async def site(scope, receive, send):
        await receive()
        async with app.lifespan():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
    uvicorn.run(site, port=0, loop=os.environ["TEST_LOOP"], log_level="error")
    """
    running = program(source, loop=loop, env=manager.environment)
    manager.wait_for("READY=1")
    running.send(signal.SIGTERM)

    assert ["STOPPING=1", "STATUS=stopping (SIGTERM)"] == manager.wait_for("STOPPING=1")
    assert -signal.SIGTERM == running.end().status


def test_a_manager_that_is_gone(program, manager):
    """It went away after READY: the shutdown is as ever."""
    running = program(ORDERS, env=manager.environment)
    manager.wait_for("READY=1")
    manager.close()
    ended = running.send(signal.SIGTERM).end()

    assert (0, "disconnected\n", "") == (ended.status, ended.out, ended.err)


def test_nothing_is_imported_without_one(program):
    """Without NOTIFY_SOCKET, the room is not even imported."""
    source = """
    async def main():
        say("graceful._observe.systemd" in sys.modules)
    App("orders").run(main)
    """
    assert "False\n" == program(source, env={"NOTIFY_SOCKET": ""}).end().out
