"""The benchmark's own arithmetic and words; nothing here starts a process or looks at a clock."""

from __future__ import annotations

import gzip
import json
import socket
from dataclasses import replace

import pytest

from tests.bench import delivery_report, options, recovery, report, texts, wrk
from tests.bench.away_row import Arrival
from tests.bench.delivery import Delivery
from tests.bench.delivery_figures import spool_figures, sync_figures
from tests.bench.disk import Disk, mount_of
from tests.bench.errors import BenchError
from tests.bench.figures import Figure, figures_of, percentile, ratio
from tests.bench.ledger import Ledger
from tests.bench.measure import Measurement
from tests.bench.profile import SITE_PACKAGES, package_of, parse, shown
from tests.bench.rows import BATCH_EVENT_BYTES, BATCH_EVENTS, ROWS, TEXT_BYTES, Request
from tests.bench.sink import Arrivals, Counts, Tally, body_length, entries_of
from tests.bench.spool_rows import SpoolMeasurement
from tests.bench.stand import Cores
from tests.bench.sync_rows import in_turn

LOG = next(row for row in ROWS if row.name == "log")


def _load(per_s: float) -> wrk.Load:
    return wrk.Load(int(per_s), 1.0, answer_bytes=0, refusals=0, socket_errors=0, p50_ms=1.0, p99_ms=2.0)


def _measured(number: int, floor_per_s: float, service_per_s: float) -> list[Measurement]:
    common = {"workers": 1, "round": number, "row": "log", "connections": 32, "body_bytes": 100}
    common |= {"cores_busy": 1.0, "faults": ()}
    return [
        Measurement(**common, side="floor", load=_load(floor_per_s), cpu_us=100.0),
        Measurement(**common, side="service", load=_load(service_per_s), cpu_us=400.0, accepted=7, arrived=7),
    ]


def _push(*sizes: int) -> bytes:
    streams = [{"stream": {"a": str(size)}, "values": [["1", "line"]] * size} for size in sizes]
    return gzip.compress(json.dumps({"streams": streams}).encode())


def test_figure_is_median_and_spread():
    """The median of an even number of rounds lies between the middle two."""
    assert Figure.of([4.0, 1.0, 3.0, 2.0]) == Figure(2.5, 1.0, 4.0)


def test_ratio_without_a_whole_is_zero():
    """A floor that answered nothing makes no division by zero."""
    assert ratio(1.0, 0.0) == 0.0
    assert ratio(1.0, 4.0) == 0.25


def test_ratios_are_of_the_same_round():
    """A machine that slows between rounds slows both sides; the warm-up (round 0) counts nowhere."""
    rounds = [_measured(0, 1, 1), _measured(1, 1000, 500), _measured(2, 100, 40), _measured(3, 10, 3)]
    figures = figures_of(LOG, 1, [one for pair in rounds for one in pair])
    assert figures is not None
    assert figures.rate_ratio == Figure(0.4, 0.3, 0.5)
    assert figures.cpu_ratio.median == 0.25
    assert (figures.rounds, figures.accepted, figures.arrived) == (3, 21, 21)


def test_row_without_a_whole_round_has_no_figures():
    """Floor and service of different rounds are not compared."""
    assert figures_of(LOG, 1, [_measured(1, 10, 10)[0], _measured(2, 10, 10)[1]]) is None
    assert figures_of(LOG, 2, _measured(1, 10, 10)) is None


def test_report_says_what_was_reached():
    """The tables hold medians, spreads and the verdict; a bar in a cell cannot break them."""
    figures = figures_of(LOG, 1, _measured(1, 1000, 500))
    assert figures is not None
    text = report.render({"CPU": "some"}, [], [figures])
    assert "- CPU: some" in text
    assert "| 0.36 of the floor | 0.500 (0.500–0.500) | 0.250 (0.250–0.250) | reached |" in text  # noqa: RUF001
    assert report.table(("a", "b"), [("x|y", "1")]) == "| a | b |\n| --- | ---: |\n| x/y | 1 |"


