"""The comparison in the README: `benchmarks/compare.py` finds of this library what the page says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load(path: Path):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


compare = load(ROOT / "benchmarks/compare.py")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("situation", compare.SITUATIONS, ids=lambda situation: situation.name)
def test_this_library(situation):
    """A program with this library ends well in each situation, and the README says so."""
    assert f"| {situation.title} | yes |" in (ROOT / "README.md").read_text()
    assert "yes" == compare.told(compare.end("graceful", situation), situation)


def test_what_is_not_good():
    """A program that loses its cleanup, or has to be killed, is told from one that ends well."""
    rows = {situation.name: situation for situation in compare.SITUATIONS}
    lost = compare.Ended(["ready"], 1)
    cut = compare.Ended(["ready", "cleaning up", "outer is clean"], 0)
    killed = compare.Ended(["ready", "cleaning up", "inner is clean", "outer is clean"], None)
    early = compare.Ended(["ready", "cleaning up", "inner is clean", "outer is clean", "job done"], 0)

    assert "no cleanup" == compare.told(lost, rows["sigterm"])
    assert "no: cut short" == compare.told(cut, rows["twice"])
    assert "no: killed" == compare.told(killed, rows["blocked"])
    assert "no" == compare.told(early, rows["thread"])
    assert "no: status 0" == compare.told(early, rows["status"])
