"""All hooks of a run, by what they are for; their order is checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence

from graceful._hooks.hook import Hook, Stage
from graceful._hooks.order import late_needs, make_plan, startups_of

__all__ = ["HookSet"]


#: The steps of a shutdown that run hooks, and the stages of theirs.
_STEPS = {"drain": (Stage.DRAIN,), "cleanup": (Stage.CLEANUP, Stage.RESOURCE), "flush": (Stage.FLUSH,)}


class HookSet:
    """
    Args:
        hooks: Every hook, in the order of registration.

    Attributes:
        drains: The order of the `stage="drain"` hooks.
        cleanups: The order of the cleanup hooks and resources.
        flushes: The order of the `stage="flush"` hooks.
        flush_count: How many of them there are.

    Raises:
        OrderError: `after=` names what is not there, or there is a cycle.
    """

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = hooks
        self.drains, self.cleanups, self.flushes = (make_plan(self.of(*stages)) for stages in _STEPS.values())
        self.flush_count = len(self.flushes.behind)
        self._startups_of = startups_of(hooks)
        self._late: dict[Hook, None] = {}

    def startups_of(self, hook: Hook) -> tuple[Hook, ...]:
        """The startups that a shutdown hook cleans up after; none: it runs in any case."""
        return self._startups_of.get(hook, ())

    def declared(self) -> tuple[float, float]:
        """Seconds that the drain hooks, and those behind them, may take by their own timeouts."""
        return self.drains.declared(), self.cleanups.declared() + self.flushes.declared()

    def totals(self) -> dict[str, int]:
        """How many hooks the stages of a shutdown have."""
        return {step: len(self.of(*stages)) for step, stages in _STEPS.items()}

    def of(self, *stages: Stage) -> list[Hook]:
        """The hooks of these stages, in the order of registration."""
        return [hook for hook in self._hooks if hook.stage in stages]

    # --- what is registered while the app runs ---------------------------------------------------------------------

    def unknown(self, hooks: Sequence[Hook]) -> list[Hook]:
        """Those of the hooks that are not among these."""
        known = {*self._hooks} if len(hooks) > 1 else self._hooks  # a set is not worth it for one
        return [hook for hook in hooks if hook not in known and hook not in self._late]

    def late_needs(self, late: Sequence[Hook]) -> dict[Hook, tuple[Hook, ...]]:
        """
        What late shutdown hooks with an `after=` wait for.

        Raises:
            OrderError: `after=` names what is not there, or there is a cycle.
        """
        needs: dict[Hook, tuple[Hook, ...]] = {}
        for stages in _STEPS.values():
            known = [*self.of(*stages), *(hook for hook in self._late if hook.stage in stages)]
            needs |= late_needs(known, [hook for hook in late if hook.stage in stages])
        return needs

    def add_late(self, late: Sequence[Hook]) -> None:
        """From now on other late hooks may name them. The plans stay as they are."""
        self._late |= dict.fromkeys(late)
