"""`simulate`: one run of an app in virtual time, with simulated signals."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import inspect
import math
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from typing_extensions import override

from graceful._app import App
from graceful._core.asyncio_private import abandon_silently, handle_code
from graceful._core.errors import Interrupted
from graceful._core.frames import await_chain
from graceful._core.marks import is_own_code
from graceful._core.types import Event, EventKind
from graceful._hooks.hook import described, local_name
from graceful._observe.log import is_silent
from graceful._observe.report import Report
from graceful._process.exit import ProcessEnded, status_of_exit
from graceful.testing._remains import Remains, destroy_remains
from graceful.testing._result import KILLED, Result
from graceful.testing._simulated_process import SimulatedProcess
from graceful.testing._virtual_clock import virtual_time
from graceful.testing._virtual_loop import Happenings, NothingToWaitFor, StillRunning, VirtualLoop

__all__ = [
    "MOST_STEPS",
    "Action",
    "Entrance",
    "Main",
    "Simulation",
    "check_entrance",
    "checked_time",
    "in_thread",
    "simulate",
]

Main: TypeAlias = Coroutine[Any, Any, Any] | Callable[[], Coroutine[Any, Any, Any]] | None
Action: TypeAlias = int | Callable[[], object]
T = TypeVar("T")
Entrance: TypeAlias = Literal["run", "block", "lifespan"]

#: Seconds of real time that the caller waits for a thread that was told to stop.
_SOON = 1.0

#: Seconds that tasks have to end in which the owner of the loop has cancelled.
_LAST = 60

#: Steps after which a program does not end: seconds of real time.
MOST_STEPS = 1_000_000

#: What the owner of the loop handles: nobody, `asyncio.run`, a server.
_OWNED: dict[str, frozenset[signal.Signals]] = {
    "run": frozenset(),
    "block": frozenset({signal.SIGINT}),
    "lifespan": frozenset({signal.SIGINT, signal.SIGTERM}),
}


def simulate(
    app: App | None,
    main: Main = None,
    *,
    at: Mapping[float, Action] | None = None,
    entrance: Entrance = "run",
    until: float = 86_400.0,
) -> Result:
    """
    Run an app in virtual time, with simulated signals.

    An hour passes at once: timers of asyncio and of the app fire in their order, and nothing waits for them. While a thread,
    a pool or a child process of the loop works, time passes as it does outside. It runs in a thread of its own, and nothing
    of the process is touched. What blocks (`time.sleep`) blocks for real, and is not unblocked.

    A child process that `subprocess.Popen` or `multiprocessing.Process` starts is not waited for, if only a timer asks
    whether it has ended: wait for it in a thread, `await asyncio.to_thread(process.wait)`.

    Args:
        app: The app; `None`: main enters one itself.
        main: As for `App.run`; for `block` and `lifespan` what runs inside.
        at: What happens when, in virtual seconds: a signal, or a function that is called in the loop.
        entrance: `run`: `app.run(main)`. `block`: `async with app:` under `asyncio.run`. `lifespan`: `app.lifespan` under a
            server, which handles SIGINT and SIGTERM, waits until main has ended, and then leaves.
        until: Virtual seconds, a day by default, after which a program that still runs is an error. So are a million steps.

    Returns:
        What happened. What the program raised is in there; it is not raised.

    Raises:
        NothingToWaitFor: The program waits, and nothing will happen.
        StillRunning: It has not ended in time.
        TypeError: An argument of the wrong type.
        ValueError: A time is negative or not finite; there is no such signal or entrance.
    """
    actions = _check(app, main, at, entrance)
    simulation = Simulation(app, main, actions, entrance, until=checked_time(until, "until= is"))
    result = in_thread(simulation.run)
    if simulation.error is None:
        return result
    del result  # what is left of the program is destroyed
    raise simulation.error


def in_thread(function: Callable[[], T], stop: Callable[[], object] | None = None) -> T:
    """
    Call it in a thread of its own, which has no running loop and no signals, and wait for what it returns or raises.

    Args:
        function: What is called.
        stop: Called where the wait is interrupted, as by Ctrl-C: the function is to return soon; `None`: it goes on.
    """
    came_of_it: list[Any] = []  # the value and the error
    context = contextvars.copy_context()

    def call() -> None:
        try:
            came_of_it.extend((context.run(function), None))
        except BaseException as error:
            came_of_it.extend((None, error))

    thread = threading.Thread(target=call, name="simulation", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        if stop is not None:
            stop()
            thread.join(_SOON)
        raise
    value, error = came_of_it
    if error is not None:
        try:
            raise error
        finally:
            del error, came_of_it  # or the exception, its traceback and this frame would keep each other alive
    return value  # type: ignore[no-any-return]


def _check(app: object, main: object, at: Mapping[float, Any] | None, entrance: str) -> list[tuple[float, Action]]:
    if app is not None and not isinstance(app, App):
        raise TypeError(
            f"simulate() takes an App, or None where main enters one, got {app!r}: write simulate(app, main)"
        )
    if app is None and main is None:
        raise TypeError("simulate() takes an app, a main, or both, got neither")
    check_entrance(entrance)
    return [(checked_time(when), _action(what)) for when, what in (at or {}).items()]


def check_entrance(entrance: object) -> None:
    """
    Raises:
        ValueError: There is no such entrance.
    """
    if entrance not in _OWNED:
        raise ValueError(f"entrance must be one of {', '.join(_OWNED)}, got {entrance!r}")


def checked_time(when: Any, what: str = "a key of at= is") -> float:
    """
    Seconds, as a float.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative or not finite.
    """
    if isinstance(when, bool) or not isinstance(when, (int, float)):
        raise TypeError(f"{what} a time in seconds, got {when!r}: write at={{1.5: signal.SIGTERM}}, until=60")
    if not 0 <= when < math.inf:
        raise ValueError(f"{what} a finite time from 0 on, got {when!r}")
    return float(when)


def _action(what: Any) -> Action:
    if inspect.iscoroutinefunction(what):
        raise TypeError(
            f"at= has functions that are called and not awaited, got the coroutine function {described(what)}: "
            f"write at={{1.5: lambda: app.create_task({local_name(what)}())}}"
        )
    if callable(what):
        return what  # type: ignore[no-any-return]
    if isinstance(what, bool) or not isinstance(what, int):
        raise TypeError(f"at= has signals or functions as its values, got {what!r}: write at={{1.5: signal.SIGTERM}}")
    try:
        return signal.Signals(what)
    except ValueError:
        raise ValueError(f"at= has a signal that this platform does not know: {what}") from None


class Simulation(Happenings):
    """
    One run.

    Args:
        app: The app; `None`: main enters one itself.
        main: What it runs.
        actions: What happens when.
        entrance: How it is entered.
        on_step: Called before each step of the loop, with the simulation and the handle; `None`: nothing is.
        until: Virtual seconds after which it has not ended in time.
        most_steps: Steps after which it has not, either.

    Attributes:
        loop: The loop.
        app: The app.
        main: The task of main, once there is one and the loop is not the app's own.
        steps: How many steps the loop has taken.
        error: Set where the program did not end; with what to write instead.
        stuck: Why it did not, and where it waits, without what to write; empty: it ended.
    """

    def __init__(
        self,
        app: App | None,
        main: Main,
        actions: list[tuple[float, Action]],
        entrance: Entrance = "run",
        on_step: Callable[[Simulation, Any], None] | None = None,
        until: float = math.inf,
        most_steps: int = MOST_STEPS,
    ) -> None:
        self.app = app
        self.main: asyncio.Task[Any] | None = None
        self.steps = 0
        self._main = main
        self._entrance: Entrance = entrance if app is not None else "block"
        self._due = [(when, order, action) for order, (when, action) in enumerate(actions)]
        heapq.heapify(self._due)
        self._on_step = on_step
        self._until = until
        self._most_steps = most_steps
        self._process = SimulatedProcess(self._owner_hears, _OWNED[self._entrance])
        self._events: list[Event] = []
        self._told_to_stop: asyncio.Event | None = None
        self._ended: ProcessEnded | None = None
        self.error: NothingToWaitFor | StillRunning | None = None
        self.stuck = ""
        self._interrupts = 0
        self._held: list[asyncio.Task[Any]] = []
        self._owners: set[asyncio.Task[Any]] = set()

    # --- what happens from outside ---------------------------------------------------------------------------------

    @override
    def next_at(self) -> float:
        at = self._due[0][0] if self._due else math.inf
        return min(at, self._process.expires_at())

    @override
    def happen(self) -> None:
        now = self.loop.now
        while self._due and self._due[0][0] <= now:
            self.act(heapq.heappop(self._due)[2])
        if self._process.expires_at() <= now:
            self._process.expire()

    def _never_ends(self) -> BaseException:
        why = f"the program still runs after {self.loop.now:g} virtual seconds and {self.steps} steps"
        cure = "give it something that ends it, simulate(..., at={1.5: signal.SIGTERM}), or more time, until="
        return self._stop_with(StillRunning, why, cure)

    def _stop_with(self, kind: type[NothingToWaitFor | StillRunning], why: str, cure: str) -> BaseException:
        lines = [f"\n  {_where(task)}" for task in self.loop_tasks()]
        where = f". It waits in:{''.join(lines)}" if lines else ""
        self.error, self.stuck = kind(f"{why}; {cure}{where}"), f"{why}{where}"
        return ProcessEnded(KILLED, "")  # nothing else would end it

    def act(self, action: Action) -> None:
        """Deliver a signal, or call a function in the loop."""
        if isinstance(action, int):
            number = signal.Signals(action)
            self._process.deliver(number, self.loop.signal_handler(number))
        else:
            self.loop.call_soon(action)

    def kill(self) -> None:
        """End the process at once."""
        raise ProcessEnded(KILLED, "")

    @override
    def before_step(self, handle: Any) -> None:
        if not handle.cancelled() and (self.main is None or not self.main.done()):  # the rest is the owner's business
            self.steps += 1
            if self.steps > self._most_steps or self.loop.now > self._until:
                raise self._never_ends()
            if self._on_step is not None:
                self._on_step(self, handle)

    @override
    def waits_for_nothing(self) -> BaseException:
        nothing = "there is no timer, no thread, no child process, and no signal is to come"
        why = f"the program waits, and nothing will happen: {nothing}"
        cure = "write simulate(..., at={1.5: signal.SIGTERM}), or have something end it"
        return self._stop_with(NothingToWaitFor, why, cure)

    def app_runs(self) -> bool:
        """Whether the app can hear of a failure: its run has begun, and has not come to its last stage."""
        return self.seen(EventKind.STARTED) and not any(event.stage == "finish" for event in self._events)

    def seen(self, kind: EventKind) -> bool:
        """Whether the app has told this."""
        return any(event.kind is kind for event in self._events)

    def main_task(self) -> asyncio.Task[Any] | None:
        """The task of main, while it runs; `None`: there is none."""
        app = self.app
        run = None if app is None else app._run
        parts = None if run is None else run.parts
        main = self.main if self.main is not None or parts is None else parts.tasks.main
        return None if main is None or main.done() else main

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task, as a program does that forgets to look at it."""
        self._held.append(task)

    def block(self) -> None:
        """Code blocks the loop, until it is unblocked; five seconds where nothing would do that."""
        until = self._process.may_block_until()
        self.loop.advance_to(until if until < math.inf else self.loop.now + 5)

    def hook_tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks of the app's hooks that run now."""
        run = None if self.app is None else self.app._run
        running = () if run is None else run.active.running()
        return [each.task for each in running if each.task is not None]

    def loop_tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks of the program that have not ended, main first."""
        tasks = [task for task in asyncio.all_tasks(self.loop) if not task.done() and task not in self._owners]
        return sorted(tasks, key=lambda task: (task is not self.main, task.get_name()))

    # --- the run ---------------------------------------------------------------------------------------------------

    def run(self, state: Any = None) -> Result:
        """
        Run it in this thread, which must have no running loop.

        Args:
            state: Becomes an attribute of the result.
        """
        destroy_remains()
        self.loop = VirtualLoop(self)
        if is_silent():
            self.loop.be_silent()
        observer = self._events.append
        earlier = None
        if self.app is not None:
            earlier = self.app.report
            self.app.add_observer(observer)
        value, raised = None, None
        with contextlib.ExitStack() as stack:
            stack.enter_context(virtual_time(self.loop.time))
            stack.enter_context(self._process.running())
            try:
                value = self._run_app() if self._entrance == "run" else self._run_guest()
            except ProcessEnded as error:
                self._ended = error
                self.loop.be_silent()
            except BaseException as error:
                raised = error
            took = self.loop.now
            self.loop.close()
            left = [] if self._ended is not None else self._left()
            if (app := self.app) is not None:
                app._observers.remove(observer)
                if self._ended is not None and app._run is not None:
                    app._run_ended(app._run)  # a block that nobody has left: in the next process it does not run
            if inspect.iscoroutine(self._main) and inspect.getcoroutinestate(self._main) == inspect.CORO_CREATED:
                self._main.close()  # it was ended before main began
        remains = Remains(self.loop, all_tasks=self._ended is not None or bool(left))
        if self._ended is not None:
            self._ended.with_traceback(None)  # until now it held the tasks; its frames would hold the result, too
        result = Result(
            app=self.app,
            exit_status=_status_of(raised) if self._ended is None else self._ended.status,
            took=took,
            value=value,
            raised=raised,
            events=tuple(self._events),
            last_words="" if self._ended is None else self._ended.words,
            left=tuple(left),
            steps=self.steps,
            state=state,
            report=self._report(earlier),
        )
        if remains.tasks:  # not before everybody has looked at the result: what is destroyed runs its `finally`
            weakref.finalize(result, remains.let_go)
        return result

    def _report(self, earlier: Report | None) -> Report | None:
        report = None if self.app is None else self.app.report
        forced = self._ended is not None and self._ended.words
        return None if report is earlier or forced else report

    def _left(self) -> list[str]:
        left = [f"task {task!r}" for task in self.loop_tasks()]
        left += [f"timer {timer!r}" for timer in self.loop.timers_left if not _is_own(timer)]
        left += [f"thread {name}" for name in self.loop.threads_left()]
        left += [f"child process {pid}" for pid in self.loop.children_left()]
        return left

    def _run_app(self) -> Any:
        assert self.app is not None
        return self.app.run(self._main, loop_factory=lambda: self.loop)

    def _run_guest(self) -> Any:
        """As `asyncio.run` does."""
        loop = self.loop
        main = self.main = loop.create_task(self._enter(), name="main")
        try:
            loop.run_until_complete(main)
        except asyncio.CancelledError:
            if self._process.interrupted and main.uncancel() == 0:
                raise KeyboardInterrupt from None
            raise
        finally:
            if not isinstance(sys.exception(), ProcessEnded):
                self._end_loop()
        return main.result()

    def _end_loop(self) -> None:
        for task in (rest := self.loop_tasks()):
            task.cancel()
        if rest:
            # `asyncio.run` waits for ever for a task that swallows its cancellation; in here that is left behind.
            self._complete(asyncio.wait(rest, timeout=_LAST))
        self._complete(self.loop.shutdown_asyncgens())
        self._complete(self.loop.shutdown_default_executor())

    def _complete(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run what is the owner's and not the program's, which a Ctrl-C may leave behind."""
        task = self.loop.create_task(coroutine)
        self._owners.add(task)
        try:
            self.loop.run_until_complete(task)
        except BaseException:
            abandon_silently(task)
            coroutine.close()
            raise

    async def _enter(self) -> Any:
        if self.app is None:
            return await self._call_main()
        if self._entrance == "block":
            async with self.app:
                return await self._call_main()
            return None  # it was told to stop, which leaves the block without an error
        self._told_to_stop = asyncio.Event()
        async with self.app.lifespan():
            return await self._serve(self._told_to_stop)

    async def _serve(self, told_to_stop: asyncio.Event) -> Any:
        """A server: it serves until it is told to stop, and leaves when what is under way has ended."""
        main = asyncio.ensure_future(self._call_main())
        main.add_done_callback(_retrieve)  # a `SystemExit` leaves the loop at once, and nobody looks at the task again
        await asyncio.wait([main, telling := asyncio.ensure_future(told_to_stop.wait())], return_when="FIRST_COMPLETED")
        telling.cancel()
        return await main

    async def _call_main(self) -> Any:
        main = self._main() if callable(self._main) else self._main
        return await main if main is not None else None

    def _owner_hears(self, _number: signal.Signals) -> None:
        self._interrupts += 1
        if self._told_to_stop is not None:
            self._told_to_stop.set()
        elif self._interrupts == 1 and self.main is not None and not self.main.done():
            self.main.cancel()
        else:
            raise KeyboardInterrupt


def _retrieve(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _where(task: asyncio.Task[Any]) -> str:
    stack = await_chain(task)
    return f"task {task.get_name()!r}" + (f" at {' < '.join(reversed(stack))}" if stack else "")


def _is_own(timer: asyncio.TimerHandle) -> bool:
    """Whether it is the package's, or that of an `asyncio.sleep` or `wait`, whose task is what is left."""
    code = handle_code(timer)
    if code is not None and code.co_name in ("_set_result_unless_cancelled", "_release_waiter"):
        return True
    return code is not None and is_own_code(code)


def _status_of(raised: BaseException | None) -> int:
    if raised is None:
        return 0
    if isinstance(raised, Interrupted):
        return -raised.signal
    if isinstance(raised, KeyboardInterrupt):
        return -signal.SIGINT
    return status_of_exit(raised) if isinstance(raised, SystemExit) else 1
