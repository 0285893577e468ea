"""Manifests of Kubernetes held against a plan: each misfit with its place and its cure."""

from __future__ import annotations

import json

import pytest

from graceful import App
from graceful._plan.deployed import Level, UnreadableError

GOOD = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 30
      containers:
        - name: api
          image: orders:1
          command: ["python", "-m", "orders"]
"""
SLOW = App("orders", grace=40)


def changed(*changes: tuple[str, str], text: str = GOOD) -> str:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def job(policy: str) -> str:
    return changed(("apps/v1", "batch/v1"), ("Deployment", "Job"), ("spec:\n      term", f"spec:\n{policy}      term"))


#: A manifest that does not fit, the app, and what is said about it.
MISFITS = {
    "too little time": (
        changed(("Seconds: 30", "Seconds: 5")),
        None,
        (
            "m.yaml:8: Deployment orders, container api: terminationGracePeriodSeconds is 5 s, but the shutdown may take 9 s "
            "(grace 8 + 1 for the end) -> terminationGracePeriodSeconds: 9"
        ),
    ),
    "the default is too little": (
        changed(("      terminationGracePeriodSeconds: 30\n", "")),
        SLOW,
        (
            "m.yaml:7: Deployment orders, container api: terminationGracePeriodSeconds is 30 s by default, but the shutdown "
            "may take 41 s (grace 40 + 1 for the end) -> terminationGracePeriodSeconds: 41"
        ),
    ),
    "preStop takes its part": (
        GOOD + "          lifecycle: {preStop: {sleep: {seconds: 25}}}\n",
        None,
        (
            "terminationGracePeriodSeconds is 30 s, but the shutdown may take 34 s (preStop 25 + grace 8 + 1 for the end) -> "
            "terminationGracePeriodSeconds: 34"
        ),
    ),
    "preStop as a command": (
        GOOD + '          lifecycle: {preStop: {exec: {command: ["sh", "-c", "sleep 22.5"]}}}\n',
        None,
        "may take 31.5 s (preStop 22.5 + grace 8 + 1 for the end) -> terminationGracePeriodSeconds: 32",
    ),
    "the environment makes it longer": (
        GOOD + '          env: [{name: GRACEFUL_GRACE, value: "45"}]\n',
        App("orders"),
        "terminationGracePeriodSeconds is 30 s, but the shutdown may take 46 s (GRACEFUL_GRACE 45 + 1 for the end)",
    ),
    "the variable has no effect": (
        GOOD + '          env: [{name: GRACEFUL_GRACE, value: "25"}]\n',
        None,
        (
            "m.yaml:13: Deployment orders, container api: GRACEFUL_GRACE=25 has no effect, the code says grace=8 -> write "
            "App(grace=None) in the code, or take the variable away"
        ),
    ),
    "the variable is no number": (
        GOOD + "          env: [{name: GRACEFUL_GRACE, value: 20s}]\n",
        App("orders"),
        (
            "m.yaml:13: Deployment orders, container api: the program cannot start: GRACEFUL_GRACE must be a number of "
            "seconds, got '20s' -> correct the value"
        ),
    ),
    "the delay is all of the grace": (
        GOOD + '          env: [{name: GRACEFUL_DRAIN_DELAY, value: "9"}]\n',
        App("orders", grace=8, drain_delay=None),
        "the program cannot start: drain_delay must be less than the grace it is part of (8 s), got 9",
    ),
    "a shell in between": (
        changed(('["python", "-m", "orders"]', '["/bin/sh", "-c", "migrate && python -m orders"]')),
        None,
        (
            "m.yaml:12: Deployment orders, container api: a shell runs 'migrate && python -m orders', gets SIGTERM in place of "
            "the app, and does not pass it on: no hook runs -> write the command as a list of words, or exec before the last "
            "command"
        ),
    ),
    "a shell in args": (
        changed(('command: ["python", "-m", "orders"]', 'args: ["ash", "-lc", "python -m orders"]')),
        None,
        "m.yaml:12: Deployment orders, container api: a shell runs 'python -m orders'",
    ),
    "a readiness probe, and it stops at once": (
        GOOD + "          readinessProbe: {httpGet: {path: /ready, port: 8000}}\n",
        None,
        (
            "m.yaml:13: it stops accepting requests at SIGTERM, while Kubernetes still removes its endpoint and sends more -> "
            "App(drain_delay=5), or lifecycle: {preStop: {sleep: {seconds: 5}}}"
        ),
    ),
    "the delay has no effect under a server": (
        changed(('["python", "-m", "orders"]', '["uvicorn", "orders:asgi", "--timeout-graceful-shutdown", "5"]'))
        + "          readinessProbe: {httpGet: {path: /ready, port: 8000}}\n",
        App("orders", grace=20, drain_delay=5),
        "-> lifecycle: {preStop: {sleep: {seconds: 5}}}",
    ),
    "uvicorn without a limit": (
        changed(('["python", "-m", "orders"]', '["uvicorn", "orders:asgi"]')),
        None,
        (
            "m.yaml:12: Deployment orders, container api: uvicorn waits for its connections without a limit, and the cleanup "
            "begins after that -> --timeout-graceful-shutdown 4"
        ),
    ),
    "the sum of both": (
        changed(('["python", "-m", "orders"]', '["uvicorn", "orders:asgi", "--timeout-graceful-shutdown=25"]')),
        None,
        "terminationGracePeriodSeconds is 30 s, but the shutdown may take 34 s (uvicorn 25 + grace 8 + 1 for the end)",
    ),
    "gunicorn kills its workers": (
        changed(('["python", "-m", "orders"]', '["gunicorn", "--graceful-timeout", "5", "orders:asgi"]')),
        None,
        "gunicorn kills its workers after 5 s, but the shutdown may take 9 s -> --graceful-timeout 9",
    ),
    "a liveness probe with less time": (
        GOOD + "          livenessProbe: {terminationGracePeriodSeconds: 3, httpGet: {path: /, port: 80}}\n",
        None,
        (
            "m.yaml:13: after a failed livenessProbe it has 3 s, but the shutdown may take 9 s -> "
            "terminationGracePeriodSeconds: 9"
        ),
    ),
    "another signal": (
        GOOD + "          lifecycle: {stopSignal: SIGQUIT}\n",
        None,
        (
            "m.yaml:13: Deployment orders, container api: it is stopped by SIGQUIT, which does not stop the app; what does: "
            "SIGINT, SIGTERM, SIGHUP -> use SIGTERM"
        ),
    ),
    "a Job that is restarted always": (
        job(""),
        None,
        "m.yaml:7: restartPolicy is Always (the default), which a Job does not take -> restartPolicy: OnFailure",
    ),
    "a Deployment that is not": (
        changed(("spec:\n      term", "spec:\n      restartPolicy: Never\n      term")),
        None,
        "m.yaml:8: restartPolicy is Never, and a Deployment takes nothing but Always -> restartPolicy: Always",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_misfits(misfits, name):
    """One misfit each, with the place and the cure."""
    text, app, said = MISFITS[name]
    [found] = misfits("m.yaml", text, app=app)

    assert said in found


#: Manifests that fit, and the sum that is shown.
FITS = {
    "enough time": (GOOD, None, "terminationGracePeriodSeconds is 30 s, needed 9 s (grace 8 + 1 for the end)"),
    "exactly": (changed(("Seconds: 30", "Seconds: 9")), None, "is 9 s, needed 9 s"),
    "the default": (
        changed(("      terminationGracePeriodSeconds: 30\n", "")),
        None,
        "terminationGracePeriodSeconds is 30 s by default, needed 9 s",
    ),
    "a probe and a delay": (
        GOOD + "          readinessProbe: {periodSeconds: 1, failureThreshold: 3, httpGet: {path: /, port: 80}}\n",
        App("orders", grace=20, drain_delay=5),
        "needed 21 s (grace 20 + 1 for the end)",
    ),
    "a probe and preStop": (
        GOOD
        + "          lifecycle: {preStop: {sleep: {seconds: 5}}}\n"
        + "          readinessProbe: {periodSeconds: 1, httpGet: {path: /, port: 80}}\n",
        None,
        "needed 14 s (preStop 5 + grace 8 + 1 for the end)",
    ),
    "a shell that execs": (
        changed(('["python", "-m", "orders"]', '["sh", "-c", "migrate && exec python -m orders"]')),
        None,
        "needed 9 s",
    ),
    "a server with a limit": (
        changed(
            ('["python", "-m", "orders"]', '["python", "-m", "uvicorn", "x:y", "--timeout-graceful-shutdown", "4"]')
        ),
        None,
        "needed 13 s (uvicorn 4 + grace 8 + 1 for the end)",
    ),
    "hypercorn has one of its own": (
        changed(('["python", "-m", "orders"]', '["hypercorn", "x:y"]')),
        None,
        "needed 12 s (hypercorn 3 + grace 8 + 1 for the end)",
    ),
    "a Job": (job("      restartPolicy: OnFailure\n"), None, "Job orders, container api"),
    "the environment": (
        GOOD + '          env: [{name: GRACEFUL_GRACE, value: "20"}, {name: GRACEFUL_DRAIN_DELAY, value: "5"}]\n',
        App("orders", drain_delay=None),
        "needed 21 s (GRACEFUL_GRACE 20 + 1 for the end)",
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_fits(fits, name):
    """Nothing but OK, with the sum."""
    text, app, said = FITS[name]
    found = fits("m.yaml", text, app=app)

    assert [Level.OK] == [each.level for each in found]
    assert said in found[0].what


def test_a_cron_job(misfits):
    """Its pod lies deeper."""
    text = """\
        apiVersion: batch/v1
        kind: CronJob
        metadata: {name: nightly}
        spec:
          jobTemplate:
            spec:
              template:
                spec:
                  restartPolicy: Never
                  terminationGracePeriodSeconds: 5
                  containers: [{name: job, command: [python, -m, orders]}]
    """
    [found] = misfits("m.yaml", text)

    assert "m.yaml:10: CronJob nightly, container job: terminationGracePeriodSeconds is 5 s" in found


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "ReplicaSet"])
def test_other_workloads(misfits, kind):
    """Where the pod is in the same place."""
    [found] = misfits("m.yaml", changed(("Deployment", kind), ("Seconds: 30", "Seconds: 5")))

    assert f"{kind} orders, container api: terminationGracePeriodSeconds is 5 s" in found


def test_a_pod(misfits):
    """Its spec is the pod's."""
    text = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one"},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": [{"name": "c"}]},
    }
    [found] = misfits("pod.json", json.dumps(text))

    assert found.startswith(
        "pod.json spec.terminationGracePeriodSeconds: Pod one, container c: terminationGracePeriodSeconds is 2 s"
    )


