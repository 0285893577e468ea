"""
Private names of asyncio: the only room that uses any, and what happens on a Python that does not have them.

(`asyncio._get_running_loop` is in asyncio's `__all__`, for code such as this.)

Each was read in the sources of CPython 3.11 to 3.15, and the tests look for each of them on the running Python. Where one
is missing, less is noticed and nothing breaks:

| name | since | used to | without it |
|---|---|---|---|
| `Future._log_traceback` | 3.4 | see whether anybody has retrieved a task's exception | a failed task is reported when it is collected, as in asyncio |
| `Future._callbacks` | 3.4 | see which tasks wait for one in a critical block | only the task in the block itself is spared |
| the same | 3.4 | find a `gather`, or the queue of an `as_completed`, by a task in it | it is looked for among all objects |
| the same: `_done` of what `as_completed` returns | 3.13 | find that queue | the same |
| `Future._source_traceback` | 3.5 | name where a task was created, in debug mode | its place is left out of the message |
| `Task._coro` | 3.4 | show where a task is stuck (`get_coro()` of a finished eager task crashes 3.12.1) | `get_coro()` is called |
| `Task._fut_waiter` | 3.4 | find a `gather` by the task that awaits it | it is looked for among all objects |
| `Task._log_destroy_pending` | 3.4 | abandon a task without asyncio's "Task was destroyed but it is pending" | asyncio logs that line |
| `tasks._unregister_task` | 3.7 | take our own tasks out of `asyncio.all_tasks()` | they are listed there |
| `tasks._GatheringFuture`, its `_children` | 3.4 | see that a `gather` will still look at a failed task | no failed task is reported before it is collected |
| `tasks._wait`, its locals `fs` and `waiter` | 3.4 | the same for `asyncio.wait` | the same |
| `Queue._queue` | 3.4 | the same for `as_completed` | the same |
| `TaskGroup._parent_task` | 3.11 | see which task waits for a group | only the task in the block itself is spared |
| `Runner._on_sigint` | 3.11 | recognise the SIGINT handler of `asyncio.run` | Ctrl-C in an app inside `asyncio.run` is handled as asyncio does |
| `Runner._interrupt_count` | 3.11 | see that a Ctrl-C is what cancelled the block under `asyncio.run` | the next Ctrl-C is answered, and only the one after that hurries |
| `Handle._callback` | 3.4 | tell a transport's callback from the program's | each is the program's |
| `Handle._run` | 3.4 | unblock a C function that the loop calls itself | the process ends at the deadline |
| `BaseEventLoop._signal_handlers` | 3.4 | hear signals that the program has taken with `add_signal_handler`, and by what (uvloop shows neither, and leaves the wakeup fd alone) | they are not announced |
| `BaseEventLoop._ready` | 3.4 | count the steps of a simulated program | `explore` finds no steps |
| the same | 3.4 | see that whatever the end of some work has woken has had its turn (uvloop does not show it) | fifty turns are waited for |
| `BaseEventLoop._scheduled` | 3.4 | see when a simulated program goes on, and which timers it leaves | to a microsecond; timers that are left are not reported |
| `events._set_running_loop` | 3.5 | clean up after a main that called `run_forever()` of another loop (CPython up to 3.13.0) | the cleanup raises "no running event loop" |
| `BaseEventLoop._default_executor` | 3.4 | see whether the program has set one (uvloop does not show it) | `set_default_executor` is watched instead |
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from asyncio import tasks
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from graceful._core.marks import calls_without_frame

__all__ = [
    "GATHER",
    "abandon_silently",
    "can_see_waiters",
    "children_of",
    "coroutine_of",
    "default_executor",
    "futures_in_wait",
    "gathers_around",
    "handle_code",
    "handle_owner",
    "has_unretrieved_exception",
    "is_runner_sigint",
    "is_running_gather",
    "is_running_wait",
    "loop_signal_callback",
    "next_timer_at",
    "nothing_is_ready",
    "queued_futures",
    "queues_around",
    "replace_ready_queue",
    "restore_running_loop",
    "runner_was_interrupted",
    "shows_default_executor",
    "source_traceback",
    "timers_of",
    "unregister",
    "waiters_of",
    "waits_on",
    "watch_signal_handlers",
]

Future = asyncio.Future[Any]

#: The type of the future that `gather` returns; `None`: this Python has no such name.
GATHER: Any = getattr(tasks, "_GatheringFuture", None)
_WAIT: types.CodeType | None = getattr(getattr(tasks, "_wait", None), "__code__", None)
_unregister: Any = getattr(tasks, "_unregister_task", None)
_on_sigint: Any = getattr(asyncio.Runner, "_on_sigint", None)

with contextlib.suppress(AttributeError):  # a Handle calls whatever it was given
    calls_without_frame(asyncio.Handle._run)


# --- a task ------------------------------------------------------------------------------------------------------------


def has_unretrieved_exception(future: Future) -> bool:
    """Whether it has failed, and nobody has retrieved the exception: what asyncio's own report goes by."""
    return bool(getattr(future, "_log_traceback", False))


