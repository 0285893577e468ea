"""
The process guard of `async with app:`, where the process is somebody else's.

While the block runs, in the main thread:

- A stopping signal with the default action would end the process without its cleanup. It is taken by
  `loop.add_signal_handler`, or where that does not exist, on Windows, by `signal.signal`: the block is cancelled, and leaves
  with `Interrupted`.
- A Ctrl-C (SIGINT; on Windows SIGBREAK, too) or SIGTERM with a handler of the owner's, such as a server's: the handler is wrapped. The signal is announced to
  the app, and the owner's handler is called.
- SIGINT under `asyncio.run` stays as it is: it cancels main. But the second Ctrl-C would raise KeyboardInterrupt in whatever
  runs, which could be a hook, or this package; and `asyncio.run` closes the loop without waiting for any tasks but those it
  knows. So from the moment the app stops until it has stopped, SIGINT is taken, and the owner's handler is called
  afterwards. SIGALRM is taken in that time if nobody has it, to unblock what blocks.
- Everything is given back as it was.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from typing_extensions import override

from graceful._core.asyncio_private import loop_signal_callback
from graceful._core.errors import Interrupted, StateError
from graceful._core.settings import CTRL_C
from graceful._observe.log import log
from graceful._process.after_run import die_if_uncaught
from graceful._process.handlers import (
    SignalHandlers,
    ctrl_c_was_pressed,
    in_main_thread,
    raises_interrupt,
    signal_owner,
)
from graceful._process.loop_wakeup import LoopWakeup
from graceful._process.unblock import Unblocker
from graceful._run.process_guard import ProcessGuard, check_main_thread

__all__ = ["BlockGuard"]

#: Iterations of the loop until it has handed on a signal: one reads the descriptor, the next one calls the handler.
_TURNS = 4


class _Announcing:
    """Stands in for a handler of the owner's: announces the signal, then calls it; otherwise it looks like that handler."""

    def __init__(self, guard: BlockGuard, handler: Any) -> None:
        self._guard = guard
        self._handler = handler

    @property
    def handler(self) -> Any:
        """What it stands in for."""
        return self._handler

    def stands_in_for(self, handler: Any) -> bool:
        """Whether it does, perhaps for another one that does."""
        inner = self._handler
        return inner is handler or (isinstance(inner, _Announcing) and inner.stands_in_for(handler))

    def replace(self, handler: Any, other: Any) -> None:
        """That handler is no longer set: stand in for this one instead."""
        if self._handler is handler:
            self._handler = other
        elif isinstance(self._handler, _Announcing):
            self._handler.replace(handler, other)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if callable(self._handler):
            self._guard.announce(number)
            self._handler(number, frame)
        elif self._handler == signal.SIG_DFL:  # the block that had taken the signal is over
            self._guard.stop(number)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)  # sse-starlette finds uvicorn's server as `__self__` of its handler


