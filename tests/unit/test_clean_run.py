"""The cleaning as people run it: files, pipes, signals, full disks; and that no canary sings."""

from __future__ import annotations

import gzip
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.clean.__main__ import main
from app.clean.lines import Lines, LongLine
from tests.harness.tmpfs import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "app.clean"]
TIMEOUT_S = 60.0

ROW = b'{"note": "mail bob@example.org", "n": 1}\n'
CLEAN = b'{"note":"mail [REDACTED_EMAIL]","n":1}\n'


def _run(arguments: Sequence[str | Path], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], input=stdin, cwd=ROOT, capture_output=True, timeout=TIMEOUT_S, check=False
    )


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# In and out


@pytest.mark.parametrize(
    ("content", "cleaned"),
    [
        (b"", b""),
        (b"\n", b"\n"),
        (ROW * 3, CLEAN * 3),
        (ROW[:-1], CLEAN[:-1]),
        (b"\xef\xbb\xbf" + ROW + b"\r\n" + ROW, b"\xef\xbb\xbf" + CLEAN + b"\r\n" + CLEAN),
        (b"\xef\xbb\xbf", b"\xef\xbb\xbf"),
    ],
)
def test_a_pipe_and_a_file_come_out_alike(tmp_path: Path, content: bytes, cleaned: bytes) -> None:
    """Data on stdout, words on stderr; `-` is the pipe too."""
    path = tmp_path / "rows.ndjson"
    path.write_bytes(content)
    for ended in (_run([], content), _run(["-"], content), _run([path])):
        assert (ended.returncode, ended.stdout) == (0, cleaned), ended.stderr
        counted = [line.split() for line in ended.stderr.decode().splitlines()]
        assert counted[0] == ["lines", str(len(content.splitlines()))]
        assert counted[-1][0] == "read"


def test_output_is_private_and_whole(tmp_path: Path) -> None:
    """Nothing on stdout; mode 0600, also where a file with another mode stood; gzip by the name."""
    path = tmp_path / "rows.ndjson.gz"
    path.write_bytes(gzip.compress(ROW * 2))
    for name in ("out.ndjson", "out.ndjson.gz"):
        output = tmp_path / name
        output.write_bytes(b"old")
        output.chmod(0o644)
        ended = _run([path, "--output", output])
        assert (ended.returncode, ended.stdout) == (0, b""), ended.stderr
        content = output.read_bytes()
        assert (gzip.decompress(content) if name.endswith(".gz") else content) == CLEAN * 2
        assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert _names(tmp_path) == {"rows.ndjson.gz", "out.ndjson", "out.ndjson.gz"}


@pytest.mark.parametrize("name", ["rows.ndjson", "rows.ndjson.gz"])
def test_in_place(tmp_path: Path, name: str) -> None:
    """The file is replaced, packed as it was, with the mode that it had; a link to it stays a link."""
    path, link = tmp_path / name, tmp_path / f"link-{name}"
    path.write_bytes(gzip.compress(ROW) if name.endswith(".gz") else ROW)
    path.chmod(0o640)
    link.symlink_to(path)
    for given in (link, path):
        ended = _run(["--in-place", given])
        assert (ended.returncode, ended.stdout) == (0, b""), ended.stderr
        content = path.read_bytes()
        assert (gzip.decompress(content) if name.endswith(".gz") else content) == CLEAN
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert _names(tmp_path) == {name, link.name}


def test_a_file_that_grows_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """What was appended would be lost with the old file."""
    path = tmp_path / "rows.ndjson"
    path.write_bytes(ROW)

    read = Lines.__iter__

    def read_while_another_writes(lines: Lines) -> Iterator[bytes | LongLine]:
        yield from read(lines)
        with path.open("ab") as file:
            file.write(ROW)

    monkeypatch.setattr(Lines, "__iter__", read_while_another_writes)
    assert main(["--in-place", str(path)]) == 1
    assert "has changed while it was read" in capsys.readouterr().err
    assert path.read_bytes() == ROW * 2
    assert _names(tmp_path) == {"rows.ndjson"}


