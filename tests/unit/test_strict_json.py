"""Strict JSON: both readers give one answer, and what two readers could understand differently is refused."""

from __future__ import annotations

import json
import math
import random
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import strict_json
from app.core.strict_json import MAX_DEPTH, Fault, JsonFault, parse

if TYPE_CHECKING:
    from collections.abc import Callable


def kind_of(raw: bytes | str) -> str | None:
    """The kind of a document's fault, or None."""
    try:
        parse(raw.encode() if isinstance(raw, str) else raw)
    except JsonFault as exc:
        return exc.fault.kind
    return None


# One value, however it is written


scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.text(max_size=12) | st.sampled_from(
    [":", '":"', "{", "[[", "\\u003a", "a:b:c", '\\"', "\u2028", "\U0001f600"]
)
values = st.recursive(
    scalars | texts,
    lambda below: st.lists(below, max_size=5) | st.dictionaries(texts, below, max_size=5),
    max_leaves=20,
)


def written(value: Any, pick: random.Random) -> str:
    """One of the many ways to write a value: any white space, any escapes."""

    def space() -> str:
        return "".join(pick.choices(" \t\r\n", k=pick.choice((0, 0, 1, 3))))

    def text(plain: str) -> str:
        return '"' + "".join(pick.choice(_spellings(sign)) for sign in plain) + '"'

    if isinstance(value, str):
        body = text(value)
    elif isinstance(value, dict):
        members = (f"{space()}{text(name)}{space()}:{written(member, pick)}" for name, member in value.items())
        body = "{" + (",".join(members) or space()) + "}"
    elif isinstance(value, list):
        body = "[" + (",".join(written(item, pick) for item in value) or space()) + "]"
    else:
        body = json.dumps(value)
    return space() + body + space()


def _spellings(sign: str) -> list[str]:
    code = ord(sign)
    if code > 0xFFFF:
        high, low = divmod(code - 0x10000, 0x400)
        escaped = f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04X}"
    else:
        escaped = f"\\u{code:04x}"
    short = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    spellings = [escaped, escaped.upper().replace("\\U", "\\u")]
    if sign in short:
        spellings.append(short[sign])
    if code >= 0x20 and sign not in '"\\':
        spellings += [sign, sign, sign]
    return spellings


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type, at every depth; 0.0 is not -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


@given(values, st.integers(0, 2**32))
def test_any_spelling_of_a_value_is_that_value(value: Any, seed: int) -> None:
    """Random white space and escapes change nothing, whichever reader is taken."""
    assert same(parse(written(value, random.Random(seed)).encode()), value)


@given(values, st.integers(0, 2**32))
def test_the_fast_reader_and_the_slow_one_agree(value: Any, seed: int) -> None:
    """The standard library's parser, asked alone, gives the same."""
    raw = written(value, random.Random(seed)).encode()
    assert same(parse(raw), json.loads(raw))


@given(values)
def test_what_is_read_fast_is_clean(value: Any) -> None:
    """`clean` promises that there is no fault to look for."""
    read, clean = strict_json.decode(orjson.dumps(value))
    if clean:
        strict_json.check(read)
    assert same(read, value)


def test_an_ordinary_document_takes_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow reader is for doubtful documents: an event as callers send it is not one."""
    monkeypatch.setattr(strict_json, "_decode_slowly", lambda _: pytest.fail("the slow reader was asked"))
    event = {"event": "tool", "payload": {"text": "a: b, {c: d}", "n": [1, 2.5, None, True], "ns": 175689540000}}
    assert parse(json.dumps(event).encode()) == event


# Duplicate keys


COLON = r"\u003a"
DUPLICATES = [
    '{"a":1,"a":1}',
    '{"a":1,"a":2}',
    '{"a":{},"b":[{"c":1,"d":2,"c":3}]}',
    '{"a":1,"\\u0061":2}',
    '{"\\u00e9":1,"é":2}',
    '{"a:b":1,"a:b":2}',
    '{"a":1,"a":":"}',
    '{"a":":","a":1}',
    '{"a":"::::","a":"::"}',
    '{"":1,"":2}',
    '{"a":1,"b":2,"c":3,"a":4}',
    f'{{"a":1,"a":"{COLON}"}}',
    f'{{"a":"{COLON}","a":1}}',
    f'{{"a":"{COLON}{COLON}","a":"{COLON}"}}',
    f'{{"a{COLON}":1,"a:":2}}',
    f'{{"x":"{COLON}","a":1,"a":2}}',
    f'{{"x":"{COLON}{COLON}{COLON}","a":{{"b":"::","b":":"}}}}',
    r'{"x":"\u003A","a":1,"a":2}',
    r'{"x":"\\u003a","a":1,"a":2}',
    r'{"a":1,"a":"\u003a:"}',
    '[{"a":1},{"a":1,"a":1}]',
    '{"a":1,\n "a"\t:2}',
    '{"a":12345678901234567,"a":1.5}',
    '{"a":[1,{"b":"\\"a\\":"}],"a":0}',
]


@pytest.mark.parametrize("raw", DUPLICATES)
def test_a_duplicate_key_is_always_found(raw: str) -> None:
    """Wherever it stands, however it is spelt, and whatever colons stand around it."""
    assert kind_of(raw) == "duplicate-key"


@given(
    st.dictionaries(texts, scalars | texts, min_size=1, max_size=5),
    st.lists(st.sampled_from([":", COLON, r"\u003A", "::", "x"]), max_size=4),
    st.integers(0, 2**32),
)
def test_no_arrangement_of_colons_hides_a_duplicate(members: dict[str, Any], colons: list[str], seed: int) -> None:
    """A pair that is dropped takes a colon away; no text elsewhere may put it back."""
    pick = random.Random(seed)
    pairs = [f"{written(name, pick)}:{written(value, pick)}" for name, value in members.items()]
    twice = pick.choice(list(members))
    pairs.append(f'{written(twice, pick)}:"{"".join(colons)}"')
    pairs.insert(0, f'"\\uffff{pick.randrange(10**9)}":"{"".join(colons)}"')
    pick.shuffle(pairs)
    assert kind_of("[{" + ",".join(pairs) + "}]") == "duplicate-key"


def test_the_key_that_stands_twice_is_named_apart() -> None:
    """The detail holds no word of the caller's; the key is beside it, to be redacted before it is shown."""
    with pytest.raises(JsonFault) as caught:
        parse(b'{"a":{"bob@x.org":1,"bob@x.org":2}}')
    assert caught.value.fault.key == "bob@x.org"
    assert "bob" not in caught.value.fault.detail
    assert "bob" not in str(caught.value)


