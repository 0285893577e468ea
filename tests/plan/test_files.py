"""Whatever is in a file: it is compared, or the message says what was expected; never a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graceful import App
from graceful._plan.deployed import Finding, UnreadableError
from graceful._plan.fits import compare
from graceful._plan.target import Target

CONTAINER = {
    "name": "api",
    "command": ["python", "-m", "orders"],
    "env": [{"name": "GRACEFUL_GRACE", "value": "8"}],
    "lifecycle": {"preStop": {"sleep": {"seconds": 5}, "exec": {"command": ["sleep", "5"]}}, "stopSignal": "SIGTERM"},
    "readinessProbe": {"periodSeconds": 1, "failureThreshold": 2},
    "livenessProbe": {"terminationGracePeriodSeconds": 30},
}
POD = {"terminationGracePeriodSeconds": 30, "restartPolicy": "Always", "containers": [CONTAINER]}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "orders"},
    "spec": {"template": {"spec": POD}},
}
LIST = {"apiVersion": "v1", "kind": "List", "items": [DEPLOYMENT]}
COMPOSE = {
    "services": {
        "api": {
            "build": ".",
            "command": "python -m orders",
            "entrypoint": ["tini", "--"],
            "stop_grace_period": "20s",
            "stop_signal": "SIGTERM",
            "environment": {"GRACEFUL_GRACE": "8"},
            "env_file": ".env",
        }
    }
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*path, key))
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from places(each, (*path, index))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    document = copy.deepcopy(document)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return document


ODD = [
    None,
    True,
    5,
    -1,
    2.5,
    1e400,
    "",
    "x",
    "a 'b",
    "${X}",
    [],
    [None],
    [[]],
    {},
    {"x": None},
    [{"name": 5}],
    ["sh", "-c"],
]
CASES = [
    (f"{name} {'.'.join(map(str, path))}", replaced(document, path, value))
    for name, document in (("deployment", DEPLOYMENT), ("list", LIST), ("compose", COMPOSE))
    for path in places(document)
    for value in ODD
]


def judged(text: str, name: str, folder: Any) -> list[Finding]:
    (folder / name).write_text(text)
    findings, unreadable = compare(Target(App("orders"), "orders"), [str(folder / name)])
    assert findings or unreadable
    assert all(each.place.startswith(str(folder)) for each in findings)
    return findings


def test_any_value_anywhere(tmp_path) -> None:
    """Each value of a manifest and of a Compose file is replaced by something that does not belong there."""
    assert 1000 < len(CASES)
    for name, document in CASES:
        try:
            judged(json.dumps(document), "file.json", tmp_path)
        except Exception as error:
            raise AssertionError(f"{name}: {document}") from error


LINES = st.sampled_from(
    ["[Service]", "[Unit]", "TimeoutStopSec=5", "TimeoutStopSec=", "=", "ExecStart=sh -c 'x", 'Environment="A', "KillSignal=x",
     "KillSignal=\\", "\\", "#", "Type=notify", "FROM a AS b", "FROM b", "FROM", "CMD", "CMD [", 'CMD ["a", 1]', "ENTRYPOINT x",
     "ENV A", "ENV =", "ENV GRACEFUL_GRACE=$X", "ARG", "ARG GRACEFUL_GRACE", "STOPSIGNAL", "STOPSIGNAL $S", "RUN <<E", "E",
     "services:", "  a:", "    command: [", "- x", "---", "kind: Pod", "&a [*a]", "!x y", "? [a]", "\tx", "a: &a {b: *a}", "<<: x"]
)  # fmt: skip


@pytest.mark.parametrize("name", ["x.service", "x.conf", "Dockerfile", "x.yaml", "x"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(lines=st.lists(LINES, max_size=8))
def test_any_lines(name: str, tmp_path, lines: list[str]) -> None:
    """Lines that belong to some file, in any order, in a file of any name."""
    judged("\n".join(lines), name, tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("orders.service", "[Service]\nTimeoutStopSec=9\n", "TimeoutStopSec"),
        ("orders@.service", "[Service]\nTimeoutStopSec=9\n", "TimeoutStopSec"),
        ("unit", "[Service]\nTimeoutStopSec=9\n", "TimeoutStopSec"),
        ("Dockerfile", "FROM a\nCMD []\n", "docker stop"),
        ("Dockerfile.prod", "FROM a\nCMD []\n", "docker stop"),
        ("api.dockerfile", "FROM a\nCMD []\n", "docker stop"),
        ("Containerfile", "FROM a\nCMD []\n", "docker stop"),
        ("image", "# syntax=docker/dockerfile:1\nFROM a\nCMD []\n", "docker stop"),
        ("compose.yml", "services: {a: {image: x}}\n", "stop_grace_period"),
        ("anything.yaml", "services: {a: {image: x}}\n", "stop_grace_period"),
        ("pod", "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a}]}\n", "terminationGracePeriodSeconds"),
        (
            "pod.json",
            '{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{}]}}',
            "terminationGracePeriodSeconds",
        ),
        ("flow.yaml", "{apiVersion: v1, kind: Pod, spec: {containers: [{}]}}", "terminationGracePeriodSeconds"),
    ],
)
def test_kinds(fits: Callable[..., list[Finding]], name: str, text: str, said: str) -> None:
    """By the name of the file, else by what is in it."""
    assert fits(name, text)[0].what.partition(": ")[2].startswith(said)


@pytest.mark.parametrize("name", ["app.py", "pyproject.toml", "notes.md"])
def test_other_files(fits: Callable[..., list[Finding]], name: str) -> None:
    """What was expected is told."""
    with pytest.raises(UnreadableError, match=f"{name}: expected a service unit of systemd, a manifest of Kubernetes"):
        fits(name, "x = 1\n")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("orders.timer", "# daily\n\n[Timer]\nOnCalendar=daily\n", "orders.timer: expected a service unit of .*, got a file with the section .Timer."),
        ("pod.yaml", "kind: Pod\nmetadata:\n  built: 2026-02-30\n", "pod.yaml:3: expected YAML, got an error: '2026-02-30' is no timestamp"),
        ("pod.yaml", "kind: Pod\nname: !!int x\n", "pod.yaml:2: expected YAML, got an error: 'x' is no int"),
        ("pod.yaml", "kind: Pod\nname: [\n", "pod.yaml:3: expected YAML, got an error: expected the node content"),
    ],
)  # fmt: skip
def test_values_and_files_that_are_not_understood(
    fits: Callable[..., list[Finding]], name: str, text: str, said: str
) -> None:
    """The message has the file, and the line where it is known."""
    with pytest.raises(UnreadableError, match=said):
        fits(name, text)
