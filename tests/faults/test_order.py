"""The order itself: no answer leaves before the sync of its frame has returned, as the kernel saw it (strace)."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.faults.order_trace import CALLS, Verdict, calls, event_id_of, judge
from tests.faults.sizes import ORDERED_REQUESTS
from tests.harness.load import Job, play
from tests.harness.service import RunningService

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLIENTS = 8
BATCH_EVERY = 10  # requests, of which one is a batch
BATCH_EVENTS = 5
UNSYNCED_REQUESTS = 100
STRING_BYTES = 65_536  # the frames of eight clients stand in one write; what is cut is noticed

pytestmark = pytest.mark.timeout(120 + ORDERED_REQUESTS // 20)


# The real service


def require_strace() -> str:
    """Return the path of strace; where there is none that may trace, skip the test, or fail it where CI=true."""
    path = shutil.which("strace")
    reason = "strace is not installed (Debian: apt-get install strace)"
    if path is not None:
        tried = subprocess.run([path, "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return path
        reason = f"strace may not trace here: {tried.stderr.strip()}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason}, and CI must run every test")
    pytest.skip(reason)


class TracedService(RunningService):
    """The service as ever, with a tracer beside it that writes `trace`.

    `-D` makes the tracer a grandchild: the process that was started is gunicorn's master, as without it.
    """

    @property
    def trace(self) -> Path:
        """What strace has written; complete once the service has ended."""
        return self.folder / "trace.txt"

    def under(self) -> list[str]:
        """Return strace, with what is traced."""
        return [
            *(require_strace(), "-D", "-f", "--seccomp-bpf", "-y", "-s", str(STRING_BYTES), "-e", "signal=none"),
            *("-e", "trace=" + ",".join(CALLS), "-o", str(self.trace)),
        ]


class Run(NamedTuple):
    """What a run of the traced service gave: all answers by (path, status), acknowledged ids, and the verdict."""

    answers: Mapping[tuple[str, int | str], int]
    acknowledged: frozenset[str]
    verdict: Verdict


def _event(number: int) -> dict[str, Any]:
    return {"event": "tool_execution", "event_id": event_id_of(number), "payload": {"tool": "t", "n": number}}


def _jobs(requests: int) -> list[Job]:
    """Single events, and every tenth request a batch; each event has an id of its own."""
    jobs: list[Job] = []
    for request in range(requests):
        first = request * BATCH_EVENTS
        if request % BATCH_EVERY:
            jobs.append(("POST", "/log", _event(first)))
        else:
            jobs.append(("POST", "/log/batch", [_event(first + place) for place in range(BATCH_EVENTS)]))
    return jobs


def _acknowledged(_: Job, answer: dict[str, Any]) -> list[str]:
    return [answer["event_id"]] if "event_id" in answer else answer["event_ids"]


def _run(folder: Path, requests: int, *, synced: bool, **env: str) -> Run:
    """Log over eight connections while strace looks on; end the service, so that the trace is whole; judge it."""
    with TracedService({"WEB_CONCURRENCY": "1", **env}, folder=folder) as service:
        seen = play(service.port, _jobs(requests), clients=CLIENTS, keep=_acknowledged)
        service.stop(timeout_s=60)
        with service.trace.open(encoding="utf-8", errors="replace") as lines:
            verdict = judge(lines, synced=synced)
    acknowledged = frozenset(event_id for event_ids in seen.kept for event_id in event_ids)
    return Run(seen.answers, acknowledged, verdict)


def _all_answered(requests: int) -> dict[tuple[str, int], int]:
    batches = -(-requests // BATCH_EVERY)
    return {("/log", 200): requests - batches, ("/log/batch", 200): batches}


@pytest.fixture(scope="module")
def synced_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One traced run with the default SPOOL_SYNC, for all that is asked of it."""
    require_strace()
    return _run(tmp_path_factory.mktemp("order") / "synced", ORDERED_REQUESTS, synced=True)


def _check_that_all_was_seen(run: Run, requests: int) -> None:
    assert run.answers == _all_answered(requests)
    assert run.verdict.cut == 0
    assert run.verdict.segment_writes > 0, "not one write to a .seg file of the spool"
    assert run.verdict.answered == run.acknowledged, "the trace must show the answer of each acknowledged event"


def _said(faults: Mapping[str, str]) -> str:
    return f"{len(faults)} too early, among them {dict(list(faults.items())[:5])}"


def test_no_answer_leaves_before_the_sync_of_its_frame(synced_run: Run) -> None:
    """Over 1,000 requests of 8 clients each 200 is sent after an fdatasync that began when its frame was written."""
    _check_that_all_was_seen(synced_run, ORDERED_REQUESTS)
    assert not synced_run.verdict.too_early, _said(synced_run.verdict.too_early)
    print(  # noqa: T201 - seen with -s
        f"\norder: {ORDERED_REQUESTS} requests, {len(synced_run.acknowledged)} events, "
        f"{synced_run.verdict.segment_writes} writes and {synced_run.verdict.segment_syncs} syncs of segments, "
        f"{len(synced_run.verdict.too_early)} answers too early"
    )


