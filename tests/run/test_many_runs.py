"""Many runs, one after the other and side by side, leave nothing behind and do not touch each other."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
import weakref
from collections import Counter

import pytest
from support.apps import ENTRANCES
from support.programs import LOOPS

from graceful import App, Kind
from graceful._run.runner import Runner


def test_a_hundred_runs_leave_nothing_behind(app):
    """Descriptors, threads and objects are the same after a hundred runs as after a few."""
    app.on_shutdown(lambda: None)

    def measure():
        gc.collect()
        runners = sum(type(each) is Runner for each in gc.get_objects())
        return len(os.listdir("/proc/self/fd")), threading.active_count(), runners

    for _ in range(3):
        app.run(asyncio.sleep(0))
    before = measure()
    for _ in range(100):
        app.run(asyncio.sleep(0))
    assert before == measure()


def busy(app):
    """Every kind of hook, and a main that uses all there is; `app.end` says how it ends."""

    @app.resource
    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(0))
            yield

    @app.resource
    def plain():
        yield

    @app.background
    async def background():
        while await app.sleep(60):
            pass

    @app.on_shutdown
    async def close():
        await asyncio.to_thread(lambda: None)
        if app.end == "hook fails":
            raise KeyError

    app.on_startup(lambda: None)
    app.on_exception(ValueError)(lambda: None)
    app.on_shutdown(after=())(lambda: None)
    app.on_shutdown(stage="drain")(lambda: asyncio.create_task(asyncio.sleep(0)) and None)
    app.on_signal("USR1")(lambda: None)

    async def main():
        await asyncio.to_thread(lambda: None)
        app.push_async_callback(lambda: None)
        app.create_task(asyncio.sleep(60))
        app.held = asyncio.create_task(asyncio.sleep(60))
        async with app.critical():
            await app.sleep(0)
        if app.end == "fails":
            raise ValueError
        if app.end == "stop":
            app.stop()
            await app.wait_stopping()

    return main


def left_over():
    """All that a run could leave behind in its process."""
    gc.collect()
    kinds = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in map(type, gc.get_objects()))
    ours = ("graceful.", "asyncio.", "_asyncio.", "uvloop.", "concurrent.", f"{__name__}.", "support.")
    builtin = ("coroutine", "async_generator", "generator", "traceback", "frame")
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    wakeup_fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup_fd)
    return {
        "fds": sorted(os.listdir("/proc/self/fd")),
        "threads": [thread.name for thread in threading.enumerate()],
        "handlers": handlers,
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "wakeup fd": wakeup_fd,
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "objects": {
            kind: count
            for kind, count in kinds.items()
            if kind.startswith(ours) or kind.removeprefix("builtins.") in builtin
        },
    }


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("entrance", ["run", "guest", "thread"])
def test_a_hundred_runs_with_every_feature_leave_nothing(entrance, loop):
    """Descriptors, threads, signal handlers, timers and objects of every kind are as many after 100 runs as after some."""
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop

    def run_once(app, main):
        with contextlib.suppress(ValueError, KeyError):
            if entrance == "guest":

                async def guest():
                    async with app:
                        await main()

                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(guest())
            else:
                app.run(main, loop_factory=factory)

    def runs(app, main, count):
        for number in range(count):
            app.end = ("returns", "fails", "stop", "hook fails")[number % 4]
            if entrance == "thread":
                thread = threading.Thread(target=run_once, args=(app, main))
                thread.start()
                thread.join()
            else:
                run_once(app, main)

    app = App("again", grace=3)
    main = busy(app)
    runs(app, main, 8)
    before = left_over()
    runs(app, main, 100)

    assert before == left_over()


def run_and_note(entrance, end):
    """Run an app of all there is; the app, and weak references to it, its loop, its main and a task of its."""
    app = App("gone", grace=3)
    app.end = end
    main = busy(app)
    references = [weakref.ref(app)]

    async def noting():
        references.extend(map(weakref.ref, (asyncio.get_running_loop(), asyncio.current_task())))
        try:
            await main()
        finally:
            references.append(weakref.ref(app.held))
            app.held = None

    with contextlib.suppress(ValueError, KeyError):
        ENTRANCES[entrance](app, noting)
    return app, references


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("end", ["returns", "fails", "stop", "hook fails"])
def test_loop_and_tasks_of_a_run_are_released(entrance, end):
    """After a run the package keeps no loop or task alive, except through the exceptions in the report."""
    app, references = run_and_note(entrance, end)
    gc.collect()
    if "fail" not in end:
        assert [app, None, None, None] == [reference() for reference in references]

    del app
    gc.collect()
    assert [None] * 4 == [reference() for reference in references]


def test_two_apps_in_two_threads(app):
    """Two apps in two threads share neither failures nor stop() nor reports."""
    other = App("other", grace=3)
    seen = []
    failed = threading.Event()
    app.on_exception(lambda: seen.append("never"))
    other.on_exception(lambda: seen.append("told"))
    app.on_shutdown(lambda: seen.append("closed"))
    other.on_shutdown(lambda: seen.append("other closed"))

    async def fail():
        raise ValueError("other")

    def run_other():
        with pytest.raises(ValueError, match="other"):
            other.run(fail)
        failed.set()

    thread = threading.Thread(target=run_other)

    async def main():
        thread.start()
        assert await asyncio.to_thread(failed.wait, 5)
        seen.append(app.stopping)
        return "went on"

    assert "went on" == app.run(main)
    thread.join()
    assert ["told", "other closed", False, "closed"] == seen
    assert (Kind.COMPLETED, Kind.EXCEPTION) == (app.report.cause.kind, other.report.cause.kind)
