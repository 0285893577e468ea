"""explore with SIGKILL: what survives the process is as it was at that step, and only the user's check is asked."""

from __future__ import annotations

import asyncio

import pytest

from graceful import App
from graceful.testing import Exploration, Fault, explore, schedules

#: At steps that come before the shutdown.
KILLED_EARLY = [f"SIGKILL@{step}" for step in range(3, 7)]


class Disk:
    """What survives: jobs that are waiting, taken or done."""

    def __init__(self) -> None:
        self.waiting, self.taken, self.done = [1, 2], [], []
        self.cleaned_up = []


def worker(*, acknowledges_first: bool):
    """Makes a worker, all of whose steps are in a critical block, so that no shutdown comes between them."""

    def make():
        app, disk = App("worker"), Disk()

        @app.resource
        async def pool():
            yield
            disk.cleaned_up.append("resource")

        @app.on_shutdown
        def disconnect() -> None:
            disk.cleaned_up.append("hook")

        @app.background(essential=True)
        async def work() -> None:
            try:
                while disk.waiting and not app.stopping:
                    async with app.critical():
                        job = disk.waiting.pop()
                        if not acknowledges_first:
                            disk.taken.append(job)
                        await asyncio.sleep(0.1)
                        disk.done.append(job)
                        if not acknowledges_first:
                            disk.taken.remove(job)
            finally:
                disk.cleaned_up.append("finally")

        return app, None, disk

    return make


def check(result) -> str:
    disk = result.state
    lost = {1, 2} - {*disk.waiting, *disk.taken, *disk.done}
    return f"job {min(lost)} is lost" if lost else ""


def explored(make, **options) -> Exploration:
    return explore(make, check=check, pairs=20, **options)


def test_only_sigkill_finds_what_a_critical_block_hides() -> None:
    """By default it is not tried; the story says where the process was."""
    explored(worker(acknowledges_first=True)).assert_ok()

    found = explored(worker(acknowledges_first=True), faults=Fault).violations
    assert [each.messages for each in found] == [("job 2 is lost",)]
    assert "SIGKILL while `work` waited in " in found[0].story or "SIGKILL while `work` waited (" in found[0].story
    assert found[0].token.startswith("SIGKILL@")
    assert found[0].timeline.splitlines()[-1].endswith("ended with status -9")
    again = explored(worker(acknowledges_first=True), only=[found[0].token])
    assert [each.messages for each in again.violations] == [("job 2 is lost",)]


def test_program_that_survives_it() -> None:
    """At each step of the work and of the shutdown: nothing else is a violation, such as a hook that did not run."""
    explored(worker(acknowledges_first=False), faults=Fault).assert_ok()


@pytest.mark.parametrize("entrance", ["run", "block", "lifespan"])
def test_nothing_is_cleaned_up(entrance: str) -> None:
    """Before the check, no hook, no resource's second half and no `finally` runs."""
    seen = []

    def look(result) -> None:
        seen.append((result.exit_status, [*result.state.cleaned_up]))

    explore(worker(acknowledges_first=False), check=look, only=KILLED_EARLY, entrance=entrance).assert_ok()
    without_fault, *killed = seen
    assert without_fault[0] == 0
    assert killed == [(-9, [])] * len(KILLED_EARLY)


def test_what_is_open_is_the_systems_business(tmp_path, recwarn) -> None:
    """As for a real process that is killed: an open file, and a coroutine that was not awaited yet, are no violation."""
    path = tmp_path / "log"
    path.touch()

    def make():
        app = App("worker")

        @app.resource
        async def log():
            file = path.open()
            yield
            file.close()

        @app.background(essential=True)
        async def work() -> None:
            later = asyncio.sleep(0.1)
            await asyncio.sleep(0.1)
            await later

        return app

    explored = explore(make, faults=[Fault.SIGKILL], pairs=0)
    explored.assert_ok()
    assert explored.runs > 10
    assert [*recwarn] == []


def test_pairs_with_a_kill() -> None:
    """Only those in which the kill is the last: alone, it is tried once for each step, and with SIGTERM also in the shutdown."""
    seen = []

    def look(result) -> None:
        seen.append((result.exit_status, len(result.state.cleaned_up)))

    make = worker(acknowledges_first=False)
    alone = explore(make, check=look, faults=[Fault.SIGKILL])
    assert alone.runs == alone.steps + 1

    seen.clear()
    explore(make, check=look, faults=[Fault.SIGTERM, Fault.SIGKILL], pairs=60).assert_ok()
    assert {cleaned for status, cleaned in seen if status == -9} >= {0, 1, 2}


def test_names_of_faults() -> None:
    """The words of the tokens will do, also for the strategy; another word is told before anything is run."""
    from hypothesis import find

    def must_not_be_called():
        raise AssertionError

    assert [*find(schedules(faults=["SIGKILL"]), bool).faults][0][0] is Fault.SIGKILL
    with pytest.raises(ValueError, match="'SIGQUIT' is not a valid Fault"):
        explore(must_not_be_called, faults=["SIGQUIT"], only=[])


def test_strategy_leaves_it_out() -> None:
    """As explore does: hypothesis is not to find that a queue in memory does not survive."""
    from hypothesis import find
    from hypothesis.errors import NoSuchExample

    def is_killed(schedule) -> bool:
        return any(fault is Fault.SIGKILL for fault, _ in schedule.faults)

    with pytest.raises(NoSuchExample):
        find(schedules(), is_killed)
    assert is_killed(find(schedules(faults=Fault), is_killed))
