"""The command line of the replay: arguments in, report and exit code out; nothing is sent from here."""

import argparse
import os
import secrets
import string
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing

from app.replay.client import Client, Target, UnreachableError, parse_target
from app.replay.event import Run
from app.replay.player import PASSES, Player
from app.replay.progress import Progress
from app.replay.report import Report, as_json, as_text, summarise
from app.replay.rows import Fields, Reading, read_files

API_KEY_VARIABLE = "TELEMETRY_CACHE_API_KEY"
# 26^16 runs: never the same twice.
RUN_ID_LETTERS = 16

EXIT_OK = 0
EXIT_NOT_OK = 1
EXIT_UNUSABLE = 2
# 128 and the number of SIGINT, as shells have it.
EXIT_INTERRUPTED = 130

EPILOG = """\
Three passes: look up and log each row (one half by POST /log, the other by POST /log/batch), store each
answer, then look up each row again; it must be found byte for byte. No prompt, answer or other value is
ever printed.
Exit code: 0 all rows logged and found again, 1 not all, 2 usage error or no service.
"""


class UsageError(Exception):
    """The command line cannot be followed; the message is the one line that says why."""


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Play the files that `argv` names, print the report on stdout, and give the exit code."""
    options = _parser().parse_args(argv)
    try:
        reading = _read(options)
        report = _play(options.url, _api_key(options.api_key, environ), reading, options)
    except (UsageError, UnreachableError) as exc:
        sys.stderr.write(f"replay: {exc}\n")
        return EXIT_UNUSABLE
    except KeyboardInterrupt:
        sys.stderr.write("replay: interrupted\n")
        return EXIT_INTERRUPTED
    sys.stdout.write((as_json if options.json else as_text)(report) + "\n")
    return EXIT_OK if report.is_ok else EXIT_NOT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.replay",
        description="Play JSONL files of prompts and answers through a running service.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="JSONL: an object with prompt and answer a line")
    parser.add_argument(
        "--url", type=_target, default="http://127.0.0.1:8114", help="the service (default: %(default)s)"
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"sent as Authorization: Bearer; better in {API_KEY_VARIABLE}: arguments show in ps",
    )
    parser.add_argument("--clients", type=_count(256), default=8, help="threads, each with one connection (8)")
    parser.add_argument("--batch-size", type=_count(1000), default=50, help="events in a batch, at most (50)")
    parser.add_argument("--prompt-field", metavar="NAME", help="where the prompt stands, if not recognised")
    parser.add_argument("--answer-field", metavar="NAME", help="where the answer stands, if not recognised")
    parser.add_argument("--fresh", action="store_true", help="use cache keys that no other run has")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    return parser


def _target(url: str) -> Target:
    try:
        return parse_target(url)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _count(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"takes a number from 1 to {most}")
        return int(text)

    return parse


def _read(options: argparse.Namespace) -> Reading:
    try:
        reading = read_files(options.files, Fields(options.prompt_field, options.answer_field))
    except OSError as exc:
        raise UsageError(f"cannot read {exc.filename}: {exc.strerror}") from exc
    if not reading.rows and not reading.bad:
        raise UsageError("no rows in the files given")
    return reading


def _api_key(option: str | None, environ: Mapping[str, str]) -> str | None:
    api_key = option or environ.get(API_KEY_VARIABLE) or None
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise UsageError(f"--api-key or {API_KEY_VARIABLE} takes printable ASCII without spaces")
    return api_key


def _play(target: Target, api_key: str | None, reading: Reading, options: argparse.Namespace) -> Report:
    stop = threading.Event()
    run = Run(_new_run_id(), fresh=options.fresh)
    with ExitStack() as stack:
        with closing(Client(target, api_key, stop)) as client:
            client.probe()
        clients = [stack.enter_context(closing(Client(target, api_key, stop))) for _ in range(options.clients)]
        progress = stack.enter_context(closing(Progress(PASSES * len(reading.rows), sys.stderr)))
        started_s = time.perf_counter()
        played = Player(run, options.batch_size, clients, progress, stop).play(reading.rows)
        elapsed_s = time.perf_counter() - started_s
    return summarise(reading, played, [client.meter for client in clients], elapsed_s)


def _new_run_id() -> str:
    # Letters alone: a detector of numbers may take digits in `args.replay_run` for a phone or a card.
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(RUN_ID_LETTERS))


if __name__ == "__main__":
    sys.exit(main())
