"""Checks by code of what looks like a secret: whether a value is one, or a word, a placeholder, a piece of code.

Beside a name that says password or token stands anything: `password: str`, `token=None`, `password=****`. Each
check takes the candidate with the two signs before it, which tell whether it was quoted. Time is linear in its length.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from app.core.candidates import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Words of code and of forms: what stands where a secret would, and is none.
_CODE_WORDS: Final = frozenset(
    """always any arg args argument attr attribute auth bool boolean bytes bytestring call char class cls config const
    create credential credentials ctx def default dict disabled double else empty enabled enter env environ environment
    example exit expired export false field file final float form func function get getenv getpass header headers here
    hidden id if import incorrect input int integer invalid is key keys let list literal long masked max min missing
    name new nil no none not null number object optional or os param params parameter pass passphrase passwd password
    path placeholder process prompt pw pwd read redacted ref request required reset response result return
    secret secrets secretstr self session set setting settings shared short size some state static std str string
    struct sys test text this token tokens true type undefined unknown unset user username val value values var
    variable varchar void wrong yes your""".split()  # noqa: SIM905 - words, not code
)

# What opens a clause: "Password: must be long", `password: "is not correct"`.
_PROSE_WORDS: Final = frozenset(
    """a all an and any are at but by can cannot contains did do does enter for from had has have how i if in is it its
    leave may more must need needs never not of on only or please should so that the then these they this those to too
    minimum maximum use used was we were what when where which who why will with you your""".split()  # noqa: SIM905
)

_FORM_WORDS: Final = frozenset(["PASSWORD", "PASSWD", "PASS", "PWD", "SECRET", "TOKEN", "PASSWORT", "KENNWORT"])

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PATH = re.compile(r"\$?[A-Za-z_][A-Za-z0-9_]*(?:(?:\.|->|::)[A-Za-z_][A-Za-z0-9_]*)*")
_DIGITS_WITHIN = re.compile(r"(?<=[A-Za-z])[0-9]+(?=[A-Za-z])")
_DRAWN_DIGITS: Final = 2
"""Places where digits stand among letters: names in code have one (`sha256sum`), what is drawn has more."""
# Names in code are of words; of what is drawn at random, the pieces between its capitals are none.
_NO_WORD = re.compile(r"(?i)[a-z]{1,2}|(?-i:[A-Z]?[b-df-hj-np-tv-xz]{4,})")
_SHORT_WORDS: Final = frozenset(
    """ai an as at be by cd ci db dc do fk go grpc html http https id if in io ip is it js kv me my no of ok on
    or os pk psql pw py qa rx smtp ts tx ui up us vm we""".split()  # noqa: SIM905 - words, not code
)
_NUMBERED = re.compile("[0-9]{2}$")
"""How no name in code ends (`akf.pmt930`), but for those of settings (`config.db01`)."""
_FEWEST_PIECES: Final = 2
_SHORTEST_DRAWN: Final = 8
_LETTERS = re.compile(r"[A-Za-z]+(?:[-_ ][A-Za-z]+)*")
_PLACEHOLDER = re.compile(
    r"!(?:vault|env|secret|ref|include|encrypted|reference|sub)"
    r"|\$[{(A-Za-z_].*[})]?|%[A-Za-z_]+%?|%\(?.*[)]s|\{\{?.*|<.*>?|\[.*|@\{?.*\}|(?i:your|insert|enter)[-_ ].*"
    r"|(?i:my|the)[-_ ][^0-9]*|(?:var|local|module|data|vars|inputs)(?:\.[A-Za-z_]+)+|vault:\S+\#\S+|ops?://\S+"
    r"|(?:[a-z_-]{1,20}:)?(?:/[a-z][a-z0-9_.-]*){2,}"
    r"|(?:[A-Za-z]{1,6}[-_]){0,3}(?:\.{3,}|\u2026)|(?:[A-Za-z0-9]{1,10}[-_]){1,3}(?:[xX]{4,}|\*{4,})|(?:REPLACE|CHANGE)_?ME"
)
_REDACTED = re.compile(r"\[[A-Z0-9_]+(?::[a-z0-9_-]+:[0-9a-f]+)?\]|(?i:redacted)")
_SHELL_NAME = re.compile(r"\$[A-Z_][A-Z0-9_]*|\$[a-z_]+")

_SHORTEST_LETTERS: Final = 20
"""Letters alone are a token from this length on: no identifier of one word is as long."""
_SHORTEST_TOKEN: Final = 6
_SHORTEST_BARE: Final = 4
_FILE: Final = re.compile(r"(?:~|\.{1,2})?/(?:[a-z][a-z0-9_.-]*/?)*")
"""The name of a file or folder: `PWD=/root/app1`. What is in base 64 has capitals."""
_QUOTES: Final = "\"'`"
_SENTENCE_END: Final = ",.;:)»«”“\u2019"
"""What stands behind the last word of a sentence, or of what is quoted in it; `!` and `?` may be a password's own."""
_MASK: Final = frozenset("*.•-_")
_PHRASE_JOINTS: Final = 3
"""Hyphens of a passphrase: `correct-horse-battery-staple`."""
_PHRASE: Final = re.compile("[a-z]{4,}(?:-[a-z]{4,}){2,}")
_PARAMETER: Final = re.compile("&[A-Za-z_][A-Za-z0-9_.-]*[=:]")
_MASKED: Final = 4
"""From this length on, one letter over and over is a mask: `xxxx`."""


