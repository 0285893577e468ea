"""The flagship example, as a process: whatever ends it, and whenever, each line of the log is taken in exactly once."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from support.ingest import NERVOUS, PROGRAM, a_link, a_way_round, add, good, malformed, numbered, paths, query, until

# --- stopped at any moment -------------------------------------------------------------------------------------------


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


#: The example as a module, to be given something more before it runs.
AS_MODULE = f"""\
import importlib.util, os, signal, sys, threading, time
spec = importlib.util.spec_from_file_location("ingest", {str(PROGRAM)!r})
example = sys.modules["ingest"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
def say(line):
    os.write(1, (line + "\\n").encode())
"""


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


def test_an_exception_commits_the_batch_in_hand(start, log):
    """If something else in the program fails, the batch in hand is still committed, and the next run continues after it."""
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


def test_a_second_run_continues_where_the_first_ended(start, log):
    """A second run begins behind the last line of the first, says so, and takes nothing twice."""
    add(log, good(1, 2))
    size = log.stat().st_size
    first = start(log, "--once").end()
    assert first.out[0] == f"{log} from byte 0 into {log}.db"
    second = start(log, "--once").end()
    assert second == (0, [f"{log} from byte {size} into {log}.db", second.out[1]], "")
    assert second.out[1] == f"0 lines, 0 malformed, at byte {size}; stopped: stop() was called"
    assert paths(log) == numbered(1, 2)


# --- names -----------------------------------------------------------------------------------------------------------


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


# --- lines -----------------------------------------------------------------------------------------------------------


def test_malformed_lines_are_kept_aside(start, log):
    """A line that cannot be parsed is kept byte for byte and counted, and the program goes on."""
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
    """It pauses at the end of the log, not after each batch; and it can be stopped in the longest pause."""
    lines = [good(number)[:-1] + b' "-" "%b"\n' % (b"x" * padding) for number in range(1200)]
    add(log, b"".join(lines))
    running = start(log, "--interval", "3600")
    running.line()
    until(lambda: len(paths(log)) == 1200)
    assert running.stop(signal.SIGTERM).status == 0


# --- what the user sees ----------------------------------------------------------------------------------------------


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
        with contextlib.suppress(OSError):  # EIO: there is no writer any more
            while more := os.read(terminal, 4096):
                screen += more
                if screen.endswith(status + b"\x1b[K\r"):
                    running.process.send_signal(signal.SIGTERM)
    finally:
        os.close(terminal)
    assert running.process.wait() == 0
    in_its_place = rb"(\n|\x1b\[K\r)" + re.escape(status)  # it may be shown once more, after what the app says
    assert re.search(in_its_place + rb"; stopped: SIGTERM\r\n\Z", screen), screen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_stdout(start, log, number):
    """A closed stdout does not stop the program, and does not change how it ends."""
    running = start(log, *NERVOUS)
    running.line()
    running.process.stdout.close()
    add(log, good(1))
    until(lambda: paths(log) == numbered(1))
    running.process.send_signal(number)
    assert running.process.wait() == 0
    assert running.process.stderr.read() == b""
