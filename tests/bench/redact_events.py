"""Payloads to redact, made from a seed or from a file of texts, and what was planted in them. Nothing is anybody's."""

from __future__ import annotations

import copy
import json
import random
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.bench import texts
from tests.bench.rows import SPEC_EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

EVENTS = 300
LEAST_BYTES, MOST_BYTES = 1024, 4096
"""Of the text of an event, in UTF-8."""

PLANTED_EVERY = 20
DENSE_FINDINGS = 30
DENSE_EVENTS = 40
EXAMPLE_COPIES = 200
"""The example by itself is over in microseconds: between two looks at the clock there are this many."""

FRENCH = (
    *("être", "déjà", "élève", "forêt", "où", "après", "façade", "œuvre", "naïf", "château", "été", "très", "même"),
    *("garçon", "côté", "là-bas", "préférer", "l'île", "d'accord", "aujourd'hui", "maître", "fenêtre", "et", "la"),
    *("le", "un", "dans", "pour", "avec", "tout", "mais", "fête", "bientôt", "hôtel", "peut-être", "zèbre"),
)
JAPANESE = (
    *(
        "今日は雨が降っています",
        "図書館で本を読みました",
        "電車は九時に着きます",
        "新しい橋を渡ってください",
        "山の上は静かでした",
    ),
    *(
        "お茶を二杯飲みました",
        "窓を開けてもいいですか",
        "カレーの作り方を教えて",
        "ゆっくり歩きましょう",
        "明日も同じ時間です",
    ),
)

MIXED = "mixed"
"""The case of the file's texts, or of the made ones in their place."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One thing that must not be there after redaction."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Case:
    """One row: payloads, and what is planted in each."""

    name: str
    title: str
    payloads: tuple[dict[str, Any], ...]
    planted: tuple[tuple[Planted, ...], ...]

    @property
    def text_bytes(self) -> int:
        """Bytes of all string values in UTF-8; names, numbers and JSON's own signs do not count."""
        return sum(size_of(payload) for payload in self.payloads)


def cases(file: Path | None) -> list[Case]:
    """Return the rows; `file` has a question and an answer a line (JSON), None takes made ones in their place."""
    source = problems(20) if file is None else _pairs(file)
    title = f"{'made-up' if file is None else file.name.split('-')[0]} problems, one in {PLANTED_EVERY} planted"
    return [
        _case(MIXED, title, source, seed=1),
        _case("prose", "clean ASCII prose", _prose(2), seed=2, planted_every=0),
        _case("foreign", f"French and Japanese, one in {PLANTED_EVERY} planted", _foreign(3), seed=3),
        Case(
            "example",
            "the specification's example",
            tuple(copy.deepcopy(SPEC_EVENT["payload"]) for _ in range(EXAMPLE_COPIES)),
            ((),) * EXAMPLE_COPIES,
        ),
        _dense(5),
    ]


