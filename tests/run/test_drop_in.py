"""`graceful.run` as a drop-in for `asyncio.run`: in threads, with coroutines of any kind, with the policy's loop."""

from __future__ import annotations

import asyncio
import collections.abc
import sys
import threading
import traceback
import warnings

import pytest
from support.programs import LOOPS

import graceful
from graceful import App, StateError


class Wrapped(collections.abc.Coroutine):
    """A coroutine that is not of the built-in type, such as Cython, aiohttp and uvloop make."""

    def __init__(self, inner):
        self.inner = inner
        self.closed = 0

    def send(self, value):
        return self.inner.send(value)

    def throw(self, *error):
        return self.inner.throw(*error)

    def close(self):
        self.closed += 1
        self.inner.close()

    def __await__(self):
        return self.inner.__await__()


async def answer(value="ran"):
    await asyncio.sleep(0)
    return value


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_run_in_a_thread_while_another_one_runs(program, loop):
    """A function that wraps `run()` works in a thread of a program that is in `run()` itself; hooks run once."""
    ended = program(
        """
        @on_shutdown
        def hook():
            say("hook in", threading.current_thread().name)
        async def fetch():
            return "fetched"
        def fetch_sync():
            return graceful.run(fetch(), loop_factory=LOOP)
        async def main():
            return await asyncio.to_thread(fetch_sync)
        say(graceful.run(main(), loop_factory=LOOP))
        """,
        loop=loop,
    ).end()

    assert (0, ["hook in MainThread", "fetched"], "") == (ended.status, ended.lines, ended.err)


def test_two_threads_that_begin_at_once(program):
    """Of two `graceful.run()` that race both work, also where they are the first of the process; one has the hooks."""
    ended = program(
        """
        @on_shutdown
        def hook():
            say("hook")
        barrier = threading.Barrier(2)
        def thread(n):
            barrier.wait()
            say(graceful.run(asyncio.sleep(0.2, "done")))
        threads = [threading.Thread(target=thread, args=(n,)) for n in "ab"]
        for each in threads: each.start()
        for each in threads: each.join()
        """
    ).end()

    assert (0, ["done", "done", "hook"], "") == (ended.status, sorted(ended.lines), ended.err)


def test_two_threads_with_one_app(program):
    """Of two threads that run the same app, exactly one gets in, however they race; the other is refused."""
    ended = program(
        """
        sys.setswitchinterval(1e-6)
        inside, most = [], 0
        async def main():
            global most
            inside.append(1)
            most = max(most, len(inside))
            await asyncio.sleep(0.01)
            inside.pop()
            return "ran"
        def thread():
            barrier.wait()
            try:
                results.append(app.run(main))
            except StateError:
                results.append("refused")
        for i in range(30):
            app, barrier, results = App("r", grace=2), threading.Barrier(2), []
            threads = [threading.Thread(target=thread) for _ in range(2)]
            for each in threads: each.start()
            for each in threads: each.join()
            assert "ran" in results, results
        say("at once:", most)
        """
    ).end()

    assert (0, ["at once: 1"], "") == (ended.status, ended.lines, ended.err)


def test_the_second_thread_is_refused(app):
    """While a main is in its loop, a second `run()` of its app in another thread is refused, and closes what it got."""
    seen = []

    def second():
        main = Wrapped(asyncio.sleep(0))
        try:
            app.run(main)
        except StateError as error:
            seen.append((str(error), main.closed))

    app.run(asyncio.to_thread(second))
    assert 1 == len(seen)
    assert "running already" in seen[0][0]
    assert 1 == seen[0][1]
    assert "again" == app.run(answer("again"))


def test_refused_inside_a_loop():
    """In a running loop `graceful.run()` is refused, and says what to write, in every thread."""

    async def other_loop():
        with pytest.raises(StateError, match="async with app"):
            graceful.run(answer())

    async def main():
        with pytest.raises(StateError, match="running already"):
            graceful.run(answer())
        await asyncio.to_thread(asyncio.run, other_loop())

    graceful.run(main())


def test_a_start_that_fails_leaves_the_app_free(app):
    """If a run cannot be made, because the order of its hooks has a cycle, the app can run once that is mended."""

    @app.on_shutdown(after="nothing of this name")
    def hook():
        pass

    for _ in range(2):
        with pytest.raises(graceful.OrderError):
            app.run(answer())


