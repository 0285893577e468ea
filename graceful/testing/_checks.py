"""What must hold for every run of every app, whatever goes wrong in it: checked without being asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from graceful._core.types import EventKind, Verdict, describe
from graceful._hooks.hook import Hook, Stage
from graceful._process.exit import EX_SOFTWARE
from graceful.testing._injection import Injected
from graceful.testing._result import KILLED, Result

__all__ = ["violations"]

#: Seconds past the grace that are part of the promise.
_TOLERANCE = 0.5


def violations(result: Result, hooks: list[Hook], grace: float, raised: Iterable[Injected]) -> Iterator[str]:
    """
    Sentences that say what does not hold.

    Args:
        result: The run.
        hooks: The hooks of the app, in the order of registration.
        grace: What the app was given for its shutdown, in seconds.
        raised: What was brought in while the app could hear of it.
    """
    yield from _in_time(result, grace)
    yield from (f"left behind: {each}" for each in result.left)
    cut_short = bool(result.last_words) or result.exit_status == KILLED
    if cut_short or not any(event.kind is EventKind.STOPPING for event in result.events):
        return
    yield from _released(result, hooks)
    yield from _once(result, hooks)
    yield from _in_order(result, hooks)
    yield from _told(result, raised)
    report = result.report
    killed = result.raised is None and result.exit_status < 0  # by a signal that came when the app was over
    if report is not None and not killed and report.exit_status != result.exit_status and not _as_interrupt(result):
        yield f"the report says exit status {report.exit_status}, and the parent sees {result.exit_status}"


def _as_interrupt(result: Result) -> bool:
    return isinstance(result.raised, KeyboardInterrupt)


def _in_time(result: Result, grace: float) -> Iterator[str]:
    if result.exit_status == EX_SOFTWARE and result.last_words:
        yield f"the process had to be ended, because the shutdown did not end within {grace:g} s: {result.last_words}"
        return
    began = [event.at for event in result.events if event.kind is EventKind.STOPPING]
    over = [event.at for event in result.events if event.kind is EventKind.OVER]
    if began and over and over[-1] - began[0] > grace + _TOLERANCE:
        yield f"the shutdown took {over[-1] - began[0]:.3g} s, and the grace is {grace:g} s"


def _released(result: Result, hooks: list[Hook]) -> Iterator[str]:
    names = {hook.name for hook in hooks if hook.stage is Stage.RESOURCE}
    entered = Counter(
        outcome.hook for outcome in result.outcomes if outcome.stage == "startup" and outcome.verdict is Verdict.OK
    )
    exited = Counter(
        event.hook for event in result.events if event.kind is EventKind.HOOK_BEGAN and event.stage == "cleanup"
    )
    for name in sorted(names):
        if entered[name] != exited[name]:
            yield f"resource {name} was entered {entered[name]} times and exited {exited[name]} times"


def _once(result: Result, hooks: list[Hook]) -> Iterator[str]:
    registered = Counter(hook.name for hook in hooks if hook.stage in (Stage.DRAIN, Stage.CLEANUP, Stage.FLUSH))
    ended = Counter(outcome.hook for outcome in result.outcomes if outcome.stage in ("drain", "cleanup", "flush"))
    for name, count in registered.items():
        if ended[name] != count:
            yield f"shutdown hook {name} was registered {count} times and ran or was skipped {ended[name]} times"


def _in_order(result: Result, hooks: list[Hook]) -> Iterator[str]:
    chain = [
        hook.name for hook in reversed(hooks) if hook.stage in (Stage.CLEANUP, Stage.RESOURCE) and hook.after is None
    ]
    known = {*chain}
    began = [
        event.hook
        for event in result.events
        if event.kind is EventKind.HOOK_BEGAN and event.stage == "cleanup" and event.hook in known
    ]
    rest = iter(chain)
    if not all(name in rest for name in began):
        yield f"the cleanup ran in the order {', '.join(map(str, began))}; the last registered is first: {', '.join(chain)}"


def _told(result: Result, raised: Iterable[Injected]) -> Iterator[str]:
    known: set[int] = set()
    report = result.report
    pending: list[BaseException | None] = [result.raised, *(outcome.error for outcome in result.outcomes)]
    if report is not None:
        pending += [failure.exception for failure in report.failures]
    while pending:
        error = pending.pop()
        if error is None or id(error) in known:
            continue
        known.add(id(error))
        pending += [error.__context__, error.__cause__]
        pending += getattr(error, "exceptions", ())  # of a group
    for error in raised:
        if id(error) not in known:
            yield f"{describe(error)} was raised, and is neither raised by the run nor in its report"
