"""The table of how it ends: what happened, what `run()` does, and the status that the parent sees."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
from support.programs import LOOPS, PRELUDE

pytestmark = pytest.mark.parametrize("loop", LOOPS)


SERVICE = """
app = App("service", grace=3)

@app.on_shutdown
async def close():
    await asyncio.sleep(0.01)
    say("closed")

"""


WORK = """
async def main():
    say("ready")
    await asyncio.sleep(60)

app.run(main, loop_factory=LOOP)
"""


def test_main_returns(program, loop):
    """A main that returns gives its result to the caller of run(), after the cleanup, and the status is 0."""
    source = "async def main(): return 'result'\nsay(app.run(main, loop_factory=LOOP))"
    ended = program(SERVICE + source, loop=loop).end()
    assert (0, ["closed", "result"], "") == (ended.status, ended.lines, ended.err)


def test_stop_is_no_error(program, loop):
    """stop() ends the program with None and status 0, whatever main was doing."""
    source = """
async def main():
    app.stop()
    await asyncio.sleep(60)
say(app.run(main, loop_factory=LOOP))
"""
    ended = program(SERVICE + source, loop=loop).end()
    assert (0, ["closed", "None"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_service_without_main_is_stopped_cleanly(program, loop, number):
    """SIGTERM or SIGHUP to a program without a main ends it with None and status 0."""
    source = """
@app.on_startup
def ready(): asyncio.get_running_loop().call_soon(say, "ready")
say(app.run(loop_factory=LOOP))
"""
    ended = program(SERVICE + source, loop=loop).wait_for("ready").send(number).end()
    assert (0, ["ready", "closed", "None"], "") == (ended.status, ended.lines, ended.err)


def test_a_doubled_signal_changes_nothing(program, loop):
    """A second SIGTERM while the process already ends changes nothing: status 0, and callbacks and buffers are not lost."""
    source = """
import atexit
atexit.register(say, "atexit")
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
@app.on_startup
def ready(): asyncio.get_running_loop().call_soon(say, "ready")
app.run(loop_factory=LOOP)
print("in the buffer")
"""
    ended = program(SERVICE + source, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    expected = (0, ["atexit", "closed", "in the buffer", "ready"], "")
    assert expected == (ended.status, sorted(ended.lines), ended.err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_work_cut_short_dies_by_the_signal(program, loop, number):
    """If main was not finished the process dies by the signal itself, after the cleanup, without a traceback."""
    ended = program(SERVICE + WORK, loop=loop).wait_for("ready").send(number).end()
    assert (-number, ["ready", "closed"], "") == (ended.status, ended.lines, ended.err)


def test_ctrl_c_without_main_dies_by_it_too(program, loop):
    """SIGINT is always an interruption, so that a shell loop stops."""
    source = """
@app.on_startup
def ready(): asyncio.get_running_loop().call_soon(say, "ready")
app.run(loop_factory=LOOP)
"""
    ended = program(SERVICE + source, loop=loop).wait_for("ready").send(signal.SIGINT).end()
    assert (-signal.SIGINT, ["ready", "closed"], "") == (ended.status, ended.lines, ended.err)


def test_main_that_ends_by_itself_returns_its_result(program, loop):
    """A main that waits in app.sleep() ends by itself on SIGTERM, and its result is returned."""
    source = """
async def main():
    asyncio.get_running_loop().call_soon(say, "ready")
    while await app.sleep(60): pass
    await asyncio.sleep(0.05)  # not cancelled: a task that waited in app.sleep() is given time
    return "all done"
say(app.run(main, loop_factory=LOOP))
"""
    ended = program(SERVICE + source, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (0, ["ready", "closed", "all done"], "") == (ended.status, ended.lines, ended.err)


WAYS_TO_FAIL = {
    "main": "async def main(): raise ValueError('mine')",
    "supervised task": """
async def fail(): raise ValueError('mine')
async def main():
    app.create_task(fail())
    await asyncio.sleep(60)
""",
    "background": """
@app.background
async def fail(): raise ValueError('mine')
async def main(): await asyncio.sleep(60)
""",
    "task that is held": """
async def fail(): raise ValueError('mine')
async def main():
    held = asyncio.create_task(fail())
    await asyncio.sleep(60)
""",
    "callback": """
def fail(): raise ValueError('mine')
async def main():
    asyncio.get_running_loop().call_later(0.01, fail)
    await asyncio.sleep(60)
