"""When the watchdog acts for a main thread that does not react, and when it leaves everything to one that does."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator

import pytest

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._process import watchdog as watchdog_room
from graceful._process.watchdog import Watchdog

DEBOUNCE, GRACE = 0.5, 20


class Presses:
    """Ctrl-C at set times, as the watchdog's thread and the main thread hear it, each when it has the GIL."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.forced: list[int] = []
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(watchdog_room, "time", self)
        self.deadline = Deadline(GRACE)
        self.watchdog = Watchdog(
            self.deadline,
            DEBOUNCE,
            frozenset({signal.SIGINT}),
            is_ours=lambda _: True,
            on_signal=lambda: None,
            on_foreign=lambda _: None,
            on_expired=lambda: None,
            on_forced=self.forced.append,
        )
        self._main_hears_at = math.inf

    def sleep(self, seconds: float) -> None:
        """In place of `time.sleep`: the main thread hears meanwhile, if it hears so soon."""
        self.now += seconds
        if self._main_hears_at <= self.now:
            self.watchdog.main_thread_heard(self._main_hears_at)

    def press(self, at: float, main: float = math.inf) -> None:
        """
        Args:
            at: When the watchdog reads the clock.
            main: When the main thread does; infinity: it is deaf.
        """
        self.now, self._main_hears_at = at, main
        self.sleep(0)
        self.watchdog._hear(bytes([signal.SIGINT]))
        self.sleep(0.1)


@pytest.fixture
def presses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Presses]:
    presses = Presses(monkeypatch)
    yield presses
    presses.watchdog._release()
    presses.watchdog._writing.close()


@pytest.mark.parametrize("lead", [-0.002, 0.002], ids=["main first", "watchdog first"])
def test_a_main_thread_that_reacts_decides(presses, lead):
    """Near the end of the debounce a press may count in one thread, and not in the other: what main decides is done."""
    presses.press(0.0, lead)
    presses.press(0.501, 0.501 + lead)
    assert presses.deadline.at == GRACE
    presses.press(1.3, 1.3 + lead)
    presses.press(2.1, 2.1 + lead)
    assert [] == presses.forced


def test_a_deaf_main_thread(presses):
    """The second press moves the deadline up, and the third ends the process."""
    presses.press(0.0)
    presses.press(1.0)
    assert presses.deadline.at < 4
    presses.press(2.0)
    assert [signal.SIGINT] == presses.forced


def test_a_main_thread_that_has_gone_deaf(presses):
    """It heard the first press, also if that was after the watchdog did, and none of the others."""
    presses.press(0.0, 0.05)
    presses.press(1.0)
    assert presses.deadline.at < 4
    presses.press(2.0)
    assert [signal.SIGINT] == presses.forced
