"""A loader of PyYAML that takes tags it does not know, such as Compose's `!reset`, for the plain value."""

from __future__ import annotations

from typing import Any

import yaml
from typing_extensions import override
from yaml.constructor import ConstructorError

__all__ = ["TolerantLoader"]


class TolerantLoader(yaml.SafeLoader):
    """Builds nothing but lists, mappings and scalars."""

    @classmethod
    def built(cls, node: yaml.Node) -> Any:
        """The value of a node that `yaml.compose` has made."""
        return cls("").construct_document(node)  # pyright: ignore[reportUnknownMemberType]

    @override
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """
        The value of a node.

        Raises:
            YAMLError: A scalar is none of its type, such as the date 2026-02-30. PyYAML raises what Python raises, without a line.
        """
        try:
            return super().construct_object(node, deep=deep)  # pyright: ignore[reportUnknownMemberType]
        except (ValueError, LookupError, AttributeError) as error:
            problem = f"{str(node.value)[:40]!r} is no {node.tag.rpartition(':')[2]} ({error})"
            raise ConstructorError(problem=problem, problem_mark=node.start_mark) from error


def _plain(loader: TolerantLoader, _suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


TolerantLoader.add_multi_constructor("!", _plain)  # pyright: ignore[reportUnknownMemberType]
