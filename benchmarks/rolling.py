"""
A rolling restart under load: three instances behind nginx and haproxy, each replaced in turn, and every answer checked.

    python benchmarks/rolling.py                        each server, 20 rounds, 100,000 requests or more: half an hour
    python benchmarks/rolling.py --quick                2 rounds of each: about a minute
    python benchmarks/rolling.py --only aiohttp --end failure

The instances are the recipes of examples/servers. "Replaced" means: stopped, and when it is gone, a new one is started on the
same port. It is stopped by SIGTERM, or by the failure of a background task. The exit status is 1 if any request was lost,
failed or done twice, or an instance did not end as it should. Needs nginx, haproxy and wrk. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import importlib.util
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator

from rolling_clients import Tally, clients
from rolling_proxies import PROXIES, free_ports, is_up, missing, proxies, retries

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = {"aiohttp": "aiohttp_resource", "uvicorn": "uvicorn_resource", "grpc": "grpc_resource"}
INSTANCES = 3
#: How an instance is stopped: the signal that is sent to it, and the status that it must end with.
ENDS = {"SIGTERM": (signal.SIGTERM, 0), "failure": (signal.SIGUSR1, 1)}
#: What an instance may say on stderr: that it took more than two seconds, and the failure, with its traceback.
SLOW = r"shop is still shutting down .*\n|shop has shut down, after .*\n"
#: asyncio of Python 3.12 and 3.13 says this of a connection that was accepted when the listener had just been closed.
ACCEPTED_LATE = r"Exception ignored in: <function _SelectorTransport.__del__ .*\n(Traceback .*\n)?( .*\n)*TypeError: 'NoneType' .*\n"
EXPECTED = {
    "SIGTERM": re.compile(SLOW + "|" + ACCEPTED_LATE),
    "failure": re.compile(
        SLOW
        + "|"
        + ACCEPTED_LATE
        + r"|background task work .*\n|Traceback .*\n( .*\n)+RuntimeError: on purpose\nin task .*\n"
    ),
}
#: Seconds to go on serving after SIGTERM: haproxy looks ten times a second, and believes what it has seen twice.
DRAIN_DELAY = 1
#: Seconds for which nginx leaves an instance alone that it could not connect to, and a little more.
FAIL_TIMEOUT = 1.1

WRK = 'wrk.method = "POST"\nwrk.path = "/order?id=0"\nwrk.body = "apple"\n'


class Instance:
    """One of the three: a process at a time, on one port. Everything that it prints is in its files."""

    def __init__(self, folder: str, number: int, recipe: str, port: int) -> None:
        self.port, self.number = port, number
        self._folder, self._recipe = folder, recipe
        self._environment = {**os.environ, "PORT": str(port), "GRACEFUL_DRAIN_DELAY": str(DRAIN_DELAY)}
        self._process: asyncio.subprocess.Process | None = None
        self.err = os.path.join(folder, f"instance{number}.err")

    async def start(self) -> None:
        """Start a process, and wait until haproxy sends requests to it, and nginx, too."""
        program = os.path.join(HERE, "programs", "instance.py")
        with open(os.path.join(self._folder, f"instance{self.number}.out"), "a") as out, open(self.err, "a") as err:
            command = (sys.executable, program, self._recipe)
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=out, stderr=err, env=self._environment
            )
        while not is_up(self._folder, self.number):
            if self._process.returncode is not None:
                raise RuntimeError(f"an instance did not start: see {self.err}")
            await asyncio.sleep(0.05)
        await asyncio.sleep(FAIL_TIMEOUT)

    async def stop(self, end: str) -> tuple[float, int]:
        """Stop it; returns the seconds that this took, and the exit status."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(ENDS[end][0])
        status = await self._process.wait()
        return time.monotonic() - began, status


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of the rounds with one server and one end."""

    server: str
    end: str
    took: list[float]
    tally: Tally
    twice: int
    not_done: int
    retries: int
    wrk: str
    wrong: list[str]

    @property
    def good(self) -> bool:
        tally = self.tally
        return not (tally.lost or tally.failed or tally.broken or self.twice or self.not_done or self.wrong)


@contextlib.asynccontextmanager
async def wrk(folder: str, ports: list[int]) -> AsyncIterator[list[str]]:
    """wrk beside the clients; yields what it says in the end."""
    script = os.path.join(folder, "wrk.lua")
    with open(script, "w") as file:
        file.write(WRK)
    options = ("-t1", "-c2", "-d3600s", "--timeout", "20s", "-s", script)
    pipe = subprocess.PIPE
    running = [
        await asyncio.create_subprocess_exec("wrk", *options, f"http://127.0.0.1:{p}/", stdout=pipe) for p in ports
    ]
    said: list[str] = []
    try:
        yield said
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        said += [(await process.communicate())[0].decode() for process in running]


async def measure(server: str, end: str, behind: list[str], rounds: int, requests: int) -> Outcome:
    """Replace each instance in each round, until there were so many requests, too."""
    tally, took, wrong, grpc = Tally(), list[float](), list[str](), server == "grpc"
    # The workers of nginx are nobody, who must get into the folder.
    with tempfile.TemporaryDirectory(prefix="rolling", dir="/tmp") as folder, contextlib.ExitStack() as stack:
        os.chmod(folder, 0o755)  # noqa: S103
        ports = free_ports(INSTANCES)
        instances = [Instance(folder, number, RECIPES[server], port) for number, port in enumerate(ports)]
        front = stack.enter_context(proxies(folder, ports, grpc=grpc))
        controller = asyncio.create_task(front.follow_readiness()) if grpc else None
        await asyncio.gather(*(instance.start() for instance in instances))
        async with asyncio.TaskGroup() as group:
            for proxy in behind:
                for client in clients(tally, proxy, front.ports[proxy], grpc=grpc):
                    group.create_task(client)
            async with wrk(folder, [] if grpc else [front.ports[proxy] for proxy in behind]) as said:
                number = 0
                while number < rounds or len(tally.answered) < requests:
                    number += 1
                    for instance in instances:
                        took.append(await replace(instance, end, wrong))
                    print(
                        f"\r{server}, {end}: round {number}, {len(tally.answered):,} answers \033[K",
                        end="",
                        file=sys.stderr,
                    )
            tally.enough = True
            if controller is not None:
                controller.cancel()
            tried_again = retries(folder)
            for instance in instances:  # which ends what still follows the prices
                wrong += await last(instance, end)
        done = orders_in(folder)
        twice = sum(times - 1 for order, times in done.items() if order)
        not_done = len(tally.answered - done.keys())
    print("\r\033[K", end="", file=sys.stderr)
    return Outcome(server, end, took, tally, twice, not_done, tried_again, summary(said), wrong)


async def replace(instance: Instance, end: str, wrong: list[str]) -> float:
    """Stop it, and start another one on the same port; returns the seconds that the stop took."""
    seconds, status = await instance.stop(end)
    if status != ENDS[end][1]:
        wrong.append(f"an instance ended with status {status}")
    await instance.start()
    return seconds


async def last(instance: Instance, end: str) -> list[str]:
    """Stop the instance at the end; returns what is wrong with what it and its predecessors said on stderr."""
    _, status = await instance.stop("SIGTERM")
    with open(instance.err) as file:
        said = EXPECTED[end].sub("", file.read())
    return ([f"stderr: {said}"] if said else []) + ([f"status {status} at the end"] if status else [])


def orders_in(folder: str) -> collections.Counter[int]:
    """How often each order was done, by what the instances have printed."""
    done: collections.Counter[int] = collections.Counter()
    for number in range(INSTANCES):
        with open(os.path.join(folder, f"instance{number}.out")) as file:
            done.update(int(line.split()[1]) for line in file if line.startswith("order "))
    return done


def summary(said: list[str]) -> str:
    """What wrk said: the requests, and the errors."""
    if not said:
        return "does not speak it"
    requests = sum(int(number) for text in said for number in re.findall(r"(\d+) requests in", text))
    bad = [int(number) for text in said for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", text)]
    for text in said:
        bad += [int(number) for line in re.findall(r"Socket errors: (.*)", text) for number in re.findall(r"\d+", line)]
    return f"{requests:,}, {sum(bad)} errors"


HEAD = ["server", "stopped by", "restarts", "answers checked", "lost", "failed", "done twice", "streams ended", "broken",
        "wrk", "retried by haproxy", "a stop took, median", "longest"]  # fmt: skip


def row(outcome: Outcome) -> list[str]:
    """The outcome as the table shows it."""
    tally = outcome.tally
    numbers = [
        len(outcome.took),
        len(tally.answered),
        tally.lost,
        tally.failed,
        outcome.twice,
        tally.streams,
        tally.broken,
    ]
    times = [f"{seconds:.2f} s" for seconds in (statistics.median(outcome.took), max(outcome.took))]
    return [outcome.server, outcome.end, *(f"{n:,}" for n in numbers), outcome.wrk, f"{outcome.retries:,}", *times]


def table(rows: list[list[str]]) -> str:
    """The table in Markdown, aligned."""
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    ruled = [HEAD, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(map(str.ljust, cells, widths))} |" for cells in ruled)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Restart instances behind load balancers, and check every answer.")
    parser.add_argument(
        "--only", nargs="+", metavar="SERVER", choices=[*RECIPES], default=[*RECIPES], help=", ".join(RECIPES)
    )
    parser.add_argument("--end", nargs="+", metavar="END", choices=[*ENDS], default=[*ENDS], help=", ".join(ENDS))
    parser.add_argument(
        "--behind", nargs="+", metavar="PROXY", choices=PROXIES, default=[*PROXIES], help=", ".join(PROXIES)
    )
    parser.add_argument("--rounds", type=int, default=20, help="replace each instance so often (default: 20)")
    parser.add_argument(
        "--requests", type=int, default=100_000, help="and go on until there are so many (default: 100000)"
    )
    parser.add_argument("--quick", action="store_true", help="2 rounds, however few requests there are")
    return parser.parse_args()


def main() -> None:
    """Measure, print the table, and end with 1 if anything was lost."""
    asked = arguments()
    if names := missing():
        sys.exit(f"not installed: {', '.join(names)}. With Debian: apt-get install {' '.join(names)}")
    modules = {"aiohttp": "aiohttp", "uvicorn": "uvicorn", "grpc": "grpc"}
    if names := [modules[server] for server in asked.only if importlib.util.find_spec(modules[server]) is None]:
        sys.exit(f"not installed: {', '.join(names)}. pip install '.[test]' brings them")
    rounds, requests = (2, 0) if asked.quick else (asked.rounds, asked.requests)
    outcomes = [
        asyncio.run(measure(server, end, asked.behind, rounds, requests)) for server in asked.only for end in asked.end
    ]
    print(table([row(outcome) for outcome in outcomes]))
    for outcome in outcomes:
        for problem in (*outcome.wrong, *outcome.tally.problems):
            print(f"{outcome.server}, {outcome.end}: {problem}", file=sys.stderr)
    if not all(outcome.good for outcome in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
