"""sys.exit() and KeyboardInterrupt raised by code: the cleanup runs first, then the program exits that way."""

from __future__ import annotations

import asyncio
import functools
import re
import signal
import sys

import pytest
from support.failures import LIMIT, SHORT, Mine
from support.programs import LOOPS

from graceful import Interrupted

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


def leaving(app, way, leave):
    """A main, and what calls `leave` in this way."""

    async def leave_later():
        await asyncio.sleep(0)
        leave()

    async def lease():
        if way == "resource, first half":
            leave()
        yield
        leave()

    hooks = {
        "background": app.background,
        "on_signal": app.on_signal("USR1"),
        "drain hook": app.on_shutdown(stage="drain"),
        "on_exception": app.on_exception,
        "startup": app.on_startup,
        "cleanup hook": app.on_shutdown,
    }
    if way in hooks:
        hooks[way](leave_later)
    if way.startswith("resource"):
        app.resource(lease)

    async def main():
        loop = asyncio.get_running_loop()
        if way == "supervised":
            app.create_task(leave_later())
        elif way == "plain":
            asyncio.create_task(leave_later())
        elif way == "done callback":
            asyncio.create_task(asyncio.sleep(0)).add_done_callback(lambda _: leave())
        elif way == "timer":
            loop.call_later(0.01, leave)
        elif way == "job that is awaited":
            await asyncio.to_thread(leave)
        elif way == "job":
            main.held = loop.run_in_executor(None, leave)
        elif way == "pushed":
            app.push_async_callback(leave_later)
            return
        elif way == "on_signal":
            signal.raise_signal(signal.SIGUSR1)
        elif way == "on_exception":
            raise Mine
        elif way in ("drain hook", "resource, second half", "cleanup hook"):
            return
        await asyncio.sleep(LIMIT)

    return main


LEAVING = [
    "supervised", "plain", "background", "done callback", "timer", "job that is awaited", "job", "startup", "drain hook",
    "cleanup hook", "pushed", "on_signal", "resource, first half", "resource, second half",
    "on_exception",
]  # fmt: skip


@pytest.mark.parametrize("way", LEAVING)
@pytest.mark.parametrize(("code", "status"), [(7, 7), (None, 0), ("no", 1)])
def test_sys_exit_anywhere(app, way, code, status):
    """sys.exit() anywhere ends the program with its status, after the cleanup."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))
    with pytest.raises(SystemExit) as caught:
        app.run(leaving(app, way, functools.partial(sys.exit, code)))
    assert (code, status, [True]) == (caught.value.code, app.report.exit_status, closed)
    assert app.report.took < LIMIT / 2


@pytest.mark.parametrize(
    "way", [way for way in LEAVING if way != "on_exception"]
)  # there is an error, which outranks it
def test_keyboard_interrupt_raised_by_code_anywhere(app, new_loop, way):
    """KeyboardInterrupt raised by code is Ctrl-C, wherever it is raised: the cleanup runs, and death is by SIGINT."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))

    def leave():
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        app.run(leaving(app, way, leave), loop_factory=new_loop)
    assert (signal.SIGINT, -signal.SIGINT, [True]) == (caught.value.signal, app.report.exit_status, closed)
    assert app.report.took < LIMIT / 2


@pytest.mark.parametrize("way", ["first of two hooks", "last of two hooks", "on_exception"])
def test_an_error_outranks_a_keyboard_interrupt(app, new_loop, way):
    """An error is raised rather than a KeyboardInterrupt of a hook, whichever came first."""

    def leave():
        raise KeyboardInterrupt

    def close():
        raise Mine("a cleanup failed")

    if way == "on_exception":
        app.on_exception(leave)
    else:
        for hook in (close, leave) if way == "first of two hooks" else (leave, close):
            app.on_shutdown(hook)

    async def main():
        if way == "on_exception":
            raise Mine("main failed")

    with pytest.raises((Mine, Interrupted)) as caught:  # pytest would end at one that it does not expect
        app.run(main, loop_factory=new_loop)
    message = "main failed" if way == "on_exception" else "a cleanup failed"
    assert (Mine, message, 1) == (type(caught.value), str(caught.value), app.report.exit_status)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", ["supervised task", "on_signal", "job"])
def test_a_keyboard_interrupt_leaves_no_traceback(program, loop, way):
    """The process dies by SIGINT, and stderr is empty."""
    source = """
app = App("t", grace=3, patience=0.05)
def leave(*_): raise KeyboardInterrupt
async def leave_later(): leave()
app.on_signal("USR1")(leave)
async def main():
    {}
    await asyncio.sleep(5)
app.on_shutdown(lambda: say("closed"))
app.run(main, loop_factory=LOOP)
"""
    begin = {
        "supervised task": "app.create_task(leave_later())",
        "on_signal": "signal.raise_signal(signal.SIGUSR1)",
        "job": "held = asyncio.get_running_loop().run_in_executor(None, leave)",
    }
    ended = program(source.format(begin[way]), loop=loop).end()
    assert (-signal.SIGINT, ["closed"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("source", "status", "told"),
    [
        pytest.param(
            "async def main():\n    app.create_task(leave(7))\n    app.create_task(leave(8))\n    await leave(9)",
            9, ["SystemExit: 7", "SystemExit: 8"], id="main before tasks",
        ),
        pytest.param(
            "@app.on_shutdown\ndef close(): raise OSError('disk')\nasync def main(): sys.exit(7)",
            7, ["OSError: disk"], id="main before a hook's error",
        ),
        pytest.param(
            "@app.on_shutdown\ndef close(): sys.exit(7)\nasync def main(): raise OSError('disk')",
            1, ["OSError: disk", "SystemExit: 7"], id="an error before sys.exit",
        ),
        pytest.param(
            "@app.on_shutdown\ndef two(): sys.exit(8)\n@app.on_shutdown\ndef one(): sys.exit(7)\nasync def main(): pass",
            7, ["SystemExit: 8"], id="two hooks",
        ),
    ],
)  # fmt: skip
def test_of_several_exits_the_first_wins(program, loop, source, status, told):
    """The first exit or error decides the status, and stderr shows the others, each once."""
    prefix = "app = App('t', grace=3)\nasync def leave(status): sys.exit(status)\n"
    ended = program(prefix + source + "\napp.run(main, loop_factory=LOOP)", loop=loop).end()
    assert (status, told) == (ended.status, sorted(re.findall(r"(?:SystemExit|OSError): \w+", ended.err)))


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks came with 3.12")
def test_sys_exit_in_an_eager_first_step(app):
    """An eager main that calls sys.exit in its first step does not take the cleanup with it."""
    seen = []
    app.on_shutdown(lambda: seen.append("closed"))

    def factory():
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    async def main():
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        app.run(main, loop_factory=factory)
    assert (3, ["closed"]) == (caught.value.code, seen)


@pytest.mark.parametrize(
    ("code", "status"), [("-1", 255), ("256", 0), ("1000", 232), ("2 ** 70", 255), ("'text'", 1), ("True", 1)]
)
def test_the_report_says_what_the_parent_sees(program, code, status):
    """`report.exit_status` is the status that the parent sees, also where the operating system keeps 8 bits of it."""
    source = f"app = App()\nasync def main(): sys.exit({code})\n"
    source += "try: app.run(main)\nfinally: say(app.report.exit_status)"
    ended = program(source).end()
    assert (status, [str(status)]) == (ended.status, ended.lines)
