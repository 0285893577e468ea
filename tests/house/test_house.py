"""The house: imports run down, nothing comes from outside, and the shop window shows what it says."""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
import gc
import importlib
import inspect
import os
import pydoc
import subprocess
import sys
import typing
from pathlib import Path
from types import FunctionType

import pytest
from support.doors import DOORS, door_of

import graceful

#: What the shop window shows, and nothing else.
PUBLIC = [
    "App",
    "Cause",
    "Event",
    "EventKind",
    "Failure",
    "GracefulError",
    "HookError",
    "HookTimeout",
    "Hooks",
    "Interrupted",
    "Kind",
    "OrderError",
    "Outcome",
    "Plan",
    "PlannedHook",
    "PlannedStep",
    "Report",
    "StateError",
    "Verdict",
    "app",
    "background",
    "current_app",
    "on_exception",
    "on_shutdown",
    "on_signal",
    "on_startup",
    "resource",
    "run",
]

#: What an import brings besides asyncio and the package itself, and nothing else: each module costs time.
BROUGHT = {"__future__", "_typing", "copy", "dataclasses", "gc", "graphlib", "keyword", "typing", "typing_extensions"}
#: The only distribution that has to be installed.
DEPENDENCIES = {"typing_extensions"}
#: What a room needs that only an extra installs; where it is missing, the program does without the room.
EXTRAS = {"_observe/live_picture": {"rich"}}
#: What is imported with the first run, or through a door, to save start-up time in a program that needs neither.
LATE_WINGS = ("graceful._run", *(f"graceful.{door}" for door in DOORS))

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
            found |= (
                {f"{module}.{alias.name}" for alias in each.names}
                if module in ("graceful", "graceful._core")
                else {module}
            )
    return found


def neighbours(node: ast.AST) -> set[str]:
    """The rooms of this package that are imported anywhere below `node`."""
    return {name.removeprefix("graceful.") for name in imported(node) if name.split(".")[0] in ("graceful", "")}


# --- imports -----------------------------------------------------------------------------------------------------------


#: Imports that say in a comment that they save start-up time.
LATE = {
    "__init__": {"_observe.plan", "_observe.planned"},
    "_app": {
        "_core.deadline",
        "_loop.critical",
        "_loop.new_loop",
        "_process.handlers",
        "_run.embedded",
        "_run.planning",
        "_run.run",
        "_run.runner",
    },
    "_default_app": {"_observe.log"},
    "__main__": {"_doctor.command", "_plan.command"},
    "_observe/plan": {"_observe.plan_formats", "_observe.plan_picture"},
    "_observe/report": {"_observe.formats", "_observe.picture"},
    "_plan/documents": {"_plan.yaml_loader"},
    "pytest_plugin": {"_app", "testing", "testing._simulate"},
    "_observe/live": {"_observe.live_picture"},
    "_run/run": {"_observe.systemd", "_observe.live_state", "_run.live_rows"},
    "_run/view": {"_observe.live", "_observe.live_state"},
}


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
    """The package needs the standard library, itself and its one dependency; a door what it is a door to, besides."""
    roots = {name.split(".")[0] for name in imported(tree(room))}
    further = DOORS.get(door_of(room), set()) | EXTRAS.get(room, set())

    assert set() == roots - sys.stdlib_module_names - {"graceful"} - DEPENDENCIES - further


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_private(room: str) -> None:
    """Only `graceful` itself and its doors are for users: every other folder and file begins with an underscore."""
    door = door_of(room)

    assert room.startswith("_") or room == door or room.removeprefix(f"{door}/").startswith("_")


#: The doors that are imported by users.
PUBLIC_DOORS = [door for door in DOORS if not door.startswith("_")]


@pytest.mark.parametrize("door", PUBLIC_DOORS)
def test_public_names_of_a_door_are_documented(door: str) -> None:
    """So is each name that a door shows, with the methods of its classes; and a class is shown as belonging to the door."""
    module = importlib.import_module(f"graceful.{door}")
    public = {name: getattr(module, name) for name in module.__all__}
    classes = [each for each in public.values() if isinstance(each, type)]
    methods = {
        f"{each.__name__}.{name}": inspect.unwrap(value) if callable(value) else value
        for each in classes
        for name, value in vars(each).items()
        if not name.startswith("_") and isinstance(value, (FunctionType, property, classmethod))
    }

    assert [] == [name for name, each in {"module": module, **public, **methods}.items() if "" == written(each)]
    assert [f"graceful.{door}"] * len(classes) == [each.__module__ for each in classes]


