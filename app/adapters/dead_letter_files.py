"""Dead letters as NDJSON under `DATA_DIR/dead-letters/`, one file a worker slot.

A worker appends while a person deletes: who changes a file holds its lock, and a file that was put in its place is
noticed by its inode.
"""

import fcntl
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from app.adapters.file_sink import Offload
from app.adapters.files import AppendFile, sync_directory
from app.core import dead_letters
from app.core.dead_letters import MAX_DETAIL, Letter
from app.core.events import Redacted
from app.errors import SinkError

_PATTERN = "*.ndjson"


class DeadLetterFiles:
    """One worker's file: appends letters durably."""

    def __init__(
        self, directory: Path, slot: int, *, clean: Callable[[str], str], offload: Offload, wall_s: Callable[[], float]
    ) -> None:
        """`clean` redacts the sink's words: they may quote a line."""
        self._path = directory / f"{slot}.ndjson"
        self._clean = clean
        self._offload = offload
        self._wall_s = wall_s
        self._file: AppendFile | None = None

    def add(self, entry: Redacted, reason: str, detail: str) -> None:
        """Keep an event, durably; raise SinkError."""
        clean = self._clean(detail)[:MAX_DETAIL]  # in this order: half a value is not recognised
        line = Letter(entry, reason, clean, self._wall_s()).pack()
        try:
            self._offload(lambda: self._append(line))
        except OSError as exc:
            raise SinkError("dead letters could not be written") from exc

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, lines: bytes) -> None:
        while True:
            if self._file is None:
                self._file = AppendFile(self._path)
            with _locked(self._file.fileno):
                if _is_at(self._path, self._file.fileno):
                    self._file.append(lines)
                    return
            self.close()


class DeadLetterFolder:
    """All workers' letters, for those who read and delete them."""

    def __init__(self, directory: Path) -> None:
        """Nothing is read yet."""
        self._directory = directory
        self._counted: dict[Path, tuple[int, int, int]] = {}

    def letters(self) -> Iterator[Letter]:
        """Yield each letter once, in the order of the files."""
        seen: set[str] = set()
        for path in sorted(self._directory.glob(_PATTERN)):
            # Another may delete the last of a file meanwhile.
            with suppress(FileNotFoundError), path.open("rb") as file:
                for line in file:
                    letter = dead_letters.unpack(line)
                    if letter is not None and letter.letter_id not in seen:
                        seen.add(letter.letter_id)
                        yield letter

    def delete(self, letter_ids: Collection[str], only: Collection[Letter] | None = None) -> int:
        """Take letters out of the files, durably; return how many there were. What is no letter stays.

        With `only`, just those: one that was laid aside again meanwhile has the same id, and another time.
        """
        gone: set[str] = set()
        for path in sorted(self._directory.glob(_PATTERN)):
            with suppress(FileNotFoundError), path.open("rb") as file, _locked(file.fileno()):
                if not _is_at(path, file.fileno()):
                    continue
                kept = []
                for line in file:
                    letter = dead_letters.unpack(line)
                    if letter is not None and letter.letter_id in letter_ids and (only is None or letter in only):
                        gone.add(letter.letter_id)
                    else:
                        kept.append(line)
                _replace(path, kept)
        return len(gone)

    def count(self) -> int:
        """Return how many lines there are; only what came since the last call is read."""
        total = 0
        counted = {}
        for path in self._directory.glob(_PATTERN):
            with suppress(OSError), path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                known_inode, offset, lines = self._counted.get(path, (inode, 0, 0))
                if known_inode != inode or os.fstat(file.fileno()).st_size < offset:
                    offset = lines = 0
                file.seek(offset)
                while block := file.read(1 << 20):
                    offset += len(block)
                    lines += block.count(b"\n")
                counted[path] = (inode, offset, lines)
                total += lines
        self._counted = counted
        return total


def _replace(path: Path, lines: Sequence[bytes]) -> None:
    if lines:
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        file = AppendFile(draft)
        file.append(b"".join(lines))
        file.close()
        draft.rename(path)
    else:
        path.unlink()
    sync_directory(path.parent)


@contextmanager
def _locked(fd: int) -> Iterator[None]:
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        # Closing it has let go of it too.
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


def _is_at(path: Path, fd: int) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
