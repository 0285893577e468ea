"""Under asyncio.run(): a second and a third Ctrl-C, while a hook runs or blocks."""

from __future__ import annotations

import signal

import pytest
from support.programs import LOOPS
from support.sites import SITE, SLOW_HOOK

#: A program of which `asyncio.run` takes Ctrl-C.
UNDER_ASYNCIO = """
async def main():
    async with app:
        say("up")
        await asyncio.sleep(60)
try:
    with asyncio.Runner(loop_factory=LOOP) as runner:
        runner.run(main())
finally:
    if app.report is not None:
        for outcome in app.report.outcomes:
            say(outcome.hook, outcome.verdict)
"""


CLOSED = ["closed", "pool closed", "start ok", "pool ok"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_ctrl_c_under_asyncio_run_while_a_hook_runs(listener, loop):
    """It breaks off the loop and cancels all tasks; the hook that runs and those behind it run to their end."""
    running = listener(SITE + SLOW_HOOK + UNDER_ASYNCIO, loop=loop)
    running.wait_for("up").send(signal.SIGINT).wait_for("closing").send(signal.SIGINT)
    running.process.stdin.write(b"go on")
    ended = running.end()
    assert ["slow closed", *CLOSED, "slow ok", "close ok", "pool ok"] == ended.lines[3:], ended.err
    assert -signal.SIGINT == ended.status, ended.err


BLOCKING_HOOK = """
@app.on_shutdown
async def slow():
    say("closing")
    time.sleep(60)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_ctrl_c_under_asyncio_run_while_a_hook_blocks(program, loop):
    """It unblocks the hook, whose time is over then; those behind it run, and the report says so."""
    running = program(SITE + BLOCKING_HOOK + UNDER_ASYNCIO, loop=loop)
    running.wait_for("up").send(signal.SIGINT).wait_for("closing").send(signal.SIGINT)
    ended = running.end()
    assert [*CLOSED, "slow timed out", "close ok", "pool ok"] == ended.lines[3:], ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_a_ctrl_c_that_unblocked_a_guests_hook_ends_the_process(program, loop):
    """A hook that had to be unblocked is an error, and an error takes precedence over Ctrl-C: status 1."""
    running = program(SITE + BLOCKING_HOOK + UNDER_ASYNCIO + "    say(app.report.exit_status)\n", loop=loop)
    running.wait_for("up").send(signal.SIGINT).wait_for("closing").send(signal.SIGINT)
    ended = running.end()
    assert (1, "1") == (ended.status, ended.lines[-1])
    assert "HookTimeout" in ended.err


def test_a_third_ctrl_c_under_asyncio_run_ends_it(listener):
    """The second Ctrl-C shortens the grace; the third ends the process by SIGINT and names the running hook."""
    log = "import logging\nlogging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(message)s')\n"
    running = listener(log + SITE.replace("grace=5", "grace=5, debounce=0") + SLOW_HOOK + UNDER_ASYNCIO)
    running.wait_for("up").send(signal.SIGINT).wait_for("closing").send(signal.SIGINT)
    running.wait_for("site is hurrying, 2 s left for cleanup; press Ctrl-C again to end it at once").send(signal.SIGINT)
    ended = running.end()
    assert -signal.SIGINT == ended.status, ended.err
    assert "slow closed" not in ended.lines
    assert "hook slow" in ended.err
    assert "never awaited" not in ended.err


def test_a_second_ctrl_c_under_asyncio_run_wherever_it_comes(program):
    """At whatever line of the package a second Ctrl-C comes, no hook is lost."""
    ended = program("""
    import logging
    logging.disable()
    ours = os.path.dirname(graceful.__file__)

    def press_twice(step):
        # The second time when `step` lines of ours were run since the first.
        app, ran, where, left = App(grace=2), [], [], step

        @app.resource
        async def pool():
            yield
            ran.append("pool")

        @app.on_shutdown
        async def close():
            await asyncio.sleep(0)
            ran.append("close")

        def trace(frame, event, _):
            nonlocal left
            if not frame.f_code.co_filename.startswith(ours + os.sep):
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    where.append(f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}")
                    signal.raise_signal(signal.SIGINT)
            return trace

        async def main():
            async with app:
                asyncio.get_running_loop().call_soon(press)
                await asyncio.sleep(60)

        def press():
            sys.settrace(trace)
            signal.raise_signal(signal.SIGINT)

        def third(*_):
            ran.append("hung")
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, third)
        signal.setitimer(signal.ITIMER_REAL, 10)
        try:
            with asyncio.Runner() as runner:
                runner.run(main())
        except KeyboardInterrupt:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            sys.settrace(None)
        return ran, where

    step = 1
    while (pressed := press_twice(step))[1] and pressed[0] == ["close", "pool"]:
        step += 1
    say(step > 100, pressed)
    """).end()
    assert ["True (['close', 'pool'], [])"] == ended.lines, ended.err
