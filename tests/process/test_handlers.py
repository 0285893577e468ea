"""Signal handlers: when they are installed, what was ignored stays so, and everything is given back."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys

import pytest
from support.programs import LOOPS, PRELUDE

pytestmark = pytest.mark.parametrize("loop", LOOPS)


# --- at the edges of a run -------------------------------------------------------------------------------------------


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


def test_after_the_loop_stopped(program, loop):
    """A signal after the loop has stopped, and before run() has given the handlers back, is not lost."""
    source = """
app = App()
def factory():
    made = (LOOP or asyncio.new_event_loop)()
    class Closing:
        def __getattr__(self, name): return getattr(made, name)
    close = made.close
    return made
import graceful._run.runner as runner
original = runner.Runner._drive
def drive(self, loop, main):
    original(self, loop, main)
    os.kill(os.getpid(), signal.SIGTERM)
runner.Runner._drive = drive
app.run(asyncio.sleep(0), loop_factory=LOOP)
"""
    ended = program(source, loop=loop).end()
    assert (-15, "") == (ended.status, ended.err)


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


AT_THE_VERY_END = """
import graceful._process.handlers
give_back = graceful._process.handlers.SignalHandlers.__exit__
def and_interrupt(self, *exception):
    give_back(self, *exception)
    os.kill(os.getpid(), signal.SIGINT)
graceful._process.handlers.SignalHandlers.__exit__ = and_interrupt
app = App("end", grace=3)
app.on_shutdown(lambda: say("closed"))
app.run(asyncio.sleep(0), loop_factory=LOOP)
"""


def test_ctrl_c_as_the_signals_are_given_back(program, loop):
    """At the end of `run()`, when the old SIGINT handler is back, Ctrl-C gives no traceback and the same status."""
    ended = program(AT_THE_VERY_END, loop=loop).end()
    assert (-signal.SIGINT, ["closed"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize("end", ["main", "failure", "SIGTERM"])
def test_everything_borrowed_is_given_back(program, loop, end):
    """After run() signal handlers, wakeup fd, interval timer, excepthook and threads are as they were."""
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
app = App(signals=["SIGINT", "SIGTERM", "SIGHUP"])
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


# --- ignored signals and shells --------------------------------------------------------------------------------------


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


def test_on_signal_takes_an_ignored_signal(program, loop):
    """on_signal() handles the signal it names although the process inherited it as ignored, and gives it back."""
    source = IGNORING.format(name="SIGHUP") + (
        "@app.on_signal(signal.SIGHUP)\nasync def reload(number): say('reload', number.name)\n"
        "say(app.run(main, loop_factory=LOOP))\nsay(signal.getsignal(signal.SIGHUP))"
    )
    ended = program(source, loop=loop, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)).end()
    expected = ["reload SIGHUP", "closed", "undisturbed", str(signal.SIG_IGN)]
    assert (0, expected, "") == (ended.status, ended.lines, ended.err)


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
