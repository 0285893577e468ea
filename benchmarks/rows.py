"""The rows of the table: what is measured, what it is compared with, how often, and the target."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from measure import Measure, Sample, cpu, idle, kill, kill_per_task, told

__all__ = ["ROWS", "Result", "Row"]


class Result(NamedTuple):
    """
    Attributes:
        values: The median, or another percentile, for each contender.
        ratios: The ratio to the floor for each contender: the median of the ratios of each round.
        spread: The quartiles of graceful's ratio.
    """

    values: Mapping[str, float]
    ratios: Mapping[str, float]
    spread: tuple[float, float]

    @property
    def above(self) -> float:
        """The difference between graceful and the floor."""
        return self.values["graceful"] - self.values["floor"]


Target = Callable[[Result], bool]


class Row(NamedTuple):
    """
    One line of the table; rows with the same name are measured together.

    Attributes:
        target: The target as text, and as a test.
        contenders: The floor, graceful, then each peer, by name, with its program and arguments.
        needs: The package that the row requires.
        slow: Whether a quick run leaves it out.
    """

    name: str
    what: str
    unit: str
    floor: str
    target: tuple[str, Target]
    measure: Measure
    rounds: int
    contenders: Mapping[str, str]
    percentile: int = 50
    needs: str = ""
    slow: bool = False

    def result(self, samples: Mapping[str, Sequence[Sample]]) -> Result:
        """Summarize the samples."""
        taken = {name: [sample[self.unit] for sample in several] for name, several in samples.items()}
        values = {name: _percentile(numbers, self.percentile) for name, numbers in taken.items()}
        ratios = {
            name: [_ratio(*pair) for pair in zip(numbers, taken["floor"], strict=True)]
            for name, numbers in taken.items()
        }
        medians = {name: statistics.median(several) for name, several in ratios.items()}
        if self.percentile != 50:  # a single round has no percentile
            medians = {name: _ratio(value, values["floor"]) for name, value in values.items()}
        return Result(values, medians, (_percentile(ratios["graceful"], 25), _percentile(ratios["graceful"], 75)))


def _ratio(number: float, floor: float) -> float:
    return number / floor if floor and floor < math.inf else math.nan


def _percentile(numbers: Sequence[float], percentile: int) -> float:
    if percentile == 50:
        return statistics.median(numbers)
    return statistics.quantiles(numbers, n=100, method="inclusive")[percentile - 1]


def at_most(limit: float) -> tuple[str, Target]:
    return f"<= {limit:.2f}", lambda result: result.ratios["graceful"] <= limit


def at_least(limit: float) -> tuple[str, Target]:
    return f">= {limit:.2f}", lambda result: result.ratios["graceful"] >= limit


def plus(extra: float, unit: str) -> tuple[str, Target]:
    return f"<= floor + {extra:g} {unit}", lambda result: result.above <= extra


def _task_group_and_anyio(result: Result) -> bool:
    return result.above <= 1 and result.values["graceful"] < result.values.get("anyio", math.inf)


def of(program: str, *peers: str, floor: str = "asyncio", graceful: str = "graceful") -> dict[str, str]:
    """The contenders: the program with its `{}` filled in for each."""
    names = {"floor": floor, "graceful": graceful, **{peer: peer for peer in peers}}
    return {name: program.format(framework) for name, framework in names.items()}


_PEERS = ("aiorun", "anyio", "aiomisc")
_RUN = "asyncio.run()"
_EVENT = "asyncio.run() of Event().wait()"
_PLAIN = "loop.create_task()"
_GATHER = "asyncio.run(): cancel, gather"
_REQUESTS = "requests a CPU second"

_import = of("import.py {}", *_PEERS)
_idle = of("wait.py {} 0", *_PEERS)
_echo = of("server.py {} echo", "aiorun", "anyio")
_uvloop = of("server.py {} echo", floor="uvloop", graceful="graceful-uvloop")
_aiohttp = of("server.py {} aiohttp", "aiorun", "anyio")
_unwatched = of("create.py {}", graceful="unwatched")
_supervised = of("create.py {}", "anyio", floor="TaskGroup", graceful="supervised")
_memory = of("memory.py {}", "TaskGroup", "anyio", graceful="supervised")
_kill_4 = of("wait.py {} 10000", "supervised", *_PEERS)
_kill_5 = of("wait.py {} 100000", "supervised", *_PEERS)
_kill_6 = of("wait.py {} 1000000", "supervised", "aiorun")
_linear = of("wait.py graceful {}", floor="10000", graceful="1000000")
_hooks = of("hooks.py {}", "registered", floor="stack", graceful="pushed")
_graph_4 = of("graph.py {}", floor="1000", graceful="10000")
_graph_5 = of("graph.py {}", floor="1000", graceful="100000")
_app = ("<= floor + 1 µs, < anyio", _task_group_and_anyio)

# fmt: off
ROWS = [
    Row("import", "import, CPU of the process", "ms", "import asyncio", at_most(1.10), cpu, 40, _import),
    Row("start", "3 hooks, ended at once, CPU of the process", "ms", _RUN, at_most(1.05), cpu, 40, of("start.py {}", *_PEERS)),
    Row("idle", "idle for 10 s, CPU", "ms", _EVENT, plus(1, "ms"), idle, 3, _idle),
    Row("idle", "idle for 10 s, wakeups of all threads", "wakeups", _EVENT, plus(0, "wakeups"), idle, 3, _idle),
    Row("echo", "echo server, 8 connections", _REQUESTS, _RUN, at_least(0.99), told(_REQUESTS), 15, _echo),
    Row("echo-uvloop", "echo server on uvloop", _REQUESTS, "uvloop.run()", at_least(0.99), told(_REQUESTS), 15, _uvloop, needs="uvloop"),
    Row("aiohttp", "aiohttp server, 8 connections", _REQUESTS, _RUN, at_least(0.99), told(_REQUESTS), 15, _aiohttp, needs="aiohttp"),
    Row("create", "a task, created to done, patience=1", "µs", _PLAIN, at_most(1.35), told("µs"), 15, of("create.py {}")),
    Row("create-unwatched", "a task, created to done, patience=None", "µs", _PLAIN, at_most(1.02), told("µs"), 15, _unwatched),
    Row("create-supervised", "App.create_task(), created to done", "µs", "TaskGroup.create_task()", _app, told("µs"), 15, _supervised),
    Row("memory", "App.create_task(), memory", "bytes", _PLAIN, plus(64, "bytes"), told("bytes"), 3, _memory),
    Row("kill", "kill to exit, idle, p50 of 200", "ms", _EVENT, at_most(1.10), kill, 200, _idle),
    Row("kill", "kill to exit, idle, p99 of 200", "ms", _EVENT, at_most(1.10), kill, 200, _idle, percentile=99),
    Row("kill-10000", "kill to exit, 10,000 tasks", "ms", _GATHER, at_most(1.0), kill, 15, _kill_4),
    Row("kill-100000", "kill to exit, 100,000 tasks", "ms", _GATHER, at_most(1.0), kill, 5, _kill_5),
    Row("kill-1000000", "kill to exit, 1,000,000 tasks", "ms", _GATHER, at_most(0.35), kill, 3, _kill_6, slow=True),
    Row("kill-linear", "kill to exit, a task of 1,000,000", "µs", "a task of 10,000", at_most(1.5), kill_per_task, 3, _linear, slow=True),
    Row("hooks", "register and run a hook, of 10,000", "µs", "AsyncExitStack", at_most(1.5), told("µs"), 10, _hooks),
    Row("graph-10000", "a hook of 10,000, 3 edges each", "µs", "a hook of 1,000", at_most(1.25), told("µs"), 3, _graph_4),
    Row("graph-100000", "a hook of 100,000, 3 edges each", "µs", "a hook of 1,000", at_most(1.25), told("µs"), 3, _graph_5, slow=True),
]
# fmt: on
