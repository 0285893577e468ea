"""
A process that is only simulated: signals that come when they are told to, and an end that ends nothing but the simulation.

A simulated signal takes the road of a real one from where its handler would be called. Who handles it is decided as outside:
what the program has set with `loop.add_signal_handler`, the app, the owner of the loop, or the default action.
"""

from __future__ import annotations

import contextlib
import functools
import math
import signal
from collections.abc import Callable, Generator, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from typing_extensions import override

from graceful._process.exit import ProcessEnded
from graceful._process.watchdog import LATE
from graceful._run.block_guard import BlockGuard
from graceful._run.process_guard import ProcessGuard, simulated_guards

__all__ = ["SimulatedProcess"]


Handler = Callable[[], object]


class Guard(Protocol):
    """The part of a run that guards the simulated process."""

    def handler(self, number: signal.Signals, outer: Handler | None) -> Handler | None:
        """What handles a signal, which so far `outer` would; `None`: the default action."""
        ...

    def heard_by_program(self, number: signal.Signals) -> None:
        """A signal has arrived that the program handles itself."""
        ...

    def may_block(self) -> float:
        """When code that blocks the loop now is unblocked; infinity: never."""
        ...

    def expires_at(self) -> float:
        """When the process is ended, because the shutdown takes too long; infinity: never."""
        ...

    def expire(self) -> None:
        """End it."""
        ...


class SimulatedProcess:
    """
    Args:
        owner: Called with a signal that the owner of the loop handles; `None`: the app owns the loop.
        owns: The signals that the owner handles.

    Attributes:
        interrupted: Whether the owner had to handle a Ctrl-C.
    """

    def __init__(
        self, owner: Callable[[signal.Signals], None] | None = None, owns: frozenset[signal.Signals] = frozenset()
    ) -> None:
        self.interrupted = False
        self._owner = owner
        self._owns = owns
        self._guards: list[Guard] = []

    @contextlib.contextmanager
    def running(self) -> Generator[None]:
        """Runs that begin in this context meanwhile guard this process."""
        guards = simulated_guards.set({ProcessGuard: _RunGuard, BlockGuard: _BlockGuard})
        process = _process.set(self)
        try:
            yield
        finally:
            _process.reset(process)
            simulated_guards.reset(guards)

    def add(self, guard: Guard) -> None:
        """From now on it guards the process."""
        self._guards.append(guard)

    def remove(self, guard: Guard) -> None:
        """Remove it again."""
        if guard in self._guards:
            self._guards.remove(guard)

    def deliver(self, number: signal.Signals, by_program: Handler | None) -> None:
        """
        A signal arrives.

        Args:
            number: The signal.
            by_program: What the program has set for it with `loop.add_signal_handler`; `None`: nothing.

        Raises:
            ProcessEnded: Nobody handles it, or it is what ends the process at once.
        """
        if by_program is not None:
            for guard in self._guards:
                guard.heard_by_program(number)
            by_program()
            return
        handler = self.owners_handler(number)
        for guard in self._guards:
            handler = guard.handler(number, handler)
        if handler is not None:
            handler()
        elif number is signal.SIGINT:
            raise KeyboardInterrupt
        elif number not in _IGNORED:
            raise ProcessEnded(-number, "")

    def owners_handler(self, number: signal.Signals) -> Handler | None:
        """What the owner of the loop does about a signal; `None`: nothing."""
        return functools.partial(self._tell_owner, number) if number in self._owns else None

    def _tell_owner(self, number: signal.Signals) -> None:
        self.interrupted = self.interrupted or number is signal.SIGINT
        if self._owner is not None:
            self._owner(number)

    def is_server(self) -> bool:
        """Whether the owner handles SIGTERM as a server does, and not only Ctrl-C as `asyncio.run` does."""
        return signal.SIGTERM in self._owns

    def may_block_until(self) -> float:
        """When code that blocks the loop now is unblocked; infinity: never."""
        return min((guard.may_block() for guard in self._guards), default=math.inf)

    def expires_at(self) -> float:
        """When a guard ends the process; infinity: never."""
        return min((guard.expires_at() for guard in self._guards), default=math.inf)

    def expire(self) -> None:
        """End the process, as the guard that is due first does."""
        first = min(self._guards, key=lambda guard: guard.expires_at())
        first.expire()


