"""`run()` in a program that handles a stopping signal by itself: the signal is the program's, and SIGTERM is announced."""

from __future__ import annotations

import signal
import textwrap

import pytest
from support.programs import LOOPS

APP = """
app = App("shop", grace=1)

@app.on_shutdown(stage="drain")
def drain():
    say("drained", app.stopping)

@app.on_shutdown
def close():
    say("closed")
"""

#: Two ways for main to take a signal while the app runs.
TAKE = {
    "signal.signal": "signal.signal(number, lambda *_: function())",
    "add_signal_handler": "asyncio.get_running_loop().add_signal_handler(number, function)",
}


def _program(program, source, loop, before=""):
    return program(before + APP + textwrap.dedent(source), loop=loop)


def _take(way):
    return f"\ndef take(number, function):\n    {TAKE[way]}\n"


# --- taken before run() ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_a_reload_that_was_set_before(program, loop):
    """SIGHUP with a handler from before run() reloads, however often; the app does not stop."""
    source = """
    signal.signal(signal.SIGHUP, lambda *_: say("reloaded"))
    async def main():
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(0.01)
        return app.stopping
    say(app.run(main, loop_factory=LOOP))
    """
    ended = _program(program, source, loop).end()
    assert [*["reloaded"] * 3, "drained True", "closed", "False"] == ended.lines, ended.err
    assert (0, "") == (ended.status, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_exit_that_was_set_before(program, loop):
    """SIGTERM with `sys.exit(0)` from before run(): the hooks run, and the status is that of the exit."""
    source = """
    def leave(*_): sys.exit(4)
    signal.signal(signal.SIGTERM, leave)
    async def main():
        say("up")
        await asyncio.sleep(60)
    try:
        app.run(main, loop_factory=LOOP)
    finally:
        say(signal.getsignal(signal.SIGTERM) is leave)
    """
    ended = _program(program, source, loop).wait_for("up").send(signal.SIGTERM).end()
    assert ["up", "drained True", "closed", "True"] == ended.lines, ended.err
    assert 4 == ended.status


@pytest.mark.parametrize("loop", LOOPS)
def test_named_signals_are_taken_and_given_back(program, loop):
    """Named in App(signals=...) a signal is the app's for the run, and the program's handler is there again afterwards."""
    source = """
    app = App("named", signals=[signal.SIGTERM, signal.SIGHUP])
    def own(number, frame): say("own", number)
    signal.signal(signal.SIGHUP, own)
    async def main():
        say(signal.getsignal(signal.SIGHUP) is own)
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(60)
    try:
        app.run(main, loop_factory=LOOP)
    except Interrupted as error:
        say(error.signal.name)
    say(app.report.cause.signal.name, signal.getsignal(signal.SIGHUP) is own)
    """
    ended = _program(program, source, loop).end()
    assert "False" == ended.lines[0]
    assert "SIGHUP True" == ended.lines[-1], ended.err
    assert not any(line.startswith("own") for line in ended.lines)


# --- taken while the app runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", TAKE)
def test_three_reloads(program, loop, way):
    """SIGHUP that main has taken reloads, three times: no deadline begins, no forced end, and work goes on."""
    source = """
    async def main():
        take(signal.SIGHUP, lambda: say("reloaded"))
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.6)  # longer than debounce, and together longer than grace
        return app.stopping
    say(app.run(main, loop_factory=LOOP))
    """
    ended = _program(program, source, loop, _take(way)).end()
    assert [*["reloaded"] * 3, "drained True", "closed", "False"] == ended.lines, ended.err
    assert (0, "") == (ended.status, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", TAKE)
def test_a_sigterm_that_main_has_taken_is_announced(program, loop, way):
    """The app is told: sleep() wakes, drain hooks run once; nothing is cancelled, and main works on past the grace."""
    source = """
    async def main():
        take(signal.SIGTERM, lambda: None)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        say("slept", await app.sleep(60), "stopping", app.stopping)
        await asyncio.sleep(1.6)
        return "worked on"
    say(app.run(main, loop_factory=LOOP))
    say(app.report.cause.signal.name, app.report.exit_status)
    """
    ended = _program(program, source, loop, _take(way)).end()
    assert ["slept False stopping True", "drained True", "closed", "worked on", "SIGTERM 0"] == ended.lines, ended.err
    assert (0, "") == (ended.status, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", TAKE)
def test_a_ctrl_c_of_what_has_sigterm_too(program, loop, way):
    """One handler for SIGINT and SIGTERM stops the program by both, as a server's does: SIGINT is announced as well."""
    if (loop, way) == ("uvloop", "add_signal_handler"):
        pytest.skip("uvloop does not show what handles a signal")
    source = """
    async def main():
        def stop(): say("handled")
        def on_stop(*_): stop()
        handler = on_stop if WAY == "signal.signal" else stop
        for number in signal.SIGINT, signal.SIGTERM:
            take(number, handler)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
        say("slept", await app.sleep(60), "stopping", app.stopping)
        return "worked on"
    say(app.run(main, loop_factory=LOOP))
    say(app.report.cause.signal.name, app.report.exit_status)
    """
    take = f"WAY = {way!r}" + _take(way).replace("lambda *_: function()", "function")
    ended = _program(program, source, loop, take).end()
    assert "handled" in ended.lines, ended.err
    seen = [line for line in ended.lines if line != "handled"]
    assert ["slept False stopping True", "drained True", "closed", "worked on", "SIGINT 0"] == seen, ended.err
    assert (0, "") == (ended.status, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", TAKE)
def test_a_ctrl_c_of_its_own(program, loop, way):
    """A handler for SIGINT beside another one for SIGTERM cancels what it likes: the app is not told, and goes on."""
    source = """
    async def main():
        cancelled = asyncio.Event()
        take(signal.SIGTERM, lambda: None)
        take(signal.SIGINT, cancelled.set)
        os.kill(os.getpid(), signal.SIGINT)
        await cancelled.wait()
        say("slept", await app.sleep(0.2), "stopping", app.stopping)
    app.run(main, loop_factory=LOOP)
    """
    ended = _program(program, source, loop, _take(way)).end()
    assert ["slept True stopping False", "drained True", "closed"] == ended.lines, ended.err
    assert (0, "") == (ended.status, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", TAKE)
def test_the_taker_is_named(program, loop, way):
    """If the signal has not led to a shutdown after 2 s, one warning says who has it and what to do."""
    source = """
    def on_term(*_): say("taken")
    async def main():
        take(signal.SIGTERM, on_term)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(1.2)
        await asyncio.sleep(0.5)
    app.run(main, loop_factory=LOOP)
    """
    take = _take(way).replace("lambda *_: function()", "function")
    ended = _program(program, source, loop, take).end()
    assert ["closed", "drained True", "taken", "taken"] == sorted(ended.lines), ended.err
    (warning,) = ended.err.splitlines()
    who = "on_term (program0.py:"
    if (loop, way) == ("uvloop", "add_signal_handler"):  # which does not show it
        who = "a handler set with loop.add_signal_handler()"
    cure = "if that does not end the program, call app.stop() there, or leave the signal to the app"
    assert warning.startswith(f"shop still runs 2 s after SIGTERM, which {who}")
    assert warning.endswith(f" handles: {cure}")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_that_is_raised_again_twice(program, loop):
    """A library captures SIGTERM twice, gives it back and raises both again, as servers do: one request, hooks once."""
    source = """
    async def main():
        captured = []
        before = signal.signal(signal.SIGTERM, lambda number, _: captured.append(number))
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.6)
        signal.signal(signal.SIGTERM, before)
        for number in captured:
            signal.raise_signal(number)
        say("raised again", len(captured))
        await asyncio.sleep(60)
    app.run(main, loop_factory=LOOP)
    """
    ended = _program(program, source, loop).end()
    assert ["drained True", "raised again 2", "closed"] == ended.lines, ended.err
    assert "" == ended.err


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", TAKE)
def test_a_taker_that_stops_the_app(program, loop, way):
    """The cure that the warning names: app.stop() in the handler; it is an ordinary shutdown, and the status is 0."""
    source = """
    async def main():
        take(signal.SIGTERM, app.stop)
        say("up")
        await asyncio.sleep(60)
    app.run(main, loop_factory=LOOP)
    """
    ended = _program(program, source, loop, _take(way)).wait_for("up").send(signal.SIGTERM).end()
    assert ["up", "drained True", "closed"] == ended.lines, ended.err
    assert "" == ended.err


def test_a_handler_that_the_loop_gives_up(program):
    """remove_signal_handler gives SIGUSR1 back and the wakeup fd stays the app's: SIGTERM reaches a blocked main at once."""
    source = """
    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, say, "told")
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0.05)
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd)
        say(loop.remove_signal_handler(signal.SIGUSR1), loop.remove_signal_handler(signal.SIGUSR1))
        after = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(after)
        say(fd == after, fd != loop._csock.fileno())
    app.run(main)
    say(signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL, signal.set_wakeup_fd(-1))
    """
    ended = _program(program, source, "asyncio").end()
    assert ["told", "True False", "True True", "drained True", "closed", "True -1"] == ended.lines, ended.err


def test_the_wakeup_fd_of_the_program_hears_every_signal(program):
    """Whoever had the wakeup fd before run() misses no signal that comes in the last moment of it."""
    source = """
    import socket
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.fileno())
    signal.signal(signal.SIGUSR1, lambda *_: None)
    async def main():
        os.kill(os.getpid(), signal.SIGUSR1)
    heard = 0
    for _ in range(50):
        App("short").run(main, loop_factory=LOOP)
        heard += reading.recv(100).count(signal.SIGUSR1)
    say(heard, signal.set_wakeup_fd(-1) == writing.fileno())
    """
    ended = _program(program, source, "asyncio").end()
    assert ["50 True"] == ended.lines, ended.err


def test_a_wakeup_fd_that_was_closed_meanwhile(program):
    """The wakeup fd of before is gone when it is to be given back: the run ends as it would have."""
    source = """
    import socket
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.fileno())
    async def main():
        writing.close()
        return "result"
    say(app.run(main, loop_factory=LOOP))
    """
    ended = _program(program, source, "asyncio").end()
    assert ["drained True", "closed", "result"] == ended.lines, ended.err
