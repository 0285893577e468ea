"""
The order of hooks: which wait for which, and how many wait behind each.

Hooks registered without `after` form a chain, last registered first. `after=` takes a hook out of the chain: it waits for
the hooks that it names and for nothing else.
"""

from __future__ import annotations

import graphlib
from collections.abc import Sequence
from typing import NamedTuple

from graceful._core.errors import OrderError
from graceful._hooks.hook import Hook, Stage, reference_key

__all__ = ["HookPlan", "late_needs", "make_plan", "startups_of"]


class HookPlan(NamedTuple):
    """
    Attributes:
        needs: For each hook the ones that must have ended before it starts; the last registered first.
        behind: For each hook how many wait for it at most, one after the other.
    """

    needs: dict[Hook, tuple[Hook, ...]]
    behind: dict[Hook, int]

    def sorter(self) -> graphlib.TopologicalSorter[Hook]:
        """Hands out the hooks, each as soon as those it needs are done."""
        sorter = graphlib.TopologicalSorter(self.needs)
        sorter.prepare()
        return sorter

    def declared(self) -> float:
        """Seconds that the hooks may take by their own timeouts, along the longest path through them."""
        took: dict[Hook, float] = {}
        for hook in self.behind:
            took[hook] = (hook.timeout or 0.0) + max((took[each] for each in self.needs[hook]), default=0.0)
        return max(took.values(), default=0.0)


def make_plan(hooks: Sequence[Hook]) -> HookPlan:
    """
    The order of these hooks, given in the order of their registration.

    Raises:
        OrderError: `after=` names what is not among them, or there is a cycle.
    """
    needs: dict[Hook, tuple[Hook, ...]] = {}
    previous: tuple[Hook, ...] = ()
    known = _by_reference(hooks) if any(hook.after for hook in hooks) else {}
    for hook in reversed(hooks):
        if hook.after is None:
            needs[hook] = previous
            previous = (hook,)
        else:
            needs[hook] = tuple(needed for reference in hook.after for needed in _resolve(hook, reference, known))
    return HookPlan(needs, _count_behind(needs))


def late_needs(hooks: Sequence[Hook], late: Sequence[Hook]) -> dict[Hook, tuple[Hook, ...]]:
    """
    What hooks wait for that are registered while the app runs: for each that has an `after=`, the hooks that it names.

    Args:
        hooks: Those of the same stage that are registered already.
        late: The new ones. They may name each other.

    Raises:
        OrderError: `after=` names what is not among them, or there is a cycle.
    """
    known = _by_reference([*hooks, *late]) if any(hook.after for hook in late) else {}
    needs = {
        hook: tuple(needed for reference in hook.after for needed in _resolve(hook, reference, known))
        for hook in late
        if hook.after is not None
    }
    _count_behind({**dict.fromkeys([*hooks, *late], ()), **needs})
    return needs


def _count_behind(needs: dict[Hook, tuple[Hook, ...]]) -> dict[Hook, int]:
    try:
        behind = dict.fromkeys(graphlib.TopologicalSorter(needs).static_order(), 0)
    except graphlib.CycleError as error:
        cycle = " -> ".join(str(hook) for hook in reversed(error.args[1]))
        raise OrderError(f"these on_shutdown hooks wait for each other: {cycle}; take one `after=` away") from None
    for hook in reversed(behind):
        for each in needs[hook]:
            behind[each] = max(behind[each], behind[hook] + 1)
    return behind


def _by_reference(hooks: Sequence[Hook]) -> dict[object, list[Hook]]:
    known: dict[object, list[Hook]] = {}
    for hook in hooks:
        for reference in hook.references():
            known.setdefault(reference, []).append(hook)
    return known


def _resolve(hook: Hook, reference: object, known: dict[object, list[Hook]]) -> list[Hook]:
    found = known.get(reference_key(reference))
    if found is None:
        names = sorted({other.name for others in known.values() for other in others if other is not hook})
        raise OrderError(
            f"{hook} runs after {getattr(reference, '__qualname__', reference)!r}, "
            f"which is not a hook of this stage; there are: {', '.join(names) or 'no other'}"
        )
    return found


def startups_of(hooks: Sequence[Hook]) -> dict[Hook, tuple[Hook, ...]]:
    """
    For each shutdown hook the startups that it cleans up after; it runs if there are none, or if one of them completed.

    Nothing says which start an `on_shutdown` hook belongs to (with `resource` it is said), so it is read off the order: the
    startups just before it. Several hooks behind one block of startups belong to the whole block, because a cleanup too
    many costs a line in the report, and one too few costs data.
    """
    block: list[Hook] = []
    standing: tuple[Hook, ...] | None = ()
    found: dict[Hook, tuple[Hook, ...]] = {}
    for hook in hooks:
        if hook.stage in (Stage.STARTUP, Stage.RESOURCE):
            block, standing = [] if standing else block, None
            block.append(hook)
        elif hook.stage in (Stage.DRAIN, Stage.CLEANUP):
            if standing is None:
                # A resource exits itself, so it only speaks for the hook where no on_startup does.
                standing = tuple(start for start in block if start.stage is Stage.STARTUP) or tuple(block)
            found[hook] = standing
    return found
