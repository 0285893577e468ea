"""The live view, seen on a terminal: what it shows, and that it leaves everything else as it is."""

from __future__ import annotations

import re
import signal

import pytest
from support.blocking import DEAF
from support.programs import LOOPS
from support.screens import Screen, screens

screen = pytest.fixture(screens)

#: An app with a cleanup of some seconds.
ORDERS = """
app = App("orders", grace=8)

@app.on_shutdown
async def flush():
    await asyncio.sleep(float(os.environ.get("FLUSH", 2)))

async def main():
    say("up")
    await asyncio.sleep(60)
"""
RUN = "app.run(main, loop_factory=LOOP)\n"
BLOCK = """
async def block():
    async with app:
        await main()
with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(block())
"""
CTRL_C = b"\x03"
#: What is shown as the cause of a Ctrl-C.
CAUSES = {RUN: "SIGINT", BLOCK: "the block was cancelled"}
ANNOUNCED = "^Corders is shutting down ({}), up to 8 s for cleanup; press Ctrl-C again to hurry"
CLOSING = r"orders has shut down, after \d\.\d s"


def viewed(seen: Screen) -> list[str]:
    """The lines of the view, from the first that is not empty to the bottom of the screen; empty if there is none."""
    heads = [number for number, line in enumerate(seen.lines) if re.search(r" [━╸─]+ [\d.]+ s of [\d.]+ s left$", line)]
    assert len(heads) < 2, seen.text
    if not heads:
        return []
    first = heads[0]
    while first and seen.lines[first - 1]:
        first -= 1
    return seen.lines[first:]


# --- what is shown -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("entrance", CAUSES, ids=["run", "block"])
def test_what_is_shown(screen, loop, entrance):
    """In the bottom lines: what is left of the grace, the stages, what runs since when and where, and what Ctrl-C does."""
    seen = screen(ORDERS + entrance, loop=loop).wait_for("up")
    seen.press(CTRL_C)
    row, steps, head, foot = viewed(seen.wait_for("● cleanup 0 of 1"))
    cause = re.escape(CAUSES[entrance])
    assert re.fullmatch(rf"orders is shutting down \({cause}\) ━*╸?─* [\d.]+ s of 8 s left", head)
    assert re.fullmatch(r"✓ drain  ✓ cancel(?: [\d.]+ s)?  ● cleanup 0 of 1 [\d.]+ s  · finish", steps)
    assert re.fullmatch(r"  flush +[\d.]+ s ━*╸?─+  program0\.py:\d+ in flush → sleep", row)
    assert "press Ctrl-C again to hurry" == foot
    seen.end()
    assert ["up", ANNOUNCED.format(CAUSES[entrance])] == seen.everything[:2]
    assert re.fullmatch(CLOSING, seen.everything[2])


@pytest.mark.parametrize("loop", LOOPS)
def test_it_leaves_nothing_behind(screen, loop):
    """When it is over nothing of it is left, and the whole terminal scrolls again."""
    source = (
        ORDERS + "try:\n  app.run(main, loop_factory=LOOP)\nexcept KeyboardInterrupt:\n  print(*range(100), sep='\\n')"
    )
    seen = screen(source, loop=loop).wait_for("up")
    seen.press(CTRL_C)
    seen.wait_for("● cleanup")
    assert 0 == seen.end()
    assert [str(number) for number in range(77, 100)] == seen.lines[:-1]
    assert [*map(str, range(100))] == seen.everything[3:]


def test_each_kind_of_work(screen):
    """Tasks that drain, cancelled tasks, child processes, jobs in threads and the tasks of a hook have a row each."""
    source = """
    app = App("orders", grace=16, drain_delay=2)

    @app.background(drain=True)
    async def consume():
        await app.wait_stopping()
        await asyncio.sleep(3.5)

    @app.on_shutdown
    async def publish():
        push = asyncio.create_task(asyncio.sleep(1), name="push")
        await push

    async def refuse():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(2)

    def crunch():
        time.sleep(6)

    async def main():
        app.create_task(refuse(), name="refuser")
        await app.create_subprocess_exec("sleep", "60", stop=signal.SIGCONT)
        await asyncio.sleep(0.5)
        asyncio.get_running_loop().run_in_executor(None, crunch)
        say("up")
        await asyncio.sleep(60)

    app.run(main)
    """
    seen = screen(source).wait_for("up")
    seen.process.send_signal(signal.SIGTERM)
    seen.wait_for(r"  serving \(drain_delay\) +[01]\.\d s .*\n(.*\n)?● drain")
    seen.wait_for(r"  task 'consume' +\d\.\d s [━╸─]+  program0\.py:\d+ in consume → sleep\n● drain")
    seen.wait_for("  task 'refuser' .* in refuse → sleep\n(  .*\n)*✓ drain .*● cancel")
    seen.wait_for(r"  child sleep \(pid \d+\).*\n(  .*\n)*✓ drain .*● cancel")
    seen.wait_for(r"  job crunch \(program0\.py… .* in crunch\n(  .*\n)*✓ drain .*● cancel")
    seen.wait_for(r"  publish .* in publish.*\n  └ push .*\n✓ drain .* ● cleanup 0 of 1")
    seen.end()