def coroutine_of(task: Any) -> Any:
    """The coroutine that a task runs; `None` if it shows none."""
    try:
        return task._coro
    except AttributeError:
        get_coro = getattr(task, "get_coro", None)
        return get_coro() if get_coro is not None else None


def source_traceback(future: Any) -> Iterable[Any]:
    """The stack that created it, innermost last; empty outside asyncio's debug mode."""
    return getattr(future, "_source_traceback", None) or ()


def waits_on(task: Any) -> Future | None:
    """The future that a suspended task waits for."""
    return getattr(task, "_fut_waiter", None)


def abandon_silently(task: Any) -> None:
    """Have asyncio not log that the task was destroyed while it was pending."""
    with contextlib.suppress(AttributeError):
        task._log_destroy_pending = False


def unregister(task: asyncio.Task[Any]) -> None:
    """Take a task out of `asyncio.all_tasks()`."""
    if _unregister is not None:
        _unregister(task)


def handle_owner(handle: Any) -> Any:
    """The object whose method a handle calls; `None`: it calls a function, or does not show what (uvloop)."""
    return getattr(getattr(handle, "_callback", None), "__self__", None)


def handle_code(handle: Any) -> types.CodeType | None:
    """The code of the function that a handle calls; `None`: it is not written in Python, or cannot be seen."""
    callback = getattr(handle, "_callback", None)
    function = getattr(callback, "func", callback)  # of a partial
    return getattr(function, "__code__", None)


# --- what waits for a task ---------------------------------------------------------------------------------------------


def can_see_waiters() -> bool:
    """Whether this Python shows which `gather` and `asyncio.wait` are running: only then can one be told from none."""
    return GATHER is not None and _WAIT is not None


def is_running_gather(future: Any) -> bool:
    """Whether it is the future of a `gather` that is not done."""
    return type(future) is GATHER and not future.done()  # not isinstance: a proxy may claim any class


def children_of(future: Any) -> Iterable[Future]:
    """The futures in a `gather`; empty if it is none."""
    return getattr(future, "_children", ())


def is_running_wait(coroutine: Any) -> bool:
    """Whether it is a call of `asyncio.wait` that has begun and is not over."""
    return getattr(coroutine, "cr_code", None) is _WAIT is not None and coroutine.cr_frame is not None


def futures_in_wait(coroutine: Any) -> tuple[Iterable[Future], Future | None]:
    """The futures that such a call waits for, and the one that wakes it; `None`: that is not known."""
    names = coroutine.cr_frame.f_locals
    return names.get("fs", ()), names.get("waiter")


def queued_futures(queue: asyncio.Queue[Any]) -> Iterator[Future]:
    """The futures in a queue; `as_completed` keeps its tasks in one."""
    # Not isinstance: a proxy may claim any class.
    return (each for each in getattr(queue, "_queue", ()) if issubclass(type(each), asyncio.Future))


def waiters_of(future: Any) -> Iterator[Future]:
    """What is woken when it is done: tasks that await it, the futures of `gather` and `wait_for`, a TaskGroup's owner."""
    for each in _held_by_callbacks(future):
        if isinstance(each, asyncio.Future):
            yield each
        elif isinstance(each, asyncio.TaskGroup) and (parent := getattr(each, "_parent_task", None)) is not None:
            yield parent


def gathers_around(future: Any) -> Iterator[Any]:
    """The futures of each `gather` that it is in, and of those around them, that are not done."""
    for each in _held_by_callbacks(future):
        if is_running_gather(each):
            yield each
            yield from gathers_around(each)


def queues_around(future: Any) -> Iterator[asyncio.Queue[Any]]:
    """The queue of each `as_completed` that it is in."""
    for each in _held_by_callbacks(future):
        # From 3.13 on there is an iterator object that has it. Nothing else is asked for attributes: it may be a proxy.
        queue = getattr(each, "_done", None) if type(each).__module__ == "asyncio.tasks" else each
        if type(queue) is asyncio.Queue:
            yield queue


