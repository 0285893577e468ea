"""on_signal hooks: the program goes on, one at a time for each hook, and a hook that fails is a failure."""

from __future__ import annotations

import asyncio
import re
import signal

import pytest
from support.programs import LOOPS

from graceful import App, StateError
from graceful.testing import simulate


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


def test_a_signal_that_came_while_a_run_failed(app):
    """If the failure is dealt with, the hook runs for it."""
    seen = []
    app.on_exception(lambda: True)

    @app.on_signal("USR1")
    async def reload():
        seen.append(None)
        await asyncio.sleep(0.01)
        if len(seen) == 1:
            signal.raise_signal(signal.SIGUSR1)
            raise ValueError("the first time")

    async def main():
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.1)

    app.run(main)
    assert 2 == len(seen)


def test_a_hook_that_could_not_be_started(app):
    """If that failure is dealt with, the hook runs for the next signal."""
    seen = []
    refused = []
    app.on_exception(lambda: True)

    @app.on_signal("USR1")
    async def reload():
        seen.append(None)

    def factory(loop, coro, **options):
        if coro.__qualname__ == "SignalHooks._run" and not refused:
            refused.append(None)
            coro.close()
            raise RuntimeError("no task")
        return asyncio.Task(coro, loop=loop, **options)

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        for _ in range(2):
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.sleep(0.05)

    app.run(main)
    assert (1, 1) == (len(refused), len(seen))


def test_a_late_hook_gives_the_signal_back(app):
    """The handler that the program had set before is set afterwards, and no wrapper of ours."""

    def own(*_): ...

    before = signal.signal(signal.SIGUSR1, own)
    try:

        async def main():
            app.on_signal("USR1")(lambda: None)

        app.run(main)
        assert own is signal.getsignal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("when", ["early", "late"])
def test_in_a_block(program, loop, when):
    """In `async with app:` a signal that nobody else has is for its hook, and given back; ignored ones, too."""
    hook = "app.on_signal(signal.SIGHUP, signal.SIGUSR1)(lambda number: say(number.name))"
    ended = program(
        f"""
        app = App("orders")
        {hook if when == "early" else ""}
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        async def main():
            async with app:
                {hook if when == "late" else ""}
                for number in signal.SIGHUP, signal.SIGUSR1:
                    os.kill(os.getpid(), number)
                    await asyncio.sleep(0.1)
            say(signal.getsignal(signal.SIGHUP).name, signal.getsignal(signal.SIGUSR1).name)
        with asyncio.Runner(loop_factory=LOOP) as runner: runner.run(main())
        """,
        loop=loop,
    ).end()

    assert (0, ["SIGHUP", "SIGUSR1", "SIG_DFL SIG_IGN"], "") == (ended.status, ended.lines, ended.err)


def test_in_a_block_whose_owner_has_the_signal(app, caplog):
    """The hook will not run: a warning says so, and who has it."""
    app.on_signal("USR1")(lambda: None)

    def reload(*_): ...

    before = signal.signal(signal.SIGUSR1, reload)
    try:

        async def main():
            async with app:
                pass

        asyncio.run(main())
        assert reload is signal.getsignal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (
        "the on_signal hook for SIGUSR1 will not run: in a block of `async with app:` the signal stays with "
        in caplog.text
    )
    assert "reload (" in caplog.text


def test_in_a_simulated_block():
    """The same in a simulation."""
    app, seen = App("orders"), []
    app.on_signal("HUP")(seen.append)

    result = simulate(app, lambda: asyncio.sleep(2), at={1: signal.SIGHUP}, entrance="block")
    assert ([signal.SIGHUP], 2, 0) == (seen, result.took, result.exit_status)


def test_a_second_ctrl_c_in_a_block_that_has_a_hook_for_it():
    """The signal stays with `asyncio.run`, so the hook does not run; the second Ctrl-C hurries all the same."""
    app = App("orders", grace=8)
    app.on_signal("INT")(lambda: None)
    app.on_shutdown(lambda: asyncio.sleep(60))

    result = simulate(app, lambda: asyncio.sleep(60), at={1: signal.SIGINT, 2: signal.SIGINT}, entrance="block")
    assert result.took < 2 + 2.5


def test_a_signal_in_the_shutdown(app, caplog):
    """No hook is started for it, and that is said; one that is registered then is refused."""
    ran, raised = [], []
    app.on_signal(signal.SIGUSR1)(lambda: ran.append(True))

    @app.on_shutdown
    async def close():
        with pytest.raises(StateError, match="on_signal.. came too late .*: the shutdown has begun") as refused:
            app.on_signal(signal.SIGUSR2)(lambda: None)
        raised.append(refused.value)
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.05)

    async def main():
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.05)

    app.run(main)
    assert ([True], 1) == (ran, len(raised))
    (warning,) = caplog.messages
    assert re.fullmatch(r"on_signal hook .*<lambda> \(.*\) does not run for SIGUSR1: the shutdown has begun", warning)
