"""Canaries against the running service: planted through every entry, they stand nowhere that anyone can read.

CANARIES_END_TO_END of them are planted in all, 1,000 where nothing is said. Where CI=true they are the same in every
run; elsewhere each run draws its own, and CANARIES_SEED, which a failure names, repeats it.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import pytest
import re2
import redis

from tests.canaries import Canary, canary, plant, words
from tests.contract.wire import JSON, NDJSON, Caller, head, wait_until
from tests.corpus.chance import Chance
from tests.standins.loki import Fault, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.conftest import StartService
    from tests.harness.redis import RedisServer
    from tests.harness.service import RunningService
    from tests.standins.loki import LokiStandIn

EXAMPLES: Final = int(os.environ.get("CANARIES_END_TO_END", "1000"))
IS_CI: Final = os.environ.get("CI", "").lower() == "true"
SEED: Final = os.environ.get("CANARIES_SEED", "1" if IS_CI else str(random.SystemRandom().randrange(1_000_000)))

BATCH: Final = 20
SETTLED_WITHIN_S: Final = 60.0 + EXAMPLES / 50  # one event in twenty is refused, and found among others by halving
PIECE: Final = 12  # characters by which a canary is found again: enough that no number of ours has them by chance
LONGEST_LINE: Final = 8_000  # bytes that the stand-in takes; longer events become dead letters
BURIED: Final = "bury-this-event"

pytestmark = pytest.mark.timeout(120 + EXAMPLES // 10)


class Shot(NamedTuple):
    """A request with canaries in it."""

    canaries: tuple[Canary, ...]
    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = JSON
    is_good: bool = False
    """It must be taken: else its canaries would prove nothing."""
    gives_back: bool = False
    """What is taken is answered with what was sent: the cache's own business."""
    raw: bytes | None = None
    """Sent as it is, in place of all this."""


# Canaries for places that take only some texts


def _drawn(chance: Chance, fits: Callable[[Canary], bool]) -> Canary:
    return next(one for one in iter(lambda: canary(chance), None) if fits(one))


def _printable(chance: Chance) -> Canary:
    """One that a header or a request line can hold."""
    return _drawn(chance, lambda one: one.text.isascii() and one.text.isprintable() and len(one.text) < 1000)


_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ID_KINDS: Final = ("token", "user id", "iban")


def _identifier(chance: Chance) -> Canary:
    """One that passes for an id, and that an id is searched for: not what numbers of traces look like."""
    return _drawn(chance, lambda one: one.kind.startswith(_ID_KINDS) and _ID.fullmatch(one.text) is not None)


def _event_name(chance: Chance) -> Canary:
    form = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
    return _drawn(chance, lambda one: one.kind in {"user id", "session id"} and form.fullmatch(one.text) is not None)


# Events, which are all taken


def _event(chance: Chance) -> tuple[dict[str, Any], tuple[Canary, ...]]:
    planted = plant(chance)
    event = {"event": "tool_execution", "payload": {"args": planted.value}}
    way = chance.randrange(8)
    if way == 0:
        event["payload"]["pad"] = (f"{words(chance)} " * LONGEST_LINE)[: LONGEST_LINE + 1]
    elif way == 1:
        event["payload"][BURIED] = True
    elif way == 2:
        one = _identifier(chance)
        return {**event, "event_id": one.text}, (one, *planted.canaries)
    elif way == 3:
        one = _event_name(chance)
        return {**event, "event": one.text}, (one, *planted.canaries)
    elif way == 4:
        return _labelled(chance)
    elif way == 5:
        return _traced(chance)
    return event, planted.canaries


def _labelled(chance: Chance) -> tuple[dict[str, Any], tuple[Canary, ...]]:
    """Where labels of streams and of metrics come from."""
    found = [canary(chance) for _ in range(5)]
    service, level, tool, model, label = (one.text for one in found)
    payload = {
        "service": service,
        "level": level,
        "tool": tool,
        "args": {"model": model},
        "labels": {"app": label},
        "response": {"tokens": 5, "latency_ms": 12.5, "ttfb_ms": 3},
    }
    return {"event": "tool_execution", "payload": payload}, tuple(found)


def _traced(chance: Chance) -> tuple[dict[str, Any], tuple[Canary, ...]]:
    """What becomes structured metadata."""
    trace, request = _identifier(chance), _identifier(chance)
    payload = {"trace_id": trace.text, "metadata": {"request_id": request.text}}
    return {"event": "tool_execution", "payload": payload}, (trace, request)


def _log(chance: Chance) -> Shot:
    event, found = _event(chance)
    return Shot(found, "POST", "/log", _json(chance, event), is_good=True)


