"""Files: whole lines or none, on disk when the call returns, readable by us alone."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from app.adapters.dead_letter_files import MAX_DETAIL, DeadLetterFiles
from app.adapters.file_sink import FileSink
from app.adapters.files import AppendFile
from app.core.events import Redacted
from app.core.redaction import redact
from app.core.verdicts import Delivered, Retry
from app.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from app.core.rules import Rules


def entry(number: int, line: bytes = b'{"a":1}') -> Redacted:
    return Redacted(
        labels=(("service_name", "s"), ("event", "e")),
        timestamp_ns=1_790_000_000_000_000_000 + number,
        line=line,
        metadata=json.dumps({"event_id": f"evt_{number}"}).encode(),
    )


def at_once(call: Callable[[], None]) -> None:
    call()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Disk:
    """A disk with `room` bytes left that writes at most `step` bytes a call; then it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: float = float("inf")
        self.step: float = float("inf")
        self.sync_fails = False
        self.syncs = 0
        self._write, self._sync = os.write, os.fdatasync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fdatasync", self.sync)

    def write(self, fd: int, data: bytes) -> int:
        size = int(min(len(data), self.step, self.room))
        if not size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= size
        return self._write(fd, data[:size])

    def sync(self, fd: int) -> None:
        self.syncs += 1
        if self.sync_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._sync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


# Appending lines


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], AppendFile]]:
    """Open tmp_path/a/b/x.ndjson as often as asked; all are closed in the end."""
    files: list[AppendFile] = []

    def open_() -> AppendFile:
        files.append(AppendFile(tmp_path / "a" / "b" / "x.ndjson"))
        return files[-1]

    yield open_
    for file in files:
        file.close()


def test_a_new_file_is_readable_by_us_alone(opened: Callable[[], AppendFile]) -> None:
    """0600, whatever the umask leaves, and folders are made as needed."""
    before = os.umask(0)
    try:
        file = opened()
    finally:
        os.umask(before)
    assert mode(file.path) == 0o600
    assert mode(file.path.parent) == 0o700
    assert file.size_bytes == 0


def test_lines_are_appended_over_restarts(opened: Callable[[], AppendFile], disk: Disk) -> None:
    """A file that is there goes on, and every append is synced once."""
    first = opened()
    first.append(b"1\n2\n")
    first.close()
    second = opened()
    second.append(b"3\n")
    assert second.path.read_bytes() == b"1\n2\n3\n"
    assert second.size_bytes == 6
    assert disk.syncs == 2


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (b"", b""),
        (b"1\n2\n", b"1\n2\n"),
        (b"1\n2\n3", b"1\n2\n"),
        (b"torn", b""),
        (b"\n", b"\n"),
        (b"1\n" + b"x" * 200_000, b"1\n"),
        (b"x" * 200_000, b""),
        (b"x" * 65_535 + b"\n" + b"y" * 65_536, b"x" * 65_535 + b"\n"),
        (b"x" * 70_000 + b"\n" + b"y" * 65_535, b"x" * 70_000 + b"\n"),
    ],
    ids=lambda value: f"{len(value)} bytes",
)
def test_a_torn_tail_is_cut(opened: Callable[[], AppendFile], tmp_path: Path, left: bytes, kept: bytes) -> None:
    """A line that a crash left half written is gone when the file is opened, however long it is."""
    path = tmp_path / "a" / "b" / "x.ndjson"
    path.parent.mkdir(parents=True)
    path.write_bytes(left)
    file = opened()
    assert path.read_bytes() == kept
    assert file.size_bytes == len(kept)
    file.append(b"next\n")
    assert path.read_bytes() == kept + b"next\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_short_writes_are_gone_on_with(opened: Callable[[], AppendFile], disk: Disk, step: int) -> None:
    """A kernel may write less than it is given, and says so without an exception."""
    disk.step = step
    file = opened()
    file.append(b'{"a":1}\n{"b":2}\n')
    assert file.path.read_bytes() == b'{"a":1}\n{"b":2}\n'
    assert file.size_bytes == 16


@pytest.mark.parametrize("room", [0, 1, 4, 5, 6, 9])
def test_a_full_disk_leaves_whole_lines_alone(opened: Callable[[], AppendFile], disk: Disk, room: int) -> None:
    """What was written of an append that failed is cut off again, and there is no harm when there is room."""
    file = opened()
    file.append(b"1111\n")
    disk.room = room
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            file.append(b"2222\n3333\n")
        assert file.path.read_bytes() == b"1111\n"
        assert file.size_bytes == 5
    disk.room = float("inf")
    file.append(b"4444\n")
    assert file.path.read_bytes() == b"1111\n4444\n"


