"""
What one sees. Every event goes to the logger `graceful`, fields in `extra`, and no handler is ever installed.

On a terminal a person waits, so what happens and what the next Ctrl-C will do is said even if nobody configured
logging: on stderr, as plain lines, unless the logger was told to be quiet.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

from graceful._alarm import Unblocked
from graceful._exit import say

__all__ = ["tell"]

_logger = logging.getLogger("graceful")


def tell(level: int, message: str, *, on_terminal: bool = True, **fields: Any) -> None:
    """
    One event.

    Args:
        level: As in `logging`. `WARNING` and above reach stderr even where logging is not configured.
        message: One line, for a person.
        on_terminal: Whether it is shown on a terminal, where logging is not configured.
        fields: For machines: they become attributes of the log record, prefixed `graceful_`.
    """
    # Nobody's handler and no lost stderr may cost a hook its turn; nor may an alarm that rings while one blocks.
    try:
        with contextlib.suppress(Exception):
            _tell(level, message, on_terminal, fields)
    except Unblocked as error:
        error.told = True
        say(f"graceful: {message}\n  (a logging handler blocked, and was unblocked; it stood at {error.stack[-1]})\n")


def _tell(level: int, message: str, on_terminal: bool, fields: dict[str, Any]) -> None:
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
        say(f"graceful: {message}\n")
