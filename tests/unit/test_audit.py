"""The second search: what redaction missed never reaches the disk or the sink, is counted, and costs no event."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest

from app import audit as audit_module
from app.adapters.prometheus import PrometheusTelemetry
from app.audit import Audit
from app.core.candidates import Candidate
from app.core.detectors import load_rules
from app.core.events import Redacted, seal
from app.core.kpi import Observer
from app.core.kpi_table import load_kpis
from app.core.loki import Streams
from app.core.metrics import COUNTERS
from app.core.numbering import known_in
from app.core.pseudonyms import PseudonymKey, Pseudonyms
from app.core.recent import RecentIds
from app.core.redaction import redact
from app.core.verdicts import Delivered
from app.handlers import logs
from app.handlers.logs import Clock, LogHandler, LogLimits
from app.handlers.reading import Reader
from app.handlers.reply import ANONYMOUS
from app.settings import ROOT
from app.shipper import Shipper, SinkState
from tests.unit.test_file_spool import Held
from tests.unit.test_prometheus import scraped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from app.core.rules import Rules
    from app.core.verdicts import Verdict
    from app.handlers.reply import Reply

SHIPPED = (ROOT / "config" / "detectors.toml").read_text(encoding="utf-8")
KPIS = load_kpis((ROOT / "config" / "kpis.toml").read_text(encoding="utf-8"), COUNTERS)
KEYS = Pseudonyms([PseudonymKey("k1", b"0123456789abcdef")])

KNOWN = known_in(tomllib.loads(SHIPPED)["settings"]["phone_regions"])
BOB = "bob@example.org"
CARD = "4111-1111-1111-1111"
# They look like telephone numbers; no plan of the shipped regions knows them. So many do not fit into 1 KB's questions.
DIALLED = (f"0{area:04} {line}" for line in (142905, 142907) for area in range(1_000, 10_000))
UNKNOWN = [text for text in DIALLED if not KNOWN(Candidate(text, "", ""))][:72]

# Found under every name, `event_id` too, where numbers are left alone.
TOKEN = "glpat-Zx8Qw3Er5Ty7Ui9Op1As"


class Sink:
    """Takes everything, and keeps it."""

    def __init__(self) -> None:
        self.got: list[Redacted] = []

    def send(self, batch: Sequence[Redacted]) -> Verdict:
        self.got += batch
        return Delivered()

    def probe(self) -> None:
        raise AssertionError("nobody is idle here")

    def close(self) -> None: ...


class Site:
    """The way of an event from its caller through a spool on disk to a sink, with the two searches' rules apart."""

    def __init__(
        self, folder: Path, rules: Rules, audited_by: Rules | None = None, *, every: int = 1, line_bytes: int = 10_000
    ) -> None:
        self.folder = folder
        self.held = Held(folder, sync=False)
        self.sink = Sink()
        self.telemetry = PrometheusTelemetry(KPIS, slot=0, metrics_dir=None, window_s=60, started_s=0.0)
        numbers = iter(range(1, 10_000))
        new_id = lambda: f"evt_{next(numbers)}"  # noqa: E731
        self.handler = LogHandler(
            rules=rules,
            audit=Audit(audited_by or rules, self.telemetry, every=every, new_id=new_id),
            observe=Observer(KPIS),
            spool=self.held.spool,
            telemetry=self.telemetry,
            streams=Streams(env="test", max_streams=10),
            recent=RecentIds(100, 60),
            limits=LogLimits(event_bytes=10_000, line_bytes=line_bytes, batch_bytes=100_000, batch_events=100),
            clock=Clock(lambda: 1_790_000_000_000_000_000 + next(numbers), lambda: self.held.now_s, new_id),
            reader=Reader(rules),
            breathe=lambda: None,
            ease=lambda: None,
        )
        dead: Any = None
        self.shipper = Shipper(
            self.held.spool,
            self.sink,
            dead,
            self.telemetry,
            state=SinkState(),
            rand=lambda: 0.5,
            wall_s=lambda: 1_790_000_000.0,
        )

    def log(self, payload: dict[str, Any], event: str = "tool_execution", **more: Any) -> Reply:
        return self.handler.log(json.dumps({"event": event, "payload": payload, **more}).encode(), ANONYMOUS)

    def on_disk(self) -> bytes:
        """Return all bytes of the spool."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())

    def delivered(self) -> list[Redacted]:
        """Ship what waits; return all that the sink has ever got."""
        while self.shipper.run_once(self.held.now_s + 10, flush=True) is not None:
            pass
        return self.sink.got

    def count(self, name: str, **labels: str) -> float:
        """Return a counter's sum over the series with these labels."""
        return sum(
            value
            for (series, has), value in scraped(self.telemetry).items()
            if series == f"telemetry_cache_{name}_total" and labels.items() <= dict(has).items()
        )

    def only_line(self) -> dict[str, Any]:
        (entry,) = self.delivered()
        return dict(orjson.loads(entry.line))

    def holds(self, raw: str) -> bool:
        """Whether the spool, the sink or a scrape has a text, or had it."""
        stored = self.on_disk() + b"".join(
            entry.line + entry.metadata + orjson.dumps(entry.labels) for entry in self.delivered()
        )
        return raw.encode() in stored or raw in self.telemetry.scrape(None)[0].decode()


