"""Cache keys: two unequal calls never share one, two equal calls, however written, always do."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import random
import re
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.core.cache_policy import ToolPolicy, load_policy
from app.core.keys import (
    DIGEST_HEX,
    MAX_KEY_BYTES,
    READABLE_BYTES,
    ArgumentsError,
    cache_key,
    canonical_args,
    is_key,
    normalize_tool_args,
    storage_digest,
)
from app.settings import ROOT

SHIPPED = load_policy((ROOT / "config" / "cache.toml").read_text(encoding="utf-8")).default
EXACT = ToolPolicy(ignore=frozenset(), loose=False, ttl_s=3600, cacheable=True)
LOOSE = replace(EXACT, loose=True)


def key(args: dict[str, Any], policy: ToolPolicy = SHIPPED, tool: str = "tool") -> str:
    return cache_key(tool, args, policy)[0]


# The readable form


def specification(tool: str, args: dict) -> str:
    """The specification's `normalize_tool_args`, word for word ("Tool Argument Normalization")."""
    # Sort keys for consistency
    sorted_args = sorted(args.items())

    # Normalize values
    normalized = []
    for key, value in sorted_args:
        if isinstance(value, float):
            # Round floats to 2 decimal places
            normalized_value = f"{value:.2f}"
        elif isinstance(value, str):
            # Lowercase and remove special chars
            normalized_value = re.sub(r"[^a-z0-9]", "_", value.lower())[:50]
        else:
            normalized_value = str(value)

        normalized.append(f"{key}:{normalized_value}")

    return f"tool:{tool}:{':'.join(normalized)}"


names = st.text(max_size=8) | st.sampled_from(["a", "A", "é", "e\u0301", "model", "user_id"])
floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
scalars = st.none() | st.booleans() | integers | floats | st.text(max_size=60)
arguments = st.dictionaries(
    names,
    st.recursive(
        scalars,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(names, below, max_size=3),
        max_leaves=6,
    ),
    max_size=5,
)


@given(st.text(max_size=20), arguments)
@example("t", {"temperature": 0.005, "x": -0.0, "big": 1e300, "nan": float("nan"), "inf": float("inf")})
@example("t", {"s": "İSTANBUL ß \u0130" * 20, "n": None, "l": [1.005, "A"], "d": {"b": 1, "a": 2.5}})
def test_the_readable_form_is_the_specifications_to_the_byte(tool: str, args: dict[str, Any]) -> None:
    """Any tool and arguments give what the specification's code gives."""
    assert normalize_tool_args(tool, args) == specification(tool, args)


def test_the_readable_form_of_the_specifications_example() -> None:
    """Its printed example is not what its code gives, and the code wins."""
    args = {"model": "Llama-2-7B", "temperature": 0.7, "prompt": "Hello World!", "max_tokens": 100}
    readable = "tool:generate_response:max_tokens:100:model:llama_2_7b:prompt:hello_world_:temperature:0.70"
    assert normalize_tool_args("generate_response", args) == readable
    made, shown = cache_key("generate_response", args, SHIPPED)
    assert shown == readable
    assert re.fullmatch(re.escape(readable) + f"#[0-9a-f]{{{DIGEST_HEX}}}", made)


