"""What several unit tests share: the rules as shipped, and random values that are the same in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from app.core.detectors import load_rules
from app.settings import ROOT

if TYPE_CHECKING:
    from app.core.rules import Rules

# Derandomised, so that a run is red only for a change; no deadline, so that a busy machine is not a fault.
settings.register_profile("unit", max_examples=300, deadline=None, derandomize=True)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def rules() -> Rules:
    """Compile config/detectors.toml once."""
    return load_rules((ROOT / "config" / "detectors.toml").read_text(encoding="utf-8"))
