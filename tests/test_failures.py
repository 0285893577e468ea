"""Failures, seen from outside: noticed although nobody looks, no false alarm, dealt with, told, and in the report."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
import gc
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
import types
import warnings
import weakref

import pytest
from conftest import LOOPS

from graceful import App, HookTimeout, Interrupted, Kind, Verdict

try:
    import uvloop
except ImportError:
    uvloop = None

#: A patience that a test can wait for, in seconds; and a time that is longer.
SHORT, LONGER = 0.03, 0.1
#: How long main waits to be stopped: long enough to tell "noticed" from "came to light when all was over".
LIMIT = 5


class Mine(Exception):
    """What fails in here, fails with this."""


def raise_mine(*_):
    raise Mine


async def fail():
    raise Mine


@pytest.fixture(params=LOOPS)
def new_loop(request):
    return {"asyncio": asyncio.new_event_loop, "uvloop": getattr(uvloop, "new_event_loop", None)}[request.param]


@pytest.fixture
def app():
    return App("test", grace=3, patience=SHORT)


def stopped_by_failure(app, main, new_loop=None, error=Mine):
    """Run main, which must be stopped by this error: it is raised, and it is the cause."""
    with pytest.raises(error) as caught:
        app.run(main, loop_factory=new_loop)
    assert (Kind.EXCEPTION, caught.value) == (app.report.cause.kind, app.report.cause.exception)
    return caught.value


# --- noticed ------------------------------------------------------------------------------------------------------------

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


class Boundless(asyncio.Task):
    """A task of somebody's own making."""


def in_a_thread_of_its_own(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


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
def test_a_failed_task_is_noticed_though_it_is_held(app, new_loop, create):
    """A failed task or job that somebody holds and nobody awaits is a failure when the patience is over, not before."""
    began = []

    async def main():
        began.append(time.monotonic())
        held = create(asyncio.get_running_loop())
        await asyncio.sleep(LIMIT)
        return held

    stopped_by_failure(app, main, new_loop)
    (failure,) = app.report.failures
    assert SHORT - 0.02 <= failure.at - began[0] < LIMIT / 2


def test_of_many_that_fail_none_is_overlooked(app, new_loop):
    """Thousands at once, young or older when they fail, between others that do not: each that is held is told, once."""
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


def test_watching_keeps_no_context_alive(app):
    """What hangs on the context variables of whoever creates a task is let go with that task."""
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

    app._settings.patience = 60
    assert app.run(main) is None


def test_a_guest_leaves_no_timer_behind():
    """When the block is left nothing of ours is scheduled in the loop that stays."""
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
    """They work as without us."""

    async def main():
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **_: Bare(asyncio.Task(coro, loop=loop)))
        return await asyncio.get_running_loop().create_task(asyncio.sleep(0, "done"))

    assert "done" == app.run(main)


def test_watching_wakes_nobody_for_long(app):
    """Soon after the last task was created nothing of ours is scheduled any more: an idle program stays idle."""

    async def main():
        running = asyncio.create_task(asyncio.sleep(LIMIT))
        await asyncio.sleep(SHORT / 2)
        scheduled = [each for each in asyncio.get_running_loop()._scheduled if not each.cancelled()]
        running.cancel()
        return len(scheduled)

    assert app.run(main) == 1  # the one of `running`


def done_callback(loop):
    loop.create_future().add_done_callback(raise_mine)
    task = asyncio.ensure_future(asyncio.sleep(0))
    task.add_done_callback(raise_mine)


def readable(loop):
    left, right = socket.socketpair()
    with right:
        right.send(b"x")

    def read():
        loop.remove_reader(left)
        left.close()
        raise Mine

    loop.add_reader(left, read)


def writable(loop):
    left, right = socket.socketpair()

    def write():
        loop.remove_writer(left)
        left.close()
        right.close()
        raise Mine

    loop.add_writer(left, write)


def loop_signal_handler(loop):
    loop.add_signal_handler(signal.SIGUSR1, raise_mine)
    signal.raise_signal(signal.SIGUSR1)


def python_signal_handler(loop):
    signal.signal(signal.SIGUSR1, raise_mine)
    # From another thread, when the loop waits and no code of the program's runs that it could be raised in.
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()


AT_ONCE = {
    "call_soon": lambda loop: loop.call_soon(raise_mine),
    "call_later": lambda loop: loop.call_later(0.01, raise_mine),
    "call_at": lambda loop: loop.call_at(loop.time() + 0.01, raise_mine),
    "call_soon_threadsafe": lambda loop: in_a_thread_of_its_own(loop.call_soon_threadsafe, raise_mine),
    "done callback": done_callback,
    "reader": readable,
    "writer": writable,
    "signal handler of the loop": loop_signal_handler,
    "signal handler of Python": python_signal_handler,
    "a future that is dropped": lambda loop: loop.create_future().set_exception(Mine()),
    "a gather that is dropped": lambda loop: asyncio.gather(fail(), asyncio.sleep(0)) and None,
}


@pytest.fixture
def usr1():
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("way", AT_ONCE.values(), ids=AT_ONCE.keys())
def test_what_nobody_can_await_is_noticed_at_once(new_loop, way, usr1):
    """A callback that raises, whatever calls it, and a failed future that is dropped: no patience is spent on them."""
    app = App(grace=3, patience=60)

    async def main():
        way(asyncio.get_running_loop())
        await asyncio.sleep(LIMIT)

    stopped_by_failure(app, main, new_loop)


@pytest.mark.parametrize("way", ["supervised", "background", "drain", "on_signal", "resource"])
def test_who_is_supervised_is_noticed_at_once(new_loop, way):
    """Supervised tasks of every kind are noticed at once, though somebody holds them, or is about to await them."""
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


def task_of_own_class(loop, coro, **options):
    return Boundless(coro, loop=loop, **{name: value for name, value in options.items() if value is not None})


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
def test_a_task_factory_of_the_programs_own(program, loop, factory, when):
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


