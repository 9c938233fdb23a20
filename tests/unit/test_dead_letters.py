"""Dead letters: everything to send an event again is kept, and nobody's deletion takes what another one writes."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.dead_letter_files import DeadLetterFiles, DeadLetterFolder
from app.core import dead_letters
from app.core.dead_letters import MAX_DETAIL, Letter, restamped
from app.core.events import Redacted
from app.errors import SinkError

if TYPE_CHECKING:
    from pathlib import Path

NS = 1_790_000_000_000_000_000


def event(number: int, text: str = "") -> Redacted:
    return Redacted(
        labels=(("service_name", "s"), ("event", "e"), ("worker", "3")),
        timestamp_ns=NS + number,
        line=orjson.dumps({"event_id": f"evt_{number}", "text": text}),
        metadata=b'{"event_id":"evt_%d","trace_id":"t"}' % number,
    )


def letter(number: int, reason: str = "too_old") -> Letter:
    return Letter(event(number), reason, "the sink's words", 1_790_000_000.5)


def files(folder: Path, slot: int = 0) -> DeadLetterFiles:
    return DeadLetterFiles(
        folder, slot, clean=lambda text: text.replace("secret", "***"), offload=lambda call: call(), wall_s=lambda: 5.0
    )


def numbers(folder: Path) -> list[int]:
    return [one.entry.timestamp_ns - NS for one in DeadLetterFolder(folder).letters()]


# A letter


WORDS = st.text(max_size=30)
LETTERS = st.builds(
    Letter,
    st.builds(
        Redacted,
        labels=st.dictionaries(WORDS, WORDS, max_size=4).map(lambda labels: tuple(labels.items())),
        timestamp_ns=st.integers(0, 2**64 - 1),
        line=WORDS.map(str.encode),
        metadata=WORDS.map(lambda text: orjson.dumps({"event_id": text, "trace_id": text})),
    ),
    WORDS,
    WORDS,
    st.floats(0, 4e9),
)


@given(LETTERS)
def test_a_letter_comes_back_as_it_was(one: Letter) -> None:
    """Order of labels and metadata, nanosecond and line: what is sent again is what was refused."""
    line = one.pack()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert dead_letters.unpack(line) == one
    shown = json.loads(line)
    assert shown["timestamp_ns"] == str(one.entry.timestamp_ns)
    assert shown["id"] == one.letter_id


@given(st.one_of(st.binary(max_size=60), st.sampled_from(list(range(300))).map(lambda size: letter(1).pack()[:size])))
def test_what_is_no_letter_is_none(line: bytes) -> None:
    """Noise and half a line."""
    assert dead_letters.unpack(line) is None


CHANGES: list[dict[str, Any]] = [
    {"labels": None},
    {"labels": ["a"]},
    {"labels": "text"},
    {"metadata": None},
    {"metadata": 5},
    {"line": 5},
    {"line": None},
    {"timestamp_ns": "soon"},
    {"timestamp_ns": None},
    {"timestamp_ns": "-1"},
    {"timestamp_ns": str(2**64)},
    {"timestamp_ns": "9" * 6000},
    {"at_s": "now"},
    {"at_s": 1e300},
    {"at_s": -1e300},
    {"at_s": None},
    {"event_id": None},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_person_s_editor_breaks_one_line_only(tmp_path: Path, change: dict[str, Any]) -> None:
    """It is no letter, or one that can be shown, named and sent; the others stand."""
    spoilt = orjson.dumps({**json.loads(letter(2).pack()), **change}) + b"\n"
    (tmp_path / "0.ndjson").write_bytes(letter(1).pack() + spoilt + b"[1]\n5\nnull\n" + letter(3).pack())
    found = list(DeadLetterFolder(tmp_path).letters())
    assert [one.entry.timestamp_ns - NS for one in (found[0], found[-1])] == [1, 3]
    for one in found:
        assert orjson.dumps(one.shown())
        assert 0 <= one.entry.timestamp_ns < 2**64


def test_the_same_event_laid_aside_twice_has_one_id() -> None:
    """Whatever the reason; another nanosecond, label or line is another event."""
    one = letter(1)
    assert one.letter_id == one._replace(reason="other", detail="", at_s=9.0).letter_id
    others = [letter(2), Letter(event(1, "x"), "", "", 0.0)]
    others.append(Letter(restamped(event(1), NS + 1, 4), "", "", 0.0))
    assert len({one.letter_id, *(other.letter_id for other in others)}) == 4


def test_restamped_goes_to_another_stream_and_time() -> None:
    """The line is as it was: it says when the event came."""
    again = restamped(event(1), 77, 9)
    assert again.labels == (("service_name", "s"), ("event", "e"), ("worker", "9"))
    assert (again.timestamp_ns, again.line, again.metadata) == (77, event(1).line, event(1).metadata)


# The files


def test_letters_are_kept_and_found(tmp_path: Path) -> None:
    """One file a slot, readable by us alone; the sink's words redacted, then cut."""
    for slot in (0, 1):
        file = files(tmp_path / "letters", slot)
        file.add(event(slot), "too_old", "a secret " * 100)
        file.close()
    folder = DeadLetterFolder(tmp_path / "letters")
    found = list(folder.letters())
    assert [one.entry for one in found] == [event(0), event(1)]
    assert found[0].detail == ("a *** " * 100)[:MAX_DETAIL]
    assert folder.count() == 2
    for path in (tmp_path / "letters").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_folder_is_no_letters(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    folder = DeadLetterFolder(tmp_path / "none")
    assert (list(folder.letters()), folder.count(), folder.delete(["x"])) == ([], 0, 0)
    assert not (tmp_path / "none").exists()


def test_a_full_disk_keeps_the_event_in_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SinkError, so that it is not settled; what was there before stays, and later letters are kept."""
    file = files(tmp_path)
    file.add(event(1), "r", "")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _failing)
        with pytest.raises(SinkError):
            file.add(event(2), "r", "")
    assert numbers(tmp_path) == [1]
    file.add(event(3), "r", "")
    assert numbers(tmp_path) == [1, 3]


def _failing(_: int) -> None:
    raise OSError(errno.EIO, "no")


def test_a_file_whose_sync_failed_is_not_synced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the spool: the kernel would say that all is well."""
    file = files(tmp_path)
    file.add(event(1), "r", "")
    really, synced, fails = os.fdatasync, [], [True]

    def fdatasync(fd: int) -> None:
        synced.append(fd)
        if fails:
            fails.clear()
            raise OSError(errno.EIO, "no")
        really(fd)

    opened = []
    really_open = os.open

    def counted(*args: Any, **more: Any) -> int:
        fd = really_open(*args, **more)
        opened.append(fd)
        return fd

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(os, "open", counted)
    with pytest.raises(SinkError):
        file.add(event(2), "r", "")
    file.add(event(3), "r", "")
    assert len(synced) == 2
    assert opened, "the same open file was synced again"
    assert numbers(tmp_path) == [1, 3]


def test_deleted_is_gone_and_nothing_else(tmp_path: Path) -> None:
    """Every line of that event, in all files; lines that are no letters stay; an empty file goes."""
    (tmp_path / "0.ndjson").write_bytes(letter(1).pack() + b"a person's note\n" + letter(2).pack() + letter(1).pack())
    (tmp_path / "1.ndjson").write_bytes(letter(1, "other").pack())
    folder = DeadLetterFolder(tmp_path)
    assert folder.count() == 5
    assert folder.delete([letter(1).letter_id, "unknown"]) == 1
    assert (tmp_path / "0.ndjson").read_bytes() == b"a person's note\n" + letter(2).pack()
    assert [path.name for path in tmp_path.iterdir()] == ["0.ndjson"]
    assert folder.count() == 2
    assert stat.S_IMODE((tmp_path / "0.ndjson").stat().st_mode) == 0o600


def test_a_deletion_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for the shorter file: the longer one stays, and the next try does it."""
    (tmp_path / "0.ndjson").write_bytes(letter(1).pack() + letter(2).pack())
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _failing)
        with pytest.raises(OSError, match="no"):
            DeadLetterFolder(tmp_path).delete([letter(1).letter_id])
    assert numbers(tmp_path) == [1, 2]
    assert DeadLetterFolder(tmp_path).delete([letter(1).letter_id]) == 1
    assert numbers(tmp_path) == [2]


def test_a_writer_notices_that_its_file_was_replaced(tmp_path: Path) -> None:
    """Shortened, or deleted whole: the next letter is in the file that has the name."""
    file, folder = files(tmp_path), DeadLetterFolder(tmp_path)
    for number in (1, 2):
        file.add(event(number), "r", "")
    folder.delete([letter(1).letter_id])
    file.add(event(3), "r", "")
    assert numbers(tmp_path) == [2, 3]
    assert folder.delete([letter(2).letter_id, letter(3).letter_id]) == 2
    assert list(tmp_path.iterdir()) == []
    file.add(event(4), "r", "")
    assert numbers(tmp_path) == [4]
    assert folder.count() == 1


def test_a_writer_beside_deleters_loses_no_letter(tmp_path: Path) -> None:
    """Two people delete all even ones, again and again, while a worker writes: the odd ones are all there."""
    count = 300
    writer = files(tmp_path)
    even = [letter(number).letter_id for number in range(0, count, 2)]
    faults: list[BaseException] = []
    done = threading.Event()

    def delete() -> None:
        folder = DeadLetterFolder(tmp_path)
        try:
            while not done.is_set():
                folder.delete(even)
        except BaseException as exc:  # noqa: BLE001 - it is shown below
            faults.append(exc)

    deleters = [threading.Thread(target=delete) for _ in range(2)]
    for thread in deleters:
        thread.start()
    for number in range(count):
        writer.add(event(number), "r", "")
    done.set()
    for thread in deleters:
        thread.join(10)
    DeadLetterFolder(tmp_path).delete(even)
    assert numbers(tmp_path) == list(range(1, count, 2))
    assert faults == []


def test_a_half_written_line_is_cut_when_its_worker_starts_again(tmp_path: Path) -> None:
    """The event of that half line was never settled: it comes again from the spool."""
    (tmp_path / "0.ndjson").write_bytes(letter(1).pack() + letter(2).pack()[:50])
    assert numbers(tmp_path) == [1]
    files(tmp_path).add(event(3), "r", "")
    assert numbers(tmp_path) == [1, 3]