@pytest.fixture(scope="module")
def blind(rules: Rules) -> Rules:
    """Return rules that find nothing."""
    nothing: Any = {"names": {}, "suffixes": {}}
    return replace(
        rules,
        detectors=(),
        any_of=None,
        fields=type(rules.fields)(**nothing),
        exempt=type(rules.exempt)(**nothing),
        memory={},
    )


# Redaction is broken


def _keeping_addresses() -> str:
    """The table as shipped, but that e-mail addresses are left alone."""
    row = 'name = "email"'
    assert row in SHIPPED
    return SHIPPED.replace(row, f'{row}\naction = "keep"', 1)


class Missed(NamedTuple):
    """What a caller sends, what of it must not be kept, who finds that, and the payload that is kept."""

    event: dict[str, Any]
    raw: str
    detector: str
    payload: dict[str, Any]


MISSED = {
    "a text": Missed({"payload": {"n": f"mail {BOB} now"}}, BOB, "email", {"n": "mail [REDACTED_EMAIL] now"}),
    "a field": Missed({"payload": {"user_id": "u-77-x"}}, "u-77-x", "user_id", {"user_id": "[REDACTED_USER_ID]"}),
    "a number": Missed(
        {"payload": {"n": [4111111111111111]}}, "4111111111111111", "credit_card", {"n": ["[REDACTED_CREDIT_CARD]"]}
    ),
    "a name": Missed({"payload": {"by": {BOB: 3}}}, BOB, "email", {"by": {"[REDACTED_EMAIL]": 3}}),
    "the service": Missed({"payload": {"service": CARD}}, CARD, "credit_card", {"service": "[REDACTED_CREDIT_CARD]"}),
    "a trace id": Missed({"payload": {"trace_id": BOB}}, BOB, "email", {"trace_id": "[REDACTED_EMAIL]"}),
    "a nested trace id": Missed(
        {"payload": {"metadata": {"trace_id": BOB}}}, BOB, "email", {"metadata": {"trace_id": "[REDACTED_EMAIL]"}}
    ),
    "a metric's label": Missed(
        {"payload": {"model": BOB, "response": {"ttfb_ms": 3}}},
        BOB,
        "email",
        {"model": "[REDACTED_EMAIL]", "response": {"ttfb_ms": 3}},
    ),
    "the event's name": Missed({"event": f"call.{CARD}", "payload": {}}, CARD, "credit_card", {}),
    "the event's id": Missed({"event_id": TOKEN, "payload": {}}, TOKEN, "gitlab_token", {}),
}


@pytest.mark.parametrize("case", MISSED.values(), ids=MISSED)
@pytest.mark.parametrize("is_batch", [False, True], ids=["log", "batch"])
def test_what_redaction_missed_is_redacted_before_it_is_kept(
    tmp_path: Path, rules: Rules, blind: Rules, case: Missed, *, is_batch: bool
) -> None:
    """Wherever it stands: nowhere on disk, not in the sink, not in a label of ours; counted, and delivered once."""
    site = Site(tmp_path, blind, rules)
    body = {"event": "tool_execution", **case.event}
    if is_batch:
        reply = site.handler.log_batch(json.dumps([body]).encode(), ANONYMOUS, ndjson=False)
        (event_id,) = json.loads(reply.body)["event_ids"]
    else:
        reply = site.handler.log(json.dumps(body).encode(), ANONYMOUS)
        event_id = json.loads(reply.body)["event_id"]
    assert reply.status == 200
    assert case.raw.encode() not in site.on_disk()
    line = site.only_line()
    assert line["payload"] == case.payload
    assert not site.holds(case.raw)
    assert site.count("pii_leaks", detector=case.detector) == site.count("pii_leaks") == 1
    assert site.count("redaction_audits") == 1
    assert site.count("events", outcome="accepted") == 1
    assert site.count("redaction_failures") == 0
    # The caller hears his own id as it was; another stands in the line where that one cannot.
    assert event_id == case.event.get("event_id", line["event_id"])
    assert (line["event_id"] == event_id) == (case.raw != event_id)