# --- coroutines of any kind ------------------------------------------------------------------------------------------


def test_main_of_another_type(app, new_loop):
    """`run()` takes a coroutine of any type, and a function that returns one, and runs it to its end."""
    main = Wrapped(answer())

    assert "ran" == graceful.run(main, loop_factory=new_loop)
    assert "ran" == app.run(lambda: Wrapped(answer()), loop_factory=new_loop)
    assert 0 == main.closed


def test_an_awaitable_as_main(app):
    """As with `asyncio.run` from 3.14 on, main can be anything that can be awaited."""

    class Awaitable:
        def __await__(self):
            return answer().__await__()

    assert "ran" == app.run(Awaitable())


def test_main_of_another_type_that_never_starts(app):
    """If the program is told to stop before main begins, main is closed: Python would warn that it was not awaited."""
    main = Wrapped(answer())
    app.stop()

    assert None is app.run(main)
    assert 1 == main.closed


def test_tasks_of_another_type(app, new_loop):
    """`create_task()` takes them, with a name, a failure and a cancellation as any other."""

    async def main():
        assert "ran" == await app.create_task(Wrapped(answer()), name="wrapped")
        app.create_task(Wrapped(asyncio.sleep(60)))
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        app.create_task(server.serve_forever())  # of uvloop's own type there
        await asyncio.sleep(0)
        return "returned"

    assert "returned" == app.run(main, loop_factory=new_loop)


def test_a_failing_task_of_another_type(app):
    """What it raises is raised as of any other task."""

    async def fail():
        raise ValueError("inside")

    async def main():
        app.create_task(Wrapped(fail()))
        await asyncio.sleep(60)

    with pytest.raises(ValueError, match="inside"):
        app.run(main)


@pytest.mark.parametrize("wrong", [asyncio.sleep, 5, object()])
def test_what_is_no_coroutine_is_refused(app, wrong):
    """What asyncio would not take is refused, with the call that works."""

    async def main():
        with pytest.raises(TypeError, match="call the function"):
            app.create_task(wrong)

    app.run(main)


# --- how main ends ---------------------------------------------------------------------------------------------------


def test_a_cancelled_error_of_main():
    """A CancelledError that leaves main is raised as it is: with its arguments and the lines it came through."""

    async def main():
        task = asyncio.create_task(asyncio.sleep(5))
        asyncio.get_running_loop().call_later(0.01, task.cancel, "lost the lease")
        await task

    raised = []
    for run in (asyncio.run, graceful.run):
        with pytest.raises(asyncio.CancelledError) as caught:
            run(main())
        lines = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        raised.append((caught.value.args, lines[-2:]))

    assert (("lost the lease",), ["main", "sleep"]) == raised[1]
    assert raised[0] == raised[1]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_leftover_task_that_fails(program, loop):
    """What a task that nobody supervises raises as it is cancelled costs main nothing; it is logged and reported."""
    ended = program(
        """
        async def keepalive():
            try:
                await asyncio.sleep(60)
            finally:
                raise ConnectionResetError("peer went first")
        async def main():
            global kept
            kept = asyncio.create_task(keepalive())
            await asyncio.sleep(0.05)
            return "result"
        say(graceful.run(main(), loop_factory=LOOP))
        say(graceful.app.report.exit_status, *(repr(each.exception) for each in graceful.app.report.failures))
        """,
        loop=loop,
    ).end()

    assert (0, ["result", "0 ConnectionResetError('peer went first')"]) == (ended.status, ended.lines)
    assert 1 == ended.err.count("ConnectionResetError: peer went first")


def test_a_callback_that_fails_during_the_shutdown(app):
    """Nor does a timer of main's that goes off while the cleanup runs, and raises."""

    @app.on_shutdown
    async def slow():
        await asyncio.sleep(0.1)

    async def main():
        asyncio.get_running_loop().call_later(0.05, lambda: 1 / 0)
        return "result"

    assert "result" == app.run(main)
    assert [ZeroDivisionError] == [type(failure.exception) for failure in app.report.failures]


def test_a_task_that_failed_before_the_end():
    """A task that failed while the program ran, and that nobody looked at, is a failure of the program."""

    async def fail():
        raise ValueError("before")

    async def main():
        global kept
        kept = asyncio.create_task(fail())
        await asyncio.sleep(0.01)
        return "result"

    with pytest.raises(ValueError, match="before"):
        graceful.run(main())


