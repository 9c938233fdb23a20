"""The spool by itself, without HTTP: greenlets append for some seconds, then what stands in the files is counted.

Run as `python -m gevent.monkey --module tests.bench.spool_child …` in a folder that nobody else uses; one line of
JSON comes out. `--side floor` is what the spool is measured beside: one caller, a write and an fdatasync an event.

`open_spool` and `count_in_files` alone know the spool.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from array import array
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from tests.bench import texts
from tests.bench.figures import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VARIANTS = 64
MS_PER_S = 1000.0
NOT_THERE = "the spool on disk is not there"


class NotThereError(Exception):
    """The code has no spool on disk."""


def open_spool(folder: Path, event_bytes: int, *, sync: bool) -> Callable[[int], None]:
    """Return what appends an event (a line of so many bytes) to a spool of its own under `folder`, by its number.

    It returns when the event is as durable as asked for. All is put together as the service does it.
    """
    try:
        from app.adapters.file_spool import FileSpool  # noqa: PLC0415
        from app.core.batching import BatchLimits  # noqa: PLC0415
        from app.core.events import Redacted  # noqa: PLC0415
        from app.runtime.grouped import Grouped  # noqa: PLC0415
        from app.runtime.one_thread import OneThread  # noqa: PLC0415
    except ImportError as exc:
        raise NotThereError from exc
    spool = FileSpool(
        folder,
        max_bytes=1 << 40,
        max_streams=500,
        sync=sync,
        limits=BatchLimits(max_bytes=1 << 20, max_events=5000, max_age_s=1.0),
        telemetry=_Silent(),
        group=Grouped,
        commit=OneThread(),
        offload=OneThread(),
        on_open=lambda _: None,
    )
    spool.open()
    labels = (("service_name", "pipelines-gateway"), ("event", "response_generation"), ("worker", "0"))
    lines = [texts.compact(texts.event(event_bytes, seed)) for seed in range(VARIANTS)]

    def append(number: int) -> None:
        metadata = b'{"event_id":"evt_%032x"}' % number
        entry = Redacted(labels, time.time_ns(), lines[number % VARIANTS], metadata)
        spool.append([entry], time.monotonic())

    return append


def count_in_files(folder: Path) -> int:
    """Return how many whole frames the spool's files hold."""
    from app.core import frames  # noqa: PLC0415

    contents = (path.read_bytes() for path in folder.glob("*/*.seg"))
    return sum(isinstance(found, frames.Frame) for data in contents for found in frames.scan(data, frames.HEADER_BYTES))


class _Silent:
    """Counts nothing: what the spool tells of itself costs next to nothing here."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return self._pass

    def _pass(self, *_: Any, **__: Any) -> None:
        return None


def open_floor(folder: Path, event_bytes: int) -> Callable[[int], None]:
    """Return what writes an event of so many bytes to one file, and syncs it, each by itself."""
    folder.mkdir(exist_ok=True)
    fd = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    lines = [texts.compact(texts.event(event_bytes - 1, seed)) + b"\n" for seed in range(VARIANTS)]

    def append(number: int) -> None:
        os.write(fd, lines[number % VARIANTS])
        os.fdatasync(fd)

    return append


def run(append: Callable[[int], None], *, callers: int, seconds: float) -> dict[str, float]:
    """Append from so many greenlets for so long; return events, seconds and the quantiles of an append's time."""
    took_s = array("d")
    numbers = count()
    began_s = time.monotonic()
    end_s = began_s + seconds

    def call() -> None:
        now_s = time.monotonic()
        while now_s < end_s:
            append(next(numbers))
            then_s, now_s = now_s, time.monotonic()
            took_s.append(now_s - then_s)

    for greenlet in gevent.joinall([gevent.spawn(call) for _ in range(callers)]):
        greenlet.get()
    return {
        "events": len(took_s),
        "duration_s": time.monotonic() - began_s,
        "p50_ms": percentile(took_s, 0.5) * MS_PER_S,
        "p99_ms": percentile(took_s, 0.99) * MS_PER_S,
    }


def main(arguments: Sequence[str]) -> int:
    """Measure one side; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.spool_child", description=__doc__)
    add = parser.add_argument
    add("--side", choices=("floor", "group", "off"), required=True)
    add("--folder", type=Path, required=True)
    add("--event-bytes", type=int, required=True)
    add("--callers", type=int, required=True)
    add("--seconds", type=float, required=True)
    asked = parser.parse_args(arguments)
    if asked.side == "floor":
        figures = run(open_floor(asked.folder, asked.event_bytes), callers=1, seconds=asked.seconds)
        found = sum(path.read_bytes().count(b"\n") for path in asked.folder.iterdir())
    else:
        try:
            append = open_spool(asked.folder, asked.event_bytes, sync=asked.side == "group")
        except NotThereError:
            _say({"missing": NOT_THERE})
            return 0
        figures = run(append, callers=asked.callers, seconds=asked.seconds)
        found = count_in_files(asked.folder)
    _say({**figures, "found": found})
    return 0


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201 - who started us reads it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
