"""Signals at every moment, in every number and mix; what is inherited, what is forked, and what is given back."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import LOOPS, PRELUDE

pytestmark = pytest.mark.parametrize("loop", LOOPS)

#: A cleanup that waits for the test to write to the program's stdin; it prints how many requests there were.
HELD = """
app = App("held", grace=5, debounce=0.2)

@app.on_shutdown
async def last(): say("last")

@app.on_shutdown
async def hold():
    say("holding")
    while not os.path.exists(sys.argv[1]):
        await asyncio.sleep(0.01)
    say("held")

@app.on_startup
def ready(): asyncio.get_running_loop().call_soon(say, "ready")

async def main(): await asyncio.sleep(60)
"""
RUN = "app.run(main, loop_factory=LOOP)\n"


def test_before_the_loop_runs(program, loop):
    """A signal between the installation of the handlers and the loop's start: startup is skipped, the status is right."""
    source = """
app = App()
@app.on_startup
def start(): say("never")
@app.on_shutdown
def not_owed(): say("never")
app2 = App()
@app2.on_shutdown
def owed(): say("owed")
def factory():
    os.kill(os.getpid(), signal.SIGTERM)
    return (LOOP or asyncio.new_event_loop)()
async def main(): say("never")
for each in (app, app2):
    try: each.run(main, loop_factory=factory)
    except Interrupted as error: say(error.signal.name, [o.verdict.value for o in each.report.outcomes])
"""
    ended = program(source, loop=loop).end()
    assert (0, ["SIGTERM ['skipped']", "owed", "SIGTERM ['ok']"], "") == (ended.status, ended.lines, ended.err)


def test_during_startup(program, loop):
    """A signal during a startup hook: it is cancelled, what was started is cleaned up, the rest never ran."""
    source = """
app = App()
@app.resource
async def entered():
    say("entered")
    yield
    say("exited")
@app.on_startup
async def slow():
    try:
        say("starting")
        await asyncio.sleep(60)
    finally:
        say("broken off")
@app.on_shutdown
def not_owed(): say("never")
@app.resource
async def after():
    say("never")
    yield
async def main(): say("never")
app.run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).wait_for("starting").send(signal.SIGTERM).end()
    assert (-15, ["entered", "starting", "broken off", "exited"], "") == (ended.status, ended.lines, ended.err)


def test_after_the_loop_stopped(program, loop):
    """A signal after the life is over and before run() has given the handlers back is not swallowed."""
    source = """
app = App()
def factory():
    made = (LOOP or asyncio.new_event_loop)()
    class Closing:
        def __getattr__(self, name): return getattr(made, name)
    close = made.close
    return made
import graceful._runner as runner
original = runner.Runner._drive
def drive(self, loop, main):
    original(self, loop, main)
    os.kill(os.getpid(), signal.SIGTERM)
runner.Runner._drive = drive
app.run(asyncio.sleep(0), loop_factory=LOOP)
"""
    ended = program(source, loop=loop).end()
    assert (-15, "") == (ended.status, ended.err)


def test_the_same_request_twice(program, loop, tmp_path):
    """One Ctrl-C that arrives twice, or as INT and TERM from a wrapper, is one request: the hook runs to its end."""
    go = tmp_path / "go"
    started = program(HELD + RUN, loop=loop, args=[str(go)]).wait_for("ready")
    started.send(signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP).wait_for("holding")
    go.touch()
    ended = started.end()
    assert (["ready", "holding", "held", "last"], "") == (ended.lines, ended.err)
    assert ended.status in (-2, -15, -1)  # which of those sent together comes first is the kernel's choice


def test_the_second_request_hurries(program, loop, tmp_path):
    """A second request gives all cleanup hooks together 2 s: one that hangs is given up, the others still run."""
    started = program(HELD.replace("grace=5", "grace=60") + RUN, loop=loop, args=[str(tmp_path / "never")])
    started.wait_for("ready").send(signal.SIGINT).wait_for("holding")
    time.sleep(0.3)  # not to synchronise: the debounce is a time
    ended = started.send(signal.SIGTERM).end()
    assert (1, ["ready", "holding", "last"]) == (ended.status, ended.lines)
    assert "hold was not done after" in ended.err
    assert ended.took < 2 + 1


def test_the_third_request_forces(program, loop, tmp_path):
    """A third request ends the process at once, by that signal, and stderr says what was still running and where."""
    started = program(
        HELD.replace("grace=5", "grace=60").replace("sleep(0.01)", "sleep(60)") + RUN,
        loop=loop,
        args=[str(tmp_path / "never")],
    )
    started.wait_for("ready").send(signal.SIGINT).wait_for("holding")
    time.sleep(0.3)
    started.send(signal.SIGINT)
    time.sleep(0.3)
    ended = started.send(signal.SIGTERM).end()
    assert (-15, ["ready", "holding"]) == (ended.status, ended.lines)
    assert "before its cleanup was over; still running:" in ended.err
    assert "hook hold (" in ended.err
    assert "s at asyncio/tasks.py:" in ended.err
    assert "in hold" in ended.err
    assert 2 == len(ended.err.splitlines()), ended.err
    assert ended.took < 1


@pytest.mark.parametrize(("requests", "status", "ends"), [(2, -signal.SIGINT, True), (3, -signal.SIGTERM, False)])
def test_requests_after_the_interruption(program, loop, requests, status, ends):
    """A second request while an uncaught Interrupted ends the process lets atexit callbacks run; a third does not."""
    source = f"""
