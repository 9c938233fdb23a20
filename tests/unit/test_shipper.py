"""The shipper: every event reaches the sink or the dead letters, and nothing is forgotten before."""

from __future__ import annotations

import copy
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.memory_spool import MemorySpool
from app.core.backoff import CEILING_S
from app.core.batching import BatchLimits
from app.core.events import Redacted
from app.core.verdicts import Delivered, Refused, Retry, TooLarge
from app.errors import SinkError
from app.shipper import IDLE_S, PROBE_EVERY_S, Shipper, SinkState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from app.core.verdicts import Verdict

LIMITS = BatchLimits(max_bytes=1_000_000, max_events=1000, max_age_s=1.0)
NOW_S = 5000.0
WALL_S = 1_790_000_000.0


def entry(number: int, stream: str = "s") -> Redacted:
    return Redacted(
        event_id=f"{stream}{number}",
        event="e",
        labels=(("service_name", stream),),
        timestamp_ns=number,
        line=b'{"n":%d}' % number,
        tenant="default",
    )


def entries(count: int) -> list[Redacted]:
    return [entry(number) for number in range(count)]


class FakeLane:
    """One stream of events, all of which were appended at NOW_S."""

    def __init__(self, waiting: Iterable[Redacted] = ()) -> None:
        self.waiting = list(waiting)
        self.acked: list[Redacted] = []

    @property
    def queued_bytes(self) -> int:
        return sum(one.size_bytes for one in self.waiting)

    @property
    def queued_events(self) -> int:
        return len(self.waiting)

    @property
    def oldest_s(self) -> float:
        return NOW_S if self.waiting else 0.0

    def peek(self, max_bytes: int, max_events: int) -> Sequence[Redacted]:
        assert max_bytes > 0
        return self.waiting[:max_events]

    def ack(self, count: int) -> None:
        assert count <= len(self.waiting)
        self.acked += self.waiting[:count]
        del self.waiting[:count]


class FakeSink:
    """Answers by a function of the batch; remembers every batch and what it was told to keep."""

    def __init__(self, answer: Callable[[Sequence[Redacted]], Verdict]) -> None:
        self.answer = answer
        self.batches: list[list[Redacted]] = []
        self.stored: list[Redacted] = []
        self.probes = 0
        self.probed: str | None = None

    def send(self, batch: Sequence[Redacted]) -> Verdict:
        self.batches.append(list(batch))
        verdict = self.answer(batch)
        if isinstance(verdict, Delivered):
            self.stored += batch
        return verdict

    def probe(self) -> str | None:
        self.probes += 1
        return self.probed


class FakeDeadLetters:
    """Keeps letters, or fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.letters: list[tuple[Redacted, str, str]] = []

    def add(self, entry: Redacted, reason: str, detail: str) -> None:
        if self.failures:
            self.failures -= 1
            raise SinkError("no room")
        self.letters.append((entry, reason, detail))

    @property
    def entries(self) -> list[Redacted]:
        return [entry for entry, _, _ in self.letters]


@dataclass
class FakeTelemetry:
    """Counts what the shipper counts; it may ask for nothing else."""

    deliveries: Counter[tuple[str, str]] = field(default_factory=Counter)
    pushes: list[str] = field(default_factory=list)
    bytes_delivered: int = 0

    def delivered(self, lines: int, size_bytes: int) -> None:
        self.deliveries["delivered", "ok"] += lines
        self.bytes_delivered += size_bytes

    def delivery(self, outcome: str, reason: str, count: int) -> None:
        self.deliveries[outcome, reason] += count

    def push(self, result: str) -> None:
        self.pushes.append(result)


class Bench:
    """A shipper with everything around it; `rand` is 0.5, so that a backoff is half its bound."""

    def __init__(
        self,
        answer: Callable[[Sequence[Redacted]], Verdict],
        waiting: Iterable[Redacted] = (),
        *,
        failing_letters: int = 0,
        limits: BatchLimits = LIMITS,
        kind: type[Shipper] = Shipper,
        lane: Any = None,
    ) -> None:
        self.lane = lane if lane is not None else FakeLane(waiting)
        self.sink = FakeSink(answer)
        self.dead = FakeDeadLetters(failing_letters)
        self.telemetry: Any = FakeTelemetry()
        self.state = SinkState()
        self.audited: list[Redacted] = []
        self.shipper = kind(
            self.lane,
            self.sink,
            self.dead,
            self.telemetry,
            limits=limits,
            state=self.state,
            audit=self.audited.extend,
            rand=lambda: 0.5,
            wall_s=lambda: WALL_S,
        )


def refusing(*bad: int, reason: str = "too_old") -> Callable[[Sequence[Redacted]], Verdict]:
    """Loki's way: a batch with a bad entry is refused, with words about it."""

    def answer(batch: Sequence[Redacted]) -> Verdict:
        if any(one.timestamp_ns in bad for one in batch):
            return Refused(reason, f"words about {reason}")
        return Delivered()

    return answer


