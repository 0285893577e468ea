"""The termination log: the last words of a program whose end is not clean, where Kubernetes looks for them."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from support.failures import Mine
from support.programs import LOOPS

from graceful import App
from graceful._process.termination_log import LIMIT, TerminationLog

FAILING = """
app = App("orders", grace=3)

async def main():
    raise ConnectionError("refused")

app.run(main, loop_factory=LOOP)
"""

HANGING = """
app = App("orders", grace=1)

@app.on_shutdown(timeout=0.1)
async def disconnect():
    await asyncio.sleep(60)

async def main():
    say("ready")
    await asyncio.sleep(60)

app.run(main, loop_factory=LOOP)
"""

BLOCKED = """
import hashlib
app = App("orders", grace=1)

@app.on_shutdown
def sign():
    hashlib.pbkdf2_hmac("sha512", b"", b"", 10**9)

@app.on_shutdown
def close():
    raise RuntimeError("still open")

async def main():
    say("ready")
    await asyncio.sleep(60)

app.run(main, loop_factory=LOOP)
"""

IMPATIENT = """
app = App("orders", grace=60, debounce=0.05)

@app.on_shutdown
async def flush():
    say("hangs")
    try:
        await asyncio.sleep(60)
    finally:
        say("hurried")
        await asyncio.sleep(60)

async def main():
    say("ready")
    await asyncio.sleep(60)

app.run(main, loop_factory=LOOP)
"""

SERVICE = """
app = App("orders", grace=3)

@app.on_shutdown
async def close():
    await asyncio.sleep(0.01)

async def main():
    say("ready")
    {}

