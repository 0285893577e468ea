"""`module:app` as an `App`: the module is imported, which registers the hooks, and nothing is run."""

from __future__ import annotations

import contextlib
import difflib
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Generator, Iterable
from types import FrameType, ModuleType, TracebackType
from typing import Any, NamedTuple, NoReturn

from graceful import app as default_app
from graceful._app import App, watch_runs
from graceful._core.marks import is_own_path
from graceful._core.places import is_standard_library, place, short_path
from graceful._core.types import describe

__all__ = ["Target", "TargetError", "load"]


_NAMES = r"(?!\d)\w+(\.(?!\d)\w+)*"


class TargetError(Exception):
    """There is no such app, or it cannot be had without starting it; the message says what to write instead."""


class Target(NamedTuple):
    """
    What was asked for.

    Attributes:
        app: The app.
        module: The name of its module.
    """

    app: App
    module: str


class _StartedError(BaseException):
    """An app was about to run. Not an Exception, so that no `except Exception` of the module takes it."""


def load(text: str) -> Target:
    """
    Import a module, and return the app that is meant. What the module and its child processes print goes to stderr.

    Args:
        text: `module:app`; `module:make()`, where a function makes it; or `module`, which means its `app`, else the only
            App in it, else the default app, if that has hooks.

    Raises:
        TargetError: It is not there, or it runs when it is imported.
    """
    module, _, attribute = text.partition(":")
    if not re.fullmatch(_NAMES, module) or (":" in text and not re.fullmatch(rf"{_NAMES}(\(\))?", attribute)):
        raise TargetError(f"expected module:app, module:make() or module, got {text!r}")
    if module.endswith(".py") and not os.path.isdir(module[:-3]):
        raise TargetError(
            f"expected the name of a module, got the file {module}: write {module[:-3]}:{attribute or 'app'}"
        )
    sys.path.insert(0, os.getcwd())
    with _stdout_to_stderr(), _arguments(module):
        imported = _imported(module)
        return Target(_app_in(imported, module, attribute), module)


@contextlib.contextmanager
def _stdout_to_stderr() -> Generator[None]:
    """For the duration of a block, also for child processes and code in C: descriptor 1 is what descriptor 2 is."""
    sys.stdout.flush()
    stdout = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


@contextlib.contextmanager
def _arguments(module: str) -> Generator[None]:
    """For the duration of a block the module finds its own name and no arguments, as where it is started without any."""
    before = sys.argv[:]
    sys.argv[:] = [module]
    try:
        yield
    finally:
        sys.argv[:] = before


def _refuse(_: App) -> NoReturn:
    raise _StartedError


_watched: list[None] = []


def _refuse_to_run() -> None:
    """From now on an app that begins to run raises instead."""
    if not _watched:
        _watched.append(None)
        watch_runs(_refuse, lambda _: None)


def _imported(module: str) -> ModuleType:
    _refuse_to_run()
    try:
        imported: ModuleType = pkgutil.resolve_name(f"{module}:")
    except _StartedError as error:
        raise TargetError(_started(module, error.__traceback__)) from None
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise TargetError(f"there is no module {module!r} here{_nearest(module, _modules(module))}") from None
        raise TargetError(_failed(f"importing {module}", error)) from None
    except (Exception, SystemExit) as error:
        raise TargetError(_failed(f"importing {module}", error)) from None
    return imported


def _started(what: str, trace: TracebackType | None) -> str:
    return (
        f"{_innermost(trace) or what} runs the app as soon as {what} is imported, and a plan starts nothing: write "
        'if __name__ == "__main__": above that line'
    )


def _failed(doing: str, error: BaseException) -> str:
    where = _innermost(error.__traceback__)
    return f"{doing} failed: {describe(error)}{f' ({where})' if where else ''}"


def _innermost(trace: TracebackType | None) -> str:
    """The line of the program's own code that is nearest to where it was raised."""
    frames: list[tuple[FrameType, int]] = [
        (frame, line)
        for frame, line in traceback.walk_tb(trace)
        if not is_own_path(frame.f_code.co_filename) and not is_standard_library(frame.f_code.co_filename)
    ]
    return f"{short_path(frames[-1][0].f_code.co_filename)}:{frames[-1][1]}" if frames else ""


def _modules(module: str) -> list[str]:
    """The modules beside the one that is not there."""
    folder, _, _ = module.replace(".", "/").rpartition("/")
    prefix = f"{folder.replace('/', '.')}." if folder else ""
    return [prefix + each.name for each in pkgutil.iter_modules([os.path.join(os.getcwd(), folder)])]


def _nearest(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, [*names], n=1)
    return f": did you mean {found[0]!r}?" if found else ""


# --- the app in a module -----------------------------------------------------------------------------------------------


def _app_in(imported: ModuleType, module: str, attribute: str) -> App:
    if not attribute:
        return _usual_app(imported, module)
    found: Any = imported
    for name in attribute.removesuffix("()").split("."):
        if not hasattr(found, name):
            raise TargetError(f"{module} has no {name!r}{_nearest(name, dir(found)) or _there_are(imported, module)}")
        found = getattr(found, name)
    if attribute.endswith("()"):
        found = _made(found, f"{module}:{attribute}")
    elif not isinstance(found, App) and callable(found) and not isinstance(found, type) and hasattr(found, "__code__"):
        raise TargetError(
            f"{module}:{attribute} is a function ({place(found.__code__)}): write {module}:{attribute}() if it makes the app"
        )
    if not isinstance(found, App):
        kind = type(found).__name__
        raise TargetError(f"{module}:{attribute} is not a graceful.App but a {kind}{_there_are(imported, module)}")
    return found


def _made(make: Any, text: str) -> Any:
    try:
        return make()
    except _StartedError as error:
        raise TargetError(_started(text, error.__traceback__)) from None
    except (Exception, SystemExit) as error:
        raise TargetError(_failed(text, error)) from None


def _usual_app(imported: ModuleType, module: str) -> App:
    """Its `app`, else its only App, else the default app."""
    apps = _apps(imported)
    if "app" in apps:
        return apps["app"]
    if len({id(each) for each in apps.values()}) == 1:
        return next(iter(apps.values()))
    if not apps and any(True for _ in default_app._hooks()):
        return default_app
    raise TargetError(f"{module} has no App called app{_there_are(imported, module)}")


def _apps(imported: ModuleType) -> dict[str, App]:
    return {name: value for name, value in vars(imported).items() if isinstance(value, App)}


def _there_are(imported: ModuleType, module: str) -> str:
    names = [f"{module}:{name}" for name in _apps(imported)]
    return f"; there is {', '.join(names)}" if names else "; there is no App in it"
