"""on_signal hooks: the program goes on, one at a time for each hook, and a hook that fails is a failure."""

from __future__ import annotations

import asyncio
import signal

import pytest
from support.programs import LOOPS


def test_on_signal(app):
    """on_signal() runs instead of stopping, one at a time, once more for what arrived meanwhile."""
    seen = []

    @app.on_signal(signal.SIGHUP, "USR1")
    async def reload(number):
        seen.append(number)
        await asyncio.sleep(0.03)

    async def main():
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.01)
        for _ in range(3):
            signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.1)
        return "done"

    assert "done" == app.run(main)
    assert [signal.SIGUSR1] * 2 == seen


def test_two_signals_for_one_hook(app):
    """A hook for two signals runs for each, also for the one that came while it ran."""
    seen = []

    @app.on_signal("USR1", "USR2")
    async def note(number):
        seen.append(number.name)
        await asyncio.sleep(0.02)

    async def main():
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.01)
        signal.raise_signal(signal.SIGUSR2)
        await asyncio.sleep(0.1)

    app.run(main)
    assert ["SIGUSR1", "SIGUSR2"] == seen


def test_a_signal_for_a_hook_before_the_loop(app):
    """What arrives before the loop runs is not lost."""
    seen = []
    app.on_signal("USR1")(lambda: seen.append("heard"))

    def factory():
        signal.raise_signal(signal.SIGUSR1)
        return asyncio.new_event_loop()

    app.run(asyncio.sleep(0.05), loop_factory=factory)
    assert ["heard"] == seen


@pytest.mark.parametrize("loop", LOOPS)
def test_reload_on_hup_and_dump_on_usr1(program, loop, tmp_path):
    """Reload on SIGHUP, dump on SIGUSR1: the program goes on, a slow handler blocks no other, SIGTERM still stops it."""
    config = tmp_path / "config"
    config.write_text("one")
    running = program(
        """
        app = App("server", grace=5)
        loaded = asyncio.Event()

        @app.on_startup
        @app.on_signal(signal.SIGHUP)
        async def load():
            config = open(sys.argv[1]).read()
            if config == "slow":
                say("slow")
                await loaded.wait()
            say("loaded", config)

        @app.on_signal(signal.SIGUSR1)
        def dump(number):
            say("dump", number.name)

        @app.on_signal(signal.SIGUSR2)
        def release():
            loaded.set()

        @app.on_shutdown
        async def close():
            say("closed")

        app.run(loop_factory=LOOP)
        """,
        loop=loop,
        args=[config],
    )
    running.wait_for("loaded one")
    config.write_text("two")
    running.send(signal.SIGHUP).wait_for("loaded two")
    config.write_text("slow")
    running.send(signal.SIGHUP).wait_for("slow").send(signal.SIGUSR1).wait_for("dump SIGUSR1")
    running.send(signal.SIGUSR2).wait_for("loaded slow")
    ended = running.send(signal.SIGTERM).end()

    assert ["loaded one", "loaded two", "slow", "dump SIGUSR1", "loaded slow", "closed"] == ended.lines
    assert 0 == ended.status


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_signal_handler_that_fails_is_a_failure(program, loop, kind):
    """An on_signal hook that raises stops the program, after its cleanup, with status 1 and the traceback."""
    running = program(
        """
        app = App("server", grace=5)

        @app.on_signal(signal.SIGHUP)
        KIND reload():
            raise ValueError("bad config")

        @app.on_shutdown
        async def close():
            say("closed")

        app.on_startup(lambda: say("ready"))
        app.run(loop_factory=LOOP)
        """.replace("KIND", kind),
        loop=loop,
    )
    ended = running.wait_for("ready").send(signal.SIGHUP).end()

    assert (1, ["ready", "closed"]) == (ended.status, ended.lines)
    assert "ValueError: bad config" in ended.err
    assert "registered as an on_signal hook at " in ended.err


def test_a_signal_handler_whose_failure_is_dealt_with(app):
    """An on_exception hook may deal with it: the program goes on, and the next signal is handled."""
    seen = []
    app.on_exception(ValueError)(lambda: True)

    @app.on_signal("HUP")
    async def reload():
        seen.append("reload")
        raise ValueError

    async def main():
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(0.02)
        return "went on"

    assert "went on" == app.run(main)
    assert ["reload"] * 2 == seen
