"""
A program that ends well, whatever ends it: cleanup hooks for asyncio that run to their end before the loop stops.

>>> from graceful import App
>>> app = App("orders", grace=8)
"""

from graceful._app import App, app, background, on_exception, on_shutdown, on_signal, on_startup, resource, run
from graceful._errors import GracefulError, HookError, HookTimeout, Interrupted, OrderError, StateError
from graceful._hooks import Hooks
from graceful._model import Cause, Failure, Kind, Outcome, Verdict
from graceful._report import Report

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

# Tracebacks, help() and pickles show the public name, not the room it was written in.
for _public in [globals()[_name] for _name in __all__]:
    if isinstance(_public, type):
        _public.__module__ = __name__
