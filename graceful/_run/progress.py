"""Saying what a long shutdown is waiting for, so that it is known even if the process is killed in the end."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Callable

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._core.types import Cause, EventKind
from graceful._loop.waiting import Waiting
from graceful._observe.log import log
from graceful._observe.observers import Observers

__all__ = ["Progress"]

#: Seconds for which a shutdown is silent, and between two messages.
_EVERY = 2.0

#: How many names a message has at most.
_MOST = 5


class Progress:
    """
    A shutdown that is over within two seconds is silent. A longer one says every two seconds what is still running.

    The messages are WARNINGs, so they reach stderr off a terminal, too, and without logging being configured.

    Args:
        name: What the app is called.
        deadline: When everything must be over.
        waiting: The waits of the run.
        observers: Are told, too.
        waiting_for: Returns a line for each thing that has not ended, with where it is stuck; or one that says that it still serves.
        is_shown: Says whether a live view shows the same: then the lines are for the log alone.
    """

    def __init__(
        self,
        name: str,
        deadline: Deadline,
        waiting: Waiting,
        observers: Observers,
        waiting_for: Callable[[], list[str]],
        is_shown: Callable[[], bool],
    ) -> None:
        self._name = name
        self._deadline = deadline
        self._waiting = waiting
        self._observers = observers
        self._waiting_for = waiting_for
        self._is_shown = is_shown
        self._told = False

    async def tell(self, cause: Cause) -> None:
        """Tell, until it is cancelled."""
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for message in itertools.count(1):
            at = cause.at + message * _EVERY
            await self._waiting.wait_done([never], functools.partial(float, at))
            self._told = True
            running = self._waiting_for()
            self._observers.tell(
                EventKind.WAITING,
                cause=cause,
                until=self._deadline.at,
                running=tuple(line.strip() for line in running),
            )
            names = ", ".join(line.strip() for line in running[:_MOST]) or "nothing that can be named"
            more = f", and {len(running) - _MOST} more" if len(running) > _MOST else ""
            left = self._deadline.remaining()
            log(
                logging.WARNING,
                f"{self._name} is still shutting down ({cause}), {left:.1f} s left: {names}{more}",
                in_view=self._is_shown(),
            )

    def tell_end(self) -> None:
        """The shutdown is over: one closing line, if anything was said before. A live view has its own."""
        if self._told and not self._is_shown():
            took = clock.now() - self._deadline.began_at
            log(logging.WARNING, f"{self._name} has shut down, after {took:.1f} s")