def basic_auth(found: Candidate) -> bool:
    """Base64 of printable text with a colon after its first sign (RFC 7617)."""
    text = found.text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        plain = data.decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return ":" in plain and plain.isprintable()


def bearer(found: Candidate) -> bool:
    """What has a digit, or is no word and no words, and is no placeholder: "Bearer authentication" is neither."""
    text = found.text
    is_no_word = len(text) >= _SHORTEST_LETTERS and ("-" not in text or _is_drawn(text))
    return not _is_placeholder(text) and (_has_digit(text) or is_no_word)


def url_password(found: Candidate) -> bool:
    """Whatever stands in an address for a password, but a placeholder; `USER:PASSWORD@HOST` is one of forms."""
    return not _is_placeholder(found.text) and found.text not in _FORM_WORDS


def assigned_password(found: Candidate) -> bool:
    """A password may be anything, a common word or six digits: all but placeholders, code and prose."""
    text = found.text
    if _is_placeholder(text) or _is_code(found):
        return False
    if _is_quoted(found):
        return text.split(" ")[0].lower() not in _PROSE_WORDS or _has_digit(text)
    if len(text) < _SHORTEST_BARE:
        return False
    if _LETTERS.fullmatch(text):
        # A word with more words behind it is a sentence, unless it is glued to its name: `password=letmein`.
        goes_on = found.after[:1] == " " and found.after[1:].isalpha()
        return text.lower() not in _PROSE_WORDS and not (goes_on and found.before[-1:] != "=")
    return True


def assigned_secret(found: Candidate) -> bool:
    """Beside `secret` or `api_key`: what has letters and a digit, or is quoted, or is long."""
    return assigned_token(found) or (
        _is_quoted(found)
        and len(found.text) >= _SHORTEST_TOKEN
        and " " not in found.text
        and not found.text.isdigit()
        and not _is_placeholder(found.text)
        and not _is_code(found)
    )


def assigned_token(found: Candidate) -> bool:
    """Beside `token`: letters and a digit, or long; the tokens of language models are words and counts."""
    text = found.text
    if " " in text or _is_placeholder(text) or _is_code(found):
        return False
    if not any(sign.isalpha() for sign in text):
        return False
    return len(text) >= _SHORTEST_LETTERS or (len(text) >= _SHORTEST_TOKEN and _has_digit(text)) or _is_drawn(text)


def assigned_pwd(found: Candidate) -> bool:
    """Beside `pwd`, which is also the folder that a shell is in."""
    text = found.text
    return _FILE.fullmatch(text) is None and (assigned_token(found))


def told_password(found: Candidate) -> bool:
    """In a sentence: what no word has, a digit or a sign within ("my password is hunter2")."""
    text = found.text.rstrip(f"{_SENTENCE_END}!?")
    if text.startswith("-") or _is_placeholder(text) or _is_code(found):
        return False
    is_other = any(not sign.isalpha() and sign not in "-_'." for sign in text)
    return is_other or text.count("-") >= _PHRASE_JOINTS or _PHRASE.fullmatch(text) is not None or _is_drawn(text)


