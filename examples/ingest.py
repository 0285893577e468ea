"""
Follow an access log into SQLite: each line is stored exactly once, however and whenever the program ends.

It shows work that must not be interrupted halfway. `take_in` is drained, not cancelled: on shutdown it finishes the
current batch. The log and the database are a resource, which is closed after every task has ended. A single thread uses
them, so the loop never waits for a disk. `kill -9` does no harm either: a batch and the position after it are written
in one transaction.

    python examples/ingest.py --demo                    # make up traffic in ./demo.log, and follow that
    python examples/ingest.py access.log --db hits.db   # until Ctrl-C, SIGTERM or SIGHUP; a restart continues
    python examples/ingest.py access.log --once         # up to the current end of the log

It prints these lines, and a status line every 10 s between the two (on a terminal, a line that is always up to date):

    demo.log from byte 0 into demo.log.db
    1,204 lines, 7 malformed, at byte 144,837; stopped: SIGINT

Lines that cannot be parsed go to the table `malformed`. A line without its newline is not read until it is complete.

A file is identified by its inode and the last bytes before the position. So it may be renamed, and a file that was
truncated or rewritten is read from byte 0. A rotated log is read to its end before the new one is read. If the log was
rotated while the program was not running, the old file is found under any name in the same directory. Files that came
between are found as LOG.2, LOG.1 or LOG-20251123. Compressed files are not read.

Exit status: 0 after SIGTERM, SIGHUP, or the end of the log with --once; 1 after an error of the log or the database,
with one line on stderr; 2 for wrong arguments. After Ctrl-C it dies by SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import io
import itertools
import os
import random
import re
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from graceful import App, Cause

app = App("ingest")
worker = ThreadPoolExecutor(1, "ingest")  # the only thread that uses the log and the database


@app.resource
async def log_and_database() -> AsyncGenerator[None, None]:
    """Open before anything runs; closed after all tasks have ended, in the same thread and so after the last batch."""
    loop = asyncio.get_running_loop()
    try:
        await loop.run_in_executor(worker, ingest.open)
        yield
    finally:
        await loop.run_in_executor(worker, ingest.close)


@app.on_shutdown
def summary(cause: Cause) -> None:
    say(f"{ingest}; stopped: {cause}")


@app.background(drain=True)
async def take_in() -> None:
    """Take in batch after batch, with a pause at the end of the log. It stops between two batches, never inside one."""
    loop = asyncio.get_running_loop()
    say(f"{options.log} from byte {ingest.position.offset:,} into {options.db}")
    pause = 0.0
    while await app.sleep(pause):
        lines = await loop.run_in_executor(worker, ingest.batch)
        if options.once and not lines:
            app.stop()
        pause = options.interval if ingest.log.caught_up and not options.once else 0.0


@app.background
async def status() -> None:
    """Print the progress; on a terminal, as a single line that is overwritten."""
    live = os.isatty(1)
    while await app.sleep(0.2 if live else 10):
        say(f"{ingest}\x1b[K\r" if live else f"{ingest}\n", end="")


@app.background
async def traffic() -> None:
    """Generate visits at random intervals."""
    while options.demo and await app.sleep(random.expovariate(options.rate)):
        await asyncio.to_thread(visit)


def say(text: str, end: str = "\n") -> None:
    """Print, and ignore that the terminal or the pipe may have been closed."""
    with contextlib.suppress(OSError):
        try:
            print(text, end=end, flush=True)
        except UnicodeEncodeError:  # the name of the log may contain any bytes
            print(ascii(text)[1:-1], end=end, flush=True)


# --- log and database -------------------------------------------------------------------------------------------------

#: Common Log Format; Combined has two more fields. A request that is not `METHOD path protocol` counts as a path.
LINE = re.compile(
    r"(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<time>[^]]+)\] "
    r'"(?:(?P<method>[A-Z]+) )?(?P<path>(?:[^"\\]|\\.)*?)(?: (?P<protocol>HTTP/[0-9.]+))?" '
    r"(?P<status>[0-9]{3}) (?P<size>[0-9]{1,18}|-)"
    r'(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)
SCHEMA = """
PRAGMA journal_mode = WAL;    -- readers and this program do not block each other
PRAGMA synchronous = NORMAL;  -- a power failure may undo the last batches, together with their position
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, host TEXT, user TEXT, time TEXT, method TEXT, path TEXT,
    protocol TEXT, status INTEGER, size INTEGER, referer TEXT, agent TEXT);
