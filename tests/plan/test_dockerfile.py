"""Dockerfiles held against a plan: each misfit with its line and its cure."""

from __future__ import annotations

import pytest

from graceful import App
from graceful._plan.deployed import Level, UnreadableError

GOOD = 'FROM python:3.13\nCOPY . .\nCMD ["python", "-m", "orders"]\n'

#: A file that does not fit, the app, and what is said about it.
MISFITS = {
    "shell form": (
        "FROM python:3.13\nCMD python -m orders\n",
        None,
        (
            "Dockerfile:2: image of Dockerfile: a shell runs 'python -m orders', gets SIGTERM in place of the app, and does not "
            "pass it on: no hook runs -> write the command as a list of words, or exec before the last command"
        ),
    ),
    "shell form, in several lines": (
        "FROM python:3.13\nCMD migrate && \\\n    # then\n    python -m orders\n",
        None,
        "Dockerfile:2: image of Dockerfile: a shell runs 'migrate && python -m orders'",
    ),
    "a list with single quotes is no list": (
        "FROM python:3.13\nCMD ['python', '-m', 'orders']\n",
        None,
        "Dockerfile:2: image of Dockerfile: a shell runs",
    ),
    "an entrypoint in shell form": (
        'FROM python:3.13\nENTRYPOINT python -m orders\nCMD ["--verbose"]\n',
        None,
        "Dockerfile:2: image of Dockerfile: a shell runs 'python -m orders'",
    ),
    "a wrapper and a shell": (
        'FROM python:3.13\nENTRYPOINT ["tini", "--"]\nCMD python -m orders\n',
        None,
        "Dockerfile:3: image of Dockerfile: a shell runs 'python -m orders'",
    ),
    "the last stage counts": (
        'FROM python:3.13 AS builder\nCMD ["python"]\nFROM python:3.13-slim\nCMD python -m orders\n',
        None,
        "Dockerfile:4: image of Dockerfile: a shell runs",
    ),
    "a stage goes on with another": (
        "FROM python:3.13 AS base\nCMD python -m orders\nFROM base\nRUN true\n",
        None,
        "Dockerfile:2: image of Dockerfile: a shell runs",
    ),
    "another signal": (
        GOOD + "STOPSIGNAL SIGQUIT\n",
        None,
        (
            "Dockerfile:4: image of Dockerfile: it is stopped by SIGQUIT, which does not stop the app; what does: SIGINT, "
            "SIGTERM, SIGHUP -> use SIGTERM"
        ),
    ),
    "a variable without effect": (
        GOOD + "ENV GRACEFUL_GRACE=25\n",
        None,
        "Dockerfile:4: image of Dockerfile: GRACEFUL_GRACE=25 has no effect, the code says grace=8",
    ),
    "a variable that is no number": (
        GOOD + "ENV GRACEFUL_GRACE 25s\n",
        App("orders"),
        "Dockerfile:4: image of Dockerfile: the program cannot start: GRACEFUL_GRACE must be a number of seconds, got '25s'",
    ),
    "uvicorn without a limit": (
        'FROM python:3.13\nCMD ["uvicorn", "orders:asgi"]\n',
        App("orders", grace=4),
        "Dockerfile:2: image of Dockerfile: uvicorn waits for its connections without a limit",
    ),
    "fastapi run is uvicorn, and has no option for the limit": (
        'FROM python:3.13\nCMD ["fastapi", "run", "orders.py"]\n',
        App("orders", grace=4),
        (
            "Dockerfile:2: image of Dockerfile: uvicorn waits for its connections without a limit, and the cleanup begins after "
            "that -> start uvicorn itself, with --timeout-graceful-shutdown 2"
        ),
    ),
    "a here-string is no here-document": (
        "FROM python:3.13\nRUN cat <<<hello > /x\nCMD python -m orders\n",
        None,
        "Dockerfile:3: image of Dockerfile: a shell runs",
    ),
    "a shift is no here-document": (
        "FROM python:3.13\nRUN echo $((1<<4)) > /x\nCMD python -m orders\n",
        None,
        "Dockerfile:3: image of Dockerfile: a shell runs",
    ),
    "nor is what stands in quotes": (
        "FROM python:3.13\nRUN echo 'a <<EOF b' > /x\nCMD python -m orders\n",
        None,
        "Dockerfile:3: image of Dockerfile: a shell runs",
    ),
    "after a here-document": (
        "FROM python:3.13\nRUN <<-EOF cat 3<<'E' > /x\n EOF\n\tEOF\n\tE\nE\nCMD python -m orders\n",
        None,
        "Dockerfile:7: image of Dockerfile: a shell runs",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_misfits(misfits, name):
    """One misfit each, with the line and the cure."""
    text, app, said = MISFITS[name]
    [found] = misfits("Dockerfile", text, app=app)

    assert said in found


#: Files that fit.
FITS = {
    "a list of words": GOOD,
    "exec": "FROM python:3.13\nCMD migrate && exec python -m orders\n",
    "an entrypoint and its arguments": 'FROM python:3.13\nENTRYPOINT ["python", "-m"]\nCMD ["orders"]\n',
    "a wrapper": 'FROM python:3.13\nENTRYPOINT ["tini", "--", "python", "-m", "orders"]\n',
    "an earlier stage": 'FROM node AS build\nCMD npm start\nFROM python\nCMD ["python", "-m", "orders"]\n',
    "a health check": GOOD + "HEALTHCHECK --interval=5s CMD curl -f http://localhost/\n",
    "a here-document": "FROM python\nRUN <<EOF\nCMD python\nbad\nEOF\n" + GOOD.partition("\n")[2],
    "a signal from an argument": "ARG STOP=TERM\n" + GOOD + "STOPSIGNAL SIG${STOP}\n",
    "another escape": '# escape=`\nFROM python\nCMD ["python", `\n  "-m", "orders"]\n',
    "tabs": 'FROM\tpython:3.13\n\tCMD\t["python", "-m", "orders"]\n',
    "small letters": 'from python\ncmd ["python", "-m", "orders"]\n',
}


@pytest.mark.parametrize("name", FITS)
def test_fits(fits, name):
    """Nothing but OK, with the sum."""
    found = fits("Dockerfile", FITS[name])

    assert [Level.OK] == [each.level for each in found]
    assert "image of Dockerfile: docker stop is 10 s by default, needed 9 s (grace 8 + 1 for the end)" == found[0].what


@pytest.mark.parametrize(
    ("text", "total"),
    [
        (GOOD + "ENV GRACEFUL_GRACE=4\n", "GRACEFUL_GRACE 4"),
        (GOOD + 'ENV A="b c" GRACEFUL_GRACE="4"\n', "GRACEFUL_GRACE 4"),
        (GOOD + "ARG GRACE=4\nENV GRACEFUL_GRACE=$GRACE\n", "GRACEFUL_GRACE 4"),
        ("FROM python AS base\nENV GRACEFUL_GRACE=4\nFROM base\n" + GOOD.partition("\n")[2], "GRACEFUL_GRACE 4"),
        ("FROM python AS base\nENV GRACEFUL_GRACE=4\n" + GOOD, "grace 8"),
    ],
)
def test_the_environment(fits, text, total):
    """It changes the plan, also where a stage inherits it."""
    [found] = fits("Dockerfile", text, app=App("orders"))

    assert f"({total} + 1 for the end)" in found.what


def test_too_little_time_is_not_the_files_fault(fits):
    """Nothing in a Dockerfile says how long `docker stop` waits, so it is a note."""
    [found] = fits("Dockerfile", GOOD, app=App("orders", grace=20))

    assert Level.NOTE is found.level
    assert "docker stop is 10 s by default, but the shutdown may take 21 s" in found.what
    assert found.cure.startswith("docker run --stop-timeout=21")


def test_an_entrypoint_script(fits):
    """It must become the app; one that is not there is not judged."""
    text = 'FROM python\nENTRYPOINT ["/entrypoint.sh"]\nCMD ["python", "-m", "orders"]\n'

    [_, found] = fits("Dockerfile", text, others={"entrypoint.sh": '#!/bin/sh\nset -e\n"$@"\n'})
    assert (Level.MISFIT, "entrypoint.sh:3") == (found.level, found.place)
    assert 'exec "$@" as its last command' == found.cure

    assert [Level.OK] == [
        each.level for each in fits("Dockerfile", text, others={"entrypoint.sh": '#!/bin/sh\nset -e\nexec "$@"\n'})
    ]

    [_, found] = fits("other/Dockerfile", text)
    assert Level.NOTE is found.level


def test_no_command(fits):
    """What is started is not in the file."""
    found = fits("Dockerfile", "FROM python:3.13\nRUN true\n")

    assert [Level.OK, Level.NOTE] == [each.level for each in found]
    assert "what is started is up to the base image python:3.13" in found[1].what


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ARG A=1\n", "Dockerfile: expected a Dockerfile with at least one FROM"),
        ("FROM python\nCDM python\n", "Dockerfile:2: expected an instruction of a Dockerfile, got 'CDM'"),
        ("FROM python\nRUN <<EOF\n EOF\n", "Dockerfile:2: expected a line 'EOF' that ends the here-document"),
        ("services: {}\n", "Dockerfile:1: expected an instruction of a Dockerfile, got 'SERVICES:'"),
    ],
)
def test_unreadable(fits, text, said):
    """What was expected is told."""
    with pytest.raises(UnreadableError) as raised:
        fits("Dockerfile", text)

    assert said in str(raised.value)
