"""Dockerfiles: the command of the last stage, its signal and its environment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from graceful._plan.deployed import Deployed, Finding, Level, Setting, UnreadableError, split_words

__all__ = ["looks_like_dockerfile", "read_dockerfile"]

_INSTRUCTIONS = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
]
#: What `docker stop` waits, unless it is told otherwise.
_STOP = 10.0


class _Instruction(NamedTuple):
    word: str
    rest: str
    place: str


class _HereDocument(NamedTuple):
    word: str
    has_tabs: bool

    def ends_at(self, line: str) -> bool:
        """Whether this line ends it. After `<<-` there may be tabs before the word."""
        return (line.lstrip("\t") if self.has_tabs else line) == self.word


class _Command(NamedTuple):
    words: tuple[str, ...]
    is_shell: bool
    place: str


@dataclass(frozen=True)
class _Stage:
    """What a stage says, with what it inherits from an earlier one."""

    place: str
    base: str = ""
    variables: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    environment: dict[str, Setting] = field(default_factory=dict[str, Setting])
    entrypoint: _Command | None = None
    cmd: _Command | None = None
    stop_signal: Setting | None = None


def looks_like_dockerfile(text: str) -> bool:
    """Whether the first instruction is one that a Dockerfile begins with."""
    lines = [line.strip() for line in text.splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return re.match(r"(FROM|ARG)\s", first, re.IGNORECASE) is not None


def read_dockerfile(name: str, text: str) -> Iterator[Deployed]:
    """
    The process of the image.

    Args:
        name: The name of the file. A script that is its entrypoint is looked for beside it.
        text: What is in it.

    Raises:
        UnreadableError: It has no stage, or an instruction that there is not.
    """
    arguments: dict[str, str | None] = {}
    stages: dict[str, _Stage] = {}
    names: list[str] = []
    number, stage = -1, None
    for each in _instructions(name, text):
        if each.word == "FROM":
            number += 1
            words = [word for word in each.rest.split() if not word.startswith("--")]
            base = words[0].lower() if words else ""
            earlier = stages.get(base)
            stage = _Stage(each.place, base, dict(arguments)) if earlier is None else replace(earlier, place=each.place)
            names = [str(number), *([words[2].lower()] if len(words) > 2 and words[1].lower() == "as" else [])]
        elif stage is not None:
            stage = _applied(stage, each)
        elif each.word == "ARG":
            arguments |= _argument(each.rest, arguments)
        if stage is not None:
            stages |= dict.fromkeys(names, stage)
    if stage is None:
        raise UnreadableError(f"{name}: expected a Dockerfile with at least one FROM")
    yield _deployed(name, stage)


# --- the text ----------------------------------------------------------------------------------------------------------


def _instructions(name: str, text: str) -> Iterator[_Instruction]:
    """Each instruction in one line, without comments and without the bodies of here-documents."""
    escape = "`" if re.match(r"#\s*escape\s*=\s*`", text, re.IGNORECASE) else "\\"
    pending, begin, documents = "", 0, list[_HereDocument]()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if documents:
            documents = documents[1:] if documents[0].ends_at(raw) else documents
            continue
        if not line or line.startswith("#"):
            continue
        begin = begin if pending else number
        if line.endswith(escape):
            pending += line[:-1] + " "
            continue
        line, pending = pending + line, ""
        word, *rest = line.split(maxsplit=1)
        word = word.upper()
        if word not in _INSTRUCTIONS:
            raise UnreadableError(f"{name}:{begin}: expected an instruction of a Dockerfile, got {word!r}")
        if word in ("RUN", "COPY", "ADD"):
            documents = _here_documents("".join(rest))
        yield _Instruction(word, "".join(rest), f"{name}:{begin}")
    if documents:
        raise UnreadableError(f"{name}:{begin}: expected a line {documents[0].word!r} that ends the here-document")


def _here_documents(rest: str) -> list[_HereDocument]:
    """Those that begin in an instruction: a word of it is `<<WORD` or `<<-WORD`, as BuildKit reads it; `$((1<<4))` is none."""
    words = re.findall(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""", rest)
    found = [re.fullmatch(r"""\d*<<(-?)(["']?)([^<"'\s]+)\2""", word) for word in words]
    return [_HereDocument(match[3], has_tabs=bool(match[1])) for match in found if match is not None]


