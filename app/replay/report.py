"""What a run came to: counts, places and times; as text for people and as one JSON object for scripts."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.replay.client import Meter
from app.replay.player import Logged, Played, Recalled
from app.replay.rows import BadRow, Place, Reading
from app.replay.verdict import Found, Kept

# The text names so many places of a kind, enough to look at; `--json` names all.
MAX_PLACES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Noted:
    """A row worth looking at: where it stands, and what is to be said of it, never in its own words."""

    place: Place
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Give `file:line` and the notes."""
        return " ".join([str(self.place), *([f"({', '.join(self.notes)})"] if self.notes else [])])


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Times of answered tries in milliseconds, as this program saw them: its own threads' work is in them."""

    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Lookups:
    """A pass over the cache: hits, misses (of which `degraded` had no store behind them) and failed calls."""

    hits: int
    misses: int
    degraded: int
    failed: int


@dataclass(frozen=True, slots=True)
class Report:
    """One run.

    rows: lines that are not blank. sent: rows played, all but the bad ones. logged, rejected: of the events;
    what is neither was not acknowledged. redacted: logged rows of which redaction changed something;
    redaction_unknown: logged rows of which the service did not say. stored: acknowledged `set` calls.
    first_pass: look-ups before any `set`. second_pass: after all of them; its hits are right answers only.
    wrong_answers: hits with another answer. retries, reconnects, errors: see Meter. requests: answered tries.
    latency_ms: by call, and "overall".
    """

    rows: int
    sent: int
    logged: int
    rejected: int
    redacted: int
    redaction_unknown: int
    stored: int
    first_pass: Lookups
    second_pass: Lookups
    wrong_answers: int
    retries: int
    reconnects: int
    errors: Mapping[str, int]
    requests: int
    elapsed_s: float
    latency_ms: Mapping[str, Quantiles]
    bad_rows: tuple[Noted, ...]
    not_logged: tuple[Noted, ...]
    not_found: tuple[Noted, ...]
    touched: tuple[Noted, ...]

    @property
    def requests_per_s(self) -> float:
        """Answered tries over the whole run, a second."""
        return self.requests / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def is_ok(self) -> bool:
        """Whether every row was logged, stored and found again verbatim, with no bad row among them."""
        return self.rows == self.sent == self.logged == self.stored == self.second_pass.hits


def summarise(reading: Reading, played: Played, meters: Sequence[Meter], elapsed_s: float) -> Report:
    """Put what was read, played and measured into one report; elapsed_s: of the passes, in seconds."""
    kept = Counter(result.outcome.kept for result in played.logged)
    recalled = Counter(result.found for result in played.recalled)
    latency_ms = _quantiles(meters)
    is_logged = [result for result in played.logged if result.outcome.kept is Kept.LOGGED]
    return Report(
        rows=len(reading.rows) + len(reading.bad),
        sent=len(played.logged),
        logged=kept[Kept.LOGGED],
        rejected=kept[Kept.REJECTED],
        redacted=sum(bool(result.touched) for result in is_logged),
        redaction_unknown=sum(result.touched is None for result in is_logged),
        stored=sum(group.stored for group in played.stored),
        first_pass=_lookups(Counter(result.found for result in played.logged)),
        second_pass=_lookups(recalled),
        wrong_answers=recalled[Found.WRONG],
        retries=sum(meter.retries for meter in meters),
        reconnects=sum(meter.reconnects for meter in meters),
        errors=dict(sorted(sum((meter.errors for meter in meters), Counter[str]()).items())),
        requests=latency_ms["overall"].count,
        elapsed_s=elapsed_s,
        latency_ms=latency_ms,
        bad_rows=tuple(_bad(reading.bad)),
        not_logged=tuple(_not_logged(played.logged)),
        not_found=tuple(_not_found(played.recalled)),
        touched=tuple(Noted(result.row.place, result.touched) for result in is_logged if result.touched),
    )


def as_json(report: Report) -> str:
    """Write the report as one JSON object on one line."""
    members: dict[str, Any] = {"ok": report.is_ok, **asdict(report), "requests_per_s": report.requests_per_s}
    lookups = members.pop("second_pass")
    failed = lookups.pop("failed")
    noted = {
        name: [{**item["place"], "notes": item["notes"]} for item in members[name]]
        for name in ("bad_rows", "not_logged", "not_found", "touched")
    }
    return json.dumps(_rounded({**members, **lookups, "failed_lookups": failed, **noted}))


