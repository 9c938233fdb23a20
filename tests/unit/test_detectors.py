"""The table of detectors: a bad row stops the start with its line and its fault, a user's own row works."""

from __future__ import annotations

import re

import pytest

from app.core.detectors import ACTIONS, RuleError, load_rules
from app.core.redaction import redact
from app.core.validators import validators
from app.settings import ROOT

SHIPPED = (ROOT / "config" / "detectors.toml").read_text(encoding="utf-8")

GOOD = """\
[[detector]]
name = "badge"
why = "Numbers on badges."
patterns = ['\\bB-\\d{4}\\b']
"""
FIELD = """\
[[field]]
name = "badge"
why = "Badges have a field."
names = ["badge"]
"""
EXEMPT = """\
[[exempt]]
why = "A tag is no badge."
names = ["tag"]
detectors = ["badge"]
"""


def row(kind: str = "detector", **keys: str) -> str:
    """A row with some keys written otherwise; "" leaves a key out."""
    given = {
        "detector": {"name": '"badge"', "why": '"Badges."', "patterns": r"['\bB-\d{4}\b']"},
        "field": {"name": '"badge"', "why": '"Badges."', "names": '["badge"]'},
        "exempt": {"why": '"Tags."', "names": '["tag"]', "detectors": '["badge"]'},
    }[kind] | keys
    return f"[[{kind}]]\n" + "".join(f"{key} = {value}\n" for key, value in given.items() if value)


# (row, what the fault must say)
BAD_ROWS = [
    (row(pattern='"x"'), "unknown key 'pattern'"),
    (row(Finds='["x"]'), "unknown key 'Finds'"),
    (row(why=""), "why is missing"),
    (row(why='""'), "why is missing"),
    (row(name=""), "name is missing"),
    (row(patterns=""), "patterns is missing"),
    (row(patterns="[]"), "patterns"),
    (row(patterns='"x"'), "patterns"),
    (row(patterns="[1]"), "patterns"),
    (row(name="7"), "name"),
    (row(name='"Badge"'), "name"),
    (row(name='"bad-ge"'), "name"),
    (row(name=f'"{"b" * 33}"'), "name"),
    (row(action='"delete"'), "action"),
    (row(action="1"), "action"),
    (row(action='["redact"]'), "action"),
    (row(patterns="['(']"), "RE2"),
    (row(patterns="['(?=x)x']"), "RE2"),
    (row(patterns="['[z-a]']"), "RE2"),
    (row(patterns="['^badge']"), "anchor"),
    (row(patterns="['badge$']"), "anchor"),
    (row(patterns=r"['\Abadge']"), "anchor"),
    (row(patterns=r"['badge\z']"), "anchor"),
    (row(patterns="['x', 'a|^b']"), "anchor"),
    (row(patterns="['(?m)^badge']"), "anchor"),
    (row(patterns=r"['badge\\$']"), "anchor"),
    (row(patterns="['b*']"), "empty"),
    (row(patterns="['(?:)']"), "empty"),
    (row(patterns="['badge|']"), "empty"),
    (row(patterns=r"['\b']"), "empty"),
    (row(patterns=r"['\bb*']"), "empty"),
    (row(patterns=r"['\B']"), "empty"),
    (row(validate='"cards"'), "unknown check 'cards'"),
    (row(validate="7"), "validate"),
    (row(validate='["card"]'), "validate"),
    (row(numbers="1"), "numbers"),
    (row(numbers='"yes"'), "numbers"),
    (row(context='"badge"'), "context"),
    (row(context="[]"), "context"),
    (row(not_after="[1]"), "not_after"),
    (row(starts='"line"'), "starts"),
    (row(yields_to='["bagde"]'), "yields_to: a name 'bagde' that no detector has"),
    (row(yields_to="[]"), "yields_to"),
    (row(finds='"B-1234"'), "finds"),
    (row(leaves="[1]"), "leaves"),
    (row(finds='["B-1234", "C-1234"]'), "finds nothing in example 2 of `finds`"),
    (row(leaves='["C-1234", "see B-1234"]'), "finds something in example 2 of `leaves`"),
    (row(name='"seat"', finds='["B-1234"]', context='["seat"]'), "finds nothing in example 1 of `finds`"),
    (row("field", name=""), "name is missing"),
    (row("field", why=""), "why is missing"),
    (row("field", action='"hide"'), "action"),
    (row("field", names='"badge"'), "names"),
    (row("field", suffixes="[1]"), "suffixes"),
    (row("field", patterns='["x"]'), "unknown key; there are action, check, in_text, least_digits, name, names"),
    (row("field", names=""), "names"),
    (row("exempt", why=""), "why is missing"),
    (row("exempt", detectors=""), "detectors is missing"),
    (row("exempt", detectors='"badge"'), "detectors"),
    (row("exempt", name='"x"'), "unknown key 'name'"),
    (row("exempt", detectors='["bagde"]'), "bagde"),
]

