"""The shipper: every event reaches the sink or the dead letters, and nothing is forgotten before."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from gevent import GreenletExit
from hypothesis import given
from hypothesis import strategies as st

from app.core.backlog import NEVER_S, Backlog, Place, Stream
from app.core.backoff import CEILING_S
from app.core.batching import BatchLimits
from app.core.events import Redacted
from app.core.verdicts import Delivered, Refused, Retry, TooLarge
from app.errors import SinkError
from app.shipper import PROBE_EVERY_S, Shipper, SinkState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from app.core.verdicts import Verdict
    from app.ports import Batch

LIMITS = BatchLimits(max_bytes=1_000_000, max_events=1000, max_age_s=1.0)
ALL = BatchLimits(max_bytes=10**9, max_events=10**6, max_age_s=0.0)
IDLE_S = 1.0
NOW_S = 5000.0
WALL_S = 1_790_000_000.0


def entry(number: int, stream: str = "s") -> Redacted:
    return Redacted(
        (("service_name", stream),), number, b'{"n":%d}' % number, b'{"event_id":"%b%d"}' % (stream.encode(), number)
    )


def entries(count: int, stream: str = "s") -> list[Redacted]:
    return [entry(number, stream) for number in range(count)]


class Released(NamedTuple):
    """How a batch was given back."""

    stream: str
    attempt: int
    not_before_s: float


class FakeBatch:
    """The oldest of a stream, given back once and not touched after that."""

    def __init__(self, spool: FakeSpool, stream: Stream, waiting: Sequence[Redacted], now_s: float) -> None:
        self.entries = waiting
        self.attempt = stream.attempt
        self._spool = spool
        self._stream = stream
        self._now_s = now_s

    def settle(self, count: int, *, dead: bool = False) -> None:
        assert self._stream.is_busy
        assert 0 < count <= len(self.entries)
        (self._spool.dead if dead else self._spool.delivered).extend(self.entries[:count])
        self._spool.journal.append(("dead" if dead else "settled", numbers(self.entries[:count])))
        self._spool.backlog.drop(self._stream, count, self._now_s)
        self.entries = self.entries[count:]

    def release(self, *, attempt: int = 0, not_before_s: float = 0.0) -> None:
        assert self._stream.is_busy
        self._stream.attempt, self._stream.not_before_s = attempt, not_before_s
        self._spool.backlog.release(self._stream)
        self._spool.releases.append(Released(self._stream.key.decode(), attempt, not_before_s))


class FakeSpool:
    """What was appended, as the backlog orders it; the stream that has been due longest comes first."""

    def __init__(self, limits: BatchLimits = LIMITS) -> None:
        self.limits = limits
        self.backlog = Backlog()
        self.appended: list[Redacted] = []
        self.delivered: list[Redacted] = []
        self.dead: list[Redacted] = []
        self.releases: list[Released] = []
        self.journal: list[tuple[str, list[int]]] = []
        self.takes = 0

    def append(self, entries: Sequence[Redacted], now_s: float) -> None:
        for one in entries:
            self.backlog.add(one.labels[0][1].encode(), Place(len(self.appended), len(one.line)), 0, now_s)
            self.appended.append(one)

    def take(self, now_s: float, *, flush: bool = False) -> Batch | float:
        self.takes += 1
        idle = [stream for stream in self.backlog if len(stream) and not stream.is_busy]
        waits = {
            stream.key: 0.0 if flush and stream.not_before_s < NEVER_S else stream.due_in_s(self.limits, now_s)
            for stream in idle
        }
        due = [stream for stream in idle if waits[stream.key] <= 0]
        if not due:
            return min([IDLE_S, *waits.values()])
        stream = min(due, key=lambda one: one.since_s)
        stream.is_busy = True
        return FakeBatch(self, stream, [self.appended[place.address] for place in stream.peek(self.limits)], now_s)

    @property
    def waiting(self) -> list[Redacted]:
        """What is not settled yet, as it came."""
        return [self.appended[at] for at in sorted(place.address for one in self.backlog for place in one.peek(ALL))]

    @property
    def busy(self) -> list[bytes]:
        return [stream.key for stream in self.backlog if stream.is_busy]


class FakeSink:
    """Answers by a function of the batch; remembers every batch and what it was told to keep."""

    def __init__(self, answer: Callable[[Sequence[Redacted]], Verdict], journal: list[tuple[str, list[int]]]) -> None:
        self.answer = answer
        self.batches: list[list[Redacted]] = []
        self.stored: list[Redacted] = []
        self.probes = 0
        self.probed: str | None = None
        self._journal = journal

    def send(self, batch: Sequence[Redacted]) -> Verdict:
        self.batches.append(list(batch))
        verdict = self.answer(batch)
        if isinstance(verdict, Delivered):
            self.stored += batch
        self._journal.append((verdict.result, numbers(batch)))
        return verdict

    def probe(self) -> str | None:
        self.probes += 1
        return self.probed


class FakeDeadLetters:
    """Keeps letters, or fails as often as it is told to, or with what it is told to."""

    def __init__(self, failures: int, journal: list[tuple[str, list[int]]]) -> None:
        self.failures = failures
        self.killed = False
        self.letters: list[tuple[Redacted, str, str]] = []
        self._journal = journal

    def add(self, entry: Redacted, reason: str, detail: str) -> None:
        if self.killed:
            raise GreenletExit
        if self.failures:
            self.failures -= 1
            raise SinkError("no room")
        self.letters.append((entry, reason, detail))
        self._journal.append(("letter", numbers([entry])))

    @property
    def entries(self) -> list[Redacted]:
        return [entry for entry, _, _ in self.letters]


@dataclass
class FakeTelemetry:
    """Counts what the shipper counts; it may ask for nothing else."""

    deliveries: Counter[tuple[str, str]] = field(default_factory=Counter)
    pushes: list[str] = field(default_factory=list)
    retries: list[str] = field(default_factory=list)
    bytes_delivered: int = 0
    last_delivery_s: float = 0.0

    def delivered(self, lines: int, size_bytes: int, wall_s: float) -> None:
        self.deliveries["delivered", "ok"] += lines
        self.bytes_delivered += size_bytes
        self.last_delivery_s = wall_s

    def delivery(self, outcome: str, reason: str, count: int) -> None:
        self.deliveries[outcome, reason] += count

    def push(self, result: str) -> None:
        self.pushes.append(result)

    def retry(self, reason: str) -> None:
        self.retries.append(reason)


class Bench:
    """Shippers of one sink with everything around them; `rand` is 0.5, so that a backoff is half its bound."""

    def __init__(
        self,
        answer: Callable[[Sequence[Redacted]], Verdict],
        waiting: Iterable[Redacted] = (),
        *,
        failing_letters: int = 0,
        limits: BatchLimits = LIMITS,
        kind: type[Shipper] = Shipper,
    ) -> None:
        self.spool = FakeSpool(limits)
        self.spool.append(list(waiting), NOW_S)
        self.journal = self.spool.journal
        self.sink = FakeSink(answer, self.journal)
        self.dead = FakeDeadLetters(failing_letters, self.journal)
        self.telemetry: Any = FakeTelemetry()
        self.state = SinkState()
        self.kind = kind
        self.shipper = self.another()

    def another(self) -> Shipper:
        """Return one more shipper of the same spool and sink."""
        return self.kind(
            self.spool,
            self.sink,
            self.dead,
            self.telemetry,
            state=self.state,
            rand=lambda: 0.5,
            wall_s=lambda: WALL_S,
        )


def numbers(batch: Sequence[Redacted]) -> list[int]:
    return [one.timestamp_ns for one in batch]


def name(batch: Sequence[Redacted]) -> str:
    return batch[0].labels[0][1]


def refusing(*bad: int, reason: str = "too_old") -> Callable[[Sequence[Redacted]], Verdict]:
    """Loki's way: a batch with a bad entry is refused, with words about it."""

    def answer(batch: Sequence[Redacted]) -> Verdict:
        if any(one.timestamp_ns in bad for one in batch):
            return Refused(reason, f"words about {reason}")
        return Delivered()

    return answer