def test_a_segment_has_its_name_before_its_first_answer(synced_run: Run) -> None:
    """The folder of a new segment, and of a new slot, is synced first: a file without a name is lost with the power."""
    _check_that_all_was_seen(synced_run, ORDERED_REQUESTS)
    assert not synced_run.verdict.nameless


def test_without_sync_the_write_still_comes_first(tmp_path: Path) -> None:
    """SPOOL_SYNC=off syncs no segment, which a SIGKILL does not mind: each frame is written before its answer."""
    require_strace()
    run = _run(tmp_path / "unsynced", UNSYNCED_REQUESTS, synced=False, SPOOL_SYNC="off")
    _check_that_all_was_seen(run, UNSYNCED_REQUESTS)
    assert not run.verdict.too_early, _said(run.verdict.too_early)
    assert run.verdict.segment_syncs == 0


# The judge itself

SEGMENT = "/data/spool/0/0000000000000000.seg"
MADE = [
    '1 mkdir("/data/spool", 0700)           = 0',
    "1 fsync(8</data>)                      = 0",
    '1 mkdirat(AT_FDCWD</repository>, "/data/spool/0", 0700) = 0',
    "1 fsync(8</data/spool>)                = 0",
    f'1 openat(AT_FDCWD</repository>, "{SEGMENT}", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3<{SEGMENT}>',
    "1 fsync(8</data/spool/0>)              = 0",
]
FRAME = rf'pwrite64(3<{SEGMENT}>, "\0\1\3772{{\"event_id\":\"ordered_000001\",\"event\":\"\303\251\"}}", 47, 0'
WRITE = f"2 {FRAME}) = 47"
WRITE_BEGINS = f"2 {FRAME} <unfinished ...>"
WRITE_ENDS = "2 <... pwrite64 resumed>)              = 47"
VECTOR = (
    rf'2 writev(3<{SEGMENT}>, [{{iov_base="\1\2", iov_len=2}}, '
    r'{iov_base="{\"event_id\":\"ordered_000001\"}", iov_len=29}], 2) = 31'
)
SYNC = f"2 fdatasync(3<{SEGMENT}>)              = 0"
SYNC_BEGINS = f"2 fdatasync(3<{SEGMENT}> <unfinished ...>"
SYNC_ENDS = "2 <... fdatasync resumed>)             = 0"
SYNC_FAILS = f"2 fdatasync(3<{SEGMENT}>)              = -1 EIO (Input/output error)"
ANSWER_CALL = (
    r'sendto(9<socket:[77]>, "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"logged\",\"event_id\":\"ordered_000001\",'
    r'\"redacted_fields\":[]}", 96, 0, NULL, 0'
)
ANSWER = f"3 {ANSWER_CALL}) = 96"
ANSWER_BEGINS = f"3 {ANSWER_CALL} <unfinished ...>"
ANSWER_ENDS = "3 <... sendto resumed>)                = 96"
OTHER = SEGMENT.replace("/0000000000000000", "/0000000000000abc")

