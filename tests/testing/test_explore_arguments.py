"""explore and its arguments, the user's check, and who interrupts it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys

import pytest
from support.programs import PRELUDE

from graceful import App
from graceful.testing import Fault, Schedule, explore, simulate


async def work() -> None:
    await asyncio.sleep(1)


def make():
    return App("orders", grace=2), work


async def reload() -> None: ...


# --- misuse ------------------------------------------------------------------------------------------------------------

MISUSE = {
    "entrance": ({"entrance": "blok"}, ValueError, "entrance must be one of run, block, lifespan, got 'blok'"),
    "fault": (
        {"faults": Fault.SIGTERM},
        TypeError,
        "faults= is a list, got <Fault.SIGTERM: 'SIGTERM'>: write faults=[Fault",
    ),
    "token": ({"only": "SIGTERM@2"}, TypeError, "only= is a list, got 'SIGTERM@2': write only=[\"SIGTERM@41\"]"),
    "schedule": ({"only": Schedule()}, TypeError, "only= is a list, got Schedule(faults=()): write only=["),
    "no list": ({"only": 3}, TypeError, "only= is a list, got 3"),
    "processes": ({"processes": 0}, ValueError, "processes= is at least 1, got 0: write processes=1 or more"),
    "text": ({"processes": "2"}, TypeError, "processes= is a whole number, got '2': write processes=1 or more"),
    "pairs": ({"pairs": -1}, ValueError, "pairs= is at least 0, got -1"),
    "bool": ({"pairs": True}, TypeError, "pairs= is a whole number, got True"),
    "most_steps": ({"most_steps": 0}, ValueError, "most_steps= is at least 1, got 0"),
    "negative": ({"until": -1}, ValueError, "until= is a finite time from 0 on, got -1"),
    "nan": ({"until": float("nan")}, ValueError, "until= is a finite time from 0 on, got nan"),
    "time": ({"until": "10"}, TypeError, "until= is a time in seconds, got '10': write"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name: str) -> None:
    """It is told what was expected, what was got and what to write, before anything is run."""
    options, kind, message = MISUSE[name]
    made = []
    with pytest.raises(kind) as caught:
        explore(lambda: made.append(1), **options)
    assert message in str(caught.value)
    assert made == []


def test_function_that_nobody_would_await() -> None:
    app = App("orders")
    with pytest.raises(TypeError) as caught:
        simulate(app, work, at={0.5: reload})
    assert "the coroutine function reload (" in str(caught.value)
    assert "write at={1.5: lambda: app.create_task(reload())}" in str(caught.value)

    ran = []
    simulate(app, work, at={0.5: lambda: ran.append(app.create_task(reload()))})
    assert ran[0].done()


def test_app_that_is_used_again() -> None:
    """It may be, unless a run registers hooks: these would add up."""
    app = App("orders")
    explore(lambda: (app, work), faults=[Fault.SIGTERM], pairs=0).assert_ok()

    async def main() -> None:
        app.on_shutdown(reload)
        await asyncio.sleep(1)

    with pytest.raises(ValueError, match="it must create a new App for each run"):
        explore(lambda: (app, main), faults=[Fault.SIGTERM], pairs=0)


# --- tokens ------------------------------------------------------------------------------------------------------------

#: None of them happens in `make()`.
MISSED = {
    "SIGTERM@9999": "the fault at step 9999 was not reached: the program takes ",
    "SIGINT@2+stop@9999": "the fault at step 9999 was not reached: the program takes ",
    "hook-raises@1": "hook-raises at hook number 1 was not reached: the app has 0 of these hooks",
    "startup-fails@2": "startup-fails at hook number 2 was not reached: the app has 0 of these hooks",
}


@pytest.mark.parametrize("token", MISSED)
def test_token_of_what_does_not_happen(token: str) -> None:
    """It would be a replay of something else. As a schedule, which hypothesis draws without knowing the program, it is allowed."""
    [found] = explore(make, only=[token]).violations
    assert found.token == token
    assert MISSED[token] in found.messages[0]
    explore(make, only=[Schedule.parse(token)]).assert_ok()


# --- the check ---------------------------------------------------------------------------------------------------------


def fails(result) -> None:
    pytest.fail("mine")


def skips(result) -> None:
    pytest.skip("mine")


def expects(result) -> None:
    with pytest.raises(ValueError):
        pass


def exits(result) -> None:
    sys.exit("mine")


CHECKS = {
    fails: "check: Failed: mine",
    skips: "check: Skipped: mine",
    expects: "check: Failed: DID NOT RAISE ValueError",
    exits: "check: SystemExit: mine",
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_check_that_raises_no_ordinary_exception(check) -> None:
    """A violation as any other: not the end of the exploration."""
    explored = explore(make, check=check, faults=[Fault.SIGTERM], pairs=0)
    assert explored.failed == explored.runs > 5
    assert CHECKS[check] in explored.violations[0].messages[0].replace("<class 'ValueError'>", "ValueError")


def test_check_that_is_interrupted() -> None:
    def check(result) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explore(make, check=check)


# --- what is around it -------------------------------------------------------------------------------------------------


def test_what_was_frozen_stays_frozen() -> None:
    """And where nothing was, nothing is."""
    explore(make, only=["none"])
    assert gc.get_freeze_count() == 0
    gc.freeze()
    try:
        before = gc.get_freeze_count()
        explore(make, only=["none"])
        assert before * 0.9 < gc.get_freeze_count() <= before
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("grace", [0.01, 0.05, 0.3])
def test_second_ctrl_c_in_a_short_grace(grace: float) -> None:
    """Its own delay is not what the shutdown took."""

    def make_short():
        app = App("orders", grace=grace)

        @app.on_shutdown
        async def close() -> None:
            await asyncio.sleep(0.001)

        return app, work

    explore(make_short, faults=[Fault.SIGINT], pairs=50).assert_ok()


INTERRUPTED = """\
from graceful.testing import explore

pid = os.getpid()
log = os.open(sys.argv[1], os.O_APPEND | os.O_CREAT | os.O_WRONLY)

def count():
    return os.fstat(log).st_size

def make():
    os.write(log, b".")
    if count() == 20:
        os.kill(pid, signal.SIGINT)
    return App("orders", grace=2), lambda: asyncio.sleep(1)

def main():
    try:
        explore(make, processes=int(sys.argv[2]))
    except KeyboardInterrupt:
        ran = count()
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            time.sleep(0.01)
        say(ran < 60, count() - ran, threading.active_count())

main()
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_ends_it(tmp_path, processes: int) -> None:
    """No further run begins, also not in the processes that it has forked."""
    command = [sys.executable, "-c", PRELUDE + INTERRUPTED, str(tmp_path / "log"), str(processes)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.stdout.splitlines() == ["True 0 1"], ended.stderr