def test_what_could_not_be_synced_is_not_kept(opened: Callable[[], AppendFile], disk: Disk) -> None:
    """A failed sync is a failed append: nothing of it is there to be counted twice."""
    file = opened()
    file.append(b"1\n")
    disk.sync_fails = True
    with pytest.raises(OSError, match="Input/output"):
        file.append(b"2\n")
    disk.sync_fails = False
    file.append(b"3\n")
    assert file.path.read_bytes() == b"1\n3\n"


def test_closing_twice_is_no_fault(opened: Callable[[], AppendFile]) -> None:
    """And closes no other file that has the number by then."""
    file = opened()
    file.close()
    other = opened()
    file.close()
    other.append(b"1\n")


# The embedded sink


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[FileSink]:
    made = FileSink(tmp_path / "logs", 3, max_bytes=50, offload=at_once)
    yield made
    made.close()


def logs(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((tmp_path / "logs").iterdir())}


def test_events_become_lines_of_the_slots_file(tmp_path: Path, sink: FileSink) -> None:
    """The redacted line and nothing else, one event a line."""
    assert sink.send([entry(1), entry(2, b'{"b":"\xc3\xa9"}')]) == Delivered()
    assert logs(tmp_path) == {"3.ndjson": b'{"a":1}\n{"b":"\xc3\xa9"}\n'}
    assert mode(tmp_path / "logs" / "3.ndjson") == 0o600


def test_a_full_file_is_put_aside(tmp_path: Path, sink: FileSink) -> None:
    """Under the nanosecond of the first event that came after it; no line is cut or lost."""
    for number in range(1, 5):
        assert sink.send([entry(number, b"%020d" % number)]) == Delivered()
    assert logs(tmp_path) == {
        "3-1790000000000000003.ndjson": b"%020d\n%020d\n" % (1, 2),
        "3.ndjson": b"%020d\n%020d\n" % (3, 4),
    }
    assert {mode(path) for path in (tmp_path / "logs").iterdir()} == {0o600}


def test_a_batch_larger_than_a_file_is_written_whole(tmp_path: Path, sink: FileSink) -> None:
    """Into a file of its own, which the next batch puts aside."""
    sink.send([entry(1)])
    sink.send([entry(number, b"%020d" % number) for number in range(2, 6)])
    sink.send([entry(6)])
    assert {name: content.count(b"\n") for name, content in logs(tmp_path).items()} == {
        "3-1790000000000000002.ndjson": 1,
        "3-1790000000000000006.ndjson": 4,
        "3.ndjson": 1,
    }


def test_a_restart_goes_on_with_the_file(tmp_path: Path, sink: FileSink) -> None:
    """Its size counts from where the last run left it."""
    sink.send([entry(1, b"x" * 30)])
    sink.close()
    sink.send([entry(2, b"y" * 30)])
    assert set(logs(tmp_path)) == {"3-1790000000000000002.ndjson", "3.ndjson"}


def test_a_full_disk_is_a_retry_and_leaves_nothing_behind(tmp_path: Path, sink: FileSink, disk: Disk) -> None:
    """The events stay in the spool; when there is room again they are written once."""
    sink.send([entry(1)])
    disk.room = 10
    assert sink.send([entry(2), entry(3)]) == Retry("disk")
    assert logs(tmp_path) == {"3.ndjson": b'{"a":1}\n'}
    disk.room = float("inf")
    assert sink.send([entry(2), entry(3)]) == Delivered()
    assert logs(tmp_path) == {"3.ndjson": b'{"a":1}\n' * 3}


def test_a_folder_that_cannot_be_made_is_a_retry(tmp_path: Path, sink: FileSink) -> None:
    """And the probe says so; once it can be made, both go well."""
    (tmp_path / "logs").write_bytes(b"")
    assert sink.send([entry(1)]) == Retry("disk")
    assert sink.probe() == "disk"
    (tmp_path / "logs").unlink()
    assert sink.probe() is None
    assert sink.send([entry(1)]) == Delivered()


