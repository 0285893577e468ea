"""The wings of the package: imports run down, between the folders and inside each of them."""

from __future__ import annotations

import ast
import functools
import graphlib
from pathlib import Path

import pytest
from support.doors import DOORS, door_of

import graceful

#: From the top down. Wings in one row know nothing of each other. The doors are above them: see `support.doors`.
WINGS = [["_run"], ["_hooks"], ["_loop", "_observe"], ["_process"], ["_core"]]

PACKAGE = Path(graceful.__file__).parent
FLOOR = {wing: floor for floor, row in enumerate(reversed(WINGS)) for wing in row}
#: Every room, as `wing/room`; what lies outside the wings by its file's name.
ROOMS = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))
#: The doors that are folders.
HALLS = [door for door in DOORS if f"{door}/__init__" in ROOMS]


@functools.cache
def imports_of(room: str) -> frozenset[str]:
    """The rooms of the package that a room imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from graceful._core import clock` imports a room, not a name from one.
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {"." * node.level + (node.module or "")}
    named = {
        name.removeprefix("graceful.").replace(".", "/") for name in found if name.split(".")[0] in ("graceful", "")
    }
    packages = {f"{name}/__init__" for name in named}  # `from graceful.testing import explore`
    return frozenset((named | packages) & {*ROOMS} - {room})


def wing_of(room: str) -> str:
    return room.rpartition("/")[0]


def test_every_folder_is_a_wing() -> None:
    """The order above names the folders that there are, but for doors; a new one gets its place there."""
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert folders == {*FLOOR, *HALLS}


def test_every_door_is_there() -> None:
    """The list of the doors names no folder or file that there is not."""
    assert [*DOORS] == [door for door in DOORS if door in ROOMS or door in HALLS]


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_imports_a_door(room: str) -> None:
    """A door is opened from outside only: neither a wing nor `App` nor `__init__` imports one, and a door only those below it."""
    door = door_of(room)
    below = [*DOORS][[*DOORS].index(door) :] if door is not None else []

    assert set() == {other for other in imports_of(room) if door_of(other) not in (None, *below)}


@pytest.mark.parametrize("room", [room for room in ROOMS if wing_of(room) in FLOOR])
def test_imports_run_down_between_wings(room: str) -> None:
    """A room imports from its own wing and from lower ones, and never what lies above the wings."""
    floor = FLOOR[wing_of(room)]
    others = {other for other in imports_of(room) if wing_of(other) != wing_of(room)}

    assert set() == {other for other in others if FLOOR.get(wing_of(other), len(FLOOR)) >= floor}


@pytest.mark.parametrize("wing", [*FLOOR, *HALLS])
def test_imports_run_down_inside_a_wing(wing: str) -> None:
    """The imports inside a wing have an order: no two rooms import each other, by whatever detour."""
    graph = {
        room: {other for other in imports_of(room) if wing_of(other) == wing} for room in ROOMS if wing_of(room) == wing
    }

    assert {*graph} == {*graphlib.TopologicalSorter(graph).static_order()}


def test_the_map_names_every_room() -> None:
    """CONTRIBUTING.md has each room in the row of its wing or door; a door that is a file has a row, too."""
    page = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    rows = {wing: next(line for line in lines if line.startswith(f"| `{wing}/` |")) for wing in [*FLOOR, *HALLS]}

    assert [] == [door for door in {*DOORS} - {*HALLS} if not any(line.startswith(f"| `{door}` |") for line in lines)]
    rooms = [room for room in ROOMS if wing_of(room) and not room.endswith("__init__")]
    assert [] == [room for room in rooms if f"`{room.partition('/')[2]}`" not in rows[wing_of(room)]]


def test_the_imports_are_found() -> None:
    """The tests above look at what there is."""
    assert "_core/clock" in imports_of("_process/watchdog")
    assert "_core/deadline" in imports_of("_process/watchdog")
    assert "_run/runner" in imports_of("_app")
    assert "_doctor/command" in imports_of("__main__")
    assert "testing/__init__" in imports_of("pytest_plugin")


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "_core/clock"])
def test_there_is_one_clock(room: str) -> None:
    """The time is read in one room, `_core/clock`, which tests replace once."""
    calls = [
        node.func for node in ast.walk(ast.parse((PACKAGE / f"{room}.py").read_text())) if isinstance(node, ast.Call)
    ]
    read = {ast.unparse(call) for call in calls}

    assert set() == read & {"time.monotonic", "time.time", "time.perf_counter", "loop.time", "self._loop.time"}


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "_core/asyncio_private"])
def test_private_names_of_asyncio_are_in_one_room(room: str) -> None:
    """Only `_core/asyncio_private` leans on names that asyncio does not document."""
    private = {
        "_log_traceback", "_callbacks", "_source_traceback", "_coro", "_fut_waiter", "_log_destroy_pending",
        "_unregister_task", "_GatheringFuture", "_children", "_wait_", "_queue", "_parent_task", "_on_sigint",
        "_callback", "_default_executor",
    }  # fmt: skip
    nodes = [*ast.walk(ast.parse((PACKAGE / f"{room}.py").read_text()))]
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) != "self"}
    looked_up = {
        node.args[1].value
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr") and len(node.args) > 1
        if isinstance(node.args[1], ast.Constant)
    }

    assert set() == private & (attributes | looked_up)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for(room: str) -> None:
    """Each file begins with a docstring, whose first line is a sentence or a heading of one line."""
    text = ast.get_docstring(ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8")))

    assert text
    assert text.partition("\n")[0].endswith((".", ":", ",")) or "\n" in text


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_is_planted_on_other_objects(room: str) -> None:
    """An object's attributes are set by its own methods: what it works with comes in by its constructor."""
    allowed = {"sys.excepthook", "holder.it", "public.__module__", "_public.__module__", "task._log_destroy_pending", "raised.__context__",
               "self.error.__context__", "loop._signal_handlers", "loop._ready"}  # fmt: skip
    planted = {
        ast.unparse(target)
        for node in ast.walk(ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8")))
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) != "self"
    }

    assert set() == planted - allowed


def depth(node: ast.AST) -> int:
    """How many attributes are looked up one after the other: 3 for `self.x.y.z`."""
    return 1 + depth(node.value) if isinstance(node, ast.Attribute) else 0


@pytest.mark.parametrize("room", ROOMS)
def test_nobody_reaches_through_a_neighbour(room: str) -> None:
    """A method asks its collaborators; it does not reach through their parts: no `self.x.y.z`."""
    tree = ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8"))
    reached = {
        ast.unparse(node) for node in ast.walk(tree) if depth(node) > 2 and ast.unparse(node).startswith("self.")
    }

    assert set() == reached
