"""The fixture of the tests of tracing."""

from __future__ import annotations

import pytest
from support.telemetry import Memory


@pytest.fixture
def memory() -> Memory:
    """OpenTelemetry's SDK, with exporters that keep everything."""
    return Memory()
