"""
The log, and what a terminal shows.

Every event goes to the logger `graceful`, with its fields in `extra`; no handler is ever installed. On a terminal a person
waits, so what happens and what the next Ctrl-C will do is shown even if logging is not configured: as plain lines on
stderr, unless the logger was configured to be quiet. Where stderr is systemd's journal and logging is not configured, each
message has its priority there.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

from graceful._core.marks import calls_user_code
from graceful._process.stderr import stderr_is_journal, write_stderr
from graceful._process.unblock import Unblocked

__all__ = ["is_quiet", "is_silent", "is_terminal", "log", "silence"]

_logger = logging.getLogger("graceful")

#: Levels of syslog(3).
_ERROR, _WARNING = 3, 4

#: Whether nothing is logged: in simulations, of which there are thousands.
_silent: ContextVar[bool] = ContextVar("graceful silent", default=False)


@contextlib.contextmanager
def silence() -> Generator[None]:
    """Meanwhile nothing is logged in this context and in what it starts."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def is_silent() -> bool:
    """Whether logging is silenced in this context."""
    return _silent.get()


def log(level: int, message: str, *, on_terminal: bool = True, in_view: bool = False, **fields: Any) -> None:
    """
    Log one event. Nothing is raised: a user's logging handler must not cost a hook its turn, nor must a lost stderr.

    Args:
        level: As in `logging`. `WARNING` and above reach stderr even where logging is not configured.
        message: One line, for a person.
        on_terminal: Whether it is shown on a terminal where logging is not configured.
        in_view: Whether a live view shows the same now: then it is only for a log that goes elsewhere.
        fields: For machines: they become attributes of the log record, prefixed `graceful_`.
    """
    if is_silent():
        return
    try:
        with contextlib.suppress(Exception):
            _log(level, message, on_terminal, in_view, fields)
    except Unblocked as error:
        error.tell_once()
        write_stderr(f"{message}\n  (a logging handler blocked, and was unblocked; stuck at {error.stack[-1]})\n")


@calls_user_code
def _log(level: int, message: str, on_terminal: bool, in_view: bool, fields: dict[str, Any]) -> None:
    if in_view and _ends_at_terminal():
        return
    if level >= logging.WARNING and not _logger.hasHandlers() and _logger.isEnabledFor(level) and stderr_is_journal():
        write_stderr(f"{message}\n", _ERROR if level >= logging.ERROR else _WARNING)
    elif _logger.isEnabledFor(level):
        _logger.log(level, "%s", message, extra={f"graceful_{name}": value for name, value in fields.items()})
    elif on_terminal and level >= logging.INFO and not is_quiet() and is_terminal():
        write_stderr(f"{message}\n")


def _ends_at_terminal() -> bool:
    """Whether the log is shown on a terminal and goes nowhere else; without handlers `logging` shows it on stderr."""
    logger: logging.Logger | None = _logger
    while logger is not None:
        for handler in logger.handlers:
            is_stream = isinstance(handler, logging.StreamHandler)
            if not is_stream or not _is_terminal(vars(handler).get("stream")):
                return False
        logger = logger.parent if logger.propagate else None
    return True


def is_quiet() -> bool:
    """Whether logging is configured not to tell how a shutdown goes on."""
    if _logger.isEnabledFor(logging.INFO):
        return False
    return _logger.level != logging.NOTSET or logging.root.manager.disable >= logging.INFO


def is_terminal() -> bool:
    """Whether stderr is a terminal, so that a person may be waiting there."""
    return _is_terminal(sys.stderr)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # none, as with pythonw; not a file; closed
        return False
