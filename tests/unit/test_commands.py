"""`flask dead-letters`: what a person sees, sends again and deletes; `flask pseudonym-keys`: a new key."""

from __future__ import annotations

import errno
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from app.adapters.dead_letter_files import DeadLetterFiles, DeadLetterFolder
from app.adapters.pseudonym_keys import read_pseudonyms
from app.factory import create_app
from app.services import Services
from app.settings import Settings
from tests.unit.test_file_spool import Held, event, ids

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from flask.testing import FlaskCliRunner

    from app.core.events import Redacted


class Site:
    """A DATA_DIR with dead letters in it, and the command line on it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.letters = DeadLetterFolder(data_dir / "dead-letters")
        settings = Settings(data_dir=data_dir)
        self.services = Services(settings)
        self.app = create_app(settings, self.services)

    def lay_aside(self, *entries: Redacted, reason: str = "too_old", slot: int = 0) -> None:
        file = DeadLetterFiles(
            self.data_dir / "dead-letters",
            slot,
            clean=str,
            offload=lambda call: call(),
            wall_s=lambda: 1_790_000_000.0 + slot,
        )
        for entry in entries:
            file.add(entry, reason, "what the sink said")
        file.close()

    def run(self, *args: str) -> Result:
        runner: FlaskCliRunner = self.app.test_cli_runner()
        return runner.invoke(args=["dead-letters", *args])

    def new_key(self, *args: str) -> Result:
        runner: FlaskCliRunner = self.app.test_cli_runner()
        return runner.invoke(args=["pseudonym-keys", "new", *args])

    def refused(self, *args: str) -> str:
        """Run what must be refused: in words, not with a traceback."""
        result = self.run(*args)
        assert result.exit_code != 0
        assert isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result.output

    def ids(self) -> list[str]:
        return [letter.letter_id for letter in self.letters.letters()]

    def worker(self) -> Held:
        return Held(self.data_dir / "spool")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_there_are_none(site: Site) -> None:
    """Nothing to list, nothing to do; that is no fault."""
    assert (site.run("list").exit_code, site.run("list").output) == (0, "")
    assert site.run("delete", "--all").output == "0 deleted\n"
    assert site.run("requeue", "--all").output == "0 re-queued\n"


def test_list(site: Site) -> None:
    """A line a letter; by reason, at most so many, or as JSON with everything."""
    site.lay_aside(event(1), event(2))
    site.lay_aside(event(3), reason="line_too_long")
    lines = site.run("list").output.splitlines()
    assert [line.split("  ")[2] for line in lines] == ["too_old", "too_old", "line_too_long"]
    assert [line.split("  ")[0] for line in lines] == site.ids()
    assert [line.split("  ")[-1] for line in lines] == ["evt_1", "evt_2", "evt_3"]
    assert len(site.run("list", "--reason", "line_too_long").output.splitlines()) == 1
    assert site.run("list", "--reason", "none such").output == ""
    shown = [json.loads(line) for line in site.run("list", "--json", "--limit", "2").output.splitlines()]
    assert [one["event_id"] for one in shown] == ["evt_1", "evt_2"]
    assert shown[0]["line"] == event(1).line.decode()
    assert shown[0]["detail"] == "what the sink said"
    assert shown[0]["labels"] == dict(event(1).labels)


def test_show(site: Site) -> None:
    """The one, whole."""
    site.lay_aside(event(1), event(2))
    shown = json.loads(site.run("show", site.ids()[1]).output)
    assert (shown["event_id"], shown["timestamp_ns"]) == ("evt_2", str(event(2).timestamp_ns))


def test_delete(site: Site) -> None:
    """By id, by reason, all."""
    site.lay_aside(*(event(number) for number in range(4)))
    site.lay_aside(event(4), reason="other")
    first, second = site.ids()[:2]
    assert site.run("delete", first, second, first).output == "2 deleted\n"
    assert site.run("delete", "--reason", "other").output == "1 deleted\n"
    assert len(site.ids()) == 2
    assert site.run("delete", "--all").output == "2 deleted\n"
    assert site.ids() == []


REFUSED = [
    ("delete",),
    ("requeue",),
    ("delete", "--all", "--reason", "r"),
    ("requeue", "--all", "0123456789abcdef"),
    ("delete", "0123456789abcdef"),
    ("requeue", "0123456789abcdef"),
    ("show", "0123456789abcdef"),
    ("show",),
    ("list", "--limit", "0"),
    ("list", "--limit", "many"),
    ("burn", "--all"),
]


@pytest.mark.parametrize("args", REFUSED, ids=" ".join)
def test_what_is_refused_changes_nothing(site: Site, args: tuple[str, ...]) -> None:
    """In a sentence; what is there stays, also where one id of several is unknown."""
    site.lay_aside(event(1))
    assert site.refused(*args)
    if args[-1] == "0123456789abcdef" and args[0] in ("delete", "requeue") and "--all" not in args:
        assert "of these ids" in site.refused(*args, site.ids()[0])
    assert len(site.ids()) == 1
    assert site.worker().drain() == []


@pytest.mark.parametrize("is_running", [True, False], ids=["beside a worker", "alone"])
def test_requeue_sends_them_as_they_were(site: Site, is_running: bool) -> None:  # noqa: FBT001
    """Labels, nanosecond and line to the byte, to whoever is alive or comes next; and all adds up."""
    worker = site.worker()
    worker.append(event(1), event(2), event(3))
    batch = worker.spool.take(2000.0)
    assert not isinstance(batch, float)
    site.lay_aside(*batch.entries[:2])
    batch.settle(2, dead=True)
    batch.release()
    worker.keep(3)
    if not is_running:
        worker.spool.release()
    assert site.run("requeue", "--all").output == "2 re-queued\n"
    assert site.ids() == []
    worker = worker if is_running else site.worker()
    taken = worker.drain()
    assert sorted(taken, key=lambda one: one.timestamp_ns) == [event(1), event(2), event(3)]
    ledger = worker.spool.ledger()
    assert (ledger.accepted, ledger.delivered, ledger.dead_lettered, ledger.difference) == (3, 3, 0, 0)


def test_requeue_restamped(site: Site) -> None:
    """The present time, each its own nanosecond, and another stream; the line is as it was."""
    worker = site.worker()
    site.lay_aside(event(1), event(2))
    before = time.time_ns()
    assert site.run("requeue", "--all", "--restamp").exit_code == 0
    taken = worker.drain()
    assert [one.line for one in taken] == [event(1).line, event(2).line]
    assert before < taken[0].timestamp_ns < taken[1].timestamp_ns <= time.time_ns()
    assert {dict(one.labels)["worker"] for one in taken} == {"1"}


def test_requeue_by_reason_and_id(site: Site) -> None:
    """The others stay."""
    site.lay_aside(event(1), event(2))
    site.lay_aside(event(3), reason="other")
    assert site.run("requeue", "--reason", "other").output == "1 re-queued\n"
    assert site.run("requeue", site.ids()[1]).output == "1 re-queued\n"
    assert [letter.entry for letter in site.letters.letters()] == [event(1)]
    assert sorted(ids(site.worker().drain())) == ["evt_2", "evt_3"]


def test_more_than_are_sent_at_once(site: Site) -> None:
    """Some thousands: each once."""
    site.lay_aside(*(event(number) for number in range(5)))
    path = site.data_dir / "dead-letters" / "0.ndjson"
    template = json.loads(path.read_bytes().splitlines()[0])
    many = [{**template, "timestamp_ns": str(number), "event_id": f"evt_{number}"} for number in range(2500)]
    path.write_text("".join(json.dumps({**one, "metadata": {}}) + "\n" for one in many))
    assert site.run("requeue", "--all").output == "2500 re-queued\n"
    assert site.ids() == []
    worker = site.worker()
    assert sorted(one.timestamp_ns for one in worker.drain()) == list(range(2500))


def test_a_letter_that_is_dead_again_at_once_is_not_deleted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker adopts it, the sink refuses it again, before the command has deleted the first letter."""
    worker = site.worker()
    site.lay_aside(event(1))
    really = DeadLetterFolder.delete

    def late(folder: DeadLetterFolder, *args: Any) -> int:
        for _ in range(10):
            worker.keep()
            batch = worker.spool.take(worker.now_s + 5, flush=True)
            if not isinstance(batch, float):
                site.lay_aside(*batch.entries, slot=1)
                batch.settle(len(batch.entries), dead=True)
                batch.release()
        return really(folder, *args)

    monkeypatch.setattr(DeadLetterFolder, "delete", late)
    assert site.run("requeue", "--all").exit_code == 0
    assert worker.drain() == []
    assert [letter.entry for letter in site.letters.letters()] == [event(1)]


