"""The examples: each does what its first lines say, as its reader would see it."""

from __future__ import annotations

import ast
import importlib.util
import re
import signal
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"


EXAMPLES = sorted(FOLDER.glob("[0-9]*.py"))


PRINTS = re.compile(r"^Prints:\n\n((?:[ ]{4}.*\n|\n(?=[ ]{4}))+)", re.MULTILINE)


NEEDS = re.compile(r"^Needs (\w+)\.$", re.MULTILINE)


STATUS = re.compile(r"^Exit status: (?:(\d+)|death by (SIG[A-Z]+))([^\n]*)", re.MULTILINE)


@dataclass(frozen=True)
class Promise:
    """What a docstring promises. `err`: parts of stderr; none: it is empty."""

    prints: str
    status: int
    err: tuple[str, ...]


def promise_of(docstring: str) -> Promise:
    """The block after the line `Prints:`, and the line `Exit status: 1. On stderr: `this`, `that`.`"""
    prints, status = PRINTS.search(docstring + "\n"), STATUS.search(docstring)
    assert prints, "the docstring has no block after a line `Prints:`"
    assert status, "the docstring has no line such as `Exit status: 0.` or `Exit status: death by SIGINT.`"
    number, name, more = status.groups()
    err = tuple(re.findall(r"`([^`]+)`", more)) if "On stderr" in more else ()
    return Promise(textwrap.dedent(prints[1]), int(number) if number else -signal.Signals[name], err)


def missing(docstring: str) -> list[str]:
    """What the line `Needs uvicorn.` names, where it is not installed."""
    return [name for name in NEEDS.findall(docstring) if importlib.util.find_spec(name) is None]


def test_there_are_examples() -> None:
    """The numbered examples are where the README says they are."""
    assert [f"{number:02}" for number in range(1, len(EXAMPLES) + 1)] == [path.name[:2] for path in EXAMPLES]
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_does_what_it_says(path: Path, play: Callable) -> None:
    """An example prints what its docstring says, ends with that status, and says nothing else on stderr."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    promise = promise_of(docstring)
    for name in missing(docstring):
        pytest.skip(f"{path.name} needs {name}, which is not installed")
    ended = play(path, promise.prints)
    assert promise.prints.replace("^C\n", "") == ended.out
    assert promise.status == ended.status, ended.err
    assert [] == [part for part in promise.err if part not in ended.err], ended.err
    assert promise.err or "" == ended.err
    assert (promise.status == 1) == ("Traceback" in ended.err), ended.err


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_to_run_it(path: Path) -> None:
    """The command in an example's docstring is for that very file."""
    assert f"    python examples/{path.name}" in (ast.get_docstring(ast.parse(path.read_text())) or "")


@pytest.mark.parametrize(
    "docstring",
    ["What it shows.\n\nExit status: 0.", "What it shows.\n\nPrints:\n\nExit status: 0.", "Prints:\n\n    this\n"],
    ids=["no block", "an empty block", "no status"],
)
def test_an_example_that_promises_nothing_is_refused(docstring: str) -> None:
    """An example cannot pass by saying nothing."""
    with pytest.raises(AssertionError, match="the docstring has no"):
        promise_of(docstring)


def test_the_promised_output_is_read_exactly() -> None:
    """Blank lines and indentation inside the block are part of what is promised; what follows it is not."""
    docstring = "Prints:\n\n    one\n\n      two\n    ^C\n\nExit status: death by SIGINT. On stderr: `a b`, `c`."
    assert Promise("one\n\n  two\n^C\n", -signal.SIGINT, ("a b", "c")) == promise_of(docstring)


def test_only_what_is_missing_skips_an_example() -> None:
    """An example is skipped for what it says it needs and is not installed, and for nothing else."""
    assert ["no_such_library"] == missing(
        "It shows.\n\nNeeds no_such_library.\nNeeds asyncio.\n\nNeeds a word with_more.\n"
    )
    assert [] == missing("It needs nothing.")