def as_text(report: Report) -> str:
    """Write the report for a person to read, with `MAX_PLACES_SHOWN` places of each kind at most."""
    return "\n".join([*_count_lines(report), "", *_latency_lines(report), *_place_lines(report)])


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Give the nearest-rank percentile of sorted figures; 0.0 of none."""
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)] if ordered else 0.0


def _quantiles(meters: Iterable[Meter]) -> dict[str, Quantiles]:
    by_call: dict[str, list[float]] = {}
    for meter in meters:
        for call, latencies_ms in meter.latencies_ms.items():
            by_call.setdefault(call, []).extend(latencies_ms)
    overall = [figure for figures in by_call.values() for figure in figures]
    return {name: _quantiles_of(figures) for name, figures in [("overall", overall), *sorted(by_call.items())]}


def _quantiles_of(figures: Iterable[float]) -> Quantiles:
    ordered = sorted(figures)
    return Quantiles(len(ordered), *(percentile(ordered, percent) for percent in (50, 95, 99)))


def _lookups(found: Counter[Found]) -> Lookups:
    misses = found[Found.MISS] + found[Found.DEGRADED]
    return Lookups(found[Found.HIT], misses, found[Found.DEGRADED], found[Found.FAILED])


def _bad(rows: Iterable[BadRow]) -> Iterator[Noted]:
    return (Noted(row.place, (row.reason,)) for row in rows)


def _not_logged(results: Iterable[Logged]) -> Iterator[Noted]:
    for result in results:
        if result.outcome.kept is not Kept.LOGGED:
            yield Noted(result.row.place, (result.outcome.kept.value, result.outcome.reason))


def _not_found(results: Iterable[Recalled]) -> Iterator[Noted]:
    for result in results:
        if result.found is not Found.HIT:
            yield Noted(result.row.place, (result.found.value,))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(member) for name, member in value.items()}
    return value


def _count_lines(report: Report) -> Iterator[str]:
    first, second = report.first_pass, report.second_pass
    unacknowledged = report.sent - report.logged - report.rejected
    errors = ", ".join(f"{count} x {name}" for name, count in report.errors.items())
    unknown = f", not known of {report.redaction_unknown}" if report.redaction_unknown else ""
    yield f"rows         {report.rows}, bad {len(report.bad_rows)}, sent {report.sent}"
    yield f"events       logged {report.logged}, rejected {report.rejected}, unacknowledged {unacknowledged}"
    yield f"redacted     {report.redacted}{unknown}"
    yield f"first pass   {_lookup_words(first)}"
    yield f"stored       {report.stored}"
    yield f"second pass  {_lookup_words(second)}, wrong answers {report.wrong_answers}"
    yield f"retries      {report.retries}, reconnects {report.reconnects}"
    yield f"errors       {errors or 'none'}"
    yield (f"requests     {report.requests} in {report.elapsed_s:.2f} s, {report.requests_per_s:.0f} requests/s")
    yield f"verdict      {'ok' if report.is_ok else 'NOT OK'}"


def _lookup_words(lookups: Lookups) -> str:
    return f"hits {lookups.hits}, misses {lookups.misses}, degraded {lookups.degraded}, failed {lookups.failed}"


def _latency_lines(report: Report) -> Iterator[str]:
    yield f"{'call':<18}{'count':>9}{'p50 ms':>11}{'p95 ms':>11}{'p99 ms':>11}"
    for call, times in report.latency_ms.items():
        yield f"{call:<18}{times.count:>9}{times.p50:>11.2f}{times.p95:>11.2f}{times.p99:>11.2f}"


def _place_lines(report: Report) -> Iterator[str]:
    kinds = {
        "bad rows": report.bad_rows,
        "not logged": report.not_logged,
        "not found again": report.not_found,
        "touched by redaction": report.touched,
    }
    for title, noted in kinds.items():
        if noted:
            yield ""
            yield f"{title}:"
            yield from (f"  {item}" for item in noted[:MAX_PLACES_SHOWN])
        if len(noted) > MAX_PLACES_SHOWN:
            yield f"  and {len(noted) - MAX_PLACES_SHOWN} more (all of them with --json)"
