"""Events that tell which they are, and clients that send them while things break and keep what was acknowledged."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Self

from tests.harness.load import Client

BATCH_EVENTS: Final = 8
"""The most events of a batch."""

PAUSE_S: Final = 0.012
"""Between two requests of a client: some requests are always under way, and the events of a long run fit in memory."""

WAIT_S: Final = 0.1
"""After a refused or broken connection, and after a 503."""

_DIGITS: Final = str.maketrans("0123456789", "abcdefghij")
_SERVICES: Final = ("pipelines-gateway", "tool-server", "chat-ui")
_EVENTS: Final = ("tool_execution", "query_completed")
_WORDS: Final = ("plain", 'quoted "twice"', "back\\slash", "tab\tand\nline", "naïve ünïcode", "日本語", "😀", "")


def marker_of(client: int, number: int) -> str:
    """What the event of a client carries in its payload: letters only, which redaction has no reason to touch."""
    return f"{client:02d}-{number:07d}".translate(_DIGITS)


def event_of(marker: str) -> dict[str, Any]:
    """The event with this marker, the same whenever it is asked for; every other one has an id of its own."""
    chance = random.Random(marker)
    payload = {
        "marker": marker,
        "service": chance.choice(_SERVICES),
        "words": [chance.choice(_WORDS) for _ in range(3)],
        "values": {"whole": chance.randrange(1000), "part": chance.randrange(100) / 8, "none": None, "yes": True},
        "filler": "x" * chance.randrange(600),
    }
    event = {"event": chance.choice(_EVENTS), "payload": payload}
    return {**event, "event_id": f"own-{marker}"} if chance.random() < 0.5 else event


@dataclass(slots=True)
class Heard:
    """What a client heard.

    `acknowledged` gives an event's marker by its id; `answers` counts events by status or "broken";
    `wrong` has answers that no request of ours may get.
    """

    acknowledged: dict[str, str] = field(default_factory=dict)
    answers: Counter[int | str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Heard) -> None:
        """Take another client's in."""
        for event_id in self.acknowledged.keys() & other.acknowledged.keys():
            self.wrong.append(f"{event_id} was given to two clients' events")
        self.acknowledged |= other.acknowledged
        self.answers += other.answers
        self.wrong += other.wrong


class Clients:
    """Some clients, each a thread with a kept connection, that log from entry to `stop()`.

    Nothing is sent twice: what broke was not acknowledged, and may be stored or not. Each connection is let go of
    after some dozens of requests, so that a worker that is born later gets its share.
    """

    def __init__(self, port: int, *, clients: int, seed: int) -> None:
        self._port = port
        self._seed = seed
        self._stopping = threading.Event()
        self._heard = [Heard() for _ in range(clients)]
        self._pool = ThreadPoolExecutor(clients, thread_name_prefix="client")
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._run, client) for client in range(len(self._heard))]
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._pool.shutdown()

    @property
    def acknowledged(self) -> int:
        """How many events are acknowledged by now."""
        return sum(len(heard.acknowledged) for heard in self._heard)

    def stop(self) -> Heard:
        """End, and return what all heard; raise what a client died of."""
        self._stopping.set()
        for running in self._running:
            running.result()
        total = Heard()
        for heard in self._heard:
            total.add(heard)
        return total

    def _run(self, client: int) -> None:
        chance = random.Random(f"{self._seed} {client}")
        heard = self._heard[client]
        number = 0
        while not self._stopping.is_set():
            with Client(self._port) as connection:
                for _ in range(chance.randrange(10, 60)):
                    count = chance.randint(2, BATCH_EVENTS) if chance.random() < 0.2 else 1
                    markers = [marker_of(client, number + place) for place in range(count)]
                    number += count
                    status = _send(connection, markers, heard)
                    heard.answers[status] += count
                    if self._stopping.wait(PAUSE_S if status == http.HTTPStatus.OK else WAIT_S) or status == "broken":
                        break


def _send(connection: Client, markers: list[str], heard: Heard) -> int | str:
    """Log one event, or several as a batch; note what is acknowledged; return the status, or "broken"."""
    events = [event_of(marker) for marker in markers]
    path, value = ("/log", events[0]) if len(events) == 1 else ("/log/batch", events)
    try:
        status, answer = connection.json("POST", path, value)
    except (OSError, http.client.HTTPException):
        return "broken"
    if status != http.HTTPStatus.OK:
        if status != http.HTTPStatus.SERVICE_UNAVAILABLE:
            heard.wrong.append(f"{status} to {path}: {json.dumps(answer)[:200]}")
        return status
    event_ids = answer.get("event_ids") or [answer.get("event_id")]
    given = [event.get("event_id") for event in events]
    if answer.get("redacted_fields") or answer.get("rejected") or len(event_ids) != len(events):
        heard.wrong.append(f"200 to {path}: {json.dumps(answer)[:200]}")
    for event_id, own_id, marker in zip(event_ids, given, markers, strict=False):
        if own_id not in {None, event_id} or event_id in heard.acknowledged:
            heard.wrong.append(f"{marker}, which gave {own_id} as its id, got {event_id}")
        heard.acknowledged[event_id] = marker
    return status
