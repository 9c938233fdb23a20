"""What holds of redaction whatever it is given: no planted value survives, the rest stays, and it never raises.

REDACTION_EXAMPLES values are drawn in all, 20,000 where nothing is said (about a minute); `make canaries` draws
1,000,000. Where CI=true they are the same in every run; elsewhere each run draws its own, and a failure names the seed
by which `Chance` draws it again.
"""

from __future__ import annotations

import os
import re
import string
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.core.redaction import FAILED, redact
from tests.canaries import plant
from tests.corpus.chance import Chance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.core.events import RedactedPayload
    from app.core.rules import Rules

    Scan = Callable[[Any], RedactedPayload]

EXAMPLES: Final = int(os.environ.get("REDACTION_EXAMPLES", "20000"))
ESCAPE: Final = re.compile(r"\\+(?:u[0-9a-f]{4}|.)")
FEWEST_SIGNS: Final = 4  # a blank, as JSON escapes it, may as well stand beside another value
BLOCK: Final = 20  # values drawn from one seed of Hypothesis's, whose own work costs as much as one of ours

pytestmark = pytest.mark.timeout(120 + EXAMPLES // 200)


def _drawn(share: float) -> settings:
    return settings(
        max_examples=max(1, round(EXAMPLES * share / BLOCK)),
        derandomize=os.environ.get("CI", "").lower() == "true",
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a smaller seed is no simpler value
        suppress_health_check=list(HealthCheck),
    )


seeds = st.integers(0, 2**64 - 1)


def _chances(seed: int) -> Iterator[tuple[str, Chance]]:
    for number in range(BLOCK):
        name = f"{seed}/{number}"
        yield name, Chance(name)


@pytest.fixture(scope="module")
def scan(rules: Rules) -> Scan:
    """Redact by the shipped rules; what fails shows the value and not the rules."""
    return lambda value: redact(value, rules)


# Values of any kind


PIECES: Final = (
    "bob@x.org", "+44 20 7946 0958", "555-867-5309", "4111 1111 1111 1111", "5500000000000004", "123-45-6789",
    "192.168.1.77", "2001:db8::8a2e:370:7334", "sk-1234567890abcdef", "9fQ2mX7Lp0ZsV4tB8nRk3JwY6HcD1aGe", "user4711",
    "sess4711", "1", "22", "-", ".", ":", "/", "phone", "ssn", "version", "v", "@", "x.org", "password=", "Bearer ",
    "[REDACTED_EMAIL]", "[REDACTED]", "[USER_ID:k1:0123456789abcdef0123456789abcdef]", "[", "]", " ", " ", ", ", "\n",
    "plum", "for", "ﬁ", "\u200b", "\uff14", "\u0664",
)  # fmt: skip
NAMES: Final = (
    "a", "note", "user_id", "billingEmail", "trace_id", "version", "sha256", "timestamp", "event_id", "", "~", "a/b",
    "0", "bob@x.org", "4111 1111 1111 1111", "to ann@x.org", "ann@x.org", "[REDACTED_EMAIL]", "naïve \u200b", "\ud83d",
    "PASSWORD",
)  # fmt: skip
SIGNS: Final = (
    string.printable + "\x00\x7f\x85\u00a0\u0301\u200b\u202e\u2028\u3000\u3002\ufdfa\ufeff\uff20😀𝟓é\ud83d\udfff"
)
ATOMS: Final = (
    None, True, False, 0, -1, 7, 1.5, -0.0, 1e300, 4111111111111111, 378282246310005, 1756895400000000000, 10**30,
    10**400, -4111111111111111, 4111111111111111.0, float("inf"), float("nan"), "", "Hello world",
    "2025-09-03T10:30:00Z",
)  # fmt: skip


def _text(chance: Chance) -> str:
    if chance.maybe(0.5):
        return "".join(chance.choices(PIECES, k=chance.randint(0, 7)))
    return chance.some(SIGNS if chance.maybe(0.3) else string.printable, chance.randint(0, 24))


def _value(chance: Chance, room: int = 3) -> Any:
    way = chance.random()
    if way < 0.3 and room:
        return [_value(chance, room - 1) for _ in range(chance.randint(0, 4))]
    if way < 0.65 and room:
        names = [chance.choice(NAMES) if chance.maybe(0.7) else _text(chance) for _ in range(chance.randint(0, 4))]
        return {name: _value(chance, room - 1) for name in names}
    return chance.choice(ATOMS) if way < 0.8 else _text(chance)


def _any_value(chance: Chance) -> Any:
    """A JSON value, with or without what is personal, at times one that nests deeper than any reader takes."""
    value = plant(chance).value if chance.maybe(0.2) else _value(chance)
    if chance.maybe(0.03):
        for _ in range(chance.choice((60, 70, 2000))):
            value = [value] if chance.maybe(0.5) else {"a": value}
    return value


# What is planted


@_drawn(0.5)
@given(seeds)
def test_no_planted_value_survives(scan: Scan, seed: int) -> None:
    """Of what is personal not even a part is left, wherever it stands and whatever is beside it."""
    for name, chance in _chances(seed):
        planted = plant(chance)
        result = scan(planted.value)
        assert FAILED not in [found.detector for found in result.findings], f"plant(Chance({name!r}))"
        left = orjson.dumps(result.value).decode()
        for canary in planted.canaries:
            part = canary.piece(chance, chance.randint(6, 12))
            if len(ESCAPE.sub("", part)) < FEWEST_SIGNS:
                continue
            piece = orjson.dumps(part).decode()[1:-1]
            assert piece not in left, f"plant(Chance({name!r})): {piece!r} of {canary.kind} {canary.text!r} in {left}"


# What was missed when it was found: (text, a part that must be gone)
KNOWN: Final = (
    ("my SSN is 667 60 2751 7 times", "2751"),
    ("SSN 587 20 6040 12/26", "6040"),
    ("card 6759 8342 5163 0734 70 12/26", "8342 5163"),
    ("password=lNe1TVtlC1of6j&password: cZb9m7OM0anmul", "Zb9m7OM0"),
    ("bearer UEROvZjnwyimkx-AFlifLNJYFShVBqegy.XJhIVzOwlmnrSRPAbolxKATJLA", "JYFShVB"),
    # names of files and variables, whose parts are joined by _
    ("report_DE89370400440532013000.pdf", "0440532013"),
    ("scan of SSN 786-39-3121_2.pdf", "3121"),
    ("backup AKIA" + "GQEHTHLQ5VST656V_old", "HTHLQ5VST"),
    ("token_eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MjEyMjQ5MjY2In0.PHaPE0BHcHbUZFJsh5nt-dfd0X_vbZwCP", "5nt-dfd0X"),
    ("header_Basic c3ZjLXJlcG9ydDpodW50ZXJANzQ=", "XJlcG9y"),
    ("export_user4711.csv", "user4711"),
    ("user4711_export.csv", "user4711"),
    ("trace_sess4711_2.har", "sess4711"),
)


@pytest.mark.parametrize(("text", "part"), KNOWN)
def test_what_was_missed_once_is_found(scan: Scan, text: str, part: str) -> None:
    """Each is a value that a reader sees at once."""
    assert part not in scan({"note": text}).value["note"]


# What is left


@_drawn(0.25)
@given(seeds)
def test_a_second_run_changes_nothing(scan: Scan, seed: int) -> None:
    """What is left holds nothing that is found once its neighbours are gone."""
    for name, chance in _chances(seed):
        once = scan(_any_value(chance)).value
        again = scan(once)
        assert again.findings == (), f"_any_value(Chance({name!r}))"
        assert again.value is once, f"_any_value(Chance({name!r}))"


@_drawn(0.25)
@given(seeds)
def test_what_changes_is_what_is_reported(scan: Scan, seed: int) -> None:
    """Names, lengths, order, numbers and texts stay to the byte, but where a finding points; it points nowhere else."""
    for name, chance in _chances(seed):
        value = _any_value(chance)
        result = scan(value)
        reported = {found.pointer for found in result.findings}
        if "" in reported and any(found.detector == FAILED for found in result.findings):
            continue  # past a bound the value is withheld whole
        assert set(_changed(value, result.value)) == reported, f"_any_value(Chance({name!r})): {value!r}"


def _changed(before: Any, after: Any, pointer: str = "") -> Iterator[str]:
    """Yield where a value or its name differs, by pointers into `after`; AssertionError where the shape does."""
    if isinstance(before, dict) and isinstance(after, dict):
        assert len(after) == len(before)
        for (old, one), (new, other) in zip(before.items(), after.items(), strict=True):
            below = f"{pointer}/{new.replace('~', '~0').replace('/', '~1')}"
            # Of names that redact alike the later ones are numbered; that alone is no finding.
            if old != new and not re.fullmatch(re.escape(old) + r"#\d+", new):
                yield below
            yield from _changed(one, other, below)
    elif isinstance(before, list) and isinstance(after, list):
        assert len(after) == len(before)
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _changed(one, other, f"{pointer}/{index}")
    elif before is not after:
        assert isinstance(after, str)
        yield pointer
