"""
The script of a shell: whether the shell stays there as the parent of the program, or becomes it by `exec`.

The script is read with the grammar of POSIX (XCU, 2.10), as far as this question needs it. `shlex` does not help: it takes
the quotes away, and then `";"` looks as `;` does. What is not understood, such as a function or a here-document, leads to
no statement: a misfit that is none would be worse than one that is not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto

__all__ = ["stays"]

_WORD = r"""(?:[^\s;&|()<>"'\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+"""
_TOKEN = re.compile(
    rf"""
    (?P<skipped>[ \t\r]+ | \\\n | \#[^\n]* | \d*(?:<<<|&>>?|<>|>>|>\||[<>]&|[<>])[ \t]*{_WORD})
    | (?P<operator>&&|\|[|&]?|;;&?|;&|[;&()\n])
    | (?P<word>{_WORD})
    """,
    re.VERBOSE | re.DOTALL,
)
#: `$((...))`, `$(...)` and `...` in backquotes, without one inside it.
_SUBSTITUTION = re.compile(r"\$\(\([^()]*\)\)|\$\([^()]*\)|`[^`]*`")
#: Builtin commands that end at once, and so are not the program.
_BUILTINS = {":", "true", "false", "exit", "wait", "echo", "printf", "set", "cd", "export", "unset", "umask", "ulimit", "test",
             "[", "[[", "shift", "trap", "return"}  # fmt: skip
_UNKNOWN = {"eval", ".", "source"}
#: Words that end a list of commands, and have no meaning where no list has begun.
_CLOSING = {")", "}", "then", "elif", "else", "fi", "do", "done", "esac", ";;", ";&", ";;&"}


class _UnclearError(Exception):
    """The script has something in it that is not understood."""


class _End(Enum):
    """What has become of the shell after some of its commands."""

    #: They ran no program.
    NOTHING = auto()
    #: They ran none, and the shell has ended with an error.
    FAILED = auto()
    #: It is the parent of a program.
    STAYS = auto()
    #: It has become a program if these commands were reached.
    REPLACED = auto()
    #: It has become a program in any case, so that nothing after it is run.
    ALWAYS_REPLACED = auto()
    UNCLEAR = auto()


def stays(script: str) -> bool:
    """Whether the shell stays there as the parent of the program; false where that cannot be said."""
    try:
        tokens = [*_tokens(script)]
        end = _Reader(tokens).commands()
    except _UnclearError:
        return False
    return end is _End.STAYS and "trap" not in tokens  # which may pass the signal on


def _tokens(script: str) -> Iterator[str]:
    """Its words, with their quotes, and operators; without comments and redirections."""
    while (without := _SUBSTITUTION.sub("_", script)) != script:
        script = without
    position = 0
    while position < len(script):
        found = _TOKEN.match(script, position)
        if found is None or "$(" in found[0]:
            raise _UnclearError
        position = found.end()
        if found["operator"]:
            yield ";" if found[0] == "\n" else found[0]
        elif found["word"]:
            yield found[0]


class _Reader:
    """Reads tokens from the first to the last."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def commands(self, *closing: str) -> _End:
        """A list of commands up to one of these words, which is the next one then; without words: up to the end."""
        ends: list[_End] = []
        while True:
            self._skip(";")
            if self._next() in closing or (not closing and self._next() == ""):
                return _last(ends)
            if self._next() == "" or self._next() in _CLOSING:
                raise _UnclearError
            ends.append(self._and_or())

    def _next(self) -> str:
        """The next token; an empty one at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *expected: str) -> str:
        found = self._next()
        if expected and found not in expected:
            raise _UnclearError
        self._at += 1
        return found

    def _skip(self, *tokens: str) -> None:
        while self._next() in tokens:
            self._at += 1

    def _and_or(self) -> _End:
        ends = [self._pipeline()]
        while self._next() in ("&&", "||"):
            self._take()
            self._skip(";")
            ends.append(self._pipeline())
        first, end = ends[0], _last_program(ends)
        if self._next() == "&":
            self._take()
            return _End.NOTHING if end is _End.NOTHING else _End.STAYS
        if first is _End.ALWAYS_REPLACED or len(ends) == 1:
            return first
        return _End.REPLACED if end is _End.ALWAYS_REPLACED else end

    def _pipeline(self) -> _End:
        self._skip("!")
        ends = [self._command()]
        while self._next() in ("|", "|&"):
            self._take()
            self._skip(";")
            ends.append(self._command())
        if len(ends) == 1:
            return ends[0]
        return _End.NOTHING if _last_program(ends) is _End.NOTHING else _End.STAYS

    def _command(self) -> _End:
        compound: dict[str, Callable[[], _End]] = {
            "(": self._subshell,
            "{": self._group,
            "if": self._if,
            "while": self._loop,
            "until": self._loop,
            "for": self._for,
            "case": self._case,
        }
        read = compound.get(self._next())
        return self._simple() if read is None else read()

    def _subshell(self) -> _End:
        """In parentheses: a process of its own is made for it, and `exec` replaces that one. Measured: dash and bash do so."""
        self._take("(")
        end = self.commands(")")
        self._take(")")
        return _End.NOTHING if end is _End.NOTHING else _End.STAYS

    def _group(self) -> _End:
        self._take("{")
        end = self.commands("}")
        self._take("}")
        return end

    def _if(self) -> _End:
        ends: list[_End] = []
        closing = self._take("if")
        while closing != "fi":
            if closing != "else":
                self.commands("then")
                self._take("then")
            is_complete = closing == "else"
            ends.append(self.commands(*(["fi"] if is_complete else ["elif", "else", "fi"])))
            closing = self._take("elif", "else", "fi")
            if closing == "fi" and not is_complete:
                ends.append(_End.NOTHING)  # none of the conditions is true
        return _worst(ends)

    def _loop(self) -> _End:
        self._take("while", "until")
        self.commands("do")
        return self._body()

    def _for(self) -> _End:
        while self._next() not in ("do", ""):
            self._take()
        return self._body()

    def _body(self) -> _End:
        """Of a loop, which runs it perhaps not at all."""
        self._take("do")
        end = self.commands("done")
        self._take("done")
        return _End.REPLACED if end is _End.ALWAYS_REPLACED else end

    def _case(self) -> _End:
        """It is not read, because its patterns have a grammar of their own."""
        depth = 0
        while True:
            word = self._take()
            if word == "":
                raise _UnclearError
            depth += (word == "case") - (word == "esac")
            if depth == 0:
                return _End.UNCLEAR

    def _simple(self) -> _End:
        words: list[str] = []
        while self._next() and not re.match("[&|;()]", self._next()):
            words.append(self._take())
        if self._next() == "(" or not words or words[0] == "function":
            raise _UnclearError
        while words and (re.match(r"\w+\+?=", words[0]) or words[0] in ("command", "builtin")):
            words.pop(0)
        if words[:1] == ["exec"]:
            has_program = any(not word.startswith("-") for word in words[1:])
            return _End.ALWAYS_REPLACED if has_program else _End.NOTHING
        if words[:1] == ["exit"] and re.fullmatch(r"[1-9]\d*", "".join(words[1:])):
            return _End.FAILED
        if not words or words[0] in _BUILTINS:
            return _End.NOTHING
        return _End.UNCLEAR if words[0] in _UNKNOWN else _End.STAYS


def _last(ends: Sequence[_End]) -> _End:
    """After commands that are run one after the other."""
    if _End.ALWAYS_REPLACED in ends:
        return _End.ALWAYS_REPLACED
    return _End.FAILED if ends[-1:] == [_End.FAILED] else _last_program(ends)


def _last_program(ends: Sequence[_End]) -> _End:
    return next((end for end in reversed(ends) if end not in (_End.NOTHING, _End.FAILED)), _End.NOTHING)


def _worst(ends: Sequence[_End]) -> _End:
    """After commands of which only some are run."""
    reached = [end for end in ends if end is not _End.FAILED]
    if {*reached} == {_End.ALWAYS_REPLACED}:
        return _End.ALWAYS_REPLACED
    order = [_End.STAYS, _End.UNCLEAR, _End.REPLACED, _End.ALWAYS_REPLACED]
    found = next((end for end in order if end in reached), _End.NOTHING)
    return _End.REPLACED if found is _End.ALWAYS_REPLACED else found