# --- the shop window ---------------------------------------------------------------------------------------------------


def test_the_shop_window() -> None:
    """What is public is decided here, is there, and is what `import *` brings."""
    namespace: dict[str, object] = {}
    exec("from graceful import *", namespace)

    assert sorted(PUBLIC) == sorted(graceful.__all__)
    assert {*PUBLIC} == namespace.keys() - {"__builtins__"}


def test_nothing_else_is_shown() -> None:
    """Besides it, the package has doors, which show once they are imported, rooms, and names with an underscore."""
    shown = {name for name in vars(graceful) if not name.startswith(("_", "@"))}  # pytest rewrites what has a plugin

    assert {*PUBLIC} == shown - {*DOORS}


@pytest.mark.parametrize("name", CLASSES)
def test_public_module(name: str) -> None:
    """Tracebacks, `help()` and pickles show a class as `graceful.Name`."""
    public = getattr(graceful, name)

    assert ("graceful", name) == (public.__module__, public.__qualname__)


def test_the_default_app_is_the_one_behind_the_functions() -> None:
    """The decorators for scripts are the methods of one app, `graceful.app`; `run` runs that one."""
    functions = [
        getattr(graceful, name) for name in PUBLIC if name.islower() and name not in ("app", "run", "current_app")
    ]

    assert 6 == len(functions)
    assert [graceful.app] * 6 == [function.__self__ for function in functions]
    assert inspect.signature(graceful.app.run) == inspect.signature(graceful.run)


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
    """`import graceful` brings little that `import asyncio` has not brought already, and nothing that runs an app."""
    source = "import sys, asyncio; before = {*sys.modules}; import graceful; print(*sorted({*sys.modules} - before))"
    printed = subprocess.run(
        [sys.executable, "-S", "-c", source],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    ).stdout
    brought = {*printed.split()}

    assert "graceful._app" in brought
    assert set() == {name for name in brought if name.split(".")[0] != "graceful"} - BROUGHT
    assert set() == {name for name in brought if name.startswith(LATE_WINGS)}
    assert set() == brought & {"graceful._observe.plan", "graceful._observe.planned"}


@pytest.mark.parametrize("name", methods())
def test_type_hints_can_be_read(name: str) -> None:
    """`typing.get_type_hints` works on every public method: at run time, and without the type checkers' imports."""
    owner, _, attribute = name.partition(".")
    method = inspect.getattr_static(getattr(graceful, owner), attribute)
    function = inspect.unwrap(method.fget if isinstance(method, property) else method)

    assert "return" in typing.get_type_hints(function)


@pytest.mark.parametrize("name", CLASSES)
def test_type_hints_of_a_class_can_be_read(name: str) -> None:
    """The same for every public class."""
    typing.get_type_hints(getattr(graceful, name))


def test_help_shows_the_public_names_first() -> None:
    """`help(graceful)` begins with what there is for users, before the private folders."""
    text = pydoc.plain(pydoc.render_doc(graceful))
    first = text.partition("PACKAGE CONTENTS")[0]

    assert [] == [name for name in PUBLIC if name not in first]
    assert "<object object" not in text


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
    """Too few, too many, twice the same or an unknown one: a TypeError."""
    names = fact.__match_args__
    for given, named in [((), {}), ((1,) * (len(names) + 1), {}), ((1, 1), {names[0]: 1}), ((1, 1, 1), {"other": 1})]:
        with pytest.raises(TypeError):
            fact(*given, **named)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace came with 3.13")
def test_a_copy_with_changes() -> None:
    """Where `copy` can replace some fields, it does."""
    assert 3.0 == copy.replace(graceful.Cause(graceful.Kind.SIGNAL, 1.0), at=3.0).at
