"""The worker of jobs from a Redis stream, beside a real redis-server: what it proves, and what it says without one."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.programs import Ended, Program

redis = pytest.importorskip("redis", reason="redis-py is not installed")

FOLDER = Path(__file__).parents[2] / "examples" / "worker"
SERVER = shutil.which("redis-server") or shutil.which("valkey-server")

needs_server = pytest.mark.skipif(SERVER is None, reason="there is no redis-server on the PATH")


@pytest.fixture
def folder() -> Iterator[str]:
    """A folder for a socket: its path must not be long (108 bytes, see unix(7)), and that of `tmp_path` may be."""
    with tempfile.TemporaryDirectory(prefix="redis-", dir="/tmp") as folder:
        yield folder


@pytest.fixture
def server(folder: str) -> Iterator[subprocess.Popen[str]]:
    """A Redis on a socket."""
    command = [SERVER, "--port", "0", "--unixsocket", "redis.sock", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            lines = iter(process.stdout.readline, "")
            assert any("ready to accept connections" in line.lower() for line in lines), "redis-server does not start"
            yield process
        finally:
            process.terminate()


@pytest.fixture
def url(folder: str) -> str:
    """Where that Redis is, or none without it."""
    return f"unix://{folder}/redis.sock"


@pytest.fixture
def start(program: Callable[..., Program], url: str) -> Callable[..., Program]:
    """Start one of the scripts."""
    return lambda name, *args: program(FOLDER / name, args=args, env={"REDIS_URL": url})


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, url: str):
    """The module `jobs` of the example."""
    monkeypatch.setenv("REDIS_URL", url)
    spec = importlib.util.spec_from_file_location("jobs_of_the_worker", FOLDER / "jobs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the proof -------------------------------------------------------------------------------------------------------


def prove(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, script, "--seed", "7", "--job", "0.1", *arguments]  # so that each signal hits one
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, start_new_session=True) as process:
        try:
            out, err = process.communicate(timeout=55)
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing is left of it, as it should be
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@needs_server
def test_no_job_is_lost_or_done_twice() -> None:
    """The short form of the proof holds, and it has proved something: a killed worker's job was done again."""
    ended = prove(FOLDER / "prove.py", "--stops", "3", "--kills", "2", "--restarts", "3")

    assert (0, "") == (ended.returncode, ended.stderr), ended.stdout
    counts = re.findall(r"([\d,]+) jobs, 0 lost, (\d+) begun again after a kill, 0 done twice by a stop", ended.stdout)
    assert 2 == len(counts), ended.stdout
    assert all(int(jobs.replace(",", "")) > 20 for jobs, _ in counts), ended.stdout
    assert 0 < int(counts[0][1]) <= 2, ended.stdout


#: What the worker could do wrong: in which file, what stands there, what instead, what shows it, and what the proof says.
MISTAKES = {
    "a job is cut short": (
        "worker.py",
        "async with app.critical(job.id):",
        "if True:",
        ["--stops", "4", "--kills", "0", "--restarts", "0"],
        "begun again, and not killed",
    ),
    "no transaction": (
        "jobs.py",
        "transaction=True",
        "transaction=False",
        ["--stops", "1", "--kills", "0", "--restarts", "0"],
        "results were stored by 0 transactions",
    ),
    "claimed too early": (
        "jobs.py",
        "self.name, int(ABANDONED * 1000), self._cursor",
        "self.name, 0, self._cursor",
        ["--stops", "0", "--kills", "0", "--restarts", "3"],
        "begun again, and not killed",
    ),
    "acknowledged too early": (
        "jobs.py",
        "        return Job(*entries[0])",
        "        await self._redis.xack(STREAM, GROUP, entries[0][0] if entries else 0)\n        return Job(*entries[0])",
        ["--stops", "0", "--kills", "3", "--restarts", "0"],
        "jobs are not done",
    ),
}


@needs_server
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_proof_notices(mistake: str, tmp_path: Path) -> None:
    """A worker with such a mistake does not pass."""
    name, right, wrong, arguments, said = MISTAKES[mistake]
    folder = shutil.copytree(FOLDER, tmp_path / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    changes = [(name, right, wrong)]
    if said == "jobs are not done":  # they never will be
        changes.append(("prove.py", "PATIENCE = 20.0", "PATIENCE = 3.0"))
    for script, old, new in changes:
        text = (folder / script).read_text()
        assert old in text
        (folder / script).write_text(text.replace(old, new))

    ended = prove(folder / "prove.py", *arguments)

    assert (1, "") == (ended.returncode, ended.stderr), ended.stdout
    assert said in ended.stdout


def test_the_proof_without_a_server(tmp_path: Path) -> None:
    """Without a redis-server it says what is missing, in one line."""
    command = [sys.executable, FOLDER / "prove.py"]
    environment = {**os.environ, "PATH": str(tmp_path)}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=55, env=environment)

    assert 1 == ended.returncode
    assert re.fullmatch(r"prove: there is no redis-server on the PATH .*\n", ended.stderr)


# --- a worker ----------------------------------------------------------------------------------------------------------


def name_of(worker: Program) -> str:
    """What it is called in Redis."""
    return f"{socket.gethostname()}-{worker.process.pid}"


def ready(worker: Program, url: str) -> Program:
    """Wait until it waits for jobs, by the word of Redis."""
    worker.wait_for(f"{name_of(worker)} is ready")
    with redis.Redis.from_url(url) as client:
        while not client.info("clients")["blocked_clients"]:
            pass
    return worker


