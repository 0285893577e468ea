"""The files that are compared with a plan: what kind each one is, and the processes in it."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Sequence

from graceful._plan.compose import looks_like_compose, read_compose
from graceful._plan.deployed import Deployed, UnreadableError
from graceful._plan.dockerfile import looks_like_dockerfile, read_dockerfile
from graceful._plan.documents import read_documents
from graceful._plan.kubernetes import POD_OF, looks_like_manifest, read_manifest
from graceful._plan.systemd_unit import looks_like_unit, read_units

__all__ = ["read_file"]

_EXPECTED = (
    "a service unit of systemd, a manifest of Kubernetes (YAML, or JSON as of `kubectl get -o json`), a Compose file or a "
    "Dockerfile"
)


def read_file(name: str, module: str) -> list[Deployed]:
    """
    The processes that a file starts, as far as they may be the app.

    Args:
        name: The file; `-`: what comes on stdin. Drop-ins beside a unit (`orders.service.d/*.conf`) are read with it.
        module: The module of the app.

    Raises:
        UnreadableError: It cannot be read, or is none of the files that can be compared.
    """
    text = _text(name)
    if not text.strip():
        raise UnreadableError(f"{name}: expected {_EXPECTED}, got an empty file")
    if name.endswith(".service"):
        return [*read_units([(name, text), *_drop_ins(name)])]
    if name.endswith(".conf") or looks_like_unit(text):
        return [*read_units([(name, text)], whole=not name.endswith(".conf"))]
    base = os.path.basename(name).lower()
    if re.search(r"(docker|container)file", base) or looks_like_dockerfile(text):
        return [*read_dockerfile(name, text)]
    if base.endswith((".toml", ".ini", ".py", ".md", ".cfg")):
        raise UnreadableError(f"{name}: expected {_EXPECTED}")
    section = re.match(r"(?:\s*[#;].*\n|\s*\n)*\s*(\[\w+\])\s*\n", text)
    if section is not None:
        raise UnreadableError(f"{name}: expected {_EXPECTED}, got a file with the section {section[1]}")
    return _from_documents(name, text, module)


def _text(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.read()
        with open(name, encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeDecodeError:
        raise UnreadableError(f"{name}: expected {_EXPECTED}, got a file that is not UTF-8 text") from None
    except OSError as error:
        raise UnreadableError(f"{name}: {error.strerror}: expected {_EXPECTED}") from None


def _drop_ins(name: str) -> Iterable[tuple[str, str]]:
    for path in sorted(glob.glob(f"{glob.escape(name)}.d/*.conf")):
        yield path, _text(path)


def _from_documents(name: str, text: str, module: str) -> list[Deployed]:
    found: list[Deployed] = []
    kinds: list[str] = []
    for document in read_documents(name, text):
        value = document.value
        if value is None:
            continue  # between two `---`
        if looks_like_manifest(value):
            kinds.append(str(value["kind"]))
            found += read_manifest(document, module)
        elif looks_like_compose(value):
            found += read_compose(document, module)
        else:
            raise UnreadableError(f"{document.place(())}: expected {_EXPECTED}, got {_described(value)}")
    if not found:
        raise UnreadableError(f"{name}: expected a {_listed([*POD_OF])}, got {_listed(kinds) or 'no document'}")
    return found


def _described(value: object) -> str:
    if isinstance(value, dict):
        keys = ", ".join(map(str, [*value][:3]))  # pyright: ignore[reportUnknownArgumentType]
        return f"a mapping with the keys {keys}" if keys else "an empty mapping"
    return f"a {type(value).__name__}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
