"""Loki at its worst, with a backlog behind it: none is lost, none is stuck, and only what Loki refuses is buried.

test_shipping.py shows each of Loki's answers on a few events; here outages outlast many batches, and the service is
stopped or killed in their midst. Each test ends with the accounts: accepted = delivered + dead-lettered.
"""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults import sizes
from tests.harness.load import play, wait_until
from tests.standins.loki import Fault, Limits, LokiStandIn, decode_body, parse_push

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tests.conftest import StartService
    from tests.harness.service import RunningService
    from tests.standins.loki import Entry

QUICK = {"BATCH_MAX_AGE_S": "0.05", "LOKI_READ_TIMEOUT_S": "0.5", "LOKI_CONNECT_TIMEOUT_S": "0.5"}
BACK_S = 60.0
"""Longer than any pause that the backoff can have come to in these outages."""

KINDS = 20
"""Event names in use, and so streams: more than are shipped side by side."""

LONG_LINE = 2_000
LONG = {"text": "x " * LONG_LINE}
"""A payload whose line is longer than a Loki with `LONG_LINE` takes, and no trouble to the service."""

TRACE = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "request_id": "req-7f3a"}


class Accounts:
    """What a service acknowledged, to be held against what Loki and the dead letters have."""

    def __init__(self, service: RunningService, loki: LokiStandIn) -> None:
        self.service = service
        self.loki = loki
        self.sent: dict[str, dict[str, Any]] = {}

    def log(self, events: Sequence[Mapping[str, Any]], *, clients: int = 8) -> list[str]:
        """Send each by itself; all must be accepted. Return their ids, in no order."""
        jobs = [("POST", "/log", event) for event in events]
        seen = play(self.service.port, jobs, clients=clients, keep=lambda job, answer: (answer["event_id"], job[2]))
        assert seen.answers == {("/log", 200): len(events)}
        return self.note(seen.kept)

    def log_batches(self, events: Sequence[Mapping[str, Any]], size: int = 100) -> list[str]:
        """Send them `size` at a time; all must be accepted. Return their ids, in order."""
        ids: list[str] = []
        for start in range(0, len(events), size):
            part = events[start : start + size]
            status, answer = self.service.json("POST", "/log/batch", part)
            assert (status, answer.get("rejected")) == (200, []), answer
            ids += self.note(list(zip(answer["event_ids"], part, strict=True)))
        return ids

    def note(self, acknowledged: Sequence[tuple[str, Any]]) -> list[str]:
        """Take down (event_id, event) of events that were acknowledged; return the ids."""
        ids = [event_id for event_id, _ in acknowledged]
        assert len(self.sent.keys() | set(ids)) == len(self.sent) + len(ids), "an event_id was given twice"
        self.sent.update(acknowledged)
        return ids

    def stored(self) -> dict[str, Entry]:
        """Return what Loki has, by event_id; each once, and with the payload that was sent."""
        return dict(self._checked((entry.line, entry) for entry in self.loki.entries()))

    def buried(self) -> dict[str, dict[str, Any]]:
        """Return the dead letters by event_id; each once, and with the payload that was sent."""
        return dict(self._checked((letter["line"], letter) for letter in map(json.loads, self._letters())))

    def account(self) -> dict[str, int]:
        """Return the service's own figures."""
        return self.service.json("GET", "/readyz")[1].get("integrity", {})

    def settle(self, bad: Collection[str] = (), timeout_s: float = BACK_S) -> None:
        """Wait until all has left the spool: `bad` to the dead letters, all else to Loki, and nothing besides."""
        self.loki.wait_for(len(self.sent) - len(bad), timeout_s)
        wait_until(lambda: len(self._letters()) >= len(bad), f"{len(bad)} dead letters", timeout_s)
        assert self.stored().keys() == self.sent.keys() - set(bad)
        assert self.buried().keys() == set(bad)
        self.wait_for_account(dead_lettered=len(bad), timeout_s=timeout_s)

    def wait_for_account(self, *, spooled: int = 0, dead_lettered: int = 0, timeout_s: float = BACK_S) -> None:
        """Wait until the service's own account agrees, with none lost or spoilt."""
        expected = {
            "accepted": len(self.sent),
            "delivered": len(self.sent) - spooled - dead_lettered,
            "spooled": spooled,
            "dead_lettered": dead_lettered,
            "corrupt": 0,
            "difference": 0,
        }
        assert self.account().keys() == expected.keys()
        try:
            wait_until(lambda: self.account() == expected, "the account agrees", timeout_s)
        except AssertionError:
            assert self.account() == expected
            raise

    def _letters(self) -> list[str]:
        """The whole lines; the last may be half written."""
        folder = self.service.data_dir / "dead-letters"
        return [line for path in folder.glob("*.ndjson") for line in path.read_text().split("\n")[:-1]]

    def _checked(self, found: Any) -> list[tuple[str, Any]]:
        by_id = []
        for text, thing in found:
            line = json.loads(text)
            assert self.sent[line["event_id"]] == {"event": line["event"], "payload": line["payload"]}
            by_id.append((line["event_id"], thing))
        repeated = [event_id for event_id, times in Counter(event_id for event_id, _ in by_id).items() if times > 1]
        assert repeated == []
        return by_id