def test_the_answer_names_what_both_searches_found(tmp_path: Path, rules: Rules) -> None:
    """And a name that leaked is not said again."""
    first = load_rules(_keeping_addresses())
    site = Site(tmp_path, first, rules)
    reply = site.log({"to": BOB, BOB: CARD, "password": "hunter2"})
    # Every finding of the first search, by names without what leaked; then those of the second.
    assert json.loads(reply.body)["redacted_fields"] == ["[REDACTED_EMAIL]", "password", "to"]
    assert site.only_line()["payload"] == {
        "to": "[REDACTED_EMAIL]",
        "[REDACTED_EMAIL]": "[REDACTED_CREDIT_CARD]",
        "password": "[REDACTED_PASSWORD]",
    }
    assert site.count("redactions", detector="email") == 2
    assert site.count("redactions", detector="credit_card") == 1


def test_a_retry_of_an_event_whose_id_is_a_secret_is_a_duplicate(tmp_path: Path, rules: Rules) -> None:
    """It is answered, remembered and kept by another id, the same for a retry; the second search finds nothing."""
    site = Site(tmp_path, rules)
    first, second = [json.loads(site.log({}, event_id=TOKEN).body)["event_id"] for _ in range(2)]
    assert first == second == site.only_line()["event_id"]
    assert first.startswith("evt_")
    assert not site.holds(TOKEN)
    assert site.count("events", outcome="duplicate") == 1
    assert site.count("pii_leaks") == 0


# The encoder is broken


def _undoing(mark: str) -> Callable[..., Redacted]:
    """An encoder that puts the address back wherever a mark stands."""

    def broken(**parts: Any) -> Redacted:
        entry = seal(**parts)
        return entry._replace(line=entry.line.replace(mark.encode(), BOB.encode()))

    return broken


def _once(broken: Callable[..., Redacted]) -> Callable[..., Redacted]:
    """An encoder that is broken the first time."""
    encoders = iter([broken])

    def encode(**parts: Any) -> Redacted:
        return next(encoders, seal)(**parts)

    return encode


