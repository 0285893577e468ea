"""The file that `GRACEFUL_REPORT` names, which the report is written to when a run is over."""

from __future__ import annotations

import contextlib
import logging
import os
import threading

from graceful._core.marks import calls_user_code
from graceful._core.types import describe
from graceful._observe.log import log
from graceful._observe.report import Report
from graceful._process.unblock import Unblocked

__all__ = ["write_report"]


def write_report(report: Report, path: str) -> None:
    """
    Write the report, in the format that the file's ending asks for.

    Nothing is raised: that the file cannot be written is a warning, and changes neither what `run()` raises nor the exit
    status.

    Args:
        report: What is written.
        path: The file; one that is there already is replaced.
    """
    try:
        _write(report, path)
    except Unblocked as error:
        error.tell_once()
        _warn(path, "it blocked, and was unblocked")
    except Exception as error:
        _warn(path, describe(error))


def _warn(path: str, why: str) -> None:
    log(logging.WARNING, f"the report could not be written to {path}: {why}", path=path)


@calls_user_code
def _write(report: Report, path: str) -> None:
    """
    By way of a file beside it, so that a reader never finds half of it, even if several processes write to one path.

    A link stays one: what it leads to is replaced.
    """
    content = _rendered(report, path).rstrip("\n") + "\n"
    path = os.path.realpath(path)
    beside = f"{path}.{os.getpid()}-{threading.get_ident()}"
    try:
        with open(beside, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(content)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def _rendered(report: Report, path: str) -> str:
    name = path.lower()
    if name.endswith(".trace.json"):
        return report.trace()
    if name.endswith(".json"):
        return report.json()
    if name.endswith(".svg"):
        return report.svg()
    return report.mermaid() if name.endswith(".mmd") else report.text()
