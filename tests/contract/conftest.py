"""The caller that the contract's tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.wire import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.service import RunningService


@pytest.fixture(scope="session")
def caller(embedded: RunningService) -> Iterator[Caller]:
    """Connect to the embedded service."""
    with Caller(embedded) as connected:
        yield connected
