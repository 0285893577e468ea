"""A failed task that something still waits for, or will look at in time, is no failure of the program."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import time

import pytest
from support.failures import LIMIT, LONGER, SHORT, Mine, fail, raise_mine, stopped_by_failure, went_on

from graceful import App
from graceful._loop import awaited as awaited_room

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


def test_what_is_awaited_in_time_is_no_failure():
    """A failed task whose exception is retrieved within the patience is no failure."""
    app = App("test", grace=3)

    async def fail():
        raise ValueError

    async def main():
        late = asyncio.create_task(fail())
        await asyncio.gather(asyncio.create_task(fail()), return_exceptions=True)
        await asyncio.sleep(0.1)
        with contextlib.suppress(ValueError):
            await late
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        await asyncio.wait([task := asyncio.create_task(fail())])
        assert task.exception()
        return "fine"

    assert "fine" == app.run(main)
    assert () == app.report.failures


def awaited():
    return fail()


async def awaited_by_a_task():
    await asyncio.create_task(asyncio.wait_for(asyncio.create_task(fail()), 1))


async def slow(seconds=LONGER):
    await asyncio.sleep(seconds)


async def exception_read():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    task.add_done_callback(lambda task: task.exception())
    await slow()


async def fail_after(seconds):
    await asyncio.sleep(seconds)
    raise Mine


async def read_by_a_done_callback():
    task = asyncio.create_task(fail_after(0.01))
    task.add_done_callback(lambda task: task.exception())
    await slow()


async def cancelled():
    task, never_begun = asyncio.create_task(slow(LIMIT)), asyncio.create_task(fail())
    never_begun.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await slow()


async def gathered():
    await asyncio.gather(fail(), slow())


async def gathered_and_a_second_one_fails_later():
    with contextlib.suppress(Mine):
        await asyncio.gather(fail(), fail_after(SHORT))
    await slow()


async def gathered_with_return_exceptions():
    await asyncio.gather(fail(), slow(), return_exceptions=True)


async def gathered_in_a_gather():
    await asyncio.gather(asyncio.gather(fail(), slow(), return_exceptions=True), slow(2 * LONGER))


async def gathered_and_awaited_late():
    gathering = asyncio.gather(fail(), slow(), return_exceptions=True)
    await slow()
    await gathering


async def reluctant():
    """Takes its time to be cancelled."""
    try:
        await asyncio.sleep(LIMIT)
    finally:
        await slow()


async def in_a_group():
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(reluctant())
            group.create_task(fail())


async def waited_for():
    done, _ = await asyncio.wait([asyncio.create_task(fail()), asyncio.create_task(slow())])
    for task in done:
        task.exception()


async def waited_for_in_a_task_with_a_limit():
    tasks = [asyncio.create_task(fail()), asyncio.create_task(slow(LIMIT))]
    done, _ = await asyncio.create_task(asyncio.wait(tasks, timeout=LONGER))
    assert [Mine] == [type(task.exception()) for task in done]


async def waited_for_the_first():
    pending = {asyncio.create_task(fail()), asyncio.create_task(slow()), asyncio.create_task(fail_after(LONGER))}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.exception()


async def waited_for_the_job_of_an_executor():
    jobs = [asyncio.get_running_loop().run_in_executor(None, job) for job in (raise_mine, lambda: time.sleep(LONGER))]
    done, _ = await asyncio.wait(jobs)
    for job in done:
        job.exception()


async def as_completed_by_a_slow_consumer():
    for each in asyncio.as_completed([asyncio.sleep(0), fail(), fail()]):
        with contextlib.suppress(Mine):
            await each
        await slow()


async def as_completed_beside_a_slow_one():
    for each in asyncio.as_completed([asyncio.create_task(fail()), asyncio.create_task(slow(2 * LONGER))]):
        await slow()
        with contextlib.suppress(Mine):
            await each


async def shielded():
    await asyncio.shield(asyncio.create_task(fail_after(0.01)))


async def limited():
    await asyncio.wait_for(asyncio.create_task(fail_after(0.01)), 1)


async def under_a_timeout():
    async with asyncio.timeout(LIMIT):
        await asyncio.create_task(fail_after(0.01))


async def asked_for_by_a_thread():
    loop = asyncio.get_running_loop()

    def ask():
        future = asyncio.run_coroutine_threadsafe(fail(), loop)
        time.sleep(LONGER)
        future.result()

    await asyncio.to_thread(ask)


class Unbound:
    """A proxy outside of its context, as of a framework."""

    @property
    def __class__(self):
        raise RuntimeError("there is nothing that it stands for")


async def gathered_beside_a_queue_of_proxies():
    jobs = asyncio.Queue()
    jobs.put_nowait(Unbound())
    await gathered_with_return_exceptions()


async def when_frozen(work):
    """As servers do once they are warm: the collector does not show what is there by now."""
    asyncio.get_running_loop().call_soon(gc.freeze)
    try:
        await work()
    finally:
        gc.unfreeze()


async def gathered_when_frozen():
    await when_frozen(gathered_with_return_exceptions)


async def waited_for_when_frozen():
    await when_frozen(waited_for)


NO_FAILURES = [
    awaited, awaited_by_a_task, exception_read, read_by_a_done_callback, cancelled, gathered,
    gathered_and_a_second_one_fails_later, gathered_with_return_exceptions, gathered_in_a_gather,
    gathered_and_awaited_late, in_a_group, waited_for, waited_for_in_a_task_with_a_limit, waited_for_the_first,
    waited_for_the_job_of_an_executor, as_completed_by_a_slow_consumer, as_completed_beside_a_slow_one, shielded,
    limited, under_a_timeout, asked_for_by_a_thread,
    gathered_beside_a_queue_of_proxies, gathered_when_frozen, waited_for_when_frozen,
]  # fmt: skip


@pytest.mark.parametrize("work", NO_FAILURES)
def test_what_is_awaited_is_no_failure(app, new_loop, work):
    """A task that is awaited, gathered, in a group, waited for or read is no failure, however slow the others are."""
    went_on(app, work, new_loop)


async def gathered_jobs_and_awaited_late():
    """No task leads to it: it is found among all objects only."""
    loop = asyncio.get_running_loop()
    jobs = loop.run_in_executor(None, raise_mine), loop.run_in_executor(None, time.sleep, LONGER)
    gathering = asyncio.gather(*jobs, return_exceptions=True)
    await slow()
    await gathering


def looks(monkeypatch):
    """Counts the looks through all objects; not those for children that somebody else has started."""
    counted = []

    def instances_of(kinds):
        counted.append(time.monotonic())
        time.sleep(0.002)
        return found(kinds)

    found = awaited_room.instances_of
    monkeypatch.setattr(awaited_room, "instances_of", instances_of)
    return counted


@pytest.mark.parametrize(
    ("work", "count"),
    [
        (gathered_with_return_exceptions, 0),
        (gathered_in_a_gather, 0),
        (gathered_and_awaited_late, 0),
        (waited_for, 0),
        (as_completed_beside_a_slow_one, 0),
        (gathered_jobs_and_awaited_late, 1),
    ],
)
def test_all_objects_are_looked_through_only_if_no_task_leads_there(app, new_loop, work, count, monkeypatch):
    """What a task awaits, or is part of, is found without a look through the whole heap."""
    counted = looks(monkeypatch)
    went_on(app, work, new_loop)
    assert count == len(counted)


def test_looks_are_put_together(monkeypatch):
    """Looks through all objects take 1 % of the time at most, however many tasks fail; none of them is a false alarm."""
    counted = looks(monkeypatch)

    async def many():
        for _ in range(10):
            asyncio.create_task(gathered_jobs_and_awaited_late())
            await asyncio.sleep(0.05)
        await slow(2 * LONGER)

    began = time.monotonic()
    went_on(App(grace=3, patience=SHORT), many, asyncio.new_event_loop)
    # Each takes 2 ms at least, so there is none within the 0.2 s after it.
    assert 1 <= len(counted) <= 1 + (time.monotonic() - began) / 0.2


@pytest.fixture
def small_heap():
    """What other tests have left is not looked through: it would decide how long a look takes, and when the next is due."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_a_failure_after_a_look_is_noticed(app, small_heap):
    """A failure that must wait for the next look, because one was just taken, is noticed when that is due."""
    app.on_exception(lambda: True)

    async def main():
        for _ in range(2):
            held = asyncio.create_task(fail())
            await asyncio.sleep(LIMIT)
        return held

    app.run(main)
    assert 2 == len(app.report.failures)


