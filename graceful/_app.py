"""The `App`: `run()`, the block, and what can be called while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import os
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextvars import Context
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from typing_extensions import override

import graceful  # itself: the annotation `graceful.Plan` is looked up when somebody asks for it
from graceful._core.arguments import flag, pause
from graceful._core.errors import HookError, StateError
from graceful._core.places import call_site
from graceful._core.settings import Settings, app_name, check_settings
from graceful._hooks.calls import check_callback, check_context_manager, check_main, check_task, is_coroutine
from graceful._hooks.decorators import Hooks
from graceful._hooks.hook import Hook, described
from graceful._loop.current import apps_around, enter_app, is_part_of, leave_app, serving_loop
from graceful._observe.observers import Observer
from graceful._observe.report import Report

# The rooms of a run are imported with the first one: a program that only registers hooks or prints --help saves 10 ms.
if TYPE_CHECKING:
    from graceful._core.deadline import Deadline
    from graceful._run.embedded import EmbeddedRun
    from graceful._run.run import LoopParts, Run

T = TypeVar("T")
D = TypeVar("D")
P = ParamSpec("P")
R = TypeVar("R", bound="Run")
Told = TypeVar("Told", bound=Observer)
A = TypeVar("A", bound=Awaitable[object] | None)

__all__ = ["App", "current_app", "watch_runs"]


#: Called with each app that begins to run, and with each that has ended.
_begin_watchers: list[Callable[[App], None]] = []
_end_watchers: list[Callable[[App], None]] = []


def watch_runs(on_begin: Callable[[App], None], on_end: Callable[[App], None]) -> None:
    """
    Have the runs of all apps told from now on.

    Args:
        on_begin: Called with an app that begins to run.
        on_end: Called with one that has ended.
    """
    _begin_watchers.append(on_begin)
    _end_watchers.append(on_end)


class App(Hooks):
    """
    Graceful shutdown for an asyncio program: its cleanup runs to completion, whatever ends it.

    Durations are in seconds; more than 1e9, which is 30 years, counts as 1e9.

    Args:
        name: What the app is called in messages; `None`: the script's name.
        grace: Seconds from the first cause to the end of everything; `None`: the environment variable
            `GRACEFUL_GRACE`, else 8, which fits inside the 10 that Docker waits.
        drain_delay: Seconds to go on serving after the first signal before anything is stopped, because Kubernetes
            removes endpoints while it sends SIGTERM. Part of the grace. `None`: the environment variable
            `GRACEFUL_DRAIN_DELAY`, else 0.
        drain_share: Which part of the grace left after that delay is for work to end by itself, before what still runs is
            cancelled; from 0 to 0.9.
        signals: The signals that stop the program; `None`: SIGINT, SIGTERM, SIGHUP, and SIGBREAK on Windows. If the
            process inherits one as ignored (`nohup`, `sh -c 'app &'`), it stays ignored.
        debounce: Seconds after a signal that counted before the next one counts; until then it is the same request.
        patience: Seconds that a failed task which is not supervised may wait for somebody to retrieve its exception,
            before it counts as a failure of the program. `None`: tasks are not watched, nothing is added to any task,
            and only what asyncio itself reports counts.

    Raises:
        TypeError: An argument of the wrong type.
        ValueError: A number is negative, NaN or infinite; there is no such signal, or no handler can take it; the delay
            is not shorter than the grace.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        grace: float | None = None,
        drain_delay: float | None = 0.0,
        drain_share: float = 0.5,
        signals: Iterable[Any] | None = None,
        debounce: float = 0.5,
        patience: float | None = 1.0,
    ) -> None:
        super().__init__()
        self._check_settings = functools.partial(
            check_settings,
            name=name,
            grace=grace,
            drain_delay=drain_delay,
            drain_share=drain_share,
            signals=signals,
            debounce=debounce,
            patience=patience,
        )
        self._name = app_name(name)
        self._run: Run | None = None
        self._claimed = threading.Lock()  # held while there is a run
        self._stop_requested = False
        self._report: Report | None = None
        self._observers: list[Observer] = []
        self._check_early()

    def _check_early(self) -> None:
        """Report a bad argument, or a bad environment variable, where the app is made."""
        self._settings  # noqa: B018 - a property that raises

    @functools.cached_property
    def _settings(self) -> Settings:
        return self._check_settings()

    @override
    def __repr__(self) -> str:
        return f"<graceful.App {self._name!r}>"

    # --- entrances -------------------------------------------------------------------------------------------------

    @overload
    def run(
        self,
        main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]],
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> T: ...
    @overload
    def run(
        self,
        main: None = None,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None: ...
    def run(
        self,
        main: Any = None,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> Any:
        """
        Run until main returns, a signal comes, something fails or `stop()` is called; then clean up, and end.

        Owns the loop, and in the main thread the signals. In another thread it works without signals.

        Args:
            main: A coroutine, or a coroutine function without required parameters; `None`: run until stopped.
            debug: asyncio's debug mode; `None`: as `PYTHONASYNCIODEBUG` says.
            loop_factory: What makes the loop, such as `uvloop.new_event_loop`; `None`: asyncio's own.

        Returns:
            What main returned; `None` where `stop()` came before that.

        Raises:
            Interrupted: SIGINT came, or another signal before main was done. Uncaught, the process dies by it.
            BaseException: What main, a task, a callback or a hook raised and nobody dealt with.
            StateError: The app is running already, or a loop is running in this thread.
            OrderError: The hooks' `after=` cannot be satisfied.
        """
        if not isinstance(self, App):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"run() is called on an app, got {self!r}: write App().run(main)")
        raised, result = self._run_main(main, debug, loop_factory, instead=None)
        try:
            if raised is not None:
                raise raised  # here, so that its traceback has one frame of the package
            return result
        finally:
            del raised  # or the exception, its traceback and this frame would keep each other alive

    def _run_main(
        self,
        main: Any,
        debug: bool | None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
        *,
        instead: Callable[[], App] | None,
    ) -> tuple[BaseException | None, Any]:
        """
        All of `run()` but its end: what there is to raise, and what main returned.

        `instead` makes the app that runs main where this one is running already; `None`: that is an error.
        """
        self._refuse_in_loop(main)
        coroutine = main if is_coroutine(main) else None
        release: Callable[[], None] = _nothing
        try:
            from graceful._process.handlers import block_signals  # here, to save start-up time

            debug = None if debug is None else flag("debug", debug)
            coroutine = None if main is None else _coroutine(main)
            release = block_signals(self._settings.signals)
            from graceful._loop.new_loop import check_factory
            from graceful._run.runner import Runner

            loop_factory = check_factory(loop_factory)

            owner, runner = self._begin(Runner, instead)
        except BaseException:
            release()
            if coroutine is not None:
                coroutine.close()
            raise
        try:
            return runner.run(coroutine, debug, loop_factory, on_taken=release)
        finally:
            release()
            owner._run_ended(runner)

    async def __aenter__(self) -> Self:
        """
        Start the app in a loop that somebody else owns: startup hooks, resources, background tasks.

        In the main thread it takes the signals that stop it and that nobody else has, and those of `on_signal` hooks.

        Raises:
            StateError: The app is running already, or was told to stop before the block could begin.
            BaseException: What a startup hook raised, after what was started was cleaned up.
        """
        from graceful._loop.new_loop import check_loop  # here, to save start-up time
        from graceful._run.embedded import EmbeddedRun

        loop = asyncio._get_running_loop()
        if loop is None:
            raise StateError(
                "`async with app:` needs a running asyncio event loop: graceful runs on asyncio, not on trio"
            )
        check_loop(loop)
        _, run = self._begin(
            functools.partial(
                EmbeddedRun, functools.partial(is_part_of, self), self._deadline_around(loop), self._run_ended
            )
        )
        try:
            await run.enter()
        except BaseException:
            self._run_ended(run)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Shut down. What failed meanwhile leaves the block as an exception."""
        run: EmbeddedRun | None = self._run  # type: ignore[assignment]
        if run is None:
            raise StateError(f"{self!r} is not in a block: __aexit__ was called twice, or without __aenter__")
        try:
            return await run.leave(error)
        finally:
            self._run_ended(run)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncGenerator[dict[str, Any], None]:
        """
        The app as an ASGI-style lifespan: `Starlette(lifespan=app.lifespan)`, `FastAPI(lifespan=app.lifespan)`.

        The server owns the process: if the app stops from inside (a failure, `stop()`), the server is sent the SIGTERM that
        it handles, answers what it has accepted, and ends with a status of its own.

        It yields what the resources have yielded, by the names of their functions (of two with one name, the later), which
        Starlette and FastAPI make `request.state.pool`. A resource that yields nothing is left out.

        Where the app runs already and the server is a part of it (a resource, a background task), nothing is started or
        ended: it yields what the resources have yielded so far.

        Raises:
            StateError: The app is running already and the server is no part of it, or runs in another loop.
            BaseException: As for `async with app:`.
        """
        if self._run is not None and is_part_of(self):
            yield self._parts("lifespan").startup.values()
            return
        async with self:
            run: EmbeddedRun = self._run  # type: ignore[assignment]
            run.watch_owner()
            with serving_loop(self):
                yield self._parts("lifespan").startup.values()

    def _deadline_around(self, loop: asyncio.AbstractEventLoop) -> Deadline | None:
        """That of the app whose task runs this code, in this loop; `None`: there is none."""
        for app in reversed(apps_around()):
            run: Run | None = app._run
            if run is not None and (parts := run.parts) is not None and parts.run_in(loop):
                return run.deadline
        return None

    def _refuse_in_loop(self, main: Any) -> None:
        """A loop runs in this thread: say what to write there."""
        loop = asyncio._get_running_loop()
        if loop is None:
            return
        if isinstance(main, Coroutine):
            main.close()
        if self._run is not None and (parts := self._run.parts) is not None and parts.run_in(loop):
            raise StateError(self._running_already(main))
        raise StateError("run() cannot be called while a loop runs in this thread: use `async with app:` there")

    def _running_already(self, main: Any = None) -> str:
        if self in apps_around():
            call = f"{getattr(main, '__name__', 'work')}()"
            return f"{self!r} is running already, and this code runs in it: write `await {call}` or app.create_task({call})"
        return f"{self!r} is running already: an App runs once at a time; make a second App for a second run"

    def _begin(
        self, make: Callable[[list[Hook], Settings, list[Observer]], R], instead: Callable[[], App] | None = None
    ) -> tuple[App, R]:
        """
        Make the one run that an app can have at a time. Of several threads that come here at once, one gets in.

        Args:
            make: Makes the run.
            instead: Makes the app that has it if this one is running; `None`: that is an error.

        Returns:
            The app that has it, and the run. `_run_ended` must be called when it is over.
        """
        if not self._claimed.acquire(blocking=False):
            if instead is None:
                raise StateError(self._running_already())
            return instead()._begin(make)
        try:
            run = make([*self._hooks()], self._settings, self._observers)
            self._run = run
            if self._stop_requested:
                run.dispatcher.stop()
            self._run_begins()
            enter_app(self)
        except BaseException:
            self._run = None
            self._claimed.release()
            raise
        return self, run

    @override
    def _admit_late(self, hooks: Sequence[Hook]) -> Callable[[], None] | None:
        run = self._run
        if run is not None:
            return run.admit_late(repr(self), hooks)
        return None

    def _run_begins(self) -> None:
        """A run is about to begin."""
        for told in _begin_watchers:
            told(self)

    def _run_ended(self, run: Run) -> None:
        """A run is over. Again: no effect, as where a block is closed whose process was only simulated, and has ended."""
        if self._run is not run:
            return
        leave_app(self)
        self._run = None
        self._stop_requested = False
        self._report = run.report or self._report
        for told in _end_watchers:
            told(self)
        self._claimed.release()

    # --- on a running app ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """
        Begin the shutdown. From any thread, from a signal handler, more than once; before `run()` it makes that end.

        Not an error: `run()` returns main's result if main still ended by itself, else `None`.
        """
        run = self._run
        if run is None:
            self._stop_requested = True
        else:
            run.dispatcher.stop()

    @property
    def stopping(self) -> bool:
        """
        Whether the end was announced or the shutdown has begun: for a readiness probe, and for threads. From any thread.

        It stays `True` when the run is over, until the app runs again.
        """
        return self._report is not None if (run := self._run) is None else run.dispatcher.announced_or_stopping

    @property
    def report(self) -> Report | None:
        """
        What happened at the last shutdown; `None` before the first.

        The environment variable `GRACEFUL_REPORT` names a file that it is written to as well when a run is over, in the
        format of its ending: `.txt`, `.json`, `.svg`, `.mmd` (Mermaid) or `.trace.json`. Not if the process has to be
        ended by force before.

        What went wrong in it is also written to `/dev/termination-log`, or to the file that `GRACEFUL_TERMINATION_LOG` names,
        where that exists: Kubernetes shows it as the message of a container that has ended. Also before an end by force.
        """
        return self._report

    def plan(self) -> graceful.Plan:
        """
        The shutdown as it would be: the order of the hooks, and how long each may take. Nothing is run.

        `python -m graceful plan module:app` prints it, and compares it with unit files, manifests and Dockerfiles.

        Raises:
            OrderError: The hooks' `after=` cannot be satisfied.
        """
        from graceful._run.planning import plan_of  # here, to save start-up time

        return plan_of([*self._hooks()], self._settings)

    def add_observer(self, observer: Told) -> Told:
        """
        Have a function called with each `Event` of a run: for logs, metrics, traces or a display. Also while the app runs.

        It is called in the thread of the run, one event after the other, and should return at once. If it raises, or blocks
        the loop and has to be unblocked, that is logged, and it is not called again; no hook loses its turn.

        Args:
            observer: A plain function. Can be written as a decorator.

        Raises:
            TypeError: It is not callable, or is an `async def` function, which nobody would await.
        """
        if not callable(observer) or inspect.iscoroutinefunction(observer):
            raise TypeError(f"add_observer() takes a plain function that is called with an Event, got {observer!r}")
        self._observers.append(observer)
        return observer

    def remaining(self) -> float:
        """
        Seconds left to the caller: in a hook what is left of its own slice, elsewhere of the grace.

        Infinity while the app is not stopping; never negative.
        """
        run = self._run
        return math.inf if run is None else run.active.remaining()

    async def wait_stopping(self) -> None:
        """
        Wait until the shutdown begins.

        A task that has ever waited here has asked to be told, and is given the drain's share of the grace to end by
        itself before it is cancelled.
        """
        notice = self._parts("wait_stopping()").notice
        await notice.sleep(math.inf)

    async def sleep(self, delay: float) -> bool:
        """
        Sleep, unless the shutdown begins: `while await app.sleep(5): ...`.

        Args:
            delay: Seconds; infinity sleeps until the shutdown begins. Less than 0 counts as 0, as in `asyncio.sleep`.

        Returns:
            `True` after `delay` seconds, `False` as soon as the shutdown begins. If the task calls it again after that, it
            returns `False` after `delay` seconds, so that a loop that ignores the result does not spin. As with `wait_stopping`, the task is
            given a share of the grace to end by itself.

        Raises:
            StateError: The app is not running.
        """
        return await self._parts("sleep()").notice.sleep(pause("delay", delay))

    @overload
    async def unless_stopping(self, awaitable: Awaitable[T]) -> T | None: ...
    @overload
    async def unless_stopping(self, awaitable: Awaitable[T], default: D) -> T | D: ...
    async def unless_stopping(self, awaitable: Awaitable[Any], default: Any = None) -> Any:
        """
        Await something, unless the shutdown begins: `while job := await app.unless_stopping(queue.get()): ...`.

        When the shutdown begins, the awaitable is cancelled and awaited. Nothing is lost where both come at once: if it has
        completed all the same, that is what is returned. If the shutdown has begun before, it is not started.

        Args:
            awaitable: A coroutine, a task or a future.
            default: What is returned as soon as the shutdown begins.

        Returns:
            The result of the awaitable, or `default`. As with `sleep`, the task is given a share of the grace to end by
            itself.

        Raises:
            TypeError: It cannot be awaited.
            StateError: The app is not running.
        """
        if not inspect.isawaitable(awaitable):
            raise TypeError(f"unless_stopping() takes an awaitable, got {awaitable!r}: call the function, queue.get()")
        try:
            notice = self._parts("unless_stopping()").notice
        except StateError:
            if isinstance(awaitable, Coroutine):
                awaitable.close()
            raise
        return await notice.unless_stopping(awaitable, default)

    @overload
    def value(self, resource: Callable[[], AsyncIterator[T]], /) -> T: ...
    @overload
    def value(self, resource: Callable[[], Iterator[T]], /) -> T: ...
    def value(self, resource: Callable[[], Any], /) -> Any:
        """
        What a resource has yielded: `app.value(pool)`, where `pool` is the function under `@app.resource`.

        Args:
            resource: The function. From any thread.

        Raises:
            TypeError: It is no function.
            StateError: The resource was not entered, or is exited: its second half has begun.
        """
        if not callable(resource):
            raise TypeError(f"value() takes the function that was decorated with @app.resource, got {resource!r}")
        run = self._run
        parts = None if run is None else run.parts
        found = None if parts is None else parts.startup.resource_of(resource)
        if found is None:
            raise StateError(f"value() finds no {described(resource)} that is entered and not exited, in {self!r}")
        return found.value

    def create_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        drain: bool = False,
    ) -> asyncio.Task[T]:
        """
        Start a supervised task: if it fails, the program hears of it at once, whether or not anybody awaits it.

        Args:
            coro: The coroutine.
            name: The task's name; `None`: one is made up.
            context: The context it runs in; `None`: a copy of the current one.
            drain: The shutdown waits for it before it cancels anything, as long as `drain_share` allows.

        Raises:
            TypeError: `coro` is not a coroutine.
            StateError: The app is not running.
        """
        check_task(coro, name, context)
        try:
            drain = flag("drain", drain)
            parts = self._parts("create_task()")
        except (StateError, TypeError):
            coro.close()  # or Python would warn that it was never awaited, next to an error that says why
            raise
        return parts.tasks.create(coro, call_site(1), name, context, drain)

    async def create_subprocess_exec(
        self,
        program: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        *args: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        limit: int = 2**16,
        stop: int = signal.SIGTERM,
        drain: bool = False,
        **options: Any,
    ) -> asyncio.subprocess.Process:
        """
        `asyncio.create_subprocess_exec`, for a child that does not outlive the app.

        It leads a process group of its own, so a Ctrl-C at the terminal reaches the app alone. Where the shutdown cancels
        tasks, the group is sent `stop`; what has not ended within the time for that step is killed, and named. What a resource
        or a startup hook starts is left alone until that is released. On Windows, which has no such groups, the child is
        terminated.

        Args:
            program: What to run; `args` are its arguments.
            stdin: As for asyncio's function; `stdout` and `stderr`, too.
            limit: The buffer of each pipe's reader, in bytes.
            stop: The signal that asks it to end.
            drain: The shutdown waits for it before it cancels anything, as for `create_task`.
            options: As for asyncio's function; all but `process_group`.

        Raises:
            StateError: The app is not running.
            OSError: It cannot be started.
            TypeError: A bad argument.
            ValueError: `stop` is no signal that a process can handle, nor SIGKILL; or `process_group` names another group.
        """
        parts = self._parts("create_subprocess_exec()")
        options |= {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        return await parts.children.start_exec((program, *args), limit, stop, options, drain=drain)

    async def create_subprocess_shell(
        self,
        cmd: str | bytes,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        limit: int = 2**16,
        *,
        stop: int = signal.SIGTERM,
        drain: bool = False,
        **options: Any,
    ) -> asyncio.subprocess.Process:
        """
        `asyncio.create_subprocess_shell`, for a child that does not outlive the app: see `create_subprocess_exec`.

        Args:
            cmd: What the shell runs.
            stdin: As for asyncio's function; `stdout` and `stderr`, too.
            limit: The buffer of each pipe's reader, in bytes.
            stop: The signal that asks the shell, and what it has started, to end.
            drain: The shutdown waits for the shell before it cancels anything.
            options: As for asyncio's function; all but `process_group`.

        Raises:
            StateError: The app is not running.
            OSError: It cannot be started.
            TypeError: A bad argument.
            ValueError: `stop` is no signal that a process can handle, nor SIGKILL; or `process_group` names another group.
        """
        parts = self._parts("create_subprocess_shell()")
        options |= {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        return await parts.children.start_shell(cmd, limit, stop, options, drain=drain)

    def critical(self, label: str = "") -> contextlib.AbstractAsyncContextManager[None]:
        """
        A block that the shutdown does not cancel: it waits until the block ends, or the budget for waiting does.

        Nor does it cancel what the block waits for, such as the tasks of a `gather` or a `TaskGroup` in it; nor a task that
        waits for the one in the block, because that would pass the cancellation on.

        Args:
            label: What it is called in messages.

        Raises:
            StateError: The app is not running when the block is entered.
        """
        from graceful._loop.critical import CriticalBlock  # loaded with the run

        return CriticalBlock(lambda: self._parts("critical()").blocks, label)

    async def enter_async_context(self, cm: contextlib.AbstractAsyncContextManager[T]) -> T:
        """
        Enter a context manager now and exit it in the cleanup, before what was acquired earlier.

        The tasks that it starts belong to it: they are not cancelled before it is exited. It is exited in another task. For
        what must be left by the task that entered it, such as a TaskGroup or a cancel scope, there is `resource`.

        Raises:
            StateError: The app is not running.
            TypeError: `cm` is not an async context manager.
        """
        parts = self._parts("enter_async_context()")
        check_context_manager(cm)
        return await parts.shutdown_hooks.enter_async_context(cm)

    def push_async_callback(self, callback: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> Callable[P, A]:
        """
        Have `callback(*args, **kwargs)` called in the cleanup, before what was acquired earlier. Returns `callback`.

        During the shutdown it is accepted too, and then run next.

        Raises:
            StateError: The app is not running.
            TypeError: `callback` cannot be called.
        """
        check_callback(callback, args, kwargs)
        parts = self._parts("push_async_callback()")
        bound = functools.partial(callback, *args, **kwargs) if args or kwargs else callback
        parts.shutdown_hooks.push(bound)
        return callback

    def _parts(self, call: str) -> LoopParts:
        """The parts of the run, for a call that must be made in its loop."""
        if self._run is None:
            raise StateError(f"{call} needs a running app: call it inside run() or `async with app:`")
        parts = self._run.parts
        if parts is None or not parts.run_in(asyncio._get_running_loop()):
            raise StateError(
                f"{call} must be called from the app's own event loop: from another thread use "
                "loop.call_soon_threadsafe() or asyncio.run_coroutine_threadsafe()"
            )
        return parts


def _nothing() -> None:
    pass


def _coroutine(main: Any) -> Coroutine[Any, Any, Any]:
    """
    Main as a coroutine, from a coroutine or a coroutine function.

    A coroutine is what asyncio takes for one: the built-in type, and whatever has its methods (`collections.abc.Coroutine`:
    what Cython compiles, uvloop's own, `session.get(url)` of aiohttp). `asyncio.run` also takes other awaitables from 3.14 on.
    """
    if is_coroutine(main):
        return main
    if inspect.isawaitable(main):
        return _await(main)
    check_main(main)
    made = main()
    if not is_coroutine(made):
        raise HookError(f"run() takes an `async def` function, but {main!r}, which has run now, returned {made!r}")
    return made


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def current_app() -> App:
    """
    The app in which the calling code runs, for modules that have no reference to it.

    In main, in tasks, hooks, callbacks and `asyncio.to_thread`; of several apps around the code, the innermost that runs.
    Other threads, and `run_in_executor`, do not have the context: pass them the app.
    Under a server, also in request handlers, unless the lifespans of several apps run in one loop.

    Raises:
        StateError: The code runs in no app.
    """
    for found in reversed(apps_around()):
        if isinstance(found, App) and found._run is not None:
            return found
    raise StateError(
        "current_app() was called outside of an app: call it in what App.run() or `async with app:` runs; in a thread, "
        "start that with asyncio.to_thread(), which takes the context along"
    )