def test_faults_make_a_reach_void():
    """A rate of answers that were not what the row says is no rate."""
    floor, service = _measured(1, 1000, 900)
    figures = figures_of(LOG, 1, [floor, replace(service, faults=("lost",), degraded=3)])
    assert figures is not None
    assert figures.errors == 3
    assert "| not valid: faults |" in report.render({}, [], [figures])


def test_wrk_figures_are_read():
    """The script's line is found among wrk's own, and turned into seconds and milliseconds."""
    line = '{"requests":10,"duration_us":2000000,"bytes":70,"status":1,"socket":2,"p50_us":1500,"p99_us":25}'
    load = wrk.parse(f"Running 2s test\nRequests/sec: 5\n\n{wrk.MARK}{line}\n")
    assert load == wrk.Load(10, 2.0, 70, 1, 2, 1.5, 0.025)
    assert load.per_s == 5.0


def test_wrk_without_figures_is_an_error():
    """A script that failed must not look like a run without requests."""
    with pytest.raises(BenchError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1")


def test_script_sends_bodies_in_turn_only_where_there_are_several(tmp_path):
    """With one body wrk builds the request once; a request without a body has none."""
    get = wrk.script(Request("GET", "/"), {"Answer-Bytes": "5"}, tmp_path)
    one = wrk.script(Request("POST", "/", (b"{}",)), {}, tmp_path)
    two = wrk.script(Request("POST", "/", (b"1", b"2")), {}, tmp_path)
    assert 'wrk.headers["Answer-Bytes"] = "5"' in get
    assert "body" not in get
    assert "wrk.body = bodies[1]" in one
    assert "function request" not in one
    assert "function request" in two
    assert [path.read_bytes() for path in sorted(tmp_path.glob("body-*"))] == [b"1", b"2"]


@pytest.mark.parametrize("size_bytes", [BATCH_EVENT_BYTES, TEXT_BYTES])
def test_events_are_as_long_as_they_say(size_bytes):
    """An event has its size to the byte, repeats with its seed, and differs with another."""
    assert len(texts.compact(texts.event(size_bytes, 1))) == size_bytes
    assert texts.event(size_bytes, 1) == texts.event(size_bytes, 1) != texts.event(size_bytes, 2)


def test_batch_rows_hold_what_they_promise():
    """The number that the arrivals are compared with is the number that is sent."""
    batch = next(row for row in ROWS if row.name == "batch")
    assert batch.events == BATCH_EVENTS
    assert {len(json.loads(body)["events"]) for body in batch.request.bodies} == {BATCH_EVENTS}


def test_sink_counts_entries_when_asked():
    """Bodies are kept and unpacked later; one that cannot be read is counted as such."""
    tally = Tally()
    bodies = [_push(2, 3), b"no gzip, no JSON", _push(1)]
    for body in bodies:
        tally.push(body)
    assert tally.counts == Counts()
    while tally.is_behind:
        tally.unpack_one()
    assert tally.counts == Counts(3, 6, sum(map(len, bodies)), 1)


def test_sink_keeps_a_bounded_number_of_bytes():
    """Past the bound, bodies are unpacked as they come."""
    tally = Tally(pending_max_bytes=0)
    tally.push(_push(4))
    assert not tally.is_behind
    assert tally.counts.entries == 4


def test_sink_can_lose_a_push():
    """The benchmark's own proof: a push that is answered and forgotten."""
    tally = Tally(lose=2, pending_max_bytes=0)
    for body in (_push(1), _push(10), _push(100)):
        tally.push(body)
    assert tally.counts.entries == 101


def test_sink_counts_different_entries_when_asked():
    """An entry that comes twice is one entry; each is told by its nanosecond and its line."""
    tally = Tally(pending_max_bytes=0, distinct=True)
    for values in ([["1", "a"], ["2", "a"]], [["1", "a"], ["1", "b"]]):
        tally.push(json.dumps({"streams": [{"stream": {}, "values": values}]}).encode())
    assert tally.counts[:2] == (2, 4)
    assert tally.counts.distinct == 3


def test_sink_knows_when_pushes_came():
    """First and last are known while the bodies still wait to be unpacked."""
    tally = Tally(clock=iter([5.0, 6.0, 8.5]).__next__)
    assert tally.arrivals == Arrivals()
    for _ in range(3):
        tally.push(_push(1))
    assert tally.arrivals == Arrivals(3, 5.0, 8.5)
    assert tally.is_behind


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"GET /ready HTTP/1.1\r\nHost: a", 0),
        (b"POST / HTTP/1.1\r\ncontent-LENGTH:  12", 12),
        (b"POST / HTTP/1.1\r\nContent-Length: x", None),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked", None),
    ],
)
def test_sink_reads_lengths(head, length):
    """Names of header fields have no case; what has no plain length is refused."""
    assert body_length(head) == length