def strings_of(value: Any) -> Iterator[str]:
    """Yield every string value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from strings_of(member)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)


def size_of(value: Any) -> int:
    """Return the bytes of all string values."""
    return sum(len(text.encode()) for text in strings_of(value))


def left_in(value: Any, planted: Sequence[Planted]) -> list[Planted]:
    """Return what is planted and still stands in a redacted value."""
    shown = json.dumps(value, ensure_ascii=False)
    return [one for one in planted if one.value in shown]


# What is planted


def plant(kind: str, chance: random.Random) -> Planted:
    """Return a made value of a kind, as people write it."""
    return Planted(kind, _MAKERS[kind](chance))


def _email(chance: random.Random) -> str:
    return f"{chance.choice(texts.WORDS)}.{chance.choice(texts.WORDS)}{_digits(chance, 2)}@mail.example.org"


def _phone(chance: random.Random) -> str:
    return chance.choice(
        (f"+44 20 7946 0{_digits(chance, 3)}", f"(212) 555-01{_digits(chance, 2)}", f"07700 900 {_digits(chance, 3)}")
    )


def _card(chance: random.Random) -> str:
    body = "4" + _digits(chance, 14)
    number = next(body + str(check) for check in range(10) if _luhn(body + str(check)))
    return " ".join(number[place : place + 4] for place in range(0, 16, 4))


def _luhn(number: str) -> bool:
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2]]
    return (sum(doubled) + sum(map(int, number[-1::-2]))) % 10 == 0


def _iban(chance: random.Random) -> str:
    account = _digits(chance, 18)
    check = 98 - int(account + "131400") % 97  # ISO 13616: D is 13, E is 14, and 00 where the check will stand
    number = f"DE{check:02}{account}"
    return " ".join(number[place : place + 4] for place in range(0, len(number), 4))


def _ssn(chance: random.Random) -> str:
    return f"{chance.randint(100, 665)}-{chance.randint(1, 99):02}-{chance.randint(1, 9999):04}"


def _ip(chance: random.Random) -> str:
    return ".".join(map(str, (chance.choice((23, 45, 81, 94, 188)), *(chance.randint(1, 254) for _ in range(3)))))


def _token(chance: random.Random) -> str:
    signs = string.ascii_letters + string.digits
    return chance.choice(("ghp_", "sk-")) + "7" + "".join(chance.choices(signs, k=34)) + "2"


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits, k=count))


_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "email": _email,
    "phone": _phone,
    "card": _card,
    "iban": _iban,
    "ssn": _ssn,
    "ip": _ip,
    "token": _token,
}
KINDS = tuple(_MAKERS)

_SENTENCES = {
    "email": "Write to {} when it is done.",
    "phone": "Please call {} after six.",
    "card": "It was paid with {} last week.",
    "iban": "Send the rest to {} by Friday.",
    "ssn": "The form says {} at the top.",
    "ip": "The request came from {} again.",
    "token": "It works with {} in the header.",
}


# Texts: endless pairs of what is asked and what is answered, but those of a file


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield row["question"], row["answer"]


def problems(seed: int) -> Iterator[tuple[str, str]]:
    """Yield sums in words with worked answers, full of numbers and money: the look of a maths data set."""
    chance = random.Random(seed)
    while True:
        thing, place, told = chance.choice(texts.WORDS), chance.choice(texts.WORDS), chance.randint(60, 160)
        count, price = chance.randint(3, 99), chance.randint(2, 80) / 4
        total = count * price
        question = f"A {thing} costs ${price:.2f} at the {place}, 20% less than in 2019. How much are {count} of them?"
        answer = f"There are {count}: {count}*${price:.2f}=$<<{count}*{price}={total}>>{total:,.2f}.\n#### {total}"
        yield f"{texts.prose(told, chance.randrange(1 << 30))} {question}", answer


def _prose(seed: int) -> Iterator[tuple[str, str]]:
    chance = random.Random(seed)
    while True:
        yield (
            texts.prose(chance.randint(80, 240), chance.randrange(1 << 30)),
            texts.prose(chance.randint(80, 300), chance.randrange(1 << 30)),
        )


def _foreign(seed: int) -> Iterator[tuple[str, str]]:
    chance = random.Random(seed)
    while True:
        french = [" ".join(chance.choices(FRENCH, k=chance.randint(6, 14))).capitalize() + "." for _ in range(3)]
        japanese = [f"{chance.choice(JAPANESE)}。" for _ in range(5)]
        yield " ".join(french), "".join(japanese)


def _case(
    name: str, title: str, source: Iterator[tuple[str, str]], *, seed: int, planted_every: int = PLANTED_EVERY
) -> Case:
    """Join pairs to events of a drawn size, as long as there are any; plant one thing in one of so many."""
    chance = random.Random(seed)
    payloads: list[dict[str, Any]] = []
    planted: list[tuple[Planted, ...]] = []
    kinds = iter(KINDS * EVENTS)
    while len(payloads) < EVENTS and (joined := _joined(source, chance.randint(LEAST_BYTES, MOST_BYTES - 512))):
        asked, answered = joined
        mine: tuple[Planted, ...] = ()
        if planted_every and len(payloads) % planted_every == planted_every // 2:
            mine = (plant(next(kinds), chance),)
            answered = _woven(answered, mine, chance)
        payloads.append(_payload(asked, answered, chance))
        planted.append(mine)
    return Case(name, title, tuple(payloads), tuple(planted))


def _joined(source: Iterator[tuple[str, str]], least_bytes: int) -> tuple[str, str] | None:
    asked: list[str] = []
    answered: list[str] = []
    size = 0
    for question, answer in source:
        asked.append(question)
        answered.append(answer)
        size += len(question.encode()) + len(answer.encode()) + 2
        if size >= least_bytes:
            return " ".join(asked), "\n".join(answered)
    return None


def _dense(seed: int) -> Case:
    chance = random.Random(seed)
    payloads, planted = [], []
    for _ in range(DENSE_EVENTS):
        mine = tuple(plant(KINDS[number % len(KINDS)], chance) for number in range(DENSE_FINDINGS))
        answered = " ".join(
            f"{_SENTENCES[one.kind].format(one.value)} {texts.prose(30, chance.randrange(1 << 30))}" for one in mine
        )
        payloads.append(_payload(texts.prose(400, chance.randrange(1 << 30)), answered, chance))
        planted.append(mine)
    return Case("dense", f"{DENSE_FINDINGS} findings each", tuple(payloads), tuple(planted))


def _woven(text: str, planted: Sequence[Planted], chance: random.Random) -> str:
    """The text with a sentence for each, at some blank of it."""
    for one in planted:
        place = text.find(" ", chance.randrange(len(text))) + 1
        text = f"{text[:place]}{_SENTENCES[one.kind].format(one.value)} {text[place:]}"
    return text


def _payload(asked: str, answered: str, chance: random.Random) -> dict[str, Any]:
    """The specification's shape; no user and no session, so that what is touched was found in the text."""
    return {
        "timestamp": "2025-09-03T10:30:00Z",
        "service": "pipelines-gateway",
        "tool": "generate_response",
        "args": {"model": "llama2", "prompt": asked, "temperature": 0.7},
        "response": {"text": answered, "tokens": chance.randint(20, 900), "latency_ms": chance.randint(40, 4000)},
        "metadata": {"request_id": f"req{_digits(chance, 6)}"},
    }
