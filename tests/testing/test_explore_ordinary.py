"""Ordinary programs under the explorer, each of which it once told a wrong story about."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import threading
import time

import pytest

from graceful import App
from graceful.testing import Fault, Schedule, explore, simulate


def ends_late(left_by: threading.Event) -> threading.Thread:
    """A thread that ends a moment after it was told to."""

    def run() -> None:
        left_by.wait()
        time.sleep(0.05)

    thread = threading.Thread(target=run, name="about to end")
    thread.start()
    return thread


# --- good ones ---------------------------------------------------------------------------------------------------------


def test_a_thread_that_is_about_to_end() -> None:
    """It was told to, and needs a moment."""

    async def main() -> None:
        leave = threading.Event()
        ends_late(leave)
        leave.set()

    assert () == simulate(App("orders"), main).left


def test_a_thread_that_stays() -> None:
    """It waits for something that never comes."""
    leave = threading.Event()

    async def main() -> None:
        ends_late(leave)

    assert ("thread about to end",) == simulate(App("orders"), main).left
    leave.set()


def test_threads_of_other_simulations() -> None:
    """Several at once: whose thread it is cannot be told, so none is listed."""
    both = threading.Barrier(2)
    left: list[tuple[str, ...]] = []

    async def main() -> None:
        await asyncio.to_thread(both.wait, 30)
        await asyncio.to_thread(time.sleep, 0.05)

    threads = [threading.Thread(target=lambda: left.append(simulate(App("orders"), main).left)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(), ()] == left


def test_ctrl_c_while_the_owner_of_the_loop_cleans_up() -> None:
    """What `asyncio.run` itself does then is not the program's."""

    def make() -> tuple[App, object]:
        async def main() -> None:
            await asyncio.sleep(30)

        return App("orders"), main

    explored = explore(make, entrance="block", faults=[Fault.SIGINT])
    explored.assert_ok()


def test_a_late_hook_of_the_same_line() -> None:
    """A function that registers a hook is called twice, once while the program runs."""

    def make() -> tuple[App, object]:
        app = App("orders")

        def register() -> None:
            @app.on_shutdown
            async def close() -> None: ...

        register()

        async def main() -> None:
            register()
            await asyncio.sleep(1)

        return app, main

    explore(make, faults=[Fault.SIGTERM, Fault.HOOK_RAISES], pairs=0).assert_ok()


@pytest.mark.parametrize("entrance", ["run", "block", "lifespan"])
def test_a_coroutine_that_never_begins(entrance) -> None:
    """`main` may be one, and a signal may come before it."""

    def make() -> tuple[App, object]:
        async def main() -> None:
            await asyncio.sleep(1)

        return App("orders"), main()

    explore(make, entrance=entrance, faults=[Fault.SIGTERM, Fault.SIGINT], pairs=20).assert_ok()


@pytest.mark.parametrize("entrance", ["run", "block"])
def test_a_child_process_whose_start_is_cancelled(entrance) -> None:
    """It is killed and waited for, in real time."""

    def make() -> tuple[App, object]:
        app = App("orders")

        async def main() -> None:
            child = await app.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert child.stdin is not None
            child.stdin.close()
            await child.wait()

        return app, main

    tokens = [f"main-cancelled@{step}" for step in range(2, 9)]
    schedules = [Schedule.parse(token) for token in tokens]
    explore(make, only=schedules, pairs=0, entrance=entrance).assert_ok()


# --- how it is told ----------------------------------------------------------------------------------------------------


def test_an_app_of_the_module_in_a_block() -> None:
    """A process that was ended leaves no app behind that counts as running."""
    app = App("orders")
    raised: list[str] = []

    async def main() -> None:
        await asyncio.sleep(1)

    explored = explore(
        lambda: (app, main),
        entrance="block",
        faults=[Fault.SIGKILL, Fault.SIGTERM],
        check=lambda result: raised.append(repr(result.raised)),
    )
    explored.assert_ok()
    assert not [each for each in raised if "running already" in each]


def test_where_a_fault_fell_in_a_startup_and_a_cleanup() -> None:
    """In the hook that runs then."""

    def make() -> tuple[App, object]:
        app = App("orders")

        @app.resource
        async def pool():
            await asyncio.sleep(0.1)
            yield
            await asyncio.sleep(1)

        async def main() -> None:
            await asyncio.sleep(1)

        return app, main

    places = explore(make, faults=[Fault.SIGTERM], pairs=0).places
    waited = [re.sub(r" \(.*", "", place) for place in places]
    assert (2, 1) == (waited.count("`pool` waited"), waited.count("`main` waited"))


def leave_open() -> tuple[App, object]:
    """A program that closes its file only if it comes so far."""

    async def main() -> None:
        file = open(__file__)  # noqa: ASYNC230, PTH123, SIM115 - what is left open
        await asyncio.sleep(0.1)
        file.close()

    return App("orders"), main


def leave_always() -> tuple[App, object]:
    """A program that never closes it."""

    async def main() -> None:
        open(__file__)  # noqa: ASYNC230, PTH123, SIM115 - what is left open

    return App("orders"), main


def leave_task() -> tuple[App, object]:
    """A program with a task that swallows its cancellation."""

    async def work() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    async def main() -> None:
        asyncio.get_running_loop().create_task(work()).add_done_callback(print)
        await asyncio.sleep(0)

    return App("orders", grace=1), main


@pytest.mark.parametrize("make", [leave_always, leave_task])
def test_a_program_that_always_leaves_something_behind(make) -> None:
    """That is told once, and nothing else is tried: each other run would only say it again, and take its time."""
    explored = explore(make)
    assert (1, 1) == (explored.runs, explored.failed)
    assert explored.violations[0].token == "none"


def test_what_is_left_behind_is_told_with_its_timeline() -> None:
    """Also where nothing else is wrong."""

    [violation] = explore(leave_open, only=["SIGTERM@2"]).violations
    assert "ResourceWarning" in violation.messages[0]
    assert "stopping (SIGTERM)" in violation.timeline


def test_faults_in_hooks_are_those_of_hooks_that_there_are() -> None:
    """Not of one that is registered while the program runs: its run would be counted, and prove nothing."""

    def make() -> tuple[App, object]:
        app = App("orders")
        app.on_shutdown(lambda: None)

        async def main() -> None:
            app.on_shutdown(lambda: None)

        return app, main

    assert 2 == explore(make, faults=[Fault.HOOK_RAISES], pairs=0).runs  # without a fault, and with one


def test_a_check_that_would_have_to_be_awaited() -> None:
    """It would pass always."""

    async def check(_: object) -> None: ...

    with pytest.raises(TypeError, match=r"check= is called and not awaited, got the coroutine function .*check"):
        explore(lambda: App("orders"), check=check)


def test_a_program_that_waits_for_nothing_shows_no_insides() -> None:
    """The tasks that wait are told by their names, and no line of the package is."""

    def make() -> tuple[App, object]:
        return App("orders"), asyncio.Event().wait

    [violation] = explore(make, entrance="lifespan", until=1).violations
    assert "Simulation" not in violation.text()
    assert "Task pending" not in violation.text()
