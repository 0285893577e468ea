"""
Hooks that are registered while the app runs.

A decorator in main, in a startup hook or in a module that is imported late looks like any other, so it must do what it
says or be an error. What is still to come counts: an `on_shutdown`, `on_exception` or `on_signal` hook joins the run. What
has been already is refused, with the call that does the same now. Nothing joins before all that is registered with one call
was checked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from graceful._core.errors import StateError
from graceful._hooks.hook import Hook, Stage, local_name, unwrapped
from graceful._hooks.hook_set import HookSet
from graceful._run.dispatcher import Dispatcher
from graceful._run.exception_hooks import ExceptionHooks
from graceful._run.process_guard import ProcessGuard
from graceful._run.shutdown_hooks import ShutdownHooks
from graceful._run.signal_hooks import SignalHooks

__all__ = ["LateHooks", "check_stages"]


class LateHooks:
    """
    Args:
        hooks: All hooks that were there at the start.
        dispatcher: Says whether the shutdown has begun.
        guard: Takes signals.
        signal_hooks: What `on_signal` hooks join.
        exception_hooks: What `on_exception` hooks join.
        shutdown_hooks: What `on_shutdown` hooks join.
    """

    def __init__(
        self,
        hooks: HookSet,
        dispatcher: Dispatcher,
        guard: ProcessGuard,
        signal_hooks: SignalHooks,
        exception_hooks: ExceptionHooks,
        shutdown_hooks: ShutdownHooks,
    ) -> None:
        self._hooks = hooks
        self._dispatcher = dispatcher
        self._guard = guard
        self._signal_hooks = signal_hooks
        self._exception_hooks = exception_hooks
        self._shutdown_hooks = shutdown_hooks

    def admit(self, hooks: Sequence[Hook]) -> Callable[[], None]:
        """
        Check that hooks can join the run. Those that are part of it already are passed over.

        Returns:
            A function that lets them join.

        Raises:
            StateError: It is too late for one of them, or this is not the place to register it.
            OrderError: `after=` names what is not there, or there is a cycle.
        """
        late = self._hooks.unknown(hooks)
        for hook in late:
            self._check(hook)
        needs = self._hooks.late_needs(late)

        def join() -> None:
            self._hooks.add_late(late)
            for hook in late:
                self._join(hook, needs.get(hook))

        return join

    def _check(self, hook: Hook) -> None:
        if hook.stage in (Stage.DRAIN, Stage.CLEANUP, Stage.FLUSH) and self._shutdown_hooks.over:
            raise StateError(f"on_shutdown() came too late for {hook}: the cleanup is over, and nothing would run it")
        if hook.stage is Stage.SIGNAL and self._dispatcher.stopping:
            raise StateError(f"on_signal() came too late for {hook}: the shutdown has begun, and nothing would run it")
        if hook.stage is Stage.SIGNAL:
            try:
                self._guard.check_reactions(hook.signals)
            except StateError as error:
                raise StateError(f"on_signal() cannot take a signal here, for {hook}: {error}") from None

    def _join(self, hook: Hook, needs: tuple[Hook, ...] | None) -> None:
        if hook.stage is Stage.SIGNAL:
            self._signal_hooks.add_late(hook)
            self._guard.add_reactions(hook.signals)
        elif hook.stage is Stage.EXCEPTION:
            self._exception_hooks.add_late(hook)
        else:
            self._shutdown_hooks.add_late(hook, needs)


def check_stages(app: str, hooks: Sequence[Hook]) -> None:
    """
    Refuse what belongs to the start of an app that has started.

    Args:
        app: What to call the app.
        hooks: The new hooks.

    Raises:
        StateError: One of them does; with the call that does the same now.
    """
    for hook in hooks:
        call = _instead(hook)
        if call is not None:
            decorator = {Stage.STARTUP: "on_startup"}.get(hook.stage, hook.stage.value)
            raise StateError(f"{decorator}() came too late for {hook}: {app} is running already; write {call} instead")


def _instead(hook: Hook) -> str | None:
    """What to write for a hook that belongs to the start of an app; `None`: it belongs to something later."""
    name = local_name(hook.function)
    plain = unwrapped(hook.function)
    if hook.stage is Stage.STARTUP:
        return f"`await {name}()`" if inspect.iscoroutinefunction(plain) else f"`{name}()`"
    if hook.stage is Stage.BACKGROUND:
        return f"`app.create_task({name}())`"
    if hook.stage is Stage.RESOURCE:
        enter = f"`await app.enter_async_context(contextlib.asynccontextmanager({name})())`"
        return enter if inspect.isasyncgenfunction(plain) else f"it as an `async def`, and {enter}"
    return None
