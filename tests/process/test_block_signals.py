"""`async with app:` under asyncio's own runner: signals with the default action are taken for the time of the block."""

from __future__ import annotations

import asyncio
import signal
import textwrap
import time

import pytest
from support.programs import LOOPS

from graceful import App, Interrupted
from graceful._run.block_guard import BlockGuard

#: What each program begins with: hooks that need the loop, and a way to see the handlers.
APP = """
app = App("site", grace=5)
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGURG]

def handlers():
    return [signal.getsignal(number) for number in NUMBERS]

def run(main):
    with asyncio.Runner(loop_factory=LOOP) as runner:
        return runner.run(main)

@app.resource
async def pool():
    yield
    await asyncio.sleep(0.01)
    say("pool closed")

@app.on_shutdown(stage="drain")
async def drain():
    await asyncio.sleep(0)
    say("drained", app.stopping)

@app.on_shutdown
async def close():
    await asyncio.sleep(0.01)
    say("closed")
"""
HOOKS_RAN = ["drained True", "closed", "pool closed"]


def _program(program, source, loop):
    return program(APP + textwrap.dedent(source), loop=loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_hooks_run_and_the_process_dies_by_the_signal(program, loop, number):
    """Every hook runs, the block leaves with Interrupted, and uncaught that is the death the default action would be."""
    source = """
    async def main():
        try:
            async with app:
                say("up")
                await asyncio.sleep(60)
        except Interrupted as error:
            say(error.signal.name, app.report.cause.signal.name, app.report.cause.kind)
            raise
    run(main())
    """
    ended = _program(program, source, loop).wait_for("up").send(number).end()
    name = signal.Signals(number).name
    assert ["up", *HOOKS_RAN, f"{name} {name} signal"] == ended.lines, ended.err
    assert (-number, "") == (ended.status, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_caught_interrupted_goes_on(program, loop):
    """A program that catches Interrupted goes on, in the same loop, and dies by the next signal as it would without us."""
    source = """
    async def main():
        before = handlers()
        try:
            async with app:
                say("up")
                await asyncio.sleep(60)
        except Interrupted:
            say("caught", before == handlers(), asyncio.current_task().cancelling())
        await asyncio.sleep(0.05)
        return "result"
    say(run(main()))
    signal.raise_signal(signal.SIGTERM)
    say("never")
    """
    ended = _program(program, source, loop).wait_for("up").send(signal.SIGTERM).end()
    assert ["up", *HOOKS_RAN, "caught True 0", "result"] == ended.lines, ended.err
    assert -signal.SIGTERM == ended.status


@pytest.mark.parametrize("loop", LOOPS)
def test_the_handlers_are_given_back(program, loop):
    """After a block that ended by itself, or failed to start, every handler is what it was; inside, SIGTERM is taken."""
    source = """
    async def main():
        before = handlers()
        async with app:
            say(before == handlers(), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
        say(before == handlers())
        failing = App("failing")
        @failing.on_startup
        def fail(): raise ValueError
        try:
            async with failing: say("never")
        except ValueError:
            say(before == handlers())
    run(main())
    """
    ended = _program(program, source, loop).end()
    assert ["False False", *HOOKS_RAN, "True", "True"] == ended.lines, ended.err


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_ignored_signal_stays_ignored(program, loop, number):
    """What the program inherited as ignored (nohup) is not taken."""
    source = f"""
    signal.signal({int(number)}, signal.SIG_IGN)
    async def main():
        async with app:
            signal.raise_signal({int(number)})
            await asyncio.sleep(0.05)
            say("worked", app.stopping, signal.getsignal({int(number)}) == signal.SIG_IGN)
    run(main())
    """
    ended = _program(program, source, loop).end()
    assert ["worked False", "True"] == ended.lines[0].rsplit(" ", 1), ended.err
    assert [HOOKS_RAN, 0] == [ended.lines[1:], ended.status]


@pytest.mark.parametrize("loop", LOOPS)
def test_another_thread_touches_nothing(program, loop):
    """A block in another thread takes no signal, and works."""
    source = """
    async def main():
        async with app:
            say("the same" if before == handlers() else "taken")
    before = handlers()
    thread = threading.Thread(target=lambda: run(main()))
    thread.start()
    thread.join()
    say(before == handlers())
    """
    ended = _program(program, source, loop).end()
    assert ["the same", *HOOKS_RAN, "True"] == ended.lines, ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_only_what_the_app_was_told_to_take(program, loop):
    """A signal that is not among `App(signals=...)` keeps its default action."""
    source = """
    narrow = App("narrow", signals=[signal.SIGTERM])
    async def main():
        async with narrow:
            say(signal.getsignal(signal.SIGHUP) == signal.SIG_DFL, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    run(main())
    """
    assert ["True False"] == _program(program, source, loop).end().lines


# --- the owner's own handlers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_the_owners_handler_is_called_and_the_app_is_told(program, loop):
    """SIGTERM with a handler of the owner's: it is called, sleep() wakes, drain hooks run, and nothing is cancelled."""
    source = """
    def on_term(number, frame):
        say("owner's handler", number, frame is not None)
    signal.signal(signal.SIGTERM, on_term)
    async def main():
        async with app:
            asyncio.get_running_loop().call_later(0.05, signal.raise_signal, signal.SIGTERM)
            say("slept", await app.sleep(60), "stopping", app.stopping)
            await asyncio.sleep(0.1)
            say("went on")
        say(signal.getsignal(signal.SIGTERM) is on_term, app.report.cause.signal.name, app.report.exit_status)
    run(main())
    say("after")
    """
    ended = _program(program, source, loop).end()
    number = int(signal.SIGTERM)
    expected = [f"owner's handler {number} True", "slept False stopping True", "drained True", "went on"]
    assert [*expected, "closed", "pool closed", "True SIGTERM 0", "after"] == ended.lines, ended.err
    assert (0, "") == (ended.status, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_handler_of_the_owners_for_sighup_is_left_alone(program, loop):
    """SIGHUP with a handler of the owner's is a reload, and none of the app's business."""
    source = """
    signal.signal(signal.SIGHUP, lambda *_: say("reloaded"))
    async def main():
        before = signal.getsignal(signal.SIGHUP)
        async with app:
            for _ in range(3):
                signal.raise_signal(signal.SIGHUP)
                await asyncio.sleep(0.01)
            say(before is signal.getsignal(signal.SIGHUP), app.stopping)
    run(main())
    """
    ended = _program(program, source, loop).end()
    assert [*["reloaded"] * 3, "True False", *HOOKS_RAN] == ended.lines, ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_taken_while_the_block_runs_is_not_put_back(program, loop):
    """A handler that the owner sets inside the block, and leaves there, is still there afterwards."""
    source = """
    signal.signal(signal.SIGTERM, lambda *_: say("first"))
    def second(*_): say("second")
    async def main():
        async with app:
            signal.signal(signal.SIGTERM, second)
        say(signal.getsignal(signal.SIGTERM) is second)
    run(main())
    """
    assert [*HOOKS_RAN, "True"] == _program(program, source, loop).end().lines


@pytest.mark.parametrize("loop", LOOPS)
def test_a_default_signal_taken_while_the_block_runs_is_not_put_back(program, loop):
    """A handler that the program sets inside the block, where the app had the signal, is still there afterwards."""
    source = """
    def own(*_): say("own")
    async def main():
        async with app:
            signal.signal(signal.SIGTERM, own)
        say(signal.getsignal(signal.SIGTERM) is own)
    run(main())
    """
    assert [*HOOKS_RAN, "True"] == _program(program, source, loop).end().lines


def test_a_signal_taken_by_the_loop_while_the_block_runs_is_not_put_back(program):
    """A handler that the program gives to the loop inside the block is still there afterwards."""
    source = """
    async def main():
        async with app:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, say, "own")
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
    run(main())
    """
    assert [*HOOKS_RAN, "own"] == _program(program, source, "asyncio").end().lines


@pytest.mark.parametrize("loop", LOOPS)
def test_blocks_that_are_left_in_the_order_they_were_entered(program, loop):
    """Whichever block is left first, SIGTERM has its default action in the end."""
    source = """
    async def block(app, leave):
        async with app:
            await leave.wait()
    async def main():
        leave = asyncio.Event(), asyncio.Event()
        tasks = []
        for each in leave:
            tasks.append(asyncio.create_task(block(App("one"), each)))
            await asyncio.sleep(0.02)
        for each, task in zip(leave, tasks):
            each.set()
            await task
        say(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    run(main())
    """
    ended = _program(program, source, loop).end()
    assert ["True"] == ended.lines, ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_two_blocks_in_one_loop(program, loop):
    """The signal stops the block that took it and is told to the other; afterwards it has its default action again."""
    source = """
    other = App("other", grace=3)
    other.on_shutdown(lambda: say("other closed"))
    async def main():
        try:
            async with app:
                async with other:
                    say("up")
                    await asyncio.sleep(60)
        except Interrupted as error:
            say("interrupted", error.signal.name)
        say(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    run(main())
    """
    ended = _program(program, source, loop).wait_for("up").send(signal.SIGTERM).end()
    assert sorted([*HOOKS_RAN, "other closed"]) == sorted(ended.lines[1:-2]), ended.err
    assert ["interrupted SIGTERM", "True", 0] == [*ended.lines[-2:], ended.status], ended.err


# --- Ctrl-C under asyncio.run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_c_under_asyncio_run(program, loop):
    """The first cancels the block and the hooks run; the process dies by SIGINT."""
    source = """
    async def main():
        async with app:
            say("up")
            await asyncio.sleep(60)
    run(main())
    """
    ended = _program(program, source, loop).wait_for("up").send(signal.SIGINT).end()
    assert ["up", *HOOKS_RAN] == ended.lines, ended.err
    assert -signal.SIGINT == ended.status


@pytest.mark.parametrize("loop", LOOPS)
def test_three_ctrl_c_under_asyncio_run(program, loop):
    """The second hurries a hook that would take long, the third ends the process and names what ran."""
    source = """
    app = App("site", grace=30, debounce=0)
    @app.on_shutdown
    async def slow():
        say("closing")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            say("hurried")
            await asyncio.sleep(60)
    async def main():
        async with app:
            say("up")
            await asyncio.sleep(60)
    run(main())
    """
    running = _program(program, source, loop).wait_for("up").send(signal.SIGINT).wait_for("closing")
    running.send(signal.SIGINT).wait_for("hurried").send(signal.SIGINT)
    ended = running.end()
    assert -signal.SIGINT == ended.status, ended.err
    assert ended.took < 2
    assert "hook slow" in ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_sigterm_amid_the_cleanup_changes_nothing(program, loop):
    """SIGTERM while the app stops already for another reason: recorded, and the hooks run to their end."""
    source = """
    @app.on_shutdown
    async def slow():
        say("closing")
        await asyncio.sleep(0.2)
        say("slow closed")
    async def main():
        try:
            async with app:
                app.stop()
                await asyncio.sleep(60)
        finally:
            say([cause.signal for cause in app.report.causes])
    run(main())
    """
    ended = _program(program, source, loop).wait_for("closing").send(signal.SIGTERM).end()
    assert ["drained True", "closing", "slow closed", "closed", "pool closed"] == ended.lines[:5], ended.err


def test_late_drain_hooks_of_an_announcement_run_once(program):
    """A program that handles SIGTERM itself, and then Ctrl-C twice: what has not begun by then is not begun twice."""
    source = """
ran = []
def make(number):
    async def hook():
        ran.append(number)
        await asyncio.sleep(60)
    return hook
async def main():
    async with (app := App("test", grace=8, debounce=0.05)):
        for number in range(60):
            app.on_shutdown(stage="drain")(make(number))
        say("ready")
        await asyncio.sleep(60)
signal.signal(signal.SIGTERM, lambda *_: asyncio.get_running_loop().call_later(0.1, say, "told"))
try:
    asyncio.run(main())
finally:
    say(len(ran), "of", len({*ran}))
"""
    started = program(source).wait_for("ready").send(signal.SIGTERM).wait_for("told")
    for _ in range(2):
        started.send(signal.SIGINT)
        time.sleep(0.3)  # not to synchronise: the debounce is a time
    assert "60 of 60" == started.end().lines[-1]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_block_is_left(program, loop, number):
    """The cleanup runs to its end, and then the process dies by it: the program would go on for ever otherwise."""
    source = (
        APP
        + """
@app.on_shutdown
async def last():
    say("leaving")
    await asyncio.sleep(0.5)
async def main():
    while True:  # connects again whenever the connection has ended
        async with app:
            await asyncio.sleep(0)
run(main())
"""
    )
    ended = program(source, loop=loop).wait_for("leaving").send(number).end()
    assert (-number, ["drained True", "leaving", "closed", "pool closed"]) == (ended.status, ended.lines)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_just_before_it_is_given_back(monkeypatch, loop):
    """The loop hears of it only in its next iterations, when the block no longer has the signal: it is not lost."""
    give_back = BlockGuard.give_back

    def raise_and_give_back(guard):
        signal.raise_signal(signal.SIGTERM)
        give_back(guard)

    async def main():
        async with App("site"):
            await asyncio.sleep(0)

    monkeypatch.setattr(BlockGuard, "give_back", raise_and_give_back)
    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner, pytest.raises(Interrupted) as raised:
        runner.run(main())

    assert signal.SIGTERM == raised.value.signal
    assert signal.SIG_DFL == signal.getsignal(signal.SIGTERM)
