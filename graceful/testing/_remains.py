"""
What is left of a simulated process: tasks that are destroyed without a word, because nothing outlives a process.

To destroy a suspended coroutine is to throw GeneratorExit into it. What then follows is the program's code, which may take
any time: a worker with a bare `except:` in an endless loop swallows GeneratorExit, and each error that it meets from then on,
because there is no loop to wait in. No exception ends it. So coroutines are closed in a thread of their own. One that has
not ended after a while is stopped where it is: that thread is made to create an exception whose constructor never returns.

What cannot be closed is kept to the very end of the process, or else the garbage collector would do the same, without a limit.

The result of a simulation may be collected anywhere, also where a lock is held that the start of a thread needs. So its finalizer only
notes that it is gone; what is left of it is closed where the next simulation begins, and where the explorer looks for leftovers.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import warnings
from collections import deque
from typing import Any

from graceful._core.asyncio_private import abandon_silently, coroutine_of
from graceful._core.frames import THREAD_PREFIX, await_chain
from graceful._core.instances import instances_of, with_subclasses
from graceful._loop.abandoned import forget_abandoned

__all__ = ["Remains", "destroy_remains"]

#: Seconds of real time that the coroutines may take to close.
_LIMIT = 1.0

#: How often GeneratorExit is thrown into a coroutine that awaits in its `finally`.
_PUSHES = 10

#: Where a task waited that did not end within the limit: one that waits there again is not closed.
_endless: set[tuple[str, ...]] = set()

#: What is left of simulations, and is neither closed nor kept yet.
_held: set[Remains] = set()

#: Of these, those whose result is gone.
_let_go: deque[Remains] = deque()


class Remains:
    """
    Args:
        loop: The loop of the process, which is closed.
        all_tasks: Whether there are more than those that the app has abandoned: the process was ended from outside, say.

    Attributes:
        tasks: The tasks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, all_tasks: bool) -> None:
        self.tasks: list[Any] = [*forget_abandoned(loop)]
        self._closing: tuple[str, ...] = ()
        if all_tasks:
            tasks = instances_of(with_subclasses(asyncio.Task))
            self.tasks += [task for task in tasks if not task.done() and task.get_loop() is loop]
        for task in self.tasks:
            abandon_silently(task)
        if self.tasks:
            _held.add(self)

    def let_go(self) -> None:
        """The result is gone. Safe in a finalizer."""
        _let_go.append(self)

    def destroy(self) -> None:
        """Let the coroutines end. One that awaits in its `finally` needs more than one push; one that never ends is kept."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a coroutine that one of them has made is never awaited
            while self.tasks:
                self._close_in_thread()
        _held.discard(self)

    def _close_in_thread(self) -> None:
        thread = threading.Thread(target=self._close_all, name=f"{THREAD_PREFIX}destroyer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending: no new threads
            self._keep_all()
            return
        thread.join(_LIMIT)
        if thread.is_alive():
            _endless.add(self._closing)
            _stop(thread)

    def _close_all(self) -> None:
        while self.tasks:
            task = self.tasks.pop()
            self._closing = await_chain(task)
            if self._closing in _endless or not any(_closes(coroutine_of(task)) for _ in range(_PUSHES)):
                _keep(task)

    def _keep_all(self) -> None:
        while self.tasks:
            _keep(self.tasks.pop())


def destroy_remains() -> None:
    """Close what is left of the simulations whose results are gone. Not in a finalizer."""
    while _let_go:
        _let_go.popleft().destroy()


@atexit.register
def _keep_held() -> None:
    """The interpreter would close it as it ends, in the main thread and without a limit."""
    while _held:
        _held.pop()._keep_all()


def _closes(coroutine: Any) -> bool:
    try:
        coroutine.close()
    except BaseException:
        return False
    return True


def _keep(task: Any) -> None:
    """Keep it for ever. A reference that nobody holds outlives even the modules, which the interpreter empties as it ends."""
    import ctypes  # late: it takes 2 ms, and few programs need it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))


def _stop(thread: threading.Thread) -> None:
    """Have a thread do nothing from now on; at the latest when the call returns that blocks it."""
    import ctypes  # late, as above

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Stopped))


class _Stopped(BaseException):
    """Is never raised: the thread that was to raise it waits here for ever, with all that it holds."""

    def __init__(self) -> None:
        threading.Semaphore(0).acquire()
