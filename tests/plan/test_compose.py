"""Compose files held against a plan: each misfit with its line and its cure."""

from __future__ import annotations

import json

import pytest

from graceful import App
from graceful._plan.deployed import Level, UnreadableError


def compose(*lines: str, command: str = "python -m orders") -> str:
    return "\n".join(
        [
            "services:",
            "  db:",
            "    image: postgres",
            "    stop_grace_period: 1s",
            "  api:",
            "    build: .",
            f"    command: {command}",
            *(f"    {line}" for line in lines),
            "",
        ]
    )


SLOW = App("orders", grace=12)

#: A file that does not fit, the app, and what is said about it.
MISFITS = {
    "too little time": (
        compose("stop_grace_period: 5s"),
        None,
        (
            "compose.yaml:8: service api: stop_grace_period is 5 s, but the shutdown may take 9 s (grace 8 + 1 for the end) -> "
            "stop_grace_period: 9s"
        ),
    ),
    "in parts": (compose("stop_grace_period: 1s500ms"), None, "stop_grace_period is 1.5 s, but"),
    "the default": (compose(), SLOW, "stop_grace_period is 10 s by default, but the shutdown may take 13 s"),
    "the default of a variable": (compose("stop_grace_period: ${STOP:-4s}"), None, "stop_grace_period is 4 s, but"),
    "the environment as a list": (
        compose("environment:", "  - GRACEFUL_GRACE=20"),
        App("orders"),
        "stop_grace_period is 10 s by default, but the shutdown may take 21 s (GRACEFUL_GRACE 20 + 1 for the end)",
    ),
    "the environment as a mapping": (
        compose("environment:", "  GRACEFUL_GRACE: 20"),
        App("orders"),
        "but the shutdown may take 21 s",
    ),
    "a variable without effect": (
        compose("environment:", "  GRACEFUL_DRAIN_DELAY: 5"),
        None,
        (
            "compose.yaml:9: service api: GRACEFUL_DRAIN_DELAY=5 has no effect, the code says drain_delay=0 -> write "
            "App(drain_delay=None) in the code"
        ),
    ),
    "another signal": (
        compose("stop_signal: SIGUSR1"),
        None,
        "compose.yaml:8: service api: it is stopped by SIGUSR1, which does not stop the app",
    ),
    "a shell in between": (
        compose(command="sh -c 'python -m orders; echo done'"),
        None,
        "compose.yaml:7: service api: a shell runs 'python -m orders; echo done', gets SIGTERM in place of the app",
    ),
    "a shell as the entrypoint": (
        compose('entrypoint: ["/bin/sh", "-c"]', "init: true", command='["python -m orders"]'),
        None,
        "compose.yaml:8: service api: a shell runs 'python -m orders'",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_misfits(misfits, name):
    """One misfit each, with the line and the cure; the database is not looked at."""
    text, app, said = MISFITS[name]
    [found] = misfits("compose.yaml", text, app=app)

    assert said in found


#: Files that fit, and the sum that is shown.
FITS = {
    "the default": (compose(), None, "stop_grace_period is 10 s by default, needed 9 s (grace 8 + 1 for the end)"),
    "a string is no shell": (compose("stop_grace_period: 1m"), SLOW, "stop_grace_period is 60 s, needed 13 s"),
    "exec": (compose(command="sh -c 'exec python -m orders'"), None, "needed 9 s"),
    "a number of a signal": (compose("stop_signal: 15", "init: true"), None, "needed 9 s"),
    "tags of Compose": (compose("ports: !reset []", "stop_grace_period: !override 20s"), None, "is 20 s"),
    "an anchor": ("x-stop: &stop 20s\n" + compose("stop_grace_period: *stop"), SLOW, "is 20 s, needed 13 s"),
    "JSON": (
        json.dumps({"name": "x", "services": {"api": {"command": ["python"], "stop_grace_period": "20s"}}}),
        SLOW,
        "is 20 s, needed 13 s",
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_fits(fits, name):
    """Nothing but OK, with the sum."""
    text, app, said = FITS[name]
    found = fits("compose.yaml", text, app=app)

    assert [Level.OK] == [each.level for each in found]
    assert said in found[0].what


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["env_file: .env"], "env_file was not read"),
        (["environment: [GRACEFUL_GRACE]"], "the value of GRACEFUL_GRACE is not in the file"),
        (["stop_grace_period: ${STOP}"], "the file does not say how long it may take; it needs 9 s"),
    ],
)
def test_what_cannot_be_told(fits, lines, said):
    """It is said, and is no misfit."""
    found = fits("compose.yaml", compose(*lines))

    assert Level.MISFIT not in {each.level for each in found}
    assert any(said in each.what for each in found if each.level is Level.NOTE)


@pytest.mark.parametrize(
    ("services", "judged"),
    [
        ({"a": {"image": "x"}, "b": {"image": "y"}}, ["service a", "service b"]),
        ({"a": {"image": "x"}, "b": {"build": "."}}, ["service b"]),
        ({"a": {"build": "."}, "b": {"image": "y", "command": "orders serve"}}, ["service b"]),
        ({"a": {"build": "."}, "b": {"image": "y", "environment": {"GRACEFUL_GRACE": "8"}}}, ["service b"]),
    ],
)
def test_which_services_are_judged(fits, services, judged):
    """Those that name the app; else those that are built; else all."""
    found = fits("compose.json", json.dumps({"services": services}), app=App("orders"))

    assert judged == [each.what.partition(":")[0] for each in found]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "stop_grace_period: 20",
            "compose.yaml:8: stop_grace_period: expected a duration such as 20s or 1m30s, got 20",
        ),
        ("stop_grace_period: 20 seconds", "got '20 seconds'"),
    ],
)
def test_unreadable(fits, line, said):
    """What was expected is told."""
    with pytest.raises(UnreadableError) as raised:
        fits("compose.yaml", compose(line))

    assert said in str(raised.value)