BROKEN: dict[str, Callable[..., Redacted]] = {
    "in the line": _undoing("[REDACTED_EMAIL]"),
    "beside the payload": lambda **parts: seal(**parts)._replace(
        line=seal(**parts).line.replace(b'"payload":', b'"was":"%s","payload":' % BOB.encode())
    ),
    "in a label": lambda **parts: seal(**{**parts, "labels": (("service_name", BOB), *parts["labels"][1:])}),
    "in the metadata": lambda **parts: seal(**parts)._replace(
        metadata=orjson.dumps({"event_id": parts["event_id"], "trace_id": BOB})
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_an_encoder_that_fails_once(
    tmp_path: Path, rules: Rules, monkeypatch: pytest.MonkeyPatch, broken: Callable[..., Redacted]
) -> None:
    """What it made of redacted words is searched as it stands, not as it should be; and the event is whole."""
    site = Site(tmp_path, rules)
    monkeypatch.setattr(logs, "seal", _once(broken))
    assert site.log({"note": f"mail {BOB}", "n": 1}).status == 200
    assert not site.holds(BOB)
    assert site.only_line()["payload"] == {"note": "mail [REDACTED_EMAIL]", "n": 1}
    assert site.count("pii_leaks", detector="email") == 1


def test_an_encoder_that_fails_for_good(tmp_path: Path, rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be cleaned is withheld whole: the event is kept, counted, delivered once, and measures nothing."""
    site = Site(tmp_path, rules)
    monkeypatch.setattr(logs, "seal", _undoing("[REDACTED_EMAIL]"))
    reply = site.log({"note": f"mail {BOB}", "response": {"ttfb_ms": 7}}, event_id="mine-1")
    assert (reply.status, json.loads(reply.body)["event_id"]) == (200, "mine-1")
    assert json.loads(reply.body)["redacted_fields"] == ["payload"]
    assert not site.holds(BOB)
    line = site.only_line()
    assert (line["event"], line["payload"]) == ("[REDACTED]", "[REDACTED]")
    assert line["event_id"].startswith("evt_")
    assert site.count("pii_leaks", detector="email") == 1
    assert site.count("redaction_failures") == 1
    assert site.count("events", outcome="accepted") == 1
    assert scraped(site.telemetry)["telemetry_cache_ttfb_seconds_count", frozenset()] == 0


@pytest.mark.parametrize("name", ["beside the payload", "in a label", "in the metadata"])
@pytest.mark.parametrize("is_batch", [False, True], ids=["log", "batch"])
def test_an_encoder_that_does_not_go_by_what_it_is_given(
    tmp_path: Path, rules: Rules, monkeypatch: pytest.MonkeyPatch, name: str, *, is_batch: bool
) -> None:
    """Nothing that it makes can be kept: the caller keeps the event, and hears it. All of a batch, or nothing."""
    site = Site(tmp_path, rules, every=2 if is_batch else 1)
    monkeypatch.setattr(logs, "seal", BROKEN[name])
    event = {"event": "e", "payload": {}}
    if is_batch:
        reply = site.handler.log_batch(json.dumps([event, event]).encode(), ANONYMOUS, ndjson=False)
    else:
        reply = site.handler.log(json.dumps(event).encode(), ANONYMOUS)
    assert reply.status == 503
    assert reply.headers["Retry-After"]
    assert site.delivered() == []
    assert not site.holds(BOB)
    assert site.count("events", outcome="refused") == (2 if is_batch else 1)


# The audit is broken


def test_an_audit_that_fails_withholds_and_loses_nothing(
    tmp_path: Path, blind: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a 500 nor a raw value: a bare event, counted as a failure, for nobody can tell whether it leaks."""

    def failing(*_: Any) -> None:
        raise RuntimeError(BOB)

    site = Site(tmp_path, blind)
    monkeypatch.setattr(audit_module, "redact", failing)
    reply = site.log({"note": BOB}, event=f"call.{CARD}")
    assert reply.status == 200
    assert json.loads(reply.body)["event_id"] == site.only_line()["event_id"]
    assert not site.holds(BOB)
    assert not site.holds(CARD)
    assert site.only_line()["payload"] == "[REDACTED]"
    assert site.count("redaction_failures") == 1
    assert site.count("pii_leaks") == 0


def test_a_detector_that_fails_in_the_audit_is_a_failure_and_no_leak(
    tmp_path: Path, rules: Rules, blind: Rules
) -> None:
    """Its text is withheld, as in the first search; the rest of the event stays."""

    class Failing:
        def search(self, *_: Any) -> None:
            raise RuntimeError

        def finditer(self, *_: Any) -> None:
            raise RuntimeError

    broken = replace(
        rules,
        detectors=tuple(replace(row, pattern=Failing()) if row.name == "email" else row for row in rules.detectors),
    )
    site = Site(tmp_path, blind, broken)
    assert site.log({"note": f"mail {BOB}", "n": 1}).status == 200
    assert not site.holds(BOB)
    assert site.count("redaction_failures") >= 1
    assert site.count("pii_leaks") == 0


def test_what_is_too_long_once_it_is_clean_is_withheld(tmp_path: Path, rules: Rules, blind: Rules) -> None:
    """A mark may be longer than what it stands for; a turn of ours may not cost the caller his event."""
    payload = {"to": ["a@b.co"] * 20}
    length = len(
        seal(event_id="evt_1", event="tool_execution", labels=(), received_ns=1, payload=redact({}, rules)).line
    )
    site = Site(tmp_path, blind, rules, line_bytes=length + len(json.dumps(payload)) + 50)
    assert site.log(payload).status == 200
    assert not site.holds("a@b.co")
    assert site.only_line()["payload"] == "[REDACTED]"
    assert site.count("pii_leaks", detector="email") == 20


# Redaction works


def _policy(action: str, field: str) -> str:
    return f'[[policy]]\nwhy = "Ours."\nevents = ["chat"]\nfields = ["{field}"]\naction = "{action}"\n'


@pytest.mark.parametrize(
    ("field", "payload"),
    [
        ("prompt", {"prompt": f"mail {BOB}"}),
        ("service", {"service": CARD}),
        ("trace_id", {"trace_id": BOB}),
        ("metadata.request_id", {"metadata": {"request_id": BOB}}),
    ],
)
def test_what_a_policy_keeps_is_no_leak(tmp_path: Path, field: str, payload: dict[str, Any]) -> None:
    """Nor are the label and the metadata that repeat it; under another event type it is redacted at once."""
    site = Site(tmp_path, load_rules(SHIPPED + _policy("keep", field), KEYS))
    assert site.log(payload, event="chat").status == 200
    assert site.log(payload, event="other").status == 200
    assert site.count("pii_leaks") == 0
    kept, redacted = (orjson.loads(entry.line)["payload"] for entry in site.delivered())
    assert kept == payload
    assert "REDACTED" in json.dumps(redacted)


def test_policies_go_by_the_event_type_as_it_was_sent(tmp_path: Path) -> None:
    """Also where its name is not kept."""
    name = f"call.{CARD}"
    site = Site(tmp_path, load_rules(SHIPPED + _policy("keep", "prompt").replace("chat", name), KEYS))
    assert site.log({"prompt": BOB}, event=name).status == 200
    line = site.only_line()
    assert (line["event"], line["payload"]) == ("call.[REDACTED_CREDIT_CARD]", {"prompt": BOB})
    assert site.count("pii_leaks") == 0


def test_pseudonyms_and_digests_are_no_leaks(tmp_path: Path) -> None:
    """Nor any other mark, nor our own ids and times, nor a caller's plain id."""
    row = 'name = "email"'
    assert row in SHIPPED
    table = SHIPPED.replace(row, f'{row}\naction = "pseudonymise"', 1) + _policy("hash", "prompt")
    site = Site(tmp_path, replace(load_rules(table, KEYS), digests=KEYS))
    payload = {"to": BOB, "text": f"ask {BOB} of {CARD}", "prompt": BOB, "password": "hunter2", BOB: 1}
    assert site.log(payload, event="chat", event_id="login-2026-11-24_77").status == 200
    line = site.only_line()
    assert line["payload"]["to"] == KEYS.mark("email", BOB)
    assert line["payload"]["prompt"] == {"digest": KEYS.digest(BOB), "length": len(BOB)}
    assert line["event_id"] == "login-2026-11-24_77"
    assert (site.count("redaction_audits"), site.count("pii_leaks")) == (1, 0)


def test_numbers_that_a_plan_does_not_know_are_no_leaks(tmp_path: Path, rules: Rules) -> None:
    """The first search asked about all of them; the second may ask less often, since a long secret is a short mark."""
    payload = {"t": UNKNOWN, "s": "Bearer " + "aB3dE5" * 150}
    once = redact(payload, rules)
    assert redact(once.value, rules).unasked > 0
    site = Site(tmp_path, rules)
    assert site.log(payload).status == 200
    assert site.only_line()["payload"] == once.value
    assert site.count("pii_leaks") == 0


def test_numbers_that_no_plan_was_asked_about_are_counted(tmp_path: Path, rules: Rules) -> None:
    """Where findings are: once an event is kept, and not again for a duplicate."""
    payload = {"t": UNKNOWN}
    unasked = redact(payload, rules).unasked
    assert unasked > 0
    site = Site(tmp_path, rules)
    for _ in range(2):
        assert site.log(payload, event_id="mine-1").status == 200
    assert site.count("redaction_unasked") == unasked
    assert site.count("pii_leaks") == 0


def test_numbers_that_no_plan_was_asked_about_count_also_where_something_leaked(tmp_path: Path, rules: Rules) -> None:
    """Those of both searches: each has replaced its own."""
    first = load_rules(_keeping_addresses())
    payload = {"t": UNKNOWN, "to": BOB}
    once = redact(payload, first)
    again = redact(once.value, rules)
    assert once.unasked > 0
    site = Site(tmp_path, first, rules)
    assert site.log(payload).status == 200
    assert site.count("redaction_unasked") == once.unasked + again.unasked
    assert site.count("pii_leaks") == site.count("pii_leaks", detector="email") == 1


# Turns


@pytest.mark.parametrize(("every", "turns"), [(0, []), (1, list(range(1, 11))), (3, [3, 6, 9]), (10, [10]), (11, [])])
@pytest.mark.parametrize("is_batch", [False, True], ids=["log", "batch"])
def test_one_event_in_so_many_is_searched(
    tmp_path: Path, rules: Rules, blind: Rules, every: int, turns: list[int], *, is_batch: bool
) -> None:
    """However they come: of ten, those whose turn it is."""
    site = Site(tmp_path, blind, every=every, audited_by=rules)
    event = {"event": "e", "payload": {"note": BOB}}
    if is_batch:
        site.handler.log_batch(json.dumps([event] * 10).encode(), ANONYMOUS, ndjson=False)
    else:
        for _ in range(10):
            site.handler.log(json.dumps(event).encode(), ANONYMOUS)
    notes = [orjson.loads(entry.line)["payload"]["note"] for entry in site.delivered()]
    assert len(notes) == 10
    assert [number for number, note in enumerate(notes, 1) if note != BOB] == turns
    assert site.count("redaction_audits") == site.count("pii_leaks") == len(turns)