# The fault's words for what the table calls an anchor, and a pattern that can match nothing.
WORDS = {"anchor": "no ^, $", "empty": "empty"}


@pytest.mark.parametrize(("bad", "says"), BAD_ROWS, ids=[says for _, says in BAD_ROWS])
def test_a_bad_row_is_refused_with_its_line_and_fault(bad: str, says: str) -> None:
    """The line is where the row starts, behind good rows of every kind and comments."""
    ahead = f"# a table\n\n{GOOD}\n{FIELD}\n{EXEMPT}\n"
    with pytest.raises(RuleError) as caught:
        load_rules(f"{ahead}{bad}")
    assert WORDS.get(says, says) in caught.value.fault
    assert caught.value.line == ahead.count("\n") + 1
    assert str(caught.value) == f"line {caught.value.line}: {caught.value.fault}"
    assert "\n" not in caught.value.fault


PRIVATE = "Project Zebra"
MISPLACED = [
    row(patterns=f"['({PRIVATE}']"),
    row(patterns=f"['{PRIVATE})']"),
    row(patterns=f"['[{PRIVATE}']"),
    row(patterns=f"['(?P<{PRIVATE}>x)']"),
    row(patterns=f"['x{PRIVATE}**']"),
    row(validate=f'"{PRIVATE}"'),
    row(action=f'"{PRIVATE}"'),
    row(name=f'"{PRIVATE}"'),
    row(finds=f'["{PRIVATE}"]'),
    row(context=f'"{PRIVATE}"'),
    row("exempt", detectors=f'["{PRIVATE}"]'),
    f'[[deny]]\nwhy = "Ours."\nwords = ["{PRIVATE}", ""]\n',
    f'[[deny]]\nwhy = "Ours."\nwords = "{PRIVATE}"\n',
    f'[[deny]]\nwhy = "Ours."\nwords = ["x"]\n"{PRIVATE}" = 1\n',
    f'[[deny]]\nwhy = "Ours."\nwords = ["x",\n{PRIVATE}]\n',
    f'[["{PRIVATE}"]]\n',
    f'["{PRIVATE}"]\n' * 2,
    f'x = {{"{PRIVATE}" = 1, "{PRIVATE}" = 2}}\n',
    f'x = {{a = 1}}\n[x."{PRIVATE}"]\n',
    f'[[allow]]\nwhy = "Ours."\npatterns = ["({PRIVATE}"]\n',
    f'[[allow]]\nwhy = "Ours."\nvalues = ["x"]\ndetectors = ["{PRIVATE}"]\n',
    f'[settings]\nphone_regions = ["{PRIVATE}"]\n',
    "".join(
        f'[[policy]]\nwhy = "Ours."\nevents = ["e"]\nfields = ["{PRIVATE}"]\naction = "{action}"\n'
        for action in ("drop", "keep")
    ),
]


@pytest.mark.parametrize("text", MISPLACED)
def test_a_fault_does_not_quote_what_may_be_private(text: str) -> None:
    """Faults are shown at /readyz and logged; a word that is to be kept out of the log may stand in a broken row."""
    with pytest.raises(RuleError) as caught:
        load_rules(text)
    assert "Zebra" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[detector]\n", "not TOML"),
        ('name = "x', "not TOML"),
        ("[detectors]\n", "unknown table 'detectors'"),
        ("[[allows]]\n", "unknown table 'allows'"),
        ("x = 1\n", "unknown table; there are settings"),
        ("[detector]\n", "[[detector]]"),
        ("detector = 1\n", "[[detector]]"),
        ("field = 1\n", "[[field]]"),
        ('exempt = "x"\n', "[[exempt]]"),
        ("[settings]\nphone_region = ['US']\n", "phone_regions"),
        ("[settings]\nphone_regions = 'US'\n", "phone_regions"),
        ("settings = 1\n", "phone_regions"),
        ("[[settings]]\n", "phone_regions"),
        ("detector = [1]\n", "[[detector]]"),
        ("field = ['x']\n", "[[field]]"),
    ],
)
def test_a_bad_file_is_refused(text: str, says: str) -> None:
    """What no single row is to blame for is refused too, in words and not with a stack trace."""
    with pytest.raises(RuleError) as caught:
        load_rules(text)
    assert says in caught.value.fault