@pytest.mark.parametrize("when", ["before", "inside main"])
@pytest.mark.parametrize("way", ["held", "callback", "connection"])
def test_an_exception_handler_of_the_programs_own(app, new_loop, way, when):
    """An exception handler that the program sets, before or after ours, hears of each failure once; so does the app."""
    heard = []

    def own(loop, context):
        heard.append((loop, type(context["exception"]), type(context["message"])))

    def new():
        loop = new_loop()
        if when == "before":
            loop.set_exception_handler(own)
        return loop

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(own)
        heard.append(loop)
        if way == "connection":
            await connect(ReceivesNothing)
            return
        held = asyncio.create_task(fail()) if way == "held" else loop.call_soon(raise_mine)
        await asyncio.sleep(LIMIT)
        del held

    if way == "connection":
        app.run(main, loop_factory=new)
    else:
        stopped_by_failure(app, main, new)
    (loop, *rest) = heard
    assert ([(loop, Mine, str)], [Mine]) == (rest, [type(each.exception) for each in app.report.failures])


@pytest.mark.parametrize("way", ["callback", "held"])
def test_an_async_exception_handler_is_asyncios_business(app, new_loop, way, recwarn):
    """An `async def` exception handler, which asyncio never awaits, does not keep the app from noticing."""

    async def own(loop, context): ...

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(own)
        held = asyncio.create_task(fail()) if way == "held" else loop.call_soon(raise_mine)
        await asyncio.sleep(LIMIT)
        del held

    stopped_by_failure(app, main, new_loop)
    gc.collect()
    assert ["coroutine"] == [str(each.message).split()[0] for each in recwarn]


# --- not a failure ------------------------------------------------------------------------------------------------------


async def slow(seconds=LONGER):
    await asyncio.sleep(seconds)


async def fail_after(seconds):
    await asyncio.sleep(seconds)
    raise Mine


async def reluctant():
    """Takes its time to be cancelled."""
    try:
        await asyncio.sleep(LIMIT)
    finally:
        await slow()


def awaited():
    return fail()


async def awaited_by_a_task():
    await asyncio.create_task(asyncio.wait_for(asyncio.create_task(fail()), 1))


async def exception_read():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    task.add_done_callback(lambda task: task.exception())
    await slow()


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


def went_on(app, work, new_loop):
    """Run it: nothing is a failure, neither while it runs nor when all is over."""

    async def main():
        with contextlib.suppress(Mine):
            await work()
        await asyncio.sleep(2 * SHORT)
        return "went on"

    assert ("went on", ()) == (app.run(main, loop_factory=new_loop), app.report.failures)


@pytest.mark.parametrize("work", NO_FAILURES)
def test_what_somebody_looks_at_is_no_failure(app, new_loop, work):
    """What is awaited, gathered, in a group, waited for or looked at is no failure, whatever else takes its time."""
    went_on(app, work, new_loop)


@pytest.mark.parametrize(("patience", "delay"), [({}, 0.9), ({"patience": 20}, 1.2)])
def test_a_slow_awaiter(new_loop, patience, delay):
    """By default an awaiter may come 0.9 s late, and with patience=20 later than the default."""

    async def awaited_late():
        held = asyncio.create_task(fail())
        await asyncio.sleep(delay)
        await held

    went_on(App(grace=3, **patience), awaited_late, new_loop)


def test_an_awaiter_that_is_due_is_not_late(new_loop):
    """If the loop was blocked until both were due, the awaiter that wanted to come earlier does come first."""

    async def awaited_in_time():
        held = asyncio.create_task(fail())
        await asyncio.sleep(0.2 * LONGER)  # it has failed, and the patience has begun
        asyncio.get_running_loop().call_soon(time.sleep, 2 * LONGER)
        await asyncio.sleep(0.1 * LONGER)
        await held

    went_on(App(grace=3, patience=LONGER), awaited_in_time, new_loop)


def test_without_patience_a_held_failure_is_nobodys_business(new_loop):
    """patience=None: a failed task that is held stops nothing, as with asyncio alone."""

    async def held():
        held.task = asyncio.create_task(fail())
        await asyncio.sleep(LONGER)

    went_on(App(grace=3, patience=None), held, new_loop)
    assert isinstance(held.task.exception(), Mine)


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
def test_who_was_about_to_look_and_did_not(app, new_loop, begin):
    """A wait that is given up, or whose result nobody looks at, is no excuse: then the failure is noticed."""
    began = []

    async def main():
        began.append(time.monotonic())
        held = begin()
        await asyncio.sleep(2 * LIMIT)
        return held

    stopped_by_failure(app, main, new_loop)
    (failure,) = app.report.failures
    assert LONGER - 0.02 <= failure.at - began[0] < LIMIT


# --- the price ----------------------------------------------------------------------------------------------------------


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
    """A task that ended, and whose exception was retrieved if it failed, is gone with its last reference, at once."""
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


def test_a_failed_task_that_is_dropped_is_noticed_when_it_goes(new_loop):
    """A failed task that nobody holds is not held by us either: asyncio reports it at once, whatever the patience."""
    app = App(grace=3, patience=60)

    async def main():
        asyncio.create_task(fail())
        await asyncio.sleep(LIMIT)

    gc.disable()
    try:
        stopped_by_failure(app, main, new_loop)
    finally:
        gc.enable()


# --- guests -------------------------------------------------------------------------------------------------------------


async def guest(app, entered, leave, left):
    """A block of an app that is left when told to."""
    try:
        async with app:
            entered.set()
            await leave.wait()
    finally:
        left.set()


