"""Supervised tasks, task factories of the program's own, and tasks that would not end."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import pytest
from support.failures import LIMIT, SHORT, Mine, fail, stopped_by_failure
from support.programs import LOOPS

from graceful import App, Verdict

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


# --- supervised tasks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["supervised", "background", "drain", "on_signal", "resource"])
def test_a_failed_supervised_task_is_noticed_at_once(new_loop, way):
    """A supervised task of any kind that fails is noticed at once, even if it is held or about to be awaited."""
    app = App(grace=3, patience=60)
    if way == "background":
        app.background(fail)
    if way == "on_signal":
        app.on_signal("USR1")(fail)
    if way == "resource":

        @app.resource
        async def resource():
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0.01)).add_done_callback(lambda _: group.create_task(fail()))
                yield

    async def main():
        held = app.create_task(fail(), drain=way == "drain") if way in ("supervised", "drain") else None
        if way == "on_signal":
            signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(LIMIT)
        await held

    stopped_by_failure(app, main, new_loop, ExceptionGroup if way == "resource" else Mine)


# --- task factories --------------------------------------------------------------------------------------------------


def test_a_task_factory_that_takes_no_context(app):
    """A program's own task factory need not take more than asyncio gives it."""

    async def main():
        asyncio.get_running_loop().set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
        await asyncio.create_task(asyncio.sleep(0))
        return "done"

    app.on_shutdown(lambda: None)
    assert "done" == app.run(main)
    assert [Verdict.OK] == [o.verdict for o in app.report.outcomes]


FACTORIES = """
class Own(asyncio.Task): ...
def own(loop, coro, **options):
    return Own(coro, loop=loop, **{name: value for name, value in options.items() if value is not None})
def eager(loop, coro, **options):
    options.pop("eager_start", None)  # 3.13.0 refuses what uvloop offers
    return asyncio.eager_task_factory(loop, coro, **options)
"""


needs_eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("when", ["before", "inside main"])
@pytest.mark.parametrize("factory", ["own", pytest.param("eager", marks=needs_eager)])
def test_a_task_factory_of_the_program(program, loop, factory, when):
    """A task factory that the program sets, before or after ours, goes on making the tasks; they are noticed anyway."""
    source = f"""
{FACTORIES}
made = []
def factory(loop, coro, **options):
    made.append({factory}(loop, coro, **options))
    return made[-1]
def new():
    loop = (LOOP or asyncio.new_event_loop)()
    if {when == "before"}:
        loop.set_task_factory(factory)
    return loop
async def fail():
    raise ValueError("mine")
async def main():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    held = asyncio.create_task(fail())
    say(factory is loop.get_task_factory(), held is made[-1])
    await asyncio.sleep(5)
App("t", grace=3, patience=0.05).run(main, loop_factory=new)
"""
    ended = program(source, loop=loop).end()
    assert (1, ["True True"], 1) == (ended.status, ended.lines, ended.err.count("ValueError: mine"))
    assert ended.took < 4


class Bare:
    """What a factory may make, too: no weak reference can be made to it."""

    __slots__ = ("_future",)

    def __init__(self, future):
        self._future = future

    def __getattr__(self, name):
        return getattr(self._future, name)

    def __await__(self):
        return self._future.__await__()


def test_a_factory_whose_tasks_take_no_weak_reference(app):
    """They work as they do without the package."""

    async def main():
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **_: Bare(asyncio.Task(coro, loop=loop)))
        return await asyncio.get_running_loop().create_task(asyncio.sleep(0, "done"))

    assert "done" == app.run(main)


# --- tasks that would not end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_the_garbage_collector_is_left_as_it_was(app, enabled, frozen):
    """Whether the garbage collector is enabled, and what was frozen, is the same after many tasks were cancelled."""
    count = 0

    async def main():
        nonlocal count
        for _ in range(100):
            asyncio.get_running_loop().create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        if frozen:
            gc.freeze()
            count = gc.get_freeze_count()
        if not enabled:
            gc.disable()

    try:
        app.run(main)
        assert gc.isenabled() == enabled
        assert (gc.get_freeze_count() > count / 2) == frozen
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize("create", ["asyncio.create_task", "app.create_task"])
def test_tasks_that_always_start_a_successor_are_given_up(create):
    """Tasks that start a successor each time they are cancelled are given up in time and reported; the hooks run."""
    app = App("test", grace=0.4)
    seen = []
    going = [True]

    def start():
        if going:
            (app.create_task if create == "app.create_task" else asyncio.create_task)(again(), name="phoenix")

    async def again():
        try:
            await asyncio.sleep(60)
        finally:
            start()

    async def main():
        start()
        await asyncio.sleep(0.01)
        return "done"

    app.on_shutdown(lambda: seen.append("closed"))
    assert "done" == app.run(main)
    going.clear()

    assert ["closed"] == seen
    assert app.report.took < 1
    told = {(each.hook, each.verdict) for each in app.report.outcomes if each.stage == "cancel"}
    assert {("task 'phoenix'", Verdict.TIMED_OUT)} == told
