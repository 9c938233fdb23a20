"""Pseudonyms: the same for one value however it is written, another for another, and nothing without the key."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from app.core.folding import fold
from app.core.pseudonyms import MARK_PATTERN, SEPARATED, PseudonymKey, Pseudonyms, is_mark, normalised
from app.settings import ROOT

if TYPE_CHECKING:
    from app.core.rules import Rules

K1 = PseudonymKey("k1", bytes(range(32)))
K2 = PseudonymKey("2026-b_x", b"\xff" * 16)
PSEUDONYMS = Pseudonyms([K1])
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
KEYS = st.builds(
    PseudonymKey,
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,15}", fullmatch=True),
    st.binary(min_size=16, max_size=64),
)
# Lone halves of surrogate pairs too: no text may make redaction fail. Not two forms of the ideographic full stop: they
# fold to it, and it to a dot.
TEXTS = st.text(st.characters(codec=None, exclude_categories=(), exclude_characters="\ufe12\uff61"))


def test_a_known_answer() -> None:
    """As docs/pseudonyms.md says it is made, here by hmac alone."""
    digest = hmac.new(bytes(range(32)), b"mark\0user_id\0user123", hashlib.sha256).hexdigest()
    assert normalised("email", " Jo\u0308rg@x.org") == "j\xf6rg@x.org"
    assert PSEUDONYMS.mark("user_id", "User123") == f"[USER_ID:k1:{digest[:32]}]"
    assert PSEUDONYMS.mark("user_id", "User123") == "[USER_ID:k1:d37992932b05bc266abde9a2b5f67416]"


def test_the_page_shows_the_known_answer() -> None:
    """docs/pseudonyms.md's example is what the command there gives."""
    page = (ROOT / "docs" / "pseudonyms.md").read_text(encoding="utf-8")
    (signed,) = re.findall(r"printf '(.+?)'", page)
    (secret,) = re.findall(r"hexkey:(\w+)", page)
    (shown,) = re.findall(r"stdin\)= (\w{32})…", page)
    message = signed.replace(r"\0", "\0").encode()
    assert hmac.new(bytes.fromhex(secret), message, hashlib.sha256).hexdigest()[:32] == shown
    assert f"[USER_ID:k1:{shown}]" in page


def test_a_known_digest() -> None:
    """Of the whole text as it is, white space and case included."""
    text = " A prompt\n"
    digest = hmac.new(bytes(range(32)), b"text\0" + text.encode(), hashlib.sha256).hexdigest()
    assert PSEUDONYMS.digest(text) == f"k1:{digest}"
    assert len({PSEUDONYMS.digest(other) for other in (text, text.strip(), text.lower(), "\ud800")}) == 4


def wide(text: str) -> str:
    """The full-width forms, as Japanese and Chinese keyboards give them."""
    return "".join(chr(ord(sign) + 0xFEE0) for sign in text)


JOINED = {
    "email": ["bob@example.org", "BOB@Example.org", " bob@example.org", wide("bob@example.org"), "b\xadob@example.org"],
    "an e-mail with an accent": ["jörg@müller.de", "JÖRG@MÜLLER.DE", "jo\u0308rg@mu\u0308ller.de"],
    "phone": ["+44 20 7946 0958", "(+44) 20-7946.0958", wide("+442079460958"), "+44\xa020 7946\u20110958"],
    "national phone": ["(020) 7946 0958", "020 7946 0958", "02079460958", "٠٢٠ ٧٩٤٦ ٠٩٥٨"],
    "credit_card": ["4111111111111111", "4111-1111-1111-1111", wide("4111") + " 1111\u20141111.1111"],
    "ssn": ["123-45-6789", "123 45 6789", "123456789"],
    "iban": ["GB82WEST12345698765432", "gb82 west 1234 5698 7654 32", "GB82-WEST-1234-5698-7654-32"],
    "national_id": ["AB 12 34 56 C", "ab123456c"],
    "an iota below": ["\u1fc4", "\u1fc3\u0301", "\u03b7\u0345\u0301", "\u1fcc\u0301"],
    "user_id": ["user123", "USER123", "user" + wide("123")],
    "person_name": ["Straße", "STRASSE", "strasse"],
}  # fmt: skip
KINDS = {"an iota below": "person_name", "an e-mail with an accent": "email", "national phone": "phone"}


