"""The flagship example and logs that are rotated, truncated, copied or replaced: no line is lost or taken twice."""

from __future__ import annotations

import contextlib
import signal

import pytest
from support.ingest import NERVOUS, add, good, malformed, numbered, paths, suspended, until


def test_a_rotated_log_is_read_to_its_end(start, log):
    """What is written to the old file after it was renamed is taken before what is in the new one."""
    add(log, good(1))
    running = start(log, *NERVOUS)
    running.line()
    until(lambda: paths(log) == numbered(1))
    old = log.rename(log.with_name("access.log.1"))
    add(old, good(2))
    until(lambda: paths(log) == numbered(1, 2))
    add(old, good(3) + good(4)[:-1])  # the writer ended without a newline
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
    log.touch()  # created by the rotation, while the writer still has the old one
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
