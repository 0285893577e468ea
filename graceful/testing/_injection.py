"""Bringing the faults of a schedule about in a simulation, and saying where in the program they fell."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import signal
from collections.abc import Callable, Iterator
from typing import Any

from typing_extensions import override

from graceful._app import App
from graceful._core.asyncio_private import coroutine_of, handle_owner
from graceful._core.frames import await_chain
from graceful._core.places import is_in_standard_library
from graceful._core.types import EventKind
from graceful._hooks.hook import Hook, Stage
from graceful._process.unblock import Unblocked
from graceful.testing._schedule import Fault, Schedule
from graceful.testing._simulate import Entrance, Simulation

__all__ = ["Injected", "Injection", "shutdown_hooks", "startup_hooks"]

#: Seconds after which another Ctrl-C is a new request; it comes before the grace is over.
_PRESS_AGAIN = 0.6


class Injected(Exception):
    """
    What a fault raises. Nobody in the program expects it.

    Args:
        fault: The fault.
        noticed_from: The app must have noticed it if its shutdown begins later than that, in virtual seconds.
    """

    def __init__(self, fault: Fault, noticed_from: float = -math.inf) -> None:
        super().__init__(fault.value)
        self.noticed_from = noticed_from


def startup_hooks(app: App) -> list[Hook]:
    """The hooks of the startup, in the order of registration."""
    return [hook for hook in app._hooks() if hook.stage in (Stage.STARTUP, Stage.RESOURCE)]


def shutdown_hooks(app: App) -> list[Hook]:
    """The hooks of the shutdown, in the order of registration."""
    return [hook for hook in app._hooks() if hook.stage in (Stage.DRAIN, Stage.CLEANUP, Stage.FLUSH, Stage.RESOURCE)]


class Injection:
    """
    The faults of a schedule in one run.

    Args:
        schedule: The faults.
        app: The app; its hooks misbehave until `restore` is called.

    Attributes:
        where: Where the program was at the first fault of a step: the name of a task and the line it waited in.
        raised: The exceptions that were brought in, while the app could still hear of them.
        owner_cancelled: Whether the owner of the loop has cancelled the task that is in the block, which decides what the
            program raises.
    """

    def __init__(self, schedule: Schedule, app: App, entrance: Entrance = "run") -> None:
        self.where = ""
        self.raised: list[Injected] = []
        self.owner_cancelled = False
        self._app = app
        self._owns_loop = entrance == "run"
        self._grace, self._patience = app._settings.grace, app._settings.patience
        self._steps = schedule.of_steps()
        self._interrupted = False
        self._simulation: Simulation | None = None
        self._functions: list[tuple[Hook, Callable[..., Any]]] = []
        self._of_no_hook: list[tuple[Fault, int, int]] = []
        for fault, place in schedule.of_hooks():
            hooks = startup_hooks(app) if fault is Fault.STARTUP_FAILS else shutdown_hooks(app)
            if place <= len(hooks):
                self._replace(hooks[place - 1], fault)
            else:
                self._of_no_hook.append((fault, place, len(hooks)))

    def on_step(self, simulation: Simulation, handle: Any) -> None:
        """Before a step of the loop."""
        self._simulation = simulation
        while self._steps and self._steps[0][1] <= simulation.steps:
            fault, _ = self._steps.pop(0)
            self.where = self.where or _where(simulation, handle)
            self._bring_about(fault, simulation)

    def missed(self, steps: int) -> Iterator[str]:
        """The faults that have not happened in a run that took so many steps, a line each."""
        for _, place in self._steps:
            yield f"the fault at step {place} was not reached: the program takes {steps} steps"
        for fault, place, count in self._of_no_hook:
            yield f"{fault} at hook number {place} was not reached: the app has {count} of these hooks"

    def restore(self) -> None:
        """The hooks of the app are as they were."""
        while self._functions:
            hook, function = self._functions.pop()
            hook.replace(function)

    # --- before a step ---------------------------------------------------------------------------------------------

    def _bring_about(self, fault: Fault, simulation: Simulation) -> None:
        if fault is Fault.SIGINT and self._interrupted:
            simulation.loop.advance_to(simulation.loop.now + min(_PRESS_AGAIN, self._grace))
        self._interrupted = self._interrupted or fault is Fault.SIGINT
        if fault in (Fault.SIGTERM, Fault.SIGINT):
            simulation.act(signal.Signals[fault.value])
        elif fault is Fault.SIGKILL:
            simulation.kill()
        elif fault is Fault.STOP:
            self._app.stop()
        elif fault is Fault.MAIN_CANCELLED:
            self._cancel_main(simulation)
        elif simulation.app_runs():
            self._fail(fault, simulation)

    def _cancel_main(self, simulation: Simulation) -> None:
        main = simulation.main_task()
        if main is not None:
            main.cancel()
            self.owner_cancelled = not self._owns_loop

    def _fail(self, fault: Fault, simulation: Simulation) -> None:
        error = Injected(fault, self._noticed_from(fault, simulation.loop.now))
        if simulation.seen(EventKind.READY) and not simulation.seen(EventKind.STOPPING):
            self.raised.append(error)
        if fault is Fault.CALLBACK_FAILS:
            simulation.loop.call_soon(_raise, error)
        elif fault is Fault.TASK_FAILS:
            task = simulation.loop.create_task(_fail(error), name="failing task")
            simulation.keep(task)
        else:
            simulation.loop.call_soon(self._create_supervised, error)

    def _noticed_from(self, fault: Fault, now: float) -> float:
        """
        The failure of an unsupervised task is noticed when the patience is over, and in a block only if that has not been left by
        then. An app that does not watch tasks never notices it.
        """
        if fault is not Fault.TASK_FAILS:
            return -math.inf
        if self._patience is None:
            return math.inf
        return -math.inf if self._owns_loop else now + self._patience

    def _create_supervised(self, error: Injected) -> None:
        if self._app._run is not None:
            self._app.create_task(_fail(error), name="failing supervised task")

    # --- in a hook -------------------------------------------------------------------------------------------------

    def _replace(self, hook: Hook, fault: Fault) -> None:
        first = fault is Fault.STARTUP_FAILS
        self._functions.append((hook, hook.function))
        hook.replace(_Misbehaving(hook.function, functools.partial(self._misbehave, fault), first=first))

    async def _misbehave(self, fault: Fault) -> None:
        if fault in (Fault.HOOK_RAISES, Fault.STARTUP_FAILS):
            error = Injected(fault)
            self.raised.append(error)
            raise error
        if fault is Fault.HOOK_BLOCKS:
            self._block()
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if fault is not Fault.HOOK_SWALLOWS:
                    raise

    def _block(self) -> None:
        """As code that blocks the loop: the time passes, and what unblocks it raises in it."""
        assert self._simulation is not None
        self._simulation.block()
        raise Unblocked(("a hook that blocks",))


class _Misbehaving:
    """
    A hook's function that does what it is for, and then misbehaves; equal to the function, so that `after=` finds it.

    Args:
        function: The function.
        misbehave: What it does then.
        first: Whether it does that instead, before anything is started.
    """

    def __init__(self, function: Callable[..., Any], misbehave: Callable[[], Any], *, first: bool) -> None:
        self._function = function
        self._misbehave = misbehave
        self._first = first

    @override
    def __eq__(self, other: object) -> bool:
        return other is self or self._function == other

    @override
    def __hash__(self) -> int:
        return hash(self._function)

    def __call__(self, *offered: Any) -> Any:
        if self._first:
            return self._misbehave() if not _makes_generator(self._function) else self._never()
        result = self._function(*offered)
        if inspect.isasyncgen(result):
            return self._resource(result)
        return self._resource(_as_async(result)) if inspect.isgenerator(result) else self._then(result)

    async def _then(self, result: Any) -> None:
        if inspect.isawaitable(result):
            await result
        await self._misbehave()

    async def _never(self) -> Any:
        await self._misbehave()
        yield

    async def _resource(self, generator: Any) -> Any:
        value = await anext(generator)
        try:
            yield value
        except BaseException as error:
            await generator.athrow(error)
            raise
        try:
            yield await anext(generator)  # which it must not have: the hook says so
        except StopAsyncIteration:
            await self._misbehave()


def _makes_generator(function: Callable[..., Any]) -> bool:
    while isinstance(function, _Misbehaving):  # a resource may fail at both ends
        function = function._function
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)


async def _as_async(generator: Any) -> Any:
    with contextlib.closing(generator):
        for value in generator:
            yield value


def _raise(error: Injected) -> None:
    raise error


async def _fail(error: Injected) -> None:
    raise error


# --- where it fell -----------------------------------------------------------------------------------------------------


def _where(simulation: Simulation, handle: Any) -> str:
    """The task that is about to go on, or main, and the line of the program that it waits in."""
    owner = handle_owner(handle)
    tasks: list[asyncio.Task[Any]] = [owner] if isinstance(owner, asyncio.Task) else []
    main = simulation.main_task()
    tasks += [main] if main is not None else []
    for task in [*tasks, *simulation.loop_tasks(), *simulation.hook_tasks()]:
        stack = () if task.done() else await_chain(task)
        lines = [line for line in stack if not is_in_standard_library(line)]
        if lines:
            outer = lines[0].rpartition(" in ")[2].rpartition("<locals>.")[2]
            place, _, inner = lines[-1].partition(" in ")
            inner = inner.rpartition("<locals>.")[2]
            if not _has_begun(task):
                return f"`{outer}` was about to begin ({place})"
            return f"`{outer}` waited in `{inner}` ({place})" if inner != outer else f"`{outer}` waited ({place})"
    return ""


def _has_begun(task: asyncio.Task[Any]) -> bool:
    coroutine = coroutine_of(task)
    return not inspect.iscoroutine(coroutine) or inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED
