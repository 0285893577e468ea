"""The house: imports run down, nothing comes from outside, and the shop window shows what it says."""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
import gc
import graphlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

import graceful

#: Every room and the floor it is on. A room imports from lower floors only, so two on the same floor know nothing of
#: each other. Whoever adds a room decides here where it belongs.
FLOORS = {
    # the shop window
    "__init__": 11,
    # the face: decorators, entrances, the default app
    "_app": 10,
    # the heart: who owns loop, signals and process; the life inside the loop
    "_guest": 9,
    "_runner": 8,
    "_life": 7,
    # what fails, and who runs now
    "_failures": 6,
    "_turns": 5,
    # order: one sighting after the other, one hook after the other, every task to its end
    "_inbox": 4,
    "_residence": 4,
    "_walk": 4,
    "_console": 3,
    "_hooks": 3,
    "_journal": 3,
    "_plan": 3,
    "_turn": 3,
    # rules and edges: what a hook is, what a report says, how a process ends
    "_exit": 2,
    "_hook": 2,
    "_report": 2,
    "_crashes": 2,
    "_tasks": 2,
    "_alarm": 1,
    "_errors": 1,
    "_patience": 1,
    "_watchdog": 1,
    # the ground: arithmetic, tables, nouns, and edges that know of nothing but the interpreter
    "_arguments": 0,
    "_budget": 0,
    "_critical": 0,
    "_executor": 1,
    "_machine": 0,
    "_model": 0,
    "_overlay": 0,
    "_pace": 0,
    "_signals": 0,
    "_stacks": 0,
    "_stragglers": 0,
}

#: What the shop window shows, and nothing else.
PUBLIC = [
    "App",
    "Cause",
    "Failure",
    "GracefulError",
    "HookError",
    "HookTimeout",
    "Hooks",
    "Interrupted",
    "Kind",
    "OrderError",
    "Outcome",
    "Report",
    "StateError",
    "Verdict",
    "app",
    "background",
    "on_exception",
    "on_shutdown",
    "on_signal",
    "on_startup",
    "resource",
    "run",
]

#: What an import brings besides asyncio, and nothing else: each module costs a part of a millisecond or more.
BROUGHT = {"__future__", "gc"}
#: What is imported with the first run only.
LATE_ROOMS = {
    "_guest",
    "_runner",
    "_life",
    "_failures",
    "_turns",
    "_walk",
    "_turn",
    "_residence",
    "_watchdog",
    "_crashes",
    "_patience",
}

HOUSE = Path(graceful.__file__).parent
ROOMS = sorted(path.relative_to(HOUSE).with_suffix("").as_posix() for path in HOUSE.rglob("*.py"))
CLASSES = [name for name in PUBLIC if isinstance(getattr(graceful, name, None), type)]


@functools.cache
def tree(room: str) -> ast.Module:
    """The source of a room, parsed."""
    gc.disable()  # a task of another test that is let go amid this is told with a traceback, for which 3.11 parses, too
    try:
        return ast.parse((HOUSE / f"{room}.py").read_text(encoding="utf-8"))
    finally:
        gc.enable()


def imported(node: ast.AST) -> set[str]:
    """The full names of the modules that are imported anywhere below `node`; a relative one begins with a dot."""
    found: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            found |= {alias.name for alias in each.names}
        elif isinstance(each, ast.ImportFrom):
            module = "." * each.level + (each.module or "")
            # `from graceful import _hooks` imports the room and not a name from it
            found |= {f"{module}.{alias.name}" for alias in each.names} if module == "graceful" else {module}
    return found


def neighbours(node: ast.AST) -> set[str]:
    """The rooms of this package that are imported anywhere below `node`."""
    return {name.removeprefix("graceful.") for name in imported(node) if name.split(".")[0] in ("graceful", "")}


# --- floors ------------------------------------------------------------------------------------------------------------


