"""A secret that is made once and then read: the key of the cache's digests."""

import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

SECRET_BYTES: Final = 32
MIN_LENGTH: Final = 16
MAX_LENGTH: Final = 64
"""What BLAKE2b takes as a key."""


def read_secret(path: Path) -> bytes:
    """Return a file's content without white space at its ends; ValueError for one too short or too long."""
    secret = path.read_bytes().strip()
    if not MIN_LENGTH <= len(secret) <= MAX_LENGTH:
        raise ValueError("takes 16 to 64 characters")
    return secret


def read_or_make_secret(path: Path) -> bytes:
    """Return the file's secret; make the file (mode 0600) where there is none.

    Several workers may start at once: the file is written aside and linked into place, which only one
    of them can, and all read the one that won.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, aside = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            os.write(fd, secrets.token_hex(SECRET_BYTES).encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            Path(aside).unlink()
    return read_secret(path)