def some_events(number: int, **payload: Any) -> list[dict[str, Any]]:
    """Return events of `KINDS` streams, each with a payload of its own."""
    return [{"event": f"kind_{n % KINDS}", "payload": {"n": n, **payload}} for n in range(number)]


@dataclass(frozen=True)
class _Outage:
    begin: Callable[[LokiStandIn], None]
    end: Callable[[LokiStandIn], object] = LokiStandIn.clear_faults


def _always(fault: Fault) -> _Outage:
    return _Outage(lambda loki: loki.inject(fault, times=None))


OUTAGES = {
    "refuses connections": _Outage(LokiStandIn.stop, LokiStandIn.start),
    "hangs": _always(Fault(hang_s=600)),
    "resets": _always(Fault(reset=True)),
    "stores and resets": _always(Fault(reset=True, store=True)),
    "stores and says 500": _always(Fault(status=500, store=True)),
    "408": _always(Fault(status=408)),
    "429": _always(Fault(status=429)),
    "429 with Retry-After": _always(Fault(status=429, headers={"Retry-After": "1"})),
    "500": _always(Fault(status=500)),
    "503": _always(Fault(status=503, text="empty ring")),
    "401": _always(Fault(status=401, text="no org id")),
    "403": _always(Fault(status=403)),
    "404": _always(Fault(status=404, text="404 page not found")),
    "unknown 400": _always(Fault(status=400, text="something that Loki has never said before")),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
def test_outage_under_load(outage: _Outage, start_service: StartService, loki: LokiStandIn) -> None:
    """Events go on coming while Loki takes none: all are accepted, kept, accounted for, and delivered afterwards."""
    service = start_service(LOKI_URL=loki.url, **QUICK)
    accounts = Accounts(service, loki)
    accounts.log_batches(some_events(500))
    loki.wait_for(500)
    accounts.wait_for_account()
    outage.begin(loki)
    accounts.log_batches(some_events(2_000))
    accounts.log(some_events(200))
    wait_until(lambda: service.json("GET", "/readyz")[1]["status"] == "degraded", "/readyz says degraded")
    accounts.log_batches(some_events(300))
    assert service.json("GET", "/readyz")[0] == 200
    accounts.wait_for_account(spooled=2_500)
    outage.end(loki)
    accounts.settle()


def test_one_trouble_after_another(start_service: StartService, loki: LokiStandIn) -> None:
    """Every other push fails, each time in another way, some of them stored all the same: all arrive, each once."""
    chance = random.Random(sizes.SEED)
    troubles = [
        *(Fault(status=status) for status in (408, 429, 500, 503, 401, 403, 404)),
        *(Fault(status=500, store=True), Fault(reset=True), Fault(reset=True, store=True)),
        *(Fault(status=429, headers={"Retry-After": "1"}), Fault(status=400, text="who knows"), Fault(hang_s=1)),
    ]
    loki.script = lambda *_: chance.choice(troubles) if chance.random() < 0.5 else None
    accounts = Accounts(start_service(LOKI_URL=loki.url, BATCH_MAX_EVENTS="100", **QUICK), loki)
    accounts.log_batches(some_events(4_000))
    accounts.log(some_events(200))
    accounts.settle(timeout_s=90)


@pytest.mark.timeout(120 + sizes.PARTIAL_REFUSALS / 5)
def test_refused_entries_one_in_a_hundred(start_service: StartService, loki: LokiStandIn) -> None:
    """Batches of which Loki refuses one entry, at a random place: that one is buried, the 99 are delivered."""
    loki.limits = Limits(max_line_bytes=LONG_LINE)
    accounts = Accounts(start_service(LOKI_URL=loki.url, BATCH_MAX_EVENTS="100"), loki)
    chance = random.Random(sizes.SEED)
    bad: list[str] = []
    for number in range(sizes.PARTIAL_REFUSALS):
        events = [{"event": f"kind_{number % 4}", "payload": {"n": n}} for n in range(100)]
        place = chance.randrange(100)
        events[place]["payload"] |= LONG
        bad.append(accounts.log_batches(events)[place])
    accounts.settle(bad, timeout_s=60 + sizes.PARTIAL_REFUSALS / 10)
    letters = accounts.buried().values()
    assert {letter["reason"] for letter in letters} == {"line_too_long"}
    assert all(letter["detail"].lower().startswith("max entry size '2000' bytes exceeded") for letter in letters)


REFUSALS: dict[str, tuple[Limits, dict[str, Any]]] = {
    "line_too_long": (Limits(max_line_bytes=LONG_LINE), {"event": "kind_0", "payload": LONG}),
    "label_value_too_long": (Limits(max_label_value_bytes=40), {"event": "k" * 60, "payload": {}}),
    "metadata_too_large": (Limits(max_metadata_bytes=64), {"event": "kind_0", "payload": TRACE}),
    "metadata_too_many": (Limits(max_metadata_entries=2), {"event": "kind_0", "payload": TRACE}),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_refused_for_its_own_fault(reason: str, start_service: StartService, loki: LokiStandIn) -> None:
    """Whatever Loki holds against an entry: it is buried with that reason, and nothing beside it."""
    loki.limits, refused = REFUSALS[reason]
    accounts = Accounts(start_service(LOKI_URL=loki.url, **QUICK), loki)
    events = some_events(1_000)
    places = range(7, 1_000, 90)
    for place in places:
        events[place] = {**refused, "payload": {"n": place, **refused["payload"]}}
    ids = accounts.log_batches(events, size=500)
    accounts.settle([ids[place] for place in places])
    assert {letter["reason"] for letter in accounts.buried().values()} == {reason}


def test_too_large_for_loki(start_service: StartService, loki: LokiStandIn) -> None:
    """413 until a push is small enough; an event that alone is too large is buried, and holds up none behind it."""
    loki.limits = Limits(max_body_bytes=3_000)
    accounts = Accounts(start_service(LOKI_URL=loki.url, **QUICK), loki)
    events = some_events(2_000)
    places = range(3, 2_000, 400)
    for place in places:
        events[place]["payload"] |= LONG
    ids = accounts.log_batches(events, size=500)
    accounts.settle([ids[place] for place in places])
    assert {letter["reason"] for letter in accounts.buried().values()} == {"too_large"}
    assert {push.status for push in loki.pushes} == {204, 413}


@pytest.mark.parametrize("retry_after_s", [None, 1], ids=["without Retry-After", "with Retry-After"])
def test_more_than_the_tenant_may(retry_after_s: int | None, start_service: StartService, loki: LokiStandIn) -> None:
    """Loki's own limit of bytes a second: it takes what it may, says 429 to the rest, and has all in the end."""
    loki.limits = Limits(rate_bytes_per_s=200_000, burst_bytes=100_000, retry_after_s=retry_after_s)
    small = {"LOKI_MAX_LINE_BYTES": "20000", "BATCH_MAX_BYTES": "20000"}
    accounts = Accounts(start_service(LOKI_URL=loki.url, **small, **QUICK), loki)
    accounts.log_batches(some_events(3_000, text="word " * 40))
    accounts.settle(timeout_s=100)
    assert {push.status for push in loki.pushes} == {204, 429}


STREAM_3 = '{event="kind_3"}'
ONE_STREAM = {
    "rate of a stream": Fault(
        status=429,
        text=f"Per stream rate limit exceeded (limit: 3MB/sec) while attempting to ingest for stream '{STREAM_3}' "
        "totaling 5MB, consider splitting a stream via additional labels or contact your Loki administrator to see if "
        "the limit can be increased",
    ),
    "number of streams": Fault(
        status=429,
        text=f"Maximum active stream limit exceeded when trying to create stream {STREAM_3}, reduce the number of "
        "active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the "
        "limit can be increased, user: 'fake'",
    ),
    "unknown 400": Fault(status=400, text="something about this stream that Loki has never said before"),
    "500": Fault(status=500, text="rpc error: this stream's ingesters are away"),
}


@pytest.mark.parametrize("refusal", ONE_STREAM.values(), ids=ONE_STREAM.keys())
def test_one_stream_is_refused_for_ever(refusal: Fault, start_service: StartService, loki: LokiStandIn) -> None:
    """A stream that Loki will not have waits; the others are delivered, also those that come later."""

    def refuse_one(headers: Mapping[str, str], body: bytes) -> Fault | None:
        names = {stream.labels["event"] for stream in parse_push(decode_body(body, headers, 1 << 30))}
        return refusal if "kind_3" in names else None

    loki.script = refuse_one
    accounts = Accounts(start_service(LOKI_URL=loki.url, **QUICK), loki)
    others = 0
    for _ in range(3):
        others += 1_000 - 1_000 // KINDS
        accounts.log_batches(some_events(1_000))
        loki.wait_for(others, timeout_s=30)
    assert "kind_3" not in {entry.labels["event"] for entry in loki.entries()}
    accounts.wait_for_account(spooled=3_000 - others)
    loki.clear_faults()
    accounts.settle()


@pytest.mark.parametrize("version", ["2.8", "2.9", "3.0"])
def test_structured_metadata(version: str, start_service: StartService) -> None:
    """Loki 3 gets the ids as structured metadata; an older one refuses that, whole, and is sent the lines alone."""
    with LokiStandIn(version=version, limits=Limits(max_line_bytes=LONG_LINE)) as loki:
        accounts = Accounts(start_service(LOKI_URL=loki.url, **QUICK), loki)
        events = some_events(1_000, **TRACE)
        for place in (0, 501):
            events[place]["payload"] |= LONG
        ids = accounts.log_batches(events)
        plain = accounts.log([{"event": "kind_0", "payload": {}}])
        accounts.settle([ids[0], ids[501]])
        stored = accounts.stored()
        refusals = len([push for push in loki.pushes if push.status != 204])
        # Nothing is asked twice: what is known of Loki is known from the first answer on.
        accounts.log_batches(some_events(500, **TRACE))
        accounts.settle([ids[0], ids[501]])
        assert len([push for push in loki.pushes if push.status != 204]) == refusals
    has_it = version == "3.0"
    assert stored[ids[1]].metadata == ({"event_id": ids[1], **TRACE} if has_it else {})
    assert stored[plain[0]].metadata == ({"event_id": plain[0]} if has_it else {})
    assert all(entry.metadata.get("event_id") == (event_id if has_it else None) for event_id, entry in stored.items())


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("trouble", ["refuses connections", "hangs", "401", "stores and resets"])
def test_restarts_in_an_outage(
    trouble: str, sig: signal.Signals, start_service: StartService, loki: LokiStandIn
) -> None:
    """Twice ended and started with Loki away: each life's backlog arrives once, under the labels of its own life."""
    service = start_service(LOKI_URL=loki.url, GRACEFUL_TIMEOUT_S="6", **QUICK)
    accounts = Accounts(service, loki)
    delivered = accounts.log_batches(some_events(200))
    loki.wait_for(200)
    accounts.wait_for_account()
    OUTAGES[trouble].begin(loki)
    lives = []
    for _ in range(2):
        lives.append(accounts.log_batches(some_events(600)) + accounts.log(some_events(40)))
        if sig == signal.SIGKILL:
            service.kill()
        else:
            assert service.stop(sig) == 0
        service.start()
    lives.append(accounts.log_batches(some_events(600)))
    assert accounts.buried() == {}
    OUTAGES[trouble].end(loki)
    accounts.settle()
    workers = {event_id: entry.labels["worker"] for event_id, entry in accounts.stored().items()}
    assert {workers[event_id] for event_id in delivered} == {"0"}
    assert [{workers[event_id] for event_id in life} for life in lives] == [{"0"}, {"1"}, {"2"}]
    # With nothing unsent the next life begins in the first slot again.
    service.restart()
    (last,) = accounts.log([{"event": "after", "payload": {}}])
    accounts.settle()
    assert accounts.stored()[last].labels["worker"] == "0"
    assert list((service.data_dir / "spool").glob("quarantine/*")) == []