def test_every_room_has_a_floor() -> None:
    """The table above names the rooms that there are."""
    assert sorted(FLOORS) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_down(room: str) -> None:
    """A room imports from lower floors only."""
    above = {other: FLOORS.get(other) for other in neighbours(tree(room)) if FLOORS.get(other, 99) >= FLOORS[room]}

    assert {} == above


@pytest.mark.parametrize("room", [room for room in ROOMS if FLOORS.get(room)])
def test_no_floor_hangs_in_the_air(room: str) -> None:
    """A room that is not on the ground stands right on the highest of those that it imports."""
    below = max((FLOORS.get(other, 0) for other in neighbours(tree(room))), default=-1)

    assert FLOORS[room] - 1 == below


def test_no_cycles() -> None:
    """Whatever the table says, the imports have an order."""
    graph = {room: neighbours(tree(room)) for room in ROOMS}

    assert {*ROOMS} == {*graphlib.TopologicalSorter(graph).static_order()}


#: Imports that say in a comment that they save start-up time: the face imports the heart when something is run, and at
#: run time what stands in for typing's `overload`.
LATE = {"_app": {"_guest", "_hooks", "_life", "_runner"}}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_are_at_the_top(room: str) -> None:
    """No import of a room hides in a function or a condition, where it could dodge a cycle."""
    module = tree(room)
    top = {id(node) for node in module.body}
    hidden = [
        node for node in ast.walk(module) if isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in top
    ]

    assert LATE.get(room, set()) == {name for node in hidden for name in neighbours(node)}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_are_written_out(room: str) -> None:
    """Rooms are imported by their full name, and no module is imported by a string."""
    module = tree(room)
    called = {ast.unparse(node.func) for node in ast.walk(module) if isinstance(node, ast.Call)}

    assert [] == [name for name in imported(module) if name.startswith(".")]
    assert set() == called & {"__import__", "import_module", "importlib.import_module", "importlib.__import__"}


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_comes_from_outside(room: str) -> None:
    """The package needs the standard library and itself, nothing that would have to be installed."""
    roots = {name.split(".")[0] for name in imported(tree(room))}

    assert set() == roots - sys.stdlib_module_names - {"graceful"}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_private(room: str) -> None:
    """Who imports `graceful.something` finds the shop window: every room's name begins with an underscore."""
    assert room.startswith("_")


# --- the shop window ---------------------------------------------------------------------------------------------------


def test_the_shop_window() -> None:
    """What is public is decided here, is there, and is what `import *` brings."""
    namespace: dict[str, object] = {}
    exec("from graceful import *", namespace)

    assert sorted(PUBLIC) == sorted(graceful.__all__)
    assert {*PUBLIC} == namespace.keys() - {"__builtins__"}


def test_nothing_else_is_shown() -> None:
    """Besides it, the package has rooms, and names with an underscore."""
    shown = {name for name in vars(graceful) if not name.startswith("_")}

    assert {*PUBLIC} == shown


@pytest.mark.parametrize("name", CLASSES)
def test_public_module(name: str) -> None:
    """Tracebacks, `help()` and pickles show a class as `graceful.Name`."""
    public = getattr(graceful, name)

    assert ("graceful", name) == (public.__module__, public.__qualname__)


def test_the_default_app_is_the_one_behind_the_functions() -> None:
    """The functions for scripts are the methods of one app, `graceful.app`."""
    functions = [getattr(graceful, name) for name in PUBLIC if name.islower() and name != "app"]

    assert 7 == len(functions)
    assert [graceful.app] * 7 == [function.__self__ for function in functions]


def written(thing: object) -> str:
    """A docstring that somebody wrote for this very thing: not inherited, not made by `dataclass` or by `object`."""
    doc = (vars(thing).get("__doc__") if isinstance(thing, type) else getattr(thing, "__doc__", None)) or ""
    made = isinstance(thing, type) and doc.startswith(f"{thing.__name__}(")
    return "" if made else doc.strip()


