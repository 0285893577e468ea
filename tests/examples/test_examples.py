"""The examples: each does what its first lines say, as its reader would see it."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.programs import LOOPS, uvloop

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


#: The examples in which Ctrl-C is pressed on a program at work, and their status after SIGTERM instead.
AT_WORK = {
    "01_hello": 0,
    "11_server_in_app": 0,
    "13_client_in_resource": -signal.SIGTERM,
    "14_fastapi": -signal.SIGTERM,
    "15_threads": -signal.SIGTERM,
    "17_live_view": 0,
    "22_fastapi_in_app": 0,
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("name", AT_WORK)
def test_an_example_loses_nothing(name: str, number: signal.Signals, play: Callable, loop: str) -> None:
    """An example does at SIGTERM what it does at Ctrl-C, on each loop; only the status is another."""
    path = FOLDER / f"{name}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    promise = promise_of(docstring)
    for missed in missing(docstring):
        pytest.skip(f"{path.name} needs {missed}, which is not installed")
    ended = play(path, promise.prints, number=number, loop=loop)
    assert promise.prints.replace("^C\n", "") == ended.out
    assert (promise.status if number == signal.SIGINT else AT_WORK[name], "") == (ended.status, ended.err)


def test_each_example_at_work_is_among_them() -> None:
    """Each example that shows a `^C` is tried with SIGTERM, too."""
    assert [*AT_WORK] == [path.stem for path in EXAMPLES if "^C\n" in path.read_text()]


@pytest.mark.skipif(uvloop is None, reason="uvloop is not installed")
@pytest.mark.parametrize("name", ["07_worker", "08_critical", "12_unless_stopping"])
def test_an_example_on_uvloop(name: str, play: Callable) -> None:
    """So do those that send themselves a signal in the middle of their work."""
    path = FOLDER / f"{name}.py"
    promise = promise_of(ast.get_docstring(ast.parse(path.read_text())) or "")
    ended = play(path, promise.prints, loop="uvloop")
    assert (promise.prints, promise.status, "") == (ended.out, ended.status, ended.err)


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


@pytest.fixture
def tested(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run the tests in the source of an example, as its reader would."""

    def run(source: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "16_worker_explored.py"
        path.write_text(source)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", path.name]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return subprocess.run(
            command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50
        )

    return run


def test_the_explored_worker_passes_its_test(tested: Callable) -> None:
    """Whatever stops it at whichever step, the worker in the example loses no job."""
    ended = tested((FOLDER / "16_worker_explored.py").read_text())

    assert (0, True) == (ended.returncode, "2 passed" in ended.stdout), ended.stdout


def test_an_early_acknowledgement_is_found(tested: Callable) -> None:
    """Only by the test that kills the worker: in the critical block no shutdown comes between the two lines."""
    source = (FOLDER / "16_worker_explored.py").read_text()
    lines = ["await store.write(job)", "await queue.acknowledge(job)"]
    [write, acknowledge] = [f"                {line}\n" for line in lines]
    assert write + acknowledge in source

    ended = tested(source.replace(write + acknowledge, acknowledge + write))

    assert (1, True) == (ended.returncode, "1 failed, 1 passed" in ended.stdout), ended.stdout
    assert "SIGKILL while `work` waited in `Store.write` (16_worker_explored.py" in ended.stdout


def test_without_its_critical_block_it_fails(tested: Callable) -> None:
    """The test in the example notices what the example says it does, and names the line that the worker waited in."""
    source = (FOLDER / "16_worker_explored.py").read_text()
    careless = source.replace('async with app.critical("job"):', "if True:")

    ended = tested(careless)

    assert source != careless
    assert 1 == ended.returncode, ended.stdout
    assert "`work` waited in `Queue.take` (16_worker_explored.py" in ended.stdout
    assert "replay: pytest '16_worker_explored.py::test_no_job_is_lost_or_done_twice' --graceful-replay" in ended.stdout
