"""
The alarm: unblocks a loop in place, by raising in the frame that blocks it.

A loop that is blocked runs no task, so nothing that waits in it can help: neither a timer nor a cancellation. A thread
can hear and tell, but cannot make `time.sleep(60)` return. A signal can: it interrupts the system call, and its Python
handler runs in the very frame that blocks. So the alarm is an interval timer, SIGALRM, and a handler that raises.

- Why not a signal sent by a thread? A catastrophic regex holds the GIL, so no thread runs; the kernel's timer does.
- Why a BaseException? `except Exception` around the blocking call must not swallow it. A bare `except:` still does;
  the watchdog is behind it.
- Whose limit counts? His who runs: a hook has its slice, all other code half of the grace, whatever somebody else is
  waiting for meanwhile. A signal handler runs in the context of what it interrupts, so it can ask whose turn that is.
- May it hit a loop that is only late? It rings twice: the first ring asks, the second raises if nothing moved.
- May it hit the loop's own code? Only frames of somebody's code are hit. Where it escapes `run_forever` all the same
  (a C callback without a frame), the runner catches it and goes on.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from graceful._budget import LAG
from graceful._signals import undo_in_child
from graceful._stacks import frame_lines, function_of, may_interrupt, outermost

__all__ = ["Alarm", "Unblocked", "sift"]

#: By how much less each is given who blocks the loop after another, without the heart having moved in between: a hundred
#: tasks that block as they are cancelled would else use up what the hooks have.
_LESS = 0.75

#: Seconds past the limit, in which the heart wakes by itself if nothing is amiss.
_SLACK = 0.05

_handler_of = sys.modules["_signal"].getsignal  # the one in `signal` looks for an enum, which takes 2 µs


class Unblocked(BaseException):
    """
    Raised in the frame that blocks the loop, so that the shutdown can go on. Never leaves `run()`.

    Attributes:
        stack: What blocked, one line a frame, outermost first.
        told: Whether somebody has heard of it; code may swallow it.
    """

    def __init__(self, stack: tuple[str, ...]) -> None:
        self.stack = stack
        self.told = False
        super().__init__(f"unblocked at {stack[-1]}" if stack else "unblocked")


def sift(error: BaseException) -> tuple[list[Unblocked], BaseException | None]:
    """What of an exception is the alarm's doing, and what is not; a group, such as a TaskGroup raises, may hold both."""
    found: list[Unblocked] = []
    pending: list[Any] = [error]
    while pending:
        each = pending.pop()
        if BaseExceptionGroup in type(each).__mro__:
            pending += each.exceptions
        elif isinstance(each, Unblocked):
            found.append(each)
    if not found:
        return [], error  # the very one: a split makes new groups
    group: Any = error
    return found, None if error is found[0] else group.split(Unblocked)[1]


#: Where something is called that may have no frame of its own: `call_soon(time.sleep, 60)`, `on_shutdown(lock.acquire)`.
_CALLERS = {("asyncio.events", "_run"), ("graceful._hook", "__call__")}


def _calls(frame: FrameType | None) -> bool:
    return frame is not None and function_of(frame) in _CALLERS


class Alarm:
    """
    SIGALRM and the real interval timer, for the time of a shutdown; main thread only.

    Args:
        allowed: Says until when the code that runs now may block the loop (`time.monotonic`); infinity: as it likes.
        wake: Has the heart move soon, if the loop runs. Safe in a signal handler.

    Attributes:
        raised: Everything that was thrown into what blocked the loop.
    """

    def __init__(self, allowed: Callable[[], float], wake: Callable[[], None]) -> None:
        self.raised: list[Unblocked] = []
        self._wake = wake
        self._allowed = allowed
        self._before: tuple[Any, tuple[float, float], float] | None = None
        self._moves = 0
        self._asked = -1
        self._lag = LAG
        self._hit = 0
        self._rings_at = math.inf
        self._changing = False
        self._handler = self._ring

    @staticmethod
    def available() -> bool:
        """Whether there is such a timer here, and nobody outside Python owns its signal."""
        return hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is not None

    def arm(self) -> None:
        """Take the signal and the timer. Safe in a signal handler."""
        if self._before is None and not self._changing:
            self._changing = True
            before = signal.getsignal(signal.SIGALRM)
            self._before = before, signal.setitimer(signal.ITIMER_REAL, 0), time.monotonic()
            signal.signal(signal.SIGALRM, self._handler)
            undo_in_child(self._reset)
            self._changing = False

    def expect(self, limit: float) -> None:
        """The heart has moved, and will again by `limit` (`time.monotonic`), or the loop is blocked."""
        self._moves += 1
        if self._before is None or limit == math.inf:
            return
        if _handler_of(signal.SIGALRM) is not self._handler:  # a hook has set another, and the default action kills
            signal.signal(signal.SIGALRM, self._handler)
        # One that rings too early finds that out, which costs less than to set it anew. A hook may have stopped it.
        if limit + _SLACK < self._rings_at or not signal.getitimer(signal.ITIMER_REAL)[0]:
            self._ring_at(limit + _SLACK)

    def disarm(self) -> None:
        """Give both back as they were; a timer that was running goes on with what it had left."""
        if self._before is None:
            return
        self._changing = True  # a signal that comes amid this must not take again what is being given back
        (handler, (left, interval), taken_at), self._before = self._before, None
        self._rings_at = math.inf
        undo_in_child(self._reset, over=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - taken_at), 1e-6), interval)
        self._changing = False

    def _reset(self) -> None:
        self._before = None
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _ring_in(self, seconds: float) -> None:
        self._ring_at(time.monotonic() + seconds)

    def _ring_at(self, when: float) -> None:
        self._rings_at = when
        signal.setitimer(signal.ITIMER_REAL, max(when - time.monotonic(), 1e-3))

    def _ring(self, _number: int, frame: FrameType | None) -> None:
        if self._before is None:
            return  # it rang while it was being given back
        left = self._allowed() + _SLACK - time.monotonic()
        if left > 0:
            self._ring_in(min(left, 1.0))  # somebody else may run by then, whose time is up
        elif self._asked != self._moves:
            self._asked, self._lag, self._hit = self._moves, LAG, 0
            self._wake()
            self._ring_in(LAG)
        elif may_interrupt(frame) and ((stack := frame_lines(frame)) or _calls(frame)):
            # One that swallows it is not to be hailed at.
            before, self._hit = self._hit, id(outermost(frame))
            self._lag = LAG if before == self._hit else max(self._lag * _LESS, 1e-3)
            self._ring_in(self._lag)
            error = Unblocked(stack)
            self.raised.append(error)
            raise error
        else:
            self._ring_in(LAG)