def test_many_at_once(screen):
    """What does not fit is counted; the view never takes more than half of the terminal."""
    source = """
    app = App("orders", grace=8)
    for number in range(40):
        @app.on_shutdown(after=())
        async def close():
            await asyncio.sleep(1.5)
    async def main():
        app.stop()
    app.run(main)
    """
    seen = screen(source, rows=20).wait_for("and 33 more")
    assert 10 == len(viewed(seen))
    assert 7 == seen.text.count("  close ")
    seen.end()


def test_a_blocked_loop(screen):
    """While the loop is blocked the view stands still; the next frame says for how long it did."""
    source = """
    app = App("orders", grace=8)
    go = asyncio.Event()

    @app.on_shutdown
    async def flush():
        await go.wait()
        time.sleep(2.5)  # a frame may be due up to a second later, where painting is slow
        await asyncio.sleep(1)

    async def main():
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, go.set)
        say("up")
        await asyncio.sleep(60)
    """
    seen = screen(source + RUN).wait_for("up")
    seen.press(CTRL_C)
    seen.wait_for("● cleanup 0 of 1")
    seen.process.send_signal(signal.SIGUSR1)
    seen.wait_for(r"the loop was blocked for [12]\.\d s · press Ctrl-C again to hurry")
    seen.end()


def test_a_server_that_was_told(screen):
    """From the announcement on, before there is a deadline, it shows the drain hooks and the tasks that were told."""
    source = """
    app = App("orders", grace=8)

    @app.on_shutdown(stage="drain")
    async def leave():
        await asyncio.sleep(1)

    async def stream():
        await app.wait_stopping()
        await asyncio.sleep(3)

    async def serve():
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        async with app:
            app.create_task(stream(), name="stream")
            say("up")
            await stop.wait()
            await asyncio.sleep(1.5)

    asyncio.run(serve())
    """
    seen = screen(source).wait_for("up")
    seen.process.send_signal(signal.SIGTERM)
    seen.wait_for(r"orders was told that the process stops \(SIGTERM\)  \d\.\d s ago\n")
    seen.wait_for(r"\n  leave .* in leave → sleep\n  task 'stream' .*\n· drain")
    seen.wait_for(r"● drain.*\norders is shutting down \(SIGTERM\) [━╸─]+ [67]\.\d s of 8 s left")
    assert 0 == seen.end()
    assert re.fullmatch(CLOSING, seen.everything[-1])


def test_the_lifespan_of_a_server(screen):
    """Under uvicorn it is shown from the server's signal to the end of the lifespan, and says nothing of Ctrl-C."""
    pytest.importorskip("uvicorn")
    source = """
    import uvicorn
    app = App("shop", grace=8)
    @app.on_startup
    async def ready():
        asyncio.get_running_loop().call_later(0.5, say, "up")
    @app.on_shutdown
    async def flush():
        await asyncio.sleep(2)
    class Server:
        router = None
    async def web(scope, receive, send):
        async with app.lifespan(web):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
    uvicorn.run(web, port=0, lifespan="on")
    """
    seen = screen(source).wait_for("up")
    seen.press(CTRL_C)
    row, _, _, *foot = viewed(seen.wait_for("● cleanup 0 of 1"))
    assert "  flush " in row
    assert [""] == foot
    seen.wait_for("shop has shut down, after .*\n(.*\n)*.*Finished server process")
    seen.end()
    assert seen.whole


def test_in_another_thread(screen):
    """An app that runs in a thread of the program is shown, and the terminal is whole if that ends it before the app does."""
    source = (
        ORDERS
        + """
threading.Thread(target=app.run, args=(main,), daemon=True).start()
sys.stdin.readline()
app.stop()
sys.stdin.readline()
"""
    )
    seen = screen(source, FLUSH="6").wait_for("up")
    seen.press(b"\n")
    assert "" == viewed(seen.wait_for("● cleanup 0 of 1"))[-1]
    seen.press(b"\n")
    assert 0 == seen.end()
    assert [] == viewed(seen)
    assert seen.whole