def saying(**answers: Verdict) -> Callable[[Sequence[Redacted]], Verdict]:
    """Answer by stream; what is not named is delivered."""
    return lambda batch: answers.get(name(batch), Delivered())


# Delivered


def test_what_is_delivered_is_settled_and_counted() -> None:
    """One batch, one push, in order; and the next look is at once."""
    bench = Bench(lambda _: Delivered(), entries(3))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.sink.batches == [entries(3)]
    assert (bench.spool.delivered, bench.spool.waiting) == (entries(3), [])
    assert bench.telemetry.deliveries == {("delivered", "ok"): 3}
    assert (bench.telemetry.pushes, bench.telemetry.retries) == (["delivered"], [])
    assert bench.telemetry.bytes_delivered == sum(len(one.line) for one in entries(3))
    assert bench.telemetry.last_delivery_s == WALL_S
    assert bench.spool.releases == [Released("s", 0, 0.0)]


def test_an_event_is_sent_before_it_is_settled() -> None:
    """While the sink answers, all of the batch still stands in the spool, and nobody else is given any of it."""
    seen = []
    bench = Bench(lambda _: seen.append((bench.spool.waiting, bench.spool.busy)) or Delivered(), entries(3))
    bench.shipper.run_once(NOW_S + 1)
    assert seen == [(entries(3), [b"s"])]
    assert bench.spool.busy == []


