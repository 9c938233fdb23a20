"""The words that announce a value, and where what they announce ends. Bytes of folded text."""

import re
from bisect import bisect_left, bisect_right
from typing import Final

from app.core.columns import Columns
from app.core.patterns import Pattern

CONTEXT_BYTES: Final = 48
"""How far before a match its context words may stand: "within a few words" (redaction.md)."""

CONTEXT_BEHIND_BYTES: Final = 24
"""How far behind it: "0151 496 0123 is my number"."""

# Right before a value this says that the value is what was announced: "SSN on the 1099 is 271348515".
_SAYS_SO: Final = re.compile(rb"(?i)\b(?:is|was|are) ?\Z")

_NOT_DIGITS: Final = re.compile(rb"[^0-9]+")
_DIGIT: Final = re.compile(rb"[0-9]")
_HIGH_BITS, _GOES_ON = 0xC0, 0x80
"""What tells the later bytes of a sign in UTF-8."""

# A sentence or paragraph ends; one dot may be an abbreviation's ("Tel. ").
_SENTENCE_END: Final = (
    r"(?:[a-z)\]]{2}|\d)(?<!\bno)(?<!\bnr)(?<!\bnum)(?<!\btel)(?<!\bmob)(?<!\bkom)(?<!\bsoc)(?<!\bsec)[.!?;]\s|\n\s*\n"
)
# What is counted ("mobile users: 778862"), and numbers that are not somebody's ("mi número de pedido es 778862").
_COUNTED: Final = (
    r"\b(?:users?|sold|sent|traffic|app|version|job|count|sample|visits|models?|order|pedido|commande|bestellung|"
    r"auftrag|ordine|encomenda)\b|_(?:counts?|total|ids?)\b|销量"
)
# A word that is a part of a name in code announces what is assigned to the name, or stands right behind it.
_IN_NAME: Final = re.compile(rb"(?i)_|/[^\s]|::|\.(?!(?:nr|no|num|nummer|number)\b)[a-z_]")
_NAMED_VALUE: Final = re.compile(
    rb"(?i)[a-z0-9_./-]*[\x22\x27\])]{0,2}\s{0,3}(?:[:=|,]|=>)[\s\x22\x27(+:]{0,4}|[a-z0-9_-]*[ \t][\x22\x27(+]{0,2}"
)
_BREAK: Final = re.compile(f"(?i){_SENTENCE_END}|{_COUNTED}".encode())
"""Where what a word announces ends."""

_FEW_DIGITS: Final = 6
"""With fewer between a word and a number, the word announces those: "mobile traffic: 82 % of 2324821"."""

# What stands in a value's place: `[REDACTED_PHONE]` announces no telephone number.
_MARKS: Final = re.compile(rb"\[(?:REDACTED[A-Z0-9_]{0,40}|[A-Z][A-Z0-9_]{0,31}:[a-z0-9_-]{1,16}:[0-9a-f]{4,32})\]")


class Words:
    """Where the words of a context stand in a text, in order; of two side by side the second may be missing.

    What redaction left in the text announces nothing.
    """

    __slots__ = ("_columns", "_data", "_ends", "_starts")

    def __init__(self, context: Pattern, data: bytes, columns: Columns) -> None:
        searched = _MARKS.sub(_blanked, data) if b"[" in data else data
        spans = [*context.all_in(searched)]
        self._data = searched
        self._columns = columns
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]

    def announce(self, start: int, end: int) -> bool:
        """Whether one of them announces what stands at a span: in the same sentence, right behind, or as a heading."""
        return self._is_near(start, end) or self._is_heading(start, end)

    def _is_near(self, start: int, end: int) -> bool:
        # A word's match has the sign before and behind it too.
        data, starts, ends = self._data, self._starts, self._ends
        last = bisect_right(ends, start + 1) - 1
        if last >= 0 and starts[last] >= start - CONTEXT_BYTES - 1:
            word_end = _sign_start(data, min(ends[last], start))
            if self._is_in_name(last) and _NAMED_VALUE.fullmatch(data, word_end, start) is None:
                return False
            if _BREAK.search(data, word_end, start) is None:
                between = data[word_end:start]
                digits = len(_NOT_DIGITS.sub(b"", between))
                return not 0 < digits < _FEW_DIGITS or _SAYS_SO.search(between) is not None
        after = bisect_left(starts, end - 1)
        if after == len(starts) or ends[after] > end + CONTEXT_BEHIND_BYTES + 1:
            return False
        if self._is_in_name(after) or _DIGIT.search(data, end, starts[after] + 1) is not None:
            return False
        return _BREAK.search(data, end - 1, starts[after] + 1) is None

    def _is_in_name(self, place: int) -> bool:
        """Whether a word is a part of a name of code or a file: `phone.py`, `max_phone_calls`, `com.acme.phone`."""
        data, start = self._data, self._starts[place]
        before = data[start : start + 1]
        if before in (b"_", b"/") or (before == b"." and data[max(0, start - 1) : start].isalnum()):
            return True
        return _IN_NAME.match(data, _sign_start(data, self._ends[place])) is not None

    def _is_heading(self, start: int, end: int) -> bool:
        heading = self._columns.heading_of(start, end) if self._starts else None
        if heading is None:
            return False
        first = bisect_left(self._starts, heading[0] - 1)
        is_named = first < len(self._ends) and self._ends[first] <= heading[1] + 1
        return is_named and _BREAK.search(self._data, *heading) is None


def _blanked(mark: re.Match[bytes]) -> bytes:
    return b"[" + b" " * (len(mark[0]) - 1)


def _sign_start(data: bytes, end: int) -> int:
    """Where the sign begins that ends there; one that is not of ASCII has several bytes."""
    start = end - 1
    while start > 0 and data[start] & _HIGH_BITS == _GOES_ON:
        start -= 1
    return start
