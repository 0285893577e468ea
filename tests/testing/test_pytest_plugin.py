"""The pytest plugin, as a user's pytest runs it: in a process of its own."""

from __future__ import annotations

import importlib.util
import inspect
import re

import pytest

from graceful.pytest_plugin import GracefulFixture
from graceful.testing import explore, simulate

pytest_plugins = ["pytester"]

#: An app whose worker marks a job as done before it is.
APP = """
import asyncio
import signal

import pytest
from graceful import App


def make():
    app = App("worker", grace=4)
    unfinished = []

    @app.background
    async def work():
        while True:
            await asyncio.sleep(1)
            unfinished.append("job")
            await asyncio.sleep(0.1)
            unfinished.clear()

    return app, None, unfinished


def nothing_unfinished(result):
    assert result.state == []
"""

#: Few schedules, so that a test takes no time; one of them cancels the worker in the middle of a job.
QUICK = "until=2, pairs=0, faults=[Fault.STOP, Fault.MAIN_CANCELLED, Fault.SIGINT]"

GOOD = f"""
from graceful.testing import Exploration, Fault
{APP}
def test_good(graceful):
    result = graceful.explore(make, {QUICK})
    assert isinstance(result, Exploration)
    assert result.runs > 10
"""

BAD = f"""
from graceful.testing import Fault
{APP}
def test_bad(graceful):
    graceful.explore(make, check=nothing_unfinished, {QUICK})
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """`run(source, *arguments, ini=...)`: a run of pytest on this test file, in a process of its own; warnings are errors."""
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)

    def run(source: str, *arguments: str, ini: str = "", asyncio: bool = False) -> pytest.RunResult:
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}\n")
        pytester.makepyfile(test_it=source)
        plugins = () if asyncio else ("-p", "no:asyncio")
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *plugins, *arguments, timeout=50)

    return run


def replay_of(result: pytest.RunResult) -> tuple[str, str]:
    """The test and the token in the line that says how to replay."""
    found = re.search(r"replay: pytest '([^']+)' --graceful-replay (\S+)", result.stdout.str())
    assert found is not None, result.stdout.str()
    return found[1], found[2]


# --- the fixture -------------------------------------------------------------------------------------------------------


def test_a_program_that_ends_well_passes(run) -> None:
    """`explore` returns the exploration where there is no violation."""
    run(GOOD).assert_outcomes(passed=1)


def test_a_violation_fails_the_test_with_its_story(run) -> None:
    """The failure shows the line of the test, the story, what does not hold and a timeline; no line of the package."""
    result = run(BAD)

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines_random(
        [
            r">       graceful\.explore\(make, check=nothing_unfinished.*",
            r"E       AssertionError: \d+ of \d+ runs failed",
            r"E       the \d+\w\w of \d+ steps, .* while `work` waited .*",
            r"E         check: assert \['job'\] == \[\]",
            r"E         replay: pytest 'test_it\.py::test_bad' --graceful-replay \S+",
            r"E .* stopping .*",
        ]
    )
    result.stdout.no_re_match_line(r".*(pytest_plugin|graceful/testing|_trial|_explore)\.py")


def test_the_replay_line_can_be_typed(run) -> None:
    """It runs only that schedule, and fails as before."""
    test, token = replay_of(run(BAD))

    result = run(BAD, test, "--graceful-replay", token)

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"E .*1 of 1 runs failed"])
    assert (test, token) == replay_of(result)


def test_the_replay_line_is_for_the_folder_that_pytest_was_started_in(pytester: pytest.Pytester) -> None:
    """As the paths in the summary of pytest are."""
    folder = pytester.mkdir("below")
    (folder / "test_below.py").write_text(BAD)
    pytester.makeini("[pytest]")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio", timeout=50)

    assert "test_below.py::test_bad" == replay_of(result)[0]


def test_a_quoted_test(run) -> None:
    """The name of a parametrized test is quoted for the shell."""
    source = BAD.replace("def test_bad(graceful", "@pytest.mark.parametrize('x', ['a b'])\ndef test_bad(x, graceful")

    assert "test_it.py::test_bad[a b]" == replay_of(run(source))[0]


LONG = """
from graceful import App
def make():
    app = App("long")
    for number in range(30):
        app.on_shutdown(lambda: None)
    return app
def test_long(graceful):
    graceful.explore(make, check=lambda result: "always", faults=(), pairs=0)