@pytest.mark.parametrize(
    "raw", ['{"a":1,"A":2}', '{"a":{"a":{"a":1}}}', '[{"a":1},{"a":1}]', '{"e\\u0301":1,"\\u00e9":2}']
)
def test_what_is_no_duplicate_is_taken(raw: str) -> None:
    """Another case, another object or another normal form is another key."""
    assert parse(raw.encode()) == json.loads(raw)


# Numbers


@pytest.mark.parametrize(
    ("literal", "number"),
    [
        ("0", 0),
        ("-0", 0),
        ("-0.0", -0.0),
        ("1", 1),
        ("1.0", 1.0),
        ("1e2", 100.0),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1000000000000000000", 10**18),
        ("9223372036854775807.0", 2.0**63),
        ("9223372036854775808.0", 2.0**63),
        ("1e308", 1e308),
        ("5e-324", 5e-324),
        ("1e-999", 0.0),
        ("0.1234567890123456789012345", 0.1234567890123456789012345),
        ("12345678901234567890.5", 12345678901234567890.5),
    ],
)
@pytest.mark.parametrize("frame", ["{}", "[{}]", '{{"a": {} }}'])
def test_a_number_within_its_range_is_exact(frame: str, literal: str, number: float) -> None:
    """Integers keep every digit and stay integers; floats are the nearest one."""
    assert same(parse(frame.format(literal).encode()), json.loads(frame.format(json.dumps(number))))


@pytest.mark.parametrize(
    ("literal", "kind"),
    [
        ("9223372036854775808", "integer-range"),
        ("-9223372036854775809", "integer-range"),
        ("18446744073709551615", "integer-range"),
        ("18446744073709551616", "integer-range"),
        ("1" + "0" * 400, "integer-range"),
        ("-" + "9" * 5000, "integer-range"),
        ("1e309", "not-finite"),
        ("1e999", "not-finite"),
        ("-1e999", "not-finite"),
        ("1" + "0" * 400 + ".0", "not-finite"),
        ("NaN", "not-finite"),
        ("Infinity", "not-finite"),
        ("-Infinity", "not-finite"),
        ("nan", "syntax"),
        ("01", "syntax"),
        ("-01", "syntax"),
        ("+1", "syntax"),
        (".5", "syntax"),
        ("1.", "syntax"),
        ("0x10", "syntax"),
        ("1e", "syntax"),
        ("- 1", "syntax"),
        ("\u0661", "syntax"),
    ],
)
@pytest.mark.parametrize("frame", ["{}", "[1,{}]", '{{"a":[{{"b":{}}}]}}'])
def test_a_number_out_of_range_or_shape_is_refused(frame: str, literal: str, kind: str) -> None:
    """Everywhere in a document, and the number is not quoted."""
    with pytest.raises(JsonFault) as caught:
        parse(frame.format(literal).encode())
    assert caught.value.fault.kind == kind
    assert len(literal) < 10 or literal not in caught.value.fault.detail


# Depth


