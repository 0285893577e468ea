"""The bottom lines of the terminal: whatever else is written scrolls above them, and where they cannot be there are none."""

from __future__ import annotations

import re
import signal
import termios
import textwrap

import pytest
from support.programs import PRELUDE
from support.screens import Screen, screens

screen = pytest.fixture(screens)

#: A cleanup of about 2 s in which `BODY` is written to the terminal, 20 times.
TALKS = """
import logging
logging.basicConfig(format="%(message)s")
app = App("orders", grace=8)

@app.on_shutdown
async def talk():
    BEGIN
    for number in range(20):
        BODY
        await asyncio.sleep(0.1)

async def main():
    app.stop()

app.run(main)
"""
HEAD = r"orders is shutting down \(stop\(\) was called\) [━╸─]+ \d\.\d s of 8 s left"


def talking(body: str, begin: str = "pass") -> str:
    return TALKS.replace("BEGIN", begin).replace("BODY", body)


def said(seen: Screen) -> list[str]:
    """What the program has written: everything but our first and our last line."""
    first, *rest, last = seen.everything
    assert first.startswith("orders is shutting down (stop() was called), up to 8 s for cleanup"), seen.text
    assert re.fullmatch(r"orders has shut down, after \d\.\d s", last), seen.text
    return rest


# --- the program's own output ------------------------------------------------------------------------------------------

WRITERS = {
    "print": ("print('line', number)", "pass", "line {}"),
    "logging": ("logging.warning('line %s', number)", "pass", "line {}"),
    "C code": ("os.write(1, b'line %d\\n' % number)", "pass", "line {}"),
    "a thread": (
        "await asyncio.to_thread(print, 'line', number)",
        "pass",
        "line {}",
    ),
    "a child": (
        "pass",
        """child = await asyncio.create_subprocess_shell("for i in $(seq 0 19); do echo line $i; sleep 0.1; done")
    await child.wait()""",
        "line {}",
    ),
    "a line in pieces": (
        "print('line', end=' ', flush=True); await asyncio.sleep(0.15); print(number)",
        "pass",
        "line {}",
    ),
}


@pytest.mark.parametrize("rows", [12, 50], ids=["scrolls", "does not scroll"])
@pytest.mark.parametrize("writer", WRITERS)
def test_output_is_whole(screen, writer, rows):
    """Each line that is written meanwhile stands above the view, and is there in the end, in its order and once."""
    body, begin, line = WRITERS[writer]
    seen = screen(talking(body, begin), rows=rows)
    seen.wait_for(f"(?s)line 1\n.*● cleanup.*{HEAD}")
    assert 0 == seen.end()
    assert [line.format(number) for number in range(20)] == said(seen)
    assert seen.whole


def test_tqdm(screen):
    """A bar of tqdm goes on in its line, also one below another."""
    begin = (
        "from tqdm import tqdm; upper = tqdm(total=20, desc='upper', ncols=60, ascii=True); "
        "lower = tqdm(total=20, desc='lower', ncols=60, ascii=True, position=1)"
    )
    seen = screen(talking("upper.update(); lower.update(); tqdm.write(f'line {number}')", begin), rows=14)
    seen.wait_for(rf"(?s)line \d\nupper: .*\nlower: .*{HEAD}")
    assert 0 == seen.end()
    lines = said(seen)
    assert [f"line {number}" for number in range(20)] == [line for line in lines if line.startswith("line")]
    bars = [line for line in lines if not line.startswith("line")]
    assert ["upper: 100%", "lower: 100%"] == [bar[:11] for bar in bars if bar]


def test_a_progress_of_rich(screen):
    """A progress display of rich, with what is printed above it, is whole."""
    begin = (
        "from rich.progress import Progress; progress = Progress(); progress.start(); "
        "one = progress.add_task('upload', total=20); two = progress.add_task('verify', total=20)"
    )
    body = "progress.console.print('line', number); progress.advance(one); progress.advance(two)"
    seen = screen(talking(body, begin).replace("async def main", "    progress.stop()\n\nasync def main"), rows=14)
    seen.wait_for(rf"(?s)line \d\nupload .*\nverify .*{HEAD}")
    assert 0 == seen.end()
    lines = said(seen)
    assert [f"line {number}" for number in range(20)] == lines[:20]
    assert ["upload", "verify"] == [line.split()[0] for line in lines[20:] if line]
    assert all("100%" in line for line in lines[20:] if line)


def test_whatever_clears_the_terminal(screen):
    """A program that clears the terminal, or resets how it scrolls, does not keep the view from coming back."""
    body = r"print('\x1b[r\x1b[H\x1b[2J' if number == 3 else '', 'line', number, flush=True)"
    seen = screen(talking(body), rows=12)
    seen.wait_for(rf"(?s)^ line 3\n( line \d+\n)*\n.*{HEAD}")
    assert 0 == seen.end()
    *lines, closing = seen.everything
    assert [f" line {number}" for number in range(3, 20)] == lines[-17:]
    assert seen.whole


