"""Reads what `strace -f -y` wrote, and says of which events the answer left before their frame was safe.

A pure function over lines: nothing is started here. An event is found by its id, which stands in its frame and
in its answer, so the callers of the traced service give ids of their own (`event_id_of`).

A line of the trace is one call, printed when it returned; a call during which another thread's call was printed
stands on two lines, `<unfinished ...>` and `<... resumed>`. A thread that strace has stopped goes on only when its
line is written, so what one call brought about in another thread stands below it: a right order never looks
wrong here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CALLS: Final = (
    *("fdatasync", "fsync", "write", "writev", "pwrite64", "pwritev", "pwritev2"),
    *("sendto", "sendmsg", "?sendmmsg", "openat", "?mkdir", "mkdirat"),
)
"""What has to be traced, as strace's `-e trace=` takes it; `?` for what not every machine has."""

_LINE: Final = re.compile(r"(?P<thread>\d+) +(?P<rest>.*)")
_CALL: Final = re.compile(r"(?P<name>[a-z]\w*)\((?P<args>.*)")
_RESUMED: Final = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<args>.*)")
_UNFINISHED: Final = " <unfinished ...>"
_RESULT: Final = re.compile(r"\) += (?P<result>-?\d+)(?:<[^>]*>)?[^=\"]*$")

_DESCRIPTOR: Final = re.compile(r"\d+<(?P<path>[^>]*)>")
_SEGMENT: Final = re.compile(r"/spool/\d+/[^/]+\.seg")
_EVENT_ID: Final = re.compile(r"ordered_\d{6}")
_ASKED: Final = re.compile(r"\", (?P<bytes>\d+)(?:, \d+)?\) += -?\d[^\"]*$")
_VECTOR_LENGTH: Final = re.compile(r"iov_len=(?P<bytes>\d+)")
_QUOTED_PATH: Final = re.compile(r"\"(?P<path>[^\"]*)\"")
_CUT: Final = '"...'

_SYNCS: Final = {"fdatasync", "fsync"}
_VECTOR_WRITES: Final = {"writev", "pwritev", "pwritev2"}
_WRITES: Final = {"write", "pwrite64", *_VECTOR_WRITES}
_SENDS: Final = {"sendto", "sendmsg", "sendmmsg", "write", "writev"}