def _batch(chance: Chance) -> Shot:
    drawn = [_event(chance) for _ in range(BATCH)]
    found = tuple(one for _, canaries in drawn for one in canaries)
    if chance.maybe(0.5):
        body, headers = b"\n".join(_json(chance, event) for event, _ in drawn), NDJSON
    else:
        events = [event for event, _ in drawn]
        body, headers = _json(chance, chance.choice((events, {"events": events}))), JSON
    if chance.maybe(0.3):
        body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
    return Shot(found, "POST", "/log/batch", body, headers, is_good=True)


def _json(chance: Chance, value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=chance.maybe(0.5)).encode()


# Other calls


def _redact(chance: Chance) -> Shot:
    planted = plant(chance)
    return Shot(planted.canaries, "POST", "/redact", _json(chance, planted.value), is_good=True)


def _pseudonyms(chance: Chance) -> Shot:
    one = canary(chance)
    request = {"detector": chance.choice(("user_id", "email")), "value": one.text}
    return Shot((one,), "POST", "/pseudonyms", _json(chance, request), is_good=True)


def _cache_by_key(chance: Chance) -> Shot:
    one = _printable(chance)
    call = chance.choice(("set", "get", "query", "delete"))
    if call == "set":
        body = _json(chance, {"key": one.text, "data": {"answer": "plum"}, "ttl": 60})
        return Shot((one,), "POST", "/cache/set", body, is_good=True, gives_back=True)
    if call == "get":
        return Shot((one,), "POST", "/cache/get", _json(chance, {"key": one.text}), is_good=True, gives_back=True)
    path = f"/cache{'/get' if call == 'query' else ''}?key={quote(one.text[:900], safe='')}"
    return Shot((one,), "GET" if call == "query" else "DELETE", path, is_good=True, gives_back=True)


def _cache_by_call(chance: Chance) -> Shot:
    planted, tool = plant(chance), _printable(chance)
    request: dict[str, Any] = {"tool": tool.text[:256], "args": {"prompt": planted.value}}
    path = chance.choice(("/cache/set", "/cache/get", "/cache/key"))
    if path == "/cache/set":
        request |= {"data": {"answer": planted.value, "text": "plum"}, "ttl": 60}
    found = (tool, *planted.canaries)
    return Shot(found, "POST", path, _json(chance, request), is_good=True, gives_back=True)


# What is refused

POSTS: Final = ("/log", "/log/batch", "/redact", "/cache/set", "/cache/get", "/cache/key", "/pseudonyms")


def _malformed(chance: Chance) -> Shot:
    one = canary(chance)
    written = json.dumps(one.text)
    body = chance.choice(
        (
            f'{{"event": "e", "payload": {{"note": {written}}}',
            f"{{{written}: 1, {written}: 2}}",
            f'{{"event": "e", "payload": {{{written}: 1, {written}: 2}}}}',
            f'{{"note": {written}, "n": NaN}}',
            f'{{"note": {written}}} {written}',
            f"{written[:-1]}",
            f"note={one.text}",
            f'{{"note": {written}, "half": "\\ud83d"}}',
            "[" * 40 + written + "]" * 40,
        )
    )
    headers = chance.choice((JSON, JSON, NDJSON, {**JSON, "Content-Encoding": "gzip"}))
    return Shot((one,), "POST", chance.choice(POSTS), body.encode(), headers)


def _wrong_types(chance: Chance) -> Shot:
    one, name = canary(chance), canary(chance)
    text, field = one.text, name.text
    path, value = chance.choice(
        (
            ("/log", {"event": text, "payload": {}}),
            ("/log", {"event": [text], "payload": {}, field: 1}),
            ("/log", {"event": "e", "payload": text}),
            ("/log", {"event": "e", "payload": {"service": [text], "timestamp": text}}),
            ("/log", {"event": "e", "payload": {}, "event_id": f" {text}"}),
            ("/log", {field: text}),
            ("/log", [text]),
            ("/log/batch", [{"event": text, "payload": field}, text, {field: text}]),
            ("/log/batch", {"events": text, field: 1}),
            ("/cache/set", {"key": f"\n{text}", "data": text, "ttl": text, field: text}),
            ("/cache/set", {"key": text, "tool": text, "args": {}, "data": {}}),
            ("/cache/set", {"tool": text, "args": {text: 1}, "data": {"error": text}}),
            ("/cache/get", {"key": [text], field: 1}),
            ("/cache/get", {"key": text * 4096}),
            ("/cache/key", {"tool": [text], "args": text}),
            ("/pseudonyms", {"detector": text, "value": text}),
            ("/pseudonyms", {"detector": [text], "value": [text], field: 1}),
        )
    )
    return Shot((one, name), "POST", path, _json(chance, value))


