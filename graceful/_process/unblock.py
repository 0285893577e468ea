"""
Unblocking a blocked loop in place, by raising an exception in the frame that blocks it.

A loop that is blocked runs no task, so nothing that waits in it can help: neither a timer nor a cancellation. A thread
can hear a signal and report it, but cannot make `time.sleep(60)` return. A signal can: it interrupts the system call, and
its Python handler runs in the very frame that blocks. So there is an interval timer, SIGALRM, and a handler that raises.

- Why not a signal that a thread sends? A catastrophic regex holds the GIL, so no thread runs; the kernel's timer does.
- Why a BaseException? `except Exception` around the blocking call must not swallow it. A bare `except:` still does;
  then the watchdog ends the process.
- Which limit counts? That of the code that runs: a hook has its slice, all other code half of the grace, no matter what
  else is waiting meanwhile. A signal handler runs in the context of what it interrupts, so it can ask.
- Can it hit a loop that is only late? The timer fires twice: the first time it asks the loop to make progress, and only
  the second time, if there was none, it raises.
- Can it hit the loop's own code? Only frames of user code are hit. Where the exception leaves `run_forever` all the same
  (a C callback without a frame), the runner catches it and goes on.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from graceful._core import clock
from graceful._core.budget import LAG
from graceful._core.frames import frame_lines, may_interrupt, outermost
from graceful._core.marks import calls_without_frame
from graceful._process.audit import listen, unlisten
from graceful._process.fork import undo_in_child

__all__ = ["Unblocked", "Unblocker", "split_unblocked"]

#: Each further piece of code that blocks, without the loop making progress in between, gets so much less time than the one
#: before: a hundred tasks that block as they are cancelled would otherwise use up the time of the hooks.
_LESS = 0.75

#: Seconds past the limit in which the loop wakes by itself if nothing is wrong.
_SLACK = 0.05

#: A timer that fires more seconds than this before ours is due is the program's: code has set it that guards a call.
_EARLY = 0.01


class Unblocked(BaseException):
    """
    Raised in the frame that blocks the loop, so that the shutdown can go on. Never leaves `run()`.

    Attributes:
        stack: What blocked, one line a frame, outermost first.
        told: Whether it was reported; code may swallow it.
    """

    def __init__(self, stack: tuple[str, ...]) -> None:
        self.stack = stack
        self.told = False
        super().__init__(f"unblocked at {stack[-1]}" if stack else "unblocked")

    def tell_once(self) -> bool:
        """Whether it has not been reported before; from now on it has."""
        first, self.told = not self.told, True
        return first


def split_unblocked(error: BaseException) -> tuple[list[Unblocked], BaseException | None]:
    """Split an exception, which may be a group as a TaskGroup raises it, into ours and the rest; `None`: nothing else."""
    found: list[Unblocked] = []
    pending: list[Any] = [error]
    while pending:
        each = pending.pop()
        if BaseExceptionGroup in type(each).__mro__:
            pending += each.exceptions
        elif isinstance(each, Unblocked):
            found.append(each)
    if not found:
        return [], error  # the very same object: a split makes new groups
    group: Any = error
    return found, None if error is found[0] else group.split(Unblocked)[1]


class Unblocker:
    """
    SIGALRM and the real interval timer, for the duration of a shutdown; main thread only.

    Args:
        may_block_until: When the code that runs now must stop blocking the loop, on the clock; infinity: never. Called in
            a signal handler, in the context of that code.
        wake_loop: Makes the loop run an iteration soon. Safe in a signal handler.

    Attributes:
        raised: Every exception that was raised in code that blocked the loop.
    """

    def __init__(self, may_block_until: Callable[[], float], wake_loop: Callable[[], None]) -> None:
        self.raised: list[Unblocked] = []
        self._may_block_until = may_block_until
        self._wake_loop = wake_loop
        self._before: tuple[Any, tuple[float, float], float] | None = None
        self._progress = 0
        self._asked_at = -1
        self._lag = LAG
        self._last_hit = 0
        self._fires_at = math.inf
        self._changing = False
        self._handler = self._on_timer

    @staticmethod
    def available() -> bool:
        """Whether this platform has such a timer, and nothing outside Python has taken its signal."""
        return hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is not None

    def arm(self) -> None:
        """
        Take the signal and the timer; again: no effect. Safe in a signal handler.

        A program that replaces this one by `exec` starts without the timer; see `audit` for what that costs. Else it would die
        by SIGALRM: the timer survives `exec`, its handler does not.
        """
        if self._before is None and not self._changing:
            self._changing = True
            before = signal.getsignal(signal.SIGALRM)
            self._before = before, signal.setitimer(signal.ITIMER_REAL, 0), clock.now()
            signal.signal(signal.SIGALRM, self._handler)
            undo_in_child(self._reset)
            listen("os.exec", self._stop_timer)
            self._changing = False

    def expect_progress(self, by: float) -> None:
        """The event loop made progress, and will again `by` this time, or it is blocked."""
        self._progress += 1
        if self._before is None or by == math.inf:
            return
        handler = signal.getsignal(signal.SIGALRM)
        if handler != self._handler:  # a hook has set another
            if callable(handler) and signal.getitimer(signal.ITIMER_REAL)[0]:
                return  # it guards a call with an alarm of its own
            signal.signal(signal.SIGALRM, self._handler)  # else the default action kills
        # A timer that fires too early finds that out, which costs less than setting it anew. A hook may have stopped it.
        if by + _SLACK < self._fires_at or not signal.getitimer(signal.ITIMER_REAL)[0]:
            self._fire_at(by + _SLACK)

    def disarm(self) -> None:
        """Give both back as they were; a timer that was running goes on with what it had left."""
        if self._before is None:
            return
        self._changing = True  # a signal that arrives now must not take again what is being given back
        (handler, (left, interval), taken_at), self._before = self._before, None
        self._fires_at = math.inf
        undo_in_child(self._reset, over=True)
        unlisten("os.exec", self._stop_timer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (clock.now() - taken_at), 1e-6), interval)
        self._changing = False

    def _reset(self) -> None:
        self._before = None
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _stop_timer(self, *_: object) -> None:
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._wake_loop()  # if the exec fails, the waits there set the timer anew

    def _fire_in(self, seconds: float) -> None:
        self._fire_at(clock.now() + seconds)

    def _fire_at(self, when: float) -> None:
        self._fires_at = when
        signal.setitimer(signal.ITIMER_REAL, max(when - clock.now(), 1e-3))

    def _on_timer(self, number: int, frame: FrameType | None) -> None:
        if self._before is None:
            return  # it fired while it was being given back
        if clock.now() < self._fires_at - _EARLY:
            self._fire_at(self._fires_at)
            if callable(programs := self._before[0]) and may_interrupt(frame):  # else what it guarded has ended
                programs(number, frame)
            return
        left = self._may_block_until() + _SLACK - clock.now()
        if left > 0:
            self._fire_in(min(left, 1.0))  # other code may run by then, whose time is up
        elif self._asked_at != self._progress:
            self._asked_at, self._lag, self._last_hit = self._progress, LAG, 0
            self._wake_loop()
            self._fire_in(LAG)
        elif frame is not None and may_interrupt(frame):
            self._interrupt(frame)
        else:
            self._fire_in(LAG)

    def _interrupt(self, frame: FrameType) -> None:
        stack = frame_lines(frame)
        if not stack and not calls_without_frame.is_on(frame):
            self._fire_in(LAG)
            return
        # Don't keep interrupting a frame that swallows it at an ever faster rate.
        before, self._last_hit = self._last_hit, id(outermost(frame))
        self._lag = LAG if before == self._last_hit else max(self._lag * _LESS, 1e-3)
        self._fire_in(self._lag)
        error = Unblocked(stack)
        self.raised.append(error)
        raise error
