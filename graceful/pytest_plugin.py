"""
The pytest plugin: a fixture for `graceful.testing`, with the story of a violation as the failure's output.

>>> def test_worker(graceful):
...     graceful.explore(make)

pytest loads this file in every run of everyone who has the package installed. So it imports `graceful.testing` only when
the fixture is used, and at its top nothing that pytest has not imported itself.
"""

from __future__ import annotations

import math
import os
import shlex
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # where nothing is tested, these would cost the start-up time that the late imports below save
    from collections.abc import Callable, Iterable, Mapping

    from graceful._app import App
    from graceful.testing import Exploration, Fault, Result, Schedule, Violation
    from graceful.testing._simulate import Action, Entrance, Main

__all__ = ["GracefulFixture"]

#: What the paths of the files of this package begin with.
_PACKAGE = os.path.join(os.path.dirname(__file__), "")

#: Of a failure without `--graceful-replay`: violations that are told, and last lines of the first one's timeline.
_MOST_VIOLATIONS = 10
_MOST_LINES = 20

#: Defaults of `explore` that the configuration sets: the type, the lowest value, what it is.
_SETTINGS: dict[str, tuple[type[int | float], int, str]] = {
    "processes": (int, 1, "in how many processes graceful.explore() runs the schedules (default: 1)"),
    "pairs": (int, 0, "how many schedules of two faults graceful.explore() tries besides (default: 200)"),
    "until": (float, 0, "virtual seconds after which graceful.explore() sends SIGTERM (default: 10)"),
    "seed": (int, 0, "decides which pairs of faults graceful.explore() tries (default: 0)"),
}


class GracefulFixture:
    """
    What the fixture `graceful` is: `graceful.testing` for a test.

    Args:
        node_id: The test, as it is passed to pytest on the command line.
        defaults: Arguments for `explore` where the test passes none.
        replay: The token of the schedule that `explore` runs instead of all others; `None`: it runs all.
        full_trace: Whether tracebacks show the lines of this package, too.
    """

    def __init__(self, node_id: str, defaults: Mapping[str, Any], replay: str | None, *, full_trace: bool) -> None:
        self._node_id = node_id
        self._defaults = defaults
        self._replay = replay
        self._full_trace = full_trace

    def simulate(
        self,
        app: App | None,
        main: Main = None,
        *,
        at: Mapping[float, Action] | None = None,
        entrance: Entrance = "run",
        until: float = 86_400.0,
    ) -> Result:
        """Run an app in virtual time, with simulated signals: see `graceful.testing.simulate`."""
        __tracebackhide__ = True
        from graceful.testing import simulate  # only a test that uses it pays for it

        try:
            return simulate(app, main, at=at, entrance=entrance, until=until)
        except Exception as error:
            raise self._shortened(error)  # noqa: B904 - it is the same error

    def explore(
        self,
        make: Callable[[], Any],
        *,
        faults: Iterable[Fault] | None = None,
        check: Callable[[Result], object] | None = None,
        entrance: Entrance | None = None,
        until: float | None = None,
        pairs: int | None = None,
        seed: int | None = None,
        most_steps: int | None = None,
        only: Iterable[Schedule | str] | None = None,
        processes: int | None = None,
    ) -> Exploration:
        """
        Run a program with each fault at each step, and fail the test if there is a violation.

        The arguments are those of `graceful.testing.explore`. Where one is `None`, the setting `graceful_processes`,
        `graceful_pairs`, `graceful_until` or `graceful_seed` applies, or else the default of that function. With
        `--graceful-replay` only that schedule is run, whatever `only` is.

        Raises:
            AssertionError: There is a violation; with its story.
        """
        __tracebackhide__ = True
        from graceful.testing import explore  # only a test that uses it pays for it

        given = {
            "faults": faults,
            "check": check,
            "entrance": entrance,
            "until": until,
            "pairs": pairs,
            "seed": seed,
            "most_steps": most_steps,
            "only": only if self._replay is None else [self._replay],
            "processes": processes,
        }
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        try:
            exploration = explore(make, **{**self._defaults, **options})
        except Exception as error:
            raise self._shortened(error)  # noqa: B904 - it is the same error
        if exploration.violations:
            raise AssertionError(self._story(exploration))
        return exploration

    def _shortened(self, error: Exception) -> Exception:
        """An error of the program or of its use, without the lines of this package above those of the program."""
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            traceback = traceback.tb_next
        return error if self._full_trace else error.with_traceback(traceback)

    # --- the failure's output ----------------------------------------------------------------------------------------

    def _story(self, exploration: Exploration) -> str:
        told = exploration.violations[: _MOST_VIOLATIONS if self._replay is None else None]
        stories = [self._of_violation(each, is_first=number == 0) for number, each in enumerate(told)]
        untold = len(exploration.violations) - len(told)
        more = [f"and violations of {untold} more kinds"] if untold else []
        return "\n\n".join([f"{exploration.failed} of {exploration.runs} runs failed", *stories, *more])

    def _of_violation(self, violation: Violation, *, is_first: bool) -> str:
        node = shlex.quote(self._node_id)
        node = node if node != self._node_id else f"'{node}'"
        messages = textwrap.indent("\n".join(violation.messages), "  ")
        timeline = textwrap.indent("\n".join(self._timeline(violation, is_first=is_first)), "    ")
        replay = f"  replay: pytest {node} --graceful-replay {violation.token}"
        return f"{violation.story}:\n{messages}\n{replay}\n{timeline}".rstrip()

    def _timeline(self, violation: Violation, *, is_first: bool) -> list[str]:
        lines = violation.timeline.splitlines()
        if self._replay is not None:
            return lines
        if not is_first:
            return []
        omitted = len(lines) - _MOST_LINES
        return lines if omitted <= 1 else [f"... {omitted} lines before, which the replay shows", *lines[omitted:]]


