"""
The checks, one session each. CI runs these sessions, so what passes here passes there.

    nox                                     before a commit: lint, types, and the tests on the current Python
    nox -s tests-3.12 -- -k order           some of the tests on one Python; what follows `--` goes to pytest
    nox --list                              all sessions

A Python that is not installed is skipped, and nox says so; with `CI` set in the environment it is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
DOCS = ROOT / "docs"
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"

UVLOOP_OPTIONAL = {"3.14", "3.15"}  # uvloop is slow to publish wheels for a new Python
TEST_SECONDS = 1200  # the suite takes about 580 s on two cores
SKIPPED = 77  # how docs/check_site.py ends if there is no browser
NO_CPYTHON_TESTS = 77  # how `support.cpython` ends if this Python is installed without them
#: Tests that take minutes, and hardly depend on the Python: in CI only `readme-test` runs them.
ON_ONE_PYTHON = (
    "docs",
    "doctor",
    "examples/test_ingest.py",
    "examples/test_ingest_errors.py",
    "examples/test_ingest_rotation.py",
    "examples/test_worker.py",
    "house/test_wings.py",
    "neighbours/test_compare.py",
    "neighbours/test_cpython.py",
    "neighbours/test_nats.py",
    "neighbours/test_rolling.py",
    "neighbours/test_server_recipes.py",
    "observe/test_bottom_lines.py",
    "observe/test_live.py",
    "plan",
    "process/test_containers.py",  # where the programs run on the Python of the container
    "process/test_systemd.py",
    "process/test_windows.py",
    "testing/test_finds_bugs.py",
    "testing/test_pytest_plugin.py",
    "tracing/test_telemetry_flush.py",
)
#: Pythons on which CI runs a part of the other tests, each test on one of them, and without uvloop: the oldest and the
#: newest Python run them all, with it.
PARTS = {"3.12": "1/3", "3.13": "2/3", "3.14": "3/3"}
EXAMPLE_SECONDS = 30  # includes the time to install what the example needs

nox.needs_version = ">=2025.10"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", f"tests-{CURRENT if CURRENT in PYTHONS else PYTHONS[-1]}"]

#: The Pythons on which the README's test command has passed in this run of nox.
fully_tested: set[str] = set()


@nox.session
def lint(session: nox.Session) -> None:
    """Check the formatting and the style; `ruff format` and `ruff check --fix` correct most of it."""
    install_group(session, "lint")
    run_each(session, ["ruff", "format", "--check"], ["ruff", "check"])


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy, for the oldest and the newest Python, and with pyright."""
    session.install("-e", ".[test,uvloop]")
    install_group(session, "types")
    run_each(
        session,
        *(["mypy", f"--python-version={version}"] for version in (PYTHONS[0], PYTHONS[-1])),
        ["pyright", f"--pythonpath={session.bin}/python"],
    )


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist, and the wheel from the sdist, into dist/."""
    install_group(session, "build")
    for old in DIST.glob("graceful_asyncio-*"):
        old.unlink()
    session.run("python", "-m", "build", "--quiet", "--outdir", str(DIST), str(ROOT))


@nox.session(python=PYTHONS, reuse_venv=False)
def install(session: nox.Session) -> None:
    """Install the project from source, without extras, and run an empty program with it."""
    session.install(".")
    session.chdir(session.create_tmp())
    session.run("python", "-c", "import asyncio, graceful; graceful.run(asyncio.sleep(0))")


@nox.session(python=PYTHONS, requires=["build"])
def tests(session: nox.Session) -> None:
    """Run the tests of the sdist against the wheel."""
    [wheel] = DIST.glob("*.whl")
    session.install(f"{wheel}[test]")
    session.install("--force-reinstall", "--no-deps", str(wheel))  # pip keeps an older build of the same version
    install_uvloop(session, wheel)

    session.chdir(unpack_tests(session))
    where = "import graceful; assert 'site-packages' in graceful.__file__, graceful.__file__; print(graceful.__file__)"
    session.run("python", "-c", where)
    arguments = session.posargs or ["-n", "4"]
    if session.python in fully_tested and not session.posargs:
        session.log("readme-test has run all tests on this Python; these show that the wheel is complete")
        arguments = ["-n", "4", "-k", "house or readme"]
    elif "CI" in os.environ and not session.posargs:
        session.log("left out here, because CI runs them on one Python: %s", " ".join(ON_ONE_PYTHON))
        arguments += [f"--ignore=tests/{path}" for path in ON_ONE_PYTHON]
        part = PARTS.get(str(session.python))
        arguments += ["-k", "not uvloop", "--part", part] if part else []
    # Not in a terminal: `timeout` would keep Ctrl-C from pytest.
    limit = with_limit(TEST_SECONDS) if "CI" in os.environ else []
    cache = f"cache_dir={ROOT / '.pytest_cache'}"  # or `--lf` would find nothing: the folder is new each time
    session.run(*limit, "pytest", "-q", "--durations=5", "-o", cache, *arguments, external=bool(limit))


@nox.session(name="readme-test", venv_backend="none")
def readme_test(session: nox.Session) -> None:
    """Run the README's test command in a copy of the checkout, as its reader would."""
    command = enter_copy_for(session, "test")
    session.run(*with_limit(TEST_SECONDS), "bash", "-c", command, external=True)
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    fully_tested.add(str(session.run("python3", "-c", version, external=True, silent=True)).strip())