def test_entries_of_plain_json_are_counted():
    """A push need not be compressed."""
    assert entries_of(gzip.decompress(_push(3))) == [["1", "line"]] * 3
    assert entries_of(b'{"streams":[{"stream":{}}]}') is None


@pytest.mark.parametrize(
    ("ledger", "balances"),
    [
        (Ledger(5, 5, 5, 0), True),
        (Ledger(5, 5, 4, 0), False),
        (Ledger(5, 4, 4, 0), False),
        (Ledger(5, 5, 6, 0), False),
        (Ledger(5, 5, 5, 1), False),
    ],
)
def test_ledger_balances(ledger, balances):
    """Lost, waiting, doubled and unreadable events all show."""
    assert ledger.balances is balances


@pytest.mark.parametrize(
    ("workers", "available", "wanted", "cores"),
    [
        (1, (0, 1), None, Cores((0,), (1,))),
        (2, (0, 1), None, None),
        (2, (0, 1), True, Cores((0,), (1,))),
        (2, (0, 1, 2, 3), True, Cores((0, 1), (2, 3))),
        (1, (0, 1), False, None),
        (1, (0,), None, None),
    ],
)
def test_cores(workers, available, wanted, cores):
    """One worker has a core of its own where there are two; otherwise only who asks gets that."""
    assert Cores.split(workers, available, wanted=wanted) == cores


def test_options():
    """--quick only changes what is not given; rows keep the table's order."""
    asked = options.parse(["--quick", "--seconds", "3", "--rows", "cache-hit,log", "--workers", "2,1,2"])
    assert (asked.rounds, asked.seconds, asked.workers) == (options.QUICK_ROUNDS, 3, (2, 1))
    assert [row.name for row in asked.rows] == ["log", "cache-hit"]
    with pytest.raises(SystemExit):
        options.parse(["--rows", "none"])


@pytest.mark.parametrize(
    ("arguments", "parts", "rounds", "workers"),
    [
        ([], options.PARTS, options.DELIVERY_ROUNDS, (1,)),
        (["--rows", "log"], ["rows"], options.DELIVERY_ROUNDS, (1,)),
        (["--only", "delivery", "--rounds", "7"], ["sync", "away", "spool", "recovery"], 7, (1,)),
        (["--only", "rows,spool", "--rows", "log", "--workers", "2"], ["rows", "spool"], 3, (2,)),
    ],
)
def test_options_of_delivery(arguments, parts, rounds, workers):
    """All is measured unless something is named; delivery has fewer rounds, and one worker unless others are named."""
    asked = options.parse(arguments)
    assert asked.parts == frozenset(parts)
    assert (asked.delivery_rounds, asked.delivery_workers) == (rounds, workers)


def test_unknown_parts_are_refused():
    """A part that is misspelt must not look like one that had nothing to say."""
    with pytest.raises(SystemExit):
        options.parse(["--only", "spol"])


def test_percentiles():
    """The value that so many do not pass; of one value that value, of none 0."""
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 3.0
    assert percentile([float(value) for value in range(200)], 0.99) == 198.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) == 0.0


