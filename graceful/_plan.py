"""
The order of hooks: which wait for which, and how many wait behind each.

Hooks registered without `after` form a chain, the last registered first. `after=` takes a hook out of it: it waits for
those it names and for nothing else. Sorting is `graphlib`'s.
"""

from __future__ import annotations

import graphlib
from collections.abc import Sequence

from graceful._errors import OrderError
from graceful._hooks import Hook, Stage, handle_of

__all__ = ["Plan", "plan", "startups_of"]


class Plan:
    """
    Args:
        needs: For each hook, in an order that is possible, the ones that must have ended before it starts.
        behind: For each hook how many wait for it at the most, one after the other.
    """

    def __init__(self, needs: dict[Hook, tuple[Hook, ...]], behind: dict[Hook, int]) -> None:
        self.needs = needs
        self.behind = behind

    def declared(self) -> float:
        """Seconds the hooks may take by their own timeouts: along the longest way through them."""
        took: dict[Hook, float] = {}
        for hook, needed in self.needs.items():
            took[hook] = (hook.timeout or 0.0) + max((took[each] for each in needed), default=0.0)
        return max(took.values(), default=0.0)

    def sorter(self) -> graphlib.TopologicalSorter[Hook]:
        """A sorter that is ready to hand out what can start."""
        sorter = graphlib.TopologicalSorter(self.needs)
        sorter.prepare()
        return sorter


def plan(hooks: Sequence[Hook]) -> Plan:
    """
    The order of these hooks, given in the order of their registration.

    Raises:
        OrderError: `after=` names what is not among them, or there is a cycle.
    """
    needs: dict[Hook, tuple[Hook, ...]] = {}
    previous: tuple[Hook, ...] = ()
    known: dict[object, list[Hook]] = {}
    for hook in hooks:
        for handle in hook.handles():
            known.setdefault(handle, []).append(hook)
    for hook in reversed(hooks):
        if hook.after is None:
            needs[hook] = previous
            previous = (hook,)
        else:
            needs[hook] = tuple(needed for reference in hook.after for needed in _resolve(hook, reference, known))
    try:
        ordered = list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        cycle = " -> ".join(str(hook) for hook in reversed(error.args[1]))
        raise OrderError(f"these on_shutdown hooks wait for each other: {cycle}; take one `after=` away") from None
    behind = dict.fromkeys(ordered, 0)
    for hook in reversed(ordered):
        for needed in needs[hook]:
            behind[needed] = max(behind[needed], behind[hook] + 1)
    return Plan({hook: needs[hook] for hook in ordered}, behind)


def startups_of(hooks: Sequence[Hook]) -> dict[Hook, tuple[Hook, ...]]:
    """
    For each shutdown hook the startups that it stands for; it is owed if there are none, or if one of them completed.

    Which start a cleanup belongs to is nowhere said (`resource` says it), so it is read off the order: the startups
    just before it. Several hooks behind one block of startups stand for the whole block, because a cleanup too many
    costs a line in the report, and one too few costs data.
    """
    block: list[Hook] = []
    closed = False
    found: dict[Hook, tuple[Hook, ...]] = {}
    for hook in hooks:
        if hook.stage in (Stage.STARTUP, Stage.RESOURCE):
            block = [hook] if closed else [*block, hook]
            closed = False
        elif hook.stage in (Stage.DRAIN, Stage.CLEANUP):
            # A resource exits itself, so it only speaks for the hook where no on_startup does.
            found[hook] = tuple(start for start in block if start.stage is Stage.STARTUP) or tuple(block)
            closed = True
    return found


def _resolve(hook: Hook, reference: object, known: dict[object, list[Hook]]) -> list[Hook]:
    found = known.get(handle_of(reference))
    if found is None:
        names = sorted({other.name for others in known.values() for other in others if other is not hook})
        raise OrderError(
            f"{hook} runs after {getattr(reference, '__qualname__', reference)!r}, "
            f"which is no hook of this stage; there are: {', '.join(names) or 'no other'}"
        )
    return found
