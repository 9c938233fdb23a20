"""The redaction rows' own arithmetic, inputs and words; nothing here looks at a clock."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from tests.bench import options, presidio_child, redact_events, redact_report, worst, worst_inputs
from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.presidio import NotInstalledError, Presidio
from tests.bench.redact_events import KINDS, MOST_BYTES, PLANTED_EVERY, Planted, left_in, plant, size_of
from tests.bench.redact_others import PII_PATTERNS, PatternByPattern, redact_pii
from tests.bench.redact_rows import OURS, PRESIDIO, RE, SPEC, Redaction, Sight, Turn


@pytest.fixture(scope="module")
def made():
    """The rows without a file of texts."""
    return {case.name: case for case in redact_events.cases(None)}


@pytest.mark.parametrize("name", ["mixed", "prose", "foreign"])
def test_events_are_as_long_as_they_say(made, name):
    """1 to 4 KB of text each, and the same in every run."""
    sizes = [size_of(payload) for payload in made[name].payloads]
    assert len(sizes) == redact_events.EVENTS
    assert redact_events.LEAST_BYTES <= min(sizes) < max(sizes) <= MOST_BYTES
    assert made[name].text_bytes == sum(sizes)
    assert {case.name: case for case in redact_events.cases(None)}[name] == made[name]


def test_one_event_in_twenty_is_planted(made):
    """Every kind occurs, what is planted stands in its event, and the first events, Presidio's, have one."""
    planted = made["mixed"].planted
    assert sum(map(bool, planted)) == redact_events.EVENTS // PLANTED_EVERY
    assert sum(map(bool, planted[:PLANTED_EVERY])) == 1
    assert {one.kind for each in planted for one in each} == set(KINDS)
    there = zip(made["mixed"].payloads, planted, strict=True)
    assert all(left_in(payload, each) == list(each) for payload, each in there)
    assert not any(made["prose"].planted)
    assert {len(each) for each in made["dense"].planted} == {redact_events.DENSE_FINDINGS}


def test_foreign_texts_are_not_ascii(made):
    """Every event of the row has signs that are folded before they are matched."""
    assert not any(json.dumps(payload, ensure_ascii=False).isascii() for payload in made["foreign"].payloads)


def test_file_of_texts_is_read_until_it_ends(tmp_path):
    """As many events as the rows of the file make."""
    file = tmp_path / "some-test.jsonl"
    row = json.dumps({"question": "q" * 700, "answer": "a" * 700})
    file.write_text(f"{row}\n" * 9, encoding="utf-8")
    case = redact_events.cases(file)[0]
    assert case.title.startswith("some problems")
    assert 2 <= len(case.payloads) <= 9


def test_planted_numbers_have_true_check_digits():
    """A card passes Luhn's check and an IBAN has 1 as its rest by 97 (ISO 13616), or nobody need find them."""
    chance = random.Random(3)
    for _ in range(50):
        card = plant("card", chance).value.replace(" ", "")
        doubled = "".join(str(int(digit) * (2 - place % 2)) for place, digit in enumerate(card))
        assert (sum(map(int, doubled)) % 10, len(card)) == (0, 16)
        iban = plant("iban", chance).value.replace(" ", "")
        assert int(iban[4:] + "1314" + iban[2:4]) % 97 == 1
        assert len(iban) == 22


def test_what_is_left_is_told():
    """A value counts as left wherever it stands, in a name too."""
    mine = [Planted("ip", "1.2.3.4"), Planted("ssn", "219-09-9998")]
    assert left_in({"a": ["x 1.2.3.4 y"]}, mine) == mine[:1]
    assert left_in({"219-09-9998": 1}, mine) == mine[1:]


def test_the_specifications_algorithm_is_its_own():
    """Its example loses what it says, a string is replaced whole, and strings in lists are not looked at."""
    data = {"text": "ask user123", "list": ["a@b.org"], "n": {"ip": "at 10.0.0.1"}}
    redacted, fields = redact_pii(data)
    assert redacted == {"text": "[REDACTED_USER_ID]", "list": ["a@b.org"], "n": {"ip": "[REDACTED_IP_ADDRESS]"}}
    assert fields == ["text", "ip"]