def written_text(found: Candidate) -> bool:
    """What a person writes into a form: with a digit, a capital or a blank, and no placeholder or piece of code."""
    text = found.text
    return not _is_placeholder(text) and not _is_code(found) and any(not sign.islower() for sign in text)


def written_secret(found: Candidate) -> bool:
    """What stands between quotes where a secret stands: all but placeholders and words of code."""
    return not _is_placeholder(found.text) and not _is_code(found)


def told_password_located(found: Candidate) -> Iterator[tuple[int, int]]:
    """The same without the sentence's end behind it."""
    end = len(found.text.rstrip(_SENTENCE_END))
    if end and told_password(found):
        yield 0, end


def without_parameters(check: Callable[[Candidate], bool]) -> Callable[[Candidate], Iterator[tuple[int, int]]]:
    """Return the check of what stands before the next parameter of an address: `hunter2` of `hunter2&page=3`."""

    def locate(found: Candidate) -> Iterator[tuple[int, int]]:
        text, before, after = found
        behind = None if _is_quoted(found) else _PARAMETER.search(text + after)
        end = len(text) if behind is None else behind.start()
        if end and check(Candidate(text[:end], before, (text[end:] + after)[:2])):
            yield 0, end

    return locate


def _is_quoted(found: Candidate) -> bool:
    return found.before[-1:] in _QUOTES and found.before != ""


def _has_digit(text: str) -> bool:
    return any(sign.isdigit() for sign in text)


def _is_drawn(text: str) -> bool:
    """Whether small and capital letters change too often for words: `vfzc-TCBB-bCnc`, and not `secretKeyRef`."""
    if len(text) < _SHORTEST_DRAWN or text.islower() or text.isupper():
        return False
    pieces = [piece for piece in _WORDS.findall(text) if piece.lower() not in _SHORT_WORDS]
    return sum(_NO_WORD.fullmatch(piece) is not None for piece in pieces) >= _FEWEST_PIECES


def _is_placeholder(text: str) -> bool:
    """`${DB_PASSWORD}`, `<your-password>`, `{{ x }}`, `%s`, `****`, `xxxx`, `your-token`, `[REDACTED_X]`."""
    if set(text) <= _MASK or (len(text) >= _MASKED and len(set(text.lower())) == 1 and not text.isdigit()):
        return True
    if _SHELL_NAME.fullmatch(text) or ("REDACT" in text.upper() and not any(map(str.isalnum, _REDACTED.sub("", text)))):
        return True
    return _PLACEHOLDER.fullmatch(text) is not None


def _is_code(found: Candidate) -> bool:
    """A type, a constant, a name, an attribute, a call."""
    text = found.text.rstrip(".:?!")
    if not text or _is_beside(found):
        return True
    says_code = not _CODE_WORDS.isdisjoint(map(str.lower, _WORDS.findall(text)))
    is_drawn = _is_drawn(text)
    if says_code and not is_drawn and _LETTERS.fullmatch(text):
        return True
    if _is_quoted(found) or _PATH.fullmatch(text) is None or len(_DIGITS_WITHIN.findall(text)) >= _DRAWN_DIGITS:
        return False
    if is_drawn or (_NUMBERED.search(text) and not says_code):
        return found.after[:1] in ("(", "[")
    return found.after[:1] in ("(", "[") or "." in text or "->" in text or "::" in text


def _is_beside(found: Candidate) -> bool:
    """What stands where a value would, and is none: the next line's name, a shell's complaint (`${TOKEN:?not set}`)."""
    text, before = found.text, found.before
    if before[-1:] == "\n":
        return before[:1] == "=" or "=" in text or text[-1:] == ":"
    return text[:1] == "?" and before[-1:] == ":"


SECRET_CHECKS: Final[Mapping[str, Callable[[Candidate], bool]]] = {
    "assigned_password": assigned_password,
    "assigned_pwd": assigned_pwd,
    "assigned_secret": assigned_secret,
    "assigned_token": assigned_token,
    "basic_auth": basic_auth,
    "bearer": bearer,
    "written_secret": written_secret,
    "written_text": written_text,
    "url_password": url_password,
}
"""Every check of this file by the name that `config/detectors.toml` uses."""
