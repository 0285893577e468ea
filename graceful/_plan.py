"""
The order of hooks: which wait for which, and how many wait behind each.

Hooks registered without `after` form a chain, the last registered first. `after=` takes a hook out of it: it waits for
those it names and for nothing else.

They are counted down (Kahn): a hook is ready when the last one it needs has ended. `graphlib` does the same, but takes as
long to import as three rooms of this house, and three looks at each hook; it is asked only to say where a cycle is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from graceful._errors import OrderError
from graceful._hook import Hook, Stage, handle_of

__all__ = ["Plan", "Sorter", "plan", "startups_of"]


class Sorter:
    """
    Hands out hooks.

    Attributes:
        ready: Those that may start now; who starts one takes it away.
    """

    def __init__(self, needs: dict[Hook, tuple[Hook, ...]], followers: dict[Hook, list[Hook]]) -> None:
        self._left = {hook: len(needed) for hook, needed in needs.items()}
        self._followers = followers
        self.ready = deque(hook for hook, left in self._left.items() if not left)

    def done(self, hook: Hook) -> None:
        """It has ended: those that waited for nothing else are ready."""
        for follower in self._followers[hook]:
            self._left[follower] -= 1
            if not self._left[follower]:
                self.ready.append(follower)


class Plan:
    """
    Args:
        needs: For each hook the ones that must have ended before it starts.

    Attributes:
        behind: For each hook, in an order that is possible, how many wait for it at the most, one after the other.

    Raises:
        OrderError: There is a cycle.
    """

    def __init__(self, needs: dict[Hook, tuple[Hook, ...]]) -> None:
        self.needs = needs
        self._followers: dict[Hook, list[Hook]] = {hook: [] for hook in needs}
        for hook, needed in needs.items():
            for each in needed:
                self._followers[each].append(hook)
        self.behind: dict[Hook, int] = {}
        sorter = self.sorter()
        while sorter.ready:
            hook = sorter.ready.popleft()
            self.behind[hook] = 0
            sorter.done(hook)
        if len(self.behind) < len(needs):
            raise OrderError(f"these on_shutdown hooks wait for each other: {_cycle(needs)}; take one `after=` away")
        for hook in reversed(self.behind):
            for each in needs[hook]:
                self.behind[each] = max(self.behind[each], self.behind[hook] + 1)

    def sorter(self) -> Sorter:
        """A new sorter: the app may run once more."""
        return Sorter(self.needs, self._followers)

    def declared(self) -> float:
        """Seconds the hooks may take by their own timeouts: along the longest way through them."""
        took: dict[Hook, float] = {}
        for hook in self.behind:
            took[hook] = (hook.timeout or 0.0) + max((took[each] for each in self.needs[hook]), default=0.0)
        return max(took.values(), default=0.0)


def _cycle(needs: dict[Hook, tuple[Hook, ...]]) -> str:
    import graphlib  # here, because nobody else needs it

    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        return " -> ".join(str(hook) for hook in reversed(error.args[1]))
    return "?"


def plan(hooks: Sequence[Hook]) -> Plan:
    """
    The order of these hooks, given in the order of their registration.

    Raises:
        OrderError: `after=` names what is not among them, or there is a cycle.
    """
    needs: dict[Hook, tuple[Hook, ...]] = {}
    previous: tuple[Hook, ...] = ()
    known: dict[object, list[Hook]] = {}
    if any(hook.after for hook in hooks):
        for hook in hooks:
            for handle in hook.handles():
                known.setdefault(handle, []).append(hook)
    for hook in reversed(hooks):
        if hook.after is None:
            needs[hook] = previous
            previous = (hook,)
        else:
            needs[hook] = tuple(needed for reference in hook.after for needed in _resolve(hook, reference, known))
    return Plan(needs)


def startups_of(hooks: Sequence[Hook]) -> dict[Hook, tuple[Hook, ...]]:
    """
    For each shutdown hook the startups that it stands for; it is owed if there are none, or if one of them completed.

    Which start a cleanup belongs to is nowhere said (`resource` says it), so it is read off the order: the startups
    just before it. Several hooks behind one block of startups stand for the whole block, because a cleanup too many
    costs a line in the report, and one too few costs data.
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


def _resolve(hook: Hook, reference: object, known: dict[object, list[Hook]]) -> list[Hook]:
    found = known.get(handle_of(reference))
    if found is None:
        names = sorted({other.name for others in known.values() for other in others if other is not hook})
        raise OrderError(
            f"{hook} runs after {getattr(reference, '__qualname__', reference)!r}, "
            f"which is no hook of this stage; there are: {', '.join(names) or 'no other'}"
        )
    return found
