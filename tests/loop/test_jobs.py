"""Jobs in executors: what they use stays open until they have ended, one that is stuck is named, and no error is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.apps import ENTRANCES, nothing
from support.programs import LOOPS

from graceful import App, Interrupted, Verdict


@pytest.fixture
def pool():
    """An executor of the program's own, with one thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def in_thread(pool, function):
    return asyncio.to_thread(function)


def in_default_executor(pool, function):
    return asyncio.get_running_loop().run_in_executor(None, function)


def in_own_executor(pool, function):
    return asyncio.get_running_loop().run_in_executor(pool, function)


def in_own_default_executor(pool, function):
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    return asyncio.to_thread(function)


WAYS = [in_thread, in_default_executor, in_own_executor, in_own_default_executor]


class Work:
    """A main that waits for a job, stops the app meanwhile, and lets the job go on when the wait was cancelled."""

    def __init__(self, app, seen, start, stop=None):
        self.app, self.seen, self.start, self.stop = app, seen, start, stop or app.stop
        self.cancelled = threading.Event()

    def job(self):
        loop_calls(self.loop, self.stop)
        self.cancelled.wait(10)
        self.seen.append("job goes on")
        threading.Event().wait(0.1)  # not to synchronise: a cleanup that does not wait needs a chance to be first
        self.seen.append("job ended")

    async def __call__(self):
        self.loop = asyncio.get_running_loop()
        try:
            await self.start(self.job)
        finally:
            self.cancelled.set()


def loop_calls(loop, function):
    """In a thread, when main waits for it."""
    loop.call_soon_threadsafe(function)


def add_resource(app, seen):
    @app.resource
    async def database():
        yield
        seen.append("closed")


@pytest.mark.parametrize("way", WAYS)
def test_a_resource_is_closed_after_the_job_that_uses_it(app, new_loop, pool, way):
    """A job in a thread that is under way when the shutdown begins is waited for before the cleanup."""
    seen = []
    add_resource(app, seen)
    work = Work(app, seen, lambda job: way(pool, job), lambda: signal.raise_signal(signal.SIGTERM))

    with pytest.raises(Interrupted):
        app.run(work, loop_factory=new_loop)

    assert ["job goes on", "job ended", "closed"] == seen


def test_a_job_of_a_background_task_is_waited_for(app, new_loop, pool):
    """So it is where main is not what started the job."""
    seen = []
    add_resource(app, seen)
    work = Work(app, seen, lambda job: in_thread(pool, job))
    app.background(work.__call__)

    app.run(loop_factory=new_loop)

    assert ["job goes on", "job ended", "closed"] == seen


def stuck_app(seen, new_loop):
    """An app whose main waits for a job that ends when it is let go, which is after the run."""
    app, go = App("test", grace=1), threading.Event()

    def stuck_job():
        loop_calls(loop, app.stop)
        go.wait(20)

    @app.on_shutdown
    async def clean_up():
        seen.append(app.remaining())

    async def main():
        nonlocal loop
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(stuck_job)

    loop = None
    return app, main, go, stuck_job.__code__.co_firstlineno


def test_a_stuck_job_costs_its_share_only(new_loop):
    """A job that does not end has half of the grace, and the cleanup runs in the other half."""
    seen = []
    app, main, go, _ = stuck_app(seen, new_loop)
    try:
        app.run(main, loop_factory=new_loop)
    finally:
        go.set()

    [remaining] = seen
    assert 0.2 < remaining <= 0.5
    assert app.report.took < 1 + 0.5


def test_a_stuck_job_is_named(new_loop, caplog):
    """The log and the report say which function it is, with file and line, and where its thread is stuck."""
    app, main, go, line = stuck_app([], new_loop)
    try:
        with caplog.at_level(logging.WARNING, "graceful"):
            app.run(main, loop_factory=new_loop)
    finally:
        go.set()

    [message] = [each.getMessage() for each in caplog.records if "stuck_job" in each.getMessage()]
    [outcome] = [each for each in app.report.outcomes if "stuck_job" in each.hook]
    assert f"job stuck_job (loop/test_jobs.py:{line}) is still running" in message
    assert f"test_jobs.py:{line + 2} in stuck_app.<locals>.stuck_job" in message
    assert Verdict.TIMED_OUT is outcome.verdict
    assert f"test_jobs.py:{line + 2} in" in outcome.stack[0]


def test_a_job_that_fails_when_nobody_awaits_it_is_reported(app, new_loop, caplog):
    """Its task is cancelled, so its error reaches nobody: it is logged and reported, and changes no status."""
    cancelled = threading.Event()
    error = OSError("disk full")

    def write():
        loop_calls(loop, app.stop)
        cancelled.wait(10)
        raise error

    async def main():
        nonlocal loop
        loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(write)
        finally:
            cancelled.set()

    loop = None
    app.run(main, loop_factory=new_loop)

    line = write.__code__.co_firstlineno
    [message] = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert f"job write (loop/test_jobs.py:{line}) failed after its task was cancelled: OSError: disk full" == message
    assert [error] == [each.exception for each in app.report.failures]
    assert 0 == app.report.exit_status


def test_a_job_whose_error_is_awaited_is_not_reported(app, new_loop, caplog):
    """An error that the program sees and deals with is its own business."""

    def write():
        raise OSError("disk full")

    async def main():
        with contextlib.suppress(OSError):
            await asyncio.to_thread(write)

    app.run(main, loop_factory=new_loop)

    assert ([], ()) == (caplog.records, app.report.failures)


