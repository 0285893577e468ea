"""All hooks of a run, by what they are for; their order is checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence

from graceful._hooks.hook import Hook, Stage
from graceful._hooks.order import make_plan, startups_of

__all__ = ["HookSet"]


class HookSet:
    """
    Args:
        hooks: Every hook, in the order of registration.

    Attributes:
        drains: The order of the `stage="drain"` hooks.
        cleanups: The order of the cleanup hooks and resources.
        startups_of: For each shutdown hook the startups that it cleans up after.

    Raises:
        OrderError: `after=` names what is not there, or there is a cycle.
    """

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = hooks
        self.drains = make_plan(self.of(Stage.DRAIN))
        self.cleanups = make_plan(self.of(Stage.CLEANUP, Stage.RESOURCE))
        self.startups_of = startups_of(hooks)

    def of(self, *stages: Stage) -> list[Hook]:
        """The hooks of these stages, in the order of registration."""
        return [hook for hook in self._hooks if hook.stage in stages]