@pytest.mark.parametrize(
    "text",
    [
        row(why='"""A row begins with\n[[detector]]\nand so on."""'),
        row().replace("[[detector]]", '[["detector"]]'),
        row().replace("[[detector]]", "[[ detector ]] # badges"),
        "detector = [{name = 'badge', why = 'Badges.', patterns = ['B-[0-9]+']}]",
    ],
    ids=["a header in a text", "a quoted header", "a spaced header", "inline"],
)
def test_any_spelling_of_toml_is_read_or_refused_in_words(text: str) -> None:
    """The search for line numbers must not fail where TOML allows another spelling."""
    try:
        rules = load_rules(text)
    except RuleError:
        return
    assert redact("B-1234", rules).value == "[REDACTED_BADGE]"


def test_a_region_that_does_not_exist_is_refused() -> None:
    """UK is no ISO code; taken silently, it would leave every British number in."""
    with pytest.raises(RuleError, match="UK"):
        load_rules('[settings]\nphone_regions = ["UK"]\n')


def test_examples_are_tried_by_their_own_row() -> None:
    """A row whose context its example lacks is refused, although another row of that name and pattern finds it."""
    with pytest.raises(RuleError, match="example 1 of `finds`"):
        load_rules(row() + row(context='["badge"]', finds='["B-1234"]'))


# What rows do


def test_the_shipped_table_is_good_and_says_why() -> None:
    """Every row of config/detectors.toml finds its examples, and the specification's eight names are there."""
    names = {detector.name for detector in load_rules(SHIPPED).detectors}
    assert names >= {"email", "phone", "ssn", "credit_card", "api_key", "ip_address", "user_id", "session_id"}


def test_an_empty_table_finds_nothing() -> None:
    """No rows is no fault."""
    value = {"password": "p", "note": "bob@x.org 4111111111111111"}
    assert redact(value, load_rules("")).value == value


def test_a_users_own_row_works() -> None:
    """One more row of each kind, appended to the shipped table, is all that it takes."""
    rules = load_rules(f"{SHIPPED}\n{GOOD}{FIELD.replace('badge', 'seat')}{EXEMPT}")
    value = {"note": "B-1234 of bob@x.org", "seat": "4 C", "tag": "B-1234", "list": ["see B-1234."]}
    assert redact(value, rules).value == {
        "note": "[REDACTED_BADGE] of [REDACTED_EMAIL]",
        "seat": "[REDACTED_SEAT]",
        "tag": "B-1234",
        "list": ["see [REDACTED_BADGE]."],
    }


ACTION_CASES = [
    ("redact", "see B-1234 now", "see [REDACTED_BADGE] now", ["badge"]),
    ("drop", "see B-1234 now", "see  now", ["badge"]),
    ("pseudonymise", "see B-1234 now", "see [REDACTED_BADGE] now", ["badge"]),
    ("keep", "see B-1234 now", "see B-1234 now", []),
]


@pytest.mark.parametrize(("action", "text", "wanted", "found"), ACTION_CASES)
def test_the_action_of_a_detector(action: str, text: str, wanted: str, found: list[str]) -> None:
    """`redact` replaces (so does `pseudonymise` without keys), `drop` removes the span, `keep` switches the row off."""
    result = redact({"note": text}, load_rules(row(action=f'"{action}"')))
    assert result.value == {"note": wanted}
    assert [(finding.detector, finding.action) for finding in result.findings] == [
        (name, "redact" if action == "pseudonymise" else action) for name in found
    ]


@pytest.mark.parametrize(
    ("action", "wanted", "fields"),
    [
        ("redact", {"badge": "[REDACTED_BADGE]", "a": [{"badge": "[REDACTED_BADGE]"}]}, ["badge"]),
        ("drop", {"a": [{}]}, ["badge"]),
        ("keep", {"badge": "7", "a": [{"badge": "8"}]}, []),
    ],
)
def test_the_action_of_a_field(action: str, wanted: object, fields: list[str]) -> None:
    """`redact` replaces the value, `drop` removes the member and reports it, `keep` switches the row off."""
    result = redact({"badge": "7", "a": [{"badge": "8"}]}, load_rules(row("field", action=f'"{action}"')))
    assert (result.value, result.fields) == (wanted, fields)


def test_every_action_is_tried_above() -> None:
    """An action that is added here needs its row in the tables of this file."""
    assert {case[0] for case in ACTION_CASES} == set(ACTIONS)


def test_a_row_that_is_off_still_has_to_be_right() -> None:
    """`keep` does not excuse an unknown key, and switches one of several rows of a name off alone."""
    with pytest.raises(RuleError, match="unknown key"):
        load_rules(row(action='"keep"', patern='"x"'))
    rules = load_rules(row(action='"keep"') + row(patterns=r"['\bC-\d{4}\b']"))
    assert redact("B-1234 C-1234", rules).value == "B-1234 [REDACTED_BADGE]"


def test_an_exemption_may_name_a_row_that_is_off() -> None:
    """Switching a detector off does not break the exemptions that speak of it."""
    rules = load_rules(row(action='"keep"') + row("exempt"))
    assert redact({"tag": "B-1234"}, rules).value == {"tag": "B-1234"}


