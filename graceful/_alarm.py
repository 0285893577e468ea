"""
The alarm: unblocks a loop in place, by raising in the frame that blocks it.

A loop that is blocked runs no task, so nothing that waits in it can help: neither a timer nor a cancellation. A thread
can hear and tell, but cannot make `time.sleep(60)` return. A signal can: it interrupts the system call, and its Python
handler runs in the very frame that blocks. So the alarm is an interval timer, SIGALRM, and a handler that raises.

- Why not a signal sent by a thread? A catastrophic regex holds the GIL, so no thread runs; the kernel's timer does.
- Why a BaseException? `except Exception` around the blocking call must not swallow it. A bare `except:` still does;
  the watchdog is behind it.
- May it hit a loop that is only late? It rings twice: the first ring asks, the second raises if nothing moved.
- May it hit the loop's own code? Only frames of somebody's code are hit. Where it escapes `run_forever` all the same
  (a C callback without a frame), the runner catches it and goes on.
"""

from __future__ import annotations

import math
import signal
import time
from types import FrameType
from typing import Any

from graceful._budget import LAG
from graceful._stacks import frame_lines, may_interrupt

__all__ = ["Alarm", "Unblocked"]


class Unblocked(BaseException):
    """Raised in the frame that blocks the loop, so that the shutdown can go on. Never leaves `run()`."""

    def __init__(self, stack: tuple[str, ...]) -> None:
        self.stack = stack
        super().__init__(f"unblocked at {stack[-1]}" if stack else "unblocked")


def _in_callback(frame: FrameType | None) -> bool:
    """Whether the loop has called something that has no frame: `call_soon(time.sleep, 60)`."""
    return frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) == ("asyncio.events", "_run")


class Alarm:
    """SIGALRM and the real interval timer, for the time of a shutdown; main thread only."""

    def __init__(self) -> None:
        self._before: tuple[Any, tuple[float, float], float] | None = None
        self._moves = 0
        self._asked = -1

    @staticmethod
    def available() -> bool:
        """Whether there is such a timer here, and nobody outside Python owns its signal."""
        return hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is not None

    def arm(self) -> None:
        """Take the signal and the timer. Safe in a signal handler."""
        if self._before is None:
            before = signal.getsignal(signal.SIGALRM)
            self._before = before, signal.setitimer(signal.ITIMER_REAL, 0), time.monotonic()
            signal.signal(signal.SIGALRM, self._ring)

    def expect(self, limit: float) -> None:
        """The heart will have moved on by `limit` (`time.monotonic`), or the loop is blocked; infinity: no limit."""
        self._moves += 1
        if self._before is not None:
            signal.signal(signal.SIGALRM, self._ring)  # a hook may have set another, and the default action kills
            seconds = 0.0 if limit == math.inf else max(limit - time.monotonic(), 0.0) + 0.05
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def disarm(self) -> None:
        """Give both back as they were; a timer that was running goes on with what it had left."""
        if self._before is None:
            return
        (handler, (left, interval), taken_at), self._before = self._before, None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - taken_at), 1e-6), interval)

    def _ring(self, _number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, LAG)
        if self._asked != self._moves:
            self._asked = self._moves
        elif may_interrupt(frame) and ((stack := frame_lines(frame)) or _in_callback(frame)):
            raise Unblocked(stack)
