"""Seeded choice: digits, letters, and the small slips of a person's hand."""

from __future__ import annotations

import random
import string
from typing import TypeVar

T = TypeVar("T")
NBSP, EN_DASH, NARROW, HYPHEN = "\u00a0", "\u2013", "\u202f", "\u2010"
ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
FULL_WIDTH = str.maketrans("0123456789", "".join(chr(0xFF10 + i) for i in range(10)))


class Chance(random.Random):
    """A `random.Random` with the handful of draws that the corpus is made of."""

    def some(self, alphabet: str, count: int) -> str:
        """Return `count` characters of an alphabet."""
        return "".join(self.choices(alphabet, k=count))

    def digits(self, count: int) -> str:
        """Return `count` decimal digits."""
        return self.some(string.digits, count)

    def hexed(self, count: int) -> str:
        """Return `count` lower-case hexadecimal digits."""
        return self.some(HEX, count)

    def maybe(self, share: float) -> bool:
        """Return True in this share of cases."""
        return self.random() < share

    def weighed(self, weights: dict[T, float]) -> T:
        """Return a key, as often as its weight says."""
        return self.choices(list(weights), list(weights.values()))[0]

    def filled(self, shape: str) -> str:
        """Return a shape with `#` as any digit, `@` as 2 to 9, `^` as a hexadecimal digit, `?` as a capital."""
        made = []
        for char in shape:
            match char:
                case "#":
                    made.append(self.choice(string.digits))
                case "@":
                    made.append(self.choice("23456789"))
                case "^":
                    made.append(self.choice(HEX))
                case "?":
                    made.append(self.choice(string.ascii_uppercase))
                case _:
                    made.append(char)
        return "".join(made)

    def mixed(self, count: int) -> str:
        """Return random letters and digits with at least three digits and both cases, as key generators give."""
        while True:
            made = self.some(ALNUM, count)
            if sum(map(str.isdigit, made)) >= 3 and made.lower() != made and made.upper() != made:
                return made


def grouped(text: str, sizes: tuple[int, ...], separator: str) -> str:
    """Return the text in groups of these sizes; the last size repeats."""
    groups: list[str] = []
    at = number = 0
    while at < len(text):
        size = sizes[min(number, len(sizes) - 1)]
        groups.append(text[at : at + size])
        at += size
        number += 1
    return separator.join(groups)


def full_width(text: str) -> str:
    """Return the text with the digits that East Asian keyboards give."""
    return text.translate(FULL_WIDTH)