@pytest.mark.parametrize(
    ("keys", "text", "wanted"),
    [
        ({"context": '["badge", "id card"]'}, "badge no. B-1234", "badge no. [REDACTED_BADGE]"),
        ({"context": '["badge", "id card"]'}, "Id Card: B-1234", "Id Card: [REDACTED_BADGE]"),
        ({"context": '["badge", "id card"]'}, "B-1234 is my badge", "[REDACTED_BADGE] is my badge"),
        ({"context": '["badge"]'}, "badges B-1234", "badges B-1234"),
        ({"context": '["badge"]'}, "badge" + " x" * 30 + " B-1234", "badge" + " x" * 30 + " B-1234"),
        ({"context": '["No."]'}, "No. B-1234", "No. [REDACTED_BADGE]"),
        ({"not_after": '["part"]'}, "part B-1234", "part B-1234"),
        ({"not_after": '["part"]'}, "part: B-1234", "part: B-1234"),
        ({"not_after": '["part"]'}, "part of B-1234", "part of [REDACTED_BADGE]"),
        ({"not_after": '["part"]'}, "apart B-1234", "apart [REDACTED_BADGE]"),
        ({"numbers": "true", "patterns": r"['\b77\d{12}\b']"}, 77123456789012, "[REDACTED_BADGE]"),
        ({"patterns": r"['\b77\d{12}\b']"}, 77123456789012, 77123456789012),
        ({"validate": '"has_digit"', "patterns": r"['\bB-\w+']"}, "B-x and B-7", "B-x and [REDACTED_BADGE]"),
        ({"patterns": r"['[$^]B', '\$7']"}, "$B ^B $7", " ".join(["[REDACTED_BADGE]"] * 3)),
        ({"patterns": r"['[^a-z ]-\d']"}, "b-1 B-2", "b-1 [REDACTED_BADGE]"),
        (
            {"patterns": r"['B-\d{4}']", "starts": '"word"'},
            "xB-1234 _B-1235 B-1236",
            "xB-1234 _[REDACTED_BADGE] [REDACTED_BADGE]",
        ),
        (
            {"patterns": r"['\b\d{4}\b']", "starts": '"number"'},
            "1234 1235/1236-1237",
            "[REDACTED_BADGE] [REDACTED_BADGE]/[REDACTED_BADGE]-[REDACTED_BADGE]",
        ),
        ({"patterns": r"['\b\d{4}\b']", "starts": '"number"'}, "12 1235 1236, 1237", "12 1235 1236, [REDACTED_BADGE]"),
        ({"patterns": r"['\bB-\d{4}\b', '\bB-\d{4}-\d\b']"}, "B-1234-5", "[REDACTED_BADGE]"),
    ],
)
def test_the_keys_of_a_row(keys: dict[str, str], text: object, wanted: object) -> None:
    """Context, not_after, numbers, validate and several patterns do what the head of the file says."""
    assert redact({"note": text}, load_rules(row(**keys))).value == {"note": wanted}


def test_a_row_that_yields_is_asked_last() -> None:
    """What begins where another row found something is that one's, however much further it goes."""
    seat = row(name='"seat"', patterns=r"['\b[A-Z]-\d{4}-\d+\b']", yields_to='["badge"]')
    rules = load_rules(seat + row(patterns=r"['\bB-\d{4}\b']"))
    assert redact("B-1234-5 C-1234-5", rules).value == "[REDACTED_BADGE]-5 [REDACTED_SEAT]"


@pytest.mark.parametrize(
    ("regions", "text", "found"),
    [
        ('["GB"]', "02079460958", True),
        ('["US"]', "02079460958", False),
        ('["DE"]', "030 901820", True),
        ('["US"]', "030 901820", False),
        ('["US"]', "+44 20 7946 0958", True),
        ("[]", "02079460958", False),
    ],
)
def test_phone_regions_say_whose_national_numbers_are_known(regions: str, text: str, *, found: bool) -> None:
    """International numbers are known everywhere, national ones in the configured regions."""
    table = re.sub(r"(?m)^phone_regions = .*$", f"phone_regions = {regions}", SHIPPED)
    rules = load_rules(re.sub(r'(?m)^finds = \["08081 570 192.*$', "finds = []", table))
    assert bool(redact(text, rules).findings) is found


def test_the_head_of_the_file_names_each_check() -> None:
    """Who writes a row reads there which checks there are."""
    head = SHIPPED.split("[settings]", maxsplit=1)[0]
    listed = head.split("what a pattern found:", maxsplit=1)[1].split("#   context", maxsplit=1)[0]
    assert sorted(re.findall(r"\w+", listed)) == sorted(validators(["US"]))
