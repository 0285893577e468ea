"""What a command says: whether a shell stands between the supervisor and the app, and whether a server owns the process."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Server", "becomes_its_last_command", "runs_python", "server_of", "shell_without_exec"]

_SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh"}
#: They start the command that follows, and stay there as its parent, or become it.
_WRAPPERS = {"tini", "dumb-init", "docker-init", "catatonit", "env", "exec"}
_SERVERS = {"uvicorn": math.inf, "hypercorn": 3.0, "gunicorn": 30.0}
#: Subcommands of `fastapi` that start uvicorn. They have no option for its limit.
_FASTAPI = {"run", "dev"}
#: What is in quotes in a script, and comments.
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|(?:^|(?<=\s))#.*""", re.MULTILINE)
#: `exec` with a program and not only redirections; a `trap`; other scripts.
_MAY_BE_REPLACED = re.compile(r"\bexec\s+(?!\d*[<>&])|\b(?:trap|eval|source)\s|(?:^|[;&|\n])\s*\.\s", re.MULTILINE)
_LIMITS = {
    "uvicorn": ("--timeout-graceful-shutdown",),
    "hypercorn": ("--graceful-timeout",),
    "gunicorn": ("--graceful-timeout",),
}


class Server(NamedTuple):
    """
    A server that owns the process.

    Attributes:
        name: `uvicorn`, `hypercorn` or `gunicorn`; `fastapi` is uvicorn.
        limit: Seconds that it waits for its connections before the app's grace begins; infinity: no limit. Of gunicorn:
            seconds after which it kills its workers.
        option: The option that sets it; empty: the command has none.
    """

    name: str
    limit: float
    option: str


def _is_shell(word: str) -> bool:
    """Whether a program is a shell."""
    return os.path.basename(word) in _SHELLS


def shell_without_exec(command: Sequence[str]) -> str | None:
    """
    The script of a shell that stays there as the parent of the app; `None`: there is none, as far as can be said.

    Such a shell is what the supervisor sends SIGTERM to. It does not pass it on: as PID 1 it ignores it, elsewhere it dies
    and leaves the app behind. Measured: dash 0.5.12 stays there for a single command, too; bash 5.2 becomes the last one.
    """
    words = _unwrapped(command)
    if not words or not _is_shell(words[0]):
        return None
    script = _script_of(words)
    return script if script is not None and _stays(script) else None


def _stays(script: str) -> bool:
    """
    Whether a shell stays the parent of what its script runs.

    Where there is an `exec` somewhere, or what passes a signal on or cannot be seen (`trap`, `eval`, `.`), it is taken not to: a
    misfit that is none would be worse than one that is not found.
    """
    plain = _QUOTED.sub("_", script)
    last = re.split(r"&&|\|\||;|\n", plain.strip())[-1].strip()
    if last.startswith("exec "):  # in a pipe or in the background it is a child that becomes the program
        return "|" in last or last.endswith("&")
    return not _MAY_BE_REPLACED.search(plain)


def becomes_its_last_command(command: Sequence[str]) -> bool:
    """Whether a shell is one that usually does that without `exec`."""
    words = _unwrapped(command)
    return bool(words) and os.path.basename(words[0]) == "bash" and not re.search(r"\||&\s*$", words[-1])


def _unwrapped(command: Sequence[str]) -> list[str]:
    words = [*command]
    while words and os.path.basename(words[0]) in _WRAPPERS:
        words.pop(0)
        while words and (words[0].startswith("-") or re.match(r"\w+=", words[0])):
            words.pop(0)
    return words


def _script_of(words: Sequence[str]) -> str | None:
    """What follows `-c`, also in `-ec` and `-l -c`."""
    for index, word in enumerate(words[1:], 1):
        if not word.startswith(("-", "+")):
            return None  # a file
        if not word.startswith("--") and "c" in word:
            return words[index + 1] if index + 1 < len(words) else None
    return None


def _flat(command: Sequence[str]) -> list[str]:
    """All words, also those of a script."""
    return " ".join(command).split()


def server_of(command: Sequence[str]) -> Server | None:
    """The server that a command starts; `None`: the app owns the process, as far as can be seen."""
    words = _flat(command)
    for index, word in enumerate(words):
        name = os.path.basename(word)
        is_program = index == 0 or words[index - 1] in ("-m", "exec", "run", "--", "&&") or "/" in word
        is_program = is_program or _is_shell(words[0])
        if name in _SERVERS and is_program:
            return _limited(name, words[index + 1 :])
        if name == "fastapi" and is_program and _FASTAPI & {*words[index + 1 : index + 2]}:
            return Server("uvicorn", math.inf, "")
    return None


def _limited(name: str, options: Sequence[str]) -> Server:
    [option] = _LIMITS[name]
    for index, word in enumerate(options):
        given, _, value = word.partition("=")
        if given == option:
            value = value or (options[index + 1] if index + 1 < len(options) else "")
            if value.isdecimal():
                return Server(name, float(value), option)
    return Server(name, _SERVERS[name], option)


def runs_python(command: Sequence[str], module: str) -> bool:
    """Whether a command looks as if it started this app: it names the module, Python or a server."""
    words = _flat(command)
    names = {os.path.basename(word) for word in words}
    ours = {module, module.partition(".")[0]}
    stems = {re.split(r"[.:]", name)[0] for name in names}
    return bool(
        ours & stems or names & {*_SERVERS, "fastapi"} or any(re.fullmatch(r"python[\d.]*", name) for name in names)
    )