def test_from_the_last_row(screen):
    """Where the program has written down to the last row, the view makes room for itself."""
    source = talking("print('line', number)").replace("    app.stop()", "    print('\\n' * 30)\n    app.stop()")
    seen = screen(source, rows=12)
    seen.wait_for(f"(?s)line 1\n.*● cleanup.*{HEAD}")
    assert 0 == seen.end()
    _, *lines, closing = (line for line in seen.everything if line)
    assert [f"line {number}" for number in range(20)] == lines


# --- the terminal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(40, 120), (12, 120), (24, 70), (30, 140)])
def test_resized(screen, rows, columns):
    """After a change of its size the view is at the bottom again, and nothing of the old one is left."""
    seen = screen(talking("print('line', number)"), rows=24, columns=100)
    seen.wait_for(rf"(?s)line 2\n.*{HEAD}")
    seen.resize(rows, columns)
    seen.wait_for(lambda seen: re.match("orders is .* left$", seen.lines[-2]) and len(seen.lines[-2]) == columns - 1)
    assert 1 == len(re.findall("● cleanup", seen.text))
    assert 0 == seen.end()
    *lines, closing = seen.everything
    assert re.fullmatch(r"orders has shut down, after \d\.\d s", closing)
    lines = [line for line in lines if line and not line.startswith("orders is shutting down")]
    # pyte drops what a smaller screen has no room for, where a terminal keeps it above
    assert [f"line {number}" for number in range(20 - len(lines), 20)] == lines
    assert len(lines) == 20 or rows < 24
    assert seen.whole


def test_a_small_terminal(screen):
    """In one of fewer than 10 rows there is no view, until there are more."""
    seen = screen(talking("print('line', number)"), rows=9)
    seen.wait_for("line 8")
    assert "cleanup 0 of 1" not in seen.text
    seen.resize(20, 100)
    seen.wait_for("● cleanup 0 of 1")
    seen.resize(9, 100)
    seen.wait_for(lambda seen: "cleanup 0 of 1" not in seen.text)
    assert 0 == seen.end()


def test_a_stopped_terminal(screen):
    """A terminal that Ctrl-S has stopped does not delay anything: frames are dropped."""
    source = """
    app = App("orders", grace=8)
    @app.on_shutdown
    async def close():
        began = time.monotonic()
        while time.monotonic() < began + 2:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            late.append(time.monotonic() - before - 0.05)
    late = []
    async def main():
        app.stop()
    app.run(main)
    time.sleep(1)
    print("late", max(late) > 1)
    """
    seen = screen(source).wait_for("● cleanup 0 of 1")
    termios.tcflow(seen.slave, termios.TCOOFF)
    seen.pause(2.5)
    termios.tcflow(seen.slave, termios.TCOON)
    assert 0 == seen.end()
    assert "late False" in seen.everything


def test_two_apps_on_one_terminal(screen):
    """Only one app at a time has the bottom lines; the other one has plain lines, and its turn when they are free."""
    source = """
    import subprocess
    name, seconds = (sys.argv[1:] or ["first", "2.5"])
    app = App(name, grace=8)
    @app.on_shutdown
    async def close():
        await asyncio.sleep(float(seconds))
    async def main():
        await asyncio.sleep(0.5)
        app.stop()
    if name == "first":
        other = subprocess.Popen([sys.executable, "-c", f"import sys; sys.argv[1:] = ['second', '4.5']\\n" + SOURCE])
    app.run(main)
    if name == "first":
        other.wait()
    """
    text = PRELUDE + textwrap.dedent(source)
    seen = screen(f"SOURCE = {text!r}\n" + textwrap.dedent(source))
    turns = []

    def both_are_over(seen: Screen) -> bool:
        found = re.findall(r"^(first|second) is shutting down .* s left$", seen.text, re.MULTILINE)
        assert len(found) < 2, seen.text
        turns.extend(name for name in found if [name] != turns[-1:])
        return 2 == len(re.findall("has shut down", seen.text))

    seen.wait_for(both_are_over)
    assert 0 == seen.end()
    assert ["first", "second"] == sorted(turns), turns


# --- where there is no view --------------------------------------------------------------------------------------------

QUIET_ORDERS = """
import logging
app = App("orders", grace=8)

@app.on_shutdown
async def flush():
    await asyncio.sleep(2.4)

async def main():
    say("up")
    await asyncio.sleep(60)

SETUP
app.run(main)
"""
PLAIN = [
    r"up",
    r"\^Corders is shutting down \(SIGINT\), up to 8 s for cleanup; press Ctrl-C again to hurry",
    r"orders is still shutting down \(SIGINT\), \d\.\d s left: hook flush .* in flush",
    r"orders has shut down, after \d\.\d s",
]