CREATE TABLE IF NOT EXISTS malformed (id INTEGER PRIMARY KEY, line BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS position (file BLOB PRIMARY KEY, offset INTEGER, tail BLOB, log BLOB, time REAL);
"""
INSERT_REQUEST = """
INSERT INTO requests VALUES (NULL, :host, :user, :time, :method, :path, :protocol, :status, :size, :referer, :agent)
"""
INSERT_MALFORMED = "INSERT INTO malformed VALUES (NULL, ?)"
LAST = "SELECT file, time FROM position WHERE log = ? ORDER BY rowid DESC LIMIT 1"
#: Matches only the position read last: if two programs follow the same log, one fails before it stores a line twice.
LEAVE = "DELETE FROM position WHERE file = ? AND offset = ? AND tail = ?"
ARRIVE = "INSERT OR IGNORE INTO position VALUES (?, ?, ?, ?, ?)"
CHUNK = 1 << 18  # bytes read at a time; a longer line counts as several lines
TAIL = 1 << 10  # bytes before the position that identify a file


class Position(NamedTuple):
    """The end of the last line taken from a file. The file is identified by DIRECTORY/INODE, whatever its name."""

    file: bytes
    offset: int = 0
    tail: bytes = b""  # the bytes before the offset, at most TAIL


class Log:
    """A file that grows, is truncated or rotated. Unbuffered, because a buffer may hold what the file no longer has."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken: dict[bytes, Position] = {}  # by file; never deleted, because a file may reappear under another name
        self.opened = contextlib.ExitStack()
        self.turn_to(path)

    def turn_to(self, path: Path) -> None:
        if path.exists() and not path.is_file():  # opening a pipe would block until it has a writer
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        file = path.open("rb", buffering=0)
        self.close()
        self.file = self.opened.enter_context(file).fileno()
        known = self.known(os.fsencode(path.resolve().parent / str(os.fstat(self.file).st_ino)))
        self.position = known if self.holds(known) else Position(known.file)

    def known(self, file: bytes) -> Position:
        return self.taken.get(file, Position(file))

    def holds(self, position: Position) -> bool:
        """Whether the file still contains what was read from it; the inode may have been reused for another file."""
        return os.pread(self.file, len(position.tail), position.offset - len(position.tail)) == position.tail

    def resume(self, file: bytes, since: float) -> None:
        """Continue after the last line taken: in that file, its copy, a file written since, or the new log."""
        last = self.known(file)
        directory, inode = os.path.split(os.fsdecode(file))
        same = [path for path in Path(directory).glob("*") if path.is_file() and str(path.stat().st_ino) == inode]
        *older, log = self.generations()
        for path in same + (older[::-1] if last.tail else []):
            self.turn_to(path)
            if self.holds(last):
                self.position = last._replace(file=self.position.file)
                return
        self.turn_to(next((path for path in older if path.stat().st_mtime > since), log))

    def take(self, most: int) -> list[bytes]:
        """Read the next lines, at most `most`; an empty list means that there are no more at the moment."""
        while True:
            here, file = os.fstat(self.file), self.position.file
            successor = self.successor(here)  # asked before reading, so that no line of the old file is missed
            lines = self.read(most, unfinished=successor is not None)
            if lines is None:  # truncated, perhaps after a copy was made
                self.resume(file, time.time())
                continue
            if lines or successor is None:
                return lines
            with contextlib.suppress(FileNotFoundError):
                self.turn_to(successor)
                if self.successor(here) != successor:  # rotated again in between
                    self.resume(file, time.time())

    def successor(self, here: os.stat_result) -> Path | None:
        """Find the file to read after this one. An empty file does not count: its writer may still use the old one."""
        with contextlib.suppress(FileNotFoundError):  # it is being rotated
            if not os.path.samestat(here, self.path.stat()):
                files = self.generations()
                passed = [number for number, path in enumerate(files, 1) if os.path.samestat(here, path.stat())]
                newer = files[passed[-1] :] if passed else files[-1:]
                return next((path for path in newer if path.stat().st_size), None)
        return None

    def generations(self) -> list[Path]:
        """The rotated files, oldest first, then the log itself: LOG.2, LOG.1, LOG or LOG-20251123, LOG."""
        log = self.path.resolve()  # switching a symlink is another way to rotate
        suffix = re.compile(re.escape(log.name) + "[.-]([0-9][0-9_.-]*)")
        found = [(match[1], path) for path in log.parent.iterdir() if (match := suffix.fullmatch(path.name))]
        numbers = [(int(re.sub("[_.-]", "", digits)), path) for digits, path in found if path.is_file()]
        by_age = sorted((n if n > 99_999 else -n, path) for n, path in numbers)  # n is a date or a counter
        return [*(path for _, path in by_age), log]

    def read(self, most: int, *, unfinished: bool = False) -> list[bytes] | None:
        """
        Read from the position on. A last line without its newline is returned only if it cannot get one any more.

        Returns `None` if the bytes before the position are not those that were read. They are checked in the same read,
        because the file may be rewritten at any moment.
        """
        file, offset, tail = self.position
        found = os.pread(self.file, len(tail) + CHUNK, offset - len(tail))
        if not found.startswith(tail):
            return None
        chunk = found[len(tail) :]
        lines = list(itertools.islice(io.BytesIO(chunk), most))
        self.caught_up = len(chunk) < CHUNK and len(lines) < most
        if lines and not lines[-1].endswith(b"\n"):
            complete = unfinished if len(chunk) < CHUNK else len(lines) == 1
            lines = lines if complete else lines[:-1]
        taken = b"".join(lines)
        self.position = Position(file, offset + len(taken), (tail + taken)[-TAIL:])
        return lines

    def close(self) -> None:
        self.opened.close()


class Ingest:
    """The log, the database and the position in both. Its methods block, so only the worker thread calls them."""

    def __init__(self) -> None:
        self.position = Position(b"")
        self.lines = self.malformed = 0
        self.opened = contextlib.ExitStack()

    def __str__(self) -> str:
        return f"{self.lines:,} lines, {self.malformed:,} malformed, at byte {self.position.offset:,}"

    def open(self) -> None:
        """Open both, and find the position to continue from."""
        if options.demo:
            options.log.touch()
        self.log = self.opened.enter_context(contextlib.closing(Log(options.log)))
        self.db = self.opened.enter_context(contextlib.closing(sqlite3.connect(options.db, timeout=2)))
        self.name = os.fsencode(options.log.parent.resolve() / options.log.name)
        self.db.executescript(SCHEMA)
        if not self.db.execute("SELECT 1 FROM pragma_table_info('position') WHERE name = 'tail'").fetchone():
            raise sqlite3.DatabaseError("made by an older version of this program; begin a new one with --db")
        self.log.taken = {row[0]: Position(*row) for row in self.db.execute("SELECT file, offset, tail FROM position")}
        last = self.db.execute(LAST, (self.name,)).fetchone()
        if last:
            self.log.resume(*last)
        else:
            self.log.turn_to(options.log)
            with self.db:  # it may be rotated before a line of it is read
                self.db.execute(ARRIVE, (*self.log.position, self.name, time.time()))
        self.position = self.log.position

    def batch(self) -> int:
        """Store the next lines, all of them or none, and return their number."""
        lines = self.log.take(options.batch)
        before, after = self.log.known(self.log.position.file), self.log.position
        if before == after:
            return 0
        parsed = [(line, parse(line)) for line in lines]
        malformed = [(line,) for line, fields in parsed if fields is None]
        with self.db:
            self.db.execute(LEAVE, before)
            if not self.db.execute(ARRIVE, (*after, self.name, time.time())).rowcount:
                raise sqlite3.OperationalError(f"another program takes in {options.log}")
            self.db.executemany(INSERT_REQUEST, [fields for _, fields in parsed if fields is not None])
            self.db.executemany(INSERT_MALFORMED, malformed)
        self.position = self.log.taken[after.file] = after
        self.lines += len(lines)
        self.malformed += len(malformed)
        return len(lines)

    def close(self) -> None:
        self.opened.close()


def parse(line: bytes) -> dict[str, str | None] | None:
    r"""Split a line into its fields; `None` if it is malformed. A byte that is not UTF-8 becomes `\xff`."""
    match = LINE.fullmatch(line.decode(errors="backslashreplace").rstrip("\r\n"))
    if match is None:
        return None
    fields = {name: None if text == "-" else text for name, text in match.groupdict().items()}
    try:
        return fields | {"time": datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").isoformat()}
    except ValueError:
        return None


# --- the demo's traffic -----------------------------------------------------------------------------------------------


def visit() -> None:
    """Add a line to the demo's log: some visitors return often, some scan for holes, some lines are malformed."""
    host = f"203.0.113.{min(int(random.paretovariate(0.5)), 254)}"
    time = datetime.now().astimezone().strftime("%d/%b/%Y:%H:%M:%S %z")
    path, status = random.choice([("/", 200), ("/news?page=2", 200), ("/style.css", 304), ("/wp-login.php", 404)])
    agent = random.choice(["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "curl/8.14.1"])
    line = f'{host} - - [{time}] "GET {path} HTTP/1.1" {status} {random.randrange(200, 9000)} "-" "{agent}"\n'
    with options.log.open("ab") as log:
        log.write(line.encode() if random.random() > 0.01 else b"\x16\x03\x01\x02 this is no request\n")


# --- command line -----------------------------------------------------------------------------------------------------


class Options(argparse.Namespace):
    """The command line."""

    log: Path
    db: Path
    batch: int
    interval: float
    once: bool
    demo: bool
    rate: float


def read_arguments() -> None:
    parser = argparse.ArgumentParser(description="Follow an access log into SQLite, each line exactly once.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("log", nargs="?", type=Path, help="the log, in Common or Combined Log Format")
    source.add_argument("--demo", action="store_true", help="make up traffic in ./demo.log, and follow that")
    parser.add_argument("--db", type=Path, help="the database (default: LOG.db)")
    parser.add_argument("--batch", type=int, default=500, help="lines at a time, at most (%(default)s)")
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between looks (%(default)s)")
    parser.add_argument("--rate", type=float, default=100.0, help="visits a second with --demo (%(default)s)")
    parser.add_argument("--once", action="store_true", help="end where the log ends at present")
    parser.parse_args(namespace=options)
    if not all(0 < number < sys.maxsize for number in (options.batch, options.interval, options.rate)):
        parser.error(f"--batch, --interval and --rate must be more than 0 and less than {sys.maxsize}")
    options.log = options.log or Path("demo.log")
    options.db = options.db or options.log.with_name(f"{options.log.name}.db")


options = Options()
ingest = Ingest()

if __name__ == "__main__":
    read_arguments()
    try:
        app.run()
    except OSError as error:
        sys.exit(f"ingest: {error.filename or options.log}: {error.strerror or error}")
    except sqlite3.Error as error:
        sys.exit(f"ingest: {options.db}: {error}")