# Delivered


def test_what_is_delivered_is_acknowledged_and_counted() -> None:
    """One batch, one push, in order; and the next look is at once."""
    bench = Bench(lambda _: Delivered(), entries(3))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.sink.batches == [entries(3)]
    assert bench.lane.waiting == []
    assert bench.telemetry.deliveries == {("delivered", "ok"): 3}
    assert bench.telemetry.pushes == ["delivered"]
    assert bench.telemetry.bytes_delivered == sum(len(one.line) for one in entries(3))
    assert bench.audited == entries(3)


def test_an_event_is_sent_before_it_is_acknowledged() -> None:
    """While the sink answers, all of the batch still stands in the lane."""
    waiting = []
    bench = Bench(lambda _: waiting.append(bench.lane.queued_events) or Delivered(), entries(3))
    bench.shipper.run_once(NOW_S + 1)
    assert waiting == [3]


@pytest.mark.parametrize(
    ("count", "after_s", "wait_s"), [(1, 0.0, 1.0), (1, 0.75, 0.25), (1, 1.0, 0.0), (4, 0.0, 1.0), (5, 0.0, 0.0)]
)
def test_a_batch_waits_until_it_is_due(count: int, after_s: float, wait_s: float) -> None:
    """By age or by number; before that nothing is sent and the wait is what is left."""
    limits = BatchLimits(max_bytes=1_000_000, max_events=5, max_age_s=1.0)
    bench = Bench(lambda _: Delivered(), entries(count), limits=limits)
    assert bench.shipper.run_once(NOW_S + after_s) == wait_s
    assert bool(bench.sink.batches) == (wait_s == 0.0)


def test_a_batch_is_no_larger_than_its_limits() -> None:
    """What does not fit waits for the next push."""
    limits = BatchLimits(max_bytes=1_000_000, max_events=2, max_age_s=1.0)
    bench = Bench(lambda _: Delivered(), entries(5), limits=limits)
    while bench.lane.waiting:
        assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert [len(batch) for batch in bench.sink.batches] == [2, 2, 1]


# Retry


def test_a_retry_keeps_everything_and_backs_off() -> None:
    """0.5 s, 1 s, 2 s, ... with jitter (here one half), and nothing is sent before its time."""
    bench = Bench(lambda _: Retry("timeout"), entries(3))
    now_s = NOW_S + 1
    for pause_s in (0.25, 0.5, 1.0, 2.0, 4.0):
        pushes = len(bench.sink.batches)
        assert bench.shipper.run_once(now_s) == pause_s
        assert bench.shipper.run_once(now_s + pause_s / 2) == pause_s / 2
        assert len(bench.sink.batches) == pushes + 1
        now_s += pause_s
    assert bench.lane.waiting == entries(3)
    assert bench.dead.letters == []
    assert bench.telemetry.deliveries == {}
    assert set(bench.telemetry.pushes) == {"timeout"}


def test_retries_go_on_for_ever() -> None:
    """After thousands of failures the pause is at most five minutes and the events are still there."""
    bench = Bench(lambda _: Retry("status_5xx"), entries(2))
    now_s = NOW_S + 1
    for _ in range(2000):
        pause_s = bench.shipper.run_once(now_s)
        assert pause_s is not None
        assert 0 < pause_s <= CEILING_S
        now_s += pause_s
    assert bench.lane.waiting == entries(2)


def test_a_success_ends_the_backoff() -> None:
    """The next failure starts at half a second again."""
    answers = deque([Retry("timeout")] * 4 + [Delivered(), Retry("timeout")])
    limits = BatchLimits(max_bytes=1_000_000, max_events=1, max_age_s=1.0)
    bench = Bench(lambda _: answers.popleft(), entries(2), limits=limits)
    now_s = NOW_S + 1
    pauses = []
    for _ in range(6):
        pauses.append(bench.shipper.run_once(now_s))
        now_s += pauses[-1] or 0.0
    assert pauses == [0.25, 0.5, 1.0, 2.0, 0.0, 0.25]


