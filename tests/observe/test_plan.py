"""The plan as text, as JSON, which keeps to its schema, as a gantt chart and as a picture."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest
from support.reports import HOSTILE
from support.schema import schema_of, violations

from graceful import App

SCHEMA = schema_of("plan")


def named(name):
    def hook(): ...

    hook.__qualname__ = hook.__name__ = name
    return hook


def bare():
    return App("bare", grace=8).plan()


def eventful():
    """Every step, and every kind of hook."""
    app = App("orders", grace=20, drain_delay=5)

    @app.resource
    def pool():
        yield

    @app.background
    async def refresh(): ...

    @app.background(drain=True)
    async def serve(): ...

    app.on_startup(named("connect"))
    app.on_shutdown(timeout=2)(named("flush"))
    app.on_shutdown(after=())(named("metrics"))
    app.on_shutdown(named("disconnect"))
    app.on_shutdown(stage="drain")(named("stop_accepting"))
    app.on_exception(named("report"))
    return app.plan()


def long():
    """40 hooks, half of them beside each other."""
    app = App("long", grace=60)
    for number in range(20):
        app.on_shutdown(named(f"in_a_row_{number}"))
        app.on_shutdown(after=())(named(f"beside_the_others_{number}"))
    return app.plan()


def hostile():
    """Names that mean something in each format."""
    app = App(HOSTILE, grace=0.5)
    app.on_shutdown(named(HOSTILE))
    return app.plan()


PLANS = {each.__name__: each for each in (bare, eventful, long, hostile)}


@pytest.mark.parametrize("name", PLANS)
def test_json_keeps_to_its_schema(name):
    """Whatever is in the plan, its JSON is what the published schema says."""
    assert [] == violations(json.loads(PLANS[name]().json()), SCHEMA)


@pytest.mark.parametrize(
    ("key", "value"), [("version", 2), ("steps", [{}]), ("grace", "8"), ("numbers", {}), ("more", 1)]
)
def test_the_schema_is_checked(key, value):
    """What is wrong in a document is found."""
    assert [] != violations({**json.loads(eventful().json()), key: value}, SCHEMA)


def test_json_says_what_the_plan_says():
    """The same numbers, rounded to a microsecond."""
    plan = eventful()
    told = json.loads(plan.json())

    assert (plan.app, plan.grace, plan.worst_case) == (told["app"], told["grace"], told["worst_case"])
    assert [step.name for step in plan.steps] == [step["name"] for step in told["steps"]]
    hooks = [(hook.name, hook.kind, hook.at, hook.end) for step in plan.steps for hook in step.hooks]
    assert hooks == [
        (each["name"], each["kind"], each["at"], each["end"]) for s in told["steps"] for each in s["hooks"]
    ]


def test_text():
    """A line for each step and hook, with its slice, and the numbers to paste at the end."""
    lines = eventful().text().splitlines()

    assert "orders: the shutdown after a signal, if everything takes all the time it has (grace 20 s)" == lines[0]
    [flush] = [line for line in lines if line.startswith(" ") and " flush (" in line]
    assert re.search(
        r"^ +19\.00 +19\.50 s    flush \(.*\): cleanup, has 0\.45 s \(timeout=2\), after disconnect, beside metrics",
        flush,
    )
    [delay] = [line for line in lines if "drain_delay: " in line]
    assert re.search(r"^ +0\.00 +5\.00 s  drain_delay: only after a signal", delay)
    assert any(line.startswith("warning: flush (") for line in lines)
    assert [
        "  terminationGracePeriodSeconds:  21    Kubernetes; add what a preStop hook takes",
        "  stop_grace_period:              21s   Compose",
        "  TimeoutStopSec:                 21    systemd",
        "  timeout_graceful_shutdown:      7     of uvicorn, if it owns the process; then write 28 instead of 21 above",
    ] == lines[-4:]


def test_many_beside_each_other():
    """Two names and a number, not all of them."""
    [line] = [line for line in long().text().splitlines() if "beside_the_others_0 (" in line]

    assert line.count("_") < 12
    assert " and 37 more" in line


@pytest.mark.parametrize("name", PLANS)
def test_mermaid(name):
    """Each bar has a name, an identifier of its own, a begin and a length; nothing else is in a line."""
    lines = PLANS[name]().mermaid().splitlines()
    bars = [line for line in lines[4:] if not line.startswith("    section ")]

    assert ["gantt", "    dateFormat x"] == [lines[0], lines[2]]
    matches = [re.fullmatch(r"    [^:;#%,]+ :(done, |milestone, )?(\w+), \d+, \d+ms", bar) for bar in bars]
    assert None not in matches
    identifiers = [match[2] for match in matches]
    assert sorted({*identifiers}) == sorted(identifiers)


@pytest.mark.parametrize("name", PLANS)
def test_svg(name):
    """A document of its own, with what is read aloud; each bar lies on the axis."""
    plan = PLANS[name]()
    svg = ET.fromstring(plan.svg())
    [description] = [each.text for each in svg if each.tag.endswith("desc")]
    bars = [each for each in svg.iter() if each.tag.endswith("rect") and each.get("rx")]

    assert "600" == svg.get("width")
    assert len(bars) == sum(1 + len(step.hooks) for step in plan.steps)
    for bar in bars:
        assert 196 <= float(bar.get("x")) and float(bar.get("x")) + float(bar.get("width")) <= 476
    assert all(step.name in description for step in plan.steps)
    assert all(hook.where in description for step in plan.steps for hook in step.hooks)


def test_svg_beginnings():
    """A hook's bar begins where the hook does."""
    plan = eventful()
    svg = ET.fromstring(plan.svg())
    groups = [each for each in svg.iter() if each.tag.endswith("}g")]
    [found] = [group for group in groups if group[0].text.startswith("stop_accepting ")]
    [bar] = [each for each in found if each.get("rx")]

    assert 196 + 5 / 20 * (474 - 196) == pytest.approx(float(bar.get("x")), abs=0.1)
