"""
The pages of the documentation: every program on them runs, and prints what the page says it prints.

A ```python block is a program, unless `<!-- not run: reason -->` stands before it. A block whose first line is `# orders.py`
is also a file for the programs and the ```console blocks below it. In what it prints, `^C` presses Ctrl-C, and `$ kill %1`
sends SIGTERM.
"""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pages import Block, Console, as_shown, blocks_of, consoles_of, files_above, session_of, shell_status

DOCS = Path(__file__).parents[2] / "docs"


PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).with_suffix("").as_posix()


PROGRAMS = [
    pytest.param(page, block, id=f"{name_of(page)}-{block}") for page in PAGES for block in blocks_of(page.read_text())
]


SESSIONS = [
    pytest.param(page, console, id=f"{name_of(page)}-{console}")
    for page in PAGES
    for console in consoles_of(page.read_text())
]


INCLUDED = re.compile(r"^```\{literalinclude\} (\S+)", re.MULTILINE)


def lay_out(page: Path, line: int, folder: Path) -> None:
    """Write the files that the page has shown above a line."""
    for name, source in files_above(page.read_text(), line).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def needs(source: str) -> None:
    """Skip a program whose imports are not installed for this Python."""
    for name in (
        "aiohttp",
        "fastapi",
        "grpc",
        "hypercorn",
        "nats",
        "opentelemetry",
        "redis",
        "rich",
        "uvicorn",
        "yaml",
    ):
        if re.search(rf"^\s*(?:import|from) {name}\b", source, re.MULTILINE):
            pytest.importorskip(name, reason=f"the program needs {name}, which is not installed")


@pytest.mark.parametrize(("page", "block"), [each for each in PROGRAMS if not each.values[1].marked])
def test_a_program_prints_what_the_page_says(page: Path, block: Block, play: Callable, tmp_path: Path) -> None:
    """A program prints what the block behind it shows, and ends as shown; without output it runs and says nothing."""
    needs(block.source)
    output = (block.output or "").replace("$ wait %1; echo $?\n", "$ echo $?\n")
    number = signal.SIGTERM if "$ kill %1\n" in output else signal.SIGINT
    session = session_of(output.replace("$ kill %1\n", "^C\n"))
    lay_out(page, block.line, tmp_path)
    script = tmp_path / (block.file or session.script)
    script.write_text(block.source)
    ended = play(script, session.prints, number=number)
    if block.output is None:
        assert (0, "") == (ended.status, ended.err)
        return
    shown = session.prints.replace("^C\n", "")
    assert as_shown(shown, session.prints) == as_shown(ended.out, session.prints), ended.err
    if session.status is None:
        assert "Traceback" not in ended.err, ended.err
    else:
        assert session.status == shell_status(ended.status), ended.err


@pytest.mark.parametrize(("page", "console"), [each for each in SESSIONS if not each.values[1].marked])
def test_a_command_prints_what_the_page_says(page: Path, console: Console, tmp_path: Path) -> None:
    """The commands of a ```console block, one after the other in one folder, print what stands below them."""
    lay_out(page, console.line, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:asyncio -p no:cacheprovider\n")
    shell = ["bash", "-c", 'python() { "$PYTHON" "$@"; }; pytest() { "$PYTHON" -m pytest "$@"; }; eval "$1"', "bash"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHON": sys.executable, "COLUMNS": "80", "NO_COLOR": "1"}
    for command, shown in console.steps:
        ended = subprocess.run(
            [*shell, command], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50
        )
        assert (ended.stdout + ended.stderr).rstrip("\n") == shown.rstrip("\n")


@pytest.mark.parametrize(("page", "block"), [each for each in PROGRAMS if each.values[1].marked])
def test_a_block_that_is_not_run_is_python(page: Path, block: Block) -> None:
    """A fragment that is marked as not run is Python all the same; it may await at the top."""
    where = f"{page.name}:{block.line}"
    compile(block.source, where, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)


def test_each_example_is_on_the_site() -> None:
    """The page of the examples includes each numbered one, and every page includes files that there are."""
    included = {(page.parent / name).resolve() for page in PAGES for name in INCLUDED.findall(page.read_text())}

    assert [] == [path for path in included if not path.is_file()]
    assert {path.resolve() for path in (DOCS.parent / "examples").glob("[0-9]*.py")} <= included


def test_pages_have_programs() -> None:
    """The tests above look at what there is."""
    assert {"index", "tutorial", "concepts/budget", "guides/testing"} <= {
        each.id.rpartition("-")[0] for each in PROGRAMS
    }
    assert SESSIONS


# --- the reading of a page -------------------------------------------------------------------------------------------


PAGE = """\
```{code-block} python
:emphasize-lines: 2
:caption: A program

# orders.py
print("hello")
```

```console
$ python orders.py
hello
$ true
```

```yaml
# values/orders.yaml
grace: 8
```

<!-- not run: it takes too long -->
```console
$ make
```
"""


def test_directives_and_files_are_read() -> None:
    """A `{code-block}` is a program without its options, a first comment names a file, and commands have their output."""
    [block] = blocks_of(PAGE)

    assert '# orders.py\nprint("hello")\n' == block.source
    assert "orders.py" == block.file
    assert [
        Console(9, (("python orders.py", "hello\n"), ("true", "")), False),
        Console(21, (("make", ""),), True),
    ] == consoles_of(PAGE)
    assert {"orders.py": block.source} == files_above(PAGE, 9)
    assert {"orders.py", "values/orders.yaml"} == {*files_above(PAGE, 21)}
