"""The picture of a live view, as a function of what is known: its lines, what is red, and that it fits."""

from __future__ import annotations

import math

import pytest
from rich.cells import cell_len

from graceful._observe.live_picture import draw, drawn
from graceful._observe.live_state import Running, Snapshot, Step

FLUSH = Running("flush", 9.0, 13.0, lambda: ("db.py:42 in flush", "asyncio/tasks.py:718 in sleep"))
STEPS = (Step("drain", 8.0, 9.0, 1, 1), Step("cleanup", 9.0, None, 0, 5), Step("finish"))


def snapshot(**changes) -> Snapshot:
    """At 10 s of the clock: 2 s after the beginning, 6 s before the end."""
    given = {
        "title": "orders is shutting down (SIGINT)", "now": 10.0, "began_at": 8.0, "until": 16.0, "steps": STEPS,
        "running": (FLUSH,), "more": 0, "failed": 0, "hint": "press Ctrl-C again to hurry", "blocked": 0.0,
    }  # fmt: skip
    return Snapshot(**{**given, **changes})


def red(line) -> str:
    """The red characters of a line."""
    return "".join(line.plain[span.start : span.end] for span in line.spans if "red" in str(span.style))


def test_a_picture():
    """Each line, in its place; where there is room for more rows, they are empty, and at the top."""
    assert [
        "",
        "  flush                      1.0 s ━━━─────────  db.py:42 in flush → sleep",
        "✓ drain 1 of 1 1.0 s  ● cleanup 0 of 5 1.0 s  · finish",
        "orders is shutting down (SIGINT) ━━━━━━━───────────────────── 6.0 s of 8 s left",
        "press Ctrl-C again to hurry",
    ] == [line.plain.rstrip() for line in draw(snapshot(), 79, rows=2)]


def test_red_is_what_is_late():
    """In time nothing is red; a row whose time is up is red as a whole, and so is the end of the grace."""
    assert [] == [line.plain for line in draw(snapshot(), 99) if red(line)]
    row, *_ = draw(snapshot(now=13.5), 99)
    assert row.plain == red(row)[-len(row.plain) :]
    assert " late db.py:42 in flush" in row.plain
    *_, head, _ = draw(snapshot(now=16.5), 99)
    assert "0.0 s of 8 s left" in red(head)


def test_failures_are_red():
    """So is how many hooks failed."""
    _, steps, *_ = draw(snapshot(failed=2), 99)
    assert "  ✗ 2 failed" == red(steps)


def test_an_announcement():
    """Without a deadline the head says when it was, and a row without a limit has no bar."""
    state = snapshot(
        until=math.inf, running=(Running("leave", 9.0, math.inf, tuple),), hint="", title="orders was told"
    )
    row, _, head, foot = [line.plain.rstrip() for line in draw(state, 99)]
    assert ("  leave                      1.0 s", "orders was told  2.0 s ago", "") == (row, head, foot)


@pytest.mark.parametrize("width", [39, 60, 80, 200])
def test_it_fits(width):
    """No line is wider than it may be, whatever things are called; nothing in a name moves the cursor."""
    name = "日本語" * 20 + "\x1b[2J\n\r\t" + "x" * 100
    running = (Running(name, 0.0, 13.0, lambda: (f"{name}.py:1 in {name}",)), FLUSH)
    state = snapshot(title=f"{name} is shutting down (SIGINT)", running=running, more=7, failed=3, blocked=2.0)
    lines = draw(state, width, rows=4)
    assert all(cell_len(line.plain) <= width for line in lines)
    assert not any({*"\x1b\n\r\t"} & {*line.plain} for line in lines)
    assert 7 == len(drawn(state, width, rows=4, unicode=True))


def test_ascii():
    """Where the terminal has no other characters, there are none."""
    lines = drawn(snapshot(title="größer"), 99, rows=1, unicode=False)
    assert all(line.isascii() for line in lines)
    assert "gr??er" in lines[-2]