@pytest.mark.parametrize(("patience", "delay"), [({}, 0.9), ({"patience": 20}, 1.2)])
def test_a_slow_awaiter(new_loop, patience, delay):
    """By default a task may be awaited 0.9 s after it failed, and with patience=20 later than that."""

    async def awaited_late():
        held = asyncio.create_task(fail())
        await asyncio.sleep(delay)
        await held

    went_on(App(grace=3, **patience), awaited_late, new_loop)


def test_an_awaiter_that_is_due_is_not_late(new_loop):
    """If the loop was blocked until both were due, a task that meant to await the failed one in time still does."""

    async def awaited_in_time():
        held = asyncio.create_task(fail())
        await asyncio.sleep(0.2 * LONGER)  # it has failed, and the patience has begun
        asyncio.get_running_loop().call_soon(time.sleep, 2 * LONGER)
        await asyncio.sleep(0.1 * LONGER)
        await held

    went_on(App(grace=3, patience=LONGER), awaited_in_time, new_loop)


def given_up_wait():
    tasks = [asyncio.create_task(fail()), asyncio.create_task(slow(LIMIT))]
    asyncio.get_running_loop().call_later(LONGER, asyncio.create_task(asyncio.wait(tasks)).cancel)
    return tasks


def given_up_as_completed(beside):
    tasks = [asyncio.create_task(fail()), asyncio.create_task(slow(beside))]
    ended = iter(asyncio.as_completed(tasks))
    next(ended).close()
    return tasks


def ignored_wait():
    tasks = [asyncio.create_task(fail()), asyncio.create_task(slow())]
    return tasks, asyncio.create_task(asyncio.wait(tasks))


@pytest.mark.parametrize(
    "begin",
    [
        given_up_wait,
        ignored_wait,
        pytest.param(functools.partial(given_up_as_completed, LONGER), id="given_up_as_completed"),
    ],
)
def test_a_wait_that_is_given_up_is_no_excuse(app, new_loop, begin):
    """A wait that is given up, or whose result is never read, does not hide the failure."""
    began = []

    async def main():
        began.append(time.monotonic())
        held = begin()
        await asyncio.sleep(2 * LIMIT)
        return held

    stopped_by_failure(app, main, new_loop)
    (failure,) = app.report.failures
    assert LONGER - 0.02 <= failure.at - began[0] < LIMIT