@pytest.mark.parametrize("status", [0, 3])
def test_an_exit_asked_for_during_the_shutdown(app, status):
    """`sys.exit()` is heard at any time, in a task that nobody supervises too."""

    @app.on_shutdown
    async def hook():
        asyncio.get_running_loop().call_soon(sys.exit, status)
        await asyncio.sleep(0.01)

    async def main():
        return "result"

    with pytest.raises(SystemExit) as caught:
        app.run(main)
    assert status == caught.value.code


# --- the policy's loop -----------------------------------------------------------------------------------------------


def current_loop():
    """What `asyncio.get_event_loop()` returns outside of a running loop; an error's name if it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return asyncio.get_event_loop_policy().get_event_loop()
        except RuntimeError as error:
            return type(error)


def in_thread(function):
    """Run it in a thread of its own, whose policy has no loop yet."""
    seen = []
    thread = threading.Thread(target=lambda: seen.append(function()))
    thread.start()
    thread.join()
    return seen[0]


@pytest.mark.parametrize("factory", [None, asyncio.new_event_loop])
def test_the_policys_loop(factory):
    """Where `asyncio.Runner` sets the loop of the policy, so does `run()`, and takes it away afterwards."""

    def runs(run):
        async def main():
            return current_loop() is asyncio.get_running_loop()

        def both():
            mine = asyncio.new_event_loop()
            asyncio.set_event_loop(mine)
            try:
                during = run(main())
                after = current_loop()
                return during, after is mine or after
            finally:
                mine.close()
                asyncio.set_event_loop(None)

        return in_thread(both)

    def with_runner(coroutine):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(coroutine)

    set_by_runner = runs(with_runner)
    set_by_us = runs(lambda coroutine: App().run(coroutine, loop_factory=factory))
    # Inside a running loop the policy always answers with that one.
    assert set_by_runner == set_by_us


UNSOUND = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="an isolated subinterpreter has no threads in 3.11, and corrupts memory in 3.12"
)


@pytest.mark.parametrize("isolated", [False, pytest.param(True, marks=UNSOUND)])
def test_in_a_subinterpreter(program, isolated):
    """Where no signal handler can be set, in what is the main thread of a subinterpreter, an app runs without one."""
    ended = program(
        f"""
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters  # before 3.13
        if sys.version_info >= (3, 13):
            made = interpreters.create("isolated" if {isolated} else "legacy")
        else:
            made = interpreters.create(isolated={isolated})
        run = getattr(interpreters, "exec", None) or interpreters.run_string
        failed = run(made, '''if True:
            import asyncio, graceful
            app = graceful.App(grace=3)
            @app.on_shutdown
            async def close():
                await asyncio.sleep(0)
                print("closed", flush=True)
            async def main():
                await asyncio.to_thread(print, "main", flush=True)
            app.run(main)
            async def block():
                async with app:
                    await main()
            asyncio.run(block())
        ''')
        say(failed)
        interpreters.destroy(made)
        """
    ).end()
    assert (0, ["main", "closed", "main", "closed", "None"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="child watchers went with 3.14")
def test_a_child_watcher_of_the_program(program):
    """A child watcher that must be attached to the loop is, as under `asyncio.run`."""
    ended = program(
        """
        import warnings
        warnings.simplefilter("ignore")
        asyncio.set_child_watcher(asyncio.SafeChildWatcher())
        async def main():
            process = await asyncio.create_subprocess_exec("true")
            say("child", await process.wait())
        graceful.run(main())
        """
    ).end()

    assert (0, ["child 0"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize("loop", LOOPS)
def test_another_loop_that_main_tries_to_run(program, loop):
    """It is refused, as under `asyncio.run`, and the cleanup runs, although Python may have forgotten the running loop."""
    ended = program(
        """
        @graceful.on_shutdown
        async def hook():
            await asyncio.sleep(0)
            say("hook", asyncio.get_running_loop() is not None)
        async def main():
            other = asyncio.new_event_loop()
            try: other.run_forever()
            except RuntimeError: say("refused")
            finally: other.close()
        graceful.run(main(), loop_factory=LOOP)
        """,
        loop=loop,
    ).end()

    assert (0, ["refused", "hook True"], "") == (ended.status, ended.lines, ended.err)
