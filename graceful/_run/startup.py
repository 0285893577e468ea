"""Startup: `on_startup` hooks and the first halves of resources, in the order of registration, one at a time."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from graceful._core.deadline import Deadline
from graceful._core.types import Verdict
from graceful._hooks.hook import Hook, Stage, reference_key
from graceful._hooks.hook_run import HookRun
from graceful._hooks.hook_set import HookSet
from graceful._hooks.resource import ResourceTask
from graceful._hooks.supervisor import Supervisor
from graceful._loop.critical import CriticalBlocks
from graceful._loop.ownership import Owner, Ownership
from graceful._run.failure_intake import FailureIntake

__all__ = ["Startup"]


class Startup:
    """
    Args:
        hooks: All hooks.
        deadline: The deadline of the run.
        supervisor: Runs the hooks.
        blocks: A startup in a critical block is not cut short.
        intake: Where failures arrive.
        ownership: What a startup starts belongs to it, and is no work to be cancelled.
    """

    def __init__(
        self,
        hooks: HookSet,
        deadline: Deadline,
        supervisor: Supervisor,
        blocks: CriticalBlocks,
        intake: FailureIntake,
        ownership: Ownership,
    ) -> None:
        self._hooks = hooks
        self._deadline = deadline
        self._supervisor = supervisor
        self._blocks = blocks
        self._intake = intake
        self._ownership = ownership
        self._running: HookRun | None = None
        self._completed: set[Hook] = set()
        self._resources: dict[Hook, ResourceTask] = {}

    async def run(self) -> None:
        """Run them, until one fails or the program is told to stop."""
        for hook in self._hooks.of(Stage.STARTUP, Stage.RESOURCE):
            if self._deadline.stopping:
                return
            owner = self._ownership.new_owner()
            run = self._running = HookRun(hook, "startup", self._deadline, holds=self._blocks.holds, owner=owner)
            await self._intake.guarded(self._enter(run, owner) if hook.stage is Stage.RESOURCE else self._start(run))
            self._running = None
            if hook not in self._completed and not run.abandoned:
                self._ownership.release(owner)  # what is left of it is work
            if run.error is not None:
                self._intake.fail(run.error, f"{hook} failed", {})
            elif run.verdict is Verdict.CANCELLED and not self._deadline.stopping:
                self._intake.fail(asyncio.CancelledError(f"{hook} was cancelled"), f"{hook} was cancelled")

    def cut_short(self) -> None:
        """The program is told to stop: the hook that runs now is cancelled."""
        if self._running is not None:
            self._running.cut_short()

    async def _see_to_end(self, run: HookRun, done: asyncio.Future[Any] | None = None) -> None:
        """If a signal handler of the program raises meanwhile, the hook still runs, and its end is waited for again."""
        await self._intake.guarded(self._supervisor.supervise(run, done=done))
        if not run.ended and run.task is not None:
            await self._intake.guarded(self._supervisor.supervise(run, done=done))

    async def _start(self, run: HookRun) -> None:
        await self._see_to_end(run)
        if run.verdict is Verdict.OK:
            self._completed.add(run.hook)

    async def _enter(self, run: HookRun, owner: Owner) -> None:
        resource = ResourceTask(run.hook, owner)
        # One that is given up may still enter, and is left like any other if that is not too late.
        resource.entered.add_done_callback(lambda _: self._note_entered(resource))
        resource.enter(run)
        await self._see_to_end(run, resource.entered)
        self._note_entered(resource)

    def _note_entered(self, resource: ResourceTask) -> None:
        hook = resource.hook
        if resource.inside and hook not in self._completed:
            self._completed.add(hook)
            self._resources[hook] = resource
            resource.task.add_done_callback(functools.partial(self._resource_ended, hook))

    def _resource_ended(self, hook: Hook, task: asyncio.Task[Any]) -> None:
        """By a group or a scope around its yield. What else it raises is the outcome of its hook run."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._intake.fail(error, f"resource {hook.name} failed", {"task": task}, task, note=f"in resource {hook}")

    # --- what resources have yielded -------------------------------------------------------------------------------

    def resource_of(self, function: object) -> ResourceTask | None:
        """The resource that a function makes, if it can be used now; of several the one that was entered last."""
        key = reference_key(function)
        found = [each for hook, each in self._resources.items() if reference_key(hook.function) == key and each.usable]
        return found[-1] if found else None

    def values(self) -> dict[str, Any]:
        """What the resources have yielded, by the names of their functions; without those that yielded `None`."""
        usable = {hook.short_name: each for hook, each in self._resources.items() if each.usable}
        return {name: each.value for name, each in usable.items() if each.value is not None}

    # --- what there is to clean up ---------------------------------------------------------------------------------

    def resource(self, hook: Hook) -> ResourceTask | None:
        """The resource that this hook has made; `None`: it was never entered."""
        return self._resources.get(hook)

    def is_owed(self, hook: Hook) -> bool:
        """Whether there is anything for a shutdown hook to clean up: what was started, or no startup stands before it."""
        startups = self._hooks.startups_of(hook)
        return not startups or not self._completed.isdisjoint(startups)
