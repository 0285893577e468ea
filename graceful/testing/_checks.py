"""What must hold for every run of every app, whatever goes wrong in it: checked without being asked."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from graceful._core.errors import Interrupted
from graceful._core.types import EventKind, Outcome, Verdict, describe
from graceful._hooks.hook import Hook, Stage
from graceful._process.exit import EX_SOFTWARE
from graceful.testing._injection import Injected, Injection
from graceful.testing._result import KILLED, Result

__all__ = ["unsound", "violations"]

#: Seconds past the grace that are part of the promise.
_TOLERANCE = 0.5


def unsound(result: Result) -> Iterator[str]:
    """
    Sentences that say why a program does not work even without a fault, so that nothing can be learned with one.

    Args:
        result: A run without a fault, in which SIGTERM may have ended the program.
    """
    told: set[int] = set()
    for outcome in result.outcomes:
        if outcome.verdict in (Verdict.RAISED, Verdict.TIMED_OUT) and outcome.stage != "cancel":
            told.add(id(outcome.error))
            error = f": {describe(outcome.error)}" if outcome.error is not None else ""
            yield f"without a fault, {outcome.stage} {outcome.hook} ({outcome.where}) {outcome.verdict}{error}"
    if result.raised is not None and id(result.raised) not in told and not _is_clean_end(result.raised):
        yield f"without a fault, the program raised {describe(result.raised)}"
    if not result.steps:
        yield "without a fault, the loop took no step"


def _is_clean_end(raised: BaseException) -> bool:
    if isinstance(raised, SystemExit):
        return not raised.code
    return isinstance(raised, Interrupted) and raised.signal == signal.SIGTERM


def violations(
    result: Result, hooks: list[Hook], grace: float, injection: Injection, late: Sequence[Hook] = ()
) -> Iterator[str]:
    """
    Sentences that say what does not hold.

    Args:
        result: The run.
        hooks: The hooks of the app before the run, in the order of registration.
        grace: What the app was given for its shutdown, in seconds.
        injection: The faults, with what was raised while the app could hear of it.
        late: The hooks that were registered in the run.
    """
    yield from _in_time(result, grace)
    yield from (f"left behind: {each}" for each in result.left)
    cut_short = bool(result.last_words) or result.exit_status == KILLED
    if cut_short or not any(event.kind is EventKind.STOPPING for event in result.events):
        return
    yield from _released(result, hooks)
    yield from _once(result, [*hooks, *late])
    yield from _in_order(result, hooks, late)
    report = result.report
    killed = result.raised is None and result.exit_status < 0  # by a signal that came when the app was over
    if not (killed and report is None):  # else it came before anybody could be told
        yield from _told(result, injection.raised)
    decided_outside = killed or _as_interrupt(result) or injection.owner_cancelled
    if report is not None and not decided_outside and report.exit_status != result.exit_status:
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


def _key(hook: Hook) -> tuple[str, str]:
    """What tells a hook from others, as far as its outcome can: its name, and where it is defined."""
    return hook.name, hook.where


def _key_of(outcome: Outcome) -> tuple[str, str]:
    return outcome.hook, outcome.where


def _released(result: Result, hooks: list[Hook]) -> Iterator[str]:
    entered = Counter(
        _key_of(outcome) for outcome in result.outcomes if outcome.stage == "startup" and outcome.verdict is Verdict.OK
    )
    exited = Counter(_cleaned_up(result))
    for key in sorted({_key(hook) for hook in hooks if hook.stage is Stage.RESOURCE}):
        if entered[key] != exited[key]:
            yield f"resource {key[0]} was entered {entered[key]} times and exited {exited[key]} times"


def _once(result: Result, hooks: list[Hook]) -> Iterator[str]:
    registered = Counter(_key(hook) for hook in hooks if hook.stage in (Stage.DRAIN, Stage.CLEANUP, Stage.FLUSH))
    ended = Counter(_key_of(outcome) for outcome in result.outcomes if outcome.stage in ("drain", "cleanup", "flush"))
    for key, count in registered.items():
        if ended[key] != count:
            yield f"shutdown hook {key[0]} was registered {count} times and ran or was skipped {ended[key]} times"


def _in_order(result: Result, hooks: list[Hook], late: Sequence[Hook]) -> Iterator[str]:
    """
    Of the hooks without `after=`, one begins when the one before has ended. So they end in the order in which they begin.

    When a late one begins depends on when it was registered.
    """
    cleanup = [hook for hook in reversed(hooks) if hook.stage in (Stage.CLEANUP, Stage.RESOURCE)]
    others = {_key(hook) for hook in [*late, *(each for each in cleanup if each.after is not None)]}
    chain = [_key(hook) for hook in cleanup if _key(hook) not in others]
    known = {*chain}
    ended = [key for key in _cleaned_up(result) if key in known]
    rest = iter(chain)
    if not all(key in rest for key in ended):
        ran, expected = (", ".join(f"{name} ({where})" for name, where in keys) for keys in (ended, chain))
        yield f"the cleanup ran in the order {ran}; the last registered is first: {expected}"


def _cleaned_up(result: Result) -> list[tuple[str, str]]:
    """The hooks and resources whose cleanup ran, in the order in which they ended."""
    return [
        _key_of(outcome)
        for outcome in result.outcomes
        if outcome.stage == "cleanup" and outcome.verdict is not Verdict.SKIPPED
    ]


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
    stopping = next(event.at for event in result.events if event.kind is EventKind.STOPPING)
    for error in raised:
        if id(error) not in known and stopping > error.noticed_from:
            yield f"{describe(error)} was raised, and is neither raised by the run nor in its report"
