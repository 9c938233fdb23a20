"""The cache's key secret: made once, by whichever worker is first, and readable by us alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from app.adapters.secret_file import MAX_LENGTH, MIN_LENGTH, read_or_make_secret, read_secret
from app.core.keys import storage_digest
from app.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RACER = """
import sys
from pathlib import Path
from app.adapters.secret_file import read_or_make_secret

print("ready", flush=True)
sys.stdin.readline()
print(read_or_make_secret(Path(sys.argv[1])).decode())
"""


def test_a_secret_is_made_where_there_is_none(tmp_path: Path) -> None:
    """0600 in folders of its own, long enough to be no guess, and fit to be BLAKE2b's key."""
    path = tmp_path / "a" / "b" / "secret"
    before = os.umask(0)
    try:
        secret = read_or_make_secret(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert MIN_LENGTH <= len(secret) <= MAX_LENGTH
    assert len(set(secret)) > 5
    assert storage_digest("k", secret)
    assert [entry.name for entry in path.parent.iterdir()] == ["secret"]


def test_a_secret_that_is_there_is_read(tmp_path: Path) -> None:
    """The second start has the first one's, and so has every other worker; another folder has another."""
    path = tmp_path / "secret"
    assert read_or_make_secret(path) == read_or_make_secret(path) == read_secret(path)
    assert read_or_make_secret(tmp_path / "other") != read_secret(path)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"s" * 16, b"s" * 16),
        (b"s" * 64, b"s" * 64),
        (b"s" * 16 + b"\n", b"s" * 16),
        (b" \t" + b"s" * 64 + b"\r\n", b"s" * 64),
        ("schlüssel-der-küche".encode(), "schlüssel-der-küche".encode()),
    ],
)
def test_white_space_around_a_secret_is_none_of_it(tmp_path: Path, content: bytes, secret: bytes) -> None:
    """Editors end files with a newline."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    assert read_secret(path) == read_or_make_secret(path) == secret


@pytest.mark.parametrize("content", [b"", b"\n", b"s" * 15, b" " * 20, b"s" * 65, b"plum" * 500])
def test_a_secret_of_the_wrong_length_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    """Nor made anew: entries under the old one would be lost without a word."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    for read in (read_secret, read_or_make_secret):
        with pytest.raises(ValueError, match="16 to 64") as caught:
            read(path)
        assert "plum" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_missing_file_is_an_error_to_read(tmp_path: Path) -> None:
    """CACHE_KEY_SECRET_FILE names a file that somebody else makes."""
    with pytest.raises(FileNotFoundError):
        read_secret(tmp_path / "none")


def test_a_crash_in_the_middle_does_not_stop_the_next_start(tmp_path: Path) -> None:
    """In a container every start has the same process id, and what a killed one left aside is still there."""
    path = tmp_path / "secret"
    (tmp_path / f"secret.{os.getpid()}").write_bytes(b"half")
    assert len(read_or_make_secret(path)) >= MIN_LENGTH


def test_processes_that_start_at_once_read_one_secret(tmp_path: Path) -> None:
    """Several workers race for it: one of them wins, all have its secret, and nothing is left aside."""
    for number in range(3):
        path = tmp_path / str(number) / "secret"
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACER, str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                text=True,
            )
            for _ in range(4)
        ]
        secrets = set()
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        for racer in racers:
            secrets.add(racer.communicate(timeout=30)[0])
            assert racer.returncode == 0
        assert secrets == {path.read_text(encoding="ascii") + "\n"}
        assert [entry.name for entry in path.parent.iterdir()] == ["secret"]
