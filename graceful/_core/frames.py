"""
Where something is stuck: a task down to its innermost await, a thread down to its running frame.

`Task.get_stack()` shows the outermost frame of a suspended coroutine only. The interesting one is at the other end of the
chain of awaits, so the chain is followed here (`asyncio.capture_call_graph` of 3.14 does the same).
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

from graceful._core.asyncio_private import coroutine_of
from graceful._core.marks import calls_user_code, is_internal, is_own, stack_starts_here
from graceful._core.places import is_standard_library, line_of

__all__ = [
    "await_chain",
    "busy_threads",
    "frame_lines",
    "may_interrupt",
    "outermost",
    "runs_user_code",
    "show_instead",
    "strip_internal_frames",
    "thread_lines",
    "unwound_lines",
]

#: Threads of the package itself begin with this, and are left out of what is shown.
THREAD_PREFIX = "graceful "

#: Frames of a chain of awaits that are followed at most.
_DEEPEST = 100


# --- tasks -------------------------------------------------------------------------------------------------------------


#: Tasks of ours, each with the one of the program that it stands in for.
_stand_ins: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def show_instead(task: Any, of: Any) -> None:
    """What `await_chain` shows of the task `of` is where this one is: `of` only stands in for it."""
    _stand_ins[of] = weakref.ref(task)


def await_chain(awaitable: Any) -> tuple[str, ...]:
    """
    One line a frame, outermost first, for a suspended task or coroutine; what it waits for comes last.

    Without frames of ours: what waits in `App.sleep` is shown where it calls that.
    """
    instead = _stand_ins.get(awaitable) if _stand_ins else None
    shown = awaitable if instead is None else instead()
    frames = _awaited_frames(coroutine_of(shown) or shown)
    return tuple(line_of(frame) for frame in frames if not is_own(frame))


def _awaited_frames(inner: Any) -> Iterator[FrameType]:
    for _ in range(_DEEPEST):
        if inner is None:
            return
        frame = _first(inner, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:  # `anext(generator)` shows no frame and no await, and holds the generator
            inner = next((each for each in gc.get_referents(inner) if hasattr(each, "ag_frame")), None)
        else:
            yield frame
            inner = _first(inner, "cr_await", "gi_yieldfrom", "ag_await")


def _first(owner: Any, *names: str) -> Any:
    return next((found for name in names if (found := getattr(owner, name, None)) is not None), None)


def unwound_lines(error: BaseException) -> tuple[str, ...]:
    """One line for each frame that `error` came through, outermost first, without ours: where a cancelled task was."""
    lines: list[str] = []
    traceback = error.__traceback__
    while traceback is not None:
        if not is_own(traceback.tb_frame):
            lines.append(line_of(traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return tuple(lines)


def strip_internal_frames(error: BaseException) -> BaseException:
    """
    Drop the outermost frames that belong to this package or the loop: the traceback starts where the user's code does.

    They would also keep alive what they were working on, such as the handle of a task that failed.
    """
    traceback = error.__traceback__
    while traceback is not None and is_internal(traceback.tb_frame):
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


# --- running frames ----------------------------------------------------------------------------------------------------


def may_interrupt(frame: FrameType | None) -> bool:
    """
    Whether an exception that is raised in `frame` hits user code, and not this package at work.

    Going outwards past the standard library, one comes to user code or to a function of this package: then it depends on
    whether that one is calling user code.
    """
    while frame is not None:
        if is_own(frame):
            return calls_user_code.is_on(frame)
        if not is_internal(frame) and not is_standard_library(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def runs_user_code(frame: FrameType | None) -> bool:
    """Whether `frame` is user code, or something that user code has called; neither this package nor the loop alone."""
    while frame is not None and not is_own(frame):
        if not is_internal(frame) and not is_standard_library(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def frame_lines(frame: FrameType | None) -> tuple[str, ...]:
    """
    One line a frame, outermost first, for running user code: what the loop called, down to where it is now.

    Empty where only the loop itself runs: the frames beyond belong to the caller of `run()`, which only waits.
    """
    lines: list[str] = []
    while frame is not None and not (is_internal(frame) and (lines or stack_starts_here.is_on(frame))):
        if not is_internal(frame):
            lines.append(line_of(frame))
        frame = frame.f_back
    return tuple(reversed(lines))


def outermost(frame: FrameType | None) -> FrameType | None:
    """Of the frames that lead to this one, the one that the loop or this package has called."""
    while frame is not None and frame.f_back is not None and not is_internal(frame.f_back):
        frame = frame.f_back
    return frame


# --- threads -----------------------------------------------------------------------------------------------------------


def busy_threads() -> list[tuple[str, tuple[str, ...]]]:
    """Every thread that runs user code: its name, and its frames, outermost first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    busy: list[tuple[str, tuple[str, ...]]] = []
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, str(ident))
        stack = frame_lines(frame)
        if stack and not _is_idle_worker(frame) and not name.startswith(THREAD_PREFIX):
            busy.append((name, stack))
    return busy


def _is_idle_worker(frame: FrameType) -> bool:
    """Whether a thread of an executor waits for its next job, in the very function that gets it."""
    return (frame.f_globals.get("__name__"), frame.f_code.co_name) == ("concurrent.futures.thread", "_worker")


def thread_lines() -> list[str]:
    """The busy threads with their innermost frames, for the message before a forced end."""
    return [
        line for name, stack in busy_threads() for line in (f"thread {name}:", *(f"    {each}" for each in stack[-6:]))
    ]