def test_each_event_is_settled_after_its_own_end() -> None:
    """Behind the sink's yes to it, or behind its dead letter; and as what it became."""
    bench = Bench(refusing(1), entries(4))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.journal == [
        ("entries_refused", [0, 1, 2, 3]),
        ("entries_refused", [0, 1]),
        ("delivered", [0]),
        ("settled", [0]),
        ("entries_refused", [1]),
        ("letter", [1]),
        ("dead", [1]),
        ("delivered", [2, 3]),
        ("settled", [2, 3]),
    ]


def test_a_batch_waits_until_the_spool_hands_it_out() -> None:
    """Before that nothing is sent and the wait is what the spool says."""
    bench = Bench(lambda _: Delivered(), entries(3))
    assert bench.shipper.run_once(NOW_S) == 1.0
    assert bench.shipper.run_once(NOW_S + 0.75) == 0.25
    assert bench.sink.batches == []
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.sink.stored == entries(3)


def test_a_batch_is_no_larger_than_its_limits() -> None:
    """What does not fit waits for the next push."""
    limits = BatchLimits(max_bytes=1_000_000, max_events=2, max_age_s=0.0)
    bench = Bench(lambda _: Delivered(), entries(5), limits=limits)
    while bench.spool.waiting:
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
    assert (bench.spool.waiting, bench.spool.busy) == (entries(3), [])
    assert bench.dead.letters == []
    assert bench.telemetry.deliveries == {}
    assert bench.telemetry.pushes == bench.telemetry.retries == ["timeout"] * 5


def test_retries_go_on_for_ever() -> None:
    """After thousands of failures the pause is at most five minutes and the events are still there."""
    bench = Bench(lambda _: Retry("status_5xx"), entries(2))
    now_s = NOW_S + 1
    for _ in range(2000):
        pause_s = bench.shipper.run_once(now_s)
        assert pause_s is not None
        assert 0 < pause_s <= CEILING_S
        now_s += pause_s
    assert bench.spool.waiting == entries(2)


def test_a_success_ends_the_backoff() -> None:
    """The next failure starts at half a second again."""
    answers = deque([Retry("timeout")] * 4 + [Delivered(), Retry("timeout")])
    limits = BatchLimits(max_bytes=1_000_000, max_events=1, max_age_s=0.0)
    bench = Bench(lambda _: answers.popleft(), entries(2), limits=limits)
    now_s = NOW_S + 1
    pauses = []
    for _ in range(6):
        pauses.append(bench.shipper.run_once(now_s))
        now_s += pauses[-1] or 0.0
    assert pauses == [0.25, 0.5, 1.0, 2.0, 0.0, 0.25]


@pytest.mark.parametrize(("after_s", "pause_s"), [(None, 0.25), (0.0, 0.25), (0.1, 0.25), (7.0, 7.0), (300.0, 300.0)])
@pytest.mark.parametrize("of_stream", [False, True])
def test_the_sinks_own_wish_is_honoured(after_s: float | None, pause_s: float, *, of_stream: bool) -> None:
    """Retry-After is waited for where it is longer than the backoff, by all or by the stream."""
    bench = Bench(lambda _: Retry("rate_limited", after_s, of_stream), entries(1))
    assert bench.shipper.run_once(NOW_S + 1) == (0.0 if of_stream else pause_s)
    assert bench.spool.releases == [Released("s", 1, NOW_S + 1 + pause_s) if of_stream else Released("s", 0, 0.0)]
    assert bench.shipper.run_once(NOW_S + 1) == min(pause_s, IDLE_S if of_stream else CEILING_S)
    assert len(bench.sink.batches) == 1


@pytest.mark.parametrize(
    "reason", ["bad_request", "unauthorized", "forbidden", "not_found", "connection", "status_3xx"]
)
@pytest.mark.parametrize("of_stream", [False, True])
def test_what_is_nobodys_or_the_operators_fault_keeps_the_backlog(reason: str, *, of_stream: bool) -> None:
    """A 400 that the table does not know must not turn a backlog into dead letters; /readyz says why."""
    bench = Bench(lambda _: Retry(reason, of_stream=of_stream), entries(100))
    bench.shipper.run_once(NOW_S + 1)
    assert (bench.shipper.run_once(NOW_S + 1) or 0) > 0
    assert bench.spool.waiting == entries(100)
    assert bench.dead.letters == []
    assert len(bench.sink.batches) == 1
    assert bench.telemetry.retries == [reason]
    if not of_stream:
        assert (bench.state.state, bench.state.detail) == ("degraded", reason)


