"""
Graceful shutdown for asyncio: your cleanup code runs to completion on Ctrl-C, SIGTERM, a crash or a normal exit.

>>> from graceful import App
>>> app = App("orders", grace=8)

`App` collects hooks with decorators, and `App.run` runs the program. Scripts that want no object use the default app:

- `app`, and its methods as functions: `on_startup`, `on_shutdown`, `on_exception`, `on_signal`, `resource`, `background`,
  `run` (a drop-in for `asyncio.run`)
- `current_app`: the app in which the calling code runs
- `Hooks`: hooks in a module of their own, for `App.include`
- `Cause` and its `Kind`, `Failure`: what hooks are given
- `Report`, with each `Outcome` and its `Verdict`: what happened, as `App.report` returns it
- `Plan`, with each `PlannedStep` and `PlannedHook`: what would happen, as `App.plan` returns it
- `Event` and its `EventKind`: what `App.add_observer` tells, as it happens
- `GracefulError` and below it `HookError`, `HookTimeout`, `OrderError`, `StateError`: errors of the package
- `Interrupted`: a KeyboardInterrupt, which `run` raises after a signal

The folders below are private.
"""

import typing as _typing

from graceful._app import App, current_app
from graceful._core.errors import GracefulError, HookError, HookTimeout, Interrupted, OrderError, StateError
from graceful._core.types import Cause, Event, EventKind, Failure, Kind, Outcome, Verdict
from graceful._default_app import (
    app,
    background,
    on_exception,
    on_shutdown,
    on_signal,
    on_startup,
    resource,
    run,
)
from graceful._hooks.decorators import Hooks
from graceful._observe.report import Report

if _typing.TYPE_CHECKING:
    from graceful._observe.plan import Plan
    from graceful._observe.planned import PlannedHook, PlannedStep

__all__ = [
    "App",
    "Cause",
    "Event",
    "EventKind",
    "Failure",
    "GracefulError",
    "HookError",
    "HookTimeout",
    "Hooks",
    "Interrupted",
    "Kind",
    "OrderError",
    "Outcome",
    "Plan",
    "PlannedHook",
    "PlannedStep",
    "Report",
    "StateError",
    "Verdict",
    "app",
    "background",
    "current_app",
    "on_exception",
    "on_shutdown",
    "on_signal",
    "on_startup",
    "resource",
    "run",
]

#: Few programs ask for a plan, and reading these takes 2 ms of the import's 12: that is done with the first use.
_PLANNED = ("Plan", "PlannedHook", "PlannedStep")


# Tracebacks, help() and pickles show the public name, not the module it was written in.
for _public in [globals()[_name] for _name in __all__ if _name not in _PLANNED]:
    if isinstance(_public, type):
        _public.__module__ = __name__

if not _typing.TYPE_CHECKING:  # or a name that does not exist would be any object for type checkers

    def __getattr__(name: str) -> object:
        if name not in _PLANNED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from graceful._observe.plan import Plan
        from graceful._observe.planned import PlannedHook, PlannedStep

        globals().update(Plan=Plan, PlannedHook=PlannedHook, PlannedStep=PlannedStep)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLANNED})