@pytest.mark.parametrize("name", ["graceful", *PUBLIC])
def test_public_names_are_documented(name: str) -> None:
    """Every public name has a docstring of its own."""
    public = graceful if name == "graceful" else getattr(graceful, name)

    assert "" != written(type(public) if name == "app" else public)


def methods() -> list[str]:
    """`Class.method` for every public method and property of a public class, special ones that make an entrance too."""
    entrances = {"__aenter__", "__aexit__"}
    return [
        f"{name}.{attribute}"
        for name in CLASSES
        for attribute, value in vars(getattr(graceful, name)).items()
        if (not attribute.startswith("_") or attribute in entrances)
        and isinstance(inspect.unwrap(value) if callable(value) else value, (FunctionType, property))
    ]


@pytest.mark.parametrize("method", methods())
def test_public_methods_are_documented(method: str) -> None:
    """Every public method and property of a public class has a docstring."""
    owner, _, attribute = method.partition(".")

    assert "" != written(vars(getattr(graceful, owner))[attribute])


def test_methods_are_found() -> None:
    """The test before this one looks at what there is: decorators, entrances, properties and context managers."""
    assert {"Hooks.on_shutdown", "App.run", "App.stopping", "App.lifespan", "App.__aenter__"} <= {*methods()}


def test_what_the_import_brings() -> None:
    """`import graceful` brings next to nothing that `import asyncio` has not brought already, and not the heart."""
    source = "import sys, asyncio; before = {*sys.modules}; import graceful; print(*sorted({*sys.modules} - before))"
    printed = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True).stdout
    brought = {*printed.split()}

    assert "graceful._app" in brought
    assert BROUGHT >= {name for name in brought if name.split(".")[0] != "graceful"}
    assert set() == {f"graceful.{room}" for room in LATE_ROOMS} & brought


FACTS = [graceful.Cause, graceful.Failure, graceful.Outcome, graceful.Report]


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_is_a_frozen_dataclass(fact: type) -> None:
    """For whoever asks, what travels is a dataclass with the fields that its docstring names, and nobody can change it."""
    names = [field.name for field in dataclasses.fields(fact)]
    values = dict.fromkeys(names, 1.0)
    made = fact(**values)

    changed = dataclasses.replace(made, **{names[0]: 2.0})
    assert values == {name: getattr(made, name) for name in names}
    assert {**values, names[0]: 2.0} == {name: getattr(changed, name) for name in names}
    assert names == list(fact.__match_args__)
    assert made != copy.copy(made)
    for change in (lambda: setattr(made, names[0], 2.0), lambda: delattr(made, names[0])):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_takes_its_fields_and_nothing_else(fact: type) -> None:
    """Too few, too many, twice the same or an unknown one: an error that names the fields."""
    names = fact.__match_args__
    for given, named in [((), {}), ((1,) * (len(names) + 1), {}), ((1, 1), {names[0]: 1}), ((1, 1, 1), {"other": 1})]:
        with pytest.raises(TypeError, match=f"takes {names[0]}, {names[1]}"):
            fact(*given, **named)


def test_a_fact_never_changes_before_anybody_asked() -> None:
    """It is frozen from the start, not only when `dataclasses` has looked at it."""
    program = """
from graceful import Cause, Kind
try: Cause(Kind.SIGNAL, 1.0).at = 2
except AttributeError as error: print(repr(error))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "FrozenInstanceError('cannot change at of a Cause')\n" == ended.stdout


def test_a_fact_of_ones_own() -> None:
    """Who derives from a fact adds fields to it; and where `copy` can replace some, it does."""

    class Mine(graceful.Cause):
        more: int = 0

    made = Mine(graceful.Kind.SIGNAL, 1.0, more=2)
    assert (1.0, None, 2) == (made.at, made.signal, made.more)
    if sys.version_info >= (3, 13):
        assert 3.0 == copy.replace(made, at=3.0).at