def test_several_documents(fits):
    """What is no workload is passed over; an empty document, too."""
    text = f"---\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: orders}}\n---\n{GOOD}---\n{GOOD}"
    found = fits("m.yaml", text)

    assert [(Level.OK, "m.yaml:14"), (Level.OK, "m.yaml:27")] == [(each.level, each.place) for each in found]


def test_a_list(misfits):
    """As `kubectl get deployments -o json` prints it: JSON has no lines, so the path is told."""
    item = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "orders"},
        "spec": {"template": {"spec": {"terminationGracePeriodSeconds": 5, "containers": [{"name": "api"}]}}},
    }
    [found] = misfits("list.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]}))

    assert found.startswith("list.json items[0].spec.template.spec.terminationGracePeriodSeconds: Deployment orders")


def test_the_container_of_the_app(misfits):
    """Beside it, a container that is something else is not judged; the module's name, Python or a variable tells."""
    sidecar = '        - {name: proxy, image: envoy, command: ["sh", "-c", "envoy"]}\n'

    assert [] == misfits("m.yaml", GOOD + sidecar)
    assert 1 == len(misfits("m.yaml", changed(('["python", "-m", "orders"]', '["serve"]')) + sidecar))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "env: [{name: GRACEFUL_GRACE, valueFrom: {configMapKeyRef: {name: c, key: k}}}]",
            "the value of GRACEFUL_GRACE is not in the file",
        ),
        ("command: [bash, -c, 'migrate && python -m orders']", "bash runs 'migrate && python -m orders', and gets"),
        ("envFrom: [{configMapRef: {name: c}}]", "envFrom may set GRACEFUL_GRACE"),
        ("lifecycle: {preStop: {httpGet: {path: /stop, port: 80}}}", "how long preStop takes cannot be told"),
    ],
)
def test_what_cannot_be_told(fits, more, said):
    """It is said, and is no misfit."""
    found = fits("m.yaml", f"{GOOD}          {more}\n")

    assert {Level.OK, Level.NOTE} == {each.level for each in found}
    assert any(said in each.what for each in found)