""",
    "startup": """
@app.on_startup
async def fail(): raise ValueError('mine')
async def main(): say("never")
""",
}


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_a_failure_is_raised_with_its_traceback(program, loop, way):
    """Whatever fails: run() raises that exception after the cleanup, the status is 1, the traceback is the user's."""
    source = WAYS_TO_FAIL[way] + "\napp.run(main, loop_factory=LOOP)"
    ended = program(SERVICE + source, loop=loop, env={"GRACEFUL_TEST": way}).end()
    assert (1, ["closed"]) == (ended.status, ended.lines)
    assert 1 == ended.err.count("Traceback")
    assert "ValueError: mine" in ended.err
    assert "raise ValueError('mine')" in ended.err


def test_a_failed_hook_is_raised_and_noted(program, loop):
    """One failed hook: run() raises its exception, with a note that names the hook; the others ran."""
    source = """
@app.on_shutdown
async def break_down(): raise RuntimeError("broken")
app.run(asyncio.sleep(0), loop_factory=LOOP)
"""
    ended = program(SERVICE + source, loop=loop).end()
    assert (1, ["closed"]) == (ended.status, ended.lines)
    assert "RuntimeError: broken\nin cleanup hook break_down (" in ended.err


def test_several_failed_hooks_come_as_one_group(program, loop):
    """Several failed hooks: one ExceptionGroup with all of them."""
    source = """
@app.on_shutdown
async def one(): raise RuntimeError("first broken")
@app.on_shutdown
def two(): raise OSError("second broken")
try:
    app.run(asyncio.sleep(0), loop_factory=LOOP)
except ExceptionGroup as group:
    say([type(each).__name__ for each in group.exceptions])
"""
    ended = program(SERVICE + source, loop=loop).end()
    assert (0, ["closed", "['OSError', 'RuntimeError']"], "") == (ended.status, ended.lines, ended.err)


