"""explore and a program that does not work, does not end, or leaves something behind only once."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from graceful import App, HookTimeout
from graceful.testing import Fault, Schedule, explore


async def work() -> None:
    await asyncio.sleep(1)


# --- without a fault ---------------------------------------------------------------------------------------------------


def main_is_no_coroutine_function():
    return App("orders"), lambda: None


def hook_after_nothing():
    app = App("orders")
    app.on_shutdown(after="nothing")(work)
    return app, work


def main_raises():
    async def main() -> None:
        raise ValueError("mine")

    return App("orders"), main


def main_exits():
    async def main() -> None:
        sys.exit(3)

    return App("orders"), main


def resource_raises():
    app = App("orders")

    @app.resource
    async def pool():
        raise ValueError("mine")
        yield

    return app, work


def cleanup_raises():
    app = App("orders")

    @app.on_shutdown
    async def close() -> None:
        raise ValueError("mine")

    return app, work


def cleanup_hangs():
    app = App("orders")

    @app.on_shutdown(timeout=1)
    async def close() -> None:
        await asyncio.sleep(3600)

    return app, work


#: What is said first.
UNSOUND = {
    main_is_no_coroutine_function: "the program raised HookError: run() takes an `async def` function",
    hook_after_nothing: "the program raised OrderError: work (",
    main_raises: "the program raised ValueError: mine",
    main_exits: "the program raised SystemExit: 3",
    resource_raises: "startup pool (",
    cleanup_raises: "cleanup close (",
    cleanup_hangs: "cleanup close (",
}


@pytest.mark.parametrize("make", UNSOUND, ids=lambda make: make.__name__)
def test_program_that_does_not_work_without_a_fault(make) -> None:
    """It is told once, what it is; nothing is tried with a fault. So it is in a replay, and with what hypothesis has drawn."""
    explored = explore(make)
    [found] = explored.violations
    assert (found.token, explored.runs, explored.failed) == ("none", 1, 1)
    assert found.story.startswith("no fault")
    assert found.messages[0].startswith(f"without a fault, {UNSOUND[make]}")
    for only in (["none"], [Schedule(((Fault.SIGTERM, 2),))]):
        [again] = explore(make, only=only).violations
        assert (again.token, again.messages[0][:40]) == (found.token, found.messages[0][:40])


def test_what_a_hook_raised_is_said_once() -> None:
    """With the hook; and how it ended."""
    assert [1, 1] == [len(explore(make).violations[0].messages) for make in (cleanup_raises, cleanup_hangs)]
    [found] = explore(cleanup_hangs).violations
    assert HookTimeout.__name__ in found.messages[0]


def test_steps_are_taken() -> None:
    [found] = explore(hook_after_nothing).violations
    assert found.messages[-1] == "without a fault, the loop took no step"


def until_sigterm():
    app = App("orders")
    app.background(work)
    return app, lambda: asyncio.sleep(3600)


def leaves_early():
    async def main() -> None:
        sys.exit(0)

    return App("orders"), main


@pytest.mark.parametrize("make", [until_sigterm, leaves_early])
@pytest.mark.parametrize("entrance", ["run", "block", "lifespan"])
def test_clean_ends(make, entrance: str) -> None:
    """The signal that `until` sends, and an exit with status 0."""
    explore(make, entrance=entrance, only=["none"]).assert_ok()


# --- that does not end -------------------------------------------------------------------------------------------------


def stuck(waits):
    """Makes a main that waits for ever once it was cancelled; who owns the loop waits for it."""

    def make():
        async def main() -> None:
            waiting = asyncio.sleep(1)
            while True:
                try:
                    return await waiting
                except asyncio.CancelledError:
                    waiting = waits()

        return App("orders", grace=2), main

    return make


async def poll() -> None:
    while True:
        await asyncio.sleep(60)


WAITS = {
    "the program waits, and nothing will happen": lambda: asyncio.Event().wait(),
    "the program still runs after": poll,
}


@pytest.mark.parametrize("said", WAITS)
def test_run_that_does_not_end_is_a_violation(said: str) -> None:
    """With its token and where it waits, and without what to write in another place."""
    explored = explore(stuck(WAITS[said]), entrance="block", faults=[Fault.MAIN_CANCELLED], pairs=0)
    found = next(each for each in explored.violations if each.messages[0].startswith(said))
    assert found.token.startswith("main-cancelled@")
    assert "It waits in:\n  task" in found.messages[0]
    assert "simulate(" not in found.text()
    [again] = explore(stuck(WAITS[said]), entrance="block", only=[found.token]).violations
    assert again.token == found.token
    assert again.messages[0].startswith(said)


# --- what is left behind once ------------------------------------------------------------------------------------------


def test_pool_of_the_whole_process() -> None:
    """It is opened in the first run that needs it, and closed by nobody: not what that run leaves behind."""
    with ThreadPoolExecutor(4) as pool:

        def make():
            async def main() -> None:
                await asyncio.get_running_loop().run_in_executor(pool, int)

            return App("orders"), main

        explore(make, faults=[Fault.SIGTERM], pairs=0).assert_ok()


@pytest.mark.parametrize("opens", ["first", "on a fault"])
def test_file_of_the_whole_process(tmp_path, opens: str) -> None:
    """A log that is opened by the first run, or by the first one with an error; its token alone has no violation, either."""
    held = []

    def make():
        app = App("orders")

        def open_log() -> None:
            if not held:
                held.append((tmp_path / "log").open("w"))

        @app.on_exception
        def log() -> None:
            open_log()

        async def main() -> None:
            if opens == "first":
                open_log()
            await asyncio.sleep(1)

        return app, main

    for only in (None, ["supervised-task-fails@4"]):
        explore(make, faults=[Fault.SIGTERM, Fault.SUPERVISED_TASK_FAILS], pairs=0, only=only).assert_ok()
        while held:
            held.pop().close()


def test_what_each_run_leaves_behind(tmp_path) -> None:
    """It is a violation, and its token says so again."""
    held = []

    def make():
        async def main() -> None:
            await asyncio.sleep(1)
            held.append((tmp_path / "log").open("w"))

        return App("orders"), main

    try:
        [found] = explore(make, faults=[Fault.STOP], pairs=0).violations
        [again] = explore(make, only=[found.token]).violations
    finally:
        for file in held:
            file.close()
    assert ("left behind: 1 open file descriptors",) == found.messages == again.messages