#: What the kernel does with these by default is nothing.
_IGNORED = {getattr(signal, name) for name in ("SIGCHLD", "SIGURG", "SIGWINCH", "SIGCONT") if hasattr(signal, name)}

_process: ContextVar[SimulatedProcess] = ContextVar("graceful simulated process")


class _Simulated(ProcessGuard):
    """What both guards share: they end nothing but the simulation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._process = _process.get()

    def heard_by_program(self, number: signal.Signals) -> None:
        """SIGTERM says that the process is to stop, even where the program handles it."""
        self._heard_foreign(number)

    def may_block(self) -> float:
        """As the run decides."""
        return self._may_block_until()

    @override
    def taker_of(self, number: signal.Signals) -> str | None:
        return None

    @override
    def other_threads(self) -> list[str]:
        return []

    @override
    def workers(self) -> Sequence[Any]:
        return ()

    @override
    def shield_handlers(self, on_raised: Callable[[BaseException], None]) -> None:
        pass

    @override
    def end_process(self, words: str, status: int, ended: Sequence[Any]) -> None:
        raise ProcessEnded(status, words)

    @override
    def prepare_end(self, raised: BaseException | None) -> None:
        pass


class _RunGuard(_Simulated):
    """Guards the process of `App.run`. Arguments as for `ProcessGuard`."""

    @override
    def applies(self) -> bool:
        return True

    @override
    @contextlib.contextmanager
    def taken(self) -> Generator[None]:
        self._reactions = self._signal_hooks.signals
        self._process.add(self)
        try:
            yield
        finally:
            self._process.remove(self)

    def handler(self, number: signal.Signals, outer: Handler | None) -> Handler | None:
        """Takes what stops it, and what it has hooks for."""
        ours = number in self._reactions or number in self._settings.signals
        return functools.partial(self._on_signal, number) if ours else outer

    def expires_at(self) -> float:
        """As the watchdog does."""
        return self._deadline.at + LATE

    def expire(self) -> None:
        """With status 70."""
        self._end_expired()

    @override
    def check_reactions(self, numbers: Iterable[signal.Signals]) -> None:
        pass

    @override
    def add_reactions(self, numbers: Iterable[signal.Signals]) -> None:
        self._reactions.update(numbers)


class _BlockGuard(_Simulated, BlockGuard):
    """Guards the process of `async with app:` or a lifespan. Arguments as for `BlockGuard`."""

    @override
    def take(self) -> None:
        numbers = self._signal_hooks.signals
        self._reactions = {number for number in numbers if self._process.owners_handler(number) is None}
        self._process.add(self)

    @override
    def give_back(self) -> None:
        self._process.remove(self)

    def handler(self, number: signal.Signals, outer: Handler | None) -> Handler | None:
        """Takes what nobody handles, announces what a server or another app does, and keeps back the second Ctrl-C."""
        if number not in self._settings.signals and number not in self._reactions:
            return outer
        if outer is None:
            return functools.partial(self._on_signal, number)
        if number is signal.SIGINT and not self._process.is_server():
            return functools.partial(self._on_interrupt, number) if self._deadline.stopping else outer
        return functools.partial(self._pass_on, number, outer)

    @override
    def is_fatal(self, number: signal.Signals) -> bool:
        return self._process.owners_handler(number) is None

    def _pass_on(self, number: signal.Signals, outer: Handler) -> None:
        self.announce(number)
        outer()

    def expires_at(self) -> float:
        """Never: the process is not its own."""
        return math.inf

    def expire(self) -> None:
        """Never called."""

    @override
    def deadline_changed(self) -> None:
        pass

    @override
    def hook_limited(self, begins: bool) -> None:
        pass

    @override
    def ctrl_c_was_pressed(self) -> bool:
        return self._process.interrupted and not self._process.is_server()

    @override
    def signal_owner(self) -> bool:
        handler = self._process.owners_handler(signal.SIGTERM)
        if handler is not None:
            handler()
        return handler is not None

    @override
    def pass_on(self) -> None:
        handler = self._process.owners_handler(signal.SIGINT)
        if self._interrupted and handler is not None:
            handler()
