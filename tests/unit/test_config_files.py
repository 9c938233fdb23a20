"""The tables under config/ and their last good versions under DATA_DIR."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from app import config_files
from app.errors import ConfigError
from app.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"detectors.toml", "kpis.toml", "cache.toml"}

# name -> (a text that does not load, its fault)
BROKEN = {
    "detectors.toml": ('\n[[detector]]\nname = "mine"\nwhy = "w"\npatterns = ["("]\n', "line 2: patterns: not RE2"),
    "kpis.toml": ('\n\n[[kpi]]\nname = "mine"\ntype = "sum"\n', "line 3: kpi 1 (mine): type"),
    "cache.toml": ('[default]\nttl = 5\n[tool."a b"]\nttl = 0\n', "line 3: [tool.a b] ttl"),
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a copy of config/ that a test may spoil."""
    return shutil.copytree(ROOT / "config", tmp_path / "config")


@pytest.fixture
def data_dir(tmp_path: Path, config: Path) -> Path:
    """Return a folder in which the good versions are kept."""
    config_files.keep(tmp_path / "data", config_files.load(config).texts)
    return tmp_path / "data"


def test_what_is_shipped_loads(config: Path) -> None:
    """All files as they stand, and their texts."""
    loaded = config_files.load(config)
    assert loaded.stale == ()
    assert dict(loaded.texts) == {name: (config / name).read_text(encoding="utf-8") for name in FILES}


def test_copies_are_the_owners_alone(tmp_path: Path, config: Path) -> None:
    """0600 in a folder of 0700, whatever the umask; no draft is left."""
    before = os.umask(0)
    try:
        config_files.keep(tmp_path / "data", config_files.load(config).texts)
    finally:
        os.umask(before)
    folder = tmp_path / "data" / "config"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == dict.fromkeys(FILES, 0o600)


def test_copies_are_read_as_they_were_kept(config: Path, data_dir: Path) -> None:
    """Every text comes back, to the letter."""
    texts = {**config_files.load(config).texts, "cache.toml": "# grüße\r\n\n[default]\nttl = 5"}
    config_files.keep(data_dir, texts)
    assert config_files.kept(data_dir) == texts