def nested(depth: int, opening: str = "[", closing: str = "]", core: str = "") -> str:
    return opening * depth + core + closing * depth


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (nested(MAX_DEPTH), None),
        (nested(MAX_DEPTH + 1), "depth"),
        (nested(MAX_DEPTH, '{"a":', "}", "1"), None),
        (nested(MAX_DEPTH + 1, '{"a":', "}", "1"), "depth"),
        (nested(MAX_DEPTH - 1, '{"a":', "}", "[]"), None),
        (nested(MAX_DEPTH, '{"a":', "}", "[]"), "depth"),
        (nested(MAX_DEPTH // 2, '[{"a":', "}]", "1"), None),
        (nested(MAX_DEPTH // 2, '[{"a":', "}]", "{}"), "depth"),
        (nested(MAX_DEPTH, core=r'"\u003a"'), None),
        (nested(MAX_DEPTH + 1, core=r'"\u003a"'), "depth"),
        ("[" + ",".join(["[]"] * 100) + "]", None),
        ("[" + ",".join(["{}"] * 100) + "]", None),
        (json.dumps("[" * 100), None),
        (json.dumps({"{" * 100: "[" * 100}), None),
        (nested(254), "depth"),
        (nested(255), "depth"),
        (nested(300, '{"a":', "}", "1"), "depth"),
        (nested(500), "depth"),
        (nested(1_023), "depth"),
        (nested(1_024), "depth"),
        (nested(1_025), "depth"),
        (nested(5_000), "depth"),
        (nested(100_000), "depth"),
        (nested(100_000, '{"a":', "}", "1"), "depth"),
        (f'{{"a":1,"b":{nested(2_000)}}}', "depth"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else value,
)
def test_depth_is_bounded_at_32_levels(raw: str, kind: str | None) -> None:
    """Objects and arrays count, brackets in texts do not, and no depth crashes a reader."""
    assert kind_of(raw) == kind


@pytest.mark.parametrize("size", [10, 300, 1_000, 1_030, 100_000])
def test_brackets_that_are_never_closed_are_refused(size: int) -> None:
    """As too deep or as no JSON, whichever is noticed first."""
    assert kind_of("[" * size) in {"depth", "syntax"}
    assert kind_of('{"a":' * size) in {"depth", "syntax"}


# What is no document


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "empty"),
        (b" \t\r\n", "empty"),
        (b"\xef\xbb\xbf{}", "bom"),
        (b'{"a":"\xff"}', "utf-8"),
        (b'{"a":"\xc0\xaf"}', "utf-8"),
        (b'{"a":"\xed\xa0\x80"}', "utf-8"),
        (b'{"a":"\xf4\x90\x80\x80"}', "utf-8"),
        (b'{"a":"\xe2\x82"}', "utf-8"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"\\udc00\\ud800"}', "surrogate"),
        (b'{"a":["x\\udfffy"]}', "surrogate"),
        (b'{"\\ud800":1}', "surrogate"),
        (b'"\\ud83d\\ude00\\ud83d"', "surrogate"),
        (b"{", "syntax"),
        (b'{"a":1,}', "syntax"),
        (b"[1,]", "syntax"),
        (b"{'a':1}", "syntax"),
        (b"{a:1}", "syntax"),
        (b'{"a":1} {"b":2}', "syntax"),
        (b'{"a":1}x', "syntax"),
        (b'{"a" 1}', "syntax"),
        (b'"a\nb"', "syntax"),
        (b'"a\x00b"', "syntax"),
        (b'"\\x41"', "syntax"),
        (b'"\\u00g0"', "syntax"),
        (b"// a\n{}", "syntax"),
        (b"\x00", "syntax"),
        (b"\xc2\xa0{}", "syntax"),
        (b"tru", "syntax"),
        (b"True", "syntax"),
    ],
)
def test_what_is_no_json_is_refused(raw: bytes, kind: str) -> None:
    """Each with its kind; two documents, a byte order mark and half a surrogate pair are none either."""
    assert kind_of(raw) == kind


@pytest.mark.parametrize("raw", [b"null", b"true", b'"a"', b"7", b"[]", b"{}", b' {"a" : null} ', b'"\\ud83d\\ude00"'])
def test_any_value_is_a_document(raw: bytes) -> None:
    """RFC 8259: a document need not be an object."""
    assert parse(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":"plum" "b"}',
        b'["plum", 1e999]',
        b'{"plum":1,"plum":2}',
        b'["plum\\ud800"]',
        b'["plum", 99999999999999999999]',
        b'["plum\xff"]',
        b"[plum]",
        b'{"a":plum}',
    ],
)
def test_no_fault_quotes_a_value(raw: bytes) -> None:
    """The detail says what and where, and holds nothing that was sent."""
    with pytest.raises(JsonFault) as caught:
        parse(raw)
    assert "plum" not in str(caught.value)
    assert "9999" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("number", range(1, 9))
def test_decode_leaves_faults_where_they_are(number: int) -> None:
    """In a batch each event is judged by itself: faults stand in the place of faulty values."""
    faulty: list[Callable[[], str]] = [lambda: '{"a":1,"a":2}', lambda: "1e999", lambda: "99999999999999999999"]
    events = ['{"n":1}' if place % 2 else faulty[place % 3]() for place in range(number)]
    value, clean = strict_json.decode(f"[{','.join(events)}]".encode())
    assert not clean
    assert [isinstance(event, Fault) for event in value] == [place % 2 == 0 for place in range(number)]