def test_a_full_disk_refuses_and_keeps_the_letters(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was re-queued, and it says so."""
    site.lay_aside(event(1))

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "pwritev", full)
    assert "nothing was re-queued" in site.refused("requeue", "--all")
    assert len(site.ids()) == 1
    monkeypatch.undo()
    assert site.worker().drain() == []


def test_letters_that_are_more_than_the_spool_takes_are_sent_in_parts(tmp_path: Path) -> None:
    """A thousand long lines are more than a small SPOOL_MAX_BYTES: they can be sent again all the same."""
    site = Site(tmp_path)
    site.services = Services(Settings(data_dir=tmp_path, spool_max_bytes=65536))
    site.app = create_app(site.services.settings, site.services)
    site.lay_aside(*(event(number, size=5000) for number in range(30)))
    assert site.run("requeue", "--all").output == "30 re-queued\n"
    assert len(site.worker().drain()) == 30


@pytest.mark.parametrize("command", ["list", "delete", "requeue"])
def test_a_disk_that_fails_is_told_in_words(site: Site, command: str) -> None:
    """No traceback: a file that cannot be read, here a folder of that name."""
    site.lay_aside(event(1))
    (site.data_dir / "dead-letters" / "9.ndjson").mkdir()
    site.refused(command, *(["--all"] if command != "list" else []))


def test_letters_that_cannot_be_deleted_are_told_in_words(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk has no room for a shorter file."""
    site.lay_aside(event(1), event(2))

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "write", full)
    site.refused("delete", site.ids()[0])
    monkeypatch.undo()
    assert len(site.ids()) == 2


def test_new_pseudonym_keys_make_a_file(site: Site) -> None:
    """What stands on stdout, one row after another, is a file of keys; each secret is another, of 256 bits."""
    rows = [site.new_key("--id", key_id) for key_id in ("k1", "k2")]
    assert [row.exit_code for row in rows] == [0, 0]
    path = site.data_dir / "keys.toml"
    path.write_text("".join(row.stdout for row in rows))
    path.chmod(0o600)
    assert list(read_pseudonyms(path).marks("user_id", "user123")) == ["k1", "k2"]
    secrets = [line for line in path.read_text().splitlines() if line.startswith("secret")]
    assert [len(secret) for secret in secrets] == [len('secret = ""') + 64] * 2
    assert all(row.stderr and "secret" not in row.stderr for row in rows)


@pytest.mark.parametrize(
    "args", [(), ("--id",), ("--id", ""), ("--id", "K1"), ("--id", "k" * 17), ("--id", 'k"'), ("k1",)]
)
def test_a_key_needs_an_id(site: Site, args: tuple[str, ...]) -> None:
    """One that can stand in a pseudonym; else nothing is made."""
    result = site.new_key(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "id" in result.stderr
