"""What is said off a terminal and without logging being configured: nothing for two seconds, then what is still running."""

from __future__ import annotations

import re
import signal

import pytest
from support.programs import LOOPS

HOOKS = """
app = App("orders", grace=20)

@app.on_shutdown
async def flush():
    say("flushing")
    await asyncio.sleep(float(sys.argv[1]))

async def main():
    say("up")
    await asyncio.sleep(60)
"""
RUN = {
    "run": "app.run(main, loop_factory=LOOP)",
    "block": """
async def block():
    async with app:
        await main()
with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(block())
""",
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("entrance", RUN)
def test_a_shutdown_within_two_seconds_is_silent(program, loop, entrance):
    """A shutdown that is over within 2 s writes nothing to stderr."""
    running = program(HOOKS + RUN[entrance], loop=loop, args=["1.2"])
    ended = running.wait_for("up").send(signal.SIGTERM).end()
    assert (["up", "flushing"], "") == (ended.lines, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("entrance", RUN)
def test_a_longer_shutdown_says_what_it_waits_for(program, loop, entrance):
    """Every 2 s one line names what still runs, where, and the time left; one line says when it is over."""
    running = program(HOOKS + RUN[entrance], loop=loop, args=["4.5"])
    ended = running.wait_for("up").send(signal.SIGTERM).end()
    first, second, closing = ended.err.splitlines()
    for line, left in (first, 18), (second, 16):
        found = re.fullmatch(r"orders is still shutting down \(SIGTERM\), ([\d.]+) s left: (.*)", line)
        assert found, line
        assert left - 1 < float(found[1]) <= left
        assert re.search(r"hook flush \(program0\.py:\d+\).* at .*program0\.py:\d+ in flush", found[2])
    assert re.fullmatch(r"orders has shut down, after 4\.\d s", closing)


@pytest.mark.parametrize("call", ["app.sleep(60)", "app.unless_stopping(asyncio.sleep(60))", "app.wait_stopping()"])
def test_no_line_of_the_package_is_shown(program, call):
    """Code that waits in a method of the app is shown where it calls that."""
    source = f"""
        app = App("orders", grace=2)
        async def main():
            asyncio.get_running_loop().call_soon(say, "up")  # when it waits
            while True:
                await {call}
                await app.sleep(60)
        app.run(main)
    """
    ended = program(source).wait_for("up").send(signal.SIGTERM).end()
    assert re.search(r"^main was waited for, .*stuck at \S*program0\.py:\d+ in main$", ended.err, re.MULTILINE), (
        ended.err
    )
    assert "graceful/" not in ended.err


def test_jobs_are_named_too(program):
    """A job in a thread, with the line where it stands."""
    running = program(
        """
        app = App("photos", grace=20)
        def develop():
            say("up")
            time.sleep(2.5)
        app.run(lambda: asyncio.to_thread(develop))
        """
    )
    ended = running.wait_for("up").send(signal.SIGTERM).end()
    assert re.search(r"s left: job develop \(.*\) at \S*program0\.py:\d+ in develop\n", ended.err), ended.err


def test_the_body_of_a_block_is_shown(program):
    """Where a block's body waits, and not what stands in for it."""
    ended = (
        program(
            """
            app = App("orders", grace=2)
            async def main():
                async with app:
                    asyncio.get_running_loop().call_soon(say, "up")
                    await app.wait_stopping()
                    await asyncio.sleep(60)
            asyncio.run(main())
            """
        )
        .wait_for("up")
        .send(signal.SIGTERM)
        .end()
    )
    assert re.search(r"^main was waited for, .*stuck at .* < \S*program0\.py:\d+ in main$", ended.err, re.MULTILINE), (
        ended.err
    )


@pytest.mark.parametrize("loop", LOOPS)
def test_tasks_are_named_too(program, loop):
    """A task that does not end when it is cancelled is named, with where it is stuck."""
    source = """
    app = App("orders", grace=20)
    async def consume():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(2.5)
    async def main():
        app.create_task(consume(), name="consumer")
        await asyncio.sleep(0.01)
    app.run(main, loop_factory=LOOP)
    """
    ended = program(source, loop=loop).end()
    assert "orders is still shutting down (main returned)" in ended.err
    assert "consumer" in ended.err.splitlines()[0]
    assert "in consume" in ended.err.splitlines()[0]
    assert 2 == len(ended.err.splitlines()), ended.err


@pytest.mark.parametrize("loop", LOOPS)
def test_who_is_killed_has_named_the_culprit(program, loop):
    """A supervisor that loses its patience and sends SIGKILL finds the names on stderr."""
    running = program(HOOKS + RUN["run"], loop=loop, args=["60"]).wait_for("up").send(signal.SIGTERM)
    said = running.process.stderr.readline().decode()
    ended = running.send(signal.SIGKILL).end()
    assert -signal.SIGKILL == ended.status
    assert "hook flush (program0.py:" in said


def test_a_configured_logger_gets_them_once(program):
    """Where logging is configured the lines go there, as WARNINGs, and not to stderr."""
    log = "import logging\nlogging.basicConfig(stream=sys.stdout, format='%(levelname)s %(message)s')\n"
    ended = program(log + HOOKS + RUN["run"], args=["2.5"]).wait_for("up").send(signal.SIGTERM).end()
    assert ["WARNING", "WARNING"] == [line.split()[0] for line in ended.lines if "orders" in line]
    assert "" == ended.err


# --- a background task that has ended -----------------------------------------------------------------------------------

RETURNS = """
import logging
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
app = App("orders")

@app.background
async def warm_up(): pass
"""
ENDED = r"background task warm_up \(program0\.py:\d+\) has ended, and the program goes on"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_background_task_that_returned_is_told(program, loop):
    """A background task that returned while main goes on is told in one line, as an INFO."""
    source = "async def main(): await asyncio.sleep(0.05)\napp.run(main, loop_factory=LOOP)"
    lines = program(RETURNS + source, loop=loop).end().lines
    assert 1 == len([line for line in lines if re.fullmatch(f"INFO {ENDED}", line)]), lines


@pytest.mark.parametrize("loop", LOOPS)
def test_the_last_background_task_is_a_warning(program, loop):
    """Where no main and nothing supervised is left to do any work, it is a WARNING."""
    source = """
@app.on_startup
def stop_later():
    asyncio.get_running_loop().call_later(0.3, app.stop)
app.run(loop_factory=LOOP)
"""
    lines = program(RETURNS + source, loop=loop).end().lines
    assert 1 == len([line for line in lines if re.fullmatch(f"WARNING {ENDED}", line)]), lines


@pytest.mark.parametrize("loop", LOOPS)
def test_a_background_task_beside_another(program, loop):
    """Where another background task goes on working, it is an INFO."""
    source = """
@app.background
async def work():
    await asyncio.sleep(0.3)
    app.stop()
app.run(loop_factory=LOOP)
"""
    lines = program(RETURNS + source, loop=loop).end().lines
    assert 1 == len([line for line in lines if re.fullmatch(f"INFO {ENDED}", line)]), lines


@pytest.mark.parametrize("dealt_with", [False, True])
def test_a_background_task_that_failed(program, dealt_with):
    """Its failure stops the program, so it does not go on; where a hook deals with that, it does."""
    source = f"""
@app.on_exception
def deal_with(failure):
    threading.Timer(0.1, app.stop).start()
    return {dealt_with}

@app.background
async def fails():
    raise OSError("lost")

async def main(): await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
    lines = program(RETURNS + source).end().lines
    assert dealt_with == any("background task fails" in line and "goes on" in line for line in lines), lines


@pytest.mark.parametrize("loop", LOOPS)
def test_drain_delay(program, loop):
    """As long as it goes on serving, nothing is waited for, and so no task is named."""
    source = """
    app = App("orders", grace=20, drain_delay=2.5)
    @app.background
    async def consume():
        say("up")
        await asyncio.sleep(60)
    app.run(loop_factory=LOOP)
    """
    ended = program(source, loop=loop).wait_for("up").send(signal.SIGTERM).end()
    first, closing = ended.err.splitlines()
    serving = r"serving for another 0\.[1-5] s \(drain_delay\)"
    assert re.fullmatch(rf"orders is still shutting down \(SIGTERM\), 1[78]\.\d s left: {serving}", first)
    assert re.fullmatch(r"orders has shut down, after 2\.[5-9] s", closing)
