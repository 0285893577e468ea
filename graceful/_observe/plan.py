"""
The plan of a shutdown, its text, and the way to its other formats.

Annotations are evaluated here, as in `report`: these classes are shown as `graceful.Plan` and so on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from graceful._observe.planned import PlannedHook, PlannedStep

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """
    The shutdown of an app, as far as it is known without running it: the order, and how long everything may take.

    The times are those of the worst case after a signal: every hook and every task hangs, and swallows its cancellation. A
    step that ends early leaves its time to the steps after it.

    Attributes:
        app: What the app is called.
        grace: Seconds from the signal to the deadline.
        drain_delay: Seconds of that in which it goes on serving.
        drain_share: Which part of the rest is for work to end by itself.
        signals: The names of the signals that stop it.
        steps: The steps, in their order.
        worst_case: Seconds after the signal at which the process has ended, whatever happens: a second after the grace.
        warnings: What may surprise, one sentence each.
        supervisor_timeout: Whole seconds that the supervisor of the process must wait: `terminationGracePeriodSeconds`,
            `stop_grace_period`, `TimeoutStopSec`.
        server_timeout: Whole seconds for `timeout_graceful_shutdown`, if uvicorn owns the process: as much as work has to
            end by itself. The app's grace begins only after that, so the supervisor must wait for both.
    """

    __module__ = "graceful"

    app: str
    grace: float
    drain_delay: float
    drain_share: float
    signals: tuple[str, ...]
    steps: tuple[PlannedStep, ...]
    worst_case: float
    warnings: tuple[str, ...]
    supervisor_timeout: int
    server_timeout: int

    @property
    def numbers(self) -> dict[str, str]:
        """The numbers to paste, by the names of the settings. Where a server owns the process, add `server_timeout`."""
        seconds = str(self.supervisor_timeout)
        return {
            "terminationGracePeriodSeconds": seconds,
            "stop_grace_period": f"{seconds}s",
            "TimeoutStopSec": seconds,
            "timeout_graceful_shutdown": str(self.server_timeout),
        }

    def text(self) -> str:
        """The plan as a table, one line for each step and hook, then the warnings and the numbers to paste."""
        return "\n".join(_lines(self))

    # What follows is imported when it is called, as in `Report`.

    def json(self) -> str:
        """
        The plan for other programs.

        Returns:
            A JSON object with `"schema": "graceful.plan"` and `"version": 1`, which `docs/plan.schema.json` describes. A
            later version of graceful may add fields; where a field is removed or means something else the version is another
            one.
        """
        from graceful._observe.plan_formats import as_json  # late, to save start-up time

        return as_json(self)

    def svg(self) -> str:
        """
        The worst case as a picture.

        Returns:
            An SVG document as that of `Report.svg`: a row for each step and each hook, with a bar on an axis of seconds from
            the signal to the deadline.
        """
        from graceful._observe.plan_picture import as_svg  # late, to save start-up time

        return as_svg(self)

    def mermaid(self) -> str:
        """
        The worst case as a gantt chart for Mermaid, which issues and wikis draw.

        Returns:
            The source of the chart.
        """
        from graceful._observe.plan_formats import as_mermaid  # late, to save start-up time

        return as_mermaid(self)


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.app}: the shutdown after a signal, if everything takes all the time it has (grace {plan.grace:g} s)"
    yield ""
    yield "    from       to"
    for step in plan.steps:
        yield f"{_span(step.at, step.end)}  {step.name}: {step.what}"
        for hook in step.hooks:
            yield f"{_span(hook.at, hook.end)}    {hook.name} ({hook.where}): {', '.join(_facts(hook))}"
    yield f"{'':9}{plan.worst_case:>7.2f} s  the process has ended, with status 70 if it was stuck"
    for warning in plan.warnings:
        yield f"\nwarning: {warning}"
    yield ""
    yield "numbers to paste"
    for name, value in plan.numbers.items():
        yield f"  {name + ':':<31} {value:<5} {_meaning(plan, name)}"


def _span(at: float, end: float) -> str:
    return f"{at:>8.2f} {end:>7.2f} s"


def _facts(hook: PlannedHook) -> Iterator[str]:
    if hook.kind != "background":
        own = "" if hook.timeout is None else f" (timeout={hook.timeout:g})"
        yield f"{hook.kind}, has {hook.allowed:.2f} s{own}"
    else:
        yield "background task"
    if hook.after:
        yield f"after {_some(hook.after)}"
    if hook.beside:
        yield f"beside {_some(hook.beside)}"
    if hook.unless:
        yield f"only if {' or '.join(hook.unless)} was started"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _meaning(plan: Plan, name: str) -> str:
    if name == "timeout_graceful_shutdown":
        both = plan.supervisor_timeout + plan.server_timeout
        return f"of uvicorn, if it owns the process; then write {both} instead of {plan.supervisor_timeout} above"
    return {
        "terminationGracePeriodSeconds": "Kubernetes; add what a preStop hook takes",
        "stop_grace_period": "Compose",
        "TimeoutStopSec": "systemd",
    }[name]