def test_patterns_that_are_not_pythons_are_left_out():
    """They are counted, and none is searched twice."""
    plain = PatternByPattern([("email", r"\pL+@x"), ("pin", r"pin \d+"), ("pin", r"pin \d+")])
    assert plain.left_out == [r"\pL+@x"]
    assert len(plain.patterns) == len(PII_PATTERNS) + 1
    assert plain.redact({"a": ["my pin 12 and 10.0.0.1", 3]}) == {
        "a": ["my [REDACTED_PIN] and [REDACTED_IP_ADDRESS]", 3]
    }


def test_presidio_that_is_not_there_is_said(tmp_path, monkeypatch):
    """No interpreter, or one without the package: no error of the benchmark; a child that fails is one."""
    with pytest.raises(NotInstalledError, match="make bench"):
        Presidio.start(tmp_path / "python")
    child = tmp_path / "child.py"
    monkeypatch.setattr(presidio_child, "__file__", str(child))
    child.write_text('print(\'{"missing": "No module named x"}\')', encoding="utf-8")
    with pytest.raises(NotInstalledError, match="No module named x"):
        Presidio.start(Path(sys.executable))
    child.write_text("raise SystemExit(5)", encoding="utf-8")
    with pytest.raises(BenchError, match="ended with 5"):
        Presidio.start(Path(sys.executable))


