"""What cannot be ordered is refused with names and places, before anything runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from support.apps import ENTRANCES, nothing
from support.named import A, B, C, D, hooks_of, named

from graceful import (
    App,
    HookError,
    Hooks,
    OrderError,
)
from graceful._hooks.order import make_plan


@pytest.mark.parametrize("after", [5, 0.5, [A, 5], [None], [[A]]], ids=["int", "float", "among", "None", "nested"])
def test_after_takes_hooks_and_names_only(after: object) -> None:
    """Anything else is refused at decoration, with a message that names the argument and what was got."""
    with pytest.raises(TypeError, match=r"^after must be hooks or their names, got ") as raised:
        Hooks().on_shutdown(after=after)

    assert repr(after[-1] if isinstance(after, list) else after) in str(raised.value)


@pytest.mark.parametrize("reference", ["nobody", named("nobody")], ids=["name", "function"])
def test_unknown_hook(reference: object) -> None:
    """A hook that waits for an unknown name is refused, with both names, the place, and the names that there are."""
    with pytest.raises(OrderError) as raised:
        make_plan(hooks_of((A, None), (B, reference), (C, None)))

    message = str(raised.value)
    assert "B (" in message
    assert "named.py:" in message
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
    """Hooks that wait for each other are named in a circle, first and last the same, and those beside them are not."""
    with pytest.raises(OrderError) as raised:
        make_plan(hooks_of(*registered))

    told = [part.split(" (")[0].split()[-1] for part in str(raised.value).split(" -> ")]
    assert {*members} == {*told}
    assert len(members) + 1 == len(told)
    assert told[0] == told[-1]


def test_cycle_is_shown_in_the_order_of_waiting() -> None:
    """In `A -> B` A is the one that waits."""
    with pytest.raises(OrderError) as raised:
        make_plan(hooks_of((A, "B"), (B, "C"), (C, "A")))

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

    with pytest.raises(OrderError, match=r"B .* runs after 'A', which is not a hook of this stage"):
        app.run(nothing)


def test_base_classes_of_the_errors() -> None:
    """OrderError is a ValueError and HookError a TypeError, so code that knows only those catches them."""
    assert issubclass(OrderError, ValueError)
    assert issubclass(HookError, TypeError)


def test_bad_order_is_refused_before_anything_runs(app):
    """An unknown name in `after=` raises when the app starts, and main was not started."""
    app.on_shutdown(after="nobody")(lambda: None)
    with pytest.raises(OrderError, match="nobody"):
        app.run(asyncio.sleep(0))


def make_cycle(app, other):
    @app.on_shutdown(after="second")
    def first(): ...

    @app.on_shutdown(after=first)
    def second(): ...


def make_unknown(app, other):
    @app.on_shutdown(after=["nobody"])
    def first(): ...


def make_of_another_app(app, other):
    @other.on_shutdown
    def theirs(): ...

    @app.on_shutdown(after=theirs)
    def first(): ...


def make_of_another_app_by_name(app, other):
    @other.on_shutdown
    def theirs(): ...

    @app.on_shutdown(after="theirs")
    def first(): ...


def make_of_another_kind(app, other):
    @app.on_startup
    def start(): ...

    @app.on_shutdown(after=start)
    def first(): ...


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    ("make", "names"),
    [
        (make_cycle, ["first (", "second (", " -> "]),
        (make_unknown, ["first (", "'nobody'"]),
        (make_of_another_app, ["first (", "theirs'"]),
        (make_of_another_app_by_name, ["first (", "'theirs'"]),
        (make_of_another_kind, ["first (", "start'"]),
    ],
)
def test_an_impossible_order_is_refused_by_every_entrance(app, make, names, entrance):
    """Cycles, unknown names and hooks of another app or kind are refused at the start, by name, before anything ran."""
    seen = []
    app.on_startup(lambda: seen.append("startup"))
    app.on_shutdown(lambda: seen.append("shutdown"))
    make(app, App("other"))

    async def main():
        seen.append("main")

    with pytest.raises(OrderError) as refused:
        ENTRANCES[entrance](app, main)

    assert [] == [name for name in names if name not in str(refused.value)]
    assert [] == seen
    assert not app.stopping
