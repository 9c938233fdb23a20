"""The file of pseudonym keys: what is taken, and refusals of one line that say where and what, and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.adapters.pseudonym_keys import read_pseudonyms
from app.core.pseudonyms import PseudonymKey, Pseudonyms
from app.errors import ConfigError, OperatorError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "c0ffee" * 10 + "c0de"
OTHER = "0123456789abcdef" * 2


def row(key_id: str = "k1", secret: str = SECRET) -> str:
    return f'[[key]]\nid = "{key_id}"\nsecret = "{secret}"\n'


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "keys.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return path


def refusal(path: Path) -> str:
    """What is said of a file; whatever is wrong, it is one line without a secret, as is what it was made from."""
    with pytest.raises(ConfigError) as caught:
        read_pseudonyms(path)
    error = caught.value
    assert isinstance(error, OperatorError)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    said = str(error)
    assert said.startswith("PSEUDONYM_KEYS_FILE: ")
    assert said.isprintable()
    assert "c0ffee" not in said.lower()
    assert "0123456789" not in said
    return said


def test_the_first_row_signs_and_all_are_known(tmp_path: Path) -> None:
    """Ids and secrets as they stand, hex in either case."""
    found = read_pseudonyms(written(tmp_path, row("k2", SECRET.upper()) + "\n# the old one\n" + row("k1", OTHER)))
    expected = Pseudonyms([PseudonymKey("k2", bytes.fromhex(SECRET)), PseudonymKey("k1", bytes.fromhex(OTHER))])
    marks = found.marks("user_id", "user123")
    assert list(marks.items()) == list(expected.marks("user_id", "user123").items())
    assert found.mark("user_id", "user123") == marks["k2"]


@pytest.mark.parametrize("size", [16, 64])
def test_the_shortest_and_the_longest_secret(size: int, tmp_path: Path) -> None:
    """16 to 64 bytes are 32 to 128 digits."""
    found = read_pseudonyms(written(tmp_path, row(secret="ab" * size)))
    assert found.digest("t") == Pseudonyms([PseudonymKey("k1", b"\xab" * size)]).digest("t")


BAD = {
    "nothing": ("", "no [[key]] row"),
    "a comment": ("# keys\n", "no [[key]] row"),
    "no rows": ("key = []\n", "no [[key]] row"),
    "one table": (row().replace("[[key]]", "[key]"), "takes [[key]] rows"),
    "texts": (f'key = ["{SECRET}"]\n', "takes [[key]] rows"),
    "another table": (row() + "[settings]\n", "takes [[key]] rows"),
    "another name": (f'secret = "{SECRET}"\n' + row(), "takes [[key]] rows"),
    "no TOML": (row() + f"{SECRET}\n", "line 4: not TOML"),
    "a secret without quotes": (row().replace(f'"{SECRET}"', SECRET), "line 3: not TOML"),
    "a secret twice": (row() + f'secret = "{SECRET}"\n', "line 4: not TOML"),
    "half a text": (f'[[key]]\nid = "k1"\nsecret = "{SECRET}', "not TOML"),
    "not UTF-8": (row().encode() + b"# \xff\n", "not UTF-8"),
    "no id": (f'[[key]]\nsecret = "{SECRET}"\n', "row 1: takes id and secret"),
    "no secret": (row() + '[[key]]\nid = "k2"\n', "row 2: takes id and secret"),
    "an unknown name": (row() + f'"{SECRET}" = 1\n', "row 1: takes id and secret"),
    "a number for an id": (f'[[key]]\nid = 1\nsecret = "{SECRET}"\n', "row 1: id takes"),
    "the secret for an id": (row(SECRET, OTHER), "row 1: id takes"),
    "an id in capitals": (row("K1"), "row 1: id takes"),
    "an empty id": (row(""), "row 1: id takes"),
    "a number for a secret": ('[[key]]\nid = "k1"\nsecret = 5\n', "row 1: secret takes 32 to 128 hex digits"),
    "an empty secret": (row(secret=""), "row 1: secret takes"),
    "a short secret": (row("k1") + row("k2", SECRET[:30]), "row 2: secret takes 32 to 128 hex digits"),
    "a long secret": (row(secret="ab" * 65), "row 1: secret takes"),
    "half a byte": (row(secret=SECRET + "a"), "row 1: secret takes"),
    "no hex": (row(secret=SECRET[:-1] + "g"), "row 1: secret takes"),
    "hex with spaces": (row(secret=SECRET[:32] + " " + SECRET[32:]), "row 1: secret takes"),
    "digits of another script": (row(secret=SECRET[:-2] + "\u0661\u0662"), "row 1: secret takes"),
    "one id twice": (row() + row("k2", OTHER) + row("k1", "ab" * 16), "row 3: has the id of row 1"),
    "one secret twice": (row() + row("k2", SECRET.upper()), "row 2: has the secret of row 1"),
}


@pytest.mark.parametrize(("content", "fault"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused(content: str | bytes, fault: str, tmp_path: Path) -> None:
    """One line names the variable, the file, the row and the fault."""
    path = written(tmp_path, content)
    said = refusal(path)
    assert f"{path}" in said
    assert fault in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Its name is not repeated: where keys were put into the variable itself, it is no name."""
    assert "FileNotFoundError" in refusal(tmp_path / SECRET)
    assert "IsADirectoryError" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("mode", "is_taken"), [(0o600, True), (0o444, True), (0o660, True), (0o602, False), (0o666, False)]
)
def test_who_may_write(mode: int, is_taken: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """A mounted secret may be read by all; a file that all may write to is nobody's."""
    path = written(tmp_path, row())
    path.chmod(mode)
    if is_taken:
        assert read_pseudonyms(path)
    else:
        assert f"{path}: anyone may write to it" in refusal(path)