# Equal calls


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": {"x": 1, "y": [{"p": 1, "q": 2}]}}, {"a": {"y": [{"q": 2, "p": 1}], "x": 1}}),
        ({"n": 1}, {"n": 1.0}),
        ({"n": 0}, {"n": -0.0}),
        ({"n": [1, {"m": 2}]}, {"n": [1.0, {"m": 2.0}]}),
        ({"n": 10**18}, {"n": 1e18}),
        ({"n": 2**62}, {"n": float(2**62)}),
        ({"n": -(2**63)}, {"n": -float(2**63)}),
        ({"s": "caf\u00e9"}, {"s": "cafe\u0301"}),
        ({"caf\u00e9": 1}, {"cafe\u0301": 1}),
        ({"s": ["\u1112\u1161\u11ab"]}, {"s": ["\ud55c"]}),
        ({"s": "\u212b"}, {"s": "\u00c5"}),
        ({"a": 1}, {"a": 1, "request_id": "r", "session_id": "s", "user": "u", "user_id": 7}),
        ({"a": 1}, {"a": 1, "stream": True, "metadata": {"x": 1}, "timestamp": 5, "trace_id": "t"}),
        ({}, {"user_id": "u"}),
    ],
)
def test_equal_calls_share_a_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Order at any depth, 1 and 1.0, normal forms and ignored arguments make no difference."""
    assert cache_key("tool", one, SHIPPED) == cache_key("tool", other, SHIPPED)


def test_a_tools_name_is_compared_in_nfc_too() -> None:
    """The same name in another normal form is the same tool."""
    assert key({}, tool="caf\u00e9") == key({}, tool="cafe\u0301")


# Unequal calls


LONG = "x" * 50
UNEQUAL: list[list[dict[str, Any]]] = [
    [{"n": 1}, {"n": "1"}, {"n": True}, {"n": "true"}, {"n": "True"}, {"n": [1]}, {"n": {"1": 1}}, {"n": 1.5}],
    [{"n": 0}, {"n": False}, {"n": None}, {"n": ""}, {"n": "0"}, {"n": []}, {"n": {}}, {"n": "None"}, {}],
    [{"f": 0.7}, {"f": 0.701}, {"f": 0.7000000000000001}, {"f": "0.7"}, {"f": "0.70"}],
    [{"n": 2**53}, {"n": 2**53 + 1}, {"n": 2**53 - 1}],
    [{"n": 2**63 - 1}, {"n": 2.0**63}, {"n": 2.0**64}],
    [{"s": "x <= 5"}, {"s": "x >= 5"}, {"s": "x == 5"}, {"s": "x != 5"}],
    [{"s": LONG + "a"}, {"s": LONG + "b"}, {"s": LONG}],
    [{"s": "今天天气怎么样"}, {"s": "你能帮我写诗吗"}, {"s": "Сегодня"}],
    [{"s": "Hello"}, {"s": "hello"}, {"s": "hello "}, {"s": "hello!"}, {"s": "hello?"}],
    [{"s": "a\nb"}, {"s": "a\tb"}, {"s": "a b"}, {"s": "a\x00b"}, {"s": "a\u200bb"}],
    [{"s": "ﬁ"}, {"s": "fi"}],
    [{"a": "b:c"}, {"a:b": "c"}, {"a": "b", "c": ""}],
    [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": {"b": 1}}, {"b": {"a": 1}}],
    [{"l": [1, 2]}, {"l": [2, 1]}, {"l": [1, 2, 2]}, {"l": [[1], 2]}, {"l": [1, [2]]}],
    [{"a": {"user_id": 1}}, {"a": {"user_id": 2}}, {"a": {}}],
    [{"A": 1}, {"a": 1}],
    [
        {"prompt": "def f(xs: List[float], t: float) -> bool:"},
        {"prompt": "def f(xs: List(float), t: float) -> bool:"},
        {"prompt": "def f(xs: List[float]; t: float) -> bool:"},
        {"prompt": "def f(xs: List{float}, t: float) -> bool:"},
    ],
]


@pytest.mark.parametrize("calls", UNEQUAL)
def test_unequal_calls_never_share_a_key(calls: list[dict[str, Any]]) -> None:
    """Not those that the specification's form takes for one, nor 1, "1" and true."""
    assert len({key(args) for args in calls}) == len(calls)


def test_tools_do_not_share_keys() -> None:
    """The tool's name counts, and its end is not mistaken for an argument."""
    assert (
        len({key(args, tool=tool) for tool, args in [("a", {}), ("b", {}), ("A", {}), ("a:b", {}), ("", {"a": 1})]})
        == 5
    )
    assert key({"b": 1}, tool="a") != key({}, tool="a:b:1")


def test_an_ignored_argument_counts_for_a_tool_that_does_not_ignore_it() -> None:
    """What is ignored is the policy's word."""
    assert key({"user_id": 1}, EXACT) != key({"user_id": 2}, EXACT)


small = st.dictionaries(
    st.sampled_from(["a", "b", "é", "e\u0301"]),
    st.recursive(
        st.sampled_from([None, True, False, 0, 1, 2, 0.0, 1.0, 1.5, "", "1", "a", "A", "é", "e\u0301", "a_", "a-"]),
        lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), below, max_size=2),
        max_leaves=3,
    ),
    max_size=2,
)


