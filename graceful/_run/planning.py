"""
The plan of a shutdown: what the steps and the hooks of a run would do in the worst case, without a run.

Everything that decides about time and order is asked here as it is in a run: `budget` for the slices, `HookSet` for the
order, `Order` for what may start. Only time itself passes differently: each hook takes all that it has.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from graceful._core.budget import (
    FORCED,
    RESERVE,
    cancel_until,
    drain_until,
    half_of_rest,
    slice_of,
    within_timeout,
)
from graceful._core.settings import Settings
from graceful._hooks.hook import Hook, Stage
from graceful._hooks.hook_set import HookSet
from graceful._hooks.order import HookPlan
from graceful._hooks.scheduler import Additions, Order
from graceful._observe.plan import Plan
from graceful._observe.planned import PlannedHook, PlannedStep

__all__ = ["plan_of"]


def plan_of(hooks: Sequence[Hook], settings: Settings) -> Plan:
    """
    The plan of an app.

    Args:
        hooks: Every hook, in the order of registration.
        settings: What the app was made with.

    Raises:
        OrderError: The hooks' `after=` cannot be satisfied.
    """
    known = HookSet(hooks)
    steps = tuple(_steps(known, settings))
    by_name = {step.name: step for step in steps}
    reloads = {number for hook in known.of(Stage.SIGNAL) for number in hook.signals}
    worst = settings.grace + FORCED
    return Plan(
        app=settings.name,
        grace=settings.grace,
        drain_delay=settings.drain_delay,
        drain_share=settings.drain_share,
        signals=tuple(number.name for number in settings.signals if number not in reloads),
        steps=steps,
        worst_case=worst,
        warnings=tuple(_warnings(known, settings, steps)),
        supervisor_timeout=math.ceil(worst),
        server_timeout=max(1, int(by_name["drain"].end - settings.drain_delay)),
    )


def _steps(known: HookSet, settings: Settings) -> Iterator[PlannedStep]:
    grace, delay = settings.grace, settings.drain_delay
    if asked := known.of(Stage.EXCEPTION):
        failure = "only after a failure, and before the other steps"
        half = half_of_rest(0.0, grace)
        yield PlannedStep("on_exception", 0.0, half, failure, tuple(_in_a_row(asked, half)))
    if delay:
        yield PlannedStep("drain_delay", 0.0, delay, "only after a signal: everything goes on")
    drained = drain_until(0.0, delay, grace, settings.drain_share)
    cancelled = cancel_until(drained, grace, drained)
    waited = [hook for hook in known.of(Stage.BACKGROUND) if hook.drain]
    other = [hook for hook in known.of(Stage.BACKGROUND) if not hook.drain]
    drains = [*_scheduled(known, known.drains, delay, drained), *(_task(hook, delay, drained) for hook in waited)]
    cleanups = tuple(_scheduled(known, known.cleanups, cancelled, grace, flushes=known.flush_count))
    over = max((hook.end for hook in cleanups), default=cancelled)
    yield PlannedStep("drain", delay, drained, "work ends by itself", tuple(drains))
    cancelling = "main is cancelled, then all other work"
    yield PlannedStep(
        "cancel", drained, cancelled, cancelling, tuple(_task(hook, drained, cancelled) for hook in other)
    )
    yield PlannedStep("cleanup", cancelled, over, "what was started is released", cleanups)
    flushes = tuple(_scheduled(known, known.flushes, over, grace))
    yield PlannedStep("finish", over, over if flushes else grace, "what is left is cancelled, the loop stops")
    if flushes:
        yield PlannedStep("flush", over, grace, "the last telemetry is sent", flushes)


def _in_a_row(hooks: Sequence[Hook], limit: float) -> Iterator[PlannedHook]:
    """`on_exception` hooks, one after the other."""
    now = 0.0
    for behind, hook in zip(reversed(range(len(hooks))), hooks, strict=True):
        planned = _planned(hook, now, limit, behind)
        now = planned.end
        yield planned


def _scheduled(
    known: HookSet, order: HookPlan, begin: float, limit: float, *, flushes: int = 0
) -> Iterator[PlannedHook]:
    """The hooks of a stage, each as soon as it may start, and each as long as it can take; `flushes` are behind them all."""
    order_of_start = Order(order, Additions())
    beside = _beside(order)
    running: list[tuple[float, int, Hook]] = []
    number = itertools.count()
    now = begin
    while True:
        while (due := order_of_start.next()) is not None:
            hook = due.hook
            after = tuple(each.name for each in order.needs[hook])
            unless = tuple(each.name for each in known.startups_of(hook))
            planned = _planned(hook, now, limit, due.behind + flushes, after, beside[hook], unless)
            heapq.heappush(running, (planned.end, next(number), hook))
            yield planned
        if not running:
            return
        now, _, ended = heapq.heappop(running)
        order_of_start.done(ended)


def _planned(
    hook: Hook,
    now: float,
    limit: float,
    behind: int,
    after: tuple[str, ...] = (),
    beside: tuple[str, ...] = (),
    unless: tuple[str, ...] = (),
) -> PlannedHook:
    share = slice_of(now, limit, behind)
    until = within_timeout(share.cancel_at, now, hook.timeout)
    end = share.abandon_after(until)
    return PlannedHook(hook.name, hook.where, str(hook.stage), now, until, end, hook.timeout, after, beside, unless)


def _task(hook: Hook, begin: float, end: float) -> PlannedHook:
    """A background task, which runs already."""
    return PlannedHook(hook.name, hook.where, str(hook.stage), begin, end, end)


def _beside(order: HookPlan) -> dict[Hook, tuple[str, ...]]:
    """For each hook those that neither come before it nor after it."""
    before: dict[Hook, frozenset[Hook]] = {}
    for hook in order.behind:  # which lists what a hook needs before the hook
        needs = order.needs[hook]
        before[hook] = frozenset(needs).union(*(before[each] for each in needs))
    return {
        hook: tuple(
            other.name
            for other in order.needs
            if other is not hook and other not in before[hook] and hook not in before[other]
        )
        for hook in order.needs
    }


def _warnings(known: HookSet, settings: Settings, steps: Iterable[PlannedStep]) -> Iterator[str]:
    drains, cleanups = known.declared()
    declared = settings.drain_delay + drains + cleanups
    if declared > settings.grace:
        yield (
            f"by their timeouts drain_delay and the hooks may take {declared:g} s, which is more than the grace of "
            f"{settings.grace:g} s: raise the grace or lower the timeouts"
        )
    for hook in (each for step in steps for each in step.hooks if each.kind != Stage.BACKGROUND):
        if hook.timeout is not None and hook.allowed < hook.timeout - 0.005:
            yield (
                f"{hook.name} ({hook.where}) has timeout={hook.timeout:g}, but {hook.allowed:.2f} s in the worst case: "
                "raise the grace, or give the hooks before it a timeout"
            )
        elif hook.timeout is None and hook.allowed < RESERVE * 0.8:
            yield (
                f"{hook.name} ({hook.where}) has only {hook.allowed:.2f} s in the worst case: raise the grace, or give "
                "the hooks before it a timeout"
            )
