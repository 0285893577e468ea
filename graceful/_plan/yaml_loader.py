"""A loader of PyYAML that takes tags it does not know, such as Compose's `!reset`, for the plain value."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["TolerantLoader"]


class TolerantLoader(yaml.SafeLoader):
    """Builds nothing but lists, mappings and scalars."""

    @classmethod
    def built(cls, node: yaml.Node) -> Any:
        """The value of a node that `yaml.compose` has made."""
        return cls("").construct_document(node)  # pyright: ignore[reportUnknownMemberType]


def _plain(loader: TolerantLoader, _suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


TolerantLoader.add_multi_constructor("!", _plain)  # pyright: ignore[reportUnknownMemberType]
