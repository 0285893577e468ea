"""JSON and YAML documents, with the line at which each value stands, where that is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from graceful._plan.deployed import UnreadableError

__all__ = ["Document", "Path", "mapping", "read_documents", "sequence"]

#: The keys and indices that lead to a value.
Path: TypeAlias = tuple[str | int, ...]

_WITHOUT_YAML = (
    "{name}: reading YAML needs PyYAML (pip install pyyaml); without it: kubectl get deployment NAME -o json | python -m "
    "graceful plan ... --fits -, or docker compose config --format json"
)

_TEMPLATE = "render it, as in helm template CHART | python -m graceful plan ... --fits -"


class Document:
    """
    One document.

    Args:
        name: The file.
        value: What is in it.
        node: The same as nodes of PyYAML, which know their lines; `None`: they are not known.
    """

    def __init__(self, name: str, value: Any, node: Any = None) -> None:
        self.name = name
        self.value = value
        self._node = node

    def at(self, path: Path) -> Any:
        """The value there; `None`: there is none."""
        value = self.value
        for key in path:
            items = sequence(value)
            if isinstance(key, str):
                value = mapping(value).get(key)
                continue
            value = items[key] if key < len(items) else None
        return value

    def place(self, path: Path) -> str:
        """`file:line`, of the last part of the path that is there; without lines the file and the path."""
        if self._node is None:
            return f"{self.name} {_dotted(path)}".rstrip()
        node = self._node
        line = node.start_mark.line
        for key in path:
            found = _child(node, key)
            if found is None:
                break
            line, node = found
        return f"{self.name}:{line + 1}"


def _dotted(path: Path) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def _child(node: Any, key: str | int) -> tuple[int, Any] | None:
    """The line of a key, and the node of its value."""
    items: list[Any] = sequence(node.value)
    if isinstance(key, int):
        return (items[key].start_mark.line, items[key]) if key < len(items) else None
    pairs: list[tuple[Any, Any]] = [pair for pair in items if isinstance(pair, tuple)]
    return next(((each.start_mark.line, value) for each, value in pairs if each.value == key), None)


def read_documents(name: str, text: str) -> list[Document]:
    """
    What is in a file.

    Raises:
        UnreadableError: It is neither JSON nor YAML; or it is YAML, and PyYAML is not installed.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            return [Document(name, json.loads(text))]
        except ValueError as error:
            found = f"{name}: expected JSON, got an error: {error}"
            if name.endswith(".json") or name == "-":
                raise UnreadableError(found) from None
    return [*_read_yaml(name, text)]


def _read_yaml(name: str, text: str) -> Iterator[Document]:
    try:
        import yaml  # late: an extra
    except ImportError:
        raise UnreadableError(_WITHOUT_YAML.format(name=name)) from None
    from graceful._plan.yaml_loader import TolerantLoader  # late: it needs PyYAML

    try:
        for node in yaml.compose_all(text, TolerantLoader):
            yield Document(name, TolerantLoader.built(node), node)
    except yaml.YAMLError as error:
        if "{{" in text:
            raise UnreadableError(f"{name}: expected YAML, got a template: {_TEMPLATE}") from None
        mark = getattr(error, "problem_mark", None)
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        place = name if mark is None else f"{name}:{mark.line + 1}"
        raise UnreadableError(f"{place}: expected YAML, got an error: {problem}") from None


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def sequence(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]