def test_a_retry_in_the_middle_keeps_what_is_left() -> None:
    """What was delivered of a split batch is settled, and the rest is where the next attempt begins."""
    answers = deque([TooLarge(), Delivered(), Retry("timeout"), Delivered()])
    limits = BatchLimits(max_bytes=1_000_000, max_events=1000, max_age_s=0.0)
    bench = Bench(lambda _: answers.popleft(), entries(4), limits=limits)
    pause_s = bench.shipper.run_once(NOW_S + 1)
    assert bench.spool.waiting == entries(4)[2:]
    assert bench.shipper.run_once(NOW_S + 1 + (pause_s or 0)) == 0.0
    assert bench.sink.batches[-1] == entries(4)[2:]
    assert bench.sink.stored == entries(4)


# Several shippers of one sink


def test_all_shippers_of_a_sink_wait_when_it_takes_nothing() -> None:
    """What one has found out the others need not: nothing is even taken from the spool meanwhile."""
    bench = Bench(lambda _: Retry("timeout"), entries(1, "a") + entries(1, "b"))
    other = bench.another()
    assert bench.shipper.run_once(NOW_S + 1) == 0.25
    assert other.run_once(NOW_S + 1.125) == 0.125
    assert (len(bench.sink.batches), bench.spool.takes) == (1, 1)
    assert other.run_once(NOW_S + 1.25) == 0.5
    assert bench.shipper.run_once(NOW_S + 1.5) == 0.25


def test_shippers_that_fail_side_by_side_fail_once() -> None:
    """Four pushes under way when the sink goes away are one failure, not sixteen times the pause."""

    def answer(_: Sequence[Redacted]) -> Verdict:
        # The others' pushes begin while this one is under way, and end before it.
        if others:
            pauses.append(others.pop().run_once(now_s))
        return Retry("connection")

    bench = Bench(answer, [entry(0, stream) for stream in "abcd"])
    shippers = [bench.another() for _ in range(4)]
    now_s = NOW_S + 1
    for pause_s in (0.25, 0.5, 1.0):
        pauses: list[float | None] = []
        others = shippers[1:]
        pauses.append(shippers[0].run_once(now_s))
        assert pauses == [pause_s] * 4
        now_s += pause_s
    assert len(bench.sink.batches) == 12
    assert bench.spool.waiting == [entry(0, stream) for stream in "abcd"]


def test_a_success_of_one_shipper_ends_the_backoff_of_all() -> None:
    """It is the sink's: that it takes events again concerns everybody."""
    answers = deque([Retry("timeout")] * 3 + [Delivered(), Retry("timeout")])
    bench = Bench(lambda _: answers.popleft(), entries(1, "a") + entries(1, "b"))
    other, now_s = bench.another(), NOW_S + 1
    for pause_s in (0.25, 0.5, 1.0):
        assert bench.shipper.run_once(now_s) == pause_s
        now_s += pause_s
    assert other.run_once(now_s) == 0.0
    assert bench.state.not_before_s <= now_s
    assert bench.shipper.run_once(now_s) == 0.25


def test_a_push_that_succeeds_meanwhile_ends_the_pause() -> None:
    """It was under way when another shipper's failed: the sink takes events, so nobody waits on."""

    def answer(batch: Sequence[Redacted]) -> Verdict:
        if name(batch) == "a":
            assert other.run_once(NOW_S + 1) == 0.25
            return Delivered()
        return Retry("timeout") if bench.sink.stored == [] else Delivered()

    bench = Bench(answer, entries(1, "a") + entries(1, "b"))
    other = bench.another()
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert other.run_once(NOW_S + 1) == 0.0
    assert bench.sink.stored == entries(1, "a") + entries(1, "b")


def test_a_wish_is_honoured_though_another_shipper_failed_first() -> None:
    """A push that timed out and one that was told to come back in a minute: it is a minute."""

    def answer(batch: Sequence[Redacted]) -> Verdict:
        if name(batch) == "a":
            other.run_once(NOW_S + 1)
            return Retry("rate_limited", 60.0)
        return Retry("timeout")

    bench = Bench(answer, entries(1, "a") + entries(1, "b"))
    other = bench.another()
    assert bench.shipper.run_once(NOW_S + 1) == 60.0
    assert other.run_once(NOW_S + 1) == 60.0


# One stream


