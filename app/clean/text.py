"""Lines that are not JSON by the contract, searched so that what is not found keeps its bytes. Pure.

Most of what is in such a line is JSON all the same: a number is NaN, a key stands twice, a crash has cut the end off,
a logger has put a time before it. So names in quotes before a colon count as they do in JSON, and what is escaped in
quotes is read. All else is text.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from app.core.events import Finding, RedactedPayload

Redact = Callable[[Any], RedactedPayload]
"""`core.redaction.redact` with its rules."""

_MEMORY: Final = 4096
"""Names of which it is remembered whether they alone decide; callers' files must not make that grow."""

_PROBE: Final = "x"
"""A value that no detector finds: what replaces it goes by the name alone."""

# Possessive, and an open quote runs to the end: each character is looked at once, whatever the line.
_QUOTED: Final = r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
_SINGLE: Final = r"'(?:[^'\\]|\\.)*+(?:'|\\?\Z)"
# An apostrophe may be one; only before a colon it must have been a quote (Python's and JavaScript's way to print).
_STRING = re.compile(rf"{_QUOTED}|'[\w.-]{{1,64}}'(?=\s*:)", re.DOTALL)
_COLON = re.compile(r"\s*:\s*")
_MEMBER = re.compile(rf"(?:{_QUOTED}|{_SINGLE}|-?\d+)(?=\s*(?:[,}}\]]|\Z))", re.DOTALL)
_VALUE = re.compile(rf"{_QUOTED}|{_SINGLE}|[^\s,}}\]]+", re.DOTALL)
_BRACKET = re.compile(rf"{_QUOTED}|[{{\[}}\]]", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_INTEGER = re.compile(r"-?\d{1,18}")
_WORDS: Final = {"null": None, "true": True, "false": False, "None": None, "True": True, "False": False}

# Bytes that are no UTF-8, and NUL, are read as variation selectors, which redaction does not see: nothing that
# stands around one is hidden by it, and each is the same byte again afterwards.
_FIRST: Final = 0xE0100
_NUL: Final = chr(_FIRST + 0x80)
_UNSEEN = re.compile(f"[{chr(_FIRST)}-{_NUL}]")
_HIDE: Final = {0: _NUL, **{0xDC80 + byte: chr(_FIRST + byte) for byte in range(0x80)}}
_SHOW: Final = {ord(hidden): chr(code) for code, hidden in _HIDE.items()}


class UnsearchableError(Exception):
    """The line passes a bound of redaction, which has withheld what it was given."""


class _Part(NamedTuple):
    """Characters from `start` to `end` that have been judged, and what stands there afterwards."""

    start: int
    end: int
    text: str


class TextSearch:
    """Searches lines that are not JSON."""

    def __init__(self, redact: Redact) -> None:
        """`redact` takes any JSON value."""
        self._redact = redact
        self._known: dict[str, bool] = {}

    def clean(self, raw: bytes) -> tuple[bytes, list[Finding]]:
        """Return a line with what was found replaced, and the findings; their places say nothing.

        Bytes that are no UTF-8 are passed over, and then taken for Latin-1: one of the two is what they were meant
        to be. Every byte outside a finding is as it was.
        """
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            once, found = self._search(_hidden(raw), is_latin=False)
            again, more = self._search(_shown(once).decode("latin-1"), is_latin=True)
            return again.encode("latin-1"), found + more
        if "\0" in text:
            cleaned, found = self._search(_hidden(raw), is_latin=False)
            return _shown(cleaned), found
        cleaned, found = self._search(text, is_latin=False)
        return cleaned.encode(), found

    def _search(self, text: str, *, is_latin: bool) -> tuple[str, list[Finding]]:
        found: list[Finding] = []
        judged: list[_Part] = []
        between: list[str] = []
        position = 0
        for part in self._parts(text, found, is_latin=is_latin):
            between.append(text[position : part.start])
            judged.append(part)
            position = part.end
        between.append(text[position:])
        rest = self._redact(between)
        if not isinstance(rest.value, list):
            raise UnsearchableError
        found += rest.findings
        pieces = [piece for gap, part in zip(rest.value, judged, strict=False) for piece in (gap, part.text)]
        return "".join([*pieces, rest.value[-1]]), found

    def _parts(self, text: str, found: list[Finding], *, is_latin: bool) -> Iterator[_Part]:
        """What stands in quotes or under a name, judged as the value that it is."""
        position = 0
        while (string := _STRING.search(text, position)) is not None:
            position = string.end()
            if "\\" in string[0]:
                yield self._judged(text, string.span(), None, found, is_latin=is_latin)
            colon = _COLON.match(text, position)
            if colon is None:
                continue
            name = _inside(string[0])
            start = colon.end()
            value = _MEMBER.match(text, start)
            if self._decides(name):
                end = _value_end(text, start)
            elif value is not None:
                end = value.end()
            else:
                position = start
                continue
            yield self._judged(text, (start, end), name, found, is_latin=is_latin)
            position = end

    def _decides(self, name: str) -> bool:
        """Whether the name alone decides what becomes of its value."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _MEMORY:
                self._known.clear()
            known = self._known[name] = _PROBE not in self._redact({name: _PROBE}).value.values()
        return known

    def _judged(
        self, text: str, span: tuple[int, int], name: str | None, found: list[Finding], *, is_latin: bool
    ) -> _Part:
        start, end = span
        written = text[start:end]
        value = _value(written)
        if name is None:
            redacted = self._redact(value)
            becomes = redacted.value
        else:
            redacted = self._redact({name: value})
            if not isinstance(redacted.value, dict):
                raise UnsearchableError
            # Where the rule drops the member, the name stays: in text, nobody knows what belongs to it.
            becomes = next(iter(redacted.value.values()), "")
        if becomes == value:
            return _Part(start, end, written)
        found += redacted.findings
        if not isinstance(becomes, str):
            return _Part(start, end, json.dumps(becomes))
        return _Part(start, end, _quoted(becomes, written, is_latin=is_latin))


def _hidden(raw: bytes) -> str:
    """The line as text, and what is no text hidden in it."""
    text = raw.decode("utf-8", "surrogateescape")
    # A selector that stands there already is hidden byte by byte, so that it comes back as what it was.
    return _UNSEEN.sub(lambda own: own[0].encode().decode("ascii", "surrogateescape"), text).translate(_HIDE)


def _shown(text: str) -> bytes:
    return text.translate(_SHOW).encode("utf-8", "surrogateescape")


def _value_end(text: str, start: int) -> int:
    """Where the value ends: at its quote, its bracket, or before what no bare word holds; else with the line."""
    if text[start : start + 1] not in {"{", "["}:
        value = _VALUE.match(text, start)
        return start if value is None else value.end()
    depth = 0
    for token in _BRACKET.finditer(text, start):
        if token[0] in {"{", "["}:
            depth += 1
        elif token[0] in {"}", "]"}:
            depth -= 1
            if not depth:
                return token.end()
    return len(text)


def _value(written: str) -> Any:
    if written[:1] in {'"', "'"}:
        return _inside(written)
    if written in _WORDS:
        return _WORDS[written]
    return int(written) if _INTEGER.fullmatch(written) else written


def _inside(string: str) -> str:
    """What stands in quotes, its escapes read; halves of surrogate pairs are left out, which hide nothing."""
    bare = string[1:-1] if len(string) > 1 and string[-1] == string[0] and not _is_cut(string) else string[1:]
    if "\\" not in bare:
        return bare
    return _ESCAPE.sub(_unescaped, bare).encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


def _is_cut(string: str) -> bool:
    """Whether the last quote is an escaped one: the line has ended before the string did."""
    behind = string[1:-1]
    return (len(behind) - len(behind.rstrip("\\"))) % 2 == 1


def _unescaped(escape: re.Match[str]) -> str:
    four, two, sign = escape.groups()
    return _ESCAPED.get(sign, sign) if sign is not None else chr(int(four or two, 16))


def _quoted(text: str, written: str, *, is_latin: bool) -> str:
    """The text in the quotes of what it replaces; what had none gets JSON's; what was cut off stays open."""
    inside = json.dumps(text, ensure_ascii=is_latin)[1:-1]
    quote = written[:1]
    if quote not in {'"', "'"}:
        return f'"{inside}"'
    if quote == "'":
        inside = inside.replace('\\"', '"').replace("'", "\\'")
    is_open = len(written) == 1 or written[-1] != quote or _is_cut(written)
    return quote + inside + ("" if is_open else quote)