def reference(value: Any) -> str:
    """The canonical form, written another way: NFC, sorted, and integral floats as integers."""
    plain = json.loads(unicodedata.normalize("NFC", json.dumps(value, ensure_ascii=False)))
    return json.dumps(
        json.loads(
            json.dumps(plain), parse_float=lambda text: int(float(text)) if float(text).is_integer() else text + "f"
        ),
        sort_keys=True,
    )


def _has_one_form(args: Any) -> bool:
    if isinstance(args, dict):
        return len({unicodedata.normalize("NFC", name) for name in args}) == len(args) and all(
            map(_has_one_form, args.values())
        )
    return not isinstance(args, list) or all(map(_has_one_form, args))


@given(small, small)
def test_keys_are_equal_exactly_where_calls_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Over random pairs of calls, small enough to meet often."""
    assume(_has_one_form(one) and _has_one_form(other))
    assert (key(one, EXACT) == key(other, EXACT)) == (reference(one) == reference(other))


@given(arguments, st.integers(0, 2**32))
def test_writing_a_call_otherwise_does_not_change_its_key(args: dict[str, Any], seed: int) -> None:
    """Members shuffled at every depth, texts in NFD and integers as floats give the same key."""
    assume(_has_one_form(args))
    assert key(_rewritten(args, random.Random(seed)), EXACT) == key(args, EXACT)


def _rewritten(value: Any, pick: random.Random) -> Any:
    if isinstance(value, dict):
        members = [(unicodedata.normalize("NFD", name), _rewritten(member, pick)) for name, member in value.items()]
        pick.shuffle(members)
        return dict(members)
    if isinstance(value, list):
        return [_rewritten(item, pick) for item in value]
    if isinstance(value, str):
        return unicodedata.normalize(pick.choice(("NFC", "NFD")), value)
    if type(value) is int and int(float(value)) == value and pick.random() < 0.5:
        return float(value)
    return value


@given(arguments)
def test_making_a_key_does_not_change_the_arguments(args: dict[str, Any]) -> None:
    """The caller's arguments are read and not touched, and their canonical form is its own canonical form."""
    assume(_has_one_form(args))
    before = copy.deepcopy(args)
    canonical = canonical_args(args, EXACT)
    assert repr(args) == repr(before)
    assert repr(canonical_args(canonical, EXACT)) == repr(canonical)


@pytest.mark.parametrize(
    "args", [{"é": 1, "e\u0301": 1}, {"a": {"é": 1, "e\u0301": 2}}, {"a": [{"\u212b": 1, "\u00c5": 2}]}]
)
@pytest.mark.parametrize("policy", [SHIPPED, EXACT, LOOSE])
def test_two_names_that_are_one_in_nfc_have_no_key(args: dict[str, Any], policy: ToolPolicy) -> None:
    """At any depth: one of the two would silently win."""
    with pytest.raises(ArgumentsError):
        key(args, policy)


# The key's form


@pytest.mark.parametrize(
    ("tool", "args"),
    [
        ("t", {"a": "x" * 50, "b": "y" * 50, "c": "z" * 50, "d": "w" * 50, "e": "v" * 50}),
        ("é" * 150, {}),
        ("日" * 66 + "ab", {"a": 1}),
        ("\U0001f600" * 60, {}),
        ("x" * 194, {}),
        ("x" * 195, {}),
        ("x" * 194 + "é", {}),
    ],
)
def test_the_readable_part_is_cut_at_200_bytes_between_characters(tool: str, args: dict[str, Any]) -> None:
    """It is the longest beginning of the readable form that fits, whole characters only."""
    made, readable = cache_key(tool, args, SHIPPED)
    whole = normalize_tool_args(tool, args)
    assert whole.startswith(readable)
    assert len(readable.encode()) <= READABLE_BYTES
    assert readable == whole or len(whole[: len(readable) + 1].encode()) > READABLE_BYTES
    assert made.rpartition("#")[0] == readable


