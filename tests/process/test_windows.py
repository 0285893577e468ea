"""Windows, as far as it can be shown on Linux (see `support.windows`): signals, the loop's wakeup, the end, children."""

from __future__ import annotations

import signal

import pytest
from support.windows import WINDOWS

LOOPS = ["proactor", "selector"]

#: What `os.kill` from outside means here; the second is the miniature's SIGBREAK.
BREAK = signal.SIGUSR1
SIGNALS = {"SIGINT": signal.SIGINT, "SIGBREAK": BREAK, "SIGTERM": signal.SIGTERM}

#: STATUS_CONTROL_C_EXIT: what Python itself ends with there after Ctrl-C.
CONTROL_C_EXIT = "0xc000013a"


@pytest.fixture
def windows(program, tmp_path):
    """Start a program in it."""

    def start(source: str, loop: str, **options):
        script = tmp_path / "windows.py"
        script.write_text(WINDOWS + source)
        return program(script, loop=loop, **options)

    return start


SLEEPER = """
app = App("orders", grace=3)

@app.on_shutdown
async def close(cause):
    await asyncio.sleep(0.01)
    say("closed after", cause)

async def main():
    asyncio.get_running_loop().call_soon(say, "ready")
    await asyncio.sleep(30)
"""

RUN = "app.run(main, loop_factory=LOOP)\n"

BLOCK = """
async def block():
    async with app:
        await main()
with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(block())
"""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", SIGNALS)
def test_run(windows, loop, name):
    """Each signal wakes the loop, the cleanup runs, and the process ends with the status that its parent expects."""
    ended = windows(SLEEPER + RUN, loop).wait_for("ready").send(SIGNALS[name]).end()

    status = "0xf" if name == "SIGTERM" else CONTROL_C_EXIT
    assert ["ready", f"closed after {name}", f"status {status}"] == ended.lines, ended.err
    assert "" == ended.err
    assert ended.took < 2


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", ["SIGBREAK", "SIGTERM"])
def test_block(windows, loop, name):
    """`async with app:` takes the signals that would end the process without its cleanup."""
    ended = windows(SLEEPER + BLOCK, loop).wait_for("ready").send(SIGNALS[name]).end()

    status = "0xf" if name == "SIGTERM" else CONTROL_C_EXIT
    assert ["ready", f"closed after {name}", f"status {status}"] == ended.lines, ended.err
    assert "" == ended.err
    assert ended.took < 2


def test_ctrl_c_in_a_block(windows):
    """It is asyncio's, which cancels the block; the cleanup runs."""
    ended = windows(SLEEPER + BLOCK, "proactor").wait_for("ready").send(signal.SIGINT).end()

    assert ["ready", "closed after the block was cancelled"] == ended.lines, ended.err
    assert ended.took < 2


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", [RUN, BLOCK], ids=["run", "block"])
def test_everything_borrowed_is_given_back(windows, loop, way):
    """The handlers and the wakeup fd are as before, also when Interrupted was caught."""
    source = """
def state():
    current = _set_wakeup_fd(-1)
    _set_wakeup_fd(current)
    return current, [signal.getsignal(each) for each in sorted(signal.valid_signals())]
before = state()
try:
    ...
except KeyboardInterrupt as error:
    say(type(error).__name__, error.signal.name)
say(state() == before)
"""
    text = source.replace("    ...\n", "".join(f"    {line}\n" for line in way.strip().splitlines()))

    ended = windows(SLEEPER + text, loop).wait_for("ready").send(BREAK).end()

    assert ["ready", "closed after SIGBREAK", "Interrupted SIGBREAK", "True"] == ended.lines, ended.err


def test_the_signals_that_stop(windows):
    """SIGINT, SIGTERM and SIGBREAK; SIGBREAK is a Ctrl-C; the console's events are no signals that can be handled."""
    source = """
from graceful._core.settings import CTRL_C
say(*sorted(each.name for each in App()._settings.signals))
say(*sorted(each.name for each in CTRL_C))
for stopping in (signal.CTRL_C_EVENT, "SIGKILL", "SIGHUP"):
    try:
        App(signals=[stopping])
    except ValueError as error:
        say(error)
"""
    assert [
        "SIGBREAK SIGINT SIGTERM",
        "SIGBREAK SIGINT",
        "signals: no handler can take CTRL_C_EVENT: it is an event of the console, and arrives as SIGINT or SIGBREAK",
        "signals: there is no signal 'SIGKILL' on this platform",
        "signals: there is no signal 'SIGHUP' on this platform",
    ] == windows(source, "proactor").end().lines