def test_presidios_answers_are_read(tmp_path, monkeypatch):
    """A question is a line, and so is its answer; one that ends without is an error."""
    child = tmp_path / "child.py"
    child.write_text(
        "import json, sys\n"
        "print(json.dumps({'version': '9', 'recognizers': ['Ip']}), flush=True)\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    if asked['case'] == 'end': break\n"
        "    said = {'touched': len(asked['payloads'])} if 'payloads' in asked else {'events': 4, 'cpu_s': 0.5}\n"
        "    print(json.dumps(said), flush=True)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(presidio_child, "__file__", str(child))
    with Presidio.start(Path(sys.executable)) as running:
        assert (running.version, running.recognizers) == ("9", ["Ip"])
        assert running.take("mixed", [{}, {}]) == 2
        assert running.search("mixed", 0.1) == (4, 0.5)
        with pytest.raises(BenchError, match="ended while"):
            running.search("end", 0.1)


class _Finder:
    """A recognizer that finds a word."""

    supported_entities = ("WORD",)

    def analyze(self, text, _entities, _artifacts):
        """Return one finding for each time that the word stands there."""
        return ["word"] * text.count("word")


def test_presidio_child_looks_at_every_string():
    """In lists and below names too; numbers are no text."""
    assert presidio_child.touches({"a": 1, "b": [{"c": "a word"}]}, [_Finder()])
    assert not presidio_child.touches({"word": 1, "b": ["none"]}, [_Finder()])
    assert presidio_child.timed([{"a": "b"}] * 3, [_Finder()], 0.0)["events"] == 3


def _turn(number: int, side: str, cpu_s: float, case: str = "mixed") -> Turn:
    return Turn(round=number, case=case, side=side, events=10, text_bytes=1_000_000, cpu_s=cpu_s)


def _sight(left: dict[str, int] | None = None) -> Sight:
    touched = {OURS: (2, 20), RE: (20, 20), SPEC: (3, 20)}
    common = {"case": "mixed", "title": "some problems", "events": 20, "text_bytes": 40_000, "planted": 1}
    return Sight(**common, left=left or {}, touched=touched, clean_touched=1)


def test_rates_are_of_cpu_time_and_ratios_of_a_round():
    """1 MB in 10 ms is 100 MB/s, 1,000 us for each of ten events; rounds without the other side have no ratio."""
    turns = [_turn(1, OURS, 0.01), _turn(2, OURS, 0.02), _turn(3, OURS, 9.0), _turn(1, PRESIDIO, 2.0)]
    turns += [_turn(2, PRESIDIO, 3.0), _turn(3, PRESIDIO, 1.0, case="other")]
    assert (round(turns[0].us), round(turns[0].mb_per_s)) == (1000, 100)
    times = redact_report.times("mixed", PRESIDIO, turns)
    assert times is not None
    assert (round(times.least), round(times.most)) == (150, 200)
    assert redact_report.times("mixed", RE, turns) is None


@pytest.mark.parametrize(
    ("cpu_s", "left", "verdicts"),
    [
        (0.01, {}, ("| reached |", "| reached |")),
        (0.05, {}, ("| not reached |", "| not reached |")),
        (0.01, {"iban": 2}, ("| not valid: planted findings are left |",) * 2),
    ],
)
def test_report_says_what_was_reached(cpu_s, left, verdicts):
    """40 MB/s and 100 x Presidio; what leaves planted findings has no rate that counts, and is a fault."""
    found = Redaction({"texts": "some"}, [_sight(left)], [_turn(1, OURS, cpu_s), _turn(1, PRESIDIO, 2.0)])
    text = redact_report.render(found, [])
    lines = [line for line in text.splitlines() if "| 40 MB/s |" in line or "| 100 x Presidio |" in line]
    assert len(lines) == 2
    assert all(line.endswith(verdict) for line, verdict in zip(lines, verdicts, strict=True))
    assert [fault.count("2 planted iban left") for fault in found.faults] == [1] * len(left)


def test_report_without_presidio():
    """Its columns say so; nothing is divided by what is not there."""
    text = redact_report.render(Redaction({}, [_sight()], [_turn(1, OURS, 0.01)]), [])
    assert "not installed" in text
    assert "100 x" not in text
    assert "| 2 of 20 | 20 of 20 | 3 of 20 | not installed |" in text


def _slow(detector: str, match_ms: float | None, redact_ms: float) -> worst.Worst:
    match = None if match_ms is None else Figure.of([match_ms])
    names = {"match_input": "run of 'a'" if match else "", "redact_input": "a."}
    return worst.Worst(detector=detector, inputs=3, match_ms=match, redact_ms=Figure.of([redact_ms]), **names)


def test_report_names_the_worst():
    """The slowest pattern and the dearest input decide, and stand by name."""
    text = redact_report.render(Redaction(), [_slow("a 1", 1.5, 3.0), _slow("b 1", 2.5, 4.0), _slow("rest", None, 9.0)])
    assert "| worst input, matching: b 1 | under 2 ms | 2.50 (2.50–2.50) | not reached |" in text  # noqa: RUF001
    assert "| worst input, redact(): rest | under 20 ms | 9.00 (9.00–9.00) | reached |" in text  # noqa: RUF001
    assert "| rest |  |  | 9.00" in text


def test_worst_inputs_are_made_from_the_pattern():
    """Runs of what its classes take, of its letters, and of its examples with another end."""
    made = worst_inputs.of_pattern(r"(?i)\bsk-[a-f0-9.]{8}", 100)
    assert made["run of '0.'"] == "0." * 50
    assert made["run of 'sk-'"] == "sk-" * 33
    assert made["run of 'sk-.'"] == "sk-." * 25
    assert "run of 'Z'" not in made
    examples = worst_inputs.of_examples(["4111", "é!x"], 10)
    assert examples["near-misses of example 1, spaced"] == "4112 4112 "
    assert examples["finds example 2, glued"] == "é!xé!x"
    assert all(len(text.encode()) <= 100 for text in worst_inputs.common(100).values())


def test_examples_stand_by_name_and_pattern():
    """A row with two patterns shares its examples."""
    table = "[[detector]]\nname = 'a'\npatterns = ['x', 'y']\nfinds = ['xy']\n[[field]]\nname = 'a'\n"
    assert worst_inputs.examples_of(table) == {("a", "x"): ["xy"], ("a", "y"): ["xy"]}


def test_slowest_input_is_named(monkeypatch):
    """Each text is run once, what is remembered not even that, and the slowest few five times more."""
    ran = []

    def took_ms(_run, text):
        ran.append(text)
        return float(len(text))

    monkeypatch.setattr(worst, "_ms", took_ms)
    inputs = {name: "x" * number for number, name in enumerate("abcdef")}
    assert worst.slowest_of(ran.append, inputs, {"": 0.0}) == ("f", Figure.of([5.0]))
    assert [ran.count("x" * number) for number in range(6)] == [0, 1, 1, 6, 6, 6]


def test_options_of_redaction(tmp_path):
    """Parts of their own; a file of texts that is named must be there."""
    asked = options.parse(["--only", "redact,worst", "--quick"])
    assert asked.parts == frozenset(options.REDACTION)
    assert asked.redact_rounds == options.QUICK_ROUNDS
    with pytest.raises(SystemExit):
        options.parse(["--texts", str(tmp_path / "none")])
