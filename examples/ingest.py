"""
Follow an access log into SQLite: each line exactly once, whatever ends the program, and whenever.

It shows work that must not be torn apart. `take_in` is drained, not cancelled: told to stop, it finishes the batch in
hand. What it works on is a resource, closed when every task has ended. One thread touches log and database, so the loop
never waits for a disk. And `kill -9` does no harm: a batch and the position behind it are one transaction.

    python examples/ingest.py --demo                    # make up traffic in ./demo.log, and follow that
    python examples/ingest.py access.log --db hits.db   # until Ctrl-C, SIGTERM or SIGHUP; started again, it goes on
    python examples/ingest.py access.log --once         # to the present end of the log

It prints, with a status line now and then between the two (on a terminal: all the time):

    demo.log from byte 0 into demo.log.db
    1,204 lines, 7 malformed, at byte 144,837; stopped: SIGINT

What cannot be parsed goes to the table `malformed`. A line without its newline is waited for. A rotated log is read to
its end before the new one is begun; if that happened while nobody looked, the old one is looked for as LOG*.

Exit status: 0 after SIGTERM, SIGHUP, or the end with --once; 1 for trouble with the log or the database, told in one
line on stderr; 2 for wrong arguments. Ctrl-C ends it by SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import io
import itertools
import math
import os
import random
import re
import sqlite3
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from graceful import App, Cause

app = App("ingest")
worker = ThreadPoolExecutor(1, "ingest")  # the one thread that touches log and database


@app.resource
async def log_and_database() -> AsyncGenerator[None, None]:
    """Open before anything runs; closed when all has ended, in the same thread and so behind the last batch."""
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
    """Batch after batch, with a pause at the end of the log. It stops between two batches, never inside one."""
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
    """Tell how far it is; on a terminal in one line that is written over."""
    live = os.isatty(1)
    while await app.sleep(0.2 if live else 10):
        say(f"{ingest}\x1b[K\r" if live else f"{ingest}\n", end="")


@app.background
async def traffic() -> None:
    """Make up visits, at the irregular intervals of real ones."""
    while options.demo and await app.sleep(random.expovariate(options.rate)):
        await asyncio.to_thread(visit)


def say(text: str, end: str = "\n") -> None:
    """Print, if there is still somebody to read it: a terminal that was closed is no reason to fail."""
    with contextlib.suppress(OSError):
        print(text, end=end, flush=True)


# --- log and database -------------------------------------------------------------------------------------------------

#: Common Log Format; Combined has two fields more. A request that is no `METHOD path protocol` is all path.
LINE = re.compile(
    r"(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<time>[^]]+)\] "
    r'"(?:(?P<method>[A-Z]+) )?(?P<path>(?:[^"\\]|\\.)*?)(?: (?P<protocol>HTTP/[0-9.]+))?" '
    r"(?P<status>[0-9]{3}) (?P<size>[0-9]{1,18}|-)"
    r'(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)
SCHEMA = """
PRAGMA journal_mode = WAL;    -- whoever reads does not wait for us, nor we for them
PRAGMA synchronous = NORMAL;  -- a power failure may undo the last batches, but only with their position
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, host TEXT, user TEXT, time TEXT, method TEXT, path TEXT,
    protocol TEXT, status INTEGER, size INTEGER, referer TEXT, agent TEXT);
