"""The command line of the cleaning: arguments in, exit code out; data alone goes to stdout, words to stderr."""

import argparse
import os
import signal
import stat
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from app.clean.aside import AsideFile
from app.clean.cleaner import TOO_LONG, Cleaned, Cleaner, withheld
from app.clean.lines import Lines, LongLine, UnreadableError
from app.clean.progress import Progress
from app.clean.report import Tally, as_text, finding_rows
from app.config_files import load
from app.core.events import RedactedPayload
from app.core.redaction import redact
from app.core.rules import Rules
from app.errors import ConfigError

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNUSABLE: Final = 2
# 128 and the signal's number, as shells have it.
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
EXIT_BROKEN_PIPE: Final = 128 + signal.SIGPIPE

_CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_STDIN: Final = 0
_STDOUT: Final = 1
_BUFFER_BYTES: Final = 256 * 1024

_SHOW_EVERY_BYTES: Final = 256 * 1024

DESCRIPTION: Final = "Redact each line of a file or a pipe as POST /redact would. Nothing is sent anywhere."
EPILOG: Final = """\
Order and number of the lines stay. A line without a finding comes out byte for byte; a JSON line with one is
written anew, without blanks between its members.

A line that is not JSON as the service reads it (text, NaN, a key twice, cut off, more than 32 levels, bad
UTF-8) is searched as text and counted. In it a name in quotes before a colon counts as in JSON; there, `drop`
leaves the name and empties the value. Bytes that are no UTF-8 are passed over, and then taken for Latin-1; all
bytes outside a finding stay, and bad ones within a finding go with it.

A line longer than 16 MiB, or one that a fault kept from being searched, becomes "[REDACTED]" and is counted.
With --event, where that type has policies, a line that is not JSON is withheld too: nobody knows its fields.
Each line is searched by itself: what somebody has spread over several lines is not seen as one.

Exit code: 0 done, 1 broken off (disk full, unreadable; no --output is left behind), 2 usage error or no such file.
"""


class UsageError(Exception):
    """The command line cannot be followed; the message is the one line that says why."""


class _Run(NamedTuple):
    """What a cleaning works on."""

    lines: Lines
    cleaner: Cleaner
    output: IO[bytes]
    findings: IO[bytes] | None
    progress: Progress


