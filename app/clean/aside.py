"""Writing a file aside, in its own folder, and putting it into place only when it is whole."""

import gzip
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Self, cast


class AsideFile:
    """A file that is not there under its name until `publish`; mode 0600. A name in .gz is written packed.

    In a `with` block, whatever ends it before `publish` takes the unfinished file away. All raise OSError.
    """

    def __init__(self, path: Path, like: os.stat_result | None = None) -> None:
        """`like` is the file that it takes the place of, whose mode and owner it gets."""
        self._path = path
        self._like = like
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        self._aside = Path(name)
        self._file = os.fdopen(fd, "wb")
        self._packed = cast("IO[bytes]", gzip.GzipFile("", "wb", fileobj=self._file)) if path.suffix == ".gz" else None
        self.stream: IO[bytes] = self._packed or self._file

    def finish(self) -> None:
        """Write all that is buffered, to the disk itself."""
        if self._packed is not None:
            self._packed.close()
        self._file.flush()
        if self._like is not None:
            with suppress(PermissionError):  # only root may give a file away
                os.fchown(self._file.fileno(), self._like.st_uid, self._like.st_gid)
            os.fchmod(self._file.fileno(), stat.S_IMODE(self._like.st_mode))
        os.fsync(self._file.fileno())
        self._file.close()

    def publish(self) -> None:
        """Put the finished file in its place, over what was there."""
        self._aside.replace(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        # After `publish` it is not there any more. It is taken away before it is closed: closing writes what is
        # still buffered, which a full disk refuses once more.
        with suppress(FileNotFoundError):
            self._aside.unlink()
        with suppress(OSError):
            self._file.close()
