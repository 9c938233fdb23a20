"""What is said about a cleaning: counts for a person, and one row a finding. Pure; no value is in either."""

from collections import Counter
from collections.abc import Iterator

import orjson

from app.clean.cleaner import Cleaned, Kind

_MB = 1e6


class Tally:
    """Counts what became of the lines."""

    def __init__(self) -> None:
        self.lines = 0
        self.touched = 0
        self.kinds: Counter[Kind] = Counter()
        self.detectors: Counter[str] = Counter()

    def add(self, cleaned: Cleaned) -> None:
        """Count one line."""
        self.lines += 1
        self.kinds[cleaned.kind] += 1
        if cleaned.findings:
            self.touched += 1
            self.detectors.update([found.detector for found in cleaned.findings])


def finding_rows(number: int, cleaned: Cleaned) -> bytes:
    """Return the findings of a line, each as a JSON object on a line of its own; lines are counted from 1."""
    return b"".join(orjson.dumps({"line": number, **found._asdict()}) + b"\n" for found in cleaned.findings)


def as_text(tally: Tally, read_bytes: int, elapsed_s: float) -> str:
    """Return the report for a person: a table of counts, and the speed in megabytes (10^6 bytes) a second."""
    return "\n".join([*_rows(tally), _speed(read_bytes, elapsed_s), ""])


def _rows(tally: Tally) -> Iterator[str]:
    yield _row("lines", tally.lines)
    yield _row("touched", tally.touched)
    yield _row("not JSON", tally.kinds[Kind.TEXT])
    yield _row("withheld", tally.kinds[Kind.WITHHELD])
    yield _row("findings", tally.detectors.total())
    for detector, count in sorted(tally.detectors.items(), key=lambda item: (-item[1], item[0])):
        yield _row(f"  {detector}", count)


def _row(title: str, count: int) -> str:
    return f"{title:<24}{count:>14,}"


def _speed(read_bytes: int, elapsed_s: float) -> str:
    mb = read_bytes / _MB
    rate = f", {mb / elapsed_s:.1f} MB/s" if elapsed_s > 0 else ""
    return f"{'read':<24}{mb:>11,.1f} MB in {elapsed_s:.1f} s{rate}"
