"""
The log, and what a terminal shows.

Every event goes to the logger `graceful`, with its fields in `extra`; no handler is ever installed. On a terminal a person
waits, so what happens and what the next Ctrl-C will do is shown even if logging is not configured: as plain lines on
stderr, unless the logger was configured to be quiet.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

from graceful._core.marks import calls_user_code
from graceful._process.stderr import write_stderr
from graceful._process.unblock import Unblocked

__all__ = ["log"]

_logger = logging.getLogger("graceful")


def log(level: int, message: str, *, on_terminal: bool = True, **fields: Any) -> None:
    """
    Log one event. Nothing is raised: a user's logging handler must not cost a hook its turn, nor must a lost stderr.

    Args:
        level: As in `logging`. `WARNING` and above reach stderr even where logging is not configured.
        message: One line, for a person.
        on_terminal: Whether it is shown on a terminal where logging is not configured.
        fields: For machines: they become attributes of the log record, prefixed `graceful_`.
    """
    try:
        with contextlib.suppress(Exception):
            _log(level, message, on_terminal, fields)
    except Unblocked as error:
        error.tell_once()
        write_stderr(
            f"graceful: {message}\n  (a logging handler blocked, and was unblocked; stuck at {error.stack[-1]})\n"
        )


@calls_user_code
def _log(level: int, message: str, on_terminal: bool, fields: dict[str, Any]) -> None:
    if _logger.isEnabledFor(level):
        _logger.log(level, "%s", message, extra={f"graceful_{name}": value for name, value in fields.items()})
    elif (
        on_terminal
        and level >= logging.INFO
        and _logger.level == logging.NOTSET
        and logging.root.manager.disable < level
    ):
        _show(message)


def _show(message: str) -> None:
    if sys.stderr is not None and sys.stderr.isatty():  # pyright: ignore[reportUnnecessaryComparison] - pythonw
        write_stderr(f"graceful: {message}\n")