@pytest.mark.parametrize("first_to_leave", [0, 1])
@pytest.mark.parametrize("supervised", [True, False])
def test_two_guests_in_one_loop(new_loop, first_to_leave, supervised):
    """Two apps in one loop, whichever ends first: each notices its failures, and the loop is as it was in the end."""
    apps = [App("first", grace=3, patience=SHORT), App("second", grace=3, patience=SHORT)]

    async def owner():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(handler := lambda *_: None)
        loop.set_task_factory(task_of_own_class)
        before = {*vars(loop)}
        events = [[asyncio.Event() for _ in range(3)] for _ in apps]
        blocks = []
        for app, (entered, leave, left) in zip(apps, events, strict=True):
            blocks.append(asyncio.create_task(guest(app, entered, leave, left)))
            await entered.wait()
        held = []
        for index in (first_to_leave, 1 - first_to_leave):
            with pytest.raises(Mine):
                if not supervised and index == first_to_leave:  # a plain task is everybody's: it would stop both
                    raise Mine
                held.append(apps[index].create_task(fail()) if supervised else asyncio.create_task(fail()))
                await asyncio.wait_for(blocks[index], LIMIT)
            events[index][1].set()
            await asyncio.wait([blocks[index]])
        assert (handler, task_of_own_class) == (loop.get_exception_handler(), loop.get_task_factory())
        assert before == {*vars(loop)}

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(owner())
    kinds = [app.report.cause.kind for app in apps]
    assert [Kind.EXCEPTION] * (1 + supervised) == [kind for kind in kinds if kind is not Kind.COMPLETED]


# --- on_exception -------------------------------------------------------------------------------------------------------

FAILING = {
    "main": lambda app: None,
    "supervised": lambda app: app.create_task(fail()),
    "plain": lambda app: asyncio.create_task(fail()),
    "callback": lambda app: asyncio.get_running_loop().call_soon(raise_mine),
    "future": lambda app: asyncio.get_running_loop().create_future().set_exception(Mine()),
}


def main_that(app, way):
    """Something fails; main goes on until that was heard of."""

    async def main():
        main.heard = asyncio.Event()
        main.held = FAILING[way](app)
        if way == "main":
            raise Mine
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(main.heard.wait(), LONGER)
        return "went on"

    return main


@pytest.mark.parametrize("way", FAILING)
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("arity", [0, 1, 2])
def test_every_shape_of_a_handler_hears_of_every_failure(app, new_loop, way, asynchronous, arity):
    """Sync or async, with no argument, the Failure, or asyncio's own two: it is called once, and its True is heeded."""
    heard = []

    def deal(*arguments):
        heard.append(arguments)
        main.heard.set()
        return True

    async def deal_later(*arguments):
        await asyncio.sleep(0)
        return deal(*arguments)

    does = deal_later if asynchronous else deal
    app.on_exception([lambda: does(), lambda failure: does(failure), lambda loop, context: does(loop, context)][arity])
    main = main_that(app, way)
    assert (None if way == "main" else "went on") == app.run(main, loop_factory=new_loop)
    (arguments,) = heard
    (failure,) = app.report.failures
    assert (arity, Mine) == (len(arguments), type(failure.exception))
    if arity == 1:
        assert (failure,) == arguments
        assert (way in ("main", "supervised", "plain", "future")) == (failure.task is not None)
        assert way not in ("supervised", "plain") or main.held is failure.task
        assert failure.message == failure.context["message"]
    if arity == 2:
        assert ({**failure.context}, failure.exception) == (arguments[1], arguments[1]["exception"])