def _too_long(chance: Chance) -> Shot:
    planted = plant(chance)
    body = _json(chance, {"event": "e", "payload": {"a": planted.value, "pad": "x" * (256 << 10)}})
    head_ = head("POST", "/log", "Content-Type: application/json", f"Content-Length: {len(body)}")
    return Shot(planted.canaries, "POST", "/log", raw=head_ + body)


def _nowhere(chance: Chance) -> Shot:
    one = _printable(chance)
    text = quote(one.text, safe=chance.choice(("", "/:@=&+,;")))
    forms = ("/{}", "//{}", "/log/{}", "/problems/{}", "/docs?{}", "/docs/{}", "/log?email={}", "/metrics?name={}")
    queries = ("/readyz?{}", "/cache/get?{}", "/cache/get?key=a&{}=1", "/cache?{}")
    path = chance.choice((*forms, *queries)).format(text)
    return Shot((one,), chance.choice(("GET", "GET", "POST", "DELETE", "PUT", "HEAD")), path, headers={})


HEADERS: Final = (
    "X-Request-ID", "X-Correlation-ID", "traceparent", "Cookie", "Authorization", "User-Agent", "Referer", "Origin",
    "X-Scope-OrgID", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Accept", "Content-Language",
)  # fmt: skip


def _in_headers(chance: Chance) -> Shot:
    found = [_printable(chance) for _ in range(3)]
    headers = {name: one.text for name, one in zip(chance.sample(HEADERS, 3), found, strict=True)}
    body = _json(chance, {"event": "e", "payload": {"note": "plum"}})
    return Shot(tuple(found), "POST", "/log", body, {**JSON, **headers}, is_good=True)


def _odd_http(chance: Chance) -> Shot:
    """Heads that the server refuses before any code of ours sees them, and methods that nobody knows."""
    one = _printable(chance)
    text = one.text
    raw = chance.choice(
        (
            head("GET", f"/{text}"),
            head("GET", "/healthz", f"Host: {text}"),
            head("GET", "/docs", f"Host: {text}"),
            head("GET", "/healthz", f"{text}: 1"),
            head("GET", "/healthz", f"X-Odd: \0{text}"),
            head("GET", "/healthz", text),
            head("GET", f"/{text}" + "x" * 9000),
            head("GET", "/healthz", f"X-Long: {text}{'x' * 9000}"),
            head(re.sub(r"[^A-Z0-9_-]", "", text.upper())[:19] or "GET", "/healthz"),
            head("POST", "/log", f"Content-Type: {text}", "Content-Length: 2") + b"{}",
            head("POST", "/log", "Content-Type: application/json", f"Content-Length: {text}"),
            head("POST", "/log", "Content-Type: application/json", f"Transfer-Encoding: {text}"),
            head("POST", "/log", "Content-Type: application/json", f"Content-Encoding: {text}", "Content-Length: 2")
            + b"{}",
            head("POST", "/log", "Content-Type: application/json", f"Expect: {text}", "Content-Length: 2") + b"{}",
            f"{text}\r\n\r\n".encode(),
        )
    )
    return Shot((one,), "GET", "/", raw=raw)


ENTRIES: Final[dict[Callable[[Chance], Shot], float]] = {
    _batch: 1.0, _log: 3.0, _redact: 2.0, _pseudonyms: 1.0, _cache_by_key: 2.0, _cache_by_call: 2.0, _malformed: 3.0,
    _wrong_types: 4.0, _too_long: 0.2, _nowhere: 3.0, _in_headers: 2.0, _odd_http: 3.0,
}  # fmt: skip


# Planting and looking


class Ground:
    """A service with all that it writes to."""

    def __init__(self, service: RunningService, loki: LokiStandIn, redis_url: str) -> None:
        self.service = service
        self.planted: list[Canary] = []
        self.said: list[bytes] = []
        """What callers were answered: all refusals, and whatever is not the cache's."""
        self.pushed: list[bytes] = []
        """What the sink got, refused pushes too."""
        self._loki = loki
        self._redis_url = redis_url
        self._complaints = cycle(["nothing"])

    def use(self, complaints: Iterable[Canary]) -> None:
        """Let the sink refuse some events in words that quote more than it should."""
        told = [*complaints]
        self.planted += told
        self._complaints = cycle([one.text for one in told])
        self._loki.script = self._refuse

    def fire(self, caller: Caller, shot: Shot) -> None:
        """Send a request and keep what came back."""
        self.planted += shot.canaries
        if shot.raw is not None:
            answer = caller.exchange(shot.raw)
        else:
            answer = caller.request(shot.method, shot.path, shot.body, shot.headers)
        assert not shot.is_good or answer.status == 200, (shot, answer)
        if shot.path == "/log/batch" and shot.is_good:
            assert answer.json["rejected"] == []
        if not (shot.gives_back and answer.status == 200):
            self.said.append(answer.everything)

    def evidence(self) -> dict[str, bytes]:
        """Return all that anyone can read, by where it stands."""
        service = self.service
        places = {f"DATA_DIR/{path.relative_to(service.data_dir)}": path.read_bytes() for path in _files(service)}
        with redis.Redis.from_url(self._redis_url) as store:
            places["Redis keys"] = b"\n".join(store.keys("*"))
        for path in ("/metrics", "/kpis", "/readyz"):
            places[path] = service.request("GET", path)[2]
        places |= {"stderr": service.stderr().encode(), "stdout": service.stdout().encode()}
        places["answers"] = b"\n".join(self.said)
        places["the sink"] = b"\n".join(self.pushed)
        return places

    def _refuse(self, headers: Mapping[str, str], body: bytes) -> Fault | None:
        plain = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        self.pushed.append(plain)
        if BURIED.encode() not in plain:
            return None
        quoted = next(self._complaints)
        return Fault(status=400, text=f"entry for stream '{{app=\"{quoted}\"}}' has timestamp too old: {quoted}")