def test_what_would_overwrite_is_refused(tmp_path: Path) -> None:
    """Each with one line and exit code 2, and nothing is changed."""
    path, link, hard = (tmp_path / name for name in ("rows.ndjson", "link", "hard"))
    path.write_bytes(ROW)
    link.symlink_to(path)
    output = tmp_path / "out"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    cases: list[tuple[list[str | Path], str]] = [
        ([path, "--output", path], "--in-place"),
        ([path, "--output", link], "--in-place"),
        ([path, "--findings", link], "--findings is the input"),
        ([path, "--output", output, "--findings", output], "one file"),
        (["--in-place", path, "--findings", path], "one file"),
        (["--in-place", path, "--output", output], "one of the two"),
        (["--in-place"], "takes a FILE"),
        (["--in-place", "-"], "takes a FILE"),
        (["--in-place", "/dev/null"], "is not a file"),
        ([path, "--output", "/dev/null"], "is not a file"),
        ([path, "--output", fifo], "is not a file"),
        ([path, "--output", tmp_path / "no" / "out"], "cannot write"),
        ([tmp_path / "missing"], "No such file"),
        ([tmp_path], "Is a directory"),
        ([path, "--config-dir", tmp_path], "detectors.toml"),
    ]
    for arguments, said in cases:
        ended = _run(arguments)
        assert (ended.returncode, ended.stdout) == (2, b""), arguments
        assert ended.stderr.startswith(b"redact: "), arguments
        assert ended.stderr.count(b"\n") == 1
        assert said in ended.stderr.decode()
        assert path.read_bytes() == ROW
    hard.hardlink_to(path)
    ended = _run(["--in-place", path])
    assert (ended.returncode, ended.stderr.count(b"hard link")) == (2, 1)
    assert _names(tmp_path) == {"rows.ndjson", "link", "hard", "fifo"}


def test_the_shells_own_way_to_write_onto_the_input_is_refused(tmp_path: Path) -> None:
    """`< rows >> rows` would read what it writes for ever."""
    path = tmp_path / "rows.ndjson"
    path.write_bytes(ROW)
    with path.open("rb") as stdin, path.open("ab") as stdout:
        ended = subprocess.run(
            COMMAND, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, cwd=ROOT, timeout=TIMEOUT_S, check=False
        )
    assert ended.returncode == 2
    assert path.read_bytes() == ROW


# How it ends early


def test_no_file_on_a_terminal_is_a_question_of_usage() -> None:
    """Nobody types NDJSON; without this it would look as if it hung."""
    leader, terminal = pty.openpty()
    try:
        ended = subprocess.run(COMMAND, stdin=terminal, cwd=ROOT, capture_output=True, timeout=TIMEOUT_S, check=False)
    finally:
        os.close(leader)
        os.close(terminal)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr.startswith(b"usage: ")


