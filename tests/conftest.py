"""Fixtures that start and end servers; a test that needs none of them starts no process."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.harness.load import total
from tests.harness.redis import RedisServer, require_redis
from tests.harness.service import RunningService
from tests.standins.loki import LokiStandIn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


SERVED = ("contract", "deploy", "faults")
"""The folders whose tests mostly wait for servers that they start."""

EVERY_EVENT = {"REDACTION_AUDIT_EVERY": "1"}
"""In tests each event is searched a second time (redaction.md, "Safety")."""


class StartService(Protocol):
    """Starts a service with the given environment variables on top of the harness's own."""

    def __call__(self, **env: str) -> RunningService:
        """Return the service once it answers; it is ended with the test."""


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Where tests run side by side (`make test`), those with servers run one after the other: they measure waits."""
    tests = config.rootpath / "tests"
    for item in items:
        if item.path.relative_to(tests).parts[0] in SERVED:
            item.add_marker(pytest.mark.xdist_group("servers"))


@pytest.fixture
def loki() -> Iterator[LokiStandIn]:
    """Start a stand-in for Loki that is well and empty."""
    with LokiStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Start an empty redis-server; skip the test where none is installed (fail it where CI=true)."""
    require_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Return a function that starts services; all of them are ended with the test, their folders are kept."""
    with ExitStack() as started:

        def start(**env: str) -> RunningService:
            number = len(list(tmp_path.glob("service-*")))
            service = RunningService({**EVERY_EVENT, **env}, folder=tmp_path / f"service-{number}")
            return started.enter_context(service)

        yield start


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Start one service with one worker and the embedded defaults, for tests that leave it as it is.

    Whatever they send it, the second search finds nothing.
    """
    folder = tmp_path_factory.mktemp("embedded")
    with RunningService({**EVERY_EVENT, "WEB_CONCURRENCY": "1"}, folder=folder) as service:
        yield service
        metrics = service.metrics()
        assert total(metrics, "telemetry_cache_pii_leaks_total") == 0, {
            labels: value for (name, labels), value in metrics.items() if "pii_leaks" in name and value
        }
