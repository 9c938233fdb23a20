"""`make replay` against the real service: every row logged, found in the sink, and answered back verbatim."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.load import wait_until

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.harness.redis import RedisServer
    from tests.harness.service import RunningService

ROOT = Path(__file__).resolve().parents[2]

# Prompts that fall on one key by the specification's own normalisation, and must not here.
TRAPS = [
    ('def correct(brackets: str):\n    """ brackets is a string of "<" and ">".', "depth of <"),
    ('def correct(brackets: str):\n    """ brackets is a string of "(" and ")".', "depth of ("),
    ("法国的首都是哪里", "巴黎"),
    ("德国的首都是哪里", "柏林"),
    ("is x>=5 true", "yes"),
    ("is x<=5 true", "no"),
    ("a" * 50 + " one way", "left"),
    ("a" * 50 + " another", "right"),
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file of 200 clean rows, the traps among them."""
    plain = [(f"What is {n} plus {n}? It is not {n * 7}.", f"{n} + {n} = {2 * n}\n#### {2 * n}") for n in range(192)]
    path = tmp_path / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for prompt, answer in [*plain, *TRAPS]:
            file.write(json.dumps({"question": prompt, "answer": answer}) + "\n")
    return path


def _replay(service: RunningService, rows: Path) -> dict[str, object]:
    ended = subprocess.run(
        [sys.executable, "-m", "app.replay", "--json", "--url", service.url, str(rows)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report: dict[str, object] = json.loads(ended.stdout)
    return report


def _sunk_prompts(service: RunningService) -> list[str]:
    lines = [line for path in (service.data_dir / "logs").glob("*.ndjson") for line in path.read_text().splitlines()]
    return sorted(json.loads(line)["payload"]["args"]["prompt"] for line in lines)


def _check(service: RunningService, rows: Path) -> None:
    report = _replay(service, rows)
    shown = {name: report[name] for name in ("rows", "logged", "redacted", "wrong_answers")}
    assert shown == {"rows": 200, "logged": 200, "redacted": 0, "wrong_answers": 0}
    sent = sorted(json.loads(line)["question"] for line in rows.read_text(encoding="utf-8").splitlines())
    wait_until(lambda: _sunk_prompts(service) == sent, "every row is in the sink as it was sent")


def test_embedded(start_service: StartService, rows: Path) -> None:
    """With the embedded defaults."""
    _check(start_service(BATCH_MAX_AGE_S="0.1"), rows)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_on_redis(workers: str, start_service: StartService, redis_server: RedisServer, rows: Path) -> None:
    """On real Redis, with one worker and with two: what one sets the other gets."""
    _check(start_service(REDIS_URL=redis_server.url, WEB_CONCURRENCY=workers, BATCH_MAX_AGE_S="0.1"), rows)