@nox.session(name="readme-example", venv_backend="none")
def readme_example(session: nox.Session) -> None:
    """Run the README's example command in a copy of the checkout, and press Ctrl-C."""
    command = enter_copy_for(session, "example")
    interrupted = with_limit(EXAMPLE_SECONDS, "--preserve-status", "--signal=INT")
    printed = session.run(*interrupted, "bash", "-c", command, external=True, silent=True, success_codes=[0, 130])
    lines = [line for line in str(printed).splitlines() if not line.startswith("WARNING: ")]
    session.log("It printed, at the end:\n%s", "\n".join(lines[-20:]))
    if not lines:
        session.error(f"{EXAMPLE_SECONDS} s were not enough to install the example")
    if any(line.startswith("Traceback") for line in lines):
        session.error("the example ended with a traceback")


@nox.session(python=PYTHONS)
def cpython(session: nox.Session) -> None:
    """Run CPython's own tests of asyncio inside an app, about five minutes; `-- --short` is what the tests run of it."""
    session.install("-e", ".")
    tests = {"PYTHONPATH": str(ROOT / "tests")}
    session.run("python", "-m", "support.cpython", *session.posargs, env=tests, success_codes=[0, NO_CPYTHON_TESTS])


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, half an hour; what follows `--` goes to benchmarks/run.py, such as `--quick`."""
    session.install(".")
    install_group(session, "bench")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build/html: warnings are errors, and so are links that lead nowhere. Needs no network."""
    session.install("-e", ".")
    install_group(session, "docs")
    site = DOCS / "_build" / "html"
    sphinx = ["sphinx-build", "--quiet", "--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env"]
    session.run(*sphinx, "--builder", "html", str(DOCS), str(site))
    session.run("python", str(DOCS / "check_site.py"), str(site))


@nox.session(requires=["docs"])
def browser(session: nox.Session) -> None:
    """Look at the site on a phone and a desktop, light and dark, and with the keyboard; skipped where there is no browser."""
    install_group(session, "browser")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    options = ["--executable", executable] if executable else []
    script = [str(DOCS / "check_site.py"), str(DOCS / "_build" / "html"), "--browser", *options, *session.posargs]
    session.run("python", *script, success_codes=[0, SKIPPED])


@nox.session
def pictures(session: nox.Session) -> None:
    """Make the pictures in docs/pictures/ again, from real runs; look at them before you commit them."""
    session.install("-e", ".[rich]", "pyte>=0.8.2")
    session.run("python", str(DOCS / "make_pictures.py"))


# --- helpers ---------------------------------------------------------------------------------------------------------


def install_group(session: nox.Session, group: str) -> None:
    """Install a dependency group of pyproject.toml."""
    session.install(*nox.project.dependency_groups(PYPROJECT, group))


def install_uvloop(session: nox.Session, wheel: Path) -> None:
    """Install uvloop; where it has no wheel yet, say that the tests run without it."""
    try:
        session.install("--only-binary=uvloop", f"{wheel}[uvloop]")
    except CommandFailed:
        if session.python not in UVLOOP_OPTIONAL:
            raise
        session.warn(f"uvloop cannot be installed on Python {session.python}: the tests run without it")


def unpack_tests(session: nox.Session) -> Path:
    """
    Unpack the sdist and remove the package from it.

    Returns:
        The folder. There `import graceful` can only find what is installed.
    """
    [sdist] = DIST.glob("*.tar.gz")
    folder = Path(session.create_tmp()) / "sdist"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.unpack_archive(sdist, folder, filter="data")
    [tree] = folder.iterdir()
    shutil.rmtree(tree / "graceful")
    return tree


def run_each(session: nox.Session, *commands: list[str]) -> None:
    """Run all commands, also after one has failed; the session fails if any did."""
    failed: list[str] = []
    for command in commands:
        try:
            session.run(*command)
        except CommandFailed:
            failed.append(" ".join(command))
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def enter_copy_for(session: nox.Session, name: str) -> str:
    """
    Copy the checkout into a folder of its own and go there.

    Returns:
        The command in the README's ```sh block behind `<!-- NAME command -->`.
    """
    copy = Path(session.create_tmp()) / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    leftovers = shutil.ignore_patterns(".git", ".nox", ".venv", "dist", ".hypothesis", ".*_cache", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=leftovers)
    session.chdir(copy)
    page = Path("README.md").read_text(encoding="utf-8")
    found = re.search(rf"^<!-- {name} command -->\n```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    if found is None:
        session.error(f"README.md has no ```sh block behind <!-- {name} command -->")
    return found[1]


def with_limit(seconds: int, *options: str) -> list[str]:
    """
    Put before a command, this ends it and its children after `seconds`.

    The signals get their default actions: a program that a script starts with `&` or `nohup` ignores SIGINT or SIGHUP,
    and every program below would inherit that.
    """
    return [
        *("env", "--default-signal=INT,QUIT,TERM,HUP"),
        *("timeout", "--kill-after=10", *options, str(seconds)),
    ]
