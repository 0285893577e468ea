"""
Signal handlers: taken for the duration of a run, and given back.

What was tried, and why it is done like this:

- `loop.add_signal_handler` alone. It hears nothing while the loop is blocked; on uvloop a signal outside
  `run_forever` is lost, and after `close()` the process no longer reacts to SIGTERM; on the stock loop
  `remove_signal_handler` leaves a moment with the default action, and it "restores" `default_int_handler` whatever was
  there. It also overrides an inherited SIG_IGN (`nohup`) silently.
- `signal.signal` alone. It survives all of that, but a signal that arrives after the interpreter's last check and before
  `epoll_wait` is noticed only when something else wakes the loop.
- `signal.pthread_sigmask`. Children inherit the blocked mask.

So: plain `signal.signal` handlers, from before the loop is created until after it is closed, which only note the time and
post a trigger; and a wakeup fd of our own (see `watchdog`) that wakes the loop. There is no gap in between.

Another thread that calls `stop()` must reach a blocked main thread, too. It interrupts it with SIGURG, which is ignored by
default, so that a stray one harms nobody (Go's runtime preempts with it for the same reason). If the program handles that
itself, it is SIGWINCH, and if it takes it while the app runs, it keeps it.
"""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, Self

from graceful._core.asyncio_private import is_runner_sigint, runner_was_interrupted
from graceful._core.frames import runs_user_code
from graceful._process.fork import undo_in_child

__all__ = [
    "SignalHandlers",
    "block_signals",
    "ctrl_c_was_pressed",
    "in_main_thread",
    "is_default",
    "raises_interrupt",
    "signal_owner",
]

#: What may interrupt the main thread from another one: ignored by default. Empty: nothing can, on this platform.
_INTERRUPTS = (signal.SIGURG, signal.SIGWINCH) if hasattr(signal, "pthread_kill") else ()

#: SIGALRM unblocks code, see `unblock`; a hook that guards a call with it changes it all the time.
_NEVER_SHIELDED = {getattr(signal, "SIGALRM", None)}

#: `None` on Windows.
_UNCATCHABLE = getattr(signal, "SIGKILL", None)


def in_main_thread() -> bool:
    """
    Whether signal handlers can be set here: in the main thread, and not in a subinterpreter, whose first thread is
    its `threading.main_thread()` too.

    No function says so. SIGKILL cannot be handled: an attempt changes nothing, and the error tells who refused it, the
    kernel or Python.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    try:
        if _UNCATCHABLE is not None:
            signal.signal(_UNCATCHABLE, signal.SIG_DFL)
    except OSError:
        return True
    except ValueError:
        return False
    return True


def block_signals(signals: Iterable[signal.Signals]) -> Callable[[], None]:
    """
    Keep these signals pending for the milliseconds until they can be handled, while the rest of the package is imported.

    Not for a whole run: child processes would inherit the mask. In a process with several threads the kernel delivers the
    signal to another one, so there it has no effect.

    Returns:
        A function that lets them in, pending ones at once; calling it again does nothing.
    """
    if not hasattr(signal, "pthread_sigmask") or not in_main_thread():
        return lambda: None
    before = [signal.pthread_sigmask(signal.SIG_BLOCK, [])]

    def release() -> None:
        if before:
            signal.pthread_sigmask(signal.SIG_SETMASK, before.pop())

    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    except BaseException:  # a KeyboardInterrupt: handlers run in there, and by then the signals are blocked
        release()
        raise
    return release


def signal_owner() -> bool:
    """Send SIGTERM to the server that owns this process, as a supervisor would; returns whether there is a handler."""
    taken = in_main_thread() and callable(signal.getsignal(signal.SIGTERM))
    if taken:
        signal.raise_signal(signal.SIGTERM)
    return taken


def is_default(handler: object) -> bool:
    """Whether this is what Python starts with: the default action, or for SIGINT its own handler."""
    return handler == signal.SIG_DFL or handler is signal.default_int_handler


def ctrl_c_was_pressed() -> bool:
    """Whether a Ctrl-C has cancelled main under `asyncio.run`, which does that by a handler of its own."""
    return in_main_thread() and runner_was_interrupted(signal.getsignal(signal.SIGINT))


def raises_interrupt(handler: object) -> bool:
    """Whether this SIGINT handler may raise KeyboardInterrupt in any code: Python's own, or that of `asyncio.run`."""
    return handler is signal.default_int_handler or is_runner_sigint(handler)