def test_mount_of_a_folder(tmp_path):
    """The nearest mount counts, and of two on the same place the later; a tmpfs is no disk."""
    table = (
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "30 22 0:25 / /tmp rw,nosuid shared:5 - tmpfs tmpfs rw\n"
        "31 22 0:26 / /tmp\\040two rw - xfs /dev/vdb rw\n"
        "32 31 0:27 / /tmp\\040two rw - btrfs /dev/vdc rw\n"
    )
    root = tmp_path.root
    assert mount_of(tmp_path.__class__(root, "var", "x"), table) == ("ext4", "/dev/vda")
    assert mount_of(tmp_path.__class__(root, "tmp", "x"), table) == ("tmpfs", "tmpfs")
    assert mount_of(tmp_path.__class__(root, "tmp two"), table) == ("btrfs", "/dev/vdc")
    assert "NO DISK" in str(Disk("tmpfs", "tmpfs", 0.0, 0.0))
    assert "NO DISK" not in str(Disk("ext4", "/dev/vda", 1.0, 2.0))


def _synced(number: int, floor: float, synced: float, unsynced: float, connections: int = 32) -> list[Measurement]:
    one, two = _measured(number, floor, synced)
    three = _measured(number, floor, unsynced)[1]
    sides = (one, replace(two, side="synced"), replace(three, side="unsynced"))
    return [replace(side, connections=connections) for side in sides]


def test_each_side_has_each_place_in_a_round():
    """Whoever comes first finds another machine than whoever comes last."""
    orders = [in_turn(number) for number in range(3)]
    assert {order[0] for order in orders} == {order[2] for order in orders} == {"floor", "synced", "unsynced"}


def test_sync_ratio_is_of_the_same_round():
    """Synced by unsynced within a round, at one number of clients; half a round and the warm-up count nowhere."""
    rounds = [_synced(0, 1, 1, 9), _synced(1, 1000, 400, 500), _synced(2, 100, 30, 60), _synced(3, 10, 9, 10)[:2]]
    others = _synced(1, 1000, 100, 1000, connections=1)
    one, many = sync_figures(LOG, [*(each for number in rounds for each in number), *others])
    assert (one.clients, many.clients) == (1, 32)
    assert many.sync_ratio == Figure(0.65, 0.5, 0.8)
    assert many.synced.rate_ratio.most == 0.9
    assert many.unsynced.rate_ratio == Figure(0.55, 0.5, 0.6)
    assert one.sync_ratio.median == 0.1


def _appended(number: int, side: str, events: int, **more: int) -> SpoolMeasurement:
    common = {"round": number, "side": side, "event_bytes": 600, "callers": 32, "duration_s": 2.0}
    given = {**common, "events": events, "found": events, **more}
    return SpoolMeasurement(**given, p50_ms=1.0, p99_ms=2.0)


def test_spool_figures_stand_beside_the_floor():
    """Events a second, by those of one write and sync an event in the same round; without a floor there are none."""
    taken = [_appended(1, "floor", 100, callers=1), _appended(1, "group", 1000), _appended(2, "group", 50)]
    (one,) = spool_figures(taken)
    assert (one.rate.median, one.floor_rate.median, one.rate_ratio.median) == (500.0, 50.0, 10.0)
    assert not taken[1].faults
    assert _appended(1, "group", 10, found=9).faults
    assert _appended(1, "group", 0).faults


def _recovered(**more: float) -> recovery.Recovery:
    common = {"round": 1, "events": 200_000, "disk_bytes": 1, "arrived": 200_000, "distinct": 200_000}
    times = {"started_s": 5.0, "pushed_s": 4.0, "cpu_s": 3.0, "sink_per_s": 1e6}
    return recovery.Recovery(**{**common, **times, **more})


