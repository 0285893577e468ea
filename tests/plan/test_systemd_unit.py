"""Unit files held against a plan: each misfit with its line and its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from graceful import App
from graceful._plan.deployed import Level, UnreadableError
from graceful._plan.systemd_unit import read_units

GOOD = """\
[Unit]
Description=orders

[Service]
Type=exec
ExecStart=/opt/orders/bin/python -m orders
Restart=on-failure
TimeoutStopSec=15

[Install]
WantedBy=multi-user.target
"""
SLOW = App("orders", grace=100)


def unit(*changes: tuple[str, str], more: str = "") -> str:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.replace("\n[Install]", f"{more}\n[Install]")


#: A unit that does not fit, the app, and what is said about it.
MISFITS = {
    "too little time": (
        unit(("=15", "=5")),
        None,
        (
            "o.service:8: o.service: TimeoutStopSec is 5 s, but the shutdown may take 9 s (grace 8 + 1 for the end) -> "
            "TimeoutStopSec=9"
        ),
    ),
    "in words": (unit(("=15", "=1s 500ms")), None, "TimeoutStopSec is 1.5 s, but"),
    "the default is too little": (
        unit(("TimeoutStopSec=15\n", "")),
        SLOW,
        "o.service:4: o.service: TimeoutStopSec is 90 s by default, but the shutdown may take 101 s",
    ),
    "the last one counts": (
        unit(more="TimeoutStopSec=2\n"),
        None,
        "o.service:9: o.service: TimeoutStopSec is 2 s, but",
    ),
    "TimeoutSec means it, too": (unit(("TimeoutStopSec=15", "TimeoutSec=3")), None, "TimeoutStopSec is 3 s, but"),
    "the environment": (
        unit(more='Environment="OTHER=a b" GRACEFUL_GRACE=20\n'),
        App("orders"),
        "TimeoutStopSec is 15 s, but the shutdown may take 21 s (GRACEFUL_GRACE 20 + 1 for the end)",
    ),
    "a variable without effect": (
        unit(more="Environment=GRACEFUL_GRACE=12\n"),
        None,
        "o.service:9: o.service: GRACEFUL_GRACE=12 has no effect, the code says grace=8",
    ),
    "a variable that is no number": (
        unit(more="Environment=GRACEFUL_GRACE=12s\n"),
        App("orders"),
        "o.service:9: o.service: the program cannot start: GRACEFUL_GRACE must be a number of seconds, got '12s'",
    ),
    "KillMode=process": (
        unit(more="KillMode=process\n"),
        None,
        "o.service:9: KillMode=process: children that are left at the end are not killed -> KillMode=mixed",
    ),
    "KillMode=none": (unit(more="KillMode=none\n"), None, "KillMode=none: nothing is ended"),
    "KillSignal": (
        unit(more="KillSignal=SIGQUIT\n"),
        None,
        (
            "o.service:9: o.service: it is stopped by SIGQUIT, which does not stop the app; what does: SIGINT, SIGTERM, SIGHUP "
            "-> use SIGTERM"
        ),
    ),
    "SIGKILL": (unit(more="KillSignal=9\n"), None, "no handler can take SIGKILL"),
    "no such signal": (unit(more="KillSignal=TERMINATE\n"), None, "there is no signal 'TERMINATE'"),
    "a type that waits for a fork": (
        unit(("Type=exec", "Type=forking")),
        None,
        (
            "o.service:5: Type=forking: the program stays in the foreground, so its start times out and it is killed -> "
            "Type=notify"
        ),
    ),
    "nobody hears READY": (
        unit(("Type=exec", "Type=notify"), more="NotifyAccess=none\n"),
        None,
        "o.service:9: NotifyAccess=none: READY=1 is not heard, and the start times out -> NotifyAccess=main",
    ),
    "a failure is not restarted": (
        unit(("on-failure", "on-abnormal")),
        None,
        (
            "o.service:7: Restart=on-abnormal: a failure ends the program with status 1, and is not restarted -> "
            "Restart=on-failure"
        ),
    ),
    "a failure is a success": (
        unit(more="SuccessExitStatus=143 1\n"),
        None,
        "o.service:9: SuccessExitStatus=143 1: a failure (status 1) counts as success -> take 1 away",
    ),
    "a forced end is not restarted": (
        unit(more="RestartPreventExitStatus=70\n"),
        None,
        "a shutdown that had to be forced (status 70) is not restarted -> take 70 away",
    ),
    "SendSIGHUP": (
        unit(more="SendSIGHUP=yes\n"),
        "reloads",
        (
            "o.service:9: SendSIGHUP=yes: SIGHUP follows SIGTERM at once, which does not stop this app but means something "
            "else -> SendSIGHUP=no"
        ),
    ),
    "SendSIGKILL": (unit(more="SendSIGKILL=no\n"), None, "SendSIGKILL=no: children that hang are never ended"),
    "a shell in between": (
        unit(("/opt/orders/bin/python -m orders", "-/bin/sh -c 'cd /opt && python -m orders'")),
        None,
        "o.service:6: o.service: a shell runs 'cd /opt && python -m orders', gets SIGTERM in place of the app",
    ),
    "uvicorn after a failure": (
        unit(("/opt/orders/bin/python -m orders", "/opt/bin/uvicorn --timeout-graceful-shutdown 5 orders:asgi")),
        None,
        (
            "o.service:7: Restart=on-failure: uvicorn dies by SIGTERM after a failure, too, which systemd takes for success -> "
            "Restart=always"
        ),
    ),
}


def app_of(which: App | str | None) -> App | None:
    if which != "reloads":
        return which
    app = App("orders", grace=8)
    app.on_signal("HUP")(lambda: None)
    return app


@pytest.mark.parametrize("name", MISFITS)
def test_misfits(misfits, name):
    """One misfit each, with the line and the cure."""
    text, app, said = MISFITS[name]
    [found] = misfits("o.service", text, app=app_of(app))

    assert said in found


#: Units that fit, and the sum that is shown.
FITS = {
    "enough time": (GOOD, None, "o.service: TimeoutStopSec is 15 s, needed 9 s (grace 8 + 1 for the end)"),
    "a job of a timer": (unit(("Type=exec", "Type=oneshot")), None, "TimeoutStopSec is 15 s, needed 9 s"),
    "the default": (unit(("TimeoutStopSec=15\n", "")), None, "TimeoutStopSec is 90 s by default, needed 9 s"),
    "in words": (unit(("=15", "=1min 30s")), None, "TimeoutStopSec is 90 s, needed"),
    "without a limit": (unit(("=15", "=infinity")), SLOW, "TimeoutStopSec is infinity, needed 101 s"),
    "0 is no limit, too": (unit(("=15", "=0")), SLOW, "TimeoutStopSec is infinity, needed 101 s"),
    "the environment": (
        unit(more="Environment=GRACEFUL_GRACE=3\n"),
        App("orders"),
        "needed 4 s (GRACEFUL_GRACE 3 + 1 for the end)",
    ),
    "a list that is forgotten": (
        unit(more="Environment=GRACEFUL_GRACE=60\nSuccessExitStatus=1\nEnvironment=\nSuccessExitStatus=\n"),
        App("orders"),
        "needed 9 s",
    ),
    "a value that is forgotten": (unit(("=15", "=2"), more="TimeoutStopSec=\n"), None, "is 90 s by default"),
    "a line that goes on": (
        unit(more="ExecStart=\nExecStart=/bin/sh -c \\\n# a comment\n  'exec python -m orders'\n"),
        None,
        "needed 9 s",
    ),
    "another section": (unit().replace("[Install]", "[X-Other]\nTimeoutStopSec=1\n[Install]"), None, "is 15 s"),
    "SIGINT stops it, too": (unit(more="KillSignal=INT\nKillMode=mixed\nSendSIGHUP=yes\n"), None, "is 15 s"),
    "restarted after uvicorn": (
        unit(("-m orders", "-m uvicorn --timeout-graceful-shutdown 5 orders:asgi"), ("on-failure", "always")),
        None,
        "needed 14 s (uvicorn 5 + grace 8 + 1 for the end)",
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_fits(fits, name):
    """Nothing but OK, with the sum."""
    text, app, said = FITS[name]
    found = fits("o.service", text, app=app)

    assert [Level.OK] == [each.level for each in found]
    assert said in found[0].what


def test_drop_ins(misfits):
    """Those beside the unit are read with it, by their names."""
    others = {
        "o.service.d/20-later.conf": "[Service]\nTimeoutStopSec=4\n",
        "o.service.d/10-earlier.conf": "[Service]\nTimeoutStopSec=3\n",
        "o.service.d/notes.txt": "[Service]\nTimeoutStopSec=1\n",
    }
    [found] = misfits("o.service", GOOD, others=others)

    assert found.startswith("o.service.d/20-later.conf:2: o.service: TimeoutStopSec is 4 s, but")


def test_a_drop_in_alone(fits):
    """What it does not say has no default: the unit may say it."""
    [found] = fits("o.service.d/10.conf", "[Service]\nRestart=on-failure\n")
    assert (Level.NOTE, "TimeoutStopSec=9") == (found.level, found.cure)

    [found] = fits("o.service.d/10.conf", "[Service]\nTimeoutStopSec=4\n")
    assert Level.MISFIT is found.level


@pytest.mark.parametrize("kind", ["notify", "notify-reload"])
def test_more_time_is_asked_for(fits, kind):
    """Where systemd is told how it goes, too little time is a note: the app asks for more while the loop turns."""
    [found] = fits("o.service", unit(("exec", kind), ("=15", "=5")))

    assert (Level.NOTE, "TimeoutStopSec=9") == (found.level, found.cure)
    assert "the app asks for more, but only while the loop turns" in found.what


def test_a_file_with_variables(fits):
    """It is not read, and that is said."""
    note, ok = fits("o.service", unit(more="EnvironmentFile=-/etc/default/orders\n"))[::-1]

    assert (Level.OK, Level.NOTE) == (ok.level, note.level)
    assert "EnvironmentFile=-/etc/default/orders was not read" in note.what


def test_the_example(fits):
    """What the repository shows fits."""
    example = Path(__file__).parents[2] / "examples/deploy/orders.service"

    assert [Level.OK] == [each.level for each in fits("orders.service", example.read_text())]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Unit]\nDescription=x\n", "o.service: expected a section [Service]"),
        (
            unit(("=15", "=soon")),
            "o.service:8: TimeoutStopSec: expected a time span such as 20 or 1min 30s, got 'soon'",
        ),
        (unit(("=15", "=15 parsecs")), "got '15 parsecs'"),
        ("", "o.service: expected a service unit of systemd, "),
    ],
)
def test_unreadable(fits, text, said):
    """What was expected is told."""
    with pytest.raises(UnreadableError) as raised:
        fits("o.service", text)

    assert said in str(raised.value)


def test_of_a_unit_and_its_drop_in_the_last_one_counts():
    """Whichever key it has, and on whichever line."""
    files = [("o.service", GOOD), ("o.service.d/limit.conf", "[Service]\nTimeoutSec=5\n")]
    [found] = read_units(files)

    assert (5, "o.service.d/limit.conf:2") == (found.wait, found.wait_place)
