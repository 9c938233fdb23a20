"""RE2 asked for spans alone says what its own Match objects say."""

import pytest
import re2

from app.core.patterns import Pattern
from tests.bench.redact_rows import TABLE, shipped_rules
from tests.bench.worst_inputs import examples_of

DETECTORS = shipped_rules().detectors
EXAMPLES = [example.encode() for row in examples_of(TABLE.read_text(encoding="utf-8")).values() for example in row]
ALL = b" | ".join(dict.fromkeys(EXAMPLES))


@pytest.mark.parametrize("place", range(len(DETECTORS)), ids=[f"{one.name}-{one.order}" for one in DETECTORS])
def test_each_shipped_pattern_finds_what_re2_itself_finds(place: int) -> None:
    pattern = DETECTORS[place].pattern
    theirs = re2.compile(pattern.pattern)
    wanted = [match.span() for match in theirs.finditer(ALL)]
    assert [*pattern.all_in(ALL)] == wanted
    assert pattern.occurs_in(ALL) is bool(wanted)
    position = 0
    for whole in wanted:
        match = theirs.search(ALL, position)
        groups = [match.span(group) for group in range(1, theirs.groups + 1)]
        assert pattern.search(ALL, position) == (whole, next((span for span in groups if span[0] >= 0), whole))
        position = whole[1]


def test_the_examples_have_something_for_most_patterns() -> None:
    silent = [one.name for one in DETECTORS if not one.pattern.occurs_in(ALL)]
    assert len(silent) < len(DETECTORS) / 10, silent


def test_where_a_pattern_may_stand() -> None:
    pattern = Pattern(r"(?i)ab+|é\d")
    assert pattern.search("xé AB".encode()) == ((4, 6), (4, 6))
    assert pattern.search(b"x") is None
    assert pattern.search(b"ab", 2) is None
    assert (pattern.occurs_in(b"x ab"), pattern.occurs_in(b"x")) == (True, False)
    assert (pattern.stands_at(b"xab", 1), pattern.stands_at(b"xab", 0)) == (True, False)
    assert pattern.stands_at(b"xab", 3) is False
    assert (pattern.is_whole(b"abb"), pattern.is_whole(b"abbc"), pattern.is_whole(b"xab")) == (True, False, False)


def test_a_pattern_that_is_none_is_an_error() -> None:
    with pytest.raises(re2.error):
        Pattern("(")
