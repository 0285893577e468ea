"""Sentry's asyncio integration and graceful in one loop: the example's set-up, with every way in which a program can fail."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest.importorskip("sentry_sdk", reason="sentry-sdk is not installed")

#: The example without its own hook and task that fail.
SOURCE, _, _ = (
    (Path(__file__).parents[2] / "examples/20_sentry.py").read_text().partition("@app.on_shutdown\nasync def save")
)

WAYS = {
    "a supervised task": """
async def main():
    app.create_task(fail("lost"))
    await asyncio.sleep(60)
""",
    "a task that nobody awaits": """
async def main():
    app.kept = asyncio.create_task(fail("lost"))
    await asyncio.sleep(60)
""",
    "main": """
async def main():
    await fail("lost")
""",
    "a callback": """
def callback():
    raise OSError("lost")

async def main():
    asyncio.get_running_loop().call_soon(callback)
    await asyncio.sleep(60)
""",
    "a startup hook": """
@app.on_startup
async def connect():
    await fail("lost")

async def main():
    pass
""",
    "a cleanup hook": """
@app.on_shutdown
async def disconnect():
    await fail("lost")

async def main():
    pass
""",
}

RUN = """
async def fail(text):
    await asyncio.sleep(0.01)
    raise OSError(text)

app.run(main)
"""


@pytest.mark.parametrize("way", WAYS)
def test_an_error_is_reported_once(program, way):
    """Whatever fails, Sentry gets it once, before the flush, and the program ends by it."""
    ended = program(SOURCE + WAYS[way] + RUN).end()

    assert ["to Sentry: OSError: lost", "sent"] == ended.lines
    assert 1 == ended.status
    assert "OSError: lost" in ended.err


def test_several_hooks_that_fail(program):
    """They are raised as one group, which is not reported besides."""
    hooks = """
@app.on_shutdown
async def one():
    await fail("one")

@app.on_shutdown
async def two():
    await fail("two")

async def main():
    pass
"""
    ended = program(SOURCE + hooks + RUN).end()

    assert ["to Sentry: OSError: two", "to Sentry: OSError: one", "sent"] == ended.lines
    assert "ExceptionGroup: 2 errors after main returned" in ended.err


def test_a_signal_is_no_error(program):
    """What has not been sent is sent, and the process dies by the signal."""
    main = """
async def main():
    print("up", flush=True)
    await asyncio.sleep(60)
"""
    ended = program(SOURCE + main + RUN).wait_for("up").send(signal.SIGTERM).end()

    assert (["up", "sent"], -signal.SIGTERM, "") == (ended.lines, ended.status, ended.err)


def test_the_task_factory_is_theirs_for_the_time_of_the_run(program):
    """Sentry's factory makes the tasks of the loop; graceful hears of their failures all the same."""
    main = """
async def main():
    factory = asyncio.get_running_loop().get_task_factory()
    print(getattr(factory, "_is_sentry_task_factory", False))
    task = asyncio.create_task(fail("awaited"))
    try:
        await task
    except OSError as error:
        print("caught", error)
    await asyncio.create_task(asyncio.sleep(0))
"""
    ended = program(SOURCE + main + RUN).end()

    assert ["True", "to Sentry: OSError: awaited", "caught awaited", "sent"] == ended.lines
    assert (0, "") == (ended.status, ended.err)