def test_a_stream_that_is_refused_by_itself_holds_back_nobody_else() -> None:
    """It comes again later, with one more failure to its name; the others go on at once, and the sink is well."""
    bench = Bench(saying(a=Retry("bad_request", of_stream=True)), entries(1, "a") + entries(1, "b"))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.spool.releases == [Released("a", 1, NOW_S + 1.25)]
    assert (bench.state.state, bench.state.not_before_s) == ("ok", 0.0)
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.sink.stored == entries(1, "b")
    assert bench.spool.waiting == entries(1, "a")
    assert bench.state.state == "ok"
    assert bench.shipper.run_once(NOW_S + 1) == 0.25
    assert len(bench.sink.batches) == 2


def test_a_stream_has_a_backoff_of_its_own() -> None:
    """0.5 s, 1 s, 2 s, ... with jitter, whatever the other streams do; at most five minutes."""
    bench = Bench(saying(a=Retry("rate_limited", of_stream=True)), entries(1, "a"))
    now_s = NOW_S + 1
    for attempt in range(1, 40):
        bench.spool.append(entries(1, "b"), 0.0)
        while bench.shipper.run_once(now_s) == 0.0:
            pass
        released = [one for one in bench.spool.releases if one.stream == "a"]
        assert len(released) == attempt
        pause_s = min(CEILING_S, 0.5 * 2.0 ** (attempt - 1)) / 2
        assert released[-1] == ("a", attempt, pytest.approx(now_s + pause_s))
        now_s = released[-1].not_before_s
    assert bench.sink.stored == entries(1, "b") * 39


def test_a_success_ends_the_backoff_of_a_stream() -> None:
    """Its next failure is the first again."""
    answers = deque([Retry("rate_limited", of_stream=True)] * 3 + [Delivered(), Retry("rate_limited", of_stream=True)])
    limits = BatchLimits(max_bytes=1_000_000, max_events=1, max_age_s=0.0)
    bench = Bench(lambda _: answers.popleft(), entries(2), limits=limits)
    now_s = NOW_S + 1
    while answers:
        now_s += bench.shipper.run_once(now_s) or 0.0
    assert [one.attempt for one in bench.spool.releases] == [1, 2, 3, 0, 1]
    assert bench.spool.releases[3].not_before_s == 0.0


def test_a_sink_that_takes_nothing_is_not_held_against_the_stream() -> None:
    """Its own failures stay as they were, and it is due as soon as the sink is tried again."""
    answers = deque([Retry("rate_limited", of_stream=True), Retry("timeout"), Retry("rate_limited", of_stream=True)])
    bench = Bench(lambda _: answers.popleft(), entries(1))
    now_s = NOW_S + 1
    while answers:
        now_s += bench.shipper.run_once(now_s) or 0.0
    assert [one.attempt for one in bench.spool.releases] == [1, 1, 2]
    assert bench.spool.releases[1].not_before_s == 0.0


# Split


def test_a_batch_that_is_too_large_goes_in_halves() -> None:
    """413: halves until they fit, in order, and each event is delivered once."""
    bench = Bench(lambda batch: Delivered() if len(batch) <= 2 else TooLarge(), entries(7))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.sink.stored == bench.spool.delivered == entries(7)
    assert bench.dead.letters == []
    assert bench.telemetry.deliveries == {("delivered", "ok"): 7}


def test_one_event_that_is_too_large_is_a_dead_letter() -> None:
    """It cannot be halved, and the ones around it go on."""
    bench = Bench(lambda batch: TooLarge() if entry(2) in batch else Delivered(), entries(5))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.dead.entries == bench.spool.dead == [entry(2)]
    assert bench.dead.letters[0][1] == "too_large"
    assert bench.sink.stored == [one for one in entries(5) if one != entry(2)]
    assert bench.spool.waiting == []
    assert bench.telemetry.deliveries == {("delivered", "ok"): 4, ("dead_letter", "too_large"): 1}


@pytest.mark.parametrize("bad", [(0,), (41,), (99,), (0, 99), (41, 42), (7, 50, 93), tuple(range(0, 100, 9))])
def test_only_refused_entries_become_dead_letters(bad: tuple[int, ...]) -> None:
    """A partial 400 for some of a hundred: those stand alone in the end, with the sink's reason and words."""
    bench = Bench(refusing(*bad), entries(100))
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.dead.letters == [(entry(number), "too_old", "words about too_old") for number in bad]
    assert bench.spool.dead == [entry(number) for number in bad]
    assert bench.sink.stored == [entry(number) for number in range(100) if number not in bad]
    assert (bench.spool.delivered, bench.spool.waiting) == (bench.sink.stored, [])
    assert len(bench.sink.batches) <= 2 * len(bad) * 8 + 1
    assert bench.telemetry.deliveries == {
        ("delivered", "ok"): 100 - len(bad),
        ("dead_letter", "too_old"): len(bad),
    }


