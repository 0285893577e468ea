"""The order of hooks: which wait for which, how many wait behind each, and which starts a cleanup stands for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceful import App, HookError, Hooks, OrderError
from graceful._hook import Hook
from graceful._plan import Plan, plan, startups_of


def named(name: str) -> Callable[[], None]:
    """A function of this name."""

    def function() -> None: ...

    function.__name__ = function.__qualname__ = name
    return function


def named_resource(name: str) -> Callable[[], Iterator[None]]:
    """A generator function of this name."""

    def function() -> Iterator[None]:
        yield

    function.__name__ = function.__qualname__ = name
    return function


def hooks_of(*registered: tuple[Callable[[], None], object]) -> list[Hook]:
    """These functions as shutdown hooks, in the order of registration, each with its `after`."""
    collection = Hooks()
    for function, after in registered:
        collection.on_shutdown(after=after)(function)
    return [*collection._hooks()]


def needs(planned: Plan) -> dict[str, set[str]]:
    """The names of the hooks that each waits for."""
    return {hook.name: {needed.name for needed in planned.needs[hook]} for hook in planned.needs}


def in_turn(planned: Plan) -> list[list[str]]:
    """The names of the hooks, in groups that may run side by side."""
    sorter = planned.sorter()
    groups = []
    while sorter.ready:
        ready = [*sorter.ready]
        sorter.ready.clear()
        groups.append(sorted(hook.name for hook in ready))
        for hook in ready:
            sorter.done(hook)
    return groups


async def nothing() -> None:
    """A main that returns at once."""


A, B, C, D, E = (named(name) for name in "ABCDE")


# --- the chain ---------------------------------------------------------------------------------------------------------


def test_default_is_a_chain_reversed() -> None:
    """Hooks that say nothing run one at a time, the last registered first."""
    assert [["D"], ["C"], ["B"], ["A"]] == in_turn(plan(hooks_of((A, None), (B, None), (C, None), (D, None))))


def test_no_hooks() -> None:
    """A stage without hooks is a plan without steps."""
    planned = plan([])

    assert ({}, {}) == (planned.needs, planned.behind)
    assert not planned.sorter().ready


def test_same_function_twice() -> None:
    """A function that was registered twice is two hooks, and runs twice."""
    assert [["A"], ["B"], ["A"]] == in_turn(plan(hooks_of((A, None), (B, None), (A, None))))


def test_plan_can_be_walked_again() -> None:
    """An app runs more than once, and so each sorter is a new one."""
    planned = plan(hooks_of((A, None), (B, None)))

    assert [["B"], ["A"]] == in_turn(planned) == in_turn(planned)


# --- after -------------------------------------------------------------------------------------------------------------


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
    planned = plan(hooks_of((A, None), (B, None), (C, None), (D, after)))

    assert expected == needs(planned)["D"]


def test_after_leaves_the_chain_closed() -> None:
    """A hook with `after` stands beside the chain: the hooks around it wait for each other, not for it."""
    planned = plan(hooks_of((A, None), (B, "A"), (C, None), (D, ()), (E, None)))

    assert {"A": {"C"}, "B": {"A"}, "C": {"E"}, "D": set(), "E": set()} == needs(planned)


def test_after_one_that_is_registered_later() -> None:
    """A hook may wait for one that was registered after it, or before it."""
    assert [["C"], ["B"], ["A"]] == in_turn(plan(hooks_of((A, "B"), (B, "C"), (C, None))))


def test_after_a_name_that_several_have() -> None:
    """A name that several hooks have means all of them."""
    first, second = named("close"), named("close")
    hooks = hooks_of((first, None), (second, None), (A, "close"), (B, first))
    planned = plan(hooks)

    assert {*hooks[:2]} == {*planned.needs[hooks[2]]}
    assert {hooks[0]} == {*planned.needs[hooks[3]]}


class Pool:
    """Something with a method to close it."""

    def close(self) -> None: ...


@pytest.mark.parametrize("reference", ["close", "Pool.close"])
def test_after_short_or_qualified_name(reference: str) -> None:
    """A method answers to its name and to its qualified name, without the functions that its class was defined in."""
    hooks = hooks_of((Pool().close, None), (A, reference))

    assert (hooks[0],) == plan(hooks).needs[hooks[1]]


def test_after_a_bound_method() -> None:
    """A bound method is made anew at each look, and means the same hook; that of another object does not."""
    one, other = Pool(), Pool()
    hooks = hooks_of((one.close, None), (other.close, None), (A, one.close))

    assert (hooks[0],) == plan(hooks).needs[hooks[2]]


def test_after_a_partial() -> None:
    """A hook that was registered as a partial is meant by that very object."""
    bound = functools.partial(named("close"))
    hooks = hooks_of((bound, None), (A, bound))

    assert (hooks[0],) == plan(hooks).needs[hooks[1]]


@pytest.mark.parametrize("after", [5, 0.5, [A, 5], [None], [[A]]], ids=["int", "float", "among", "None", "nested"])
def test_after_takes_hooks_and_names_only(after: object) -> None:
    """Anything else is refused at decoration, with a message that names the argument and what was got."""
    with pytest.raises(TypeError, match=r"^after must be hooks or their names, got ") as raised:
        Hooks().on_shutdown(after=after)

    assert repr(after[-1] if isinstance(after, list) else after) in str(raised.value)


# --- what cannot be ordered --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["nobody", named("nobody")], ids=["name", "function"])
def test_unknown_hook(reference: object) -> None:
    """Who waits for what is no hook is told so with both names, where he stands, and what there is."""
    with pytest.raises(OrderError) as raised:
        plan(hooks_of((A, None), (B, reference), (C, None)))

    message = str(raised.value)
    assert "B (" in message
    assert f"{__name__.rpartition('.')[2]}.py:" in message
    assert "'nobody'" in message
    assert "there are: A, C" in message


@pytest.mark.parametrize(
    ("registered", "members"),
    [
        ([(A, "A")], "A"),
        ([(A, "B"), (B, "A"), (C, None)], "AB"),
        ([(A, "C"), (B, ("A", "D")), (C, B), (D, None)], "ABC"),
    ],
    ids=["itself", "two", "three"],
)
def test_cycle(registered: Sequence[tuple[Callable[[], None], object]], members: str) -> None:
    """Hooks that wait for each other are told by name, first and last the same, and those beside them are not."""
    with pytest.raises(OrderError) as raised:
        plan(hooks_of(*registered))

    told = [part.split(" (")[0].split()[-1] for part in str(raised.value).split(" -> ")]
    assert {*members} == {*told}
    assert len(members) + 1 == len(told)
    assert told[0] == told[-1]


def test_cycle_is_told_in_the_order_of_waiting() -> None:
    """In `A -> B` A is the one that waits."""
    with pytest.raises(OrderError) as raised:
        plan(hooks_of((A, "B"), (B, "C"), (C, "A")))

    told = "".join(part.split(" (")[0].split()[-1] for part in str(raised.value).split(" -> "))
    assert told in "ABCABC"


@pytest.mark.parametrize("stage", ["drain", "cleanup"])
def test_run_refuses_before_anything_starts(stage: str) -> None:
    """Cycles and unknown names raise when the app starts: no startup hook and no main has run, and none is left over."""
    app = App()
    ran = []
    app.on_startup(lambda: ran.append("startup"))
    app.on_shutdown(after="nobody", stage=stage)(A)

    async def main() -> None:
        ran.append("main")

    with pytest.raises(OrderError, match="nobody"):
        app.run(main())

    assert [] == ran


@pytest.mark.parametrize(("stage", "other"), [("drain", "cleanup"), ("cleanup", "drain")])
def test_after_does_not_reach_into_another_stage(stage: str, other: str) -> None:
    """Stages follow one another anyway: a name from another one is unknown, and the message says that."""
    app = App()
    app.on_shutdown(stage=other)(A)
    app.on_shutdown(stage=stage, after=A)(B)

    with pytest.raises(OrderError, match=r"B .* runs after 'A', which is no hook of this stage"):
        app.run(nothing)


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


# --- any order there can be --------------------------------------------------------------------------------------------


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
def test_needs_are_what_was_said(registered: list[tuple[Callable[[], None], object]]) -> None:
    """Each hook of the chain waits for the next one registered without `after`, each other one for what it names."""
    assert expected_needs(registered) == needs(plan(hooks_of(*registered)))


@settings(deadline=None)
@given(registrations(), st.randoms(use_true_random=False))
def test_every_hook_once_and_after_what_it_needs(registered, random) -> None:
    """However long each takes, the sorter hands out every hook exactly once, and never before what it waits for."""
    planned = plan(hooks_of(*registered))
    waits = expected_needs(registered)
    sorter = planned.sorter()
    running: list[Hook] = []
    started: list[str] = []
    ended: set[str] = set()
    while sorter.ready or running:
        while sorter.ready:
            hook = sorter.ready.popleft()
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

    behind = {hook.name: count for hook, count in plan(hooks_of(*registered)).behind.items()}
    assert {name: longest(name) for name in waits} == behind


def test_behind_by_example() -> None:
    """Two that wait side by side for a third count as one behind it; a chain of three as two."""
    planned = plan(hooks_of((A, None), (B, None), (C, None), (D, "C"), (E, ())))

    assert {"A": 0, "B": 1, "C": 2, "D": 0, "E": 0} == {hook.name: count for hook, count in planned.behind.items()}


# --- which starts a cleanup stands for ---------------------------------------------------------------------------------


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


def test_errors_are_of_one_tree() -> None:
    """A wrong order is a ValueError, a wrong hook a TypeError, so that whoever knows only those catches them."""
    assert issubclass(OrderError, ValueError)
    assert issubclass(HookError, TypeError)
