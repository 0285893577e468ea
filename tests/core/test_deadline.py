"""The deadline: what moves it, and what does not."""

from __future__ import annotations

import pytest

from graceful._core import clock
from graceful._core.deadline import Deadline


class Watched:
    """A deadline that is watched, on a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, watched: bool = True) -> None:
        self.now, self.cpu = 100.0, 0.0
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "cpu", lambda: self.cpu)
        self.deadline = Deadline(8)
        if watched:
            self.deadline.begin_watch()
        self.now += 50  # nothing looks as long as there is no deadline
        self.deadline.begin(self.now)

    def passes(self, seconds: float, cpu: float = 0.0) -> float:
        """So much time passes until the next look; returns the deadline, in seconds from its beginning."""
        self.now, self.cpu = self.now + seconds, self.cpu + cpu
        self.deadline.look()
        return self.deadline.at - 150


def test_looks_in_time_move_nothing(monkeypatch):
    """As long as the process runs, it has its grace, and no more."""
    watched = Watched(monkeypatch)
    assert [8.0] * 5 == [watched.passes(each) for each in (0.5, 0.1, 0.6, 0.9, 0.5)]


def test_time_in_which_the_process_was_suspended_does_not_count(monkeypatch):
    """A look that is late without CPU used: the deadline moves by what was lost, each time once."""
    watched = Watched(monkeypatch)
    assert [8.0, 38.0, 38.0, 40.5] == [watched.passes(each) for each in (0.5, 30.0, 0.5, 2.5)]


def test_a_process_that_was_busy_was_not_suspended(monkeypatch):
    """C code that holds the GIL keeps the thread from looking, but uses CPU."""
    watched = Watched(monkeypatch)
    assert 8.0 == watched.passes(30.0, cpu=29.0)


def test_without_a_thread_that_looks_nothing_is_known(monkeypatch):
    """A run in another thread has none: a look that is late may come from a loop that was blocked."""
    watched = Watched(monkeypatch, watched=False)
    assert 8.0 == watched.passes(30.0)


@pytest.mark.parametrize("reading", range(1, 12))
def test_a_process_that_is_suspended_at_any_moment(monkeypatch, reading):
    """Wherever the thread is when the process is suspended, after whichever reading of the time, the deadline moves."""
    watched = Watched(monkeypatch)
    readings = 0

    def now() -> float:
        nonlocal readings
        read, readings = watched.now, readings + 1
        if readings == reading:
            watched.now += 30
        return read

    monkeypatch.setattr(clock, "now", now)
    lefts = []
    for _ in range(12):
        watched.now += 0.5
        lefts.append(watched.deadline.watch(0.4))

    assert readings >= reading
    assert min(lefts) > 2


def test_what_else_is_fixed_moves_with_it(monkeypatch):
    """A part of the grace, half of the rest, and a time that was fixed before: all are later by what was lost."""
    watched = Watched(monkeypatch)
    deadline = watched.deadline
    fixed = deadline.fix(153)
    before = [fixed(), deadline.part_of_grace(0.25), deadline.half_of_rest(deadline.changed_at)]
    watched.passes(30)
    assert before == [153, 152, 154]
    assert [183, 182, 184] == [fixed(), deadline.part_of_grace(0.25), deadline.half_of_rest(deadline.changed_at)]
    assert 153 == deadline.fix(153)()