def test_a_batch_of_refused_entries_is_all_dead_letters() -> None:
    """A poisoned batch does not block the one behind it."""
    limits = BatchLimits(max_bytes=1_000_000, max_events=4, max_age_s=0.0)
    bench = Bench(refusing(0, 1, 2, 3), entries(8), limits=limits)
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.dead.entries == entries(8)[:4]
    assert bench.shipper.run_once(NOW_S + 1) == 0.0
    assert bench.sink.stored == entries(8)[4:]


# Dead letters


def test_a_dead_letter_that_cannot_be_written_keeps_its_event() -> None:
    """Neither delivered nor dead: it stays in the spool, with all behind it, and is tried again at backoff pace."""
    limits = BatchLimits(max_bytes=1_000_000, max_events=1000, max_age_s=0.0)
    bench = Bench(refusing(1), entries(3), failing_letters=2, limits=limits)
    now_s = NOW_S + 1
    for pause_s in (0.25, 0.5):
        # All wait, or this stream alone: then the next look says for how long.
        assert (bench.shipper.run_once(now_s) or bench.shipper.run_once(now_s)) == pause_s
        assert bench.spool.waiting == entries(3)[1:]
        assert bench.dead.letters == bench.spool.dead == []
        now_s += pause_s
    assert bench.shipper.run_once(now_s) == 0.0
    assert (bench.dead.entries, bench.sink.stored, bench.spool.waiting) == ([entry(1)], [entry(0), entry(2)], [])


def test_failing_dead_letters_are_shown() -> None:
    """The reason is a word for a metric and for /readyz: a stream must not stand still unseen."""
    bench = Bench(refusing(0), entries(1), failing_letters=99)
    bench.shipper.run_once(NOW_S + 1)
    assert bench.telemetry.retries == ["dead_letters_failing"]
    assert bench.state.detail == "dead_letters_failing" or bench.spool.releases[0].attempt == 1


# Killed


@pytest.mark.parametrize("flush", [False, True])
def test_a_shipper_that_is_killed_leaves_its_batch_to_the_others(*, flush: bool) -> None:
    """As a stop does when its time is over: nothing is settled, and the stream is free as it was."""
    answers = deque([Retry("rate_limited", of_stream=True), None])

    def answer(_: Sequence[Redacted]) -> Verdict:
        verdict = answers.popleft() if answers else Delivered()
        if verdict is None:
            raise GreenletExit
        return verdict

    bench = Bench(answer, entries(3))
    bench.shipper.run_once(NOW_S + 1)
    with pytest.raises(GreenletExit):
        bench.shipper.run_once(NOW_S + 2, flush=flush)
    assert (bench.spool.waiting, bench.spool.busy) == (entries(3), [])
    assert bench.spool.releases[-1] == Released("s", 1, 0.0)
    assert bench.state.not_before_s == 0.0
    assert bench.another().run_once(NOW_S + 2) == 0.0
    assert bench.sink.stored == entries(3)


def test_a_shipper_that_is_killed_in_the_middle_has_settled_what_is_done() -> None:
    """And no more than that."""
    answers = deque([TooLarge(), Delivered()])

    def answer(_: Sequence[Redacted]) -> Verdict:
        if not answers:
            raise GreenletExit
        return answers.popleft()

    bench = Bench(answer, entries(4))
    with pytest.raises(GreenletExit):
        bench.shipper.run_once(NOW_S + 1)
    assert (bench.spool.delivered, bench.spool.waiting) == (entries(2), entries(4)[2:])
    assert bench.spool.busy == []


def test_a_shipper_that_is_killed_while_it_writes_a_dead_letter_keeps_the_event() -> None:
    """Whether the letter was written nobody knows: twice is better than never."""
    bench = Bench(refusing(0), entries(2))
    bench.dead.killed = True
    with pytest.raises(GreenletExit):
        bench.shipper.run_once(NOW_S + 1)
    assert (bench.spool.dead, bench.spool.waiting, bench.spool.busy) == ([], entries(2), [])


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
    assert bench.spool.waiting == entries(3)


def test_a_flush_makes_one_attempt_at_each_stream() -> None:
    """One that is refused by itself is released for never, and the others go on; held back or not."""
    bench = Bench(
        saying(a=Retry("bad_request", of_stream=True), c=Retry("rate_limited", 300.0, of_stream=True)),
        [entry(0, stream) for stream in "abcd"],
    )
    bench.shipper.run_once(NOW_S + 1)
    wanted = [0.0] * 4 + [None]
    assert [bench.shipper.run_once(NOW_S + 1, flush=True) for _ in wanted] == wanted
    assert [name(batch) for batch in bench.sink.batches] == ["a", "a", "b", "c", "d"]
    assert [one.stream for one in bench.spool.releases if one.not_before_s == NEVER_S] == ["a", "c"]
    assert bench.spool.waiting == [entry(0, "a"), entry(0, "c")]