app.run(main, loop_factory=LOOP)
"""


@pytest.fixture
def log(tmp_path):
    """An empty file, as Kubernetes makes one for each start of a container."""
    path = tmp_path / "termination-log"
    path.touch()
    return path


@pytest.fixture
def logging_to(program, log):
    """Start a program that is told of this file."""

    def start(source, **options):
        return program(source, env={"GRACEFUL_TERMINATION_LOG": str(log)}, **options)

    return start


# --- which ends leave words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_a_failure(logging_to, log, loop):
    """The exception, and the line that it was raised at."""
    ended = logging_to(FAILING, loop=loop).end()

    first, *rest = log.read_text().splitlines()
    assert (1, "orders did not end cleanly (ConnectionError: refused), exit status 1:") == (ended.status, first)
    assert ["main failed: ConnectionError: refused"] == rest[:1]
    assert rest[1].endswith("in main"), rest


@pytest.mark.parametrize("loop", LOOPS)
def test_a_hook_that_times_out(logging_to, log, loop):
    """The hook, and the line it was stuck at, innermost first."""
    ended = logging_to(HANGING, loop=loop).wait_for("ready").send(signal.SIGTERM).end()

    first, second, *stack = log.read_text().splitlines()
    assert (1, "orders did not end cleanly (SIGTERM), exit status 1:") == (ended.status, first)
    assert second.startswith("cleanup disconnect (program0.py:") and ") timed out after 0.1" in second
    assert any(line.endswith("in disconnect") for line in stack), stack


@pytest.mark.parametrize("loop", LOOPS)
def test_the_deadline(logging_to, log, loop):
    """Status 70: what was still running, and what had gone wrong before."""
    ended = logging_to(BLOCKED, loop=loop).wait_for("ready").send(signal.SIGTERM).end()

    stuck, _, before = log.read_text().partition("\nbefore that:\n")
    assert 70 == ended.status
    assert stuck.startswith("orders did not end within 1 s of SIGTERM; still running:\n")
    assert "hook sign (program0.py:" in stuck and "in sign" in stuck
    assert before.startswith("cleanup close (program0.py:") and "raised after 0.0 s: RuntimeError\n" in before


@pytest.mark.parametrize("loop", LOOPS)
def test_a_third_ctrl_c(logging_to, log, loop):
    """What was cut short by it."""
    running = logging_to(IMPATIENT, loop=loop).wait_for("ready").send(signal.SIGINT).wait_for("hangs")
    time.sleep(0.15)  # not to synchronise: the debounce is a time
    running.send(signal.SIGINT).wait_for("hurried")
    time.sleep(0.15)
    ended = running.send(signal.SIGINT).end()

    assert -signal.SIGINT == ended.status
    assert log.read_text().startswith("orders was ended by SIGINT before its cleanup had finished; still running:\n")
    assert "hook flush (program0.py:" in log.read_text()


def test_a_thread_that_does_not_end(logging_to, log):
    """Status 70 after `run()`: the thread, below what had failed."""
    source = FAILING.replace(
        "raise ConnectionError",
        "threading.Thread(target=time.sleep, args=(60,)).start()\n    "
        "os.kill(os.getpid(), signal.SIGTERM)\n    await asyncio.sleep(0.1)\n    raise ConnectionError",
    )
    source = source.replace("grace=3", "grace=1")
    ended = logging_to(source).end()

    assert 70 == ended.status, ended.err
    assert "the process could not end in time; still running:\n  thread" in log.read_text()


def test_a_third_ctrl_c_after_the_run(logging_to, log):
    """So is what another Ctrl-C cuts short while the process ends: atexit callbacks and threads."""
    source = """
    import atexit
    def upload():
        say("uploading")
        for _ in range(600):
            time.sleep(0.1)
    atexit.register(upload)
    app = App("orders", grace=60, debounce=0.05)
    async def main():
        say("ready")
        await asyncio.sleep(60)
    app.run(main)
    """
    running = logging_to(source).wait_for("ready").send(signal.SIGINT).wait_for("uploading")
    for _ in range(2):
        time.sleep(0.15)  # not to synchronise: the debounce is a time
        running.send(signal.SIGINT)
    ended = running.end()

    assert -signal.SIGINT == ended.status
    assert log.read_text().startswith("the process was ended by SIGINT before it could end by itself; still running:\n")
    assert "in upload" in log.read_text()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("number", "way", "status"),
    [
        (signal.SIGTERM, "await app.sleep(60)", 0),
        (signal.SIGINT, "await app.sleep(60)", -signal.SIGINT),
        (signal.SIGTERM, "await asyncio.sleep(60)", -signal.SIGTERM),
        (signal.SIGTERM, "await app.sleep(60); sys.exit(0)", 0),
    ],
    ids=["finished", "Ctrl-C", "cut short", "exit"],
)
def test_a_clean_end(logging_to, log, loop, number, way, status):
    """Nothing is written at a stop by the signal, whether or not the work was finished: the status says that."""
    ended = logging_to(SERVICE.format(way), loop=loop).wait_for("ready").send(number).end()

    assert (status, "") == (ended.status, log.read_text())


def test_a_status_of_its_own(logging_to, log):
    """A program that exits with a status that is not 0 has not ended cleanly."""
    ended = logging_to(SERVICE.format("await app.sleep(60); sys.exit(3)")).wait_for("ready").send(signal.SIGTERM).end()

    assert (3, True) == (
        ended.status,
        log.read_text().startswith("orders did not end cleanly (SIGTERM), exit status 3"),
    )


# --- in this process -------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(monkeypatch, log):
    """The apps of this test are told of the file."""
    monkeypatch.setenv("GRACEFUL_TERMINATION_LOG", str(log))
    return log


async def fail():
    raise Mine("here")


async def nothing():
    pass


def test_a_block(logged):
    """The failures of an app in a loop that somebody else owns are told, too."""

    async def main():
        async with App("part", grace=3):
            raise Mine("here")

    with pytest.raises(Mine):
        asyncio.run(main())
    assert logged.read_text().startswith("part did not end cleanly (Mine: here), exit status 1:\nthe block failed: ")


def test_a_lifespan(logged):
    """So are those under a server."""
    app = App("site", grace=3)

    @app.on_shutdown
    async def close():
        raise Mine("here")

    async def main():
        async with app.lifespan():
            pass

    with pytest.raises(Mine):
        asyncio.run(main())
    assert "\ncleanup close (" in logged.read_text()


def test_each_error_of_a_group(logged):
    """Of an exception group every exception is told: what a TaskGroup raises says nothing by itself."""

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        App("test", grace=3).run(main)
    assert "\n    Mine: here\n" in logged.read_text()


def test_a_clean_run_takes_back_what_an_earlier_one_wrote(logged):
    """A program that starts its app again after a failure, and then ends cleanly, leaves no words."""
    app = App("test", grace=3)

    with pytest.raises(Mine):
        app.run(fail)
    assert "" != logged.read_text()
    app.run(nothing)
    assert "" == logged.read_text()


def test_what_the_program_has_written_is_kept(logged):
    """What the file had in it before stays, above ours; and it stays when ours are taken back."""
    logged.write_text("out of licences\n")
    app = App("test", grace=3)

    with pytest.raises(Mine):
        app.run(fail)
    assert logged.read_text().startswith("out of licences\ntest did not end cleanly (Mine: here)")
    app.run(nothing)
    assert "out of licences\n" == logged.read_text()


def test_a_simulation_writes_nothing(logged):
    """Simulated runs leave the file alone, also where the process is ended by force."""
    from graceful.testing import simulate  # here: others look at what `import graceful` alone brings

    app = App("test", grace=3)

    @app.on_shutdown
    async def hang():
        await asyncio.sleep(60)

    forced = simulate(app, nothing, at={1: signal.SIGINT, 2: signal.SIGINT, 2.6: signal.SIGINT})
    assert 0 != forced.exit_status
    assert 0 != simulate(App("test", grace=3), fail).exit_status
    assert "" == logged.read_text()


def test_a_run_in_another_thread_writes_nothing(logged):
    """Its end is not that of the process."""
    import threading

    def run():
        with pytest.raises(Mine):
            App("test", grace=3).run(fail)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "" == logged.read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_write_nothing(logging_to, log):
    """Neither a forked child nor a worker process of `multiprocessing`: the container goes on."""
    source = """
    import multiprocessing
    async def fail():
        raise ConnectionError("refused")
    def work():
        App("worker", grace=3).run(fail)
    if __name__ == "__main__":
        pid = os.fork()
        if not pid:
            try:
                work()
            except ConnectionError:
                os._exit(7)
        say(os.waitpid(pid, 0)[1] >> 8)
        worker = multiprocessing.get_context("spawn").Process(target=work)
        worker.start()
        worker.join()
        say(worker.exitcode)
    """
    ended = logging_to(source).end()

    assert ["7", "1"] == ended.lines
    assert "" == log.read_text()


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_file_is_never_made(tmp_path, monkeypatch):
    """Where there is none, nothing happens."""
    monkeypatch.setenv("GRACEFUL_TERMINATION_LOG", str(tmp_path / "missing"))

    with pytest.raises(Mine):
        App("test", grace=3).run(fail)
    assert [] == [*tmp_path.iterdir()]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_blocks_nobody(tmp_path):
    """A file that nobody reads, and one that cannot be written at a place, are left alone at once."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    TerminationLog(str(path)).write("words")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    TerminationLog(str(path)).write("words")
    try:
        assert b"" == os.read(reader, 10)
    finally:
        os.close(reader)


@pytest.mark.parametrize("letter", ["x", "é", "€"])
def test_it_is_as_long_as_kubernetes_shows(log, letter):
    """Of words that are too long the beginning and the end are kept, in whole characters."""
    TerminationLog(str(log)).write("why\n" + letter * 5000 + "\nwhere")

    data = log.read_bytes()
    assert LIMIT - 8 <= len(data) <= LIMIT == 4096
    assert data.decode().startswith("why\n" + letter) and data.decode().endswith(letter + "\nwhere\n")
    assert "\n...\n" in data.decode()


def test_later_words_follow_the_earlier_ones(log):
    """What a run adds stands below what it has written; what it writes anew stands instead."""
    ours = TerminationLog(str(log))

    ours.write("first")
    ours.add("second")
    assert "first\nsecond\n" == log.read_text()
    ours.write("third")
    assert "third\n" == log.read_text()
