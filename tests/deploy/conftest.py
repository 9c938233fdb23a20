"""What deploy/ says, read once."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy.servers import DEPLOY


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """Return the compose file as it is written, with its merges and without its variables' values."""
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="session")
def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerting rules by name."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    return {rule["alert"]: rule for rule in rules}