@pytest.mark.parametrize("way", FAILING)
def test_asyncios_own_handlers_work_undecorated(app, new_loop, way, caplog):
    """A handler written for asyncio may pass the context on to asyncio's default one, which knows what to do with it."""
    app.on_exception(lambda loop, context: loop.default_exception_handler(context))
    with contextlib.suppress(Mine):
        app.run(main_that(app, way), loop_factory=new_loop)
    assert [Mine] == [record.exc_info[0] for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize("value", [1, "yes", [True], object()])
def test_only_true_means_dealt_with(app, value):
    """What is merely true in a condition does not deal with anything: a function's result may be that by accident."""
    app.on_exception(lambda: value)
    stopped_by_failure(app, main_that(app, "supervised"))


@pytest.mark.parametrize("types", [(Mine,), (Exception,), (KeyError, Mine), (BaseException,), (OSError, KeyError)])
def test_filters(app, types):
    """A handler hears of the types it names, and of those below them."""
    heard = []
    app.on_exception(*types)(lambda: heard.append("heard"))
    stopped_by_failure(app, main_that(app, "supervised"))
    assert ["heard"] * issubclass(Mine, types) == heard


@pytest.mark.parametrize("deals", [0, 1, 2])
def test_all_handlers_are_asked(app, new_loop, deals):
    """Each handler is asked, in the order of registration; one that deals with it is enough, also if others fail."""
    asked = []

    @app.on_exception
    def fails():
        asked.append(0)
        raise RuntimeError

    if deals == 1:
        app.on_exception(lambda: asked.append(1) or True)

    @app.on_exception(timeout=0.05)
    async def hangs():
        asked.append(2)
        await asyncio.sleep(60)

    if deals == 2:
        app.on_exception(lambda: asked.append(3) or True)
    app.on_exception(lambda: asked.append(4))
    main = main_that(app, "supervised")
    if deals:
        assert "went on" == app.run(main, loop_factory=new_loop)
    else:
        stopped_by_failure(app, main, new_loop)
    assert [0, *[1] * (deals == 1), 2, *[3] * (deals == 2), 4] == asked
    verdicts = [each.verdict for each in app.report.outcomes if each.hook in ("fails", "hangs")]
    assert [Verdict.RAISED, Verdict.TIMED_OUT] == verdicts


@pytest.mark.parametrize("deals", [True, False])
def test_a_handler_that_stops_the_app(app, new_loop, deals):
    """A handler may call stop(): the program ends by that if the failure is dealt with, and else raises it as well."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))

    @app.on_exception
    def stop():
        app.stop()
        return deals

    with contextlib.nullcontext() if deals else pytest.raises(Mine):
        assert app.run(main_that(app, "supervised"), loop_factory=new_loop) is None
    assert (Kind.REQUESTED, [True], 0 if deals else 1) == (app.report.cause.kind, closed, app.report.exit_status)


@pytest.mark.parametrize("deals", [True, False])
def test_a_failure_while_handlers_run(app, new_loop, deals):
    """What fails while handlers run is asked about next, one at a time; and if none is dealt with, both are told."""
    heard, at_once = [], []

    @app.on_exception
    async def handle(failure):
        assert not at_once
        at_once.append(failure)
        if not heard:
            app.create_task(fail())
        await asyncio.sleep(0.02)
        heard.append(at_once.pop().exception)
        return deals

    if deals:
        assert "went on" == app.run(main_that(app, "supervised"), loop_factory=new_loop)
    else:
        raised = stopped_by_failure(app, main_that(app, "supervised"), new_loop)
        assert heard == [raised, raised.__context__]
    assert (2, heard) == (len({*heard}), [each.exception for each in app.report.failures])
    assert [Kind.COMPLETED if deals else Kind.EXCEPTION] == [cause.kind for cause in app.report.causes]


@pytest.mark.parametrize("deals", [True, False])
@pytest.mark.parametrize("way", ["supervised", "plain", "callback", "future"])
def test_a_hundred_failures_at_once(app, new_loop, way, deals):
    """A hundred failures at once: each is asked about once and reported once, and the program stops once, or not."""
    heard, closed, full = [], [], asyncio.Event()
    app.on_shutdown(lambda: closed.append(True))

    @app.on_exception
    def handle(failure):
        heard.append(failure)
        if len(heard) == 100:
            full.set()
        return deals

    async def main():
        held = [FAILING[way](app) for _ in range(100)]
        async with asyncio.timeout(LIMIT):
            await full.wait()
        if not deals:  # what stops it is soon to come
            await asyncio.sleep(LIMIT)
        return len(held)

    if deals:
        assert 100 == app.run(main, loop_factory=new_loop)
    else:
        raised = stopped_by_failure(app, main, new_loop)
        assert {each.exception for each in app.report.failures} == {raised, *raised.__context__.exceptions}
    if way != "plain" or deals:  # of these some may come to light when it has stopped already
        assert heard == [*app.report.failures]
    assert (100, len(heard), [True]) == (len({*app.report.failures}), len({*heard}), closed)
    assert [Kind.COMPLETED if deals else Kind.EXCEPTION] == [cause.kind for cause in app.report.causes]


def test_failures_during_the_shutdown(app, new_loop):
    """What fails while the program stops is recorded and raised with the rest; handlers are asked while it runs."""
    heard = []
    app.on_exception(lambda: bool(heard.append("heard")) or True)

    @app.background
    async def fails_in_the_end():
        try:
            await asyncio.sleep(60)
        finally:
            raise Mine

    with pytest.raises(Mine):
        app.run(asyncio.sleep(0.01), loop_factory=new_loop)
    assert ([], [Mine]) == (heard, [type(each.exception) for each in app.report.failures])
    assert (Kind.COMPLETED, 1) == (app.report.cause.kind, app.report.exit_status)


@pytest.mark.parametrize("who", ["task", "hook"])
def test_who_is_left_behind_and_fails_after_all(who):
    """A task or hook that refuses its cancellation, and fails while the cleanup still runs: what it raises is told."""
    app = App(grace=1, patience=SHORT)
    released = asyncio.Event()

    async def refuse():
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
        raise Mine("after all")

    @app.on_shutdown
    async def close():
        released.set()
        await asyncio.sleep(0.05)

    if who == "hook":
        app.on_shutdown(timeout=0.05)(refuse)

    async def main():
        if who == "task":
            main.held = asyncio.create_task(refuse())
            await asyncio.sleep(0)

    with pytest.raises((Mine, HookTimeout, ExceptionGroup)) as caught:
        app.run(main)
    assert "Mine: after all" in app.report.text() + "".join(traceback.format_exception(caught.value))
    assert (1, "close") == (app.report.exit_status, app.report.outcomes[-1].hook)
    if who == "task":
        assert [caught.value] == [each.exception for each in app.report.failures]


# --- which are fatal ----------------------------------------------------------------------------------------------------


class ReceivesNothing(asyncio.Protocol):
    def data_received(self, data):
        raise Mine


class NeverConnects(asyncio.Protocol):
    def connection_made(self, transport):
        transport.close()
        raise Mine


class NeverEnds(asyncio.Protocol):
    def eof_received(self):
        raise Mine


class NeverLost(asyncio.Protocol):
    def connection_lost(self, error):
        raise Mine


async def connect(protocol, *, server=None):
    """One connection of many, to a server with this protocol: something is sent, the end is waited for."""
    loop = asyncio.get_running_loop()
    server = server or await loop.create_server(protocol, "127.0.0.1", 0)
    with contextlib.closing(server), socket.create_connection(server.sockets[0].getsockname()) as client:
        client.setblocking(False)
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(client, b"x")
            client.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(loop.sock_recv(client, 1), LIMIT)
        await asyncio.sleep(0.02)


async def callback_of_a_server():
    async def talk(reader, writer):
        writer.close()
        raise Mine

    await connect(None, server=await asyncio.start_server(talk, "127.0.0.1", 0))


async def datagram():
    class Bad(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            heard.set()
            raise Mine

    heard = asyncio.Event()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Bad, local_addr=("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", transport.get_extra_info("sockname"))
        await asyncio.wait_for(heard.wait(), LIMIT)
    await asyncio.sleep(0)
    transport.close()


async def leave_a_generator():
    async def lines():
        try:
            yield
        finally:
            raise Mine

    await anext(lines())
    gc.collect()
    await asyncio.sleep(0.02)


HARMLESS = {
    "data_received": functools.partial(connect, ReceivesNothing),
    "eof_received": functools.partial(connect, NeverEnds),
    "client_connected_cb": callback_of_a_server,
    "connection_made": functools.partial(connect, NeverConnects),
    "connection_lost": functools.partial(connect, NeverLost),
    "generator": leave_a_generator,
}


@pytest.mark.parametrize("work", HARMLESS.values(), ids=HARMLESS.keys())
def test_one_connection_of_many(app, new_loop, work, caplog):
    """A protocol that raises, a handler of one client, a generator's close: logged as ever, reported, not fatal."""
    asked = []
    app.on_exception(lambda: asked.append("asked"))

    async def main():
        await work()
        return "went on"

    assert "went on" == app.run(main, loop_factory=new_loop)
    assert ([Mine], []) == ([type(each.exception) for each in app.report.failures], asked)
    assert [Mine] == [each.exc_info[0] for each in caplog.records if each.name == "asyncio" and each.exc_info]


def test_one_datagram_of_many(app, new_loop):
    """A protocol that raises in datagram_received: one datagram that is not understood does not stop the program."""
    assert app.run(datagram, loop_factory=new_loop) is None
    assert [Mine] == [type(each.exception) for each in app.report.failures]


def test_a_generator_that_is_closed_in_the_end(app, new_loop, caplog):
    """An async generator that fails when the loop closes those that are left: logged, in the report, status 0."""

    async def lines():
        try:
            yield
        finally:
            raise Mine

    async def main():
        main.lines = lines()
        await anext(main.lines)
        return "went on"

    assert "went on" == app.run(main, loop_factory=new_loop)
    assert ([Mine], 0) == ([type(each.exception) for each in app.report.failures], app.report.exit_status)
    assert [Mine] == [each.exc_info[0] for each in caplog.records if each.name == "asyncio"]


async def leave_a_task_pending():
    async def wait():
        await asyncio.get_running_loop().create_future()

    asyncio.create_task(wait())
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)