def test_a_rename_that_fails_is_a_retry(tmp_path: Path, sink: FileSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """The full file stays where it is, and the next try puts it aside."""
    sink.send([entry(1, b"x" * 40)])
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", _fail)
        assert sink.send([entry(2, b"y" * 40)]) == Retry("disk")
    assert sink.send([entry(3, b"z" * 40)]) == Delivered()
    assert logs(tmp_path) == {"3-1790000000000000003.ndjson": b"x" * 40 + b"\n", "3.ndjson": b"z" * 40 + b"\n"}


def _fail(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_sink_writes_where_it_holds_nobody_up(tmp_path: Path) -> None:
    """Every blocking call goes through `offload`."""
    calls: list[object] = []
    sink = FileSink(tmp_path / "logs", 0, max_bytes=100, offload=calls.append)
    sink.send([entry(1)])
    sink.probe()
    assert len(calls) == 2
    assert not (tmp_path / "logs").exists()


# Dead letters


@pytest.fixture
def letters(tmp_path: Path, rules: Rules) -> Iterator[DeadLetterFiles]:
    made = DeadLetterFiles(
        tmp_path / "dead-letters",
        2,
        clean=lambda text: str(redact(text, rules).value),
        offload=at_once,
        wall_s=lambda: 1_790_000_100.25,
    )
    yield made
    made.close()


def read(tmp_path: Path) -> list[dict[str, object]]:
    content = (tmp_path / "dead-letters" / "2.ndjson").read_text(encoding="utf-8")
    return [json.loads(line) for line in content.splitlines()]


def test_a_letter_holds_what_is_needed_to_send_it_again(tmp_path: Path, letters: DeadLetterFiles) -> None:
    """Labels, nanosecond and line to the byte, with the reason and the sink's words."""
    letters.add(entry(7, '{"a":"é\\n"}'.encode()), "too_old", "has timestamp too old")
    letters.add(entry(8), "too_large", "413 for one event")
    first, second = read(tmp_path)
    assert len(first.pop("id")) == 16  # type: ignore[arg-type]
    assert first == {
        "at": "2026-09-21T14:15:00Z",
        "at_s": 1_790_000_100.25,
        "reason": "too_old",
        "detail": "has timestamp too old",
        "event_id": "evt_7",
        "labels": {"service_name": "s", "event": "e"},
        "timestamp_ns": "1790000000000000007",
        "line": '{"a":"é\\n"}',
        "metadata": {"event_id": "evt_7"},
    }
    assert list(first["labels"]) == ["service_name", "event"]  # type: ignore[call-overload]
    assert second["event_id"] == "evt_8"
    assert mode(tmp_path / "dead-letters" / "2.ndjson") == 0o600


def test_the_sinks_words_are_redacted_and_cut(tmp_path: Path, letters: DeadLetterFiles) -> None:
    """They may quote a line, and they may be long."""
    letters.add(entry(1), "too_old", "refused 'mail bob@x.org' " + "x" * 10_000)
    (letter,) = read(tmp_path)
    assert "bob" not in str(letter["detail"])
    assert str(letter["detail"]).startswith("refused 'mail [REDACTED_EMAIL]'")
    assert len(str(letter["detail"])) <= MAX_DETAIL + 20


@pytest.mark.parametrize("secret", ["bob.smith@example.org", "4111 1111 1111 1111", "555-867-5309", "192.168.1.77"])
def test_a_value_that_the_cut_falls_on_is_redacted_all_the_same(
    tmp_path: Path, letters: DeadLetterFiles, secret: str
) -> None:
    """Half of an address is no address to a pattern, so the words are redacted before they are cut."""
    for ahead in range(MAX_DETAIL - len(secret) - 2, MAX_DETAIL + 2):
        letters.add(entry(1), "too_old", f"{'x' * (ahead - 1)} {secret} and more")
    assert [letter for letter in read(tmp_path) if secret[:8] in str(letter["detail"])] == []


def test_a_letter_that_could_not_be_kept_is_an_error(tmp_path: Path, letters: DeadLetterFiles, disk: Disk) -> None:
    """The event then stays in the spool, and no half letter is left."""
    letters.add(entry(1), "too_old", "x")
    disk.room = 200
    with pytest.raises(SinkError):
        letters.add(entry(2), "too_old", "x")
    disk.room = float("inf")
    assert len(read(tmp_path)) == 1
    letters.add(entry(4), "too_old", "x")
    assert [letter["event_id"] for letter in read(tmp_path)] == ["evt_1", "evt_4"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path, letters: DeadLetterFiles) -> None:
    """And not a lost event."""
    (tmp_path / "dead-letters").write_bytes(b"")
    with pytest.raises(SinkError):
        letters.add(entry(1), "too_old", "x")
