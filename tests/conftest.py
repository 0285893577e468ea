"""The fixtures, and what holds for every test."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("support")

from support.programs import LOOPS, ON_LOOP, PRELUDE, Ended, Program, uvloop

from graceful import App

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a script's `pytest &`: the programs would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).parent
#: What leans on private names of asyncio is tested on each Python in full.
NEVER_IN_PARTS = ("core", "loop")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--part 2/3`: the second third of the tests, chosen by their names."""
    parser.addoption("--part", help="K/N: only the Kth of N parts of the tests, chosen by their names")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of the other parts."""
    if (part := config.getoption("part")) is None:
        return
    number, of = map(int, part.split("/"))
    kept, left_out = [], []
    for item in items:
        here = zlib.crc32(item.nodeid.encode()) % of == number - 1
        always = item.path.relative_to(TESTS).parts[0] in NEVER_IN_PARTS
        (kept if here or always else left_out).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests are started with, the variables that the package reads are not set."""
    ours = [name for name in os.environ if name.startswith("GRACEFUL_")]
    for name in (*ours, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def app(request: pytest.FixtureRequest) -> App:
    """An app with 3 s of grace, and with the patience of the test's module if that has a `PATIENCE`."""
    return App("test", grace=3, patience=getattr(request.module, "PATIENCE", 1.0))


@pytest.fixture(params=LOOPS)
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """A loop factory, once for each kind of loop."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": getattr(uvloop, "new_event_loop", None)}[request.param]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """
    Start a program from its source, after `PRELUDE`: `program(source, loop="uvloop", env={...}, args=[...])`; a script
    that is there already, a `Path`, as it is.

    Further keywords go to `subprocess.Popen`. Whatever still runs at the end of the test is killed.
    """
    started: list[Program] = []

    def start(
        source: str | Path, *, loop: str = "asyncio", env: dict[str, str] | None = None, args=(), **options
    ) -> Program:
        script = source
        if isinstance(source, str):
            script = tmp_path / f"program{len(started)}.py"
            script.write_text(PRELUDE + textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", str(script), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "TEST_LOOP": loop, "PYTHONUNBUFFERED": "", **(env or {})},
            **options,
        )
        started.append(Program(process))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
        for stream in (each.process.stdout, each.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def play(program: Callable[..., Program]) -> Callable[..., Ended]:
    """
    Run a script as the reader of its page would: `play(script, prints)`.

    `prints` is what the page shows. Where it shows a line `^C`, Ctrl-C is pressed once the lines above it were read; or
    another signal is sent: `play(script, prints, number=signal.SIGTERM)`. `loop="uvloop"` has each `App.run` use that.
    """

    def run(script: Path, prints: str, *, number: int = signal.SIGINT, loop: str | None = None) -> Ended:
        options = {"env": {"PYTHONUNBUFFERED": "1"}, "cwd": script.parent}
        running = program(script, **options) if loop is None else program(ON_LOOP, args=[script], loop=loop, **options)
        limit = threading.Timer(60, running.process.kill)
        limit.start()
        try:
            for above in prints.split("^C\n")[:-1]:
                for line in above.splitlines():
                    running.wait_for(line)
                running.send(number)
            return running.end()
        finally:
            limit.cancel()

    return run
