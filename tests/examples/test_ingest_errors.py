"""The flagship example in trouble: each error is one line and status 1, and no line is lost."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest
from support.ingest import (
    NERVOUS,
    Ended,
    a_link,
    a_way_round,
    add,
    good,
    malformed,
    numbered,
    paths,
    query,
    suspended,
    until,
)


def one_line(ended: Ended, *containing: str) -> bool:
    """It failed with status 1, and said so in one line."""
    assert ended.status == 1, ended
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("ingest: "), ended.err
    return all(each in ended.err for each in containing)


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
    """If the database is locked, one line says so; when it is free again, each line is taken once."""
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
    """A database of an older version, without positions per file, is refused in one line and left as it is."""
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