def test_a_sink_that_takes_nothing_ends_the_flush_of_that_shipper() -> None:
    """The streams behind are not tried by it; another shipper still makes its own attempt, and not at the same."""
    bench = Bench(lambda _: Retry("connection"), [entry(0, stream) for stream in "abc"])
    assert bench.shipper.run_once(NOW_S, flush=True) is None
    assert bench.another().run_once(NOW_S, flush=True) is None
    assert [name(batch) for batch in bench.sink.batches] == ["a", "b"]
    assert bench.spool.releases == [Released("a", 0, NEVER_S), Released("b", 0, NEVER_S)]
    assert len(bench.spool.waiting) == 3


def test_a_flush_ends_though_dead_letters_cannot_be_written() -> None:
    """The event stays where it is, for the next start."""
    bench = Bench(refusing(0), [entry(0, "a"), entry(1, "b")], failing_letters=99)
    for _ in range(9):
        if bench.shipper.run_once(NOW_S, flush=True) is None:
            break
    else:
        pytest.fail("it goes on")
    assert len([batch for batch in bench.sink.batches if name(batch) == "a"]) == 1
    assert entry(0, "a") in bench.spool.waiting


def test_a_flush_of_nothing_asks_nobody() -> None:
    """Neither a push nor a probe."""
    bench = Bench(lambda _: Delivered())
    assert bench.shipper.run_once(NOW_S, flush=True) is None
    assert (bench.sink.batches, bench.sink.probes) == ([], 0)


# Idle


def test_an_idle_shipper_probes_now_and_then() -> None:
    """At once, and then every five seconds, so that /readyz knows before an event does; all shippers together."""
    bench = Bench(lambda _: Delivered())
    shippers = [bench.shipper, bench.another()]
    probes = []
    for second in range(12):
        assert [one.run_once(NOW_S + second) for one in shippers] == [IDLE_S, IDLE_S]
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
    assert (bench.telemetry.pushes, bench.telemetry.retries) == (["entries_refused"], [])


# Whatever happens


class Forgotten:
    """Events that a batch has already been told to forget."""

    attempt = 0

    def __init__(self, waiting: Sequence[Redacted]) -> None:
        self.entries = waiting

    def settle(self, count: int, *, dead: bool = False) -> None:  # noqa: ARG002 - the port's signature
        self.entries = self.entries[count:]

    def release(self, *, attempt: int = 0, not_before_s: float = 0.0) -> None:
        """The batch itself is released."""


class AckFirst(Shipper):
    """What must never be: a batch is forgotten, and only then sent."""

    def _deliver(self, batch: Batch) -> Retry | None:
        forgotten = Forgotten(batch.entries)
        batch.settle(len(batch.entries))
        return super()._deliver(forgotten)


class BuryFirst(Shipper):
    """What must never be: an event leaves the spool before its dead letter is written."""

    def _bury(self, batch: Batch, entry: Redacted, verdict: TooLarge | Refused) -> Retry | None:
        batch.settle(1, dead=True)
        return super()._bury(Forgotten([entry]), entry, verdict)


class DropAlike(Shipper):
    """What must never be: a whole batch is dead because of one entry."""

    def _deliver(self, batch: Batch) -> Retry | None:
        verdict = self._sink.send(batch.entries)
        if isinstance(verdict, Retry):
            return verdict
        batch.settle(len(batch.entries))
        return None


class DropWhenKilled(Shipper):
    """What must never be: a batch that was under way is taken for done."""

    def _deliver(self, batch: Batch) -> Retry | None:
        try:
            return super()._deliver(batch)
        except GreenletExit:
            batch.settle(len(batch.entries))
            raise


KILLED = None
ANSWERS = st.sampled_from(
    [
        Delivered(),
        Delivered(),
        Retry("timeout"),
        Retry("rate_limited", 9.0),
        Retry("bad_request", of_stream=True),
        TooLarge(),
        Refused("too_old", "old"),
        KILLED,
    ]
)
SCRIPT = st.lists(ANSWERS, max_size=30)
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


