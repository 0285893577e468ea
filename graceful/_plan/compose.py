"""Compose files: the services that may be the app."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from graceful._plan.deployed import Deployed, Finding, Level, Setting, UnreadableError, split_words
from graceful._plan.documents import Document, Path, mapping, sequence
from graceful._plan.durations import compose_seconds
from graceful._plan.launch import runs_python

__all__ = ["looks_like_compose", "read_compose"]

#: What Compose waits unless the service says otherwise.
_DEFAULT = 10.0


def looks_like_compose(value: Any) -> bool:
    """Whether this has services."""
    return bool(mapping(mapping(value).get("services"))) and "kind" not in mapping(value)


def read_compose(document: Document, module: str) -> Iterator[Deployed]:
    """
    The services that look like the app: they name its module, Python or a variable of graceful; else those that are built;
    else all of them.

    Args:
        document: The file.
        module: The module of the app.

    Raises:
        UnreadableError: A duration is none.
    """
    services = mapping(document.at(("services",)))
    ours = [
        name
        for name in services
        if runs_python(_command(document, name), module)
        or any("GRACEFUL_" in each for each in _environment(document, name))
    ]
    built = [name for name, service in services.items() if "build" in mapping(service)]
    for name in ours or built or [*services]:
        yield _deployed(document, name)


def _deployed(document: Document, name: str) -> Deployed:
    key: Path = ("services", name, "stop_grace_period")
    given = document.at(key)
    stop_signal = document.at(("services", name, "stop_signal"))
    wait = _DEFAULT if given is None else _seconds(document, key, given)
    return Deployed(
        name=f"service {name}",
        place=document.place(("services", name)),
        setting="stop_grace_period",
        wait=wait,
        wait_place=document.place(key),
        is_default=given is None,
        assign="stop_grace_period: {}s",
        command=_command(document, name),
        command_place=document.place(("services", name, "entrypoint" if _entrypoint(document, name) else "command")),
        environment=_environment(document, name),
        stop_signal=None
        if stop_signal is None
        else Setting(_interpolated(str(stop_signal)), document.place(("services", name, "stop_signal"))),
        more=lambda _: _more(document, name),
    )


def _seconds(document: Document, key: Path, given: Any) -> float | None:
    text = _interpolated(given) if isinstance(given, str) else given
    if text is None:
        return None
    try:
        return compose_seconds(text)
    except ValueError as error:
        raise UnreadableError(f"{document.place(key)}: stop_grace_period: {error}") from None


def _interpolated(text: str) -> str | None:
    """With the defaults of variables; `None`: one of them has none."""
    text = re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", text)
    return None if re.search(r"(?<!\$)\$(\w|\{)", text) else text.replace("$$", "$")


def _entrypoint(document: Document, name: str) -> list[str]:
    return _words(document.at(("services", name, "entrypoint")))


def _command(document: Document, name: str) -> tuple[str, ...]:
    return (*_entrypoint(document, name), *_words(document.at(("services", name, "command"))))


def _words(command: Any) -> list[str]:
    """A string is split into words; unlike in a Dockerfile, no shell runs it."""
    if isinstance(command, str):
        return split_words(command)
    return [str(word) for word in sequence(command)]


def _environment(document: Document, name: str) -> dict[str, Setting]:
    key: Path = ("services", name, "environment")
    given = document.at(key)
    found: dict[str, Setting] = {}
    for variable, value in mapping(given).items():
        # Without a value it is taken from the environment in which Compose is started.
        text = None if value is None else _interpolated(str(value))
        found[variable] = Setting(text, document.place((*key, variable)))
    for index, each in enumerate(sequence(given)):
        variable, equals, value = str(each).partition("=")
        found[variable] = Setting(_interpolated(value) if equals else None, document.place((*key, index)))
    return found


def _more(document: Document, name: str) -> Iterator[Finding]:
    if document.at(("services", name, "env_file")) is not None:
        what = f"service {name}: env_file was not read: it may set GRACEFUL_GRACE"
        yield Finding(Level.NOTE, document.place(("services", name, "env_file")), what)