def _shielded(handler: Callable[..., Any], on_raised: Callable[[BaseException], None]) -> Callable[..., None]:
    @functools.wraps(handler)
    def handle(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            if runs_user_code(frame):
                raise
            on_raised(error)

    return handle


class SignalHandlers:
    """
    Context manager that takes signals and gives them back.

    Args:
        wanted: The signals that stop. One that is ignored now (inherited from `nohup` or `sh -c 'app &'`) stays ignored.
        override: Whether those are taken that the program handles itself; else they stay the program's.
        explicit: The signals that are taken even if they are ignored.
        on_signal: Called in the main thread, between any two bytecodes, with the signal. It must only do what is safe
            there: no locks, no I/O but `os.write`.
        on_interrupt: Called likewise, after `interrupt_main_thread` was called in another thread; `None`: never.
    """

    def __init__(
        self,
        wanted: Iterable[signal.Signals],
        explicit: Iterable[signal.Signals],
        override: bool,
        on_signal: Callable[[int], None],
        on_interrupt: Callable[[], None] | None,
    ) -> None:
        self._explicit = {*explicit}
        self._override = override
        self._wanted = {*wanted} | self._explicit
        self._on_signal = on_signal
        self._on_interrupt = on_interrupt
        self._before: dict[signal.Signals, Any] = {}
        self._interrupt: signal.Signals | None = None
        self._shielded: dict[int, tuple[Any, Any]] = {}

    @property
    def taken(self) -> Mapping[signal.Signals, Any]:
        """The signals taken, each with the handler it had before."""
        return self._before

    def __enter__(self) -> Self:
        for number in sorted(self._wanted):
            before = signal.getsignal(number)
            if self._may_take(before) or (number in self._explicit and before is not None):
                self._take(number, before)
        free = (each for each in _INTERRUPTS if each not in self._before and signal.getsignal(each) == signal.SIG_DFL)
        if self._on_interrupt is not None and (interrupt := next(free, None)) is not None:
            self._interrupt = interrupt
            signal.signal(interrupt, self._handle_interrupt)
        undo_in_child(self.reset)
        return self

    def __exit__(self, *_: object) -> None:
        undo_in_child(self.reset, over=True)
        self._unshield()
        for number, before in reversed(self._before.items()):
            signal.signal(number, before)
        if (interrupt := self._own_interrupt()) is not None:
            signal.signal(interrupt, signal.SIG_DFL)

    def take_more(self, numbers: Iterable[signal.Signals]) -> None:
        """Take signals that are not taken yet, even if they are ignored. In the main thread."""
        for number in numbers:
            if not self.has(number):
                handler = signal.getsignal(number)
                original, shielded = self._shielded.get(number, (handler, None))
                self._take(number, original if handler is shielded else handler)

    def _take(self, number: signal.Signals, before: Any) -> None:
        self._before.setdefault(number, before)  # the program may have taken it from us meanwhile
        signal.signal(number, self._handle)

    def _may_take(self, before: object) -> bool:
        # None: a handler that Python did not install, and so cannot restore.
        return before not in (None, signal.SIG_IGN) and (self._override or is_default(before))

    def shield(self, on_raised: Callable[[BaseException], None]) -> None:
        """
        From now on, what a handler of the program raises is not raised in the code of the package or of the loop.

        An exception between any two bytecodes there would lose hooks, and in asyncio a task's wakeup. User code still has it.

        Args:
            on_raised: Called with it instead, in the main thread, between any two bytecodes.
        """
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            is_ours = getattr(handler, "__self__", None) is self or handler is self._shielded.get(number, (0, 0))[1]
            if callable(handler) and not is_ours and number not in _NEVER_SHIELDED:
                self._shielded[number] = handler, _shielded(handler, on_raised)
                signal.signal(number, self._shielded[number][1])

    def _unshield(self) -> None:
        for number, (handler, shielded) in self._shielded.items():
            if signal.getsignal(number) is shielded:
                signal.signal(number, handler)
        self._shielded.clear()

    def has(self, number: int) -> bool:
        """Whether the signal is ours now: the program may have taken it meanwhile. Also in another thread."""
        return signal.getsignal(number) == self._handle

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._on_signal(number)

    def _handle_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._on_interrupt is not None:
            self._on_interrupt()

    def interrupt_main_thread(self) -> None:
        """From another thread: have `on_interrupt` called in the main thread, even if that is blocked."""
        if (interrupt := self._own_interrupt()) is not None:
            signal.pthread_kill(threading.main_thread().ident or 0, interrupt)

    def _own_interrupt(self) -> signal.Signals | None:
        """That signal, if it is still ours: the program does not know of it, and may have taken it meanwhile."""
        interrupt = self._interrupt
        return interrupt if interrupt is not None and signal.getsignal(interrupt) == self._handle_interrupt else None

    def reset(self) -> None:
        """In a forked child: set the default action, whatever the parent had."""
        self._unshield()
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)
        if (interrupt := self._own_interrupt()) is not None:
            signal.signal(interrupt, signal.SIG_DFL)
