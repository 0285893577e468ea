"""
Child processes that the app has started, as tasks: cancelling one sends its child the signal that asks it to end.

So a child is treated like any other work: cancelled with the tasks, or with what has acquired it; waited for within
the same share; and named where it does not end. Then its process group is killed.

asyncio tells its protocol when a child begins and ends. `Process.wait()` does not: before 3.12.4 it returns only when the
pipes are closed, which a grandchild may hold open for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from typing_extensions import override

from graceful._core.arguments import flag, signal_from
from graceful._core.instances import instances_of, with_subclasses
from graceful._loop.critical import CriticalBlocks
from graceful._loop.hidden import HiddenTask, hide_from_all_tasks
from graceful._loop.ownership import Ownership
from graceful._loop.waiting import resolve
from graceful._process.children import ProcessGroup, live_children, name_of_request

__all__ = ["ChildTask", "Children"]

#: Seconds between two looks at a group whose leader has ended and that was asked to end: nothing tells when it is empty.
_LOOK = 0.05


#: What no handler can take, and a child can be sent.
_UNCATCHABLE = {getattr(signal, name) for name in ("SIGKILL", "CTRL_BREAK_EVENT") if hasattr(signal, name)}


class ChildTask(HiddenTask[None]):
    """
    Ends when a child's process group has ended.

    Args:
        loop: Where it runs.
        group: The child and what it has started.
        stop: The signal that asks them to end.
        started_by: The task that has started it.
        context: The context in which that was.

    Attributes:
        stop: What that is called in a message.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        group: ProcessGroup,
        stop: int,
        started_by: asyncio.Task[Any] | None,
        context: Context,
    ) -> None:
        self._group = group
        self.stop = name_of_request(stop)
        self._number = stop
        self._started_by = None if started_by is None else weakref.ref(started_by)
        self._exited: asyncio.Future[None] = loop.create_future()
        self._asked: asyncio.Future[None] = loop.create_future()
        label = f"child {group.name} (pid {group.pid})"
        super().__init__(self._wait(), loop=loop, name=label, context=context)
        hide_from_all_tasks(self)

    @property
    def started_by(self) -> asyncio.Task[Any] | None:
        """The task that has started it, if there still is one."""
        return None if self._started_by is None else self._started_by()

    def exited(self) -> None:
        """The child has ended; what it has started may still run."""
        self._group.leader_ended()
        resolve(self._exited, None)

    @property
    def running(self) -> bool:
        """Whether the child itself has not ended."""
        return not self._exited.done()

    def draining(self) -> asyncio.Future[None]:
        """Done when the child itself has ended."""
        return self._exited

    def look(self) -> None:
        """If the child has ended, and what it had started has ended since: end."""
        if self._exited.done() and not self._asked.done() and not self._group.alive():
            resolve(self._asked, None)

    @override
    def cancel(self, msg: object = None) -> bool:
        """Send the signal; if that was done before, kill."""
        if self.done():
            return False
        if self._asked.done():
            self.kill()
        else:
            self._group.ask(self._number)
            resolve(self._asked, None)
        return True

    def kill(self) -> None:
        """Kill the group."""
        self._group.terminate()
        resolve(self._asked, None)

    async def _wait(self) -> None:
        await self._exited
        if self._group.alive():
            await self._asked
        while self._group.alive():  # noqa: ASYNC110 - no event tells when a group is empty
            await asyncio.sleep(_LOOK)


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """As asyncio's, and tells when the child begins and ends."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop, begin: Callable[[Any], ChildTask]) -> None:
        super().__init__(limit=limit, loop=loop)
        self._begin = begin
        self._task: ChildTask | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._task = self._begin(transport)

    @override
    def process_exited(self) -> None:
        super().process_exited()
        if self._task is not None:
            self._task.exited()


class Children:
    """
    The children of one run.

    Args:
        loop: Where they are started.
        ownership: What a resource or a startup hook starts belongs to that.
        blocks: A child that a task in a critical block has started is not stopped before the block ends.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ownership: Ownership, blocks: CriticalBlocks) -> None:
        self._loop = loop
        self._ownership = ownership
        self._blocks = blocks
        self._tasks: set[ChildTask] = set()
        self._draining: set[ChildTask] = set()
        self._transports: weakref.WeakSet[Any] = weakref.WeakSet()

    async def start_exec(
        self, command: tuple[Any, ...], limit: int, stop: int, options: dict[str, Any], *, drain: bool
    ) -> asyncio.subprocess.Process:
        """
        Start a program.

        Args:
            command: The program and its arguments.
            limit: The buffer of each pipe, in bytes.
            stop: The signal that asks it to end.
            options: What is passed on to `subprocess.Popen`; the process group is added.
            drain: Whether it is waited for before anything is cancelled.

        Raises:
            TypeError: A bad argument.
            ValueError: `stop` is no such signal, or `options` put the child into another group.
        """
        protocol = self._protocol(command[0], limit, stop, options, drain=drain)
        transport, made = await self._loop.subprocess_exec(protocol, *command, **options)
        return asyncio.subprocess.Process(transport, made, self._loop)

    async def start_shell(
        self, command: str | bytes, limit: int, stop: int, options: dict[str, Any], *, drain: bool
    ) -> asyncio.subprocess.Process:
        """The same for a command of the shell."""
        protocol = self._protocol(command, limit, stop, options, drain=drain)
        transport, made = await self._loop.subprocess_shell(protocol, command, **options)
        return asyncio.subprocess.Process(transport, made, self._loop)

    def _protocol(
        self, name: object, limit: int, stop: int, options: dict[str, Any], *, drain: bool
    ) -> Callable[[], _Protocol]:
        """Check the arguments, and return what makes the protocol of a child called `name`."""
        stop = stop if stop in _UNCATCHABLE else signal_from("stop", stop)
        drain = flag("drain", drain)
        self._add_group(options)
        for task in [*self._tasks]:
            task.look()
        current, context = asyncio.current_task(), copy_context()

        def begin(transport: Any) -> ChildTask:
            group = ProcessGroup(_short(name), transport.get_pid(), transport.send_signal)
            task = ChildTask(self._loop, group, stop, current, context)
            with contextlib.suppress(TypeError):  # uvloop's has no weak references, and complains of nothing
                self._transports.add(transport)
            self._ownership.add_hidden(task, context)
            for tasks in (self._tasks, self._draining) if drain else (self._tasks,):
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            return task

        return lambda: _Protocol(limit, self._loop, begin)

    def _add_group(self, options: dict[str, Any]) -> None:
        if options.get("process_group") not in (None, 0, -1):
            raise ValueError(
                "the child gets a process group of its own, so that it can be ended with it: leave process_group out"
            )
        options.pop("process_group", None)
        if sys.platform == "win32":
            options["creationflags"] = options.get("creationflags", 0) | subprocess.CREATE_NEW_PROCESS_GROUP
        elif isinstance(self._loop, asyncio.BaseEventLoop):
            if not options.get("start_new_session"):
                options["process_group"] = 0
        else:  # uvloop does not take it; a session of its own is a group of its own, too
            options["start_new_session"] = True

    def running(self) -> set[asyncio.Task[Any]]:
        """Those whose group has not ended. Safe in another thread."""
        return {task for task in [*self._tasks] if not task.done()}

    def held(self) -> set[asyncio.Task[Any]]:
        """Those of them that a critical block has started, which has not ended, either."""
        return {task for task in self._tasks if self._is_held(task)}

    def _is_held(self, task: ChildTask) -> bool:
        starter = task.started_by
        return task.running and starter is not None and not starter.done() and self._blocks.holds(starter)

    def draining(self) -> set[asyncio.Future[Any]]:
        """Of those that have not ended, what to wait for before anything is cancelled."""
        return {task.draining() for task in self.draining_tasks()}

    def draining_tasks(self) -> list[ChildTask]:
        """Those that are waited for before anything is cancelled, and have not ended."""
        return [task for task in self._draining if task.running]

    def kill(self) -> None:
        """Kill what is left; when the run is over, whatever has ended it."""
        for task in [*self._tasks]:
            if not task.done():
                task.kill()

    async def close_pipes(self) -> None:
        """
        The loop is about to be closed: close what leads to the children, such as a pipe that nobody has read to its end.

        Else asyncio closes it when the transport is collected, and complains that the loop is closed by then.
        """
        for transport in [*self._transports]:
            transport.close()
        await asyncio.sleep(0)  # the pipes are closed in a callback

    def strangers(self) -> list[int]:
        """The pids of children that asyncio has started without us, and that still run."""
        alive = live_children()
        return sorted(alive & _started_by_asyncio()) if alive else []


def _started_by_asyncio() -> set[int]:
    """The pids of what asyncio or uvloop have started; found among all objects, because a patch would cost each task time."""
    kinds = with_subclasses(asyncio.SubprocessTransport)
    of_uvloop = getattr(sys.modules.get("uvloop.loop"), "UVProcessTransport", None)
    transports = instances_of(kinds if of_uvloop is None else kinds | {of_uvloop})
    return {pid for each in transports if isinstance(pid := each.get_pid(), int)}


def _short(name: object) -> str:
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
