"""Forked children: signals kill them by default, and they run no hook of their parent."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from support.programs import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_forked_child_dies_by_default(program, loop, number, how):
    """A signal to a forked child kills it, runs no hook of the parent's in either process, and the parent lives on."""
    source = f"""
import warnings, multiprocessing
warnings.simplefilter("ignore")
app = App()
@app.on_shutdown
def close(): say("closed in", "parent" if os.getpid() == parent else "child")
parent = os.getpid()
def child():
    say("child runs")
    time.sleep(60)
async def main():
    if {how!r} == "os.fork":
        pid = os.fork()
        if not pid:
            try: child()
            finally: os._exit(99)
    else:
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        pid = process.pid
    while not os.path.exists(sys.argv[1]): await asyncio.sleep(0.01)
    os.kill(pid, {int(number)})
    say(os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1]))
    await asyncio.sleep(0.1)
    return "parent lives"
say(app.run(main, loop_factory=LOOP))
"""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        go = os.path.join(folder, "go")
        started = program(source, loop=loop, args=[go]).wait_for("child runs")
        open(go, "w").close()
        ended = started.end()
    expected = ["child runs", str(-number), "closed in parent", "parent lives"]
    assert (0, expected, "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize(("leave", "status"), [("sys.exit(3)", 3), ("return", 0), ("raise ValueError", 1)])
def test_a_forked_child_that_leaves_main_runs_no_hooks(program, loop, leave, status):
    """However a forked child leaves main, it ends there and runs no hook."""
    source = f"""
import warnings
warnings.simplefilter("ignore")
app = App()
@app.on_shutdown
def close(): say("closed in", "parent" if os.getpid() == parent else "child")
parent = os.getpid()
async def main():
    pid = os.fork()
    if not pid: {leave}
    say(os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1]))
app.run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).end()
    assert (0, [str(status), "closed in parent"]) == (ended.status, ended.lines)
    assert (leave == "raise ValueError") == ("Traceback" in ended.err)


@pytest.mark.parametrize(("leave", "status"), [("sys.exit(4)", 4), ("pass", 0)])
@pytest.mark.parametrize("where", ["on_startup", "resource, before", "resource, after", "on_shutdown"])
def test_a_forked_child_of_a_hook(program, loop, where, leave, status):
    """A child that leaves a hook ends there, runs no further hook nor main, and leaves the parent its loop."""
    decorator, _, half = where.partition(", ")
    source = f"""
import warnings
warnings.simplefilter("ignore")
app = App()
parent = os.getpid()
@app.on_shutdown
async def last():
    began = time.monotonic()
    await asyncio.to_thread(time.sleep, 0.05)
    say("last in", "parent" if os.getpid() == parent else "child", time.monotonic() - began < 2)
@app.background
async def work():
    if os.getpid() != parent: say("work in child")
@app.{decorator}
async def fork():
    {"yield" if half == "after" else ""}
    pid = os.fork()
    if not pid: {leave}
    else: say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    {"yield" if half == "before" else ""}
app.run(asyncio.sleep(0), loop_factory=LOOP)
"""
    ended = program(source, loop=loop).end()
    assert (0, [str(status), "last in parent True"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("hook", signal.SIGALRM),
        pytest.param(
            *("atexit", signal.SIGTERM),
            marks=pytest.mark.skipif(
                sys.version_info[:2] == (3, 12), reason="3.12 does not fork in an atexit callback"
            ),
        ),
    ],
)
def test_a_child_forked_late_dies_by_default(program, loop, where, number):
    """Handlers installed only for a shutdown, or for the end by a signal, are reset in a forked child, too."""
    source = f"""
import atexit, warnings
warnings.simplefilter("ignore")
app = App(grace=5)
def fork():
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, b"x")
            time.sleep(3)
        finally: os._exit(99)
    os.read(reading, 1)
    os.kill(pid, {int(number)})
    say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
{"app.on_shutdown" if where == "hook" else "atexit.register"}(fork)
async def main():
    say("ready")
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (-15, ["ready", str(-number)], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize(
    ("code", "status", "says"), [("'child says no'", 1, "child says no\n"), (-1, 255, ""), (256, 0, "")]
)
def test_a_forked_child_that_exits_with_a_text(program, loop, code, status, says):
    """What a forked child gives to `sys.exit()` in main is printed, or becomes its status, as in any process."""
    source = f"""
import warnings
warnings.simplefilter("ignore")
async def main():
    pid = os.fork()
    if not pid: sys.exit({code})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
say(graceful.run(main(), loop_factory=LOOP))
"""
    ended = program(source, loop=loop).end()
    assert (0, [str(status)], says) == (ended.status, ended.lines, ended.err)


def test_a_forked_child_that_raises_an_exception_that_is_false(program, loop):
    """Its status is 1, as that of any other."""
    ended = program(
        """
        class Falsy(Exception):
            def __len__(self): return 0
        async def main():
            child = os.fork()
            if not child:
                raise Falsy("none")
            say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        App().run(main, loop_factory=LOOP)
        """,
        loop=loop,
    ).end()

    assert ["1"] == ended.lines