@pytest.mark.parametrize("kind", JOINED)
def test_spellings_of_one_value_are_joined(kind: str) -> None:
    """As people, forms and other programs write it."""
    name = KINDS.get(kind, kind)
    assert len({PSEUDONYMS.mark(name, value) for value in JOINED[kind]}) == 1


DIFFERENT: list[tuple[tuple[str, str], tuple[str, str]]] = [
    (("email", "bob@example.org"), ("email", "rob@example.org")),
    (("phone", "5558675309"), ("user_id", "5558675309")),
    (("phone", "+442079460958"), ("phone", "442079460958")),
    (("user_id", "a-b"), ("user_id", "ab")),
    (("user_id", "a b"), ("user_id", "ab")),
    (("email", "b.ob@example.org"), ("email", "bob@example.org")),
    (("ip_address", "10.0.0.11"), ("ip_address", "10.0.01.1")),
    (("user", "_idx"), ("user_id", "x")),
    (("phone", "-"), ("phone", "()")),
    (("phone", "n/a"), ("phone", "home")),
    (("national_id", "A+1"), ("national_id", "A1x")),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=str)
def test_different_values_and_names_are_not_joined(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Nor is a value of nothing but signs equal to every other such."""
    digests = [PSEUDONYMS.mark(*which).rpartition(":")[2] for which in (one, other)]
    assert digests[0] != digests[1]


@given(st.sampled_from(sorted(SEPARATED)), st.text("0123456789 -./()", min_size=1))
def test_separators_do_not_count(name: str, value: str) -> None:
    """However many there are, where the digits are the same."""
    digits = re.sub(r"\D", "", value)
    assert normalised(name, value) == (digits or value.strip())


@given(TEXTS, NAMES)
def test_what_redaction_matched_has_the_mark_of_what_came(text: str, name: str) -> None:
    """Texts are matched folded: a value has one mark before and after."""
    assert PSEUDONYMS.mark(name, fold(text)) == PSEUDONYMS.mark(name, text)


@given(TEXTS)
def test_what_is_normalised_stays(text: str) -> None:
    """The form that stands for all spellings is one of them."""
    assert normalised("email", normalised("email", text)) == normalised("email", text)


# Marks


@given(KEYS, NAMES, TEXTS)
def test_every_mark_is_recognised(key: PseudonymKey, name: str, value: str) -> None:
    """Alone and in a text, by Python's re and by RE2, as this name's and no other's."""
    mark = Pseudonyms([key]).mark(name, value)
    assert is_mark(mark)
    assert is_mark(mark, name)
    assert not is_mark(mark, name + "_")
    text = f"a [{mark}]{mark}:"
    assert re.findall(MARK_PATTERN, text) == [mark, mark]
    assert [found.group() for found in re2.finditer(MARK_PATTERN, text)] == [mark, mark]


HEX = "0123456789abcdef" * 2
NO_MARKS = [
    "",
    "[REDACTED_USER_ID]",
    f"[USER_ID:k1:{HEX}",
    f"USER_ID:k1:{HEX}",
    f"[USER_ID:k1:{HEX}]\n",
    f" [USER_ID:k1:{HEX}]",
    f"[USER_ID:k1:{HEX[:-1]}]",
    f"[USER_ID:k1:{HEX}0]",
    f"[USER_ID:k1:{HEX.upper()}]",
    f"[USER_ID:k1:{HEX[:-1]}\u0661]",
    f"[user_id:k1:{HEX}]",
    f"[1:k1:{HEX}]",
    f"[USER-ID:k1:{HEX}]",
    f"[{'U' * 33}:k1:{HEX}]",
    f"[USER_ID::{HEX}]",
    f"[USER_ID:-k:{HEX}]",
    f"[USER_ID:K1:{HEX}]",
    f"[USER_ID:{'k' * 17}:{HEX}]",
    f"[USER_ID:k1:{HEX}][USER_ID:k1:{HEX}]",
]


@pytest.mark.parametrize("text", NO_MARKS)
def test_what_is_no_mark(text: str) -> None:
    """Nothing but exactly a mark is one."""
    assert not is_mark(text)
    assert not re2.fullmatch(MARK_PATTERN, text)


@pytest.mark.parametrize("name", ["", "User_id", "USER_ID", "user-id", "1", "_a", "user_id\n", "é", "a" * 33, "a\0b"])
def test_a_name_that_no_rule_has_is_refused(name: str) -> None:
    """Else the mark would not be recognised; the words do not hold it."""
    for make in (PSEUDONYMS.mark, PSEUDONYMS.marks):
        with pytest.raises(ValueError, match="name takes"):
            make(name, "plum")


def test_every_name_of_the_rules_is_taken(rules: Rules) -> None:
    """A finding may bear any of them."""
    for name in rules.names:
        assert is_mark(PSEUDONYMS.mark(name, "x"), name)


# Keys


def test_rotation() -> None:
    """The first key signs; all keys' marks are known, and each is what it was when its key signed alone."""
    before, during, after = Pseudonyms([K1]), Pseudonyms([K2, K1]), Pseudonyms([K2])
    old, new = before.mark("email", "bob@example.org"), during.mark("email", "bob@example.org")
    assert old != new
    assert list(during.marks("email", "Bob@example.org").items()) == [(K2.id, new), (K1.id, old)]
    assert after.marks("email", "bob@example.org") == {K2.id: new}
    assert before.digest("t") != during.digest("t") == after.digest("t")


def test_another_secret_is_another_mark() -> None:
    """An id says which key; it is not the key."""
    other = Pseudonyms([PseudonymKey("k1", bytes(range(1, 33)))])
    assert other.mark("user_id", "user123") != PSEUDONYMS.mark("user_id", "user123")
    assert other.digest("user123") != PSEUDONYMS.digest("user123")


@pytest.mark.parametrize("key_id", ["", "K1", "-k", "_k", "k 1", "k1\n", "k:1", "k]", "ä", "k" * 17])
def test_bad_ids(key_id: str) -> None:
    """What would not stand in a mark."""
    with pytest.raises(ValueError, match="id takes") as caught:
        PseudonymKey(key_id, b"s" * 16)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", [0, 15, 65])
def test_bad_secrets(size: int) -> None:
    """Too short to be no guess, or longer than HMAC takes as it is."""
    with pytest.raises(ValueError, match="16 to 64 bytes"):
        PseudonymKey("k", b"s" * size)


@pytest.mark.parametrize(
    "keys",
    [[], [K1, K1], [K1, PseudonymKey("k1", b"t" * 16)], [K1, K2, PseudonymKey("k3", K1.secret)]],
    ids=["none", "one twice", "one id", "one secret"],
)
def test_keys_that_do_not_go_together(keys: list[PseudonymKey]) -> None:
    """A secret under two ids would outlive the destruction of one."""
    with pytest.raises(ValueError, match="key") as caught:
        Pseudonyms(keys)
    assert_no_secret(str(caught.value))


def test_no_secret_is_shown() -> None:
    """In no repr, as a debugger, a log or a failed assertion would print it."""
    shown: list[Any] = [K1, [K1], PSEUDONYMS, vars(K1.__class__), f"{K1!s}"]
    for thing in shown:
        assert_no_secret(repr(thing))
    assert "k1" in repr(K1)


def assert_no_secret(text: str) -> None:
    for secret in (K1.secret, K2.secret):
        assert repr(secret)[2:20] not in text
        assert secret.hex()[:16] not in text