@pytest.mark.parametrize(
    ("recovered", "verdict"),
    [
        (_recovered(), "| 50,000 (50,000–50,000) | reached |"),  # noqa: RUF001 - a range
        (_recovered(pushed_s=8.0), "| not reached |"),
        (_recovered(arrived=199_999, distinct=199_999), "| not valid: faults |"),
        (_recovered(arrived=200_001), "| not valid: faults |"),
        (_recovered(arrived=0, distinct=0, pushed_s=0.0), "| not valid: faults |"),
    ],
)
def test_recovery_that_lost_or_doubled_events_is_no_rate(recovered, verdict):
    """The verdict is of the rate from the first push on, and void where an event is missing or came twice."""
    text = delivery_report.render(Delivery(recovery={1: [recovered]}))
    assert "| recovery | 1 | 50,000 events/s |" in text
    assert verdict in text


def test_delivery_report_says_what_was_reached():
    """All reaches stand together; what was lost while Loki was away makes its row void."""
    away = [replace(one, row="away") for one in _measured(1, 1000, 500)]
    found = Delivery(
        facts={"CPU": "some"},
        sync=_synced(1, 1000, 400, 500),
        away=away,
        arrivals={1: Arrival(accepted=7, arrived=7, took_s=1.0)},
        notes=["Not measured, spool: none."],
        failures=["recovery ended early: why"],
    )
    text = delivery_report.render(found)
    assert "| `/log`, synced, 32 clients | 1 | 0.75 of the unsynced rate | 0.800 (0.800–0.800) | reached |" in text  # noqa: RUF001
    assert "| 0.33 of the floor | 0.400 (0.400–0.400) | reached |" in text  # noqa: RUF001
    assert "| p99 under 50 ms | 2.00 (2.00–2.00) | reached |" in text  # noqa: RUF001
    assert "- CPU: some" in text
    assert "Not measured, spool: none." in text
    assert "**recovery ended early: why**" in text
    assert found.faults == []

    found.arrivals = {1: Arrival(accepted=7, arrived=6, took_s=120.0)}
    assert found.faults == ["7 events were accepted while Loki was away, 6 arrived"]
    assert "| p99 under 50 ms | 2.00 (2.00–2.00) | not valid: faults |" in delivery_report.render(found)  # noqa: RUF001


def test_faults_of_delivery_say_where():
    """A fault names its round, its side and its clients."""
    one = replace(_synced(2, 10, 10, 10)[1], faults=("lost",))
    assert Delivery(sync=[one]).faults == ["1 workers, round 2, log, synced, 32 clients: lost"]


def test_backlog_events_are_as_they_say():
    """Sizes lie between the two bounds, and every stream occurs."""
    events = recovery.batch(0)
    sizes = [len(texts.compact(event)) for event in events]
    assert len(events) == recovery.BATCH_EVENTS
    assert recovery.LEAST_BYTES == min(sizes) < max(sizes) <= recovery.MOST_BYTES
    assert len({(event["event"], event["payload"]["service"]) for event in events}) == recovery.STREAMS
    assert len(entries_of(recovery.push_of(events))) == recovery.PUSH_EVENTS


def test_profile_adds_up_stacks():
    """A recursive function counts once a sample, and threads that wait do not count."""
    inner = f"get ({SITE_PACKAGES}redis/client.py:7)"
    waiting = f"acquire_with_timeout ({SITE_PACKAGES}gevent/_threading.py:36)"
    profile = parse(f"run ({socket.__file__}:1);{inner};{inner} 3\n{waiting} 9\nrun ({socket.__file__}:2) 1\n")
    assert profile.samples == 4
    assert profile.lines == {"get (redis/client.py:7)": 3, "run (socket.py:2)": 1}
    assert profile.functions == {"run (socket.py)": 4, "get (redis/client.py)": 3}
    assert profile.packages == {"redis": 3, "socket": 1}


def test_frames_without_a_file_are_shown_as_they_are():
    """Native frames may lack a place."""
    assert shown("epoll_wait") == "epoll_wait"
    assert shown("write (libc.so.6)") == "write (libc.so.6)"
    assert package_of("write (libc.so.6)") == "libc.so.6"