def _files(service: RunningService) -> list[Any]:
    return [path for path in service.data_dir.rglob("*") if path.is_file()]


def survivors(canaries: Iterable[Canary], places: Mapping[str, bytes]) -> set[str]:
    """Say which canaries, or halves of them, stand where."""
    names: dict[bytes, Canary] = {}
    for one in canaries:
        for start in (0, len(one.secret) // 2 - PIECE // 2, len(one.secret) - PIECE):
            piece = one.secret[max(0, start) :][:PIECE]
            for _ in range(3):  # as it is, in JSON, and in a dead letter, which holds a line of JSON
                names[piece.encode()] = one
                piece = json.dumps(piece, ensure_ascii=False)[1:-1]
    options = re2.Options()
    options.max_mem = 256 << 20
    pieces = [*names]
    found = set()
    for begin in range(0, len(pieces), 300):
        any_of = re2.compile("|".join(re2.escape(piece.decode()) for piece in pieces[begin : begin + 300]), options)
        for place, data in places.items():
            found |= {
                f"{place}: {names[match.group()]} in {data[max(0, match.start() - 40) : match.end() + 40]!r}"
                for match in any_of.finditer(data)
            }
    return found


def test_no_canary_comes_out_anywhere(
    start_service: StartService, loki: LokiStandIn, redis_server: RedisServer, tmp_path
):
    """Neither by the sink, the spool, dead letters, our own log, metrics, Redis's keys, nor by any refusal."""
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[key]]\nid = "k1"\nsecret = "{"5eed" * 16}"\n')
    keys.chmod(0o400)
    loki.limits = Limits(max_line_bytes=LONGEST_LINE)
    loki.inject(Fault(status=503, text="not now"), times=None)
    service = start_service(
        LOKI_URL=loki.url, REDIS_URL=redis_server.url, PSEUDONYM_KEYS_FILE=str(keys), WEB_CONCURRENCY="1",
        LOG_LEVEL="debug", REDACTION_AUDIT_EVERY="1", BATCH_MAX_AGE_S="0.2",
    )  # fmt: skip
    chance = Chance(f"canaries/{SEED}")
    ground = Ground(service, loki, redis_server.url)
    with Caller(service) as caller:
        for entry in ENTRIES:  # each at least once, however few are asked for
            ground.fire(caller, entry(chance))
        while len(ground.planted) < EXAMPLES:
            ground.fire(caller, chance.weighed(ENTRIES)(chance))
    spooled = ground.evidence()
    loki.clear_faults()
    ground.use(canary(chance) for _ in range(20))
    assert wait_until(lambda: _is_settled(service), SETTLED_WITHIN_S), service.json("GET", "/readyz")
    ledger = service.json("GET", "/readyz")[1]["integrity"]
    assert ledger["delivered"]
    assert ledger["dead_lettered"]
    assert not ledger["difference"]

    # What is looked for is found where it does stand.
    secrets = {f"{number}": one.secret.encode() for number, one in enumerate(ground.planted)}
    assert len({line.split(": ")[0] for line in survivors(ground.planted, secrets)}) == len(ground.planted)

    left = survivors(ground.planted, spooled) | survivors(ground.planted, ground.evidence())
    assert not left, f"CANARIES_SEED={SEED}: {len(left)} stand where they must not\n" + "\n".join(sorted(left)[:40])
    leaks = {labels: value for (name, labels), value in service.metrics().items() if name == LEAKS}
    assert leaks
    assert not sum(leaks.values()), {labels: value for labels, value in leaks.items() if value}


LEAKS: Final = "telemetry_cache_pii_leaks_total"


def _is_settled(service: RunningService) -> bool:
    ledger = service.json("GET", "/readyz")[1]["integrity"]
    return bool(ledger["spooled"] == 0)