@pytest.mark.parametrize(("after_s", "pause_s"), [(None, 0.25), (0.0, 0.25), (0.1, 0.25), (7.0, 7.0), (300.0, 300.0)])
def test_the_sinks_own_wish_is_honoured(after_s: float | None, pause_s: float) -> None:
    """Retry-After is waited for where it is longer than the backoff."""
    bench = Bench(lambda _: Retry("rate_limited", after_s), entries(1))
    assert bench.shipper.run_once(NOW_S + 1) == pause_s


@pytest.mark.parametrize(
    "reason", ["bad_request", "unauthorized", "forbidden", "not_found", "connection", "status_3xx"]
)
def test_what_is_nobodys_or_the_operators_fault_keeps_the_backlog(reason: str) -> None:
    """A 400 that the table does not know must not turn a backlog into dead letters; /readyz says why."""
    bench = Bench(lambda _: Retry(reason), entries(100))
    assert (bench.shipper.run_once(NOW_S + 1) or 0) > 0
    assert bench.lane.waiting == entries(100)
    assert bench.dead.letters == []
    assert len(bench.sink.batches) == 1
    assert (bench.state.state, bench.state.detail) == ("degraded", reason)


def test_a_retry_in_the_middle_keeps_what_is_left() -> None:
    """What was delivered of a split batch is acknowledged, and the rest is where the next attempt begins."""
    answers = deque([TooLarge(), Delivered(), Retry("timeout"), Delivered()])
    bench = Bench(lambda _: answers.popleft(), entries(4))
    pause_s = bench.shipper.run_once(NOW_S + 1)
    assert bench.lane.waiting == entries(4)[2:]
    assert bench.shipper.run_once(NOW_S + 1 + (pause_s or 0)) == 0.0
    assert bench.sink.stored == entries(4)


# Split


def test_a_batch_that_is_too_large_goes_in_halves() -> None:
    """413: halves until they fit, in order, and each event is delivered once."""
    bench = Bench(lambda batch: Delivered() if len(batch) <= 2 else TooLarge(), entries(7))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.sink.stored == entries(7)
    assert bench.lane.acked == entries(7)
    assert bench.dead.letters == []
    assert bench.telemetry.deliveries == {("delivered", "ok"): 7}


def test_one_event_that_is_too_large_is_a_dead_letter() -> None:
    """It cannot be halved, and the ones around it go on."""
    bench = Bench(lambda batch: TooLarge() if entry(2) in batch else Delivered(), entries(5))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.dead.entries == [entry(2)]
    assert bench.dead.letters[0][1] == "too_large"
    assert bench.sink.stored == [one for one in entries(5) if one != entry(2)]
    assert bench.lane.waiting == []
    assert bench.telemetry.deliveries == {("delivered", "ok"): 4, ("dead_letter", "too_large"): 1}


@pytest.mark.parametrize("bad", [(0,), (41,), (99,), (0, 99), (41, 42), (7, 50, 93), tuple(range(0, 100, 9))])
def test_only_refused_entries_become_dead_letters(bad: tuple[int, ...]) -> None:
    """A partial 400 for some of a hundred: those stand alone in the end, with the sink's reason and words."""
    bench = Bench(refusing(*bad), entries(100))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.dead.letters == [(entry(number), "too_old", "words about too_old") for number in bad]
    assert bench.sink.stored == [entry(number) for number in range(100) if number not in bad]
    assert bench.lane.acked == entries(100)
    assert len(bench.sink.batches) <= 2 * len(bad) * 8 + 1
    assert bench.telemetry.deliveries == {
        ("delivered", "ok"): 100 - len(bad),
        ("dead_letter", "too_old"): len(bad),
    }


def test_a_batch_of_refused_entries_is_all_dead_letters() -> None:
    """A poisoned batch does not block the one behind it."""
    limits = BatchLimits(max_bytes=1_000_000, max_events=4, max_age_s=1.0)
    bench = Bench(refusing(0, 1, 2, 3), entries(8), limits=limits)
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.dead.entries == entries(8)[:4]
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.sink.stored == entries(8)[4:]


# Dead letters


