"""Virtual time: a loop in which an hour passes at once, and an app that lives in it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import pkgutil
import selectors
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

import graceful
from graceful import Hooks, Outcome
from graceful._hook import Hook
from graceful._pace import Pace
from graceful._plan import plan
from graceful._stacks import place
from graceful._turn import Turn, take_turn
from graceful._walk import walk

T = TypeVar("T")

for room in pkgutil.iter_modules(graceful.__path__):  # its clock is to be replaced, so it must be there
    importlib.import_module(f"graceful.{room.name}")


def outcome_of(turn: Turn) -> Outcome:
    """What the journal makes of a turn that is over."""
    hook, verdict, code, *more = turn.end()
    return Outcome(hook, verdict, place(code), *more)


async def walk_hooks(hooks: Hooks, pace: Pace, told: Callable[[Outcome], None], pushed: Iterable[Hook] = ()) -> None:
    """Walk the cleanup hooks of a collection, without an app; `pushed` are those acquired before."""

    def ended(turn: Turn) -> None:
        told(outcome_of(turn))

    async def watch(turn: Turn) -> None:
        assert turn.task is not None
        await take_turn(turn, turn.task, pace)
        ended(turn)

    def begin(hook: Hook, behind: int) -> Turn:
        return Turn(hook, pace, "cleanup", behind)

    order = plan([*hooks._hooks()])
    await walk(order, deque(pushed), pace, begin=begin, watch=watch, ended=ended, spoilt=pytest.fail)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while something runs, and jumps to the next timer when nothing does."""

    def __init__(self) -> None:
        selector = selectors.DefaultSelector()
        super().__init__(selector)
        self.now = 0.0
        self._poll = selector.select
        selector.select = self._jump

    def _jump(self, timeout: float | None = None) -> object:
        assert timeout is not None, "everything waits, and nothing will come"
        self.now += timeout
        return self._poll(0)

    def time(self) -> float:
        return self.now


@contextlib.contextmanager
def on_the_clock_of(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Every room of the package that looks at a clock looks at the loop's."""
    clock = SimpleNamespace(monotonic=loop.time)
    with pytest.MonkeyPatch.context() as patch:
        for name, room in [*sys.modules.items()]:
            if name.startswith("graceful.") and hasattr(room, "time"):
                patch.setattr(room, "time", clock)
        yield


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """`asyncio.run(main())` in virtual time; an app in there must be a guest (`async with app:`)."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner, on_the_clock_of(runner.get_loop()):
        return runner.run(main())