@pytest.fixture(name="graceful")
def _graceful(request: pytest.FixtureRequest) -> GracefulFixture:
    """
    graceful.testing for a test: `graceful.simulate(...)`, and `graceful.explore(...)`, which fails the test at a violation.

    In a test that takes it, the name `graceful` is the fixture and no longer the module. Import names from the module
    (`from graceful import App`), or the module under another name (`import graceful as graceful_asyncio`). Its type, for
    annotations, is `graceful.pytest_plugin.GracefulFixture`.
    """
    config = request.config
    return GracefulFixture(
        _argument(request.node, config),
        _defaults(config),
        config.getoption("graceful_replay"),
        full_trace=bool(config.getoption("fulltrace", default=False)),
    )


def _argument(node: Any, config: pytest.Config) -> str:
    """What to pass to pytest to run this test again, from the folder that pytest was started in."""
    _, colons, name = str(node.nodeid).partition("::")
    return os.path.relpath(node.path, config.invocation_params.dir) + colons + name


# --- the options -------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--graceful-replay`, and a setting for each default of `explore`."""
    group = parser.getgroup("graceful", "graceful shutdown")
    group.addoption(
        "--graceful-replay",
        metavar="TOKEN",
        help="have graceful.explore() run only the schedule that a failure names, such as SIGTERM@41, and show all of it",
    )
    typed = pytest.version_tuple >= (8, 4)  # else each is a string
    for name, (kind, _, text) in _SETTINGS.items():
        ini_type: Any = kind.__name__ if typed else None
        parser.addini(f"graceful_{name}", text, type=ini_type, default="")


def pytest_configure(config: pytest.Config) -> None:
    """
    Check the settings and the token, before any test runs.

    Raises:
        pytest.UsageError: One of them is wrong.
    """
    _defaults(config)
    token = config.getoption("graceful_replay")
    if token is None:
        return
    from graceful.testing import Schedule  # only a replay pays for it

    try:
        Schedule.parse(token)
    except ValueError as error:
        raise pytest.UsageError(f"--graceful-replay: {error}") from None


def _defaults(config: pytest.Config) -> dict[str, Any]:
    """The arguments of `explore` that the configuration sets."""
    set_values: dict[str, Any] = {}
    for name, (kind, lowest, _) in _SETTINGS.items():
        setting = f"graceful_{name}"
        try:
            text = config.getini(setting)
            value = None if text == "" else kind(text)
        except (TypeError, ValueError, pytest.UsageError) as error:
            raise pytest.UsageError(f"{setting} must be of type {kind.__name__}: {error}") from None
        if value is None:
            continue
        if not lowest <= value < math.inf:
            raise pytest.UsageError(f"{setting} must be at least {lowest} and finite, got {value}")
        set_values[name] = value
    if hasattr(
        config, "workerinput"
    ):  # pytest-xdist has enough processes, and they have threads, so they should not fork
        set_values.pop("processes", None)
    return set_values
