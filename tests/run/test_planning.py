"""The plan and the run agree: the order, when each hook begins, and when its time is up, if everything hangs."""

from __future__ import annotations

import asyncio
import dataclasses
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graceful import App, EventKind, OrderError
from graceful.testing import simulate


async def hang(*_):
    """For ever, whatever it is told."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


def worst(app, at=1.0):
    """What happens at SIGTERM if main and a task that is waited for hang."""

    async def main():
        app.create_task(hang(), drain=True)
        await hang()

    return simulate(app, main, at={at: signal.SIGTERM})


def named(name, function=hang):
    async def hook():
        await function()

    hook.__qualname__ = hook.__name__ = name
    return hook


def began(result, stages=("drain", "cleanup", "flush")):
    """Each hook of these stages with its begin and the end of its time, in seconds since the first cause."""
    zero = next(event.at for event in result.events if event.kind is EventKind.STOPPING)
    return [
        (event.hook, round(event.at - zero, 6), round(event.until - zero, 6))
        for event in result.events
        if event.kind is EventKind.HOOK_BEGAN and event.stage in stages
    ]


def planned(app, stages=("drain", "cleanup", "flush")):
    return [
        (hook.name, round(hook.at, 6), round(hook.until, 6))
        for step in app.plan().steps
        if step.name in stages
        for hook in step.hooks
        if hook.kind != "background"
    ]


def step_begins(result):
    zero = next(event.at for event in result.events if event.kind is EventKind.STOPPING)
    return {
        event.stage: round(event.at - zero, 6)
        for event in result.events
        if event.kind is EventKind.STAGE_BEGAN and event.stage != "on_exception"
    }


def chain(**options):
    """Three hooks one after the other, one of them with a timeout, and a resource."""
    app = App("chain", **options)

    @app.resource
    async def pool():
        yield
        await hang()

    app.on_shutdown(named("third"))
    app.on_shutdown(timeout=0.7)(named("second"))
    app.on_shutdown(named("first"))
    return app


def graph(**options):
    """Drain hooks, hooks beside each other, hooks that wait for several."""
    app = App("graph", **options)
    app.on_shutdown(stage="drain")(named("stop_accepting"))
    app.on_shutdown(stage="drain", timeout=0.3)(named("tell_clients"))
    app.on_shutdown(after=())(named("metrics"))
    app.on_shutdown(named("last"))
    app.on_shutdown(after=["metrics", "flush"])(named("both"))
    app.on_shutdown(timeout=1)(named("flush"))
    app.background(drain=True)(named("serve"))
    app.background(named("poll"))
    return app


def flushing(**options):
    """Hooks for the flush, for which each cleanup hook leaves time."""
    app = graph(**options)
    app.on_shutdown(stage="flush")(named("send_spans"))
    app.on_shutdown(stage="flush", timeout=0.2)(named("send_logs"))
    return app


@pytest.mark.parametrize("make", [chain, graph, flushing])
@pytest.mark.parametrize(
    "options",
    [{"grace": 8}, {"grace": 20, "drain_delay": 5}, {"grace": 1, "drain_share": 0.9}, {"grace": 30, "drain_share": 0}],
)
def test_a_plan_is_what_a_run_does_if_everything_hangs(make, options):
    """Main, tasks and hooks hang and swallow their cancellation: each begins when the plan says, and has that time."""
    plan = make(**options).plan()
    result = worst(make(**options))

    assert planned(make(**options)) == began(result)
    assert result.took - 1.0 <= plan.worst_case


def test_the_steps_begin_when_the_run_takes_them():
    """Without a delay the steps begin where the stages of the run do."""
    result = worst(flushing(grace=8))

    assert {step.name: round(step.at, 6) for step in flushing(grace=8).plan().steps} == step_begins(result)


def test_hooks_after_a_failure():
    """The on_exception hooks have half of the grace between them, as in a run."""

    def make():
        app = App("failing", grace=8)
        app.on_exception(named("first"))
        app.on_exception(timeout=0.5)(named("second"))
        app.on_exception(named("third"))
        return app

    async def fail():
        await asyncio.sleep(1)
        raise ValueError("bad")

    result = simulate(make(), fail)
    ran = [
        (event.hook, round(event.at - 1, 6), round(event.until - 1, 6))
        for event in result.events
        if event.kind is EventKind.HOOK_BEGAN
    ]

    assert 3 == len(ran)
    assert planned(make(), ("on_exception",)) == ran


@st.composite
def programs(draw):
    """A grace, and hooks: whether each is for the drain, its timeout, and which earlier ones it waits for."""
    hooks = []
    for index in range(draw(st.integers(0, 7))):
        stage = draw(st.sampled_from(["drain", "cleanup"]))
        earlier = [f"h{number}" for number, each in enumerate(hooks) if each[0] == stage]
        after = draw(st.none() | st.lists(st.sampled_from(earlier), max_size=3, unique=True)) if earlier else None
        hooks.append((stage, draw(st.none() | st.floats(0.05, 5)), after))
    return draw(st.floats(0.5, 60)), draw(st.floats(0, 0.9)), hooks


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_whatever_the_hooks(program):
    """Any graph, any timeouts: the plan and the run agree."""
    grace, share, hooks = program

    def make():
        app = App("any", grace=grace, drain_share=share)
        for index, (stage, timeout, after) in enumerate(hooks):
            app.on_shutdown(stage=stage, timeout=timeout, after=after)(named(f"h{index}"))
        return app

    result = worst(make())

    expected, actual = planned(make()), began(result)
    assert sorted(each[0] for each in expected) == sorted(each[0] for each in actual)
    for name, at, until in expected:
        [(_, ran_at, ran_until)] = [each for each in actual if each[0] == name]
        assert (at, until) == pytest.approx((ran_at, ran_until), abs=1e-3)


def test_a_plan_runs_nothing():
    """No hook, no startup; the app can still run afterwards, and be planned while it runs."""
    ran = []
    app = App("quiet", grace=8)
    app.on_startup(lambda: ran.append("startup"))
    app.on_shutdown(lambda: ran.append("shutdown"))
    app.plan()
    assert [] == ran

    async def main():
        return app.plan()

    assert app.plan() == app.run(main)
    assert ["startup", "shutdown"] == ran


def test_who_runs_beside_whom_and_after_whom():
    """Hooks of one step that wait for each other, by whatever detour, are not beside each other."""
    [cleanup] = [step for step in graph(grace=8).plan().steps if step.name == "cleanup"]
    found = {hook.name: (set(hook.after), set(hook.beside)) for hook in cleanup.hooks}

    assert {
        "flush": (set(), {"metrics"}),
        "metrics": (set(), {"flush", "last"}),
        "last": ({"flush"}, {"metrics", "both"}),
        "both": ({"metrics", "flush"}, {"last"}),
    } == found


def test_what_a_hook_cleans_up_after():
    """It is skipped unless one of these has completed."""
    app = App("startups", grace=8)

    @app.on_startup
    def connect(): ...

    @app.on_shutdown
    def disconnect(): ...

    [cleanup] = [step for step in app.plan().steps if step.name == "cleanup"]
    assert [("connect",)] == [tuple(name.rpartition(".")[2] for name in hook.unless) for hook in cleanup.hooks]


def test_the_numbers():
    """A second more than the grace, rounded up, for whoever supervises; for uvicorn what work has."""
    plan = App("orders", grace=8.5).plan()

    assert (9.5, 10, 4) == (plan.worst_case, plan.supervisor_timeout, plan.server_timeout)
    assert {
        "terminationGracePeriodSeconds": "10",
        "stop_grace_period": "10s",
        "TimeoutStopSec": "10",
        "timeout_graceful_shutdown": "4",
    } == plan.numbers


def test_the_signals():
    """Those that stop the program: not one that an on_signal hook takes."""
    app = App("orders", signals=["TERM", "HUP"])
    app.on_signal("HUP")(lambda: None)

    assert ("SIGTERM",) == app.plan().signals


def test_warnings():
    """Timeouts that do not fit: all together, and one that does not have its time in the worst case."""
    app = App("orders", grace=4)
    app.on_shutdown(timeout=3)(named("flush"))
    app.on_shutdown(timeout=3)(named("close"))
    told = app.plan().warnings

    assert "may take 6 s, which is more than the grace of 4 s" in told[0]
    assert any("close" in each and "timeout=3, but 0.45 s in the worst case" in each for each in told)
    assert () == App("orders").plan().warnings


def test_an_order_that_cannot_be():
    """As in a run."""
    app = App("orders")
    app.on_shutdown(after="nobody")(named("close"))

    with pytest.raises(OrderError, match="nobody"):
        app.plan()


def test_a_plan_is_a_value():
    """Two plans of the same app are equal, and nobody can change one."""
    app = chain(grace=8)

    assert app.plan() == app.plan()
    with pytest.raises(dataclasses.FrozenInstanceError):
        app.plan().grace = 9


def test_the_environment_decides_where_the_code_leaves_it_open(monkeypatch):
    """As in a run: GRACEFUL_GRACE and GRACEFUL_DRAIN_DELAY."""
    monkeypatch.setenv("GRACEFUL_GRACE", "25")
    monkeypatch.setenv("GRACEFUL_DRAIN_DELAY", "3")
    plan = App(drain_delay=None).plan()

    assert (25, 3) == (plan.grace, plan.drain_delay)
    assert "drain_delay" == plan.steps[0].name
