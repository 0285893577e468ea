"""
An overlay: layers of ours around a method of one loop object, for the time of a run.

What asyncio offers are slots: one exception handler, one task factory, and the last to set it wins. A program (or a
library: error trackers do) that sets its own while it runs would make ours deaf; ours would clobber what was set before;
and two apps in one loop that end in another order than they began would each put back the other's. So the slots are
left to the program, and the methods that use them are covered: `call_exception_handler`, `create_task`. asyncio and
uvloop call these by name, on the loop object.

As few methods as can be: an object of more than 30 attributes loses what makes the access to them fast, and asyncio's loop
has 26 (CPython, `SHARED_KEYS_MAX_SIZE`; measured on 3.13: the fourth one more costs each task 8 % of its time).

Rejected as well: to look now and then whether ours is still there. A task that is created between the change and the
look would go unwatched, and an idle program would no longer be idle.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["cover"]

Method = Callable[..., Any]
#: Given what is below, makes what is called instead.
Layer = Callable[[Method], Method]


#: Of each loop its covered methods, by name.
_overlays: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Overlay]] = weakref.WeakKeyDictionary()


class _Overlay:
    """A covered method, shared by all apps in that loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, method: str) -> None:
        self._loop = loop
        self._method = method
        self._own: Method | None = vars(loop).get(method)  # somebody else covers it, too
        self._below: Method = getattr(loop, method)
        self._layers: list[Layer] = []

    def add(self, layer: Layer) -> None:
        self._layers.append(layer)
        self._compose()

    def remove(self, layer: Layer) -> None:
        self._layers.remove(layer)
        self._compose()

    def _compose(self) -> None:
        if self._layers or self._own is not None:
            composed = functools.reduce(lambda below, layer: layer(below), self._layers, self._below)
            vars(self._loop)[self._method] = composed
        else:
            del vars(self._loop)[self._method]
        if not self._layers:
            del _overlays[self._loop][self._method]


def cover(loop: asyncio.AbstractEventLoop, method: str, layer: Layer) -> Callable[[], None]:
    """
    Put a layer around a method of this loop.

    Returns:
        What takes it away again, wherever in between other layers it is by then. Call it once.

    Raises:
        TypeError: The loop object takes no attributes.
    """
    if not hasattr(loop, "__dict__"):
        raise TypeError(f"{loop!r} cannot be watched: it takes no attributes (its class has __slots__)")
    overlays = _overlays.setdefault(loop, {})
    overlay = overlays.get(method)
    if overlay is None:
        overlay = overlays[method] = _Overlay(loop, method)
    overlay.add(layer)
    return functools.partial(overlay.remove, layer)