@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_break_escalates(windows, loop):
    """The second one hurries, and the third one ends the process at once, with the last words on stderr."""
    source = """
app = App("orders", grace=20, debounce=0)
@app.on_shutdown
async def hang():
    say("hangs")
    try:
        await asyncio.sleep(30)
    finally:
        say("hurried")
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                pass
async def main():
    asyncio.get_running_loop().call_soon(say, "ready")
    await asyncio.sleep(30)
"""
    running = windows(source + RUN, loop).wait_for("ready").send(BREAK).wait_for("hangs").send(signal.SIGINT)
    ended = running.wait_for("hurried").send(BREAK).end()

    assert ["ready", "hangs", "hurried", f"status {CONTROL_C_EXIT}"] == ended.lines, ended.err
    assert "orders was ended by SIGBREAK before its cleanup had finished; still running:\n  hook hang" in ended.err


def test_the_deadline(windows):
    """What blocks the loop is not unblocked, as there is no timer that could; the process ends at the deadline, by name."""
    source = """
app = App("orders", grace=0.5)
@app.on_shutdown
def block():
    say("blocks")
    threading.Event().wait()
async def main():
    asyncio.get_running_loop().call_soon(say, "ready")
    await asyncio.sleep(30)
"""
    ended = windows(source + RUN, "proactor").wait_for("ready").send(signal.SIGINT).end()

    assert ["ready", "blocks", "status 0x46"] == ended.lines, ended.err
    assert "orders did not end within 0.5 s of SIGINT; still running:\n  hook block" in ended.err
    assert ended.took < 2


def test_the_report(windows):
    """It has the status that the parent sees."""
    source = """
try:
    app.run(main, loop_factory=LOOP)
except KeyboardInterrupt:
    say(hex(app.report.exit_status))
"""
    ended = windows(SLEEPER + source, "proactor").wait_for("ready").send(signal.SIGINT).end()

    assert CONTROL_C_EXIT == ended.lines[-1], ended.err


CHILD = """
class Transport(asyncio.SubprocessTransport):
    def __init__(self, protocol):
        super().__init__()
        self.protocol = protocol
    def get_pid(self): return 4711
    def get_returncode(self): return None
    def get_pipe_transport(self, fd): return None
    def close(self): pass
    def send_signal(self, number):
        say(signal.Signals(number).name)
        if number == signal.CTRL_BREAK_EVENT and ANSWER == "no console":
            raise OSError(6, "The handle is invalid")
        if number == signal.SIGTERM or ANSWER == "ends":
            self.protocol.process_exited()

class ChildLoop(ProactorLoop):
    async def subprocess_exec(self, factory, *command, **options):
        say(sorted(set(options) - {"stdin", "stdout", "stderr"}), hex(options.get("creationflags", 0)))
        protocol = factory()
        transport = Transport(protocol)
        protocol.connection_made(transport)
        return transport, protocol

app = App("orders", grace=1)

@app.on_shutdown
def close():
    say("closed")

async def main():
    await app.create_subprocess_exec("worker.exe", creationflags=0x4000)

app.run(main, loop_factory=ChildLoop)
"""


@pytest.mark.parametrize(
    ("answer", "told", "err"),
    [
        ("ends", ["CTRL_BREAK_EVENT"], ""),
        ("no console", ["CTRL_BREAK_EVENT", "SIGTERM"], ""),
        ("goes on", ["CTRL_BREAK_EVENT", "SIGTERM"], "did not end by Ctrl-Break, and is killed"),
    ],
)
def test_a_child(windows, answer, told, err):
    """It has a process group of its own, is asked to end by Ctrl-Break, and is terminated if that cannot be, or does not help."""
    ended = windows(f"ANSWER = {answer!r}\n{CHILD}", "proactor").end()

    assert ["['creationflags'] 0x4200", *told, "closed"] == ended.lines, ended.err
    assert err in ended.err
    assert bool(err) == bool(ended.err)


#: A server takes SIGBREAK, too, and stops serving some time after it.
SERVER = """
app = App("orders", grace=3)

@app.on_shutdown
def close(cause):
    say("closed after", cause)

def take():
    def handle(number, _):
        say("the server has", signal.Signals(number).name)
        loop.call_soon_threadsafe(loop.call_later, 0.1, should_exit.set)
    loop, should_exit = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK):
        signal.signal(number, handle)
    return should_exit

async def serve(should_exit):
    say("ready")
    await app.wait_stopping()
    say("told")
    await should_exit.wait()
"""

OWNERS = {
    "block": """
async def block():
    should_exit = take()
    async with app:
        await serve(should_exit)
with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(block())
""",
    "run": """
async def main():
    await serve(take())
app.run(main, loop_factory=LOOP)
""",
}


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("owner", OWNERS)
def test_a_server_that_handles_the_signals(windows, owner, name):
    """Its handler is called, and the app is told, so that connections end before the server waits for them."""
    ended = windows(SERVER + OWNERS[owner], "proactor").wait_for("ready").send(SIGNALS[name]).end()

    assert {f"the server has {name}", "told"} == {*ended.lines[1:3]}, ended.lines
    assert ["ready", f"closed after {name}"] == [ended.lines[0], *ended.lines[3:]], ended.lines
    assert (0, "") == (ended.status, ended.err)
