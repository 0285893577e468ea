"""simulate: an app runs in virtual time with simulated signals, and what happened is in the result."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import pytest

from graceful import App, EventKind, Interrupted, current_app
from graceful.testing import NothingToWaitFor, Result, simulate

HOUR = 3600


async def work() -> str:
    await asyncio.sleep(HOUR)
    return "done"


def app_with_hook(seconds: float = 0.0, **options) -> App:
    """An app with one hook, which takes so long."""
    app = App("orders", **options)

    @app.on_shutdown
    async def disconnect() -> None:
        await asyncio.sleep(seconds)

    return app


# --- time --------------------------------------------------------------------------------------------------------------


def test_an_hour_passes_at_once_and_exactly() -> None:
    began_at = time.monotonic()
    result = simulate(App("orders"), work)

    assert result.took == HOUR
    assert result.value == "done"
    assert time.monotonic() - began_at < 5


def test_the_clock_of_the_app_is_the_virtual_one() -> None:
    """The grace, the times of the events and what a hook has left are virtual."""
    app = App("orders", grace=8)
    left = []

    @app.on_shutdown
    async def disconnect() -> None:
        await asyncio.sleep(5)
        left.append(app.remaining())

    result = simulate(app, work, at={1.5: signal.SIGTERM})

    assert left == [pytest.approx(2.8)]  # and 0.2 s to unwind
    assert result.took == 6.5
    assert [event.at for event in result.events if event.kind == "stopping"] == [1.5]


def test_timers_fire_in_their_order() -> None:
    fired = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for at in (3, 1, 2):
            loop.call_at(at, lambda at=at: fired.append((at, loop.time())))
        await asyncio.sleep(10)

    simulate(App("orders"), main)
    assert fired == [(1, 1.0), (2, 2.0), (3, 3.0)]


@pytest.mark.parametrize("work_outside", ["thread", "process"])
def test_time_is_real_while_something_works_outside(work_outside: str) -> None:
    """A thread or a child process is waited for; the clock goes on as it does outside."""
    took = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        if work_outside == "thread":
            await asyncio.to_thread(time.sleep, 0.2)
        else:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(0.2)")
            assert await child.wait() == 0
        took.append(loop.time() - began_at)

    simulate(App("orders"), main).assert_exit(0)
    assert 0.15 < took[0] < 10


def test_signal_while_a_thread_works() -> None:
    """It arrives at its time, although a thread works."""
    result = simulate(App("orders"), lambda: asyncio.to_thread(time.sleep, 0.5), at={0.1: signal.SIGTERM})

    assert [event.at for event in result.events if event.kind == "stopping"] == [pytest.approx(0.1, abs=0.1)]
    result.assert_exit(-signal.SIGTERM)


@pytest.mark.parametrize("entrance", ["run", "block", "lifespan"])
def test_nothing_to_wait_for_is_an_error_and_no_hang(entrance: str) -> None:
    """It says what the program waits in, and what to write."""

    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingToWaitFor, match=r"at=\{1.5: signal.SIGTERM\}") as caught:
        simulate(App("orders"), wait_for_ever, entrance=entrance)
    assert "wait_for_ever" in str(caught.value)


def test_a_program_that_never_waits_gets_older() -> None:
    """`while True: await asyncio.sleep(0)` does not stop the clock: the signal arrives all the same."""

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    simulate(App("orders"), spin, at={1: signal.SIGTERM}).assert_exit(-signal.SIGTERM)


# --- how it ends -------------------------------------------------------------------------------------------------------


async def fail() -> None:
    raise ValueError("mine")


async def leave() -> None:
    sys.exit(3)


ENDS = {
    "returns": (work, None, {"run": 0, "block": 0, "lifespan": 0}),
    "fails": (fail, None, {"run": 1, "block": 1, "lifespan": 1}),
    "sys.exit": (leave, None, {"run": 3, "block": 3, "lifespan": 3}),
    "SIGTERM": (work, signal.SIGTERM, {"run": -15, "block": -15}),
    "SIGINT": (work, signal.SIGINT, {"run": -2, "block": -2}),
    "SIGHUP": (work, signal.SIGHUP, {"run": -1, "block": -1}),
    "SIGUSR1": (work, signal.SIGUSR1, {"run": -10, "block": -10, "lifespan": -10}),
    "SIGCHLD": (work, signal.SIGCHLD, {"run": 0, "block": 0, "lifespan": 0}),
}


@pytest.mark.parametrize(
    ("end", "entrance"), [(end, entrance) for end, (_, _, statuses) in ENDS.items() for entrance in statuses]
)
def test_exit_status(end: str, entrance: str) -> None:
    """As the parent of the process would see it; and the hooks have run, unless the process was killed."""
    main, number, statuses = ENDS[end]
    result = simulate(app_with_hook(), main, at={} if number is None else {1.0: number}, entrance=entrance)

    result.assert_exit(statuses[entrance])
    result.assert_hooks(*(["disconnect"] if end != "SIGUSR1" else []))


@pytest.mark.parametrize(("entrance", "status"), [("run", 0), ("block", 0), ("lifespan", 0)])
def test_stop(entrance: str, status: int) -> None:
    app = app_with_hook()

    async def serve() -> None:
        while await app.sleep(1):
            pass

    result = simulate(app, serve, at={1.5: app.stop}, entrance=entrance)
    result.assert_exit(status)
    result.assert_hooks("disconnect")
    result.assert_took(1.5)
    result.assert_clean()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_waits_for_what_is_under_way(number: signal.Signals) -> None:
    """Under a server the app is told of the signal at once, main ends by itself, and then the hooks run."""
    app = app_with_hook()

    async def serve() -> None:
        while await app.sleep(1):
            pass
        await asyncio.sleep(2)  # the last answer

    result = simulate(app, serve, at={1.5: number}, entrance="lifespan")
    result.assert_exit(0)
    result.assert_hooks("disconnect")
    assert result.took == 3.5
    assert result.report is not None
    assert number.name in str(result.report.cause)


def test_ctrl_c_again_leaves_two_seconds() -> None:
    """The second hurries, and the process still dies by SIGINT."""
    result = simulate(app_with_hook(7), work, at={1: signal.SIGINT, 2: signal.SIGINT})

    result.assert_exit(-signal.SIGINT)
    assert result.took == pytest.approx(4, abs=0.3)
    assert result.last_words == ""
    assert [event.at for event in result.events if event.kind == "hurried"] == [2]


def test_third_ctrl_c_ends_the_process() -> None:
    """At once, and its last words name the hook that ran."""
    result = simulate(app_with_hook(7), work, at={1: signal.SIGINT, 2: signal.SIGINT, 3: signal.SIGINT})

    result.assert_exit(-signal.SIGINT)
    assert result.took == 3
    assert "disconnect" in result.last_words
    assert result.report is None


def test_same_ctrl_c_twice_is_one() -> None:
    """A terminal and a wrapper may both send it: nothing is hurried."""
    result = simulate(app_with_hook(3), work, at={1: signal.SIGINT, 1.1: signal.SIGINT})

    result.assert_exit(-signal.SIGINT)
    assert result.took == 4
    result.assert_clean()


def test_hook_that_hangs_is_given_up_at_the_deadline() -> None:
    result = simulate(app_with_hook(HOUR, grace=3), work, at={1: signal.SIGTERM})

    result.assert_exit(1)
    result.assert_took(4)
    assert [(each.hook.rpartition(".")[2], each.verdict) for each in result.outcomes] == [("disconnect", "timed out")]


def test_handler_of_the_program_takes_the_signal() -> None:
    """`loop.add_signal_handler` takes no real signal, and the app announces SIGTERM as outside."""
    app, heard = App("orders"), []

    async def main() -> str:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.append, "SIGTERM")
        await app.wait_stopping()
        return "announced"

    result = simulate(app, main, at={1: signal.SIGTERM})
    assert (heard, result.value, result.exit_status) == (["SIGTERM"], "announced", 0)


def test_signal_hook_runs_instead_of_stopping() -> None:
    app, heard = App("orders"), []
    app.on_signal("USR1")(lambda: heard.append("USR1"))

    simulate(app, work, at={1: signal.SIGUSR1}).assert_exit(0)
    assert heard == ["USR1"]


def test_main_that_enters_an_app_itself() -> None:
    """`simulate(None, main)`: there is no app of the result."""

    async def main() -> str:
        async with App("inner"):
            await asyncio.sleep(1)
            return current_app()._settings.name

    result = simulate(None, main)
    assert (result.value, result.took, result.app, result.exit_status) == ("inner", 1, None, 0)


def test_app_without_a_main() -> None:
    app = App("orders")

    @app.background
    async def poll() -> None:
        while await app.sleep(60):
            pass

    simulate(app, at={HOUR: signal.SIGTERM}).assert_exit(0)


def test_coroutine_as_main() -> None:
    assert simulate(App("orders"), work()).value == "done"


# --- what the result says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entrance", ["run", "block", "lifespan"])
def test_timer_that_is_left_is_named(entrance: str) -> None:
    """And not one that was cancelled."""

    async def main() -> None:
        asyncio.get_running_loop().call_later(HOUR, print)
        asyncio.get_running_loop().call_later(HOUR, repr, 1).cancel()

    result = simulate(App("orders"), main, entrance=entrance)
    assert ["print" in each for each in result.left] == [True]
    with pytest.raises(AssertionError, match="1 things are left"):
        result.assert_clean()


@pytest.mark.parametrize("entrance", ["run", "block", "lifespan"])
def test_task_that_is_left_is_named(entrance: str) -> None:
    """One that swallows its cancellation is given up by the app; it never runs again."""
    app = App("orders", grace=3)
    ran = []

    async def swallow() -> None:
        while True:
            try:
                await asyncio.sleep(HOUR)
            except asyncio.CancelledError:
                ran.append(1)

    async def main() -> None:
        app.create_task(swallow(), name="stubborn")
        await asyncio.sleep(1)

    result = simulate(app, main, at={}, entrance=entrance)
    assert ["'stubborn'" in each for each in result.left] == [True]
    assert ran


@pytest.mark.parametrize("entrance", ["run", "block"])
def test_child_process_that_is_left_is_named(entrance: str) -> None:
    """And not one that has ended."""
    children = []

    async def main() -> None:
        for seconds in ("30", "0"):
            children.append(await asyncio.create_subprocess_exec("sleep", seconds))
        await children[1].wait()

    result = simulate(App("orders"), main, entrance=entrance)
    try:
        left = [each for each in result.left if not each.startswith("thread")]  # 3.11 waits for each in a thread
        assert left == [f"child process {children[0].pid}"]
    finally:
        transport = children[0]._transport
        transport.close()  # kills it
        transport._proc.wait()


def test_what_was_raised_is_in_the_result() -> None:
    failed = simulate(App("orders"), fail)
    assert repr(failed.raised) == "ValueError('mine')"

    interrupted = simulate(App("orders"), work, at={1: signal.SIGTERM})
    assert isinstance(interrupted.raised, Interrupted)


FAILING = {
    "assert_exit": (lambda result: result.assert_exit(0), "expected exit status 0, got -15"),
    "assert_hooks": (lambda result: result.assert_hooks("other"), "expected the cleanup hooks other; got disconnect"),
    "stage": (lambda result: result.assert_hooks("x", stage="drain"), "expected the drain hooks x; got none"),
    "assert_took": (lambda result: result.assert_took(1), "expected it to take at most 1 s, got 4 s"),
    "assert_clean": (lambda result: result.assert_clean(), "cleanup disconnect ended as timed out"),
}


@pytest.mark.parametrize("name", FAILING)
def test_assertion_that_fails_shows_the_timeline(name: str) -> None:
    """What was expected, what was got, and what happened when."""
    assertion, message = FAILING[name]
    result = simulate(app_with_hook(HOUR, grace=3), work, at={1: signal.SIGTERM})
    if name != "assert_clean":
        result = simulate(app_with_hook(3), work, at={1: signal.SIGTERM})

    with pytest.raises(AssertionError) as caught:
        assertion(result)
    first, *timeline = str(caught.value).splitlines()
    assert first == message
    assert any(line.startswith("     1.000 s  stopping (SIGTERM)") for line in timeline)
    assert "ended with status" in timeline[-1]


def test_assertions_that_hold() -> None:
    result = simulate(app_with_hook(3), work, at={1: signal.SIGTERM})
    result.assert_exit(-signal.SIGTERM)
    result.assert_hooks("disconnect")
    result.assert_took(4)
    result.assert_clean()


def test_hooks_by_stage() -> None:
    """In the order in which they began; by default those of all stages."""
    app = app_with_hook()
    app.on_startup(work_once)
    app.on_shutdown(work_once, stage="drain")

    result = simulate(app, work_once)
    assert result.hooks() == ["work_once", "work_once", "disconnect"]
    assert result.hooks("startup") == ["work_once"]
    assert result.hooks("drain", "cleanup") == ["work_once", "disconnect"]


async def work_once() -> None:
    await asyncio.sleep(1)


# --- misuse ------------------------------------------------------------------------------------------------------------


MISUSE = {
    "no app": (lambda: simulate(work), TypeError, "write simulate(app, main)"),  # pyright: ignore
    "neither": (lambda: simulate(None), TypeError, "got neither"),
    "entrance": (
        lambda: simulate(App("x"), work, entrance="server"),
        ValueError,
        "one of run, block, lifespan, got 'server'",
    ),
    "time": (lambda: simulate(App("x"), work, at={"1": 2}), TypeError, "write at={1.5: signal.SIGTERM}"),
    "bool": (lambda: simulate(App("x"), work, at={True: 2}), TypeError, "got True"),
    "negative": (
        lambda: simulate(App("x"), work, at={-1: 2}),
        ValueError,
        "a key of at= is a finite time from 0 on, got -1",
    ),
    "infinite": (lambda: simulate(App("x"), work, at={float("inf"): 2}), ValueError, "got inf"),
    "nan": (lambda: simulate(App("x"), work, at={float("nan"): 2}), ValueError, "got nan"),
    "name": (lambda: simulate(App("x"), work, at={1: "SIGTERM"}), TypeError, "got 'SIGTERM'"),
    "number": (lambda: simulate(App("x"), work, at={1: 999}), ValueError, "999"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name: str) -> None:
    """The message says what was got, and what to write."""
    call, kind, message = MISUSE[name]
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)


def test_the_result_can_be_made_by_hand() -> None:
    """For tests of the user's own checks: only the status and the time are asked for."""
    assert Result(None, 0, 1.0).timeline().strip() == "1.000 s  ended with status 0"


def test_async_generator_that_is_not_closed_is_left() -> None:
    """One that goes on when it is closed: by the task that would close it."""
    held = []

    async def numbers():
        while True:
            try:
                yield 1
            except GeneratorExit:
                await asyncio.sleep(1e6)

    async def main() -> None:
        held.append(numbers())
        await anext(held[0])

    result = simulate(App("generators", grace=2), main)

    assert any("athrow" in each or "aclose" in each for each in result.left)


def test_an_app_is_as_it_was():
    """Several simulations of one app do not tell each other."""
    app = App("orders")
    first = simulate(app, work)
    simulate(app, work)

    assert 1 == sum(event.kind is EventKind.STARTED for event in first.events)
    assert [] == app._observers
