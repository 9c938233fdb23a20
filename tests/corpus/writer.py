"""Fills templates: labelled slots with personal values, the others with what stands around such values.

A template is one line of a file in `texts/`: `language| text`, with ⏎ for a line's end. `{{email}}` is a labelled value,
`{{email?}}` one that may stand in quotes, brackets or before a full stop, `{{~order}}` something that is not personal.
"""

from __future__ import annotations

import re
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from faker import Faker

from tests.corpus import mails, numbers, phones, plain, secrets, wallets
from tests.corpus.model import Drawn, Mark, Marked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.corpus.chance import Chance

LOCALES: dict[str, tuple[str, ...]] = {
    "en": ("en_US", "en_GB", "en_AU", "en_IN", "en_CA"),
    "de": ("de_DE", "de_AT", "de_CH"),
    "fr": ("fr_FR",),
    "es": ("es_ES", "es_MX"),
    "it": ("it_IT",),
    "nl": ("nl_NL",),
    "pl": ("pl_PL",),
    "pt": ("pt_BR", "pt_PT"),
    "sv": ("sv_SE",),
    "ja": ("ja_JP",),
    "ko": ("ko_KR",),
    "zh": ("zh_CN",),
    "ru": ("ru_RU",),
    "tr": ("tr_TR",),
}
"""The locales that write each language; a template without a language of its own is filled in any."""

_SLOT = re.compile(r"\{\{(~?)([a-z0-9_]+)(\?)?\}\}")
_WRAPS = (
    "“{}”",
    '"{}"',
    "'{}'",
    "({})",
    "`{}`",
    "[{}]",
    "**{}**",
    "<{}>",
    "{}.",
    "{},",
    "{};",
    "{}!",
    "{}?",
    "_{}_",
    "»{}«",
)


class Template(NamedTuple):
    """One template and where it stands."""

    name: str
    language: str
    text: str

    @property
    def has_slots(self) -> bool:
        """Something in it is drawn anew each time."""
        return _SLOT.search(self.text) is not None


@cache
def templates(file: str) -> tuple[Template, ...]:
    """Return a file's templates."""
    lines = (Path(__file__).parent / "texts" / f"{file}.txt").read_text("utf-8").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#!"):
            language, text = line.split("| ", 1)
            found.append(Template(f"{file}:{number}", language, text.replace("⏎", "\n")))
    return tuple(found)


class Writer:
    """Draws values for templates, the same ones for the same seed."""

    def __init__(self, chance: Chance) -> None:
        """Draw from `chance`; Faker's generators are seeded from it too."""
        self.chance = chance
        self._seed = chance.getrandbits(32)
        self._fakers: dict[str, Faker] = {}

    def faker(self, locale: str) -> Faker:
        """Return Faker's generator for a locale."""
        if locale not in self._fakers:
            self._fakers[locale] = Faker(locale)
            self._fakers[locale].seed_instance(self._seed ^ zlib.crc32(locale.encode()))
        return self._fakers[locale]

    def fill(self, template: Template, entity: str | None = None) -> Marked:
        """Return the template with its slots filled; `{{value}}` becomes `entity`."""
        language = template.language if template.language in LOCALES else self.chance.choice(list(LOCALES))
        faker = self.faker(self.chance.choice(LOCALES[language]))
        parts: list[str] = []
        marks: list[Mark] = []
        size = at = 0
        for slot in _SLOT.finditer(template.text):
            parts.append(template.text[at : slot.start()])
            size += len(parts[-1])
            at = slot.end()
            if slot[1]:
                parts.append(plain.FILLERS[slot[2]](self.chance, faker))
            else:
                name = entity if slot[2] == "value" and entity else slot[2]
                drawn = self.draw(name, language, faker)
                before, after = self._wrap(name) if slot[3] else ("", "")
                start = size + len(before) + drawn.start
                end = size + len(before) + (len(drawn.text) if drawn.end is None else drawn.end)
                marks.append(Mark(start, end, ENTITY_OF.get(name, name), drawn.variant))
                parts.append(before + drawn.text + after)
            size += len(parts[-1])
        parts.append(template.text[at:])
        return Marked("".join(parts), tuple(marks))

    def draw(self, slot: str, language: str, faker: Faker) -> Drawn:
        """Return a value for a labelled slot."""
        if slot == "phone":
            return phones.with_context(self.chance, language, faker.phone_number())
        if slot == "email":
            return mails.email(self.chance, faker)
        return DRAWS[slot](self.chance)

    def _wrap(self, slot: str) -> tuple[str, str]:
        if self.chance.maybe(0.55):
            return "", ""
        # A full stop or an exclamation mark belongs to a password as likely as to the sentence.
        wraps = _WRAPS[:5] if slot in {"password", "named_key"} else _WRAPS
        before, after = self.chance.choice(wraps).split("{}")
        return before, after


DRAWS: dict[str, Callable[[Chance], Drawn]] = {
    "phone_strong": phones.unmistakable,
    "credit_card": numbers.card,
    "ssn": numbers.ssn,
    "ssn_dashed": numbers.ssn_dashed,
    "ip_address": numbers.ip_address,
    "mac_address": numbers.mac_address,
    "iban": numbers.iban,
    "user_id": numbers.user_id,
    "session_id": numbers.session_id,
    "crypto_wallet": wallets.wallet,
    "password": secrets.password,
    "query_password": secrets.query_password,
    "named_key": secrets.named_key,
    "url_password": secrets.url_password,
    "auth_header": secrets.bearer,
    "jwt": secrets.jwt,
    "private_key": secrets.private_key,
    "vendor_token": secrets.vendor_token,
    "api_key": secrets.api_key,
}
"""What each labelled slot draws (but phone and email, which depend on the language)."""

ENTITY_OF = {"phone_strong": "phone", "ssn_dashed": "ssn", "named_key": "api_key", "query_password": "password"}
"""Slots that are another writing of an entity."""
