"""The order of hooks: last registered first, `after=`, and which startup hooks a shutdown hook belongs to."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.apps import nothing
from support.named import A, B, C, D, E, hooks_of, named

from graceful import (
    App,
    Hooks,
)
from graceful._hooks.hook import Hook
from graceful._hooks.order import HookPlan, make_plan, startups_of

# --- the chain -------------------------------------------------------------------------------------------------------


def in_turn(planned: HookPlan) -> list[list[str]]:
    """The names of the hooks, in groups that may run side by side."""
    sorter = planned.sorter()
    groups = []
    while sorter.is_active():
        ready = sorter.get_ready()
        groups.append(sorted(hook.name for hook in ready))
        for hook in ready:
            sorter.done(hook)
    return groups


def test_default_is_a_chain_reversed() -> None:
    """Hooks that say nothing run one at a time, the last registered first."""
    assert [["D"], ["C"], ["B"], ["A"]] == in_turn(make_plan(hooks_of((A, None), (B, None), (C, None), (D, None))))


def test_no_hooks() -> None:
    """A stage without hooks is a plan without steps."""
    planned = make_plan([])

    assert ({}, {}) == (planned.needs, planned.behind)
    assert not planned.sorter().is_active()


def test_same_function_twice() -> None:
    """A function that was registered twice is two hooks, and runs twice."""
    assert [["A"], ["B"], ["A"]] == in_turn(make_plan(hooks_of((A, None), (B, None), (A, None))))


def test_plan_can_be_walked_again() -> None:
    """An app runs more than once, and so each sorter is a new one."""
    planned = make_plan(hooks_of((A, None), (B, None)))

    assert [["B"], ["A"]] == in_turn(planned) == in_turn(planned)


# --- after= ----------------------------------------------------------------------------------------------------------


def needs(planned: HookPlan) -> dict[str, set[str]]:
    """The names of the hooks that each waits for."""
    return {hook.name: {needed.name for needed in planned.needs[hook]} for hook in planned.needs}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (A, {"A"}),
        ("A", {"A"}),
        ([A, C], {"A", "C"}),
        ((A, "C"), {"A", "C"}),
        ({"A", "B", "C"}, {"A", "B", "C"}),
        ((name for name in "AB"), {"A", "B"}),
        ((A, "A", A), {"A"}),
        ((), set()),
        ([], set()),
    ],
    ids=["function", "name", "list", "both kinds", "set", "iterator", "one thrice", "at once", "empty list"],
)
def test_after_names_what_a_hook_waits_for(after: object, expected: set[str]) -> None:
    """`after` takes a function, a name or several, and replaces the chain: the hook waits for those and nothing else."""
    planned = make_plan(hooks_of((A, None), (B, None), (C, None), (D, after)))

    assert expected == needs(planned)["D"]


def test_after_leaves_the_chain_closed() -> None:
    """A hook with `after` stands beside the chain: the hooks around it wait for each other, not for it."""
    planned = make_plan(hooks_of((A, None), (B, "A"), (C, None), (D, ()), (E, None)))

    assert {"A": {"C"}, "B": {"A"}, "C": {"E"}, "D": set(), "E": set()} == needs(planned)


def test_after_one_that_is_registered_later() -> None:
    """A hook may wait for one that was registered after it, or before it."""
    assert [["C"], ["B"], ["A"]] == in_turn(make_plan(hooks_of((A, "B"), (B, "C"), (C, None))))


def test_after_a_name_that_several_have() -> None:
    """A name that several hooks have means all of them."""
    first, second = named("close"), named("close")
    hooks = hooks_of((first, None), (second, None), (A, "close"), (B, first))
    planned = make_plan(hooks)

    assert {*hooks[:2]} == {*planned.needs[hooks[2]]}
    assert {hooks[0]} == {*planned.needs[hooks[3]]}


class Pool:
    """Something with a method to close it."""

    def close(self) -> None: ...


@pytest.mark.parametrize("reference", ["close", "Pool.close"])
def test_after_short_or_qualified_name(reference: str) -> None:
    """A method answers to its name and to its qualified name, without the functions that its class was defined in."""
    hooks = hooks_of((Pool().close, None), (A, reference))

    assert (hooks[0],) == make_plan(hooks).needs[hooks[1]]


def test_after_a_bound_method() -> None:
    """A bound method is made anew at each look, and means the same hook; that of another object does not."""
    one, other = Pool(), Pool()
    hooks = hooks_of((one.close, None), (other.close, None), (A, one.close))

    assert (hooks[0],) == make_plan(hooks).needs[hooks[2]]


def test_after_a_partial() -> None:
    """A hook that was registered as a partial is named by that very object."""
    bound = functools.partial(named("close"))
    hooks = hooks_of((bound, None), (A, bound))

    assert (hooks[0],) == make_plan(hooks).needs[hooks[1]]


def test_after(app):
    """`after=` takes a hook out of the chain: it waits for those it names, beside whatever else runs."""
    seen = []

    @app.on_shutdown
    async def chain_last():
        seen.append("chain_last")

    @app.on_shutdown
    async def chain_first():
        await asyncio.sleep(0.03)
        seen.append("chain_first")

    @app.on_shutdown(after=())
    async def at_once():
        seen.append("at_once")

    @app.on_shutdown(after=["at_once", chain_first])
    def both():
        seen.append("both")

    app.run(asyncio.sleep(0))
    assert ["at_once", "chain_first"] == seen[:2]
    assert {"both", "chain_last"} == set(seen[2:])


def test_cleanup_may_wait_for_a_resource() -> None:
    """Resources are left in the cleanup, and so a cleanup hook may name one."""
    app = App()
    order = []

    @app.resource
    async def pool() -> object:
        yield
        order.append("pool")

    @app.on_shutdown(after=pool)
    def audit() -> None:
        order.append("audit")

    async def main() -> str:
        return "done"

    assert "done" == app.run(main())
    assert ["pool", "audit"] == order


# --- any order there can be ------------------------------------------------------------------------------------------


@st.composite
def registrations(draw: st.DrawFn) -> list[tuple[Callable[[], None], object]]:
    """Up to 50 hooks, in the chain or beside it, that wait for earlier or later ones without a cycle."""
    functions = [named(f"hook{number}") for number in range(draw(st.integers(1, 50)))]
    chained = [draw(st.booleans()) for _ in functions]
    # One without `after` waits for its like only; one with it for those, and for its like of a lower rank.
    rank = draw(st.permutations(range(len(functions))))
    registered = []
    for me, function in enumerate(functions):
        eligible = [n for n in range(len(functions)) if chained[n] or rank[n] < rank[me]]
        if chained[me]:
            registered.append((function, None))
        else:
            chosen = draw(st.lists(st.sampled_from(eligible), max_size=5)) if eligible else []
            registered.append((function, [draw(st.sampled_from([functions[n], f"hook{n}"])) for n in chosen]))
    return registered


def expected_needs(registered: list[tuple[Callable[[], None], object]]) -> dict[str, set[str]]:
    """What the registrations say, read in the plainest way."""
    chain = [function.__name__ for function, after in registered if after is None]
    waits = {name: {*chain[place + 1 : place + 2]} for place, name in enumerate(chain)}
    for function, after in registered:
        if after is not None:
            waits[function.__name__] = {name if isinstance(name, str) else name.__name__ for name in after}
    return waits


@settings(deadline=None)
@given(registrations())
def test_needs_follow_from_the_registration(registered: list[tuple[Callable[[], None], object]]) -> None:
    """Each hook of the chain waits for the next one registered without `after`, each other one for what it names."""
    assert expected_needs(registered) == needs(make_plan(hooks_of(*registered)))


@settings(deadline=None)
@given(registrations(), st.randoms(use_true_random=False))
def test_every_hook_once_and_after_what_it_needs(registered, random) -> None:
    """However long each takes, the sorter hands out every hook exactly once, and never before what it waits for."""
    planned = make_plan(hooks_of(*registered))
    waits = expected_needs(registered)
    sorter = planned.sorter()
    running: list[Hook] = []
    started: list[str] = []
    ended: set[str] = set()
    while sorter.is_active():
        for hook in sorter.get_ready():
            assert waits[hook.name] <= ended
            running.append(hook)
            started.append(hook.name)
        hook = running.pop(random.randrange(len(running)))
        ended.add(hook.name)
        sorter.done(hook)

    assert sorted(waits) == sorted(started)


@settings(deadline=None)
@given(registrations())
def test_behind_is_the_longest_path(registered: list[tuple[Callable[[], None], object]]) -> None:
    """As many hooks are behind one as could run one after the other once it has ended: the longest path, not a count."""
    waits = expected_needs(registered)

    @functools.cache
    def longest(name: str) -> int:
        return max((1 + longest(other) for other, needed in waits.items() if name in needed), default=0)

    behind = {hook.name: count for hook, count in make_plan(hooks_of(*registered)).behind.items()}
    assert {name: longest(name) for name in waits} == behind


def test_behind_by_example() -> None:
    """Two that wait side by side for a third count as one behind it; a chain of three as two."""
    planned = make_plan(hooks_of((A, None), (B, None), (C, None), (D, "C"), (E, ())))

    assert {"A": 0, "B": 1, "C": 2, "D": 0, "E": 0} == {hook.name: count for hook, count in planned.behind.items()}


# --- which startup hooks a cleanup hook belongs to -------------------------------------------------------------------


def named_resource(name: str) -> Callable[[], Iterator[None]]:
    """A generator function of this name."""

    def function() -> Iterator[None]:
        yield

    function.__name__ = function.__qualname__ = name
    return function


def startups(*kinds: str) -> dict[str, str]:
    """For each shutdown hook the starts it stands for; a hook is called `s...` for startup, `r...` for resource."""
    collection = Hooks()

    async def background() -> None: ...

    for name in kinds:
        if name[0] == "s":
            collection.on_startup(named(name))
        elif name[0] == "r":
            collection.resource(named_resource(name))
        elif name[0] == "b":
            collection.background(background)
        elif name[0] == "x":
            collection.on_exception(named(name))
        else:
            collection.on_shutdown(stage="drain" if name[0] == "d" else "cleanup")(named(name))
    found = startups_of([*collection._hooks()])
    return {hook.name: " ".join(start.name for start in block) for hook, block in found.items()}


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        ("c1", {"c1": ""}),
        ("s1", {}),
        ("s1 c1", {"c1": "s1"}),
        ("c1 s1", {"c1": ""}),
        ("s1 c1 s2 c2", {"c1": "s1", "c2": "s2"}),
        ("s1 s2 c1", {"c1": "s1 s2"}),
        ("s1 s2 c1 c2", {"c1": "s1 s2", "c2": "s1 s2"}),
        ("s1 d1 c1", {"d1": "s1", "c1": "s1"}),
        ("s1 d1 s2 c1", {"d1": "s1", "c1": "s2"}),
        ("r1 c1", {"c1": "r1"}),
        ("r1 r2 c1 c2", {"c1": "r1 r2", "c2": "r1 r2"}),
        ("s1 r1 c1", {"c1": "s1"}),
        ("r1 s1 c1", {"c1": "s1"}),
        ("r1 c1 s1 c2 r2 c3", {"c1": "r1", "c2": "s1", "c3": "r2"}),
        ("s1 b1 x1 c1", {"c1": "s1"}),
        ("s1 c1 b1 x1 c2 s2 x2 s3 c3", {"c1": "s1", "c2": "s1", "c3": "s2 s3"}),
    ],
)
def test_startups_of(registered: str, expected: dict[str, str]) -> None:
    """A shutdown hook stands for the startups since the shutdown hook before them, or for the resources if none."""
    assert expected == startups(*registered.split())


def test_cleanup_without_its_start_is_skipped() -> None:
    """After a start that failed, what was started is cleaned up, and what was not is reported as skipped."""
    app = App()
    ran = []
    app.on_startup(lambda: ran.append("open one"))
    app.on_shutdown(lambda: ran.append("close one"))

    @app.on_startup
    def open_two() -> None:
        raise OSError("no two")

    @app.on_shutdown
    def close_two() -> None:
        ran.append("close two")

    with pytest.raises(OSError, match="no two"):
        app.run(nothing)

    assert ["open one", "close one"] == ran
    assert app.report is not None
    verdicts = {outcome.hook: outcome.verdict for outcome in app.report.outcomes}
    assert "skipped" == verdicts["close_two"]
