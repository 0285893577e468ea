"""
Graceful shutdown for asyncio: your cleanup code runs to completion on Ctrl-C, SIGTERM, a crash or a normal exit.

>>> from graceful import App
>>> app = App("orders", grace=8)
"""

from graceful._app import App, app, background, on_exception, on_shutdown, on_signal, on_startup, resource, run
from graceful._core.errors import GracefulError, HookError, HookTimeout, Interrupted, OrderError, StateError
from graceful._core.types import Cause, Failure, Kind, Outcome, Verdict
from graceful._hooks.decorators import Hooks
from graceful._observe.report import Report

__all__ = [
    "App",
    "Cause",
    "Failure",
    "GracefulError",
    "HookError",
    "HookTimeout",
    "Hooks",
    "Interrupted",
    "Kind",
    "OrderError",
    "Outcome",
    "Report",
    "StateError",
    "Verdict",
    "app",
    "background",
    "on_exception",
    "on_shutdown",
    "on_signal",
    "on_startup",
    "resource",
    "run",
]

# Tracebacks, help() and pickles show the public name, not the module it was written in.
for _public in [globals()[_name] for _name in __all__]:
    if isinstance(_public, type):
        _public.__module__ = __name__
