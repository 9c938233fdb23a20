"""Texts made to be slow: near-misses, runs and alternations, made from the table of detectors itself. Pure."""

from __future__ import annotations

import random
import re
import string
import tomllib
from typing import TYPE_CHECKING

import re2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

EXAMPLES = 4
"""How many of a row's own examples are made into inputs."""

DRAWN = 1024
"""Drawn signs come again after so many, so that a longer text has more of the same and nothing new."""

# A class in a pattern: [...], \d, \pL, \p{Lu}; and the letters between them.
_CLASS = re.compile(r"\[(?:\[:\^?\w+:\]|\\.|[^\]\\])+\]|\\[pP](?:\{\^?\w+\}|\w)|\\[dws]")
_LITERAL = re.compile(r"(?<![\\\w])[A-Za-z][A-Za-z0-9_:=-]+")
_GROUP = re.compile(r"\(\?[a-zA-Z-]*:?|\{[\d,]+\}|\\.")
_SIGNS = "aZ0 .-_@:/()+%,=\"'[]{}#&~\n\té日"

_UNITS = {
    "a.": "a.",
    "a@": "a@",
    "a@a.": "a@a.",
    "1 ": "1 ",
    "12 ": "12 ",
    "1-": "1-",
    "1.": "1.",
    "(1) ": "(1) ",
    "[[": "[",
    "((": "(",
    "([{": "([{",
    "+1 2 3 ": "+1 2 3 ",
    "+": "+",
    "0 1 2 3 ": "0 1 2 3 ",
    "::": ":",
    "a:": "a:",
    "1:": "1:",
    "1::": "1::",
    "0": "0",
    "a": "a",
    "A": "A",
    "a1": "a1",
    "-": "-",
    "_": "_",
    " ": " ",
    "é": "é",
    "日": "日",
    "near-miss of a card": "4111 1111 1111 1112 ",
    "near-miss of a card, bare": "4111111111111112 ",
    "near-miss of a phone": "+44 20 7946 095 ",
    "phone numbers": "07700 900 123 ",
    "phones without blanks": "+442079460958",
    "phones in brackets": "(212) 555-0123",
    "near-miss of IPv4": "1.2.3.256 ",
    "near-miss of IPv6": "1:2:3:4:5:6:7:",
    "context words": "phone ssn key ",
    "context words and digits": "phone 1 call 23 ",
    "password=": "password=",
    "http://a:b": "http://a:b",
    "eyJ": "eyJ",
    "backslashes": "\\",
    "cut escapes": "\\u00",
    "percent signs": "%25",
    "HTML references": "&amp;",
    "terminal colours": "\x1b[1m1",
    "passwords in an address": "password=hunter2&",
    "near-miss of pairs": "01 02 03 04 05 ",
}

_NUMBERS = (
    "N## N## #### ",
    "0##/##### ",
    "07### ### ### ",
    "0### ### #### ",
    "0# ## ## ## ## ",
    "#### #### #### #### ",
)
"""Forms of numbers that are drawn anew each time (N: 2 to 9), so that nothing is asked twice."""


def common(size_bytes: int) -> dict[str, str]:
    """Return the inputs that are tried with every detector, by what they are called."""
    chance = random.Random(1)
    drawn = {
        "drawn digits and blanks": "".join(chance.choices("0123456789 ", k=DRAWN)),
        "drawn digits and signs": "".join(chance.choices("0123456789 .-+()/:", k=DRAWN)),
        "drawn letters and digits": "".join(chance.choices(string.ascii_letters + string.digits, k=DRAWN)),
        "drawn ASCII": "".join(chance.choices(string.printable, k=DRAWN)),
    }
    made = {name: filled(unit, size_bytes) for name, unit in (_UNITS | drawn).items()}
    return made | {f"drawn {form!r}": _drawn_numbers(form, size_bytes, chance) for form in _NUMBERS}


def _drawn_numbers(form: str, size_bytes: int, chance: random.Random) -> str:
    digits = {"#": string.digits, "N": "23456789"}
    signs = form * (size_bytes // len(form))
    return "".join(chance.choice(digits[sign]) if sign in digits else sign for sign in signs)


def of_examples(examples: Sequence[str], size_bytes: int) -> dict[str, str]:
    """Return a row's own examples, and what they are with another last character, over and over."""
    made = {}
    for number, example in enumerate(examples[:EXAMPLES], 1):
        for name, unit in (("finds", example), ("near-misses of", near_miss(example)), ("cut", example[:-1])):
            made[f"{name} example {number}, glued"] = filled(unit, size_bytes)
            made[f"{name} example {number}, spaced"] = filled(unit + " ", size_bytes)
    if examples:
        made["all examples, spaced"] = filled(" ".join(examples) + " ", size_bytes)
    return made


def of_pattern(source: str, size_bytes: int) -> dict[str, str]:
    """Return runs of each class of characters in a pattern, alternations, and its letters with runs behind them."""
    signs = list(dict.fromkeys(sign for each in _CLASS.findall(source) for sign in _members(each)))
    made = {f"run of {sign!r}": filled(sign, size_bytes) for sign in signs}
    wordy = [sign for sign in signs if sign.isalnum()][:3]
    others = [sign for sign in signs if not sign.isalnum()]
    made |= {f"run of {word + sign!r}": filled(word + sign, size_bytes) for word in wordy for sign in others}
    if signs:
        made["all signs of it in turn"] = filled("".join(signs), size_bytes)
    letters = _letters(source)
    made |= {
        f"{prefix!r} and a run of {word!r}": prefix + filled(word, size_bytes - len(prefix))
        for prefix in letters
        for word in wordy
    }
    return made | of_letters(source, size_bytes)


def of_letters(source: str, size_bytes: int) -> dict[str, str]:
    """Return the letters that a pattern begins with over and over, with the signs that it takes between them.

    Each may begin a match that goes on to the end of the text.
    """
    signs = dict.fromkeys(sign for each in _CLASS.findall(source) for sign in _members(each) if not sign.isalnum())
    units = [prefix + sign for prefix in _letters(source) for sign in ("", " ", *signs)]
    return {f"run of {unit!r}": filled(unit, size_bytes) for unit in units}


def _letters(source: str) -> list[str]:
    return list(dict.fromkeys(_LITERAL.findall(_GROUP.sub(" ", _CLASS.sub(" ", source)))))[:EXAMPLES]


def examples_of(table: str) -> dict[tuple[str, str], list[str]]:
    """Return the `finds` of each row of the table of detectors, by (name, pattern)."""
    return {
        (row["name"], pattern): row.get("finds", [])
        for row in _rows(tomllib.loads(table))
        for pattern in row.get("patterns", [])
    }


def near_miss(example: str) -> str:
    """Return the example with another last character; of a digit, another digit, so that check digits fail."""
    last = example[-1:]
    return example[:-1] + (str((int(last) + 1) % 10) if last in set(string.digits) else "!")


def filled(unit: str, size_bytes: int) -> str:
    """Return a unit over and over, as often as it goes into so many bytes of UTF-8.

    Never a part of it: the first half of what is no finding may be one.
    """
    return unit * (size_bytes // len(unit.encode())) if unit else ""


def _rows(table: Mapping[str, object]) -> Iterator[dict[str, list[str] | str]]:
    rows = table.get("detector", [])
    yield from rows if isinstance(rows, list) else []


def _members(char_class: str) -> Iterator[str]:
    """Some characters that a class of RE2 takes: two letters or digits of each kind, and all signs of a short list."""
    try:
        compiled = re2.compile(char_class)
    except re2.error:
        return
    yield from (sign for sign in _SIGNS if compiled.fullmatch(sign))