def _applied(stage: _Stage, each: _Instruction) -> _Stage:
    """The stage after one more instruction."""
    if each.word == "ARG":
        return replace(stage, variables=stage.variables | _argument(each.rest, stage.variables))
    if each.word == "ENV":
        return _with_environment(stage, each)
    if each.word == "STOPSIGNAL":
        return replace(stage, stop_signal=Setting(_expanded(each.rest, stage.variables), each.place))
    if each.word == "ENTRYPOINT":  # which forgets the CMD of the base image, but not one of this file
        return replace(stage, entrypoint=_command(each))
    return replace(stage, cmd=_command(each)) if each.word == "CMD" else stage


def _argument(rest: str, variables: dict[str, str | None]) -> dict[str, str | None]:
    """What `ARG name=default` says; without a default only the builder knows."""
    name, equals, value = rest.partition("=")
    return {name: _expanded(value.strip("\"'"), variables) if equals else variables.get(name)}


def _with_environment(stage: _Stage, each: _Instruction) -> _Stage:
    words = split_words(each.rest)
    old = len(words) > 1 and "=" not in words[0]  # `ENV name value`, to the end of the line
    pairs = (
        [(words[0], " ".join(words[1:]))]
        if old
        else [(word.partition("=")[0], word.partition("=")[2]) for word in words]
    )
    values = {name: _expanded(value, stage.variables) for name, value in pairs}
    settings = {name: Setting(value, each.place) for name, value in values.items()}
    return replace(stage, variables=stage.variables | values, environment=stage.environment | settings)


def _expanded(text: str, variables: dict[str, str | None]) -> str | None:
    """With the values of variables; `None`: one of them is not in the file."""
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        name, default = found["plain"] or found["name"], found["default"]
        known = variables.get(name)
        missing = missing or (known is None and default is None)
        return known or default or ""

    text = re.sub(r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::?-(?P<default>[^}]*))?\})", value, text)
    return None if missing else text


def _command(each: _Instruction) -> _Command:
    """The exec form is a JSON list; all else is run by a shell."""
    try:
        words = json.loads(each.rest)
    except ValueError:
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):  # pyright: ignore[reportUnknownVariableType]
        return _Command(tuple(map(str, words)), is_shell=False, place=each.place)  # pyright: ignore[reportUnknownArgumentType]
    return _Command(("/bin/sh", "-c", each.rest), is_shell=True, place=each.place)


# --- what it means -----------------------------------------------------------------------------------------------------


def _deployed(name: str, stage: _Stage) -> Deployed:
    entrypoint, cmd = stage.entrypoint, stage.cmd
    words = entrypoint.words if entrypoint is not None else ()
    if cmd is not None and (entrypoint is None or not entrypoint.is_shell):  # a shell's script gets no arguments
        words += cmd.words
    placed = (
        cmd if cmd is not None and (entrypoint is None or (cmd.is_shell and not entrypoint.is_shell)) else entrypoint
    )
    return Deployed(
        name=f"image of {os.path.basename(name)}",
        place=stage.place,
        setting="docker stop",
        wait=_STOP,
        wait_place=stage.place,
        is_default=True,
        assign="docker run --stop-timeout={}, or the setting of what starts the container",
        command=words,
        command_place=stage.place if placed is None else placed.place,
        environment=stage.environment,
        stop_signal=stage.stop_signal,
        set_elsewhere=True,
        more=lambda _: _more(name, stage),
    )


def _more(name: str, stage: _Stage) -> Iterator[Finding]:
    if stage.cmd is None and stage.entrypoint is None:
        what = f"there is no CMD or ENTRYPOINT: what is started is up to the base image {stage.base} or to the command that runs it"
        yield Finding(Level.NOTE, stage.place, what)
    if stage.entrypoint is not None and not stage.entrypoint.is_shell:
        yield from _script(name, stage.entrypoint)


def _script(name: str, entrypoint: _Command) -> Iterator[Finding]:
    """An entrypoint that is a shell script, if it lies beside the Dockerfile, must become the program in the end."""
    script = next((word for word in entrypoint.words if word.endswith(".sh")), None)
    if script is None:
        return
    path = os.path.join(os.path.dirname(name), os.path.basename(script))
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file]
    except OSError:
        what = f"{os.path.basename(script)} was not read: its last command must begin with exec"
        yield Finding(Level.NOTE, entrypoint.place, what)
        return
    if not any(re.match(r"(.*(&&|;|then|else)\s*)?exec\s+\S", line) for line in lines if not line.startswith("#")):
        what = (
            f"{os.path.basename(script)} starts the app without exec: the shell gets the signal and does not pass it on"
        )
        yield Finding(Level.MISFIT, f"{path}:{len(lines)}", what, 'exec "$@" as its last command')