RIGHT: dict[str, list[str]] = {
    "one after the other": [WRITE, SYNC, ANSWER],
    "each on two lines": [WRITE_BEGINS, WRITE_ENDS, SYNC_BEGINS, SYNC_ENDS, ANSWER_BEGINS, ANSWER_ENDS],
    "fsync does as well": [WRITE, SYNC.replace("fdatasync", "fsync"), ANSWER],
    "a vector of parts": [VECTOR, SYNC, ANSWER],
    "a failed sync, and a good one on another segment": [
        WRITE,
        SYNC_FAILS,
        WRITE.replace(SEGMENT, OTHER),
        SYNC.replace(SEGMENT, OTHER),
        ANSWER,
    ],
    "signals, ends of threads and other files between": [
        "2 --- SIGCHLD {si_signo=SIGCHLD} ---",
        WRITE,
        WRITE.replace(SEGMENT, "/data/logs/0.ndjson"),
        SYNC,
        "4 +++ exited with 0 +++",
        ANSWER,
    ],
    "the segment is gone afterwards": [WRITE, SYNC, ANSWER, SYNC.replace(".seg>", ".seg>(deleted)")],
}
WRONG: dict[str, list[str]] = {
    "never written": [ANSWER],
    "written to another kind of file": [WRITE.replace(SEGMENT, "/data/logs/0.ndjson"), SYNC, ANSWER],
    "answered before the write": [ANSWER, WRITE, SYNC],
    "answered while it is written": [WRITE_BEGINS, ANSWER, WRITE_ENDS, SYNC],
    "answered before the sync": [WRITE, ANSWER, SYNC],
    "answered while it is synced": [WRITE, SYNC_BEGINS, ANSWER, SYNC_ENDS],
    "the answer's call begins before the sync has returned": [
        WRITE,
        SYNC_BEGINS,
        ANSWER_BEGINS,
        SYNC_ENDS,
        ANSWER_ENDS,
    ],
    "written after the sync": [SYNC, WRITE, ANSWER],
    "written while it is synced": [SYNC_BEGINS.replace("2 ", "5 ", 1), WRITE, SYNC_ENDS.replace("2 ", "5 ", 1), ANSWER],
    "the sync fails": [WRITE, SYNC_FAILS, ANSWER],
    "the sync never returns": [WRITE, SYNC_BEGINS, ANSWER],
    "another segment is synced": [WRITE, SYNC.replace(SEGMENT, OTHER), ANSWER],
    "the write is cut short by a full disk": [WRITE.replace("= 47", "= 20"), SYNC, ANSWER],
    "a vector is cut short": [VECTOR.replace("= 31", "= 30"), SYNC, ANSWER],
    "the write fails": [WRITE.replace("= 47", "= -1 ENOSPC (No space left on device)"), SYNC, ANSWER],
    "the first of two answers is early": [WRITE, ANSWER, SYNC, ANSWER],
    "an answer that the client did not take": [WRITE, ANSWER.replace("= 96", "= -1 EPIPE (Broken pipe)"), SYNC],
}


@pytest.mark.parametrize("trace", RIGHT.values(), ids=RIGHT)
def test_judge_passes_the_right_order(trace: list[str]) -> None:
    """Write, then sync, then answer, on however many lines."""
    verdict = judge([*MADE, *trace])
    assert (verdict.answered, verdict.too_early, verdict.nameless) == ({"ordered_000001"}, {}, frozenset())


@pytest.mark.parametrize("trace", WRONG.values(), ids=WRONG)
def test_judge_finds_the_wrong_order(trace: list[str]) -> None:
    """An answer that leaves before its frame is safe is found, whichever step is missing, late or failed."""
    assert judge([*MADE, *trace]).too_early.keys() == {"ordered_000001"}


@pytest.mark.parametrize("trace", [[WRITE, ANSWER], [WRITE_BEGINS, WRITE_ENDS, ANSWER]], ids=["plain", "two lines"])
def test_judge_without_sync(trace: list[str]) -> None:
    """Where nothing is to be synced, the write alone counts, and it must have returned."""
    assert judge([*MADE, *trace], synced=False).too_early == {}
    assert judge([*MADE, trace[-1], *trace[:-1]], synced=False).too_early.keys() == {"ordered_000001"}


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_judge_finds_a_folder_that_was_not_synced(missing: int) -> None:
    """Each of the spool's folder, the slot's folder and the segment must be named in a synced folder."""
    steps = [*MADE[:missing], *MADE[missing + 1 :], WRITE, SYNC]
    verdict = judge([*steps, ANSWER])
    assert verdict.too_early == {}
    assert len(verdict.nameless) == 1
    assert judge([*steps, ANSWER, MADE[missing]]).nameless == verdict.nameless
    assert judge([*steps, MADE[missing], ANSWER]).nameless == frozenset()


def test_judge_counts_strings_that_strace_has_cut() -> None:
    """An id in the part that is missing cannot be found: that is no silent pass."""
    assert judge([*MADE, WRITE.replace('", 47', '"..., 47'), SYNC, ANSWER]).cut == 1
    assert judge([*MADE, WRITE, SYNC, ANSWER.replace('", 96', '"..., 96')]).cut == 1


def test_judge_finds_all_ids_of_a_batch() -> None:
    """The answer of a batch names several events; the one whose frame is missing is the one found."""
    answer = ANSWER.replace(
        r"\"event_id\":\"ordered_000001\"", r"\"event_ids\":[\"ordered_000001\",\"ordered_000002\"]"
    )
    verdict = judge([*MADE, WRITE, SYNC, answer])
    assert verdict.answered == {"ordered_000001", "ordered_000002"}
    assert verdict.too_early.keys() == {"ordered_000002"}


def test_calls_on_two_lines_are_put_together() -> None:
    """The arguments stand on the first line, the result on the second; a call without its end has no result."""
    first, second, third = calls([WRITE_BEGINS, ANSWER, WRITE_ENDS, SYNC_BEGINS])
    assert (first.name, first.entered, first.returned, first.result) == ("sendto", 1, 1, 96)
    assert (second.name, second.entered, second.returned, second.result) == ("pwrite64", 0, 2, 47)
    assert second.is_complete
    assert (third.name, third.entered, third.result) == ("fdatasync", 3, None)