def test_a_dead_letter_that_cannot_be_written_keeps_its_event() -> None:
    """Neither delivered nor dead: it stays in the lane, with all behind it, and is tried again."""
    bench = Bench(refusing(1), entries(3), failing_letters=2)
    now_s = NOW_S + 1
    for pause_s in (0.25, 0.5):
        assert bench.shipper.run_once(now_s) == pause_s
        assert bench.lane.waiting == entries(3)[1:]
        assert bench.dead.letters == []
        now_s += pause_s
    assert bench.shipper.run_once(now_s) == 0.0
    assert (bench.dead.entries, bench.sink.stored, bench.lane.waiting) == ([entry(1)], [entry(0), entry(2)], [])


def test_failing_dead_letters_are_shown() -> None:
    """The reason is a word for a metric and for /readyz: a lane must not stand still unseen."""
    bench = Bench(refusing(0), entries(1), failing_letters=99)
    bench.shipper.run_once(NOW_S + 1)
    assert bench.state.state == "degraded"
    assert "dead_letters_failing" in bench.telemetry.pushes or bench.state.detail == "dead_letters_failing"


# Flush


def test_a_flush_ships_what_is_not_due_yet() -> None:
    """Batch by batch; None says that nothing is left."""
    limits = BatchLimits(max_bytes=1_000_000, max_events=2, max_age_s=60.0)
    bench = Bench(lambda _: Delivered(), entries(3), limits=limits)
    assert bench.shipper.run_once(NOW_S, flush=True) == 0.0
    assert bench.shipper.run_once(NOW_S, flush=True) == 0.0
    assert bench.shipper.run_once(NOW_S, flush=True) is None
    assert bench.sink.stored == entries(3)


def test_a_flush_makes_one_attempt_without_waiting_for_the_backoff() -> None:
    """A stop does not wait five minutes; what cannot be delivered now stays."""
    bench = Bench(lambda _: Retry("timeout", 300.0), entries(3))
    assert bench.shipper.run_once(NOW_S + 1) == 300.0
    assert bench.shipper.run_once(NOW_S + 1, flush=True) is None
    assert len(bench.sink.batches) == 2
    assert bench.lane.waiting == entries(3)


def test_a_flush_of_nothing_asks_nobody() -> None:
    """Neither a push nor a probe."""
    bench = Bench(lambda _: Delivered())
    assert bench.shipper.run_once(NOW_S, flush=True) is None
    assert (bench.sink.batches, bench.sink.probes) == ([], 0)


# Idle


def test_an_idle_shipper_probes_now_and_then() -> None:
    """At once, and then every five seconds, so that /readyz knows before an event does."""
    bench = Bench(lambda _: Delivered())
    probes = []
    for second in range(12):
        assert bench.shipper.run_once(NOW_S + second) == IDLE_S
        probes.append(bench.sink.probes)
    assert probes == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]
    assert PROBE_EVERY_S == 5.0
    assert bench.state.health("sink").state == "ok"


def test_a_probe_that_fails_and_then_does_not_is_shown() -> None:
    """`since` is when the state changed, not when it was last seen."""
    walls = iter([100.0, 200.0, 300.0, 400.0])
    state = SinkState()
    for fault, wanted in [
        ("connection", ("degraded", 100.0, "connection")),
        ("timeout", ("degraded", 100.0, "timeout")),
        (None, ("ok", 300.0, "answers")),
        (None, ("ok", 300.0, "answers")),
    ]:
        state.note(fault, next(walls))
        health = state.health("sink")
        assert (health.state, health.since_s, health.detail) == wanted


def test_a_push_that_is_refused_for_its_entries_is_no_fault_of_the_sink() -> None:
    """Loki that says what is wrong with an event is well."""
    bench = Bench(refusing(0), entries(1))
    bench.shipper.run_once(NOW_S + 1)
    assert bench.state.state == "ok"
    assert bench.telemetry.pushes == ["entries_refused"]


# Whatever happens


class AckFirst(Shipper):
    """What must never be: a batch is forgotten, and only then sent."""

    def _deliver(self, batch: Sequence[Redacted]) -> Retry | None:
        lane, self._lane = self._lane, FakeLane(batch)
        lane.ack(len(batch))
        try:
            return super()._deliver(batch)
        finally:
            self._lane = lane


class BuryFirst(Shipper):
    """What must never be: an event leaves the lane before its dead letter is written."""

    def _bury(self, entry: Redacted, verdict: TooLarge | Refused) -> Retry | None:
        self._lane.ack(1)
        lane, self._lane = self._lane, FakeLane([entry])
        try:
            return super()._bury(entry, verdict)
        finally:
            self._lane = lane