async def block_for_a_moment():
    asyncio.get_running_loop().slow_callback_duration = 0.01
    await asyncio.sleep(0)
    time.sleep(0.02)
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("work", "debug", "message"),
    [(leave_a_task_pending, False, "was destroyed but it is pending"), (block_for_a_moment, True, "took 0.")],
)
def test_warnings_are_only_logged(app, new_loop, work, debug, message, caplog):
    """What asyncio reports without an exception is logged as ever, and is no failure at all."""

    async def main():
        await work()
        return "went on"

    assert "went on" == app.run(main, debug=debug, loop_factory=new_loop)
    assert () == app.report.failures
    assert any(message in record.getMessage() for record in caplog.records if record.name == "asyncio")


def test_an_unclosed_transport_is_a_warning(app, new_loop):
    """A transport that is dropped unclosed is Python's ResourceWarning as ever, and no failure."""

    async def main():
        left, right = socket.socketpair()
        with right:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=left)
            transport.pause_reading()  # so that the loop does not hold it
            del transport, left, _
            gc.collect()
            await asyncio.sleep(SHORT)
        return "went on"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert ("went on", ()) == (app.run(main, loop_factory=new_loop), app.report.failures)
        gc.collect()
    assert {ResourceWarning} == {each.category for each in caught if "unclosed" in str(each.message)}


def lines_aside(text):
    """Lines are others with each change, and where the files are is their own affair."""
    return re.sub(r":\d+", ":N", re.sub(r"[\w/.-]*/(?=\w+\.py)", "", text))


# --- told ---------------------------------------------------------------------------------------------------------------

IN_MAIN = """
async def main():
    {}
    await asyncio.sleep(5)
"""
FAIL = "async def fail(): raise ValueError('mine')\n"
TASK = "in task 'NAME' (fail at program0.py:N)"

