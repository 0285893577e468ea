"""`python -m graceful plan`, as its users run it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from support.schema import schema_of, violations

ORDERS = """\
from graceful import App

app = App("orders")

@app.on_shutdown(timeout=2)
async def flush(): ...
"""
UNIT = "[Service]\nExecStart=/bin/orders\nTimeoutStopSec={}\n"
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec: {template: {spec: {containers: [{name: api, command: [sh, -c, python -m orders]}]}}}
"""
Plan = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the module, a unit that fits, and two files that do not."""
    (tmp_path / "orders.py").write_text(ORDERS)
    (tmp_path / "good.service").write_text(UNIT.format(20))
    (tmp_path / "bad.service").write_text(UNIT.format(5))
    (tmp_path / "bad.yaml").write_text(MANIFEST)
    return tmp_path


@pytest.fixture
def plan(folder: Path) -> Plan:
    """Run it in that folder."""

    def run(*arguments: str, env: dict[str, str] | None = None, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "graceful", "plan", *arguments]
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            check=False,
            capture_output=True,
            text=True,
            timeout=50,
            **options,
        )

    return run


def test_the_plan(plan: Plan) -> None:
    """It is on stdout, and the status is 0."""
    ran = plan("orders:app")

    assert (0, "") == (ran.returncode, ran.stderr)
    assert " flush (orders.py:5): cleanup, has 1.80 s (timeout=2)" in ran.stdout
    assert "  TimeoutStopSec:                 9     systemd\n" in ran.stdout


def test_the_environment(plan: Plan) -> None:
    """As for the program."""
    ran = plan("orders:app", env={"GRACEFUL_GRACE": "30"})
    assert "(grace 30 s)" in ran.stdout

    ran = plan("orders:app", env={"GRACEFUL_GRACE": "30s"})
    assert (2, "") == (ran.returncode, ran.stdout)
    assert "GRACEFUL_GRACE must be a number of seconds, got '30s'" in ran.stderr


def test_a_fit(plan: Plan) -> None:
    """OK with the sum, status 0."""
    ran = plan("orders:app", "--fits", "good.service")

    assert (0, "") == (ran.returncode, ran.stderr)
    said = "ok      good.service:1  good.service: TimeoutStopSec is 20 s, needed 9 s (grace 8 + 1 for the end)"
    assert said.replace(":1", ":3") == ran.stdout.splitlines()[-1]


def test_strict(plan: Plan, folder: Path) -> None:
    """A note, such as that a unit with Type=notify has to be given more time as it goes, is 0, and 1 with --strict."""
    (folder / "notify.service").write_text(UNIT.format(5) + "Type=notify\n")

    hint = "python -m graceful plan: a note leaves the exit status at 0; --strict makes it 1\n"
    for options, status, said in ([], 0, hint), (["--strict"], 1, ""):
        ran = plan("orders:app", *options, "--fits", "notify.service")
        assert (status, said) == (ran.returncode, ran.stderr)
        assert ran.stdout.splitlines()[-2].startswith("note    notify.service:3  ")
    assert 0 == plan("orders:app", "--strict", "--fits", "good.service").returncode
    ran = plan("orders:app", "--fits", "notify.service", "missing.service")
    assert (2, True) == (ran.returncode, "missing.service" in ran.stderr)
    assert hint not in ran.stderr


def test_misfits(plan: Plan) -> None:
    """Every file is looked at; each misfit has its cure; status 1."""
    ran = plan("orders:app", "--fits", "bad.service", "good.service", "--fits", "bad.yaml")

    assert (1, "") == (ran.returncode, ran.stderr)
    assert [
        "misfit  bad.service:3  bad.service: TimeoutStopSec is 5 s, but the shutdown may take 9 s (grace 8 + 1 for the end)",
        "        cure: TimeoutStopSec=9",
        "ok      good.service:3  good.service: TimeoutStopSec is 20 s, needed 9 s (grace 8 + 1 for the end)",
        (
            "misfit  bad.yaml:4  Deployment orders, container api: a shell runs 'python -m orders', gets SIGTERM in place of "
            "the app, and does not pass it on: no hook runs"
        ),
        "        cure: write the command as a list of words, or exec before the last command",
        (
            "ok      bad.yaml:4  Deployment orders, container api: terminationGracePeriodSeconds is 30 s by default, needed 9 s "
            "(grace 8 + 1 for the end)"
        ),
    ] == ran.stdout.splitlines()[-6:]


def test_an_unreadable_file(plan: Plan) -> None:
    """What was expected is on stderr, the other files are still compared, and the status is 2."""
    ran = plan("orders:app", "--fits", "missing.yaml", "bad.service")

    assert 2 == ran.returncode
    assert ran.stderr.startswith(
        "python -m graceful plan: missing.yaml: No such file or directory: expected a service unit of systemd"
    )
    assert "misfit  bad.service:3" in ran.stdout


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00\x01", b"   \n"])
def test_no_text(plan: Plan, folder: Path, content: bytes) -> None:
    """A binary or an empty file is named, too."""
    (folder / "file.yaml").write_bytes(content)
    ran = plan("orders:app", "--fits", "file.yaml")

    assert 2 == ran.returncode
    assert "file.yaml: expected " in ran.stderr
    assert "Traceback" not in ran.stderr


def test_stdin(plan: Plan) -> None:
    """As from kubectl; what is wrong is told by its path."""
    item = {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {"terminationGracePeriodSeconds": 3, "containers": [{"name": "a"}]},
    }
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]})
    ran = plan("orders:app", "--fits", "-", input=text)

    assert 1 == ran.returncode
    assert "misfit  - items[0].spec.terminationGracePeriodSeconds  Pod ?, container a: " in ran.stdout

    ran = plan("orders:app", "--fits", "-", input="{")
    assert 2 == ran.returncode
    assert "-: expected JSON, got an error: " in ran.stderr


def test_without_yaml(plan: Plan, folder: Path) -> None:
    """JSON is read all the same; for YAML the message has the way around."""
    (folder / "yaml.py").write_text("raise ImportError('not installed')\n")
    ran = plan("orders:app", "--fits", "bad.yaml")

    assert 2 == ran.returncode
    assert "bad.yaml: reading YAML needs PyYAML (pip install pyyaml); without it: kubectl get deployment" in ran.stderr

    (folder / "pod.json").write_text('{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a"}]}}')
    assert 0 == plan("orders:app", "--fits", "pod.json").returncode


def test_json(plan: Plan) -> None:
    """Nothing but JSON on stdout, with the findings; it keeps to the schema."""
    ran = plan("orders:app", "--json", "--fits", "bad.service", "good.service")
    told = json.loads(ran.stdout)

    assert (1, "") == (ran.returncode, ran.stderr)
    assert [] == violations(told, schema_of("plan"))
    assert [("misfit", "bad.service:3"), ("ok", "good.service:3")] == [(e["level"], e["place"]) for e in told["fits"]]

    assert "fits" not in json.loads(plan("orders:app", "--json").stdout)


def test_mermaid(plan: Plan) -> None:
    """Nothing but the chart on stdout; what is said about files goes to stderr."""
    ran = plan("orders:app", "--mermaid", "--fits", "bad.service")

    assert 1 == ran.returncode
    assert ran.stdout.startswith("gantt\n")
    assert "misfit" not in ran.stdout
    assert ran.stderr.startswith("misfit  bad.service:3")


def test_svg(plan: Plan, folder: Path) -> None:
    """The picture is in the file, and what is said about files on stdout."""
    ran = plan("orders:app", "--svg", "plan.svg", "--fits", "good.service")

    assert (0, "") == (ran.returncode, ran.stderr)
    assert ran.stdout.startswith("ok      good.service:3")
    assert ET.fromstring((folder / "plan.svg").read_text()).tag.endswith("svg")

    ran = plan("orders:app", "--svg", "nowhere/plan.svg")
    assert (2, "") == (ran.returncode, ran.stdout)
    assert "nowhere/plan.svg: No such file or directory" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: module:app"),
        (["orders:app", "--fits"], "argument --fits: expected at least one argument"),
        (["orders:app", "--json", "--mermaid"], "not allowed with argument --json"),
    ],
)
def test_usage_errors(plan: Plan, arguments: list[str], said: str) -> None:
    """The status is 2, and stdout stays empty."""
    ran = plan(*arguments)

    assert (2, "") == (ran.returncode, ran.stdout)
    assert said in ran.stderr


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours(folder: Path, variables: dict[str, str], coloured: bool) -> None:
    """On a terminal, unless the user wants none."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
    master, slave = pty.openpty()
    try:
        command = [sys.executable, "-m", "graceful", "plan", "orders:app", "--fits", "bad.service"]
        ran = subprocess.run(
            command, cwd=folder, stdout=slave, stderr=subprocess.PIPE, env=environment, check=False, timeout=50
        )
        shown = os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(slave)

    assert 1 == ran.returncode
    assert coloured == ("\x1b[31mmisfit\x1b[0m  bad.service:3" in shown)