class DropAlike(Shipper):
    """What must never be: a whole batch is dead because of one entry."""

    def _deliver(self, batch: Sequence[Redacted]) -> Retry | None:
        verdict = self._sink.send(batch)
        if isinstance(verdict, Retry):
            return verdict
        self._lane.ack(len(batch))
        return None


SCRIPT = st.lists(
    st.sampled_from(
        [Delivered(), Delivered(), Retry("timeout"), Retry("rate_limited", 9.0), TooLarge(), Refused("too_old", "old")]
    ),
    max_size=30,
)
STREAMS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12)


@dataclass
class Fate:
    """Where every event is at one moment."""

    appended: list[Redacted]
    delivered: list[Redacted]
    dead: list[Redacted]
    waiting: list[Redacted]

    def check(self) -> None:
        """Nothing is lost, nothing is there twice, and each stream is in order."""
        assert Counter(self.delivered + self.dead + self.waiting) == Counter(self.appended)
        for stream in ("a", "b", "c"):
            there = [self.of(stream, kept) for kept in (self.delivered, self.dead, self.waiting)]
            assert all(numbers == sorted(numbers) for numbers in there)
            assert not there[2] or max(there[0] + there[1], default=-1) < there[2][0]

    @staticmethod
    def of(stream: str, kept: list[Redacted]) -> list[int]:
        return [one.timestamp_ns for one in kept if one.labels[0][1] == stream]


def run(
    script: list[Verdict], streams: list[str], failures: list[int], kind: type[Shipper] = Shipper, events: int = 5
) -> list[Fate]:
    """Ship events of some streams by a script, some dead letters failing; the fates after each step.

    Events arrive one before each step and one while each push is under way.
    """
    spool = MemorySpool(max_bytes=1_000_000, lanes=1)
    (lane,) = spool.lanes()
    answers = deque(script)
    appended: list[Redacted] = []
    now_s = 1.0

    def arrive() -> None:
        if len(appended) < len(streams):
            appended.append(entry(len(appended), streams[len(appended)]))
            spool.append(appended[-1:], now_s)

    def answer(_: Sequence[Redacted]) -> Verdict:
        arrive()
        return answers.popleft() if answers else Delivered()

    limits = BatchLimits(max_bytes=1_000_000, max_events=events, max_age_s=0.0)
    bench = Bench(answer, lane=lane, kind=kind, limits=limits)
    fates: list[Fate] = []
    for step in range(len(script) + 3 * len(streams) + 2):
        arrive()
        bench.dead.failures = 1 if step in failures else 0
        now_s += bench.shipper.run_once(now_s) or 0.001
        fates.append(Fate(list(appended), list(bench.sink.stored), bench.dead.entries, everything(lane)))
    return fates


def everything(lane: Any) -> list[Redacted]:
    """All that waits in a lane, taken out of a copy of it."""
    lane = copy.deepcopy(lane)
    taken: list[Redacted] = []
    while batch := lane.peek(1_000_000, 1000):
        taken += batch
        lane.ack(len(batch))
    return taken


def check(fates: list[Fate]) -> None:
    for fate in fates:
        fate.check()


@given(SCRIPT, STREAMS, st.lists(st.integers(0, 20), max_size=4), st.integers(1, 5))
def test_nothing_is_ever_lost(script: list[Verdict], streams: list[str], failures: list[int], events: int) -> None:
    """After any step, what is delivered, dead and waiting is what was appended: once, and in order by stream."""
    fates = run(script, streams, failures, events=events)
    check(fates)
    assert fates[-1].waiting == []


@pytest.mark.parametrize(
    ("kind", "script", "failures"),
    [
        (AckFirst, [Retry("timeout")], []),
        (AckFirst, [TooLarge()], [0]),
        (BuryFirst, [Refused("too_old", "old")], [0]),
        (DropAlike, [Refused("too_old", "old")], []),
        (DropAlike, [TooLarge()], []),
    ],
)
def test_the_check_sees_what_is_lost(kind: type[Shipper], script: list[Verdict], failures: list[int]) -> None:
    """A shipper that forgets first is caught by the same check, and the real one passes it on the same script."""
    check(run(script, ["a"], failures))
    forgetful = run(script, ["a"], failures, kind)
    with pytest.raises(AssertionError):
        check(forgetful)
