"""What `module:app` finds, and what it says where it does not; from outside, because each imports a module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

SERVICE = """\
from graceful import App, Hooks

service = App("service", grace=8)
other = App("other")
hooks = Hooks()
number = 1

def create():
    return App("made")

def broken():
    raise ValueError("no database")
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def plan(tmp_path: Path) -> Run:
    """Run the command in a folder with some modules: `plan("orders:app", orders="...")`."""

    def run(*arguments: str, **modules: str) -> subprocess.CompletedProcess[str]:
        for name, source in {"service": SERVICE, **modules}.items():
            path = tmp_path / f"{name.replace('.', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(source))
        command = [sys.executable, "-m", "graceful", "plan", *arguments]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True, timeout=50
        )

    return run


@pytest.mark.parametrize(
    ("target", "modules", "name"),
    [
        ("service:service", {}, "service"),
        ("service:create()", {}, "made"),
        ("orders", {"orders": "from graceful import App\napp = App('orders')\nother = App('other')\n"}, "orders"),
        ("orders", {"orders": "from graceful import App\nonly = App('only one')\nalias = only\napp = 5\n"}, "only one"),
        ("shop.orders:app", {"shop.orders": "from graceful import App\napp = App('in a package')\n"}, "in a package"),
        ("orders:Holder.app", {"orders": "from graceful import App\nclass Holder: app = App('held')\n"}, "held"),
    ],
)
def test_found(plan: Run, target: str, modules: dict[str, str], name: str) -> None:
    """The plan of that app is printed."""
    ran = plan(target, **modules)

    assert (0, "") == (ran.returncode, ran.stderr)
    assert ran.stdout.startswith(f"{name}: the shutdown after a signal")


def test_the_default_app(plan: Run) -> None:
    """Of a script without an App of its own; what it prints while it is imported goes to stderr."""
    source = """
        from graceful import on_shutdown, run

        print("hello")

        @on_shutdown
        def goodbye(): ...

        if __name__ == "__main__":
            run()
    """
    ran = plan("script", script=source)

    assert (0, "hello\n") == (ran.returncode, ran.stderr)
    assert " goodbye (script.py:6): cleanup, has " in ran.stdout


def test_a_child_process_that_prints(plan: Run) -> None:
    """What it prints while the module is imported, or the app is made, goes to stderr, too."""
    source = """
        import os
        from graceful import App

        os.system("echo at the import")

        def make():
            os.system("echo in the function")
            return App("made")
    """
    ran = plan("orders:make()", "--json", orders=source)

    assert (0, "at the import\nin the function\n") == (ran.returncode, ran.stderr)
    assert "made" == json.loads(ran.stdout)["app"]


def test_a_module_that_reads_its_arguments(plan: Run) -> None:
    """It finds its own name, and none of the arguments of this command."""
    source = """
        import argparse, sys
        from graceful import App

        argparse.ArgumentParser().parse_args()
        app = App(str(sys.argv))
    """
    ran = plan("orders:app", "--json", orders=source)

    assert (0, "") == (ran.returncode, ran.stderr)
    assert "['orders']" == json.loads(ran.stdout)["app"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("sevrice:app", "there is no module 'sevrice' here: did you mean 'service'?"),
        ("zzz", "there is no module 'zzz' here"),
        ("service:servise", "service has no 'servise': did you mean 'service'?"),
        ("service:zzz", "service has no 'zzz'; there is service:service, service:other"),
        ("service:number", "service:number is not a graceful.App but a int; there is service:service, service:other"),
        ("service:hooks", "service:hooks is not a graceful.App but a Hooks; there is"),
        ("service:create", "service:create is a function (service.py:8): write service:create() if it makes the app"),
        ("service:broken()", "service:broken() failed: ValueError: no database (service.py:12)"),
        ("service", "service has no App called app; there is service:service, service:other"),
        ("service.py", "expected the name of a module, got the file service.py: write service:app"),
        ("./service.py:app", "expected module:app, module:make() or module, got './service.py:app'"),
        ("service:create(1)", "expected module:app, module:make() or module, got 'service:create(1)'"),
        ("10_uvicorn:app", "expected module:app, module:make() or module, got '10_uvicorn:app'"),
        ("service:", "expected module:app, module:make() or module, got 'service:'"),
    ],
)
def test_not_found(plan: Run, target: str, said: str) -> None:
    """One line on stderr, status 2, nothing on stdout."""
    ran = plan(target)

    assert (2, "") == (ran.returncode, ran.stdout)
    assert ran.stderr.startswith(f"python -m graceful plan: {said}")
    assert 1 == len(ran.stderr.splitlines())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere\n", "importing orders failed: ModuleNotFoundError: No module named 'nowhere' (orders.py:1)"),
        ("\n1 / 0\n", "importing orders failed: ZeroDivisionError: division by zero (orders.py:2)"),
        ("import sys\nsys.exit('no')\n", "importing orders failed: SystemExit: no (orders.py:2)"),
        ("x = 1\n", "orders has no App called app; there is no App in it"),
        (
            "from graceful import App\napp = App(grace=8)\napp.on_shutdown(after='x')(lambda: None)\n",
            "<lambda> (orders.py:3) runs after 'x', which is not a hook of this stage",
        ),
    ],
)
def test_a_module_that_fails(plan: Run, source: str, said: str) -> None:
    """What it raised, and where."""
    ran = plan("orders", orders=source)

    assert (2, "") == (ran.returncode, ran.stdout)
    assert ran.stderr.startswith(f"python -m graceful plan: {said}")


STARTS = {
    "run": "app.run(main())",
    "a function of the module": "import graceful; graceful.run(live())",
    "the default app": "import graceful; graceful.run(asyncio.sleep(0))",
    "a block": "asyncio.run(main())",
    "a lifespan": "asyncio.run(live())",
    "whatever is caught": """\
try: app.run(main)
except Exception: print('caught')""",
}


@pytest.mark.parametrize("name", STARTS)
def test_a_module_that_starts(plan: Run, name: str) -> None:
    """Nothing is started: not a hook runs, and no coroutine is left behind. The message has the line and the cure."""
    source = f"""\
import asyncio
from graceful import App

app = App("orders", grace=8)
app.on_startup(lambda: print("started"))

async def main():
    async with app:
        print("ran")

async def live():
    async with app.lifespan():
        print("ran")

{STARTS[name]}
"""
    ran = plan("orders:app", orders=source)

    line = {"a block": 8, "a lifespan": 12}.get(name, 15)
    assert (2, "") == (ran.returncode, ran.stdout)
    assert (
        f"python -m graceful plan: orders.py:{line} runs the app as soon as orders is imported, and a plan starts nothing: "
        'write if __name__ == "__main__": above that line\n'
    ) == ran.stderr


def test_a_factory_that_starts(plan: Run) -> None:
    """The same."""
    ran = plan("orders:make()", orders="from graceful import App\ndef make():\n    App('x').run()\n")

    assert (2, "") == (ran.returncode, ran.stdout)
    assert "orders.py:3 runs the app as soon as orders:make() is imported" in ran.stderr