def main(argv: Sequence[str] | None = None) -> int:
    """Clean what `argv` names and give the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.file is None and os.isatty(_STDIN):
        parser.print_usage(sys.stderr)
        sys.stderr.write("or: make redact FILE=rows.jsonl\n")
        return EXIT_UNUSABLE
    try:
        sys.stderr.write(_clean(options))
        sys.stderr.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return EXIT_BROKEN_PIPE
    except (UsageError, ConfigError) as exc:
        return _say(str(exc), EXIT_UNUSABLE)
    except UnreadableError as exc:
        return _say(str(exc), EXIT_FAILED)
    except OSError as exc:
        _forget_stdout()
        return _say(_reason(exc), EXIT_FAILED)
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.clean",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="NDJSON, or gzip of it in .gz; - or none: stdin")
    parser.add_argument("--config-dir", metavar="DIR", type=Path, default=_CONFIG, help="with detectors.toml (config/)")
    parser.add_argument(
        "--event", metavar="NAME", help="each line is a payload of this type of event, whose field policies hold"
    )
    parser.add_argument("--output", metavar="OUT", type=Path, help="write here, not to stdout (mode 0600; .gz: packed)")
    parser.add_argument("--in-place", action="store_true", help="put the result in FILE's place, once it is whole")
    parser.add_argument(
        "--findings",
        metavar="OUT",
        type=Path,
        help="write a JSON object a finding: line, pointer, detector, action, length; never the value",
    )
    return parser


def _clean(options: argparse.Namespace) -> str:
    """Clean, and return the report."""
    source = None if options.file in {None, "-"} else Path(options.file)
    if options.in_place and source is not None:
        # Through a symbolic link it is the file itself that is replaced.
        source = source.resolve()
    with ExitStack() as stack:
        lines = stack.enter_context(closing(_opened(source)))
        target = _target(options, source, lines)
        asides: list[AsideFile] = []
        if target is not None:
            asides.append(stack.enter_context(_aside(target, lines.stat if options.in_place else None)))
        if options.findings is not None:
            asides.append(stack.enter_context(_aside(_checked_findings(options.findings, target, lines))))
        stdout = stack.enter_context(open(_STDOUT, "wb", _BUFFER_BYTES, closefd=False))
        output = stdout if target is None else asides[0].stream
        findings = asides[-1].stream if options.findings is not None else None
        # It takes a second or two: what is wrong with the arguments is said before.
        cleaner = _cleaner(load(options.config_dir).rules, options.event)
        # Where the data itself runs over the terminal, a bar would be torn to pieces.
        has_bar = sys.stderr.isatty() and (target is not None or not os.isatty(_STDOUT))
        progress = stack.enter_context(closing(Progress(lines.size_bytes, sys.stderr, has_bar=has_bar)))
        started_s = time.perf_counter()
        tally = _run(_Run(lines, cleaner, output, findings, progress))
        stdout.flush()
        for aside in asides:
            aside.finish()
        if options.in_place and source is not None:
            _check_unchanged(source, lines)
        for aside in asides:
            aside.publish()
        elapsed_s = time.perf_counter() - started_s
    return as_text(tally, lines.read_bytes, elapsed_s)


def _cleaner(rules: Rules, event: str | None) -> Cleaner:
    def redact_one(value: Any) -> RedactedPayload:
        return redact(value, rules, event)

    return Cleaner(redact_one, has_policies=rules.policy(event) is not None)


def _run(run: _Run) -> Tally:
    tally = Tally()
    shown_bytes = 0
    for line in run.lines:
        cleaned = _one(line, run.cleaner, is_first=not tally.lines)
        tally.add(cleaned)
        run.output.write(cleaned.line)
        if cleaned.findings and run.findings is not None:
            run.findings.write(finding_rows(tally.lines, cleaned))
        if run.lines.read_bytes - shown_bytes >= _SHOW_EVERY_BYTES:
            shown_bytes = run.lines.read_bytes
            run.progress.show(run.lines.position_bytes)
    return tally


def _one(line: bytes | LongLine, cleaner: Cleaner, *, is_first: bool) -> Cleaned:
    if isinstance(line, LongLine):
        return withheld(line.size_bytes, line.end, TOO_LONG)
    if is_first and line.startswith(_BYTE_ORDER_MARK):
        # JSON does not have it, but what wrote the file does (RFC 8259, section 8.1).
        cleaned = cleaner.clean(line.removeprefix(_BYTE_ORDER_MARK))
        return cleaned._replace(line=_BYTE_ORDER_MARK + cleaned.line)
    return cleaner.clean(line)


def _opened(source: Path | None) -> Lines:
    try:
        return Lines(source)
    except OSError as exc:
        raise UsageError(f"cannot read {_reason(exc)}") from exc


def _aside(path: Path, like: os.stat_result | None = None) -> AsideFile:
    try:
        return AsideFile(path, like)
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc


def _target(options: argparse.Namespace, source: Path | None, lines: Lines) -> Path | None:
    """Where the output goes: a file that is no input, the input itself with --in-place, or None for stdout."""
    if not options.in_place:
        if options.output is None:
            if _is_same(os.fstat(_STDOUT), lines.stat):
                raise UsageError("the output is the input; use --in-place")
            return None
        return _checked_target(options.output, lines, "the output is the input; use --in-place")
    if source is None:
        raise UsageError("--in-place takes a FILE")
    if options.output is not None and options.output.resolve() != source:
        raise UsageError("--in-place writes onto FILE, --output to another; give one of the two")
    if not stat.S_ISREG(lines.stat.st_mode):
        raise UsageError(f"--in-place: {source} is not a file")
    if lines.stat.st_nlink > 1:
        raise UsageError(f"--in-place: {source} has another hard link, which would keep what was there")
    return source


def _checked_findings(findings: Path, target: Path | None, lines: Lines) -> Path:
    if target is not None and findings.resolve() == target.resolve():
        raise UsageError("--findings and the output are one file")
    return _checked_target(findings, lines, "--findings is the input")


def _checked_target(path: Path, lines: Lines, clash: str) -> Path:
    try:
        there = path.stat()
    except FileNotFoundError:
        return path
    if _is_same(there, lines.stat):
        raise UsageError(clash)
    if not stat.S_ISREG(there.st_mode):
        # Renaming onto a device or a pipe would take it away.
        raise UsageError(f"{path} is not a file")
    return path.resolve()


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return stat.S_ISREG(one.st_mode) and os.path.samestat(one, other)


def _check_unchanged(source: Path, lines: Lines) -> None:
    """What was appended meanwhile would be lost with the old file."""
    now, before = source.stat(), lines.stat
    if not os.path.samestat(now, before) or (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise UnreadableError(f"{source} has changed while it was read; it was left as it is")


def _reason(exc: OSError) -> str:
    reason = exc.strerror or type(exc).__name__
    return f"{exc.filename}: {reason}" if exc.filename else reason


def _say(message: str, code: int) -> int:
    sys.stderr.write(f"redact: {message}\n")
    return code


def _forget_stdout() -> None:
    """Let the last flush, at the end of Python, go nowhere: it would fail once more, with a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.close(nowhere)


def _terminated(_number: int, _frame: object) -> None:
    # An exception, so that what is unfinished is taken away.
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(main())