def event_id_of(number: int) -> str:
    """The id to give the event of this number, up to 999,999."""
    return f"ordered_{number:06d}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call; `entered` and `returned` are line numbers, `result` None where it never returned or has none."""

    name: str
    args: str
    entered: int
    returned: int
    result: int | None

    @property
    def path(self) -> str:
        """What its first descriptor stands for: a path, or `socket:[…]`; "" without one."""
        found = _DESCRIPTOR.match(self.args)
        return found["path"] if found else ""

    @property
    def is_complete(self) -> bool:
        """Whether all bytes that it was to write were written."""
        if self.name in _VECTOR_WRITES:
            asked = sum(int(length) for length in _VECTOR_LENGTH.findall(self.args))
        else:
            found = _ASKED.search(self.args)
            asked = int(found["bytes"]) if found else -1
        return self.result == asked


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trace shows.

    `too_early` has the reason by event id; `answered` all ids in answers; `nameless` has what was made in the spool
    folder, and of which an answer depended on before the folder that it stands in was synced; `segment_writes` and
    `segment_syncs` count calls that succeeded; `cut` counts strings that strace cut short, so that ids may be missed.
    """

    answered: frozenset[str]
    too_early: dict[str, str]
    nameless: frozenset[str]
    segment_writes: int
    segment_syncs: int
    cut: int


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """Put unfinished lines together with their resumed ones; pass over signals and ends of threads."""
    unfinished: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(lines):
        parts = _LINE.match(line)
        if parts is None:
            continue
        thread, rest = parts["thread"], parts["rest"].rstrip("\n")
        if resumed := _RESUMED.match(rest):
            if (began := unfinished.pop(thread, None)) is None:
                continue
            name, args, entered = began
            args += resumed["args"]
        elif call := _CALL.match(rest):
            name, args, entered = call["name"], call["args"], number
            if args.endswith(_UNFINISHED):
                unfinished[thread] = name, args.removesuffix(_UNFINISHED), number
                continue
        else:
            continue
        result = _RESULT.search(args)
        yield Call(name, args, entered, number, int(result["result"]) if result else None)
    for name, args, entered in unfinished.values():
        yield Call(name, args, entered, entered, None)


def judge(lines: Iterable[str], *, synced: bool = True) -> Verdict:
    """Say which answers left too early: before a write of their frame, or (`synced`) the sync after it, returned."""
    seen = _Seen()
    for call in calls(lines):
        seen.add(call)
    return seen.verdict(synced=synced)


class _Seen:
    """The calls that matter, by what they touch."""

    def __init__(self) -> None:
        self._answers: dict[str, int] = {}  # event id: the line on which its first answer begins
        self._frames: dict[str, list[tuple[str, int]]] = defaultdict(list)  # event id: (segment, line of return)
        self._syncs: dict[str, list[tuple[int, int]]] = defaultdict(list)  # path: (line of entry, of return)
        self._made: dict[str, int] = {}  # path in the spool folder: the line on which its making had returned
        self._writes = 0
        self._cut = 0

    def add(self, call: Call) -> None:
        path = call.path
        if call.name in _SYNCS and call.result == 0:
            self._syncs[path].append((call.entered, call.returned))
        elif call.name in _WRITES and _SEGMENT.search(path):
            self._add_write(call, path)
        elif call.name in _SENDS and path.startswith("socket:"):
            self._add_answer(call)
        elif call.name in {"openat", "mkdir", "mkdirat"} and call.result is not None and call.result >= 0:
            self._add_made(call)

    def _add_write(self, call: Call, path: str) -> None:
        self._cut += _CUT in call.args
        if not call.is_complete:
            return
        self._writes += 1
        for event_id in _EVENT_ID.findall(call.args):
            self._frames[event_id].append((path, call.returned))

    def _add_answer(self, call: Call) -> None:
        if r"\"status\":\"logged\"" not in call.args:
            return
        self._cut += _CUT in call.args
        for event_id in _EVENT_ID.findall(call.args):
            # From the moment of its entry, and if it failed too: part of it may have left.
            self._answers[event_id] = min(call.entered, self._answers.get(event_id, call.entered))

    def _add_made(self, call: Call) -> None:
        found = _QUOTED_PATH.search(call.args)
        if found is None or (call.name == "openat" and "O_CREAT" not in call.args):
            return
        parent = re.match(r"(?:AT_FDCWD|\d+)<(?P<path>[^>]*)>", call.args)
        path = str(PurePosixPath(parent["path"] if parent else "/", found["path"]))
        if "/spool" in path:
            self._made.setdefault(path, call.returned)

    def verdict(self, *, synced: bool) -> Verdict:
        for spans in self._syncs.values():
            spans.sort()
        too_early = {event_id: self._fault(event_id, synced=synced) for event_id in self._answers}
        return Verdict(
            answered=frozenset(self._answers),
            too_early={event_id: fault for event_id, fault in too_early.items() if fault},
            nameless=frozenset(self._nameless()),
            segment_writes=self._writes,
            segment_syncs=sum(len(spans) for path, spans in self._syncs.items() if _SEGMENT.search(path)),
            cut=self._cut,
        )

    def _fault(self, event_id: str, *, synced: bool) -> str:
        """Why the answer came too early; "" if it did not."""
        answered = self._answers[event_id]
        frames = self._frames.get(event_id, [])
        if not frames:
            return "its frame was never written"
        before = [(path, returned) for path, returned in frames if returned < answered]
        if not before:
            return "it was answered before its frame was written"
        if synced and not any(self._is_synced(path, returned, answered) for path, returned in before):
            return "it was answered before a sync that began after the write had returned"
        return ""

    def _is_synced(self, path: str, after: int, before: int) -> bool:
        """Whether a sync of this path lies wholly between two lines."""
        spans = self._syncs.get(path, [])
        for entered, returned in spans[bisect_right(spans, (after, after)) :]:
            if entered > before:
                return False
            if entered > after and returned < before:
                return True
        return False

    def _nameless(self) -> Iterator[str]:
        """What was made on the way to an answered frame, without its folder being synced before the answer."""
        for event_id, answered in self._answers.items():
            for segment, _ in self._frames.get(event_id, [])[:1]:
                path = PurePosixPath(segment)
                for made in (path, *path.parents[:2]):
                    born = self._made.get(str(made))
                    if born is not None and not self._is_synced(str(made.parent), born, answered):
                        yield str(made)
