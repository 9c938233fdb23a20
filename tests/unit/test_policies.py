"""Lists, policies and pseudonyms of the rule table: what an operator says of his own words, fields and people."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.detectors import RuleError, load_rules
from app.core.pseudonyms import PseudonymKey, Pseudonyms
from app.core.redaction import redact
from app.core.walk import MAX_DEPTH, MAX_NODES, WITHHELD
from app.settings import ROOT

SHIPPED = (ROOT / "config" / "detectors.toml").read_text(encoding="utf-8")
KEYS = Pseudonyms([PseudonymKey("k1", b"0123456789abcdef")])
PAYLOAD: dict[str, Any] = {
    "args": {"prompt": "mail bob@x.org", "model": "llama2"},
    "response": {"text": "ask bob@x.org", "tokens": 3},
    "messages": [{"content": "bob@x.org"}, {"content": 7}],
}


def policy(action: str, fields: str = '["args.prompt"]', events: str = '["chat"]') -> str:
    """A row."""
    return f'[[policy]]\nwhy = "Ours."\nevents = {events}\nfields = {fields}\naction = "{action}"\n'


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("keep", {"prompt": "mail bob@x.org", "model": "llama2"}),
        ("redact", {"prompt": "mail [REDACTED_EMAIL]", "model": "llama2"}),
        ("hash", {"prompt": {"digest": KEYS.digest("mail bob@x.org"), "length": 14}, "model": "llama2"}),
        ("drop", {"model": "llama2"}),
    ],
)
def test_a_policy_decides_of_its_field_and_event_alone(action: str, args: dict[str, Any]) -> None:
    """The other fields, and other event types, are redacted as ever; a second run changes nothing."""
    rules = load_rules(SHIPPED + policy(action), KEYS)
    result = redact(PAYLOAD, rules, "chat")
    assert result.value["args"] == args
    assert result.value["response"]["text"] == "ask [REDACTED_EMAIL]"
    assert redact(PAYLOAD, rules, "other").value["args"]["prompt"] == "mail [REDACTED_EMAIL]"
    assert redact(result.value, rules, "chat").value == result.value
    assert redact(result.value, rules, "chat").findings == ()


def test_a_policy_reaches_into_lists_and_everywhere() -> None:
    """`*` is any item, and any event type that has no policy of its own for the field."""
    rules = load_rules(
        SHIPPED
        + policy("drop", '["messages.*.content"]', '["*"]')
        + policy("keep", '["messages.*.content"]', '["chat"]'),
        KEYS,
    )
    assert redact(PAYLOAD, rules, "other").value["messages"] == [{}, {}]
    assert redact(PAYLOAD, rules, "chat").value["messages"] == PAYLOAD["messages"]


def test_a_hash_without_a_key_is_redaction() -> None:
    """An unkeyed digest of a short text is reversed by trying them all."""
    value = redact(PAYLOAD, load_rules(SHIPPED + policy("hash")), "chat").value
    assert value["args"]["prompt"] == "[REDACTED_POLICY]"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (policy("hide"), "action"),
        (policy("keep", '["args..prompt"]'), "fields"),
        (policy("drop", '["messages.*"]'), "fields"),
        (policy("keep", events='["Chat!"]'), "events"),
        (policy("keep") + policy("drop"), "already"),
        ('[[allow]]\nwhy = "x"\n', "at least one"),
        ('[[allow]]\nwhy = "x"\nvalues = ["x"]\ndetectors = ["nobody"]\n', "detectors: a name that no detector"),
        ('[[allow]]\nwhy = "x"\npatterns = ["("]\n', "RE2"),
        ('[[deny]]\nwhy = "x"\nwords = [" "]\n', "words"),
        ('[[deny]]\nwords = ["x"]\n', "why"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(bad: str, says: str) -> None:
    """As every row of the table is."""
    with pytest.raises(RuleError) as caught:
        load_rules(SHIPPED + bad)
    assert says in caught.value.fault
    assert caught.value.line > SHIPPED.count("\n")


def test_an_allow_list_leaves_its_values_alone() -> None:
    """Values and patterns, in any case; in texts and under field names."""
    row = '[[allow]]\nwhy = "Ours."\nvalues = ["Desk@corp.example"]\npatterns = [".*@test\\\\.example"]\n'
    rules = load_rules(SHIPPED + row)
    kept = {"note": "desk@CORP.example, a@test.example", "email": "desk@corp.example"}
    assert redact(kept, rules).value == kept
    assert redact("bob@corp.example", rules).value == "[REDACTED_EMAIL]"


def test_a_deny_list_takes_its_words_whole() -> None:
    """In any case and spelling, under its own name or `denied`."""
    rules = load_rules(
        SHIPPED + '[[deny]]\nwhy = "x"\nwords = ["Project Falcon"]\n'
        '[[deny]]\nname = "plant"\nwhy = "x"\nwords = ["Übig"]\n'
    )
    wanted = "about [REDACTED_DENIED] in [REDACTED_PLANT], falconry"
    assert redact("about PROJECT falcon in übig, falconry", rules).value == wanted


def test_pseudonyms_join_and_stay() -> None:
    """One person, one mark, in texts and fields; marks are left alone, what stands glued to one is not."""
    table = SHIPPED.replace('name = "email"\n', 'name = "email"\naction = "pseudonymise"\n')
    rules = load_rules(table, KEYS)
    result = redact({"note": "ask Bob@x.org", "email": "bob@x.org"}, rules)
    mark = KEYS.mark("email", "bob@x.org")
    assert result.value == {"note": f"ask {mark}", "email": mark}
    assert {finding.action for finding in result.findings} == {"pseudonymise"}
    assert redact(result.value, rules).findings == ()
    assert redact(f"{mark}ann@x.org", rules).value == f"{mark}{KEYS.mark('email', 'ann@x.org')}"


def test_a_mark_announces_nothing() -> None:
    """The name in a mark is no word of the text: `[REDACTED_PHONE]` makes no telephone number of what follows."""
    rules = load_rules(SHIPPED)
    assert redact("[REDACTED_PHONE], 1951383600000", rules).value == "[REDACTED_PHONE], 1951383600000"
    assert redact("[REDACTED_4111111111111111]", rules).value != "[REDACTED_4111111111111111]"


@pytest.mark.parametrize("kind", ["depth", "nodes"])
def test_what_passes_a_bound_is_withheld_whole(kind: str) -> None:
    """It is not raised, and nothing of it is let through."""
    value: Any = ["bob@x.org"] * (MAX_NODES + 1)
    if kind == "depth":
        value = "bob@x.org"
        for _ in range(MAX_DEPTH + 2):
            value = [value]
    result = redact(value, load_rules(""))
    assert result.value == WITHHELD
    assert [finding.detector for finding in result.findings] == ["failed"]


@pytest.mark.parametrize(
    "forged",
    [
        {"digest": "Bob, bob@example.org, card 4111 1111 1111 1111", "length": 1},
        {"digest": {"all": ["SSN 219-09-9998"]}, "length": 1},
        {"digest": "k1:" + "0" * 64, "length": True},
        {"digest": "k1:" + "0" * 63, "length": 1},
    ],
)
def test_what_only_looks_like_a_digest_is_hashed(forged: dict[str, Any]) -> None:
    """A caller cannot get a prompt past the policy `hash` by giving it a digest's members."""
    rules = load_rules(policy("hash", '["prompt"]'), KEYS)
    value = redact({"prompt": forged}, rules, "chat").value["prompt"]
    assert value != forged
    assert redact({"prompt": value}, rules, "chat").value["prompt"] == value


def test_what_is_allowed_as_a_stretch_is_left_whole() -> None:
    """Nothing is found within it; what goes beyond it, or stands beside it, is."""
    rules = load_rules(SHIPPED + "\n[[allow]]\nwhy = \"Ours.\"\nspans = ['<<[^>]*>>']\n")
    text = "bob@x.org <<bob@x.org 4111111111111111>> ann@x.org password=<<x>>y1"
    assert (
        redact(text, rules).value == "[REDACTED_EMAIL] <<bob@x.org 4111111111111111>> [REDACTED_EMAIL] password=<<x>>y1"
    )


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("spans = []", "spans"),
        ("spans = ['(']", "patterns"),
        ("spans = ['x']\nvalues = ['y']", "spans: a row of their own"),
    ],
)
def test_a_bad_stretch_is_refused(keys: str, says: str) -> None:
    with pytest.raises(RuleError, match=says):
        load_rules(f'[[allow]]\nwhy = "Ours."\n{keys}\n')