def test_a_terminal_gets_a_bar_and_the_pipe_the_data(tmp_path: Path) -> None:
    """stderr is a terminal, stdout is not."""
    path = tmp_path / "rows.ndjson"
    path.write_bytes(ROW * 20_000)
    leader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    with subprocess.Popen([*COMMAND, path], cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        cleaned, _ = process.communicate(timeout=TIMEOUT_S)
    said = b""
    # A terminal whose other side is closed is at its end with EIO.
    with suppress(OSError), os.fdopen(leader, "rb", buffering=0) as screen:
        while piece := screen.read(65536):
            said += piece
    assert process.returncode == 0
    assert cleaned == CLEAN * 20_000
    assert b"%|" in said
    assert b"findings" in said


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    """`| head` wants no traceback, and no report."""
    path = tmp_path / "rows.ndjson"
    path.write_bytes(ROW * 50_000)
    with subprocess.Popen([*COMMAND, path], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == CLEAN
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(TIMEOUT_S) == 128 + signal.SIGPIPE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and kill: quiet, and what was half written is gone."""
    output, findings = tmp_path / "out.ndjson", tmp_path / "findings.ndjson"
    command = [*COMMAND, "--output", output, "--findings", findings]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(ROW)
        process.stdin.flush()
        give_up_s = time.monotonic() + TIMEOUT_S
        while len(_names(tmp_path)) < 2 and time.monotonic() < give_up_s:
            time.sleep(0.01)
        assert len(_names(tmp_path)) == 2
        assert all(name.endswith(".part") for name in _names(tmp_path))
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 128 + number
        assert process.stderr.read() == b""
    assert _names(tmp_path) == set()


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """One line, exit code 1; what was there before is there still."""
    path = tmp_path / "rows.ndjson"
    path.write_bytes(ROW * 50_000)
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        output = disk.folder / "out.ndjson"
        output.write_bytes(b"old")
        ended = _run([path, "--output", output, "--findings", tmp_path / "findings"])
        assert ended.returncode == 1
        assert ended.stderr == b"redact: No space left on device\n"
        assert output.read_bytes() == b"old"
        assert _names(disk.folder) == {"out.ndjson"}
        with output.open("wb") as stdout:
            ended = subprocess.run(
                [*COMMAND, path], cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, timeout=TIMEOUT_S, check=False
            )
        assert (ended.returncode, ended.stderr) == (1, b"redact: No space left on device\n")
    assert "findings" not in _names(tmp_path)


def test_a_damaged_file_leaves_no_half_file(tmp_path: Path) -> None:
    """As a full disk does."""
    path = tmp_path / "rows.gz"
    path.write_bytes(gzip.compress(ROW * 9999)[:-20])
    ended = _run(["--in-place", path])
    assert (ended.returncode, ended.stderr) == (1, f"redact: {path}: not gzip, or damaged\n".encode())
    assert _names(tmp_path) == {"rows.gz"}


def test_policies_of_an_event_hold(tmp_path: Path) -> None:
    """Only for the event that is named; where fields cannot be told, the line is withheld."""
    table = (ROOT / "config" / "detectors.toml").read_text(encoding="utf-8")
    for name in ("kpis.toml", "cache.toml"):
        (tmp_path / name).write_bytes((ROOT / "config" / name).read_bytes())
    (tmp_path / "detectors.toml").write_text(
        table
        + '\n[[policy]]\nwhy = "Nobody reads it."\nevents = ["asked"]\nfields = ["args.prompt"]\naction = "drop"\n',
        encoding="utf-8",
    )
    rows = b'{"args": {"prompt": "why?", "n": 1}}\n{"args": {"prompt": "why?"}, "n": NaN}\n'
    command: list[str | Path] = ["--config-dir", tmp_path]
    assert _run([*command, "--event", "asked"], rows).stdout == b'{"args":{"n":1}}\n"[REDACTED]"\n'
    assert _run([*command, "--event", "other"], rows).stdout == rows
    assert _run(command, rows).stdout == rows


# What it is for


CANARIES = [
    "bob@example.org",
    "4111 1111 1111 1111",
    "hunter2",
    "219-09-9998",
    "sk-1234567890abcdef",
    "jane@example.org",
]


def test_canaries_survive_nowhere(tmp_path: Path) -> None:
    """Not on stdout, not on stderr, not in the findings, however the line that holds them is written."""
    value = {
        "note": "mail bob@example.org, card 4111 1111 1111 1111",
        "password": "hunter2",
        "jane@example.org": ["219-09-9998", {"x": "use sk-1234567890abcdef"}],
    }
    line = json.dumps(value)
    rows = [
        line,
        json.dumps(value, indent=1).replace("\n", "\r"),
        f'2025-01-01 ERROR at "x": {line} took 3 ms',
        line[:-1] + ', "loss": NaN}',
        line[:-1] + ', "note": "again"}',
        line[: line.index("abcdef") + 6],
        "[" * 50 + line,
        line[:-1] + ', "city": "M\xfcnchen"}',
        line.replace("@", "\\u0040").replace("}", ',"n":NaN}'),
        repr(value),
    ]
    findings = tmp_path / "findings.ndjson"
    ended = _run(["--findings", findings], "\n".join(rows).encode("latin-1"))
    assert ended.returncode == 0, ended.stderr
    reported = findings.read_bytes()
    for said in (ended.stdout, ended.stderr, reported):
        assert [canary for canary in CANARIES if canary.encode() in said] == []
    assert ended.stdout.count(b"\n") == len(rows) - 1
    found = [json.loads(row) for row in reported.splitlines()]
    assert {row["line"] for row in found} == set(range(1, len(rows) + 1))
    assert {tuple(row) for row in found} == {("line", "pointer", "detector", "action", "length")}
    assert f"findings{len(found)}" == "".join(
        next(row for row in ended.stderr.decode().splitlines() if row.startswith("findings")).replace(",", "").split()
    )
    assert stat.S_IMODE(findings.stat().st_mode) == 0o600


def test_two_hundred_thousand_lines_take_no_more_memory(tmp_path: Path) -> None:
    """The largest resident size of the process (VmHWM, in KiB), against that for a hundred lines."""
    code = (
        "import re, sys; from app.clean.__main__ import main; main(sys.argv[1:])\n"
        "print(*re.findall(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read()))"
    )

    def peak_kib(count: int) -> int:
        path = tmp_path / "rows.ndjson"
        rows = b"".join(b'{"note": "no %d", "n": %d, "to": "bob%d@example.org"}\n' % (n, n, n) for n in range(count))
        path.write_bytes(rows)
        command = [sys.executable, "-c", code, "--output", str(tmp_path / "out"), str(path)]
        command += ["--findings", str(tmp_path / "findings")]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=TIMEOUT_S, check=True)
        assert (tmp_path / "out").read_bytes().count(b"\n") == count
        assert (tmp_path / "findings").read_bytes().count(b"\n") == count
        return int(ended.stdout)

    few, many = peak_kib(100), peak_kib(200_000)
    # The file has 11 MB; what grows is the allocator's slack.
    assert many - few < 6 * 1024
