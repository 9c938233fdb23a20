"""Presidio's pattern recognizers, in a process and a virtual environment of their own (.venv-bench).

It imports nothing of this project. A line on stdin is a JSON object, and each is answered by one:
{"case": name, "payloads": [...]} says what to search under this name, and is searched once;
{"case": name, "seconds": s} searches it again until so much CPU time has passed.
The first line out says who answers, or why nobody can: {"missing": reason}.
The analyzer's engine is left out, and with it spaCy's model: a recognizer's own `analyze` is all that is timed.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

RECOGNIZERS = ("CreditCard", "Email", "Iban", "Ip", "Phone", "UsSsn", "Crypto")
"""Those that look for what our detectors look for."""


def recognizers() -> list[Any]:
    """Return them; ImportError where Presidio is not installed."""
    import tldextract  # noqa: PLC0415
    from presidio_analyzer import predefined_recognizers  # noqa: PLC0415

    # The list of suffixes that comes with the package; by itself it would fetch a newer one.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    return [getattr(predefined_recognizers, f"{name}Recognizer")() for name in RECOGNIZERS]


def strings_of(value: Any) -> Iterator[str]:
    """Yield every string value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from strings_of(member)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)


def touches(payload: Any, all_of_them: list[Any]) -> bool:
    """Search every string with every recognizer; return whether any found something."""
    found = 0
    for text in strings_of(payload):
        for recognizer in all_of_them:
            found += len(recognizer.analyze(text, recognizer.supported_entities, None))
    return bool(found)


def main() -> int:
    """Answer until stdin ends; return the exit code."""
    try:
        all_of_them = recognizers()
    except ImportError as exc:
        _say({"missing": str(exc)})
        return 0
    _say({"version": version("presidio-analyzer"), "recognizers": RECOGNIZERS})
    cases: dict[str, list[Any]] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "payloads" in asked:
            payloads = cases[asked["case"]] = asked["payloads"]
            _say({"touched": sum(touches(payload, all_of_them) for payload in payloads)})
        else:
            _say(timed(cases[asked["case"]], all_of_them, asked["seconds"]))
    return 0


def timed(payloads: list[Any], all_of_them: list[Any], seconds: float) -> dict[str, float]:
    """Search all payloads, over and over, for so much CPU time; return how many, and the CPU time they took."""
    gc.collect()
    events, began_s = 0, time.process_time()
    while not events or time.process_time() - began_s < seconds:
        for payload in payloads:
            touches(payload, all_of_them)
        events += len(payloads)
    return {"events": events, "cpu_s": time.process_time() - began_s}


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201 - who started us reads it


if __name__ == "__main__":
    sys.exit(main())
