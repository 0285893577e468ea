"""
A loop in virtual time: its clock stands still while code runs, and jumps to the next timer when nothing does.

An hour passes at once, and exactly. Threads and child processes are real, so while one of them works, time passes as it does
outside. Sockets are asked whether they are ready before the clock jumps; a peer outside this process is not waited for.

A program that never waits (`while True: await asyncio.sleep(0)`) would keep the clock where it is. So after many passes at
the same time, each further pass takes a millisecond.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from typing_extensions import override

from graceful._core import clock
from graceful._core.asyncio_private import next_timer_at, replace_ready_queue, timers_of
from graceful.testing._outside_work import LOOK, OutsideWork

__all__ = ["Happenings", "NothingToWaitFor", "StillRunning", "VirtualLoop"]

#: Passes of the loop at one time, before each further one takes a millisecond.
_PASSES = 10_000


class NothingToWaitFor(RuntimeError):
    """The program waits, and nothing will ever happen: there is no timer, no thread, no child process and no signal."""


class StillRunning(RuntimeError):
    """The program has not ended in the time that it was given."""


class Happenings:
    """What happens in a simulation from outside: nothing at all, unless a subclass says otherwise."""

    def next_at(self) -> float:
        """When the next thing happens, on the clock of the loop; infinity: never."""
        return math.inf

    def happen(self) -> None:
        """It is due."""

    def before_step(self, handle: Any) -> None:
        """The loop is about to take a step: to call `handle`."""

    def waits_for_nothing(self) -> BaseException:
        """What to raise where the program waits, and nothing will ever happen."""
        return NothingToWaitFor("the program waits, and nothing will happen")


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    Args:
        happenings: What happens from outside.

    Attributes:
        now: The time, in seconds; begins at 0.
        timers_left: The timers that were still to come when it was closed.
    """

    def __init__(self, happenings: Happenings | None = None) -> None:
        self.now = 0.0
        self._signal_callbacks: dict[int, Callable[[], object]] = {}
        self._happenings = happenings or Happenings()
        self._work = OutsideWork()
        self._silent = False
        self.timers_left: list[asyncio.TimerHandle] = []
        super().__init__(_VirtualSelector(self, self._work, self._happenings))
        replace_ready_queue(self, _Steps(self._happenings))

    @override
    def time(self) -> float:
        return self.now

    def advance_to(self, when: float) -> None:
        """The time is this from now on, unless it is later already."""
        self.now = max(self.now, when)

    def signal_handler(self, number: int) -> Callable[[], object] | None:
        """What the program has set for a signal with `add_signal_handler`; `None`: nothing."""
        return self._signal_callbacks.get(number)

    @override
    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        if threading.get_ident() == self._work.thread:  # no need to wake it: saves a write to a socket for each
            return self.call_soon(callback, *args, context=context)
        return super().call_soon_threadsafe(callback, *args, context=context)

    @override
    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        if executor is None:
            return super().run_in_executor(None, self._work.job(func), *args)
        return super().run_in_executor(self._work.counted(executor), func, *args)

    @override
    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        with self._work.starting_child():
            return self._work.child(await super().subprocess_exec(*args, **kwargs))

    @override
    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        with self._work.starting_child():
            return self._work.child(await super().subprocess_shell(*args, **kwargs))

    @override
    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        self._signal_callbacks[sig] = lambda: callback(*args)

    @override
    def remove_signal_handler(self, sig: int) -> bool:
        return self._signal_callbacks.pop(sig, None) is not None

    @override
    def close(self) -> None:
        self.timers_left += timers_of(self)
        super().close()
        self._work.end()

    def children_left(self) -> list[int]:
        """The child processes that still run."""
        return self._work.children_left()

    def threads_left(self) -> list[str]:
        """The threads of the program that have not ended, by name; empty where another simulation runs: they may be its own."""
        return self._work.threads_left()

    def be_silent(self) -> None:
        """From now on nothing is reported: the process has ended, and what is left of it is destroyed."""
        self._silent = True

    @override
    def default_exception_handler(self, context: Any) -> None:
        if not self._silent:
            super().default_exception_handler(context)


class _VirtualSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop, work: OutsideWork, happenings: Happenings) -> None:
        super().__init__()
        self._loop = loop
        self._work = work
        self._happenings = happenings
        self._passes = 0

    @override
    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout == 0:
            self._passes += 1
            if self._passes > _PASSES:
                self._pass_time(self._loop.now + 1e-3)
            return self._ready() if self._passes & 63 == 0 or len(self.get_map()) > 1 else []
        self._passes = 0
        ready = self._ready() if len(self.get_map()) > 1 else []
        if ready:
            return ready
        until = math.inf if timeout is None else self._timer_at(timeout)
        if self._work.going_on():
            return self._step_in_real_time(until)
        if ready := self._ready():  # a thread may have said so as its last act
            return ready
        if min(until, self._happenings.next_at()) == math.inf:
            raise self._happenings.waits_for_nothing()
        self._pass_time(until)
        return []

    def _timer_at(self, timeout: float) -> float:
        """When the next timer is due; exactly, since a float that is off by a hair would wake what has to wait again."""
        at = self._loop.now + timeout
        exact = next_timer_at(self._loop)
        return exact if exact is not None and abs(exact - at) < 1e-6 else at

    def _ready(self) -> list[Any]:
        return super().select(0)

    def _step_in_real_time(self, until: float) -> list[Any]:
        began_at = clock.real()
        limit = min(until, self._happenings.next_at()) - self._loop.now
        ready = super().select(max(0.0, min(limit, LOOK)))
        self._pass_time(min(until, self._loop.now + clock.real() - began_at))
        return ready

    def _pass_time(self, until: float) -> None:
        """Until then, or until something happens before that."""
        at = self._happenings.next_at()
        self._loop.advance_to(min(until, at))
        if at <= until:
            self._happenings.happen()


class _Steps(deque[Any]):
    """The steps that a loop is to take next."""

    def __init__(self, happenings: Happenings) -> None:
        super().__init__()
        self._before_step = happenings.before_step

    @override
    def popleft(self) -> Any:
        handle = super().popleft()
        try:
            self._before_step(handle)
        except BaseException:  # as Ctrl-C raises between two steps: the next one is still to be taken
            self.appendleft(handle)
            raise
        return handle
