"""Manifests of Kubernetes: the pods of Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs, CronJobs and Pods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from graceful._observe.plan import Plan
from graceful._plan.deployed import Deployed, Finding, Level, Setting, UnreadableError
from graceful._plan.documents import Document, Path, mapping, sequence
from graceful._plan.durations import shown
from graceful._plan.launch import runs_python, server_of

__all__ = ["POD_OF", "looks_like_manifest", "read_manifest"]

#: Where each kind has its pod.
POD_OF: dict[str, Path] = {
    "Pod": ("spec",),
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"), ("spec", "template", "spec")),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
#: What Kubernetes waits unless the pod says otherwise.
_DEFAULT = 30
#: Seconds in which a removed endpoint is usually known everywhere.
_SPREAD = 5


def looks_like_manifest(value: Any) -> bool:
    """Whether this is an object of Kubernetes, or a list of them."""
    return "kind" in mapping(value) and "apiVersion" in mapping(value)


def read_manifest(document: Document, module: str, path: Path = ()) -> Iterator[Deployed]:
    """
    The containers of an object that may be the app; of a list, those of all its items. Other kinds have none.

    Args:
        document: Where it is.
        module: The module of the app, by which its container is recognised.
        path: Where in the document.

    Raises:
        UnreadableError: A number is none.
    """
    found = mapping(document.at(path))
    kind = str(found.get("kind", ""))
    if kind.endswith("List") and "items" in found:
        for index, _ in enumerate(sequence(found["items"])):
            yield from read_manifest(document, module, (*path, "items", index))
    elif kind in POD_OF:
        pod = (*path, *POD_OF[kind])
        if not mapping(document.at(pod)):
            raise UnreadableError(
                f"{document.place(pod)}: expected a {kind} with {'.'.join(map(str, POD_OF[kind]))}, got none"
            )
        name = f"{kind} {mapping(found.get('metadata')).get('name', '?')}"
        for container in _containers(document, pod, module):
            yield _deployed(document, pod, container, name, kind)


def _containers(document: Document, pod: Path, module: str) -> list[Path]:
    """Those that look like the app; if none does, all of them."""
    paths: list[Path] = [
        (*pod, "containers", index) for index, _ in enumerate(sequence(document.at((*pod, "containers"))))
    ]
    ours = [
        path
        for path in paths
        if runs_python(_command(document, path), module) or "GRACEFUL_" in str(document.at((*path, "env")))
    ]
    return ours or paths


def _command(document: Document, path: Path) -> tuple[str, ...]:
    words = [*sequence(document.at((*path, "command"))), *sequence(document.at((*path, "args")))]
    return tuple(map(str, words))


def _deployed(document: Document, pod: Path, path: Path, name: str, kind: str) -> Deployed:
    key = (*pod, "terminationGracePeriodSeconds")
    given = document.at(key)
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
        raise UnreadableError(
            f"{document.place(key)}: expected a whole number of seconds for terminationGracePeriodSeconds, got {given!r}"
        )
    return Deployed(
        name=f"{name}, container {document.at((*path, 'name')) or '?'}",
        place=document.place(path),
        setting="terminationGracePeriodSeconds",
        wait=_DEFAULT if given is None else given,
        wait_place=document.place(key if given is not None else pod),
        is_default=given is None,
        assign="terminationGracePeriodSeconds: {}",
        command=_command(document, path),
        command_place=document.place((*path, "command" if document.at((*path, "command")) else "args")),
        before=(_pre_stop(document, path) or 0.0, "preStop"),
        environment=_environment(document, path),
        stop_signal=_stop_signal(document, path),
        more=lambda plan: _more(document, pod, path, kind, plan),
    )


def _environment(document: Document, path: Path) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for index, each in enumerate(sequence(document.at((*path, "env")))):
        variable = mapping(each)
        value = variable.get("value", None if "valueFrom" in variable else "")
        place = document.place((*path, "env", index))
        found[str(variable.get("name"))] = Setting(None if value is None else str(value), place)
    return found


def _stop_signal(document: Document, path: Path) -> Setting | None:
    """From Kubernetes 1.33 on, a container may have one of its own."""
    key = (*path, "lifecycle", "stopSignal")
    given = document.at(key)
    return None if given is None else Setting(str(given), document.place(key))


def _pre_stop(document: Document, path: Path) -> float | None:
    """Seconds that the preStop hook takes; `None`: there is none, or they cannot be told."""
    seconds = document.at((*path, "lifecycle", "preStop", "sleep", "seconds"))
    if isinstance(seconds, int) and not isinstance(seconds, bool) and seconds >= 0:
        return float(seconds)
    words = sequence(document.at((*path, "lifecycle", "preStop", "exec", "command")))
    slept = re.findall(r"\bsleep\s+(\d+(?:\.\d+)?)\b", " ".join(map(str, words)))
    return sum(map(float, slept)) if slept else None


def _more(document: Document, pod: Path, path: Path, kind: str, plan: Plan) -> Iterator[Finding]:
    yield from _restart(document, pod, kind)
    yield from _probes(document, path, plan)
    yield from _endpoints(document, path, kind, plan)
    if document.at((*path, "envFrom")) is not None:
        what = "envFrom may set GRACEFUL_GRACE, which is not in the file"
        yield Finding(Level.NOTE, document.place((*path, "envFrom")), what)
    if document.at((*path, "lifecycle", "preStop")) is not None and _pre_stop(document, path) is None:
        what = "how long preStop takes cannot be told: it was counted as 0 s, and is part of the same time"
        yield Finding(Level.NOTE, document.place((*path, "lifecycle", "preStop")), what)


def _restart(document: Document, pod: Path, kind: str) -> Iterator[Finding]:
    given = document.at((*pod, "restartPolicy"))
    place = document.place((*pod, "restartPolicy"))
    if kind in ("Job", "CronJob"):
        if given not in ("OnFailure", "Never"):
            what = f"restartPolicy is {given or 'Always (the default)'}, which a {kind} does not take"
            yield Finding(Level.MISFIT, place, what, "restartPolicy: OnFailure")
    elif kind != "Pod" and given not in (None, "Always"):
        what = f"restartPolicy is {given}, and a {kind} takes nothing but Always"
        yield Finding(Level.MISFIT, place, what, "restartPolicy: Always")


def _probes(document: Document, path: Path, plan: Plan) -> Iterator[Finding]:
    for probe in ("livenessProbe", "startupProbe"):
        key = (*path, probe, "terminationGracePeriodSeconds")
        seconds = document.at(key)
        if isinstance(seconds, int) and seconds < plan.worst_case:
            what = f"after a failed {probe} it has {seconds} s, but the shutdown may take {shown(plan.worst_case)} s"
            cure = f"terminationGracePeriodSeconds: {plan.supervisor_timeout}"
            yield Finding(Level.MISFIT, document.place(key), what, cure)


def _endpoints(document: Document, path: Path, kind: str, plan: Plan) -> Iterator[Finding]:
    """Requests still come while the endpoints are removed; a readiness probe shows that there are requests."""
    key = (*path, "readinessProbe")
    probe = document.at(key)
    if probe is None or kind in ("Job", "CronJob"):
        return
    served = server_of(_command(document, path)) is not None
    delay = _pre_stop(document, path) or (0.0 if served else plan.drain_delay)
    fails = _number(probe, "periodSeconds", 10) * _number(probe, "failureThreshold", 3)
    if not delay:
        what = "it stops accepting requests at SIGTERM, while Kubernetes still removes its endpoint and sends more"
        pre_stop = f"lifecycle: {{preStop: {{sleep: {{seconds: {_SPREAD}}}}}}}"
        cure = pre_stop if served else f"App(drain_delay={_SPREAD}), or {pre_stop}"
        yield Finding(Level.MISFIT, document.place(key), what, cure)
    elif fails > delay:
        what = (
            f"readinessProbe fails after {shown(fails)} s (periodSeconds * failureThreshold), but serving goes on for "
            f"{shown(delay)} s only: a load balancer that goes by the probe sends requests after that"
        )
        period = max(1, int(delay / 2))
        cure = f"periodSeconds: {period}, failureThreshold: {max(1, int(delay / period))}"
        yield Finding(Level.NOTE, document.place(key), what, cure)


def _number(probe: Any, key: str, default: int) -> float:
    value = mapping(probe).get(key)
    return float(value) if isinstance(value, int) and value > 0 else float(default)
