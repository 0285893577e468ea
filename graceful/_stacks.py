"""
Where something stands: a task down to its innermost await, a thread down to its running frame.

`Task.get_stack()` shows the outermost frame of a suspended coroutine only. What one wants to know is at the other end
of the chain of awaits, so it is walked here (3.14's `asyncio.capture_call_graph` does the same).
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType

TYPE_CHECKING = False  # typing takes 2 ms, and from 3.14 on asyncio does without it: it is for checkers only
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "await_chain",
    "busy_threads",
    "caller",
    "frame_lines",
    "function_of",
    "may_interrupt",
    "origin",
    "outermost",
    "place",
    "short_path",
    "shortener",
    "strip_our_frames",
    "thread_lines",
    "tip",
    "unwound_lines",
]


_LOOP_CODE = {"asyncio", "selectors", "graceful", "uvloop"}
_STDLIB = os.path.dirname(os.__file__)
_OURS = (os.path.dirname(__file__), os.path.join(_STDLIB, "asyncio"), "uvloop")


def shortener() -> Callable[[str], str]:
    """What makes a path one that could be imported, `asyncio/locks.py`, or one below the present working directory."""
    # A Path in sys.path is ignored by Python, and so it is here.
    folders = {_STDLIB, *filter(lambda folder: type(folder) is str, sys.path)}
    with contextlib.suppress(OSError):  # the working directory may be gone
        folders.add(os.getcwd())
    prefixes = sorted((folder + os.sep for folder in folders if len(folder) > 1), key=len, reverse=True)

    @functools.cache  # asked for each hook, and there are few files
    def shorten(path: str) -> str:
        return path[next((len(prefix) for prefix in prefixes if path.startswith(prefix)), 0) :]

    return shorten


@functools.lru_cache(256)
def short_path(path: str) -> str:
    """`path` as it is shown, see `shortener`."""
    return shortener()(path)


def place(code: CodeType | None, shorten: Callable[[str], str] = short_path) -> str:
    """`file:line` where it was written; `?`: it is not of Python."""
    return "?" if code is None else f"{shorten(code.co_filename)}:{code.co_firstlineno}"


def tip(stack: tuple[str, ...]) -> str:
    """The end of a stack in one line: the innermost frame, and the innermost outside the standard library."""
    theirs = [line for line in stack[:-1] if not os.path.isfile(os.path.join(_STDLIB, line.partition(":")[0]))]
    standard = os.path.isfile(os.path.join(_STDLIB, stack[-1].partition(":")[0]))
    return " < ".join([stack[-1], *theirs[-1:]]) if standard else stack[-1]


def await_chain(awaitable: Any) -> tuple[str, ...]:
    """One line a frame, outermost first, for a task or coroutine that is suspended; what it waits for comes last."""
    lines: list[str] = []
    inner = getattr(awaitable, "_coro", awaitable)  # 3.12.1 crashes in get_coro() of an eager task that is done
    while inner is not None and len(lines) < 100:
        frame = _first(inner, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:  # `anext(generator)` shows neither, and holds the generator
            inner = next((each for each in gc.get_referents(inner) if hasattr(each, "ag_frame")), None)
            continue
        if (
            lines or os.path.dirname(frame.f_code.co_filename) != _OURS[0]
        ):  # the stack begins where the user's code does
            lines.append(_line(frame))
        inner = _first(inner, "cr_await", "gi_yieldfrom", "ag_await")
    return tuple(lines)


def unwound_lines(error: BaseException) -> tuple[str, ...]:
    """One line a frame that `error` came through, outermost first, without ours: where a cancelled task stood."""
    lines: list[str] = []
    traceback = error.__traceback__
    while traceback is not None:
        if not _is_ours(traceback.tb_frame.f_code):
            lines.append(_line(traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return tuple(lines)


def caller(depth: int) -> str:
    """`created at file:line in function`: who called the function `depth` frames up. Made once for each place in the code."""
    frame = sys._getframe(depth + 1)
    place = id(frame.f_code), frame.f_lasti
    known = _places.get(place)
    if known is None:
        known = _places[place] = f"created at {_line(frame)}", frame.f_code
    return known[0]


#: The code objects are kept with their places, so that no other one can come to have the same id.
_places: dict[tuple[int, int], tuple[str, CodeType]] = {}


def origin(future: Any, made: str = "") -> str:
    """What to call a task or future: its name, the function it runs, and how it was `made`; in debug mode from where."""
    if not hasattr(future, "get_coro"):
        return "a future"
    parts = [f"task {future.get_name()!r}"]
    coro: Any = getattr(future, "_coro", None)
    code = _first(coro, "cr_code", "gi_code", "ag_code")
    if code is not None and not _is_ours(code):
        parts[0] += (
            f" ({coro.__qualname__.rpartition('<locals>.')[2]} at {short_path(code.co_filename)}:{code.co_firstlineno})"
        )
    created = [
        f"{short_path(each.filename)}:{each.lineno} in {each.name}"
        for each in getattr(future, "_source_traceback", None) or ()
        if os.path.dirname(each.filename) not in _OURS
    ]
    if created and not made.startswith("registered"):
        made = f"created at {' < '.join(created[:-4:-1])}"
    return ", ".join([*parts, *([made] if made else [])])


def _is_ours(code: CodeType) -> bool:
    return os.path.dirname(code.co_filename) == _OURS[0]


#: Where this package calls what need not have a frame, or only some of the standard library's, and is prepared for an
#: exception there.
_CALLING = {
    ("graceful._runner", "_drive"),
    ("graceful._hook", "__call__"),
    ("graceful._turn", "carry"),
    ("graceful._life", "_reaction"),
    ("graceful._residence", "_step"),
    ("graceful._console", "_tell"),
}


def function_of(frame: FrameType) -> tuple[str, str]:
    """The function that it runs, as module and name."""
    return str(frame.f_globals.get("__name__", "")), frame.f_code.co_name


def may_interrupt(frame: FrameType | None) -> bool:
    """
    Whether an exception raised in `frame` hits somebody's code, and not a piece of this package at work.

    Walking out past the standard library, one comes to somebody's code, or to ours.
    """
    while frame is not None:
        function = function_of(frame)
        if function[0].startswith("graceful."):
            return function in _CALLING
        if not _is_loop_code(frame) and not _is_standard(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def _is_standard(path: str) -> bool:
    return path.startswith("<frozen") or (path.startswith(_STDLIB + os.sep) and "-packages" not in path)


def _is_loop_code(frame: FrameType) -> bool:
    return function_of(frame)[0].partition(".")[0] in _LOOP_CODE


def frame_lines(frame: FrameType | None) -> tuple[str, ...]:
    """
    One line a frame, outermost first, for somebody's code that is running: what the loop called, down to where it is.

    Empty where the loop itself is all that runs: beyond our own `_drive` are the callers of `run()`, who only wait.
    """
    lines: list[str] = []
    while frame is not None and not (_is_loop_code(frame) and (lines or frame.f_code.co_name == "_drive")):
        if not _is_loop_code(frame):
            lines.append(_line(frame))
        frame = frame.f_back
    return tuple(reversed(lines))


def outermost(frame: FrameType | None) -> FrameType | None:
    """The frame that the loop has called, or this package, of those that lead to this one."""
    while frame is not None and frame.f_back is not None and not _is_loop_code(frame.f_back):
        frame = frame.f_back
    return frame


def busy_threads() -> list[tuple[str, tuple[str, ...]]]:
    """Every thread that runs somebody's code, by name, with its frames, outermost first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    busy: list[tuple[str, tuple[str, ...]]] = []
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, str(ident))
        idle = function_of(frame) == ("concurrent.futures.thread", "_worker")
        stack = frame_lines(frame)
        if stack and not idle and not name.startswith("graceful "):
            busy.append((name, stack))
    return busy


def thread_lines() -> list[str]:
    """The busy threads with their innermost frames, for the message before a forced end."""
    busy = busy_threads()
    return [line for name, stack in busy for line in (f"thread {name}:", *(f"    {each}" for each in stack[-6:]))]


def strip_our_frames(error: BaseException) -> BaseException:
    """
    Drop the outermost frames that are this package's or the loop's: the traceback starts where the user's code does.

    They would also keep alive what they were just working on, such as the handle of a task that failed.
    """
    traceback = error.__traceback__
    while traceback is not None and os.path.dirname(traceback.tb_frame.f_code.co_filename) in _OURS:
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def _first(owner: Any, *names: str) -> Any:
    for name in names:
        found = getattr(owner, name, None)
        if found is not None:
            return found
    return None


def _line(frame: FrameType, number: int | None = None) -> str:
    code = frame.f_code
    return f"{short_path(code.co_filename)}:{number or frame.f_lineno} in {code.co_qualname}"
