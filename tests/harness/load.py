"""Clients that keep their connection, and many of them at once, for tests that need numbers of requests."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMEOUT_S = 10.0


class Client:
    """One kept connection to a service on 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def json(self, method: str, path: str, value: Any = None) -> tuple[int, Any]:
        """Send JSON and return (status, decoded answer); OSError or HTTPException when the connection broke."""
        body = None if value is None else json.dumps(value).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            self._connection.request(method, path, body=body, headers=headers)
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except BaseException:
            self._connection.close()
            raise


@dataclass
class Tally:
    """What clients saw: answers by (path, status or "broken"), and what `keep` noted."""

    answers: Counter[tuple[str, int | str]] = field(default_factory=Counter)
    kept: list[Any] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.answers.update(other.answers)
        self.kept += other.kept


Job = tuple[str, str, Any]
"""(method, path, JSON value or None)"""


def play(port: int, jobs: Sequence[Job], *, clients: int = 16, keep: Callable[[Job, Any], Any] | None = None) -> Tally:
    """Send all jobs once over `clients` kept connections; a broken one is counted, not repeated."""

    def run(part: Sequence[Job]) -> Tally:
        tally = Tally()
        with Client(port) as client:
            for job in part:
                method, path, value = job
                route = path.partition("?")[0]
                try:
                    status, answer = client.json(method, path, value)
                except (OSError, http.client.HTTPException):
                    tally.answers[route, "broken"] += 1
                    continue
                tally.answers[route, status] += 1
                if keep is not None and status == http.HTTPStatus.OK:
                    tally.kept.append(keep(job, answer))
        return tally

    total = Tally()
    with ThreadPoolExecutor(clients) as pool:
        for tally in pool.map(run, [jobs[start::clients] for start in range(clients)]):
            total.add(tally)
    return total


def total(samples: dict[Any, float], name: str, **labels: str) -> float:
    """Add up a metric's samples that have these labels, whatever their others."""
    wanted = set(labels.items())
    return sum(value for (sample, given), value in samples.items() if sample == name and wanted <= set(given))


def wait_until(predicate: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
    """Ask until it is so, at most `timeout_s`; AssertionError naming `what` else."""
    import time  # noqa: PLC0415

    deadline_s = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