def test_a_slow_probe(fits):
    """It is a note: Kubernetes removes the endpoint without asking the probe."""
    text = GOOD + "          readinessProbe: {httpGet: {path: /, port: 80}}\n"
    found = fits("m.yaml", text, app=App("orders", grace=20, drain_delay=5))
    [note] = [each for each in found if each.level is Level.NOTE]

    assert (
        "readinessProbe fails after 30 s (periodSeconds * failureThreshold), but serving goes on for 5 s" in note.what
    )
    assert "periodSeconds: 2, failureThreshold: 2" == note.cure


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed(("Seconds: 30", 'Seconds: "30"')), "m.yaml:8: expected a whole number of seconds"),
        (changed(("Seconds: 30", "Seconds: 1.5")), "got 1.5"),
        ("apiVersion: v1\nkind: ConfigMap\n", "expected a Pod, Deployment, StatefulSet, DaemonSet"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nspec: {}\n",
            "m.yaml:3: expected a Deployment with spec.template.spec",
        ),
        (
            "kind: {{ .Values.kind }}\n",
            "m.yaml: expected YAML, got a template: render it, as in helm template CHART | python",
        ),
        ("kind: [", "m.yaml:1: expected YAML, got an error:"),
        ("just: this\n", "got a mapping with the keys just"),
        ("- 1\n", "got a list"),
    ],
)
def test_unreadable(fits, text, said):
    """What was expected is told."""
    with pytest.raises(UnreadableError) as raised:
        fits("m.yaml", text)

    assert said in str(raised.value)