@needs_server
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_an_idle_worker_stops_at_once(server, start, url: str, number: signal.Signals) -> None:
    """It does not wait for the answer of Redis, which would take two seconds; the status is that of its kind of program."""
    ended = ready(start("worker.py"), url).send(number).end()

    assert (0 if number == signal.SIGTERM else -number, "") == (ended.status, ended.err)
    assert ended.took < 1


@needs_server
def test_a_job_that_was_read_and_not_begun(server, start, url: str, jobs) -> None:
    """Redis has given the worker a job, but the answer was lost when the shutdown interrupted the request: it hands it back."""
    worker = ready(start("worker.py"), url)

    async def give() -> str:
        async with jobs.connect() as redis:
            async with redis.pipeline(
                transaction=True
            ) as transaction:  # or the worker would have it, which waits for one
                transaction.xadd(jobs.STREAM, {"seconds": "0"})
                transaction.xreadgroup(jobs.GROUP, "other", {jobs.STREAM: ">"})
                job = (await transaction.execute())[0]
            await redis.xclaim(jobs.STREAM, jobs.GROUP, name_of(worker), 0, [job], justid=True)
            return job

    async def take() -> str:
        async with jobs.connect() as redis:
            return (await jobs.Jobs(redis, "next").take()).id

    job = asyncio.run(give())
    ended = worker.send(signal.SIGTERM).end()

    assert (0, "") == (ended.status, ended.err)
    assert [f"{name_of(worker)} is ready", f"{name_of(worker)} handed back {job}"] == ended.lines
    assert job == asyncio.run(asyncio.wait_for(take(), 2))


def test_without_redis(start, url: str, tmp_path: Path) -> None:
    """One line on stderr says what is missing and where it was looked for, from the worker and from the producer."""
    for name in ("worker", "produce"):
        ended: Ended = start(f"{name}.py").end()

        assert (1, "") == (ended.status, ended.out)
        assert ended.err.startswith(f"{name}: there is no Redis at {url}, set REDIS_URL: "), ended.err
        assert 1 == ended.err.count("\n")


@needs_server
def test_redis_goes_away(server, start, url: str) -> None:
    """A worker whose Redis is gone ends with that line, for its supervisor to start it again."""
    worker = ready(start("worker.py"), url)
    server.terminate()
    server.wait()

    ended = worker.end()

    assert 1 == ended.status
    assert ended.err.startswith(f"worker: there is no Redis at {url}"), ended.err
    assert 1 == ended.err.count("\n")


@needs_server
def test_the_producer(server, start) -> None:
    """It adds as many jobs as it is told, and says how many wait."""
    ended = start("produce.py", "30").end()

    assert (0, "added 30; not done yet: 30, done: 0\n", "") == (ended.status, ended.out, ended.err)


# --- the stream --------------------------------------------------------------------------------------------------------


@needs_server
def test_what_is_handed_back_is_taken_at_once(server, jobs) -> None:
    """Another worker has it before any new one, without waiting until it counts as abandoned; so does one that comes late."""

    async def main():
        async with jobs.connect() as redis:
            first, second = jobs.Jobs(redis, "first"), jobs.Jobs(redis, "second")
            await first.open()
            added = [await first.put(seconds="0") for _ in range(3)]
            taken = [(await first.take()).id, (await first.take()).id]
            assert added[:2] == taken == await first.hand_back()
            assert added == [(await second.take()).id for _ in added]
            assert [] == await first.hand_back()

    asyncio.run(main())


@needs_server
def test_what_is_under_way_is_nobody_elses(server, jobs) -> None:
    """A worker does not get what another one has taken, and that one's hand_back leaves alone what a third one has."""

    async def main():
        async with jobs.connect() as redis:
            first, second = jobs.Jobs(redis, "first"), jobs.Jobs(redis, "second")
            await first.open()
            added = [await first.put(seconds="0") for _ in range(2)]
            assert added[0] == (await first.take()).id
            assert added[1] == (await second.take()).id
            assert [added[1]] == await second.hand_back()
            assert added[1] == (await second.take()).id

    asyncio.run(main())


@needs_server
def test_a_job_that_was_overtaken_is_stored_once(server, jobs) -> None:
    """Two workers complete the same job, because the first one was suspended for long: its first result stays."""

    async def main():
        async with jobs.connect() as redis:
            worker = jobs.Jobs(redis, "first")
            await worker.open()
            await worker.put(seconds="0")
            job = await worker.take()
            await worker.complete(job, "of the first")
            await worker.complete(job, "of the second")
            assert {job.id: "of the first"} == await redis.hgetall(jobs.RESULTS)
            assert 0 == await redis.xlen(jobs.STREAM)

    asyncio.run(main())


@needs_server
def test_no_job_for_long(server, jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a job ends, so that the worker looks whether it is to stop, even if something has swallowed its cancellation."""
    monkeypatch.setattr(jobs, "BLOCK", 10)

    async def main():
        async with jobs.connect() as redis:
            worker = jobs.Jobs(redis, "idle")
            await worker.open()
            assert await worker.take() is None

    asyncio.run(main())


@needs_server
def test_workers_that_are_gone_are_forgotten(server, jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not one that has a job: that would be lost with it."""

    async def main():
        async with jobs.connect() as redis:
            idle, busy = jobs.Jobs(redis, "idle"), jobs.Jobs(redis, "busy")
            await idle.open()
            for worker in (idle, busy):
                await worker.put(seconds="0")
            await idle.complete(await idle.take(), "done")
            await busy.take()
            monkeypatch.setattr(jobs, "FORGOTTEN", -1)  # each has been gone for so long
            await busy.open()
            assert ["busy"] == [each["name"] for each in await redis.xinfo_consumers(jobs.STREAM, jobs.GROUP)]

    asyncio.run(main())