"""


def test_only_the_replay_shows_the_whole_timeline(run) -> None:
    """A long timeline is cut at its beginning, and the failure says so."""
    cut, whole = run(LONG), run(LONG, "--graceful-replay", "none")

    assert "lines before, which the replay shows" in cut.stdout.str()
    assert "s  started" not in cut.stdout.str()
    assert "lines before" not in whole.stdout.str()
    assert "s  started" in whole.stdout.str()


def test_an_error_in_make_is_shown_where_it_is(run) -> None:
    """Without the lines of the package above it; `--full-trace` shows these, too."""
    source = 'def make():\n    raise OSError("no database")\n\ndef test_it(graceful):\n    graceful.explore(make)\n'

    result = run(source)
    result.stdout.re_match_lines(
        [r">       graceful\.explore\(make\)", r">       raise OSError.*", r"E       OSError: no .*"]
    )
    assert "_trial.py" not in result.stdout.str()
    assert "_trial.py" in run(source, "--full-trace").stdout.str()


def test_simulate(run) -> None:
    """`simulate` returns the result, and a failed assertion of it shows the timeline and nothing of the package."""
    result = run(f"""{APP}
def test_passes(graceful):
    graceful.simulate(make()[0], at={{3600: signal.SIGTERM}}).assert_exit(0)

def test_fails(graceful):
    graceful.simulate(make()[0], at={{3600: signal.SIGTERM}}).assert_exit(3)

def test_waits(graceful):
    graceful.simulate(App("idle"), asyncio.Event().wait)
""")

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.re_match_lines(
        [
            r"E       AssertionError: expected exit status 3, got 0",
            r"E .* 3600\.000 s  stopping \(SIGTERM\)",
            r"E       graceful\.testing\.NothingToWaitFor: the program waits.*",
        ]
    )
    result.stdout.no_re_match_line(r".*(_result|_simulate|pytest_plugin)\.py:")


def test_the_module_beside_the_fixture(run) -> None:
    """Under another name, the module can be used in a test that takes the fixture."""
    run("""
import graceful as graceful_asyncio

def test_it(graceful):
    graceful.simulate(graceful_asyncio.App("a"), at={1: 15}).assert_exit(0)
""").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("method", "function"), [(GracefulFixture.explore, explore), (GracefulFixture.simulate, simulate)]
)
def test_the_arguments_are_those_of_the_function(method, function) -> None:
    """The fixture takes what `graceful.testing` takes."""
    assert [*inspect.signature(function).parameters] == [*inspect.signature(method).parameters][1:]


# --- the options -------------------------------------------------------------------------------------------------------

SHOWN = """
import graceful.testing as graceful_testing

def test_it(graceful, monkeypatch):
    passed = []
    found = graceful_testing.Exploration(1, 1, (), 0, {})
    monkeypatch.setattr(graceful_testing, "explore", lambda make, **options: passed.append(options) or found)
    graceful.explore(None)
    graceful.explore(None, seed=0, only=["SIGTERM@1"])
    assert passed == PASSED
"""


def shown(*passed: dict[str, object]) -> str:
    return SHOWN.replace("PASSED", repr([*passed]))


def test_the_settings_are_defaults(run) -> None:
    """Each setting is passed on to `explore` where the test passes nothing; what is not set is not passed."""
    settings = {"processes": 2, "pairs": 0, "until": 2.5, "seed": 7}
    ini = "\n".join(f"graceful_{name} = {value}" for name, value in settings.items())

    run(shown(settings, {**settings, "seed": 0, "only": ["SIGTERM@1"]}), ini=ini).assert_outcomes(passed=1)
    run(shown({}, {"seed": 0, "only": ["SIGTERM@1"]})).assert_outcomes(passed=1)


def test_the_replay_is_run_instead_of_what_the_test_chooses(run) -> None:
    """Also of `only=`."""
    only = {"only": ["stop@3"]}

    run(shown(only, {"seed": 0, **only}), "--graceful-replay", "stop@3").assert_outcomes(passed=1)


@pytest.mark.parametrize("table", ["tool.pytest.ini_options", "tool.pytest"])
def test_the_settings_in_pyproject(pytester: pytest.Pytester, table: str) -> None:
    """They may be numbers there."""
    if table == "tool.pytest" and pytest.version_tuple < (9, 0):
        pytest.skip("came with pytest 9")
    pytester.makepyprojecttoml(f"[{table}]\ngraceful_pairs = 3\ngraceful_until = 1.5\n")
    settings = {"pairs": 3, "until": 1.5}
    pytester.makepyfile(test_it=shown(settings, {**settings, "seed": 0, "only": ["SIGTERM@1"]}))

    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio", timeout=50).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--graceful-replay", "SIGTERM"], "--graceful-replay: 'SIGTERM' is not a token such as SIGTERM@41"),
        (["--graceful-replay", "SIGFOO@1"], "--graceful-replay: 'SIGFOO@1' is not a token"),
        (["--graceful-replay", "SIGTERM@0"], "--graceful-replay: 'SIGTERM@0' has a place below 1"),
        (["--graceful-replay", ""], "--graceful-replay: '' is not a token"),
        (["-o", "graceful_processes=two"], "graceful_processes must be of type int"),
        (["-o", "graceful_processes=0"], "graceful_processes must be at least 1 and finite, got 0"),
        (["-o", "graceful_pairs=-1"], "graceful_pairs must be at least 0 and finite, got -1"),
        (["-o", "graceful_until=nan"], "graceful_until must be at least 0 and finite, got nan"),
        (["-o", "graceful_until=inf"], "graceful_until must be at least 0 and finite, got inf"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["here", "xdist"])
def test_a_wrong_option_is_a_usage_error(run, arguments: list[str], message: str, workers: tuple[str, ...]) -> None:
    """pytest says what is wrong in one line, and runs nothing."""
    result = run(GOOD, *arguments, *workers)

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    assert message in result.stderr.str()
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


# --- where it is not used ----------------------------------------------------------------------------------------------


def test_it_costs_nothing_where_it_is_not_used(run) -> None:
    """The plugin is loaded in each run of pytest, and brings neither `graceful.testing` nor what a run of an app needs."""
    result = run("""