@pytest.mark.parametrize(
    ("setup", "env"),
    [
        ("", {"NO_COLOR": "1"}),
        ("", {"TERM": "dumb"}),
        ("", {"GRACEFUL_LIVE": "0"}),
        ("sys.modules['rich'] = None", {}),
        ("sys.modules['rich'] = type(sys)('rich')", {}),
    ],
    ids=["NO_COLOR", "TERM=dumb", "GRACEFUL_LIVE=0", "no rich", "a broken rich"],
)
def test_plain_lines(screen, setup, env):
    """Without rich, and where the environment says so, there are the plain lines, and not one escape sequence."""
    seen = screen(QUIET_ORDERS.replace("SETUP", setup), columns=200, **env).wait_for("up")
    seen.press(b"\x03")
    assert -signal.SIGINT == seen.end()
    assert len(PLAIN) == len(seen.everything)
    assert all(map(re.fullmatch, PLAIN, seen.everything)), seen.text
    assert b"\x1b" not in seen.raw


@pytest.mark.parametrize("setup", ["logging.getLogger('graceful').setLevel(logging.ERROR)", "logging.disable()"])
def test_quiet(screen, setup):
    """Where logging is configured to be quiet, nothing is shown."""
    seen = screen(QUIET_ORDERS.replace("SETUP", setup)).wait_for("up")
    seen.press(b"\x03")
    assert -signal.SIGINT == seen.end()
    assert ["up", "^C"] == seen.everything
    assert b"\x1b" not in seen.raw


def test_a_configured_logger(screen):
    """Where logging goes to a file, the lines go there all the same, and the view is on the terminal."""
    setup = "logging.basicConfig(filename=sys.argv[0] + '.log', level=logging.INFO, format='%(levelname)s %(message)s')"
    seen = screen(QUIET_ORDERS.replace("SETUP", setup)).wait_for("up")
    seen.press(b"\x03")
    seen.wait_for("● cleanup 0 of 1")
    assert -signal.SIGINT == seen.end()
    log = seen.script.with_suffix(".py.log").read_text()
    assert ["up", "^C"] == seen.everything
    assert ["INFO", "WARNING", "WARNING"] == [line.split()[0] for line in log.splitlines()], log


def test_in_the_background(screen):
    """A process in the background does not paint on the terminal of the others."""
    source = """
    import subprocess
    app = subprocess.Popen([sys.executable, "-c", SOURCE], process_group=0)
    print("status", app.wait())
    """
    seen = screen("SOURCE = " + repr(PROGRAM + talking("print('line', number)")) + source.replace("\n    ", "\n"))
    assert 0 == seen.end()
    assert "status 0" == seen.everything[-1]
    assert b"\x1b" not in seen.raw


PROGRAM = "import asyncio, os, sys\nfrom graceful import App\n"


def test_a_simulation(screen):
    """A simulated shutdown shows nothing."""
    source = """
    from graceful.testing import simulate
    app = App("orders", grace=8)
    @app.on_shutdown
    async def flush():
        await asyncio.sleep(5)
        time.sleep(1)
    async def main():
        app.stop()
    simulate(app, main)
    """
    seen = screen(source)
    assert 0 == seen.end()
    assert b"\x1b" not in seen.raw


# --- what it costs -----------------------------------------------------------------------------------------------------

WATCHES_IMPORTS = """
class Watch:
    def find_spec(self, name, *_):
        if name.split(".")[0] == "rich":
            seen.append(threading.current_thread() is threading.main_thread())
seen = []
sys.meta_path.insert(0, Watch())
app = App("orders", grace=8)

@app.on_shutdown
async def flush():
    seen.append("shutdown")
    await asyncio.sleep(float(sys.argv[1]))

async def main():
    app.stop()

app.run(main)
print({False: "in a thread", True: "in the main thread"}.get(seen[-1], seen))
"""


def test_rich_is_imported_late(screen):
    """It is imported after the shutdown has begun, and in a thread: no hook waits for it."""
    seen = screen(WATCHES_IMPORTS + "print('first:', seen[0], '; main thread:', True in seen)", "1.5")
    assert 0 == seen.end()
    assert "in a thread" == seen.everything[-2]
    assert "first: shutdown ; main thread: False" == seen.everything[-1]


def test_a_short_shutdown(screen):
    """One that is over at once imports nothing, and shows nothing but its first line."""
    seen = screen(WATCHES_IMPORTS + "print('graceful._observe.live' in sys.modules)", "0")
    assert 0 == seen.end()
    assert ["['shutdown']", "False"] == seen.everything[-2:]
    assert b"\x1b" not in seen.raw
