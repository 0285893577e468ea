"""
Marks: where code may be interrupted in place and what stacks leave out, said where a function is defined.

A blocked loop is unblocked by raising an exception in the running frame (see `_process/unblock`), and stacks are shown without the frames of this
package. Both need to know which functions are special. A table of module and function names would do, and would break
silently whenever a function is moved or renamed. So a function is marked by a decorator, which remembers its code object;
trio's `_core/_ki.py` does the same to say where KeyboardInterrupt may be raised.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

__all__ = [
    "calls_user_code",
    "calls_without_frame",
    "is_internal",
    "is_own",
    "is_own_code",
    "is_own_path",
    "stack_starts_here",
]

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = __name__.partition(".")[0]
#: Top-level packages whose frames are left out of the stacks that users are shown.
_INTERNAL = frozenset({_PACKAGE, "asyncio", "selectors", "uvloop"})


class Mark:
    """A set of functions. Used as a decorator it adds one, and returns it unchanged."""

    def __init__(self) -> None:
        self._codes: set[CodeType] = set()

    def __call__(self, function: F) -> F:
        """Mark a function that is written in Python."""
        self._codes.add(function.__code__)
        return function

    def is_on(self, frame: FrameType) -> bool:
        """Whether this frame runs a marked function."""
        return frame.f_code in self._codes


#: The function calls user code, and is prepared for an exception that is raised in its own frame meanwhile.
calls_user_code = Mark()

#: The function may call something written in C, which has no frame: `call_soon(time.sleep, 60)`, `on_shutdown(lock.acquire)`.
calls_without_frame = Mark()

#: Frames further out belong to the caller of `run()`, which only waits.
stack_starts_here = Mark()


def is_internal(frame: FrameType) -> bool:
    """Whether the frame belongs to this package, to asyncio or to uvloop."""
    return _top_package(frame) in _INTERNAL


def is_own(frame: FrameType) -> bool:
    """Whether the frame belongs to this package."""
    return _top_package(frame) == _PACKAGE


def is_own_code(code: CodeType) -> bool:
    """Whether the code was written in this package; of a coroutine that has ended there is no frame left to ask."""
    return is_own_path(code.co_filename)


def is_own_path(path: str) -> bool:
    """Whether a code object's file is one of this package."""
    return path.startswith(_FOLDER)


def _top_package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


# As the code objects have it: in a program that was frozen into one file, `__file__` is another path.
_FOLDER = os.path.dirname(os.path.dirname(is_own_code.__code__.co_filename)) + os.sep