import sys

def late():
    return [each for each in sys.modules if each.startswith(("graceful.testing", "graceful._run", "graceful._doctor"))]

def test_loaded():
    assert "graceful.pytest_plugin" in sys.modules
    assert late() == []

def test_taken(graceful):
    assert late() == []
    graceful.simulate(None, main)
    assert "graceful.testing" in late()

async def main():
    pass
""")

    result.assert_outcomes(passed=2)


# --- beside other plugins ----------------------------------------------------------------------------------------------


def test_with_xdist(run) -> None:
    """The tests may run in several processes, and the failure is the same."""
    result = run(GOOD + BAD.partition(APP)[2], "-n", "2")

    result.assert_outcomes(passed=1, failed=1)
    test, token = replay_of(result)
    again = run(GOOD + BAD.partition(APP)[2], "-n", "2", test, "--graceful-replay", token)
    again.assert_outcomes(failed=1)
    again.stdout.re_match_lines([r"E .*1 of 1 runs failed"])


def test_a_worker_of_xdist_does_not_fork(run) -> None:
    """There, `graceful_processes` does not apply: there are enough processes, and a worker has threads."""
    run(shown({}, {"seed": 0, "only": ["SIGTERM@1"]}), "-n", "1", ini="graceful_processes = 2").assert_outcomes(
        passed=1
    )


ASYNC = f"""
from graceful.testing import Fault
{APP}
MARK
async def test_simulate(graceful):
    await asyncio.sleep(0)
    graceful.simulate(make()[0], at={{3600: signal.SIGTERM}}).assert_exit(0)
    await asyncio.sleep(0)

MARK
async def test_explore(graceful):
    graceful.explore(make, {QUICK})
    await asyncio.sleep(0)

def test_sync(graceful):
    graceful.explore(make, {QUICK})
"""

needs_pytest_asyncio = pytest.mark.skipif(
    importlib.util.find_spec("pytest_asyncio") is None, reason="pytest-asyncio is not installed"
)


@needs_pytest_asyncio
@pytest.mark.parametrize(("mode", "mark"), [("auto", ""), ("strict", "@pytest.mark.asyncio")])
def test_with_pytest_asyncio(run, mode: str, mark: str) -> None:
    """In a test that is a coroutine, the fixture does what it does elsewhere: its loop is in a thread of its own."""
    ini = f"asyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function"

    run(ASYNC.replace("MARK", mark), ini=ini, asyncio=True).assert_outcomes(passed=3)


def test_with_the_plugin_of_anyio(run) -> None:
    """The same with anyio's."""
    source = ASYNC.replace("MARK", "@pytest.mark.anyio")

    run(source + "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n").assert_outcomes(passed=3)


@needs_pytest_asyncio
def test_with_both(run) -> None:
    """They may be there at the same time."""
    ini = "asyncio_mode = strict\nasyncio_default_fixture_loop_scope = function"
    source = ASYNC.replace("MARK", "@pytest.mark.anyio", 1).replace("MARK", "@pytest.mark.asyncio")
    backend = "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"

    run(source + backend, ini=ini, asyncio=True).assert_outcomes(passed=3)
