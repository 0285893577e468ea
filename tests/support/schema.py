"""JSON Schema, as far as the published schemas use it, so that no library has to be installed."""

from __future__ import annotations

import json
from pathlib import Path

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}


def schema_of(name):
    """A published schema."""
    return json.loads((Path(__file__).parents[2] / f"docs/{name}.schema.json").read_text(encoding="utf-8"))


def violations(value, schema, path="it", root=None):
    """
    Where a document breaks a schema.

    Properties that the schema does not name are violations, too: it is to name all there are.
    """
    root = schema if root is None else root
    known = {"$ref", "anyOf", "const", "enum", "type", "minimum", "required", "properties", "items"}
    assert set() == schema.keys() - known - {"$schema", "$defs", "title", "description"}
    if "$ref" in schema:
        return violations(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], path, root)
    if "anyOf" in schema:
        tried = [violations(value, each, path, root) for each in schema["anyOf"]]
        return min(tried, key=len)
    wrong = []
    if "const" in schema and value != schema["const"]:
        wrong.append(f"{path} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{path} is none of {schema['enum']}")
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if isinstance(value, bool) or not isinstance(value, tuple(t for n in names for t in [TYPES[n]])):
            return [*wrong, f"{path} is no {names}"]
    if "minimum" in schema and value < schema["minimum"]:
        wrong.append(f"{path} is less than {schema['minimum']}")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        wrong += [f"{path} lacks {name}" for name in schema.get("required", ()) if name not in value]
        wrong += [f"{path}.{name} is not in the schema" for name in value if name not in properties]
        for name in value.keys() & properties.keys():
            wrong += violations(value[name], properties[name], f"{path}.{name}", root)
    if isinstance(value, list):
        for index, each in enumerate(value):
            wrong += violations(each, schema["items"], f"{path}[{index}]", root)
    return wrong