class Run:
    """Two shippers, run by a script.

    Events arrive one before each step and one while each push is under way. During a push the other shipper has a
    step too, if it does nothing yet.
    """

    def __init__(
        self, script: Sequence[Verdict | None], streams: Sequence[str], kind: type[Shipper] = Shipper, events: int = 5
    ) -> None:
        self.answers = deque(script)
        self.streams = streams
        self.now_s = 1.0
        limits = BatchLimits(max_bytes=1_000_000, max_events=events, max_age_s=0.0)
        self.bench = Bench(self.answer, kind=kind, limits=limits)
        self.resting = [self.bench.shipper, self.bench.another()]
        self.flush = False
        self.failed: list[tuple[str, bool]] = []

    def arrive(self) -> None:
        spool = self.bench.spool
        if len(spool.appended) < len(self.streams) and not self.flush:
            spool.append([entry(len(spool.appended), self.streams[len(spool.appended)])], self.now_s)

    def answer(self, batch: Sequence[Redacted]) -> Verdict:
        self.arrive()
        self.step()
        verdict = self.answers.popleft() if self.answers else Delivered()
        if verdict is KILLED:
            raise GreenletExit
        if isinstance(verdict, Retry):
            self.failed.append((name(batch), verdict.of_stream))
        return verdict

    def step(self) -> float | None:
        """Let a shipper that rests run once; with `flush`, one that is done for good rests no more."""
        if not self.resting:
            return 0.0
        shipper = self.resting.pop(0)
        wait_s: float | None = 0.0
        try:
            wait_s = shipper.run_once(self.now_s, flush=self.flush)
        except GreenletExit:
            pass
        finally:
            if wait_s is not None:
                self.resting.append(shipper)
        return wait_s

    def fates(self, failures: Sequence[int], steps: int) -> list[Fate]:
        """Take so many steps, some dead letters failing; the fates after each."""
        fates = []
        for step in range(steps):
            self.arrive()
            self.bench.dead.failures = 1 if step in failures else 0
            self.now_s += self.step() or 0.001
            fates.append(self.fate())
        return fates

    def fate(self) -> Fate:
        spool = self.bench.spool
        return Fate(list(spool.appended), list(self.bench.sink.stored), self.bench.dead.entries, spool.waiting)


def run(
    script: Sequence[Verdict | None],
    streams: Sequence[str],
    failures: Sequence[int],
    kind: type[Shipper] = Shipper,
    events: int = 5,
) -> list[Fate]:
    """Run the script and as many steps more as it takes to deliver everything."""
    return Run(script, streams, kind, events).fates(failures, 3 * (len(script) + len(streams)) + 30)


def check(fates: list[Fate]) -> None:
    for fate in fates:
        fate.check()


@given(SCRIPT, STREAMS, st.lists(st.integers(0, 20), max_size=4), st.integers(1, 5))
def test_nothing_is_ever_lost(
    script: list[Verdict | None], streams: list[str], failures: list[int], events: int
) -> None:
    """After any step, what is delivered, dead and waiting is what was appended: once, and in order by stream."""
    fates = run(script, streams, failures, events=events)
    check(fates)
    assert fates[-1].waiting == []


@given(SCRIPT, STREAMS, st.integers(0, 30), st.integers(1, 5))
def test_a_stop_ends_and_loses_nothing(
    script: list[Verdict | None], streams: list[str], steps: int, events: int
) -> None:
    """Wherever it comes: one failure a stream, one of the sink a shipper, and each event is in one place."""
    ran = Run(script, streams, events=events)
    check(ran.fates([], steps))
    ran.failed.clear()
    ran.flush = True
    for _ in range(3 * (len(script) + len(streams)) + 30):
        ran.step()
        ran.fate().check()
    assert ran.resting == []
    assert ran.bench.spool.busy == []
    assert max(Counter(stream for stream, _ in ran.failed).values(), default=0) <= 1
    assert sum(not of_stream for _, of_stream in ran.failed) <= 2
    if not ran.failed:
        assert ran.bench.spool.waiting == []


@pytest.mark.parametrize(
    ("kind", "script", "failures"),
    [
        (AckFirst, [Retry("timeout")], []),
        (AckFirst, [Retry("bad_request", of_stream=True)], []),
        (AckFirst, [KILLED], []),
        (AckFirst, [TooLarge()], [0]),
        (BuryFirst, [Refused("too_old", "old")], [0]),
        (DropAlike, [Refused("too_old", "old")], []),
        (DropAlike, [TooLarge()], []),
        (DropWhenKilled, [KILLED], []),
    ],
)
def test_the_check_sees_what_is_lost(kind: type[Shipper], script: list[Verdict | None], failures: list[int]) -> None:
    """A shipper that forgets first is caught by the same check, and the real one passes it on the same script."""
    check(run(script, ["a"], failures))
    forgetful = run(script, ["a"], failures, kind)
    with pytest.raises(AssertionError):
        check(forgetful)