class BlockGuard(ProcessGuard):
    """Arguments as for `ProcessGuard`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._interrupted = False
        self._loop = self._attached_to = asyncio.get_running_loop()
        self._wrapped: dict[signal.Signals, _Announcing] = {}
        self._taken: dict[signal.Signals, Any] = {}  # each with the handler that was set for it
        self._before: dict[signal.Signals, Any] = {}  # each with what had it before
        #: Those that the loop still has, each with the handler that is set now.
        self._given_back: dict[signal.Signals, Any] = {}
        self._wakeup: LoopWakeup | None = None  # where the loop has set none of them

    # --- for the time of the block ---------------------------------------------------------------------------------

    def take(self) -> None:
        """The block is entered."""
        if not in_main_thread():
            return
        wanted = self._signal_hooks.signals
        for number in sorted({*self._settings.signals, *wanted}):
            handler = signal.getsignal(number)
            if handler == signal.SIG_DFL or (handler == signal.SIG_IGN and number in wanted):
                if self._take(number, handler) and number in wanted:
                    self._reactions.add(number)
                continue
            if number in wanted:
                log(logging.WARNING, f"the on_signal hook for {number.name} will not run: {self._owned(number)}")
            if number in self._settings.signals and callable(handler) and self._may_stop(number, handler):
                self._wrapped[number] = _Announcing(self, handler)
                signal.signal(number, self._wrapped[number])

    @staticmethod
    def _may_stop(number: signal.Signals, handler: Any) -> bool:
        return number in {signal.SIGTERM, *CTRL_C} and not raises_interrupt(handler)

    def _take(self, number: signal.Signals, before: Any) -> bool:
        try:
            self._loop.add_signal_handler(number, self._on_signal, number)
        except NotImplementedError:  # Windows
            self._wakeup = self._wakeup or LoopWakeup(self._loop)
            signal.signal(number, self._handle)
        except RuntimeError:  # a loop that takes no signals
            return False
        self._taken[number], self._before[number] = signal.getsignal(number), before
        return True

    def _owned(self, number: signal.Signals) -> str:
        """Why it cannot be taken."""
        taker = super().taker_of(number)
        return f"in a block of `async with app:` the signal stays with {taker or 'the owner of the loop'}"

    def give_back(self) -> None:
        """The app has stopped: give everything back."""
        for number, handler in self._taken.items():
            self._give_back_taken(number, handler)
        if self._wakeup is not None:
            self._wakeup.close()
        for number, wrapped in self._wrapped.items():
            current: Any = signal.getsignal(number)
            if current is wrapped:  # or the owner has put back what was there before its own
                signal.signal(number, wrapped.handler)
            elif type(current) is _Announcing:  # of another app, whose block is left later
                current.replace(wrapped, wrapped.handler)
        if self._handlers is not None:
            self._handlers.__exit__()
        if self._unblocker is not None:
            self._unblocker.disarm()

    async def hear_the_last(self) -> asyncio.CancelledError | None:
        """
        Wait until the signals have gone through the loop that came before they were given back; then the loop has none of ours.

        The loop hears of a signal only in its next iteration. One that it is not to handle by then is lost, and the process goes on
        that should have died by it. So what was given back is taken from the loop only now.

        Returns:
            The cancellation that came meanwhile, if one did.
        """
        cancelled = None
        for _ in range(_TURNS):
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                cancelled = error
        for number, handler in self._given_back.items():
            if signal.getsignal(number) == handler and self._is_free_in_loop(number):
                self._loop.remove_signal_handler(number)
                signal.signal(number, handler)
        return cancelled

    def _is_free_in_loop(self, number: signal.Signals) -> bool:
        """Whether nobody else has it in the loop; uvloop does not show that."""
        return loop_signal_callback(self._loop, number) in (None, self._on_signal)

    def _give_back_taken(self, number: signal.Signals, ours: Any) -> None:
        """Unless the program has taken the signal from us meanwhile; uvloop does not show that it has by its loop."""
        if not self._is_free_in_loop(number):
            return
        handler = signal.getsignal(number)
        if isinstance(handler, _Announcing) and handler.stands_in_for(ours):
            handler.replace(ours, self._before[number])
        signal.signal(number, self._before[number] if handler == ours else handler)
        if self._wakeup is None:
            self._given_back[number] = signal.getsignal(number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._on_signal(number)

    def ctrl_c_was_pressed(self) -> bool:
        """Whether the owner of the loop has cancelled the block because of a Ctrl-C, as `asyncio.run` does."""
        return ctrl_c_was_pressed()

    def signal_owner(self) -> bool:
        """Have the server that owns the process stop; returns whether there is one."""
        return not self._has(signal.SIGTERM) and signal_owner()

    def stop(self, number: int) -> None:
        """In a signal handler: nobody else is to be told, and the block ends."""
        self._on_signal(number)

    @override
    def shield_handlers(self, on_raised: Callable[[BaseException], None]) -> None:
        """The handlers are the owner's."""

    @override
    def taker_of(self, number: signal.Signals) -> str | None:
        return None

    # --- while the app stops ---------------------------------------------------------------------------------------

    @override
    def deadline_changed(self) -> None:
        if self._handlers is None and in_main_thread() and raises_interrupt(signal.getsignal(signal.SIGINT)):
            self._handlers = SignalHandlers({signal.SIGINT}, (), True, self._on_interrupt, None)
            self._handlers.__enter__()
        self._make_unblocker_if_free()
        super().deadline_changed()

    @override
    def hook_limited(self, begins: bool) -> None:
        self._make_unblocker_if_free()
        super().hook_limited(begins)

    @override
    def has_ctrl_c(self) -> bool:
        return super().has_ctrl_c() or self._has(signal.SIGINT)

    def _has(self, number: signal.Signals) -> bool:
        """Whether the signal is the block's now: the program may have taken it meanwhile."""
        return number in self._taken and signal.getsignal(number) == self._taken[number]

    @override
    def check_reactions(self, numbers: Iterable[signal.Signals]) -> None:
        check_main_thread()
        for number in numbers:
            if number not in self._taken and signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN):
                raise StateError(self._owned(number))

    @override
    def add_reactions(self, numbers: Iterable[signal.Signals]) -> None:
        for number in numbers:
            if number in self._taken or self._take(number, signal.getsignal(number)):
                self._reactions.add(number)

    def _make_unblocker_if_free(self) -> None:
        """A hook that blocks has nothing else to unblock it."""
        free = in_main_thread() and Unblocker.available() and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        if free and self._unblocker is None:
            self._make_unblocker()

    def _on_interrupt(self, number: int) -> None:
        self._interrupted = True
        self._on_signal(number)

    def pass_on(self) -> None:
        """In the block's task: the owner's handler is called now for the Ctrl-C that came meanwhile."""
        if self._interrupted:
            signal.raise_signal(signal.SIGINT)

    @override
    def prepare_end(self, raised: BaseException | None) -> None:
        if isinstance(raised, Interrupted) and self.is_fatal(raised.signal):
            die_if_uncaught(raised, self._deadline, self._dispatcher.later_signals(), self._termination_log)

    def is_fatal(self, number: signal.Signals) -> bool:
        """Whether the process would have died by this signal without the block; also when the block has been left."""
        wrapped = self._wrapped.get(number)
        return number in self._taken or (wrapped is not None and wrapped.handler == signal.SIG_DFL)