import atexit
app = App(grace=5, debounce=0.1)
@atexit.register
def slow():
    say("ending")
    time.sleep({1.3 if ends else 30})
    say("ended")
async def main():
    say("ready")
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
    started = program(source, loop=loop).wait_for("ready").send(signal.SIGINT).wait_for("ending")
    for pause in (0.7, 0.3)[: requests - 1]:
        time.sleep(pause)  # not to synchronise: the debounce is a time
        started.send(signal.SIGTERM)
    ended = started.end(timeout=8)
    assert (status, ["ready", "ending", *(["ended"] if ends else [])], "") == (ended.status, ended.lines, ended.err)


def test_a_storm_is_one_request(program, loop, tmp_path):
    """1,000 signals in about a second: cleanup once and to its end, no crash, no reentrancy."""
    go = tmp_path / "go"
    started = program(HELD + RUN, loop=loop, args=[str(go)]).wait_for("ready")
    for _ in range(250):
        started.send(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        time.sleep(0.004)
    go.touch()
    ended = started.end()
    assert (["ready", "holding", "held", "last"], "") == (ended.lines, ended.err)
    assert ended.status in (-2, -15, -1)


def test_signals_between_two_runs_and_after(program, loop):
    """Between two runs and after the last the process reacts to signals as if there had been no run."""
    source = """
app = App()
app.run(asyncio.sleep(0), loop_factory=LOOP)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt as error:
    say(type(error).__name__)
app.run(asyncio.sleep(0), loop_factory=LOOP)
signal.raise_signal(signal.SIGTERM)
say("never")
"""
    ended = program(source, loop=loop).end()
    assert (-15, ["KeyboardInterrupt"], "") == (ended.status, ended.lines, ended.err)


IGNORING = """
app = App()
@app.on_shutdown
def close(): say("closed")
async def main():
    os.kill(os.getpid(), signal.{name})
    await asyncio.sleep(0.1)
    return "undisturbed"
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_inherited_ignores_are_respected(program, loop, name):
    """What nohup, or a shell for `app &`, has ignored stays ignored, during the run and after it."""
    number = getattr(signal, name)
    source = IGNORING.format(name=name) + f"say(app.run(main, loop_factory=LOOP))\nsay(signal.getsignal({int(number)}))"
    ended = program(source, loop=loop, preexec_fn=lambda: signal.signal(number, signal.SIG_IGN)).end()
    assert (0, ["closed", "undisturbed", str(signal.SIG_IGN)], "") == (ended.status, ended.lines, ended.err)


def test_on_signal_may_take_an_ignored_one(program, loop):
    """on_signal() names the signal, so it is taken although the process inherited it as ignored; and given back."""
    source = IGNORING.format(name="SIGHUP") + (
        "@app.on_signal(signal.SIGHUP)\nasync def reload(number): say('reload', number.name)\n"
        "say(app.run(main, loop_factory=LOOP))\nsay(signal.getsignal(signal.SIGHUP))"
    )
    ended = program(source, loop=loop, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)).end()
    expected = ["reload SIGHUP", "closed", "undisturbed", str(signal.SIG_IGN)]
    assert (0, expected, "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize("end", ["main", "failure", "SIGTERM"])
def test_everything_borrowed_is_given_back(program, loop, end):
    """After run(): every signal's handler, the wakeup fd, the interval timer, excepthook and threads are as they were."""
    source = f"""
import socket
end = {end!r}
reading, writing = socket.socketpair()
writing.setblocking(False)
signal.set_wakeup_fd(writing.fileno())
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 1000, 500)
def state():
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    handlers = [signal.getsignal(n) for n in sorted(signal.valid_signals())]
    return handlers, fd, signal.getitimer(signal.ITIMER_REAL)[1], sys.excepthook
before = state()
app = App()
seen = []
async def main():
    loop = asyncio.get_running_loop()
    seen.append(loop)
    if end == "failure": raise ValueError
    if end == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)
try:
    app.run(main, loop_factory=LOOP)
except (ValueError, Interrupted): pass
assert before == state(), (before, state())
assert 900 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
assert seen[0].is_closed()
assert not [t for t in threading.enumerate() if t is not threading.main_thread() and "deadline" not in t.name]
signal.set_wakeup_fd(-1)
reading.close(), writing.close()
say("as it was")
"""
    ended = program(source, loop=loop).end()
    assert (0, ["as it was"], "") == (ended.status, ended.lines, ended.err)


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
def test_a_forked_child_that_falls_out_of_the_loop_runs_no_hooks(program, loop, leave, status):
    """Whatever way a forked child leaves main, it ends there; the hooks are the parent's business."""
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
    """What is taken for the time of a shutdown, or of the end by a signal, is reset in a forked child, too."""
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


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the child execs at once
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_ctrl_c_stops_a_shell_loop(tmp_path, loop):
    """In a bash loop on a terminal, Ctrl-C ends the program, and the loop with it."""
    script = tmp_path / "program.py"
    script.write_text(
        PRELUDE + "app = App()\n@app.on_shutdown\ndef close(): say('closed')\n"
        "@app.on_startup\ndef ready(): asyncio.get_running_loop().call_soon(say, 'ready')\n"
        "app.run(asyncio.sleep(60), loop_factory=LOOP)\n"
    )
    pid, terminal = pty.fork()
    if not pid:
        os.environ["TEST_LOOP"] = loop
        command = f"for i in 1 2 3; do {sys.executable} {script}; done; echo the loop went on"
        os.execvp("bash", ["bash", "-c", command])
    seen = b""
    try:
        while b"ready" not in seen:
            seen += os.read(terminal, 1024)
        os.write(terminal, b"\x03")
        while True:
            seen += os.read(terminal, 1024)
    except OSError:  # EIO: the shell is gone
        pass
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert -signal.SIGINT == os.waitstatus_to_exitcode(status)
    assert 1 == seen.count(b"closed")
    assert b"the loop went on" not in seen
    assert b"again to hurry" in seen  # on a terminal the next step is announced
    assert b"Traceback" not in seen


def test_in_a_thread_it_works_without_signals(program, loop):
    """run() outside the main thread takes no signals; stop() reaches it from any thread."""
    source = """
app = App()
ready = threading.Event()
@app.on_shutdown
async def close(): say("closed")
async def main():
    ready.set()
    await asyncio.sleep(60)
before = signal.getsignal(signal.SIGTERM)
thread = threading.Thread(target=lambda: say(app.run(main, loop_factory=LOOP)))
thread.start()
ready.wait()
say(signal.getsignal(signal.SIGTERM) == before)
app.stop()
thread.join()
"""
    ended = program(source, loop=loop).end()
    assert (0, ["True", "closed", "None"], "") == (ended.status, ended.lines, ended.err)


def test_nohup_and_background_shells(tmp_path, loop):
    """`sh -c 'app &'` starts with SIGINT ignored: a Ctrl-C meant for others does not stop it, SIGTERM does."""
    script = tmp_path / "program.py"
    script.write_text(
        PRELUDE + "app = App()\n@app.on_shutdown\ndef close(): say('closed')\n"
        "@app.on_startup\ndef ready(): asyncio.get_running_loop().call_soon(say, os.getpid())\n"
        "async def main():\n    os.kill(os.getpid(), signal.SIGINT)\n    await asyncio.sleep(0.1)\n"
        "    say('undisturbed')\n    os.kill(os.getpid(), signal.SIGTERM)\n    await asyncio.sleep(60)\n"
        "app.run(main, loop_factory=LOOP)\n"
    )
    ended = subprocess.run(
        ["sh", "-c", f"{sys.executable} {script} & wait $!; echo $?"],
        capture_output=True, text=True, check=False, timeout=30, env={**os.environ, "TEST_LOOP": loop},
    )  # fmt: skip
    assert ["undisturbed", "closed", "143"] == ended.stdout.split()[1:]


def test_without_debounce_the_second_request_is_no_third(program, loop):
    """With `debounce=0`, too, one more request while the process ends is the second: it cuts no atexit callback short."""
    source = """
import atexit
def again():
    os.kill(os.getpid(), signal.SIGTERM)
    say("callback")
atexit.register(again)
async def main():
    say("ready")
    await asyncio.sleep(60)
App(debounce=0, grace=5).run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (-15, ["ready", "callback"], "") == (ended.status, ended.lines, ended.err)


AT_THE_VERY_END = """
import graceful._signals
give_back = graceful._signals.SignalHandlers.__exit__
def and_interrupt(self, *exception):
    give_back(self, *exception)
    os.kill(os.getpid(), signal.SIGINT)
graceful._signals.SignalHandlers.__exit__ = and_interrupt
app = App("end", grace=3)
app.on_shutdown(lambda: say("closed"))
app.run(asyncio.sleep(0), loop_factory=LOOP)
"""


def test_ctrl_c_as_the_signals_are_given_back(program, loop):
    """In the last moment of `run()`, when SIGINT is its owner's again, it is still Ctrl-C: no traceback, and that status."""
    ended = program(AT_THE_VERY_END, loop=loop).end()
    assert (-signal.SIGINT, ["closed"], "") == (ended.status, ended.lines, ended.err)
