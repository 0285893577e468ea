"""Where code is defined and where a task comes from: `file:line`, as short as it can be and still be found."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from graceful._core.asyncio_private import coroutine_of, source_traceback
from graceful._core.marks import is_own_code, is_own_path

__all__ = [
    "call_site",
    "innermost",
    "is_in_standard_library",
    "is_standard_library",
    "line_of",
    "origin",
    "place",
    "shortener",
]

_STDLIB = os.path.dirname(os.__file__)
_ASYNCIO = os.path.dirname(asyncio.Handle.cancel.__code__.co_filename) + os.sep
#: How many call sites are remembered at most: a program that makes code at run time would add new ones for ever.
_KEPT = 1000


def shortener() -> Callable[[str], str]:
    """
    A function that shortens a path to one that could be imported, such as `asyncio/locks.py`.

    Paths below the working directory become relative to it, as it is now: it may change before a report is read.
    """
    # Python ignores a Path in sys.path, and so does this.
    folders = {_STDLIB, *filter(lambda folder: type(folder) is str, sys.path)}
    with contextlib.suppress(OSError):  # the working directory may be gone
        folders.add(os.getcwd())
    prefixes = sorted((folder + os.sep for folder in folders if len(folder) > 1), key=len, reverse=True)

    @functools.cache
    def shorten(path: str) -> str:
        return path[next((len(prefix) for prefix in prefixes if path.startswith(prefix)), 0) :]

    return shorten


@functools.lru_cache(256)
def short_path(path: str) -> str:
    """`path` as it is shown; see `shortener`."""
    return shortener()(path)


def is_standard_library(path: str) -> bool:
    """Whether a file, given by its full path, is part of Python itself."""
    return path.startswith("<frozen") or (path.startswith(_STDLIB + os.sep) and "-packages" not in path)


def is_in_standard_library(line: str) -> bool:
    """Whether a shown line `file:line in function` is of a file of the standard library."""
    return os.path.isfile(os.path.join(_STDLIB, line.partition(":")[0]))


def place(code: CodeType | None, shorten: Callable[[str], str] = short_path) -> str:
    """`file:line` of a function's definition; `?` if it is not written in Python."""
    return "?" if code is None else f"{shorten(code.co_filename)}:{code.co_firstlineno}"


def line_of(frame: FrameType, number: int | None = None) -> str:
    """`file:line in function` of a frame, as one line of a stack. `number`: the line; `None`: where it is now."""
    code = frame.f_code
    return f"{short_path(code.co_filename)}:{number or frame.f_lineno} in {code.co_qualname}"


def call_site(depth: int) -> str:
    """
    `created at file:line in function`, for the caller `depth` frames further out.

    Remembered for each place in the code: a program that creates a million tasks does so in few places, and the same
    string serves all of them (52 bytes for a supervised task instead of 200).
    """
    frame = sys._getframe(depth + 1)
    key = id(frame.f_code), frame.f_lasti
    known = _call_sites.get(key)
    if known is None:
        if len(_call_sites) >= _KEPT:
            _call_sites.clear()
        known = _call_sites[key] = f"created at {line_of(frame)}", frame.f_code
    return known[0]


# The code object is kept beside its text, so that no other one can get the same id.
_call_sites: dict[tuple[int, int], tuple[str, CodeType]] = {}


def origin(future: Any, made: str = "") -> str:
    """
    What to call a task or future in a message: its name, the function it runs, and where it was created.

    Args:
        future: The task or future.
        made: How it was made, if that is known. In asyncio's debug mode the stack of its creation is shown instead of a text
            that begins with `created`.
    """
    if not hasattr(future, "get_coro"):
        return "a future"
    parts = [f"task {future.get_name()!r}"]
    coroutine = coroutine_of(future)
    code = coroutine_code(coroutine)
    if code is not None and not is_own_code(code):
        parts[0] += f" ({coroutine.__qualname__.rpartition('<locals>.')[2]} at {place(code)})"
    created = [
        f"{short_path(each.filename)}:{each.lineno} in {each.name}"
        for each in source_traceback(future)
        if not is_own_path(each.filename) and not each.filename.startswith(_ASYNCIO)
    ]
    if created and (not made or made.startswith("created")):
        made = f"created at {' < '.join(created[:-4:-1])}"
    return ", ".join([*parts, *([made] if made else [])])


def coroutine_code(coroutine: Any) -> CodeType | None:
    """The code of a coroutine or a generator; `None` if it is not written in Python."""
    return next((code for name in ("cr_code", "gi_code", "ag_code") if (code := getattr(coroutine, name, None))), None)


def innermost(stack: tuple[str, ...]) -> str:
    """The end of a stack in one line: the innermost frame, and the innermost outside the standard library."""
    if not is_in_standard_library(stack[-1]):
        return stack[-1]
    of_user = [line for line in stack[:-1] if not is_in_standard_library(line)]
    return " < ".join([stack[-1], *of_user[-1:]])
