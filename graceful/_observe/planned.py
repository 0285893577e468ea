"""
The steps and the hooks of a plan.

Annotations are evaluated here, as in `report`: these classes are shown as `graceful.PlannedHook` and so on.
"""

from dataclasses import dataclass

__all__ = ["PlannedHook", "PlannedStep"]


@dataclass(frozen=True)
class PlannedHook:
    """
    When one hook, or one background task, runs in the worst case: if whatever comes before it takes all its time.

    All times are in seconds since the signal; those of an `on_exception` hook in seconds since the failure.

    Attributes:
        name: Its qualified name.
        where: `file:line` of its definition.
        kind: `on_exception`, `drain`, `cleanup`, `resource` (its second half), `flush` or `background`.
        at: When it begins.
        until: When it is cancelled, if it has not ended.
        end: When it is abandoned, if it does not react to that: the next one starts at this time at the latest.
        timeout: Seconds that it may take by its own `timeout=`; `None`: it has none.
        after: The names of the hooks that it waits for.
        beside: The names of the hooks of the same step that may run at the same time.
        unless: The names of the startups that it cleans up after: it is skipped if none of them has completed. Empty: it
            always runs.
    """

    __module__ = "graceful"

    name: str
    where: str
    kind: str
    at: float
    until: float
    end: float
    timeout: float | None = None
    after: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()

    @property
    def allowed(self) -> float:
        """Seconds that it has in the worst case."""
        return self.until - self.at


@dataclass(frozen=True)
class PlannedStep:
    """
    One step of the shutdown in the worst case.

    Attributes:
        name: `on_exception`, `drain_delay`, `drain`, `cancel`, `cleanup`, `finish` or `flush` (where there are hooks for it).
        at: When it begins, in seconds since the signal. `on_exception` comes only after a failure, and before the others.
        end: When it is over at the latest.
        what: What happens in it, in a few words.
        hooks: The hooks that run in it, in the order in which they begin.
    """

    __module__ = "graceful"

    name: str
    at: float
    end: float
    what: str
    hooks: tuple[PlannedHook, ...] = ()
