"""The flagship example, as a process: whatever ends it, and whenever, each line of the log is taken in exactly once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PROGRAM = Path(__file__).parents[1] / "examples" / "ingest.py"

#: Small batches and short pauses, so that a stop comes at every kind of moment.
NERVOUS = ("--batch", "20", "--interval", "0.01")

#: The example as a module, to be given something more before it runs.
AS_MODULE = f"""\
import importlib.util, os, signal, sys, threading, time
spec = importlib.util.spec_from_file_location("ingest", {str(PROGRAM)!r})
example = sys.modules["ingest"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
def say(line):
    os.write(1, (line + "\\n").encode())
"""


class Ended(NamedTuple):
    status: int
    out: list[str]
    err: str


class Running:
    """The example in a process of its own. One that hangs is killed: its test fails, and does not hang with it."""

    def __init__(self, command: list[str | Path], options: dict) -> None:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, *command], **(pipes | options))
        self.limit = threading.Timer(60, self.process.kill)
        self.limit.daemon = True
        self.limit.start()
        self._seen: list[str] = []

    def line(self, containing: str = "") -> str:
        """Read what it prints up to this; the first line is printed when log and database are open."""
        for line in self.process.stdout:
            self._seen.append(line.decode().rstrip("\n"))
            if containing in self._seen[-1]:
                return self._seen[-1]
        raise AssertionError(f"no {containing!r} in {self._seen!r}; stderr: {self.process.stderr.read().decode()}")

    def stop(self, number: int) -> Ended:
        self.process.send_signal(number)
        return self.end()

    def end(self) -> Ended:
        out, err = self.process.communicate()
        return Ended(self.process.returncode, self._seen + out.decode().splitlines(), err.decode())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`start(log, "--once")` starts the example; `start("-c", source, log)` something around it."""
    started: list[Running] = []

    def start(*arguments: str | Path, **options) -> Running:
        command = list(arguments) if arguments[0] == "-c" else [PROGRAM, *arguments]
        started.append(Running(command, {"cwd": tmp_path, **options}))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()  # if it still runs
        each.process.wait()
        each.limit.cancel()
        for stream in (each.process.stdout, each.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.touch()
    return path


def good(*numbers: int) -> bytes:
    """Lines to be recognised by their path."""
    time = "23/Nov/2025:14:00:00 +0100"
    return b"".join(b'192.0.2.1 - - [%b] "GET /%d HTTP/1.1" 200 512\n' % (time.encode(), n) for n in numbers)


def add(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def query(log: Path, sql: str) -> list:
    """Ask the database, once the example has created it."""
    with contextlib.closing(sqlite3.connect(f"{log}.db", timeout=10)) as connection:
        return connection.execute(sql).fetchall()


def paths(log: Path) -> list[str]:
    return [path for (path,) in query(log, "SELECT path FROM requests ORDER BY id")]


def malformed(log: Path) -> list[bytes]:
    return [line for (line,) in query(log, "SELECT line FROM malformed ORDER BY id")]


def numbered(*numbers: int) -> list[str]:
    return [f"/{number}" for number in numbers]


def until(condition: Callable[[], bool]) -> None:
    """Ask again and again; the time is only there to end a test that has failed."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def one_line(ended: Ended, *containing: str) -> bool:
    """It failed with status 1, and told so in one line."""
    assert ended.status == 1, ended
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("ingest: "), ended.err
    return all(each in ended.err for each in containing)


@contextlib.contextmanager
def suspended(running: Running) -> Iterator[None]:
    """What happens in here happens between two looks of the program."""
    running.process.send_signal(signal.SIGSTOP)
    os.waitpid(running.process.pid, os.WUNTRACED)
    yield
    running.process.send_signal(signal.SIGCONT)


class Visitors(threading.Thread):
    """They write to the log, in pieces that are not lines; what they wrote is known."""

    def __init__(self, log: Path, dice: random.Random) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.malformed: list[bytes] = []
        self._log = log
        self._dice = dice
        self._enough = threading.Event()

    def run(self) -> None:
        rest = b""
        while not self._enough.wait(0.004):
            rest += b"".join(self._line() for _ in range(self._dice.randrange(6)))
            cut = self._dice.randrange(len(rest) + 1)
            add(self._log, rest[:cut])
            rest = rest[cut:]
        add(self._log, rest)

    def _line(self) -> bytes:
        number = len(self.paths) + len(self.malformed)
        if self._dice.random() < 0.1:
            line = b"\xff\x00 no request %d\n" % number
            self.malformed.append(line)
        else:
            line = good(number)
            self.paths += numbered(number)
        return line

    def __enter__(self) -> Visitors:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()


@pytest.fixture
def dice() -> random.Random:
    """Another game each time; what it prints is shown with a failure, and `INGEST_SEED` plays it again."""
    seed = int(os.environ.get("INGEST_SEED", random.randrange(1 << 32)))
    print(f"INGEST_SEED={seed}")
    return random.Random(seed)


# --- stopped at any moment ---------------------------------------------------------------------------------------------


def test_each_line_exactly_once_however_often_it_is_stopped(start, log, dice):
    """Stopped thirty times by signals at random moments while the log grows, it has each line once and in order."""
    with Visitors(log, dice) as visitors:
        for _ in range(30):
            number = dice.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
            # Before its first line it may still be Python that is starting, whose answer to SIGINT is a traceback.
            runs = number == signal.SIGINT or dice.random() < 0.7
            running = start(log, *NERVOUS)
            if runs:
                running.line()
            time.sleep(dice.uniform(0, 0.3))  # no waiting for anything: the random moment itself
            ended = running.stop(number)
            told_to_end = 0 if number != signal.SIGINT else -number
            assert ended.status in ({told_to_end} if runs else {0, -number}), ended
            assert ended.err == ""
        assert paths(log)
    assert start(log, "--once").end().status == 0
    assert paths(log) == visitors.paths
    assert malformed(log) == visitors.malformed


def test_each_line_exactly_once_however_often_it_is_killed(start, log, dice):
    """SIGKILL at random moments loses no line and doubles none, because a batch and its position are one."""
    with Visitors(log, dice) as visitors:
        for turn in range(12):
            running = start(log, *NERVOUS)
            if turn % 3:
                running.line()
            time.sleep(dice.uniform(0, 0.2))
            ended = running.stop(signal.SIGKILL)
            assert (ended.status, ended.err) == (-signal.SIGKILL, "")
        assert paths(log)
    assert start(log, "--once").end().status == 0
    assert paths(log) == visitors.paths
    assert malformed(log) == visitors.malformed


@pytest.mark.parametrize("statement", [1, 2])
def test_killed_inside_a_transaction(start, log, statement):
    """Killed when the position is written and lines are not, it has none of them, and takes them in the next run."""
    add(log, good(1) + b"\n" + good(2))
    running = start(
        "-c",
        AS_MODULE
        + f"""
class Slow(example.sqlite3.Connection):
    left = {statement}
    def executemany(self, *given):
        self.left -= 1
        if not self.left:
            say("in hand")
            time.sleep(60)
        return super().executemany(*given)
connect = example.sqlite3.connect
example.sqlite3.connect = lambda *given, **options: connect(*given, **options, factory=Slow)
example.read_arguments()
example.app.run()
""",
        log,
    )
    running.line("in hand")
    assert running.stop(signal.SIGKILL).status == -signal.SIGKILL
    assert (paths(log), malformed(log)) == ([], [])
    assert start(log, "--once").end().status == 0
    assert (paths(log), malformed(log)) == (numbered(1, 2), [b"\n"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_batch_in_hand_is_finished(start, log, number):
    """A signal that comes in the middle of a batch does not end the program before the batch is committed."""
    add(log, good(*range(20)))
    running = start(
        "-c",
        AS_MODULE
        + """
parse, stopping = example.parse, threading.Event()
def slow_parse(line):
    if b"/10 " in line:
        say("in hand")
        stopping.wait()
    return parse(line)
example.parse = slow_parse
@example.app.on_shutdown(stage="drain")
def go_on():
    threading.Timer(0.3, stopping.set).start()  # long after a task that is not waited for would be cancelled
example.read_arguments()
example.app.run()
""",
        log,
    )
    running.line("in hand")
    assert paths(log) == []
    ended = running.stop(number)
    assert ended.status == (-number if number == signal.SIGINT else 0)
    assert ended.err == ""
    assert paths(log) == numbered(*range(20))
    assert ended.out[-1] == f"20 lines, 0 malformed, at byte {log.stat().st_size:,}; stopped: {number.name}"


def test_an_exception_ends_it_no_less_well(start, log):
    """If something else in the program fails, the batch in hand is committed all the same, and the next run goes on."""
    add(log, good(*range(50)))
    running = start(
        "-c",
        AS_MODULE
        + """
parse, failed = example.parse, threading.Event()
def slow_parse(line):
    if b"/13 " in line:
        say("in hand")
        failed.wait()
    return parse(line)
example.parse = slow_parse
@example.app.background
async def fail():
    while not example.ingest.lines:
        await example.asyncio.sleep(0.001)
    example.asyncio.get_running_loop().call_later(0.05, failed.set)
    raise RuntimeError("something else")
example.read_arguments()
example.app.run()
""",
        log,
        "--batch",
        "10",
    )
    running.line("in hand")
    ended = running.end()
    assert ended.status == 1
    assert "RuntimeError: something else\n" in ended.err
    assert ended.err.count("Traceback") == 1
    assert paths(log) == numbered(*range(20))
    assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(*range(50))


def test_it_goes_on_where_it_was(start, log):
    """A second run begins behind the last line of the first, says so, and takes nothing twice."""
    add(log, good(1, 2))
    size = log.stat().st_size
    first = start(log, "--once").end()
    assert first.out[0] == f"{log} from byte 0 into {log}.db"
    second = start(log, "--once").end()
    assert second == (0, [f"{log} from byte {size} into {log}.db", second.out[1]], "")
    assert second.out[1] == f"0 lines, 0 malformed, at byte {size}; stopped: stop() was called"
    assert paths(log) == numbered(1, 2)


def a_way_round(log: Path) -> Path:
    log.with_name("sub").mkdir()
    return log.parent / "sub" / ".." / log.name


def a_link(log: Path) -> Path:
    log.with_name("sub").mkdir()
    link = log.parent / "sub" / "current.log"
    link.symlink_to(log)
    return link


def a_hard_link(log: Path) -> Path:
    os.link(log, log.with_name("other.log"))
    return log.with_name("other.log")


@pytest.mark.parametrize("make", [a_way_round, a_link, a_hard_link])
def test_the_log_under_another_name(start, log, make):
    """However a log is called, there and back, what was taken from it is not taken again."""
    add(log, good(1, 2))
    other = make(log)
    for number, name in enumerate([log, other, log, other], 3):
        assert start(name, "--once", "--db", f"{log}.db").end().status == 0
        add(log, good(number))
    assert paths(log) == numbered(1, 2, 3, 4, 5)


def test_logs_that_share_a_database(start, log):
    """Logs with the same lines are different logs all the same, and each is taken in."""
    other = log.with_name("other.log")
    for each in (log, other):
        add(each, good(1, 2))
    for _ in range(2):
        for each in (log, other):
            assert start(each, "--once", "--db", f"{log}.db").end().status == 0
    assert paths(log) == numbered(1, 2, 1, 2)


@pytest.mark.parametrize("name", [b"bad\xff.log", "b\u00fccher.log".encode(), b"new\nline.log"])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_log_with_any_name(start, log, name, encoding):
    """A name need not be one that can be printed or is UTF-8; its log is taken in as any other."""
    log = log.with_name(os.fsdecode(name))
    add(log, good(1))
    for _ in range(2):
        ended = start(log, "--once", env=os.environ | {"PYTHONIOENCODING": encoding}).end()
        assert (ended.status, ended.err) == (0, "")
    assert paths(log) == numbered(1)


# --- lines -------------------------------------------------------------------------------------------------------------


def test_malformed_lines_are_kept_aside(start, log):
    """A line that cannot be parsed is kept byte for byte, counted, and stops nothing."""
    bad = [
        b"\n",
        b"\xff\xfe\x00\n",
        b'192.0.2.1 - - [31/Feb/2025:00:00:00 +0000] "GET / HTTP/1.1" 200 1\n',
        b'192.0.2.1 - - [23/Nov/2025:14:00:00 +0100] "GET / HTTP/1.1" 200 %b\n' % (b"9" * 5000),
        b'192.0.2.1 - - [23/Nov/2025:14:00:00 +0100] "GET / HTTP/1.1 200 1\n',
        b"x" * (1 << 18) + b"\n",
    ]
    for number, line in enumerate(bad):
        add(log, good(number) + line)
    ended = start(log, "--once", "--batch", "2").end()
    assert (ended.status, ended.err) == (0, "")
    assert paths(log) == numbered(*range(len(bad)))
    assert b"".join(malformed(log)) == b"".join(bad)
    assert malformed(log)[:5] == bad[:5]
    assert f"{len(malformed(log))} malformed" in ended.out[-1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b'192.0.2.1 - ann [23/Nov/2025:14:00:00 +0100] "GET /a?b=c HTTP/1.1" 200 512',
            ("192.0.2.1", "ann", "2025-11-23T14:00:00+01:00", "GET", "/a?b=c", "HTTP/1.1", 200, 512, None, None),
        ),
        (
            b'::1 - - [01/Jan/0001:00:00:00 +0100] "POST / HTTP/2" 304 - "-" "say \\"hi\\""\r',
            ("::1", None, "0001-01-01T00:00:00+01:00", "POST", "/", "HTTP/2", 304, None, None, 'say \\"hi\\"'),
        ),
        (
            b'192.0.2.1 - - [23/Nov/2025:14:00:00 +0000] "\xff\x00\\x16" 400 0 "http://x/" "\xc3\xa9"',
            ("192.0.2.1", None, "2025-11-23T14:00:00+00:00", None, "\\xff\0\\x16", None, 400, 0, "http://x/", "é"),
        ),
    ],
    ids=["common", "combined", "not UTF-8"],
)
def test_well_formed_lines_are_split(start, log, line, expected):
    """Common and Combined lines become columns, `-` is NULL, and bytes that are not UTF-8 can still be read."""
    add(log, line + b"\n")
    assert start(log, "--once").end().status == 0
    columns = "host, user, time, method, path, protocol, status, size, referer, agent"
    assert query(log, f"SELECT {columns} FROM requests") == [expected]
    assert malformed(log) == []


def test_an_unfinished_line_is_waited_for(start, log):
    """A last line without its newline is not taken until it has one, and then as a whole."""
    line = good(2)
    add(log, good(1) + line[:30])
    assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(1)
    running = start(log, *NERVOUS)
    running.line()
    add(log, line[30:-1])
    add(log, b"\n" + good(3))
    until(lambda: len(paths(log)) == 3)
    assert running.stop(signal.SIGTERM).status == 0
    assert paths(log) == numbered(1, 2, 3)
    assert malformed(log) == []


@pytest.mark.parametrize("padding", [0, 2000])
def test_a_backlog_is_taken_without_a_pause(start, log, padding):
    """It pauses where the log ends, not after each batch; and in the longest pause it can be stopped."""
    lines = [good(number)[:-1] + b' "-" "%b"\n' % (b"x" * padding) for number in range(1200)]
    add(log, b"".join(lines))
    running = start(log, "--interval", "3600")
    running.line()
    until(lambda: len(paths(log)) == 1200)
    assert running.stop(signal.SIGTERM).status == 0


# --- rotation ----------------------------------------------------------------------------------------------------------


def test_a_rotated_log_is_read_to_its_end(start, log):
    """What is written to the old file after it was renamed is taken before what is in the new one."""
    add(log, good(1))
    running = start(log, *NERVOUS)
    running.line()
    until(lambda: paths(log) == numbered(1))
    old = log.rename(log.with_name("access.log.1"))
    add(old, good(2))
    until(lambda: paths(log) == numbered(1, 2))
    add(old, good(3) + good(4)[:-1])  # whoever wrote it has ended without a newline
    add(log, good(5))
    until(lambda: len(paths(log)) == 5)
    ended = running.stop(signal.SIGTERM)
    assert (ended.status, ended.err) == (0, "")
    assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(1, 2, 3, 4, 5)


@pytest.mark.parametrize("name", ["access.log.1", "access.log-20251123"])
def test_a_log_that_was_rotated_meanwhile_is_read_to_its_end(start, log, name):
    """Rotated while the program did not run, the old file is found by its inode, and its rest is taken first."""
    add(log, good(1))
    assert start(log, "--once").end().status == 0
    add(log, good(2))
    old = log.rename(log.with_name(name))
    log.touch()  # created by whoever rotates, while the writer still has the old one
    assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(1, 2)
    add(old, good(3))
    add(log, good(4))
    assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(1, 2, 3, 4)


def test_a_new_log_is_read_from_its_beginning(start, log):
    """Where the old file is nowhere to be found, the new one is taken from its first byte."""
    add(log, good(1))
    assert start(log, "--once").end().status == 0
    log.rename(log.with_name("elsewhere"))
    add(log, good(2, 3))
    assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(1, 2, 3)


def test_a_truncated_log_is_read_from_its_beginning(start, log):
    """A log that became shorter is taken from its first byte, while the program runs and when it did not."""
    add(log, good(1, 2, 3))
    running = start(log, *NERVOUS)
    running.line()
    until(lambda: len(paths(log)) == 3)
    log.write_bytes(good(4, 5))
    until(lambda: len(paths(log)) == 5)
    assert running.stop(signal.SIGTERM).status == 0
    log.write_bytes(good(6))
    assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(1, 2, 3, 4, 5, 6)


def test_a_log_that_was_rewritten_is_read_from_its_beginning(start, log):
    """A log with other lines than were taken from it is a new one, however long it is: it may have the same inode."""
    add(log, good(1, 2, 3))
    assert start(log, "--once").end().status == 0
    log.write_bytes(good(4, 5, 6, 7))
    assert start(log, "--once").end().out[0] == f"{log} from byte 0 into {log}.db"
    assert paths(log) == numbered(*range(1, 8))
    running = start(log, *NERVOUS)
    running.line()
    with suspended(running):
        log.write_bytes(good(*range(8, 20)))
    until(lambda: len(paths(log)) >= 19)
    assert running.stop(signal.SIGTERM).status == 0
    assert paths(log) == numbered(*range(1, 20))


@pytest.mark.parametrize(
    "names", [["", ".1", ".2", ".3"], ["", ".9", ".10", ".11"], ["", "-20251125", "-20251124", "-20251123"]], ids=str
)
@pytest.mark.parametrize("runs", [False, True])
def test_a_log_that_was_rotated_more_than_once(start, log, names, runs):
    """Each file that came between is taken, in order; what is older than the first start, compressed or empty is not."""
    files = [log.with_name(log.name + name) for name in names]
    add(files[3], good(0))
    add(log, good(1))
    running = start(log, *NERVOUS) if runs else start(log, "--once")
    running.line()
    until(lambda: paths(log) == numbered(1)) if runs else running.end()
    with suspended(running) if runs else contextlib.nullcontext():
        add(log, good(2)[:-1])
        files[3].unlink()
        add(files[3], good(0))
        add(log.with_name("access.log.4.gz"), good(0))
        log.rename(files[2])
        add(files[1], good(3, 4))
        add(log, good(5))
    if runs:
        until(lambda: len(paths(log)) >= 5)
        assert running.stop(signal.SIGTERM).status == 0
    for _ in range(2):
        assert start(log, "--once").end().status == 0
    assert (paths(log), malformed(log)) == (numbered(1, 2, 3, 4, 5), [])


@pytest.mark.parametrize("runs", [False, True])
def test_a_log_that_was_copied_and_truncated(start, log, runs):
    """Where the old lines were copied and the log goes on in the same file, the rest is found in the copy."""
    add(log, good(1))
    running = start(log, *NERVOUS) if runs else start(log, "--once")
    running.line()
    until(lambda: paths(log) == numbered(1)) if runs else running.end()
    with suspended(running) if runs else contextlib.nullcontext():
        add(log, good(2))
        log.with_name("access.log.1").write_bytes(log.read_bytes())
        log.write_bytes(good(3, 4, 5))
    if runs:
        until(lambda: len(paths(log)) >= 5)
        assert running.stop(signal.SIGTERM).status == 0
    for _ in range(2):
        assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(1, 2, 3, 4, 5)


def test_a_log_whose_old_file_is_compressed_by_now(start, log):
    """Where the old file is nowhere to be found, those that were written since are taken all the same, in order."""
    old = [log.with_name(f"access.log.{number}") for number in (1, 2, 3)]
    add(old[0], good(0))
    add(log, good(1))
    assert start(log, "--once").end().status == 0
    old[0].rename(log.with_name("access.log.4"))
    log.rename(log.with_name("access.log.3.gz"))
    log.with_name("access.log.3.gz").write_bytes(b"compressed")
    add(old[1], good(2))
    add(old[0], good(3))
    add(log, good(4))
    for _ in range(2):
        assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(1, 2, 3, 4)


@pytest.mark.parametrize("runs", [False, True])
def test_a_link_to_the_log_that_is_switched(start, log, runs):
    """A link that points to a new log is a log that was rotated; the old one is read to its end first."""
    months = [log.with_name(f"2025-{month}.log") for month in (10, 11, 12)]
    log.unlink()
    log.symlink_to(months[0].name)
    running = None
    for number, month in enumerate(months):
        add(month, good(2 * number))
        log.unlink()
        log.symlink_to(month.name)
        if runs:
            running = running or start(log, *NERVOUS)
            running.line("from byte") if not number else None
        else:
            assert start(log, "--once").end().status == 0
        until(lambda: len(paths(log)) == 2 * number + 1)
        with suspended(running) if runs else contextlib.nullcontext():
            add(month, good(2 * number + 1))
        if runs:
            until(lambda: len(paths(log)) == 2 * number + 2)
    if runs:
        assert running.stop(signal.SIGTERM).status == 0
    for each in (log, *months):
        assert start(each, "--once", "--db", f"{log}.db").end().status == 0
    assert paths(log) == numbered(*range(6))


# --- trouble -----------------------------------------------------------------------------------------------------------


def missing(log: Path) -> Path:
    return log.with_name("missing.log")


def a_directory(log: Path) -> Path:
    return log.parent


def a_pipe(log: Path) -> Path:
    os.mkfifo(log.with_name("pipe"))
    return log.with_name("pipe")


def forbidden(log: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    log.chmod(0)
    return log


def unreadable(_: Path) -> Path:
    # For root as for everybody: it can be opened, and fails when it is read, as on a broken disk.
    if not os.path.exists("/proc/self/mem"):
        pytest.skip("there is no /proc")
    return Path("/proc/self/mem")


@pytest.mark.parametrize("make", [missing, a_directory, a_pipe, forbidden, unreadable])
def test_a_log_that_cannot_be_read(start, log, make):
    """A log that is missing, forbidden, broken or no file at all is named in one line, and the status is 1."""
    path = make(log)
    ended = start(path, "--db", log.with_name("hits.db")).end()
    assert one_line(ended, str(path))


def test_a_missing_log_leaves_no_database_behind(start, log):
    """A mistyped name creates nothing."""
    start(missing(log)).end()
    assert [each.name for each in log.parent.iterdir()] == ["access.log"]


@pytest.mark.parametrize("used", [False, True], ids=["new", "used before"])
def test_a_locked_database(start, log, used):
    """If somebody holds the database, one line says so; when it is free again, each line is taken once."""
    add(log, good(1))
    if used:
        assert start(log, "--once").end().status == 0
        add(log, good(2))
    with contextlib.closing(sqlite3.connect(f"{log}.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert one_line(start(log).end(), f"{log}.db", "locked")
        holder.execute("ROLLBACK")
    assert start(log, "--once").end().status == 0
    assert paths(log) == (numbered(1, 2) if used else numbered(1))


def test_a_database_that_is_locked_later(start, log):
    """The same if it happens while the program runs: no batch is lost, none is doubled."""
    add(log, good(1))
    running = start(log, *NERVOUS)
    running.line()
    until(lambda: paths(log) == numbered(1))
    with contextlib.closing(sqlite3.connect(f"{log}.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        add(log, good(2))
        assert one_line(running.end(), f"{log}.db", "locked")
        holder.execute("ROLLBACK")
    assert paths(log) == numbered(1)
    assert start(log, "--once").end().status == 0
    assert paths(log) == numbered(1, 2)


@pytest.mark.parametrize("keep", [0, 4096], ids=["from the first byte", "from the second page"])
def test_a_corrupt_database(start, log, keep):
    """A database that is none, or is none any more, is named in one line and left as it is."""
    add(log, good(1))
    assert start(log, "--once").end().status == 0
    db = Path(f"{log}.db")
    content = db.read_bytes()
    corrupt = content[:keep] + b"\xaa" * (len(content) - keep)
    db.write_bytes(corrupt)
    add(log, good(2))
    assert one_line(start(log).end(), str(db))
    assert db.read_bytes() == corrupt


@pytest.mark.parametrize("name", ["no/such/directory/hits.db", "."])
def test_a_database_that_cannot_be_opened(start, log, name):
    """A database that cannot even be created is named in one line."""
    assert one_line(start(log, "--db", name).end(), name, "unable to open database file")


def test_two_programs_on_one_log(start, log):
    """Of two that take in the same log one fails, with one line, before a line is taken twice."""
    add(log, good(1))
    running = start(log, *NERVOUS)
    running.line()
    until(lambda: paths(log) == numbered(1))
    add(log, b"half a line")  # so that the first has nothing to take while the second goes ahead
    with contextlib.closing(sqlite3.connect(f"{log}.db")) as other, other:
        other.execute("UPDATE position SET offset = offset + 1")
    add(log, b"\n")
    assert one_line(running.end(), "another program")
    assert (paths(log), malformed(log)) == (numbered(1), [])


@pytest.mark.parametrize("make", [a_way_round, a_link])
def test_two_programs_on_one_log_by_two_names(start, log, make):
    """The same if they call it by different names."""
    add(log, good(1))
    running = start(log, *NERVOUS)
    running.line()
    until(lambda: paths(log) == numbered(1))
    with suspended(running):
        add(log, good(2))
        assert start(make(log), "--once", "--db", f"{log}.db").end().status == 0
        add(log, good(3))
    assert one_line(running.end(), "another program")
    assert paths(log) == numbered(1, 2)


def test_a_database_of_an_older_version(start, log):
    """A database that does not know what was taken from which file is told in one line, and left as it is."""
    add(log, good(1))
    with contextlib.closing(sqlite3.connect(f"{log}.db")) as old, old:
        old.execute("CREATE TABLE position (log TEXT PRIMARY KEY, inode TEXT NOT NULL, offset INTEGER NOT NULL)")
        old.execute("INSERT INTO position VALUES (?, ?, 0)", (str(log), str(log.stat().st_ino)))
    assert one_line(start(log, "--once").end(), f"{log}.db", "older", "--db")
    assert query(log, "SELECT offset FROM position") == [(0,)]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--batch", "0"),
        ("--batch", "9" * 30),
        ("--batch", "9" * 5000),
        ("--interval", "nan"),
        ("--rate", "inf"),
        ("--demo",),
        (),
    ],
)
def test_wrong_arguments(start, log, wrong):
    """Arguments that make no sense end it with status 2 and a usage line."""
    ended = start(*([log, *wrong] if wrong else ["--once"])).end()
    assert ended.status == 2
    assert ended.err.startswith("usage: ingest.py")


# --- what one sees -----------------------------------------------------------------------------------------------------


def test_the_demo(start, tmp_path):
    """The demo makes up traffic and takes it in; Ctrl-C ends it, by SIGINT and with no traceback; then it can go on."""
    log = tmp_path / "demo.log"
    running = start("--demo", "--rate", "500", "--interval", "0.05")
    assert running.line() == "demo.log from byte 0 into demo.log.db"
    until(lambda: len(paths(log)) > 100)
    ended = running.stop(signal.SIGINT)
    assert (ended.status, ended.err) == (-signal.SIGINT, "")
    assert ended.out[-1].endswith("; stopped: SIGINT")
    assert start("demo.log", "--once").end().status == 0
    assert len(paths(log)) + len(malformed(log)) == log.read_bytes().count(b"\n")
    assert set(malformed(log)) <= {b"\x16\x03\x01\x02 this is no request\n"}


def test_the_status_on_a_terminal(start, log):
    """On a terminal the status is one line that is written over, and the last word stands in its place."""
    add(log, good(1, 2))
    status = f"2 lines, 0 malformed, at byte {log.stat().st_size}".encode()
    terminal, end = os.openpty()
    screen = b""
    try:
        running = start(log, *NERVOUS, stdin=end, stdout=end, stderr=end)
        os.close(end)
        with contextlib.suppress(OSError):  # EIO: nobody writes to it any more
            while more := os.read(terminal, 4096):
                screen += more
                if screen.endswith(status + b"\x1b[K\r"):
                    running.process.send_signal(signal.SIGTERM)
    finally:
        os.close(terminal)
    assert running.process.wait() == 0
    assert screen.endswith(b"\n" + status + b"; stopped: SIGTERM\r\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_nobody_reads_what_it_prints(start, log, number):
    """That the pipe it prints to was closed is no reason to stop, nor to end less well when it is told to."""
    running = start(log, *NERVOUS)
    running.line()
    running.process.stdout.close()
    add(log, good(1))
    until(lambda: paths(log) == numbered(1))
    running.process.send_signal(number)
    assert running.process.wait() == 0
    assert running.process.stderr.read() == b""
