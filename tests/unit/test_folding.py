"""The form that text is matched in, and the way back to the text as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import escapes
from app.core.folding import fold, fold_bytes, fold_together, has_other_reading, original_spans
from app.core.redaction import redact

if TYPE_CHECKING:
    from app.core.rules import Rules


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("plain ASCII", "plain ASCII"),
        ("\uff42\uff4f\uff42\uff20", "bob@"),
        ("\u0664\u0661\u0661", "411"),
        ("a\u200bb\u00adc\u2060d\u034fe\ufe0f", "abcde"),
        ("4111\u20131111\u20111111\u20121111", "4111-1111-1111-1111"),
        ("4111\u00a01111\u20091111", "4111 1111 1111"),
        ("example\u3002org", "example.org"),
        ("\ufb01ne \u00bd", "fine 1\u20442"),
    ],
)
def test_fold(text: str, folded: str) -> None:
    """Width, digits, dashes, spaces and what is invisible do not tell texts apart."""
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("\u00bd cup \ufb01ne \u2460 bob@x.org \u338f", "\u00bd cup \ufb01ne \u2460 [REDACTED_EMAIL] \u338f"),
        (f"{FAMILY} bob@x.org \u2764\ufe0f", f"{FAMILY} [REDACTED_EMAIL] \u2764\ufe0f"),
        ("mail \uff42\uff4f\uff42@x.org \u2013 now", "mail [REDACTED_EMAIL] \u2013 now"),
        ("ssn 123\u201345\u20136789.", "ssn [REDACTED_SSN]."),
        ("e\u0301 555\u2011867\u20115309 e\u0301", "e\u0301 [REDACTED_PHONE] e\u0301"),
    ],
)
def test_nothing_around_a_value_changes(text: str, redacted: str, rules: Rules) -> None:
    """What is found is replaced in the text as it came, not in its folded form."""
    assert redact(text, rules).value == redacted


@given(st.text(max_size=30), st.text(min_size=1, max_size=8), st.text(max_size=30))
def test_the_way_back(before: str, value: str, after: str) -> None:
    """The original span of a folded value holds that value, whatever stands around it."""
    text = before + value + after
    start = len(fold(before).encode(errors="surrogatepass"))
    end = start + len(fold(value).encode(errors="surrogatepass"))
    ((first, last),) = original_spans(text, [(start, end)])
    if end > start:
        assert fold(value) in fold(text[first:last])


def test_many_spans_are_one_walk() -> None:
    """Each span is found behind the one before it, signs of several bytes and invisible ones between them."""
    text = "\u00e9 bob\u200b@x.org\ufe0f \u4e2d amy@x.org\u200d\u2764"
    data = fold(text).encode()
    values = [b"bob@x.org", b"amy@x.org"]
    spans = [(data.index(value), data.index(value) + len(value)) for value in values]
    places = original_spans(text, spans)
    assert [text[start:end] for start, end in places] == ["bob\u200b@x.org\ufe0f", "amy@x.org\u200d"]


@pytest.mark.timeout(20)
def test_time_is_linear_in_the_findings_of_a_text(rules: Rules) -> None:
    """Ten thousand values in a text that is not ASCII are found and replaced in seconds."""
    assert redact("\u00e9 b@x.org " * 10_000, rules).value == "\u00e9 [REDACTED_EMAIL] " * 10_000


_PIECES = st.sampled_from(
    [
        "word",
        " ",
        "_",
        "_mail_",
        "\u2019",
        "é",
        "\u2013",
        "。",
        "\u2028",
        "\uff11\uff12\uff13",
        "ー1",
        "😀",
        "%40",
        "%",
        "\\n",
        "\\",
        "&#64;",
        "\x1b[31m",
        "\n",
    ]
)


@given(st.lists(st.lists(_PIECES, max_size=8).map("".join), max_size=5))
def test_texts_together_are_folded_as_each_by_itself(texts: list[str]) -> None:
    """The joined form is each text's own on a line of its own, of the sizes that are told."""
    together = fold_together(texts)
    parts = [fold_bytes(text) for text in texts]
    assert together.data == b"\n".join(parts)
    assert together.sizes == [len(part) for part in parts]
    assert together.others == [place for place, text in enumerate(texts) if has_other_reading(text)]


@given(st.lists(_PIECES, max_size=12).map("".join), st.integers(0, 60), st.integers(0, 20))
def test_a_span_of_bytes_covers_its_characters(text: str, start: int, size: int) -> None:
    """Wherever it begins and ends, what it covers of the folded text is covered in the text that came."""
    data = fold_bytes(text)
    start = min(start, len(data))
    end = min(start + size, len(data))
    ((first, last),) = original_spans(text, [(start, end)])
    assert 0 <= first <= last <= len(text)
    if (
        start < end
        and _begins_character(data, start)
        and _begins_character(data, end)
        and not escapes.may_stand_in(text)
    ):
        assert data[start:end] in fold_bytes(text[first:last])


def _begins_character(data: bytes, place: int) -> bool:
    return place == len(data) or not 0x80 <= data[place] < 0xC0