def test_a_failed_cleanup_takes_precedence_over_the_signal(program, loop):
    """A hook that fails after SIGTERM makes the status 1: a parent must not take it for a clean end."""
    source = "@app.on_shutdown\nasync def bad(): raise RuntimeError('broken')\n" + WORK
    ended = program(SERVICE + source, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (1, ["ready", "closed"]) == (ended.status, ended.lines)
    assert "RuntimeError: broken" in ended.err


def test_main_and_a_hook_fail(program, loop):
    """Main's exception is the one that is raised; the hook's is chained to it and shown as well."""
    source = """
@app.on_shutdown
async def bad(): raise RuntimeError('second')
async def main(): raise ValueError('first')
app.run(main, loop_factory=LOOP)
"""
    ended = program(SERVICE + source, loop=loop).end()
    assert (1, ["closed"]) == (ended.status, ended.lines)
    assert "RuntimeError: second" in ended.err
    assert ended.err.rstrip().endswith("ValueError: first")


EXITS = {
    "main": "async def main(): sys.exit(7)",
    "task": """
async def leave(): sys.exit(7)
async def main():
    asyncio.create_task(leave())
    await asyncio.sleep(60)
""",
    "callback": """
async def main():
    asyncio.get_running_loop().call_soon(sys.exit, 7)
    await asyncio.sleep(60)
""",
    "hook": """
@app.on_shutdown
async def leave(): sys.exit(7)
async def main(): pass
""",
    "startup": """
@app.on_startup
def leave(): sys.exit(7)
async def main(): say("never")
""",
}


@pytest.mark.parametrize("way", EXITS)
def test_sys_exit_exits_with_its_status_after_the_cleanup(program, loop, way):
    """sys.exit(n) anywhere: the cleanup runs, then the status is n."""
    ended = program(SERVICE + EXITS[way] + "\napp.run(main, loop_factory=LOOP)", loop=loop).end()
    assert (7, ["closed"], "") == (ended.status, ended.lines, ended.err)


def test_of_several_sys_exits_the_first_wins(program, loop):
    """Of two sys.exit() the first one decides the status, and stderr has a line about the other."""
    source = """
@app.on_shutdown
async def leave(): sys.exit(9)
async def main(): sys.exit(7)
app.run(main, loop_factory=LOOP)
"""
    ended = program(SERVICE + source, loop=loop).end()
    assert (7, ["closed"]) == (ended.status, ended.lines)
    assert "SystemExit: 9" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("way", ["main", "task", "callback", "hook"])
def test_keyboard_interrupt_raised_by_code_is_sigint(program, loop, way):
    """KeyboardInterrupt raised by code ends the program as Ctrl-C does."""
    source = (
        EXITS[way]
        .replace("sys.exit(7)", "raise KeyboardInterrupt")
        .replace("call_soon(sys.exit, 7)", "call_soon(exec, 'raise KeyboardInterrupt')")
    )
    ended = program(SERVICE + source + "\napp.run(main, loop_factory=LOOP)", loop=loop).end()
    assert (-signal.SIGINT, ["closed"], "") == (ended.status, ended.lines, ended.err)


def test_a_caught_interruption_lets_the_program_live(program, loop):
    """`except KeyboardInterrupt` catches it; the program goes on and chooses its own status."""
    source = (
        SERVICE
        + WORK.replace("app.run(main", "hook = sys.excepthook\ntry:\n    app.run(main")
        + (
            "\nexcept KeyboardInterrupt as error:\n    say(type(error).__name__, error.signal.name)\n"
            "say(sys.excepthook is hook)\nsys.exit(5)"
        )
    )
    ended = program(source, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert (5, ["ready", "closed", "Interrupted SIGTERM", "True"], "") == (ended.status, ended.lines, ended.err)


def test_dying_by_the_signal_comes_last(program, loop):
    """atexit callbacks, non-daemon threads, stdio and logging buffers: all are done before the process dies by it."""
    source = """
import atexit, logging.handlers
target = logging.FileHandler(os.devnull)
target.emit = lambda record: say("logged", record.getMessage())
logging.getLogger("x").addHandler(logging.handlers.MemoryHandler(100, target=target))
logging.getLogger("x").warning("buffered")
atexit.register(say, "atexit")
def work():
    main.join()
    say("thread")
main = threading.main_thread()
threading.Thread(target=work).start()
print("in the buffer")
"""
    ended = program(SERVICE + source + WORK, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert -signal.SIGTERM == ended.status
    assert sorted(["ready", "closed", "thread", "atexit", "logged buffered", "in the buffer"]) == sorted(ended.lines)
    assert ended.err == ""


AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare for a PID namespace"
)


@AS_ROOT
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pid_1_exits_with_128_plus_n(tmp_path, loop, number):
    """As PID 1, where no signal of its own can kill it, the status is 128+n."""
    script = tmp_path / "init.py"
    script.write_text(
        PRELUDE
        + SERVICE
        + f"""
async def main():
    assert os.getpid() == 1
    os.kill(1, {int(number)})
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
    )
    ended = run_as_pid_1(script, loop)
    assert (128 + number, "closed\n", "") == (ended.returncode, ended.stdout, ended.stderr)


@AS_ROOT
def test_pid_1_is_ended_by_the_third_ctrl_c_after_the_run(tmp_path, loop):
    """The third Ctrl-C, while atexit callbacks run, ends it at once with 130."""
    script = tmp_path / "init.py"
    script.write_text(
        PRELUDE
        + """
import atexit
@atexit.register
def slow():
    for _ in range(2):
        time.sleep(0.1)  # not to synchronise: the debounce is a time
        os.kill(1, signal.SIGINT)
    say("goes on")
    time.sleep(60)
app = App(grace=20, debounce=0.05)
async def main():
    os.kill(1, signal.SIGINT)
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
    )
    ended = run_as_pid_1(script, loop)
    assert (130, "", "") == (ended.returncode, ended.stdout, ended.stderr)


def run_as_pid_1(script, loop):
    """Run it with the status and the output that its parent sees."""
    command = ["unshare", "-pf", "--mount-proc", sys.executable, str(script)]
    if subprocess.run([*command[:-2], "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespaces here")
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, env={**os.environ, "TEST_LOOP": loop}
    )


def test_under_coverage_the_data_is_written(program, loop, tmp_path):
    """A measured program that dies by a signal leaves its data behind."""
    pytest.importorskip("coverage")
    source = "import coverage\nmeasured = coverage.Coverage(data_file=os.environ['DATA'])\nmeasured.start()\n"
    source += "import atexit\natexit.register(lambda: (measured.stop(), measured.save()))\n"
    data = tmp_path / "data"
    ended = program(source + SERVICE + WORK, loop=loop, env={"DATA": str(data)}).wait_for("ready")
    ended = ended.send(signal.SIGTERM).end()
    assert -signal.SIGTERM == ended.status
    assert data.stat().st_size > 0
