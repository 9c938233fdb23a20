"""Draws the corpus: so many positives an entity, so many clean texts, the same bytes for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.corpus import fields
from tests.corpus.carriers import carried
from tests.corpus.chance import Chance
from tests.corpus.writer import LOCALES, Template, Writer, templates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpus.model import Sample

POSITIVES: dict[str, int] = {
    "email": 480,
    "phone": 950,
    "credit_card": 450,
    "ssn": 260,
    "ip_address": 420,
    "iban": 320,
    "mac_address": 160,
    "user_id": 220,
    "session_id": 220,
    "crypto_wallet": 220,
    "date_of_birth": 150,
    "national_id": 160,
    "password": 340,
    "url_password": 140,
    "auth_header": 170,
    "jwt": 120,
    "private_key": 100,
    "vendor_token": 420,
    "api_key": 260,
}
"""Samples an entity; many have more than one label."""

CLEAN = 6_400
_CLEAN_RECORDS = 0.12
"""Share of clean samples that are records of fields."""
_FIXED = 0.1
"""Share of clean texts that say the same each time: they judge less than those in which something changes."""

_FIELD_SHARE = {"date_of_birth": 1.0, "national_id": 1.0, "password": 0.15, "api_key": 0.2, "auth_header": 0.12}
_NAMED = frozenset(
    {
        "email",
        "phone",
        "ssn",
        "password",
        "api_key",
        "auth_header",
        "user_id",
        "session_id",
        "credit_card",
        "iban",
        "ip_address",
    }
)
_ANYWHERE = {
    **{
        entity: entity
        for entity in ("email", "credit_card", "ip_address", "iban", "mac_address", "user_id", "session_id")
    },
    **{entity: entity for entity in ("crypto_wallet", "url_password", "auth_header", "jwt", "vendor_token", "api_key")},
    "phone": "phone_strong",
    "ssn": "ssn_dashed",
}
"""Entities that are recognisable without any word beside them, and the slot that draws them so."""


class Corpus(NamedTuple):
    """All samples of one seed."""

    positives: tuple[Sample, ...]
    clean: tuple[Sample, ...]


def corpus(seed: int = 1, size: float = 1.0) -> Corpus:
    """Return the corpus of a seed; `size` times as many samples as usual."""
    chance = Chance(seed)
    writer = Writer(chance)
    positives = tuple(
        sample for entity, count in POSITIVES.items() for sample in _positives(writer, entity, round(count * size))
    )
    return Corpus(positives, tuple(_clean(writer, round(CLEAN * size))))


def _positives(writer: Writer, entity: str, count: int) -> Iterator[Sample]:
    chance = writer.chance
    own = _round_robin(chance, templates(entity)) if _FIELD_SHARE.get(entity) != 1.0 else None
    anywhere = _round_robin(chance, templates("any"))
    for _ in range(count):
        faker = writer.faker(chance.choice(LOCALES[chance.choice(list(LOCALES))]))
        if own is None or (entity in _NAMED and chance.maybe(_FIELD_SHARE.get(entity, 0.06))):
            yield fields.field(writer, entity, faker)
        elif entity == "credit_card" and chance.maybe(0.05):
            yield fields.card_as_number(writer)
        elif entity in {"email", "ip_address", "credit_card"} and chance.maybe(0.03):
            yield fields.in_name(writer, entity, faker)
        elif entity in _ANYWHERE and chance.maybe(0.45):
            template = next(anywhere)
            yield carried(chance, writer.fill(template, _ANYWHERE[entity]), template.name)
        else:
            template = next(own)
            yield carried(chance, writer.fill(template), template.name)


def _clean(writer: Writer, count: int) -> Iterator[Sample]:
    chance = writer.chance
    every = templates("clean") + templates("clean_traps")
    changing = _round_robin(chance, tuple(template for template in every if template.has_slots))
    fixed = _round_robin(chance, tuple(template for template in every if not template.has_slots))
    for _ in range(count):
        if chance.maybe(_CLEAN_RECORDS):
            yield fields.clean(writer, writer.faker(chance.choice(LOCALES[chance.choice(list(LOCALES))])))
            continue
        template = next(fixed if chance.maybe(_FIXED) else changing)
        yield carried(chance, writer.fill(template), template.name)


def _round_robin(chance: Chance, every: tuple[Template, ...]) -> Iterator[Template]:
    """Yield all templates in a drawn order, again and again, so that each is used as often as any other."""
    while True:
        yield from chance.sample(every, len(every))
