"""The worst inputs of each detector, in milliseconds: its own pattern alone, and `redact()` with the whole table."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.core.redaction import redact
from tests.bench import worst_inputs
from tests.bench.figures import Figure
from tests.bench.redact_rows import TABLE, shipped_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from app.core.patterns import Pattern

SIZE_BYTES = 16 * 1024
TIMES, FINALISTS = 5, 3
ALL = "(inputs of no row)"
MATCH_MS, REDACT_MS = 2.0, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """One pattern of the table, and the inputs that it, and all of the table, took longest for."""

    detector: str
    """Its name, and which pattern of that name."""
    inputs: int
    match_input: str
    match_ms: Figure | None
    """None of the inputs that are no pattern's own."""
    redact_input: str
    redact_ms: Figure

    def __str__(self) -> str:
        """One line of progress."""
        matching = f"matching {self.match_ms.median:7.3f} ms ({self.match_input})  " if self.match_ms else ""
        return (
            f"worst  {self.detector:24} {self.inputs:3} inputs  {matching}"
            f"redact() {self.redact_ms.median:7.2f} ms ({self.redact_input})"
        )


def measure(size_bytes: int = SIZE_BYTES) -> Iterator[Worst]:
    """Try all inputs once for each pattern, and the slowest few of them five times more."""
    rules = shipped_rules()
    examples = worst_inputs.examples_of(TABLE.read_text(encoding="utf-8"))
    common = worst_inputs.common(size_bytes)
    numbers: Counter[str] = Counter()

    redacted_ms: dict[str, float] = {}

    def whole(text: str) -> None:
        redact({"text": text}, rules)

    dearest_of_common = slowest_of(whole, common, redacted_ms)
    for detector in rules.detectors:
        pattern = detector.pattern
        numbers[detector.name] += 1
        own = worst_inputs.of_examples(examples.get((detector.name, pattern.pattern), []), size_bytes)
        own |= worst_inputs.of_pattern(pattern.pattern, size_bytes)

        def match(text: str, pattern: Pattern = pattern) -> None:
            data, position, search = text.encode(), 0, pattern.search  # what is made here is its own folded form
            while (found := search(data, position)) is not None:
                position = found[0][1]

        match_input, match_ms = slowest_of(match, common | own, {})
        redact_input, redact_ms = slowest_of(whole, own, redacted_ms) if own else dearest_of_common
        yield Worst(
            detector=f"{detector.name} {numbers[detector.name]}",
            inputs=len(common | own),
            match_input=match_input,
            match_ms=match_ms,
            redact_input=redact_input,
            redact_ms=redact_ms,
        )
    name, figure = dearest_of_common
    yield Worst(detector=ALL, inputs=len(common), match_input="", match_ms=None, redact_input=name, redact_ms=figure)


def slowest_of(run: Callable[[str], None], inputs: Mapping[str, str], once_ms: dict[str, float]) -> tuple[str, Figure]:
    """Run each input once and the slowest few some more; return the name of the slowest, and its milliseconds.

    `once_ms` remembers texts: many patterns share runs of digits.
    """
    for text in inputs.values():
        if text not in once_ms:
            once_ms[text] = _ms(run, text)
    few = sorted(inputs, key=lambda name: once_ms[inputs[name]])[-FINALISTS:]
    figures = {name: Figure.of(_ms(run, inputs[name]) for _ in range(TIMES)) for name in few}
    name = max(figures, key=lambda one: figures[one].median)
    return name, figures[name]


def _ms(run: Callable[[str], None], text: str) -> float:
    began_s = time.process_time()
    run(text)
    return (time.process_time() - began_s) * 1000