# --- Ctrl-C ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("entrance", CAUSES, ids=["run", "block"])
def test_each_ctrl_c(screen, loop, entrance):
    """Each says what the next one does, in the view and nowhere else; the third leaves the last words and a whole terminal."""
    seen = screen(ORDERS + entrance, loop=loop, FLUSH="60").wait_for("up")
    seen.press(CTRL_C)
    seen.wait_for("\npress Ctrl-C again to hurry")
    seen.wait_for(r" 7\.[0-3] s of 8 s left")  # the debounce is over
    seen.press(CTRL_C)
    seen.wait_for("\nhurrying · press Ctrl-C again to end it at once")
    seen.wait_for(r" 1\.[0-3] s of ")
    seen.press(CTRL_C)
    assert -signal.SIGINT == seen.end()
    up, announced, ended, *what = seen.everything
    assert ("up", ANNOUNCED.format(CAUSES[entrance])) == (up, announced)
    assert "^C^Corders was ended by SIGINT before its cleanup had finished; still running:" == ended
    assert "hook flush (program0.py" in what[0]
    assert seen.whole


def test_ctrl_c_after_sigterm(screen):
    """The first Ctrl-C of a shutdown that SIGTERM began only says that the next one hurries."""
    seen = screen(ORDERS + RUN, FLUSH="60").wait_for("up")
    seen.process.send_signal(signal.SIGTERM)
    seen.wait_for("\npress Ctrl-C twice to hurry")
    seen.wait_for(r" 7\.[0-3] s of 8 s left")  # the debounce is over
    seen.press(CTRL_C)
    seen.wait_for("\npress Ctrl-C again to hurry")
    assert "already" not in seen.text


# --- every end ---------------------------------------------------------------------------------------------------------


def test_a_process_that_hangs(screen):
    """Where the watchdog ends the process, the view is gone, and the last words are there."""
    source = """
import rich.console  # which would be imported in a thread meanwhile, and that may take longer
app = App("orders", grace=2)
@app.on_shutdown
async def flush():
    await asyncio.sleep(0.6)
    say("hanging")
DEAF
async def main():
    app.stop()
app.run(main)
"""
    seen = screen(source.replace("DEAF", DEAF["a query"])).wait_for("hanging")
    assert viewed(seen)
    assert 70 == seen.end()
    assert [] == viewed(seen)
    assert seen.whole
    assert "orders did not end within 2 s of stop() was called; still running:" in seen.everything


def test_a_view_that_fails(screen):
    """An error in what draws ends the view and nothing else: the plain lines go on."""
    source = (
        ORDERS
        + """
import graceful._observe.live_picture as picture
draw, frames = picture.drawn, []
def drawn(*args, **options):
    frames.append(1)
    return draw(*args, **options) if len(frames) < 5 else 1 / 0
picture.drawn = drawn
"""
    )
    seen = screen(source + RUN, FLUSH="2.5").wait_for("up")
    seen.press(CTRL_C)
    seen.wait_for("● cleanup 0 of 1")
    assert -signal.SIGINT == seen.end()
    assert ["up", "^Corders", "orders", "orders"] == [
        line.split()[0] for line in seen.everything if "orders" in line or line == "up"
    ]
    assert "orders is still shutting down (SIGINT), " in seen.everything[2]


@pytest.mark.parametrize("exit", ["os.execvp('echo', ['echo', 'another program'])", "app.run(main)"])
def test_another_program_in_its_place(screen, exit):
    """A program that replaces itself, and one that runs again, begins with a whole terminal."""
    if "execvp" in exit:
        source = ORDERS.replace("await asyncio.sleep(float", "await asyncio.sleep(1); " + exit + "; (float")
        seen = screen(source + RUN).wait_for("up")
        seen.press(CTRL_C)
        seen.wait_for("● cleanup")
        assert 0 == seen.end()
        assert ["up", ANNOUNCED.format("SIGINT"), "another program"] == seen.everything
    else:
        source = ORDERS + "try:\n  app.run(main)\nexcept KeyboardInterrupt:\n  app.run(main)"
        seen = screen(source)
        for begun in (1, 2):
            seen.wait_for(lambda seen, begun=begun: seen.everything.count("up") == begun)
            seen.press(CTRL_C)
            seen.wait_for("● cleanup 0 of 1")
            seen.wait_for(lambda seen: re.fullmatch(f"up|{CLOSING}|", seen.everything[-1]) and not viewed(seen))
        seen.end()
        assert ["up", ANNOUNCED.format("SIGINT")] * 2 == [line for line in seen.everything if "has shut" not in line]
    assert seen.whole
