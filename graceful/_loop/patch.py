"""
Patches: methods of one loop object, wrapped for the duration of a run.

asyncio offers slots: one exception handler, one task factory, and the last to set it wins. A program (or a library: error
trackers do) that sets its own while it runs would make ours deaf; ours would override what was set before; and two apps
in one loop that end in another order than they began would each restore the other's. So the task factory is left to the
program, and `create_task` is wrapped, which uses it. The slot of the exception handler is taken, and shared because
`call_exception_handler` is wrapped, too (see `exception_handler`). asyncio and uvloop call these by name, on the loop object.

As few methods as possible: an object with more than 30 attributes loses what makes access to them fast, and asyncio's loop
has 26 (CPython, `SHARED_KEYS_MAX_SIZE`; measured on 3.13: the fourth patch costs each task 8 % of its time).

Rejected as well: to check now and then whether ours is still there. A task that is created between the change and the
check would go unwatched, and an idle program would no longer be idle.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["patch_method"]

Method = Callable[..., Any]
#: Given the method below, makes the one that is called instead.
Wrapper = Callable[[Method], Method]

#: The patched methods of each loop, by name.
_patched: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _PatchedMethod]] = weakref.WeakKeyDictionary()


class _PatchedMethod:
    """A patched method, shared by all apps in that loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, method: str) -> None:
        self._loop = loop
        self._method = method
        self._own: Method | None = vars(loop).get(method)  # somebody else patches it, too
        self._below: Method = getattr(loop, method)
        self._ours: Method | None = None
        self._wrappers: list[Wrapper] = []

    def is_in_place(self) -> bool:
        """Whether nobody has patched the method since."""
        return vars(self._loop).get(self._method) is self._ours

    def add(self, wrapper: Wrapper) -> None:
        self._wrappers.append(wrapper)
        self._compose()

    def remove(self, wrapper: Wrapper) -> None:
        self._wrappers.remove(wrapper)
        if self.is_in_place():
            self._compose()
        if not self._wrappers and (methods := _patched[self._loop]).get(self._method) is self:
            del methods[self._method]

    def _compose(self) -> None:
        if self._wrappers or self._own is not None:
            self._ours = functools.reduce(lambda below, wrapper: wrapper(below), self._wrappers, self._below)
            vars(self._loop)[self._method] = self._ours
        else:
            del vars(self._loop)[self._method]


def patch_method(loop: asyncio.AbstractEventLoop, method: str, wrapper: Wrapper) -> Callable[[], None]:
    """
    Wrap a method of this loop, which must take attributes (see `check_loop`).

    Returns:
        A function that takes the wrapper away again, wherever between other ones it is by then. Call it once. Where somebody else has
        patched the method since, theirs stays, and the wrapper below it: it must do nothing any more.
    """
    methods = _patched.setdefault(loop, {})
    patched = methods.get(method)
    if patched is None or not patched.is_in_place():
        patched = methods[method] = _PatchedMethod(loop, method)
    patched.add(wrapper)
    return functools.partial(patched.remove, wrapper)
