"""Failed tasks whose exception is not retrieved are noticed when the patience is over; watching leaves no trace."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import time
import types
import weakref

import pytest
from support.failures import LIMIT, LONGER, SHORT, Mine, fail, raise_mine, stopped_by_failure, went_on

from graceful import App

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


LIBRARY = types.ModuleType("library")

exec(
    """
from asyncio import create_task
class Client:
    def __init__(self, read):
        self.reader = create_task(read())
""",
    vars(LIBRARY),
)


needs_eager_start = pytest.mark.skipif(sys.version_info < (3, 14), reason="eager_start= came with 3.14")


HELD = {
    "asyncio.create_task": lambda loop: asyncio.create_task(fail()),
    "loop.create_task": lambda loop: loop.create_task(fail(), name="mine"),
    "in a context": lambda loop: asyncio.create_task(fail(), context=contextvars.copy_context()),
    "ensure_future": lambda loop: asyncio.ensure_future(fail()),
    "a library's": lambda loop: LIBRARY.Client(fail),
    "in another task": lambda loop: asyncio.create_task(asyncio.wait_for(fail(), 1)),
    "to_thread": lambda loop: asyncio.create_task(asyncio.to_thread(raise_mine)),
    "run_in_executor": lambda loop: loop.run_in_executor(None, raise_mine),
    "eager_start": pytest.param(
        lambda loop: asyncio.create_task(fail(), eager_start=True), marks=needs_eager_start
    ),
}  # fmt: skip


@pytest.mark.parametrize("create", HELD.values(), ids=HELD.keys())
def test_a_failed_task_that_is_held_is_noticed(app, new_loop, create):
    """A failed task or job that is held but never awaited is a failure when the patience is over, not before."""
    began = []

    async def main():
        began.append(time.monotonic())
        held = create(asyncio.get_running_loop())
        await asyncio.sleep(LIMIT)
        return held

    stopped_by_failure(app, main, new_loop)
    (failure,) = app.report.failures
    assert SHORT - 0.02 <= failure.at - began[0] < LIMIT / 2


def test_thousands_of_failed_tasks_are_all_noticed(app, new_loop):
    """Of thousands of tasks that fail between others that do not, each one that is held is reported once."""
    told = []

    @app.on_exception
    def keep(failure):
        told.append(failure.exception.args[0])
        return True

    async def work(number):
        await asyncio.sleep((number % 3) * SHORT / 2)  # some at once, some when they are no longer young
        if number % 2:
            raise Mine(number)

    async def main():
        held = [asyncio.create_task(work(number)) for number in range(3001)]
        awaited = asyncio.create_task(work(3001))
        with pytest.raises(Mine):
            await awaited
        while len(told) < 1500:
            await asyncio.sleep(0.01)
        return len(held)

    assert app.run(main, loop_factory=new_loop) == 3001
    assert sorted(told) == list(range(1, 3001, 2))


def test_an_unretrieved_failure_at_the_end_is_raised():
    """The patience ends with the program: an exception that was not retrieved by then is raised."""
    app = App("test", grace=3)

    async def fail():
        raise ValueError("unseen")

    async def main():
        main.held = asyncio.create_task(fail())
        await asyncio.sleep(0.01)

    with pytest.raises(ValueError, match="unseen"):
        app.run(main)


def test_patience_none_watches_no_task():
    """patience=None adds nothing to any task."""
    app = App(patience=None)

    async def main():
        return "create_task" in vars(asyncio.get_running_loop())

    assert app.run(main) is False


def test_without_patience_a_held_failure_is_ignored(new_loop):
    """patience=None: a failed task that is held stops nothing, as with asyncio alone."""

    async def held():
        held.task = asyncio.create_task(fail())
        await asyncio.sleep(LONGER)

    went_on(App(grace=3, patience=None), held, new_loop)
    assert isinstance(held.task.exception(), Mine)


# --- watching leaves no trace ----------------------------------------------------------------------------------------


def test_watching_keeps_no_context_alive(app):
    """The context that a task was created in is released with the task."""
    variable = contextvars.ContextVar("variable")

    class Request:
        pass

    async def main():
        request = Request()
        context = contextvars.copy_context()
        context.run(variable.set, request)
        await context.run(asyncio.get_running_loop().create_task, once())
        gone = weakref.ref(request)
        del context, request
        await asyncio.sleep(0)  # what woke this task holds it until then
        gc.collect()
        return gone()

    async def once():
        pass

    app._settings = app._settings._replace(patience=60)
    assert app.run(main) is None


def test_a_guest_leaves_no_timer_behind():
    """When the block is left the package has no timer in the loop that goes on."""
    app = App("test", grace=3, patience=60)

    async def main():
        async with app:
            held = asyncio.create_task(fail())
            await asyncio.sleep(0)
        scheduled = [each for each in asyncio.get_running_loop()._scheduled if not each.cancelled()]
        with pytest.raises(Mine):
            await held
        return scheduled

    assert [] == asyncio.run(main())


def test_watching_leaves_no_timer(app):
    """Soon after the last task was created the package has no timer left: an idle program stays idle."""

    async def main():
        running = asyncio.create_task(asyncio.sleep(LIMIT))
        await asyncio.sleep(SHORT / 2)
        scheduled = [each for each in asyncio.get_running_loop()._scheduled if not each.cancelled()]
        running.cancel()
        return len(scheduled)

    assert app.run(main) == 1  # the one of `running`


def test_a_task_that_ended_well_is_not_kept_alive(app):
    """Watching a task does not keep it alive."""

    async def main():
        reference = weakref.ref(asyncio.create_task(asyncio.sleep(0)))
        await asyncio.sleep(0.01)
        gc.collect()
        return reference()

    assert app.run(main) is None


def life_of_a_task(create, work, look):
    """Whether a task is still there right after its end and, if it failed, when its exception was retrieved."""

    async def main():
        task = create(work())
        reference = weakref.ref(task)
        await asyncio.wait([task])
        look(task)
        del task
        for _ in range(3):
            await asyncio.sleep(0)
        return reference() is not None

    return main


@pytest.mark.parametrize(
    ("work", "look"), [(lambda: asyncio.sleep(0), id), (fail, asyncio.Task.exception)], ids=["well", "failed"]
)
@pytest.mark.parametrize("supervised", [False, True])
def test_no_task_is_kept_alive(app, new_loop, work, look, supervised):
    """A task that ended, and whose exception if any was retrieved, is released with its last reference."""
    app.on_exception(lambda failure: failure.task is not None)

    def create(coro):
        return app.create_task(coro) if supervised and work is not fail else asyncio.create_task(coro)

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            without_us = runner.run(life_of_a_task(asyncio.create_task, work, look)())
        assert (False, False) == (without_us, app.run(life_of_a_task(create, work, look), loop_factory=new_loop))
    finally:
        gc.enable()


def test_a_failed_task_that_is_dropped_is_noticed_at_once(new_loop):
    """A failed task without references is not kept alive: asyncio reports it at once, whatever the patience."""
    app = App(grace=3, patience=60)

    async def main():
        asyncio.create_task(fail())
        await asyncio.sleep(LIMIT)

    gc.disable()
    try:
        stopped_by_failure(app, main, new_loop)
    finally:
        gc.enable()