def test_jobs_that_have_not_begun_are_cancelled(app, new_loop, pool):
    """Jobs that wait for a thread of the program's own executor are work: they do not begin in the shutdown."""
    seen = []
    add_resource(app, seen)

    async def start(job):
        queued = [in_own_executor(pool, name) for name in (job, lambda: seen.append("never"))]
        await asyncio.gather(*queued)

    app.run(Work(app, seen, start), loop_factory=new_loop)
    pool.shutdown()

    assert ["job goes on", "job ended", "closed"] == seen


def test_queued_jobs_that_nobody_awaits_are_cancelled(app, new_loop, pool):
    """So it is where nothing waits for the job, and main returns."""
    seen, go = [], threading.Event()
    add_resource(app, seen)

    async def main():
        in_own_executor(pool, lambda: go.wait(10))
        in_own_executor(pool, lambda: seen.append("never"))
        asyncio.get_running_loop().call_later(0.1, go.set)

    app.run(main, loop_factory=new_loop)
    pool.shutdown()

    assert ["closed"] == seen


def test_the_jobs_of_a_resource_are_its_own(app, new_loop, pool):
    """A job that a resource has queued is no work: it is run, because the resource may wait for it when it is closed."""
    seen, go = [], threading.Event()

    @app.resource
    async def writer():
        jobs = [in_own_executor(pool, job) for job in (lambda: go.wait(10), lambda: seen.append("flushed"))]
        yield
        go.set()
        await asyncio.gather(*jobs)
        seen.append("closed")

    async def main(): ...

    app.run(main, loop_factory=new_loop)

    assert ["flushed", "closed"] == seen


def test_a_second_ctrl_c_ends_the_wait(new_loop):
    """Whoever hurries the shutdown does not wait for a job's share of a long grace."""
    app, go = App("test", grace=60, debounce=0), threading.Event()
    seen = []
    add_resource(app, seen)

    def job():
        loop_calls(loop, lambda: signal.raise_signal(signal.SIGINT))
        go.wait(20)

    async def main():
        nonlocal loop
        loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(job)
        finally:
            loop.call_later(0.1, signal.raise_signal, signal.SIGINT)

    loop = None
    try:
        with pytest.raises(Interrupted):
            app.run(main, loop_factory=new_loop)
    finally:
        go.set()

    assert ["closed"] == seen
    assert app.report.took < 2 + 1


PROCESS_POOL = """
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor

app = App("test", grace=5)

@app.resource
async def database():
    yield
    say("closed after the job:", time.monotonic() - began >= 0.5)
    for thread in threading.enumerate():  # the pool's own: if it ends while Python does, Python 3.13 may stumble over it
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()

async def main():
    global began
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0)
        asyncio.get_running_loop().call_later(0.05, say, "ready")
        began = time.monotonic()
        try:
            await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0.6)
        finally:
            pool.shutdown(wait=False)  # else the end of the block would wait for the job, whatever the app does

app.run(main, loop_factory=LOOP)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_job_in_another_process_is_waited_for(program, loop):
    """A process pool is an executor like any other: the job under way ends before what it uses is closed."""
    ended = program(PROCESS_POOL, loop=loop).wait_for("ready").send(signal.SIGTERM).end()

    assert (-signal.SIGTERM, ["ready", "closed after the job: True"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize("begins", ["startup", "resource", "acquired"])
def test_a_job_of_what_is_cut_short(app, begins):
    """The job of a startup that a signal cuts short has ended before what it uses is closed."""
    seen = []

    @app.resource
    async def database():
        yield
        seen.append("closed")

    def migrate():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        seen.append("migrated")

    async def start():
        await asyncio.to_thread(migrate)

    async def lives():
        await start()
        yield

    async def main():
        await app.enter_async_context(contextlib.asynccontextmanager(lives)())

    if begins == "startup":
        app.on_startup(start)
    elif begins == "resource":
        app.resource(lives)
    with pytest.raises(KeyboardInterrupt):
        app.run(main)
    assert ["migrated", "closed"] == seen


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_job_that_a_hook_leaves_behind(app, entrance):
    """It has ended before the next hook begins, like a task that is left behind."""
    seen = []

    def job():
        time.sleep(0.1)
        seen.append("job done")

    app.on_shutdown(lambda: seen.append("next hook"))

    @app.on_shutdown
    async def flush():
        asyncio.get_running_loop().run_in_executor(None, job)

    ENTRANCES[entrance](app, nothing)
    assert ["job done", "next hook"] == seen
    assert [Verdict.OK] * 2 == [outcome.verdict for outcome in app.report.outcomes]


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_job_of_a_task_of_a_resource(app, entrance):
    """The resource that owns the task is left first; then the job has ended before what it uses is closed."""
    seen = []

    @app.resource
    async def database():
        yield
        seen.append("closed")

    def write():
        time.sleep(0.2)
        seen.append("written")

    @app.resource
    async def writer():
        task = asyncio.create_task(asyncio.to_thread(write))
        await asyncio.sleep(0.05)
        yield
        seen.append("left")
        task.cancel()

    ENTRANCES[entrance](app, nothing)
    assert ["left", "written", "closed"] == seen