def _held_by_callbacks(future: Any) -> Iterator[Any]:
    """What the functions hold that are called when it is done."""
    for callback, *_ in getattr(future, "_callbacks", None) or ():
        arguments: Any = getattr(callback, "args", ())
        # The callback is a method, a partial, or a closure.
        held = [getattr(callback, "__self__", None), *(arguments if tuple in type(arguments).__mro__ else ())]
        for cell in getattr(callback, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # still empty
                held.append(cell.cell_contents)
        yield from held


# --- the loop and its runner -------------------------------------------------------------------------------------------


def default_executor(loop: asyncio.AbstractEventLoop) -> Any:
    """The loop's default executor; `None`: none was set, or the loop does not show it."""
    return getattr(loop, "_default_executor", None)


def shows_default_executor(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `default_executor` can be relied on; uvloop does not show it."""
    return hasattr(loop, "_default_executor")


def replace_ready_queue(loop: Any, queue: deque[Any]) -> bool:
    """Have the loop take its next steps from this queue; returns whether it does. For a loop written in Python."""
    if not isinstance(getattr(loop, "_ready", None), deque):
        return False
    loop._ready = queue
    return True


def nothing_is_ready(loop: Any) -> bool:
    """Whether the loop has no step to take but those that timers or descriptors bring; `False` where it does not show."""
    ready = getattr(loop, "_ready", None)
    return ready is not None and not ready


def next_timer_at(loop: Any) -> float | None:
    """When the next timer of a loop is due, exactly; `None`: there is none, or it does not show."""
    scheduled = getattr(loop, "_scheduled", None)
    return scheduled[0].when() if scheduled else None


def timers_of(loop: Any) -> list[asyncio.TimerHandle]:
    """The timers of a loop that are neither due nor cancelled; empty where it does not show them."""
    return [timer for timer in getattr(loop, "_scheduled", ()) if not timer.cancelled()]


def is_runner_sigint(handler: object) -> bool:
    """Whether this is the SIGINT handler that `asyncio.run` has installed."""
    method = getattr(getattr(handler, "func", None), "__func__", None)
    return method is not None and method is _on_sigint


def runner_was_interrupted(handler: Any) -> bool:
    """Whether this is the SIGINT handler of an `asyncio.run` that has heard a Ctrl-C."""
    if not is_runner_sigint(handler):
        return False
    return bool(getattr(handler.func.__self__, "_interrupt_count", 0))


class _WatchedHandlers(dict[int, Any]):
    """The handlers of a loop. It takes the wakeup fd for itself just before it adds one, and none when it has none left."""

    def __init__(self, handlers: dict[int, Any], on_added: Callable[[], None]) -> None:
        super().__init__(handlers)
        self._on_added = on_added

    def __setitem__(self, number: int, handle: Any) -> None:
        super().__setitem__(number, handle)
        self._on_added()

    def __bool__(self) -> bool:
        return True  # all that asks is whether the wakeup fd is to be given up


def watch_signal_handlers(loop: Any, on_added: Callable[[], None]) -> Callable[[], None]:
    """
    Have `on_added` called whenever `loop.add_signal_handler` has taken the wakeup fd, and have the loop not give it up.

    Returns:
        A function that ends this.
    """
    handlers: Any = getattr(loop, "_signal_handlers", None)
    if not _is_dict(handlers):
        return lambda: None
    watched = loop._signal_handlers = _WatchedHandlers(handlers, on_added)

    def end() -> None:
        if loop._signal_handlers is watched:
            loop._signal_handlers = dict(watched)

    return end


def restore_running_loop(loop: asyncio.AbstractEventLoop) -> None:
    """
    Let code that runs in this loop find it again.

    `other.run_forever()` in a running loop is a mistake and raises; in CPython 3.13.0 and older ones the loop is forgotten then.
    """
    if asyncio._get_running_loop() is None:
        asyncio._set_running_loop(loop)


def loop_signal_callback(loop: Any, number: int) -> Any:
    """What the loop calls for this signal; `None`: nothing, or it does not show that."""
    handlers: Any = getattr(loop, "_signal_handlers", None)
    return getattr(handlers.get(number), "_callback", None) if hasattr(handlers, "get") else None


def _is_dict(value: object) -> bool:
    return type(value) is dict