@given(st.text(max_size=300), arguments)
@example("a\x00b\x1f\x7f\x80\x9f", {"\x00": "\n", "a": ["\n"]})
def test_any_call_has_a_key_that_a_caller_could_send(tool: str, args: dict[str, Any]) -> None:
    """Without control characters, and short enough for a query."""
    assume(_has_one_form(args))
    made, readable = cache_key(tool, args, SHIPPED)
    assert is_key(made)
    assert re.search(r"[\x00-\x1f\x7f-\x9f]", made) is None
    assert len(made.encode()) <= READABLE_BYTES + 1 + DIGEST_HEX
    assert re.fullmatch(rf"#[0-9a-f]{{{DIGEST_HEX}}}", made.removeprefix(readable))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("k", True),
        ("tool:x:a:1", True),
        ("schlüssel 鍵 \U0001f511", True),
        (" ", True),
        ("k" * MAX_KEY_BYTES, True),
        ("k" * (MAX_KEY_BYTES + 1), False),
        ("é" * (MAX_KEY_BYTES // 2), True),
        ("é" * (MAX_KEY_BYTES // 2) + "k", False),
        ("", False),
        ("a\nb", False),
        ("a\x00", False),
        ("\x7f", False),
        ("\x85", False),
        ("\x9f", False),
        ("\xa0", True),
    ],
)
def test_what_a_caller_may_use_as_a_key(text: str, *, good: bool) -> None:
    """1 to 4,096 bytes of UTF-8, no control characters."""
    assert is_key(text) is good


# Loose comparison


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello World!", "hello world?"),
        ("HELLO-WORLD", "hello_world"),
        ("x<=5", "x>=5"),
        ("Straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ПРИВЕТ.", "привет!"),
        ("CAF\u00c9", "cafe\u0301"),
        (0.7, 0.701),
        (0.7, 0.6999),
        (1, 1.001),
        (0, -0.001),
        (["Ab", {"c": 0.123}], ["aB", {"c": 0.12}]),
    ],
)
def test_loose_tools_compare_without_case_punctuation_and_third_decimal(one: object, other: object) -> None:
    """In every script, at every depth; an exact tool keeps the two apart."""
    assert key({"a": one}, LOOSE) == key({"a": other}, LOOSE)
    assert key({"a": one}, EXACT) != key({"a": other}, EXACT)


@pytest.mark.parametrize(
    "values",
    [
        ["今天天气怎么样", "你能帮我写诗吗"],
        ["да", "не"],
        ["\u03b1", "\u03b2", "a"],
        ["é", "e"],
        ["का", "की", "के"],
        ["กิน", "กัน"],
        ["كتب", "كتاب"],
        ["\u05d0\u05b7", "\u05d0\u05b8"],
        [0.7, 0.71],
        [1, 2],
        ["1", 1, True],
        ["a", "b"],
        ["hello world", "helloworld"],
        ["x" * 50 + "a", "x" * 50 + "b"],
        [None, "", False, [], {}],
    ],
)
def test_loose_tools_still_tell_letters_numbers_and_types_apart(values: list[object]) -> None:
    """Letters of any script count with their vowel signs, and so does what stands behind 50 characters."""
    shared = [
        pair for pair in itertools.combinations(values, 2) if len({key({"a": value}, LOOSE) for value in pair}) < 2
    ]
    assert shared == []


def test_loose_comparison_is_for_values_and_not_for_names() -> None:
    """Arguments are named by programs: `A` and `a` are two of them."""
    assert key({"A": 1}, LOOSE) != key({"a": 1}, LOOSE)


# In the store


def test_the_stores_digest_is_keyed_blake2b() -> None:
    """32 hex digits of RFC 7693's keyed hash: not to be found by guessing prompts."""
    assert storage_digest("k", b"s" * 16) == hashlib.blake2b(b"k", key=b"s" * 16, digest_size=16).hexdigest()
    assert re.fullmatch("[0-9a-f]{32}", storage_digest("schlüssel", b"s" * 64))


def test_the_stores_digest_differs_by_secret_and_by_key() -> None:
    """Another secret or another key is another digest, and the same two are the same one."""
    digests = {storage_digest(text, secret) for text in ("a", "b", "é") for secret in (b"s" * 16, b"s" * 17, b"t" * 16)}
    assert len(digests) == 9
    assert storage_digest("a", b"s" * 16) in digests