def test_a_copy_is_written_once(config: Path, data_dir: Path) -> None:
    """Keeping what is kept touches nothing, so that a full disk is no matter; a new text takes the old one's place."""
    paths = {name: data_dir / "config" / name for name in FILES}
    before = {name: path.stat().st_ino for name, path in paths.items()}
    config_files.keep(data_dir, config_files.load(config).texts)
    assert {name: path.stat().st_ino for name, path in paths.items()} == before
    with (config / "cache.toml").open("a") as file:
        file.write("[tool.mine]\nttl = 7\n")
    config_files.keep(data_dir, config_files.load(config).texts)
    assert {name for name, path in paths.items() if path.stat().st_ino != before[name]} == {"cache.toml"}
    assert config_files.kept(data_dir)["cache.toml"].endswith("[tool.mine]\nttl = 7\n")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_where_there_is_no_copy(name: str, config: Path) -> None:
    """One line: the file's path, the line, the fault."""
    text, fault = BROKEN[name]
    (config / name).write_text(text)
    for good in (None, {}, dict.fromkeys(FILES - {name}, "")):
        with pytest.raises(ConfigError) as caught:
            config_files.load(config, good)
        assert str(caught.value).startswith(f"{config / name}: {fault}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gives_way_to_its_copy(name: str, config: Path, data_dir: Path) -> None:
    """The copy is used, the other files are read as they stand, and the fault is told."""
    good = config_files.load(config)
    (config / name).write_text(BROKEN[name][0])
    other = min(FILES - {name})
    with (config / other).open("a") as file:
        file.write("# changed\n")
    loaded = config_files.load(config, config_files.kept(data_dir))
    ((file, fault),) = [(row.file, row.fault) for row in loaded.stale]
    assert (file, fault.startswith(BROKEN[name][1])) == (name, True)
    assert loaded.texts[name] == good.texts[name]
    assert loaded.texts[other].endswith("# changed\n")
    assert (loaded.rules.names, loaded.kpis, loaded.cache) == (good.rules.names, good.kpis, good.cache)


def test_all_files_may_be_broken_at_once(config: Path, data_dir: Path) -> None:
    """Each has its own copy and its own fault."""
    for name, (text, _) in BROKEN.items():
        (config / name).write_text(text)
    loaded = config_files.load(config, config_files.kept(data_dir))
    assert {row.file for row in loaded.stale} == FILES


def test_keeping_what_was_used_keeps_no_broken_text(config: Path, data_dir: Path) -> None:
    """After a reload with a broken file the copy is still the good one; once mended it is the mended one."""
    good = config_files.kept(data_dir)
    path = config / "cache.toml"
    path.write_text(BROKEN["cache.toml"][0])
    config_files.keep(data_dir, config_files.load(config, good).texts)
    assert config_files.kept(data_dir) == good
    path.write_text("[default]\nttl = 7\n")
    loaded = config_files.load(config, good)
    config_files.keep(data_dir, loaded.texts)
    assert loaded.stale == ()
    assert config_files.kept(data_dir)["cache.toml"] == "[default]\nttl = 7\n"


def test_a_damaged_copy_is_none(config: Path, data_dir: Path) -> None:
    """Cut at any length or changed anywhere, a copy is not used: half a table would redact half."""
    (config / "cache.toml").write_text(BROKEN["cache.toml"][0])
    path = data_dir / "config" / "cache.toml"
    whole = path.read_bytes()
    damaged = [whole[:size] for size in range(0, len(whole), 7)]
    damaged += [whole + b"\n", whole.replace(b"ttl = 3600", b"ttl = 3601"), b"\xff" + whole, whole.partition(b"\n")[2]]
    for content in damaged:
        path.write_bytes(content)
        assert set(config_files.kept(data_dir)) == FILES - {"cache.toml"}
    with pytest.raises(ConfigError, match=r"cache\.toml: line 3"):
        config_files.load(config, config_files.kept(data_dir))


def test_a_draft_is_no_copy(tmp_path: Path, config: Path) -> None:
    """What a crash left before the rename is not read, and does not keep the next one from being written."""
    texts = config_files.load(config).texts
    config_files.keep(tmp_path / "other", texts)
    (tmp_path / "data" / "config").mkdir(parents=True)
    for name in FILES:
        draft = (tmp_path / "data" / "config" / name).with_suffix(".draft")
        draft.write_bytes((tmp_path / "other" / "config" / name).read_bytes())
    assert config_files.kept(tmp_path / "data") == {}
    config_files.keep(tmp_path / "data", texts)
    assert config_files.kept(tmp_path / "data") == texts


def test_a_crash_before_the_rename_leaves_the_old_copy(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails while a copy is written leaves the older one as it is, and the caller hears of it."""
    good = config_files.kept(data_dir)

    def fail(_: int) -> None:
        raise OSError(5, "EIO")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="EIO"):
        config_files.keep(data_dir, {"cache.toml": "[default]\nttl = 7\n"})
    assert config_files.kept(data_dir) == good


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a = " + b"[" * 100_000])
def test_a_file_that_no_parser_answers_for(content: bytes | None, config: Path, data_dir: Path) -> None:
    """Missing, no UTF-8, or what makes the parser itself fail: a fault of the file all the same, by its kind."""
    path = config / "kpis.toml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"kpis\.toml: cannot be (read|used) \(\w+Error\)$"):
        config_files.load(config)
    (row,) = config_files.load(config, config_files.kept(data_dir)).stale
    assert row.file == "kpis.toml"


def test_a_copy_that_does_not_load_any_more(config: Path, data_dir: Path) -> None:
    """A copy of another release's is as none: the fault that is told is the file's own."""
    config_files.keep(data_dir, {"cache.toml": "[defaults]\n"})
    (config / "cache.toml").write_text(BROKEN["cache.toml"][0])
    with pytest.raises(ConfigError, match=r"cache\.toml: line 3: \[tool\.a b\] ttl"):
        config_files.load(config, config_files.kept(data_dir))