TOLD = {
    "main": ("async def main(): raise ValueError('mine')", None),
    "supervised": (FAIL + IN_MAIN.format("app.create_task(fail())"), TASK + ", created at program0.py:N in main"),
    "plain": (
        FAIL + IN_MAIN.format("held = asyncio.create_task(fail())"),
        TASK + ": nobody retrieved its exception within 0.05 s",
    ),
    "background": ("@app.background\n" + FAIL + IN_MAIN, TASK + ", registered as a background hook at program0.py:N"),
    "on_signal": (
        "@app.on_signal('USR1')\n" + FAIL + IN_MAIN.format("signal.raise_signal(signal.SIGUSR1)"),
        "in task 'NAME', registered as an on_signal hook at program0.py:N",
    ),
    "startup": ("@app.on_startup\n" + FAIL + IN_MAIN, "in startup hook fail (program0.py:N)"),
    "cleanup": ("@app.on_shutdown\n" + FAIL + "async def main(): pass", "in cleanup hook fail (program0.py:N)"),
    "drain": (
        "@app.on_shutdown(stage='drain')\n" + FAIL + "async def main(): pass",
        "in drain hook fail (program0.py:N)",
    ),
    "callback": (
        FAIL.removeprefix("async ") + IN_MAIN.format("asyncio.get_running_loop().call_later(0.01, fail)"),
        "in callback fail() at program0.py:N",
    ),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", TOLD)
def test_a_failure_is_told_once_and_in_the_users_words(program, loop, way, request):
    """The traceback is the call of run() and then the user's code; one note says where it came from; nothing else."""
    source, note = TOLD[way]
    source = f"app = App('t', grace=3, patience=0.05)\n{source.format('pass')}\napp.run(main, loop_factory=LOOP)\n"
    ended = program(source, loop=loop).end()
    frames = re.findall(r'^  File "(?:.*/)?([^/"]+)", line \d+, in (.+)$', ended.err, re.MULTILINE)
    failing = "main" if way == "main" else "fail"
    assert [("program0.py", "<module>"), ("_app.py", "run"), ("program0.py", failing)] == frames
    first, *_ = lines = ended.err.splitlines()
    assert ("Traceback (most recent call last):", 1, 1) == (first, ended.err.count("Traceback"), ended.status)
    if (loop, way) == ("uvloop", "callback"):
        note = lines[-1]  # uvloop's own words: an address in place of the file and the line
    last = re.sub(r"task '[^']+'", "task 'NAME'", lines_aside("\n".join(lines[-1 - (note is not None) :])))
    assert "\n".join(["ValueError: mine", *([note] if note else [])]) == last


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", ["supervised", "plain"])
@pytest.mark.parametrize("how", ["debug=True", "PYTHONASYNCIODEBUG"])
def test_debug_shows_where_a_task_was_created(program, loop, way, how):
    """In debug mode, however it is turned on, the note says where the task was created, innermost first."""
    create = {"supervised": "app.create_task(fail())", "plain": "return asyncio.create_task(fail())"}[way]
    source = f"""
app = App("t", grace=3, patience=0.05)
{FAIL}
def begin():
    {create}
async def main():
    held = begin()
    await asyncio.sleep(5)
app.run(main, loop_factory=LOOP{", debug=True" if how == "debug=True" else ""})
"""
    ended = program(source, loop=loop, env={} if how == "debug=True" else {"PYTHONASYNCIODEBUG": "1"}).end()
    assert (1, 1) == (ended.status, ended.err.count("Traceback"))
    (note,) = [line for line in ended.err.splitlines() if line.startswith("in task")]
    note = re.sub(r":\d+", ":N", note)
    assert "created at program0.py:N in begin < program0.py:N in main < program0.py:N in <module>" in note


def test_debug_does_not_hide_where_a_hook_was_registered(program):
    """In debug mode too, a background hook's note says where it was registered."""
    source = f"app = App('t')\n@app.background\n{FAIL}app.run(debug=True)\n"
    assert "registered as a background hook at program0.py:" in program(source).end().err


def test_the_errors_of_hooks_are_one_group(app, new_loop):
    """Errors of hooks of every kind come as one group, in the order of time, each noted with its hook and its place."""

    @app.resource
    async def lease():
        yield
        raise Mine(4)

    @app.on_shutdown
    def close():
        raise Mine(3)

    @app.on_shutdown(stage="drain")
    async def refuse():
        raise Mine(1)

    async def release():
        raise Mine(2)

    async def main():
        app.push_async_callback(release)

    with pytest.raises(ExceptionGroup, match="4 errors after main returned") as caught:
        app.run(main, loop_factory=new_loop)
    assert [1, 2, 3, 4] == [error.args[0] for error in caught.value.exceptions]
    notes = [re.sub(r"\(.*:\d+\)", "(place)", note) for error in caught.value.exceptions for note in error.__notes__]
    assert [
        "in drain hook refuse (place)",
        "in cleanup hook release (place)",
        "in cleanup hook close (place)",
        "in cleanup hook lease (place)",
    ] == notes


def test_mains_failure_comes_before_the_group(app):
    """Main's failure is raised; the errors of several hooks are one group that it is chained to."""
    for number in (2, 1):

        @app.on_shutdown
        def close(number=number):
            raise KeyError(number)

    raised = stopped_by_failure(app, main_that(app, "main"))
    assert isinstance(raised.__context__, ExceptionGroup)
    assert [1, 2] == [error.args[0] for error in raised.__context__.exceptions]
    assert 1 == "".join(traceback.format_exception(raised)).count("test_failures.Mine\n")


def leaving(app, way, leave):
    """A main, and what calls `leave` in this way."""

    async def leave_later():
        await asyncio.sleep(0)
        leave()

    async def lease():
        if way == "resource, first half":
            leave()
        yield
        leave()

    hooks = {
        "background": app.background,
        "on_signal": app.on_signal("USR1"),
        "drain hook": app.on_shutdown(stage="drain"),
        "on_exception": app.on_exception,
        "startup": app.on_startup,
        "cleanup hook": app.on_shutdown,
    }
    if way in hooks:
        hooks[way](leave_later)
    if way.startswith("resource"):
        app.resource(lease)

    async def main():
        loop = asyncio.get_running_loop()
        if way == "supervised":
            app.create_task(leave_later())
        elif way == "plain":
            asyncio.create_task(leave_later())
        elif way == "done callback":
            asyncio.create_task(asyncio.sleep(0)).add_done_callback(lambda _: leave())
        elif way == "timer":
            loop.call_later(0.01, leave)
        elif way == "job that is awaited":
            await asyncio.to_thread(leave)
        elif way == "job":
            main.held = loop.run_in_executor(None, leave)
        elif way == "pushed":
            app.push_async_callback(leave_later)
            return
        elif way == "on_signal":
            signal.raise_signal(signal.SIGUSR1)
        elif way == "on_exception":
            raise Mine
        elif way in ("drain hook", "resource, second half", "cleanup hook"):
            return
        await asyncio.sleep(LIMIT)

    return main


LEAVING = [
    "supervised", "plain", "background", "done callback", "timer", "job that is awaited", "job", "startup", "drain hook",
    "cleanup hook", "pushed", "on_signal", "resource, first half", "resource, second half",
    "on_exception",
]  # fmt: skip


@pytest.mark.parametrize("way", LEAVING)
@pytest.mark.parametrize(("code", "status"), [(7, 7), (None, 0), ("no", 1)])
def test_sys_exit_anywhere(app, way, code, status):
    """sys.exit() anywhere ends the program with its status, after the cleanup."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))
    with pytest.raises(SystemExit) as caught:
        app.run(leaving(app, way, functools.partial(sys.exit, code)))
    assert (code, status, [True]) == (caught.value.code, app.report.exit_status, closed)
    assert app.report.took < LIMIT / 2


@pytest.mark.parametrize(
    "way", [way for way in LEAVING if way != "on_exception"]
)  # there is an error, which outranks it
def test_keyboard_interrupt_raised_by_code_anywhere(app, new_loop, way):
    """KeyboardInterrupt raised by code is Ctrl-C, wherever it is raised: the cleanup runs, and death is by SIGINT."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))

    def leave():
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        app.run(leaving(app, way, leave), loop_factory=new_loop)
    assert (signal.SIGINT, -signal.SIGINT, [True]) == (caught.value.signal, app.report.exit_status, closed)
    assert app.report.took < LIMIT / 2


@pytest.mark.parametrize("way", ["first of two hooks", "last of two hooks", "on_exception"])
def test_an_error_outranks_a_keyboard_interrupt(app, new_loop, way):
    """KeyboardInterrupt raised by a hook takes the place of no error, whichever came first: that is what is raised."""

    def leave():
        raise KeyboardInterrupt

    def close():
        raise Mine("a cleanup failed")

    if way == "on_exception":
        app.on_exception(leave)
    else:
        for hook in (close, leave) if way == "first of two hooks" else (leave, close):
            app.on_shutdown(hook)

    async def main():
        if way == "on_exception":
            raise Mine("main failed")

    with pytest.raises((Mine, Interrupted)) as caught:  # pytest would end at one that it does not expect
        app.run(main, loop_factory=new_loop)
    message = "main failed" if way == "on_exception" else "a cleanup failed"
    assert (Mine, message, 1) == (type(caught.value), str(caught.value), app.report.exit_status)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", ["supervised task", "on_signal", "job"])
def test_a_keyboard_interrupt_leaves_no_traceback(program, loop, way):
    """The process dies by SIGINT, and stderr is empty."""
    source = """
app = App("t", grace=3, patience=0.05)
def leave(*_): raise KeyboardInterrupt
async def leave_later(): leave()
app.on_signal("USR1")(leave)
async def main():
    {}
    await asyncio.sleep(5)
app.on_shutdown(lambda: say("closed"))
app.run(main, loop_factory=LOOP)
"""
    begin = {
        "supervised task": "app.create_task(leave_later())",
        "on_signal": "signal.raise_signal(signal.SIGUSR1)",
        "job": "held = asyncio.get_running_loop().run_in_executor(None, leave)",
    }
    ended = program(source.format(begin[way]), loop=loop).end()
    assert (-signal.SIGINT, ["closed"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("source", "status", "told"),
    [
        pytest.param(
            "async def main():\n    app.create_task(leave(7))\n    app.create_task(leave(8))\n    await leave(9)",
            9, ["SystemExit: 7", "SystemExit: 8"], id="main before tasks",
        ),
        pytest.param(
            "@app.on_shutdown\ndef close(): raise OSError('disk')\nasync def main(): sys.exit(7)",
            7, ["OSError: disk"], id="main before a hook's error",
        ),
        pytest.param(
            "@app.on_shutdown\ndef close(): sys.exit(7)\nasync def main(): raise OSError('disk')",
            1, ["OSError: disk", "SystemExit: 7"], id="an error before sys.exit",
        ),
        pytest.param(
            "@app.on_shutdown\ndef two(): sys.exit(8)\n@app.on_shutdown\ndef one(): sys.exit(7)\nasync def main(): pass",
            7, ["SystemExit: 8"], id="two hooks",
        ),
    ],
)  # fmt: skip
def test_of_those_who_disagree_the_first_wins(program, loop, source, status, told):
    """The first that was heard of decides on the status, and stderr tells of the others, each once."""
    prefix = "app = App('t', grace=3)\nasync def leave(status): sys.exit(status)\n"
    ended = program(prefix + source + "\napp.run(main, loop_factory=LOOP)", loop=loop).end()
    assert (status, told) == (ended.status, sorted(re.findall(r"(?:SystemExit|OSError): \w+", ended.err)))


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    value: int = 1


@dataclasses.dataclass
class Unhashable(Exception):
    value: int = 1


class Slotted(Exception):
    __slots__ = ("__notes__",)


class Mute(Exception):
    def __str__(self):
        raise ValueError

    __repr__ = __str__


class Noteless(Exception):
    __notes__ = None


class Incomparable(Exception):
    def __eq__(self, other):
        raise ValueError

    __hash__ = None


class Petrified(Exception):
    def __setattr__(self, name, value):
        raise AttributeError(name)

    def add_note(self, note):
        raise ValueError


ODD = [Frozen, Unhashable, Slotted, Mute, Incomparable, Petrified, Noteless]


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("way", ["main", "supervised", "plain", "callback", "hook", "startup"])
def test_exceptions_that_refuse(app, kind, way):
    """An exception that takes no notes, or cannot be shown, compared or hashed, is raised and told like any other."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))

    def refuse():
        raise kind

    async def refuse_later():
        raise kind

    if way == "startup":
        app.on_startup(refuse)
    if way == "hook":
        app.on_shutdown(refuse)
        app.on_shutdown(refuse)

    async def main():
        if way == "main":
            raise kind
        held = {
            "supervised": lambda: app.create_task(refuse_later()),
            "plain": lambda: asyncio.create_task(refuse_later()),
            "callback": lambda: asyncio.get_running_loop().call_soon(refuse),
        }.get(way, lambda: app.stop())()
        await asyncio.sleep(LIMIT)
        return held

    with pytest.raises(ExceptionGroup if way == "hook" else kind) as caught:
        app.run(main)
    assert ([True], 1) == (closed, app.report.exit_status)
    assert kind.__name__ in app.report.text()
    assert kind.__name__ in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("kind", [Frozen, Incomparable])
def test_equal_exceptions_are_two(app, kind):
    """Main's exception and a hook's are told, also if they are equal, or cannot even be compared."""
    seconds = [kind()]

    @app.on_shutdown
    def close():
        raise seconds[0]

    async def main():
        raise kind

    first = stopped_by_failure(app, main, error=kind)
    assert first.__context__ is seconds[0]


# --- the report ---------------------------------------------------------------------------------------------------------


def test_what_is_in_the_report(app, new_loop):
    """Causes, outcomes and failures are all there, in the order of time, on the clock of the cause."""
    before = time.monotonic()
    app.on_exception(lambda failure: failure.exception.args == ("first",))

    @app.on_startup
    def start(): ...

    @app.on_shutdown
    def close():
        raise Mine("third")

    async def fail_with(word):
        raise Mine(word)

    async def main():
        app.create_task(fail_with("first"))
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_soon(app.stop)
        held = asyncio.create_task(fail_with("second"))
        await asyncio.sleep(LIMIT)
        return held

    with pytest.raises(ExceptionGroup, match="2 errors after stop"):
        app.run(main, loop_factory=new_loop)
    report = app.report
    assert [Kind.REQUESTED] == [cause.kind for cause in report.causes]
    assert [("startup", "ok"), ("on_exception", "ok"), ("cleanup", "raised")] == [
        (outcome.stage, outcome.verdict) for outcome in report.outcomes
    ]
    assert ["first", "second"] == [failure.exception.args[0] for failure in report.failures]
    started, handled, closed = [outcome.at for outcome in report.outcomes]
    first, second = [failure.at for failure in report.failures]
    over = report.cause.at + report.took
    times = [before, started, first, handled, report.cause.at, closed, second, over, time.monotonic()]
    assert sorted(times) == times


THROUGH = {
    "coroutines": ["middle", "innermost", "wait"],
    "a generator": ["middle", "generate", "innermost", "wait"],
    "a context manager": ["middle", "__aenter__", "enter", "innermost", "wait"],
}


@pytest.mark.parametrize("through", THROUGH)
def test_where_a_hook_stood(app, new_loop, through):
    """The stack of a hook that was timed out or cancelled leads through each await down to the innermost."""

    async def innermost():
        await asyncio.Event().wait()

    async def generate():
        await innermost()
        yield

    @contextlib.asynccontextmanager
    async def enter():
        await innermost()
        yield

    async def middle():
        if through == "coroutines":
            await innermost()
        if through == "a generator":
            await anext(generate())
        async with enter():
            pass

    @app.on_shutdown(timeout=0.05)
    async def hangs():
        await middle()

    @app.on_shutdown
    async def cancelled():
        asyncio.get_running_loop().call_later(0.01, asyncio.current_task().cancel)
        await middle()

    with pytest.raises(HookTimeout) as caught:
        app.run(asyncio.sleep(0), loop_factory=new_loop)
    stacks = {each.hook: (each.verdict, functions(each.stack)) for each in app.report.outcomes}
    assert {
        "cancelled": (Verdict.CANCELLED, ["cancelled", *THROUGH[through]]),
        "hangs": (Verdict.TIMED_OUT, ["hangs", *THROUGH[through]]),
    } == stacks
    assert caught.value.stack == app.report.outcomes[1].stack


def functions(stack):
    return [line.rpartition(".")[2].rpartition(" ")[2] for line in stack]


def test_a_start_that_was_broken_off(app, new_loop):
    """A startup hook that the shutdown cancels has its stack in the report as well."""

    async def connect():
        await asyncio.sleep(60)

    @app.on_startup
    async def start():
        asyncio.get_running_loop().call_soon(app.stop)
        await connect()

    app.run(asyncio.sleep(0), loop_factory=new_loop)
    (outcome,) = app.report.outcomes
    assert Verdict.CANCELLED == outcome.verdict
    assert ["start", "connect", "sleep"] == functions(outcome.stack)


def test_the_whole_text_of_a_report(app, new_loop):
    """report.text() is a timeline to read: seconds from the cause, what happened, where it stood, and the end."""

    @app.on_startup
    def connect(): ...

    @app.on_exception(KeyError)
    def deal_with():
        return True

    @app.on_shutdown(timeout=0.05)
    async def flush():
        await asyncio.sleep(60)

    @app.on_shutdown
    async def close():
        raise Mine("disk full")

    async def forget(key):
        raise KeyError(key)

    async def main():
        app.create_task(forget("name"), name="worker")
        await asyncio.sleep(0.01)
        raise Mine("broken")

    stopped_by_failure(app, main, new_loop)
    expected = f"""\
   -0.000 s  startup connect (test_failures.py:N) ok after 0.000 s
   -0.000 s  failure: KeyError: 'name', task 'worker' failed
   -0.000 s  on_exception deal_with (test_failures.py:N) ok after 0.000 s
   +0.000 s  exception: Mine: broken
   +0.000 s  cleanup close (test_failures.py:N) raised after 0.000 s: Mine: disk full
   +0.000 s  cleanup flush (test_failures.py:N) timed out after 0.000 s: HookTimeout: flush was not done after 0.000 s; \
it stood at tasks.py:N in sleep < test_failures.py:N in {flush.__qualname__}
               at tasks.py:N in sleep
               at test_failures.py:N in {flush.__qualname__}
   +0.000 s  over, exit status 1"""
    assert expected == re.sub(r"\d+\.\d+ s", "0.000 s", lines_aside(app.report.text()))


def test_one_line_an_event(app):
    """Whatever is in the message of an exception, each event of report.text() is one line, and can be printed."""
    message = "disk\nfull\r\x1b[2J\x00\x0b\x85\u2028after all"
    dealt_with = asyncio.Event()

    @app.on_exception(OSError)
    def deal_with():
        dealt_with.set()
        return True

    @app.on_shutdown
    def close():
        raise Mine(message)

    async def forget():
        raise OSError(message)

    async def main():
        app.create_task(forget())
        await dealt_with.wait()
        raise Mine(message)

    stopped_by_failure(app, main)
    lines = app.report.text().splitlines()
    events = [line[13:].partition(" ")[0].strip(":,") for line in lines]
    assert ["failure", "on_exception", "exception", "cleanup", "over"] == events
    assert [] == [line for line in lines if not line.isprintable()]
    assert [True, False, True, True, False] == ["disk" in line and "full" in line for line in lines]


def test_a_guest_leaves_a_failure_to_who_may_still_look():
    """When a block is left the loop goes on, and with it whoever will await the task: no failure of the app's."""
    app = App("guest", grace=3)

    async def main():
        async with app:
            task = asyncio.create_task(fail())
            await asyncio.sleep(SHORT)
        with pytest.raises(Mine):
            await task

    asyncio.run(main())
    assert () == app.report.failures
