"""Files held against the plan of an app, each in the environment that it says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Mapping, Sequence

from graceful._app import App
from graceful._core.settings import VARIABLES
from graceful._observe.plan import Plan
from graceful._plan.deployed import Finding, UnreadableError
from graceful._plan.files import read_file
from graceful._plan.judge import findings_of
from graceful._plan.target import Target
from graceful._run.planning import plan_of

__all__ = ["compare", "plan_with"]


def compare(target: Target, files: Sequence[str]) -> tuple[list[Finding], list[str]]:
    """
    Compare files with the plan of an app.

    Returns:
        What there is to say about them, and what is wrong with those that cannot be read.
    """
    findings: list[Finding] = []
    unreadable: list[str] = []
    for name in files:
        try:
            for deployed in read_file(name, target.module):
                findings += findings_of(deployed, lambda variables: plan_with(target.app, variables))
        except UnreadableError as error:
            unreadable.append(str(error))
    return findings, unreadable


def plan_with(app: App, variables: Mapping[str, str]) -> Plan:
    """
    The plan as it would be in an environment with these variables.

    Raises:
        OrderError: The hooks' `after=` cannot be satisfied.
        ValueError: A variable has a bad value.
    """
    with _environment(variables):
        return plan_of([*app._hooks()], app._check_settings())


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in VARIABLES.values()}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
