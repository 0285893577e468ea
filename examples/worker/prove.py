"""
Shows that the worker loses no job: real workers and a real Redis under load, stopped and killed at random moments.

    python examples/worker/prove.py                                       # about two minutes
    python examples/worker/prove.py --stops 3 --kills 2 --restarts 3      # the short form, which the tests run

One worker is stopped by SIGTERM and started again 50 times, and killed by SIGKILL 10 times between. Then there are four
at once, one of which is stopped and started again all the time. At the end each job must have one result, from one
transaction; and a job may have been begun a second time only if it was under way in a worker that was killed.

Needs redis-server (or valkey-server) on the PATH. It starts one of its own, on a socket in a temporary folder.

Exit status: 0 if all of that holds, else 1, with what does not.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from jobs import GROUP, RESULTS, STREAM
from redis import Redis

WORKER = Path(__file__).with_name("worker.py")

#: Jobs come in bursts of up to so many, with so many seconds between: now they queue up, now the workers wait for one.
BURST, LULL = 40, 0.3

#: Seconds that a worker runs before it is stopped, at random.
LIFE = 0.0, 0.4

#: Seconds for the last jobs: more than it takes until an abandoned one is found.
PATIENCE = 20.0


@contextlib.contextmanager
def redis_server(folder: str) -> Generator[str]:
    """A server of its own; yields its address."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        sys.exit("prove: there is no redis-server on the PATH (Debian: apt-get install redis-server)")
    path = f"{folder}/redis.sock"
    command = [program, "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "ready to accept connections" in line.lower():
                    break
            yield f"unix://{path}"
        finally:
            server.terminate()


class Worker:
    """One worker process."""

    def __init__(self, url: str) -> None:
        environment = {**os.environ, "REDIS_URL": url, "WORKER_LONGEST": "3"}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen([sys.executable, WORKER], env=environment, **pipes)
        self.name = f"{socket.gethostname()}-{self._process.pid}"
        self.said = ""

    def wait_ready(self) -> Worker:
        """Wait until it takes jobs."""
        assert self._process.stdout is not None
        self.said = self._process.stdout.readline()
        return self

    def stop(self) -> str:
        """Ask it to end; returns what is wrong with how it did."""
        self._process.terminate()
        return self._ended(0)

    def kill(self) -> str:
        self._process.kill()
        return self._ended(-signal.SIGKILL)

    def end(self) -> None:
        """If it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _ended(self, expected: int) -> str:
        out, err = self._process.communicate(timeout=20)
        self.said += out
        if self._process.returncode == expected and not err:
            return ""
        return f"{self.name} ended with status {self._process.returncode}: {err}"


class Load(threading.Thread):
    """Adds jobs, unless there are more than enough."""

    def __init__(self, redis: Any, chance: random.Random, longest: float) -> None:
        super().__init__(name="load", daemon=True)
        self._redis = redis
        self._chance = chance
        self._longest = longest
        self._enough = threading.Event()
        self.added: list[str] = []

    def run(self) -> None:
        while not self._enough.wait(self._chance.uniform(0, LULL)):
            for _ in range(self._chance.randint(0, BURST) if self._redis.xlen(STREAM) < BURST else 0):
                self.added.append(
                    self._redis.xadd(STREAM, {"seconds": f"{self._chance.uniform(0, self._longest):.4f}"})
                )

    def stop(self) -> None:
        self._enough.set()
        self.join()


class Proof:
    """
    Args:
        url: The address of a Redis that nobody else uses.
        seed: For what is left to chance.
        longest: Seconds that a job takes at most.
    """

    def __init__(self, url: str, seed: int, longest: float) -> None:
        self.redis: Any = Redis.from_url(url, decode_responses=True)  # pyright: ignore[reportUnknownMemberType]
        self._url = url
        self.chance = random.Random(seed)
        self.load = Load(self.redis, random.Random(seed), longest)
        self.wrong: list[str] = []
        self.handed_back = 0
        self.under_way: collections.Counter[str] = collections.Counter()
        self.notes: list[str] = []
        self._started: list[Worker] = []

    def start(self) -> Worker:
        self._started.append(Worker(self._url))
        return self._started[-1]

    def close(self) -> None:
        """End what still runs, whatever went wrong."""
        for worker in self._started:
            worker.end()
        self.redis.close()

    def pause(self) -> None:
        time.sleep(self.chance.uniform(*LIFE))

    def stop(self, worker: Worker) -> None:
        self.wrong += filter(None, [worker.stop()])
        self.handed_back += worker.said.count("handed back")

    def kill(self, worker: Worker) -> None:
        """And note what it had under way: only that may be begun a second time."""
        self.wrong += filter(None, [worker.kill()])
        pending = self.redis.xpending_range(STREAM, GROUP, "-", "+", 100, consumername=worker.name)
        self.under_way.update(entry["message_id"] for entry in pending)

    def finish(self) -> None:
        """Wait until there is no job any more."""
        self.load.stop()
        until = time.monotonic() + PATIENCE
        while (left := self.redis.xlen(STREAM)) and time.monotonic() < until:
            time.sleep(0.02)
        if left:
            self.wrong.append(f"{left} jobs are not done after {PATIENCE:g} s")

    def judge(self) -> dict[str, int]:
        """Count, and say what is wrong."""
        begun = {job: int(times) for job, times in self.redis.hgetall("sendings").items()}
        results: dict[str, str] = self.redis.hgetall(RESULTS)
        transactions = self.redis.info("commandstats").get("cmdstat_exec", {"calls": 0})["calls"]
        lost = [job for job in self.load.added if job not in results]
        twice = [job for job, times in begun.items() if times > 1 + self.under_way[job]]
        failed = [f"{job}: {result}" for job, result in results.items() if not result.startswith("sent")]
        for what, jobs in {"lost": lost, "begun again, and not killed": twice, "failed": failed}.items():
            if jobs:
                self.wrong.append(f"{len(jobs)} of {len(self.load.added)} jobs {what}: {', '.join(jobs[:5])}")
        if transactions != len(results):
            self.wrong.append(f"{len(results)} results were stored by {transactions} transactions")
        return {
            "jobs": len(self.load.added),
            "lost": len(lost),
            "begun again after a kill": sum(times > 1 for times in begun.values()) - len(twice),
            "done twice by a stop": len(twice),
            "handed back": self.handed_back,
        }


def one_worker(proof: Proof, stops: int, kills: int) -> None:
    """Stop it and start it again; and kill it, now and then."""
    ends = [proof.stop] * stops + [proof.kill] * kills
    proof.chance.shuffle(ends)
    for end in ends:
        worker = proof.start().wait_ready()
        proof.pause()
        end(worker)
    last = proof.start().wait_ready()
    proof.finish()
    proof.stop(last)


def four_workers(proof: Proof, restarts: int) -> None:
    """Three that stay, and one that is always being restarted."""
    stay, restless = [proof.start() for _ in range(3)], proof.start()
    for worker in [*stay, restless]:
        worker.wait_ready()
    for _ in range(restarts):
        proof.pause()
        proof.stop(restless)
        restless = proof.start().wait_ready()
    proof.finish()
    for worker in [*stay, restless]:
        proof.stop(worker)
    done = collections.Counter(result.rpartition(" ")[2] for result in proof.redis.hvals(RESULTS))
    proof.wrong += [f"{worker.name} has done nothing" for worker in stay if not done[worker.name]]
    shares = [done.pop(worker.name) for worker in stay]
    proof.notes.append(f"done by those that stayed: {shares}, by the one that was restarted: {done.total()}")


def prove(title: str, options: argparse.Namespace, disturb: Callable[[Proof], None]) -> bool:
    """Run one of the two above, say what came of it, and return whether all is right."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, redis_server(folder) as url:
        proof = Proof(url, options.seed, options.job)
        with contextlib.closing(proof):
            proof.redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
            proof.load.start()
            disturb(proof)
            counts = proof.judge()
    print(f"{title}, {time.monotonic() - began:.0f} s")
    print("  " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    for line in [*proof.notes, *(f"WRONG: {each}" for each in proof.wrong)]:
        print(f"  {line}")
    return not proof.wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Shows that the worker loses no job.")
    parser.add_argument("--stops", type=int, default=50, help="how often one worker is stopped by SIGTERM")
    parser.add_argument("--kills", type=int, default=10, help="how often it is killed by SIGKILL between")
    parser.add_argument("--restarts", type=int, default=50, help="how often one of four workers is restarted")
    parser.add_argument("--job", type=float, default=0.02, help="seconds that a job takes at most")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="to repeat what is left to chance")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    right = True
    if options.stops or options.kills:
        title = f"1 worker: {options.stops} times stopped, {options.kills} times killed"
        right &= prove(title, options, lambda proof: one_worker(proof, options.stops, options.kills))
    if options.restarts:
        title = f"4 workers: one of them {options.restarts} times restarted"
        right &= prove(title, options, lambda proof: four_workers(proof, options.restarts))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