CREATE TABLE IF NOT EXISTS malformed (id INTEGER PRIMARY KEY, line BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS position (log TEXT PRIMARY KEY, inode TEXT NOT NULL, offset INTEGER NOT NULL);
"""
INSERT_REQUEST = """
INSERT INTO requests VALUES (NULL, :host, :user, :time, :method, :path, :protocol, :status, :size, :referer, :agent)
"""
INSERT_MALFORMED = "INSERT INTO malformed VALUES (NULL, ?)"
#: Only from where we left it: of two programs that take in the same log, one fails before it takes a line twice.
MOVE = "UPDATE position SET inode = ?, offset = ? WHERE log = ? AND inode = ? AND offset = ?"
CHUNK = 1 << 18  # bytes read at a time; a line that is longer counts as several


class Position(NamedTuple):
    """Behind the last line that was taken. The inode is text: it may be too large for an SQLite integer."""

    inode: str
    offset: int


class Log:
    """A file that grows, is truncated, is rotated. Unbuffered: a buffer may hold what is no longer there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.turn_to(path)

    def turn_to(self, path: Path) -> None:
        if path.exists() and not path.is_file():  # to open a pipe would be to wait for its writer
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        self.file = path.open("rb", buffering=0)
        self.position = Position(str(os.fstat(self.file.fileno()).st_ino), 0)

    def resume(self, position: Position) -> None:
        """Go on from there, if the file is still to be found, under its name or one that it was rotated to."""
        for path in self.path.parent.iterdir():
            if path.name.startswith(self.path.name) and path.is_file() and str(path.stat().st_ino) == position.inode:
                self.close()
                self.turn_to(path)
                self.position = position

    def take(self, most: int) -> list[bytes]:
        """Read the next lines, not more than so many; none: there are no more by now."""
        rotated = self.is_rotated()  # asked first: then all that was written before is there to be read
        lines = self.read(most, unfinished=rotated)
        if rotated and not lines:
            self.close()
            self.turn_to(self.path)
            lines = self.read(most)
        return lines

    def is_rotated(self) -> bool:
        """Whether there is a new file. An empty one does not count: its writer may still be at the old one."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        return str(now.st_ino) != self.position.inode and now.st_size > 0

    def read(self, most: int, *, unfinished: bool = False) -> list[bytes]:
        """Read from the position on; a last line without its newline only if it will not get one any more."""
        inode, offset = self.position
        if os.fstat(self.file.fileno()).st_size < offset:
            offset = 0  # truncated
        self.file.seek(offset)
        chunk = self.file.read(CHUNK)
        lines = list(itertools.islice(io.BytesIO(chunk), most))
        self.caught_up = len(chunk) < CHUNK and len(lines) < most
        if lines and not lines[-1].endswith(b"\n"):
            complete = unfinished if len(chunk) < CHUNK else len(lines) == 1
            lines = lines if complete else lines[:-1]
        self.position = Position(inode, offset + sum(map(len, lines)))
        return lines

    def close(self) -> None:
        self.file.close()


class Ingest:
    """Log and database, and how far both have come. It blocks, so it is only used in the worker thread."""

    def __init__(self) -> None:
        self.position = Position("", 0)
        self.lines = self.malformed = 0
        self.opened = contextlib.ExitStack()

    def __str__(self) -> str:
        return f"{self.lines:,} lines, {self.malformed:,} malformed, at byte {self.position.offset:,}"

    def open(self) -> None:
        """Open both, and find the place to go on from."""
        if options.demo:
            options.log.touch()
        self.log = self.opened.enter_context(contextlib.closing(Log(options.log)))
        self.db = self.opened.enter_context(contextlib.closing(sqlite3.connect(options.db, timeout=2)))
        self.name = str(options.log.absolute())
        self.db.executescript(SCHEMA)
        with self.db:
            self.db.execute("INSERT OR IGNORE INTO position VALUES (?, '', 0)", (self.name,))
        found = self.db.execute("SELECT inode, offset FROM position WHERE log = ?", (self.name,))
        self.position = Position(*found.fetchone())
        self.log.resume(self.position)

    def batch(self) -> int:
        """Take in the next lines, all of them or none, and say how many they are."""
        lines = self.log.take(options.batch)
        if self.log.position == self.position:
            return 0
        parsed = [(line, parse(line)) for line in lines]
        malformed = [(line,) for line, fields in parsed if fields is None]
        with self.db:
            if not self.db.execute(MOVE, (*self.log.position, self.name, *self.position)).rowcount:
                raise sqlite3.OperationalError(f"another program takes in {options.log}")
            self.db.executemany(INSERT_REQUEST, [fields for _, fields in parsed if fields is not None])
            self.db.executemany(INSERT_MALFORMED, malformed)
        self.position = self.log.position
        self.lines += len(lines)
        self.malformed += len(malformed)
        return len(lines)

    def close(self) -> None:
        self.opened.close()


def parse(line: bytes) -> dict[str, str | None] | None:
    r"""Split a line into its fields; `None`: it is malformed. A byte that is not UTF-8 becomes `\xff`."""
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
    """Add a line to the demo's log: some visitors come often, some probe for holes, and some lines are broken."""
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
    if not all(0 < number < math.inf for number in (options.batch, options.interval, options.rate)):
        parser.error("--batch, --interval and --rate must be more than 0")
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
