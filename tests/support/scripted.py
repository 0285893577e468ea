"""Hooks that do what is written in a script, graphs of them, and what is to be expected of these."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from graceful import Outcome, Verdict
from graceful._core.budget import RESERVE, UNWIND

#: Seconds by which sums of floats may be off.
TINY = 1e-6


#: What a hook does that ends by itself, and how that is called.
ENDING = {
    "sync": Verdict.OK,
    "ok": Verdict.OK,
    "spawn": Verdict.OK,
    "raise": Verdict.RAISED,
    "exit": Verdict.RAISED,
    "cancel": Verdict.CANCELLED,
}


#: What one does that does not, and the seconds it takes to end once it was cancelled.
HANGING = {"hang": 0.0, "unwind": UNWIND / 2, "hang on": UNWIND}


@dataclass
class Scripted:
    """A hook that follows a script. `after` has the numbers of the hooks it waits for; `None`: it is in the chain."""

    number: int
    after: tuple[int, ...] | None
    kind: str
    takes: float
    timeout: float | None
    by_name: bool = False

    @property
    def name(self) -> str:
        return f"hook{self.number}"


@dataclass
class Walked:
    """What came of it."""

    began: list[tuple[str, float]] = field(default_factory=list)
    remaining: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    over: float = 0.0

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.began]

    @property
    def starts(self) -> dict[str, float]:
        return dict(self.began)


class Stage:
    """Where scripted hooks play: the functions that do what is written, and what was seen of them."""

    def __init__(self) -> None:
        self.walked = Walked()
        self._held: list[asyncio.Future[None]] = []

    def function(self, script: Scripted, note: Callable[[], float] = lambda: 0.0) -> Callable[[], Any]:
        """A hook's function; the result of `note()` at its begin is kept."""

        def begin() -> None:
            self.walked.began.append((script.name, asyncio.get_running_loop().time()))
            self.walked.remaining[script.name] = note()

        async def play() -> None:
            begin()
            if script.kind == "spawn":
                asyncio.create_task(self._spawned(script.takes))
                return
            if script.kind in HANGING:
                await self._hang(HANGING[script.kind])
            await asyncio.sleep(script.takes)
            if script.kind in ("raise", "exit", "cancel"):
                raise {"raise": RuntimeError, "exit": SystemExit, "cancel": asyncio.CancelledError}[script.kind]

        function = begin if script.kind == "sync" else play
        function.__name__ = function.__qualname__ = script.name
        return function

    async def _spawned(self, takes: float) -> None:
        """What is left behind leaves something behind."""
        await asyncio.sleep(takes / 2)
        asyncio.create_task(asyncio.sleep(takes / 2))

    async def _hang(self, unwinding: float) -> None:
        """For ever; once it was cancelled for so long more, or if that is `UNWIND`, again for ever."""
        future = asyncio.get_running_loop().create_future()
        self._held.append(future)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.sleep(unwinding if unwinding < UNWIND else 0)
            while unwinding == UNWIND and not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            raise

    async def hang_on(self) -> None:
        """Work that will not be cancelled."""
        await self._hang(UNWIND)

    async def let_go(self) -> None:
        """What hangs may end: the test is over."""
        for future in self._held:
            if not future.done():
                future.set_result(None)
        await asyncio.sleep(60)  # those that unwind, too

    def register(self, register: Callable[..., Any], scripts: Iterable[Scripted], **how: Any) -> None:
        """Register them by `register(after=, timeout=)(function)`; `how` is passed on to `function`."""
        functions = {script.number: self.function(script, **how) for script in scripts}
        for script in scripts:
            after: Any = script.after
            if after is not None:
                after = [f"hook{number}" if script.by_name else functions[number] for number in after]
                after = after[0] if len(after) == 1 else tuple(after)
            register(after=after, timeout=script.timeout)(functions[script.number])


@st.composite
def graphs(
    draw: st.DrawFn, kinds: Iterable[str] = (*ENDING, *HANGING), most: int = 50, *, timeouts: bool = True
) -> list[Scripted]:
    """Hooks in the chain or beside it, which wait for earlier or later ones, without a cycle."""
    count = draw(st.integers(1, most))
    # Who waits for whom: those of the chain for each other; the others for those, and for their like of a lower rank.
    rank = draw(st.permutations(range(count)))
    chained = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    scripts = []
    for me in range(count):
        eligible = [n for n in range(count) if chained[n] or rank[n] < rank[me]]
        chosen = draw(st.lists(st.sampled_from(eligible), max_size=4)) if eligible and not chained[me] else []
        kind = draw(st.sampled_from([*kinds]))
        # Eighths and sixteenths, so that no hook ends at the very moment in which its time is up.
        takes = draw(st.integers(0, 40)) / 8 if kind in ENDING and kind != "sync" else 0.0
        limit = draw(st.integers(0, 40)) / 8 + 1 / 16
        limited = timeouts and (kind in HANGING or draw(st.booleans()))
        after = None if chained[me] else tuple(chosen)
        scripts.append(Scripted(me, after, kind, takes, limit if limited else None, draw(st.booleans())))
    return scripts


def needs(scripts: list[Scripted]) -> dict[str, set[str]]:
    """What the registrations say, read in the plainest way."""
    chain = [script.name for script in scripts if script.after is None]
    waits = {name: {*chain[place + 1 : place + 2]} for place, name in enumerate(chain)}
    return waits | {script.name: {f"hook{n}" for n in script.after} for script in scripts if script.after is not None}


def finish(scripts: list[Scripted], took: dict[str, float]) -> dict[str, float]:
    """When each has ended, if each starts as soon as those it needs have, and takes so long."""
    waits = needs(scripts)
    ends: dict[str, float] = {}
    while len(ends) < len(scripts):
        for name in waits.keys() - ends.keys():
            if waits[name] <= ends.keys():
                ends[name] = max((ends[other] for other in waits[name]), default=0.0) + took[name]
    return ends


def longest(scripts: list[Scripted]) -> int:
    """How many hooks there are on the longest way through them."""
    return round(max(finish(scripts, dict.fromkeys(needs(scripts), 1.0)).values()))


def quick(scripts: list[Scripted], takes: float) -> list[Scripted]:
    """The same, where those that are `quick` are well within the time that they can count on."""
    return [replace(script, kind="ok", takes=takes * 0.99) if script.kind == "quick" else script for script in scripts]


def reserve(grace: float, hooks: int) -> float:
    """What each of so many hooks, one behind the other, can count on, whatever the others do."""
    share = min(RESERVE, grace / hooks)
    return share - min(UNWIND, share / 10)


def fair_share(left: float, hooks: int) -> float:
    """What each of so many hooks can count on, however long those before it take."""
    return min(RESERVE, left / hooks)
