"""README's examples do what the README says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.harness.service import RunningService

HAS_CURL = shutil.which("curl") is not None

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8114"

EXAMPLES = re.findall(r"```sh\n(curl .*?)```\n(?:\n```json\n(.*?)```)?", README, re.DOTALL)


def _fits(shown: Any, given: Any) -> bool:
    """Whether an answer is the shown one; `…` stands for anything, and members may stand in any order."""
    if shown == "…":
        return True
    if isinstance(shown, dict) and isinstance(given, dict):
        return shown.keys() == given.keys() and all(_fits(shown[name], given[name]) for name in shown)
    if isinstance(shown, list) and isinstance(given, list):
        return len(shown) == len(given) and all(map(_fits, shown, given))
    return bool(shown == given and type(shown) is type(given))


def test_there_are_examples() -> None:
    """The pattern finds the examples: log, batch, redact, set, get, delete, figures."""
    assert len(EXAMPLES) >= 7


@pytest.mark.skipif(not HAS_CURL and os.environ.get("CI") != "true", reason="curl is not installed")
@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[example[0][:60] for example in EXAMPLES])
def test_example(command: str, shown: str, embedded: RunningService) -> None:
    """Each example, run as it stands, answers what stands below it."""
    assert ADDRESS in command
    script = "set -e\n" + command.replace(ADDRESS, embedded.url)
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    if shown:
        assert _fits(json.loads(shown), json.loads(ended.stdout)), ended.stdout
    else:
        assert "telemetry_cache_" in ended.stdout
        assert not ended.stdout.startswith('{"type"')


MAKES_OWN = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "ARGS")
"""What a make leaves in the environment of what it runs."""


def test_the_cleaning_command() -> None:
    """The pipe works as it stands, and only data comes out of it."""
    ((command, shown),) = re.findall(r"```sh\n(echo .*? make redact)\n```\n\n```json\n(.*?)\n```", README)
    # With the Python that runs this test: what its environment lacks is not installed from here.
    make = f"make --old-file=.venv/run.stamp BIN={shlex.quote(str(Path(sys.executable).parent))}"
    ended = subprocess.run(
        ["sh", "-c", command.replace("make", make)],
        cwd=Path(__file__).resolve().parents[2],
        # `make test` hands its own flags and ARGS on; a make inside a make tells its folders on stdout.
        env={name: value for name, value in os.environ.items() if name not in MAKES_OWN},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(ended.stdout) == json.loads(shown)
    assert "phone" in ended.stderr


def test_the_dead_letters_command(tmp_path: Path) -> None:
    """It works as it stands, here with an empty DATA_DIR."""
    (command,) = re.findall(r"```sh\n\.venv/bin/(flask .*?)\n```", README)
    flask = Path(sys.executable).parent / "flask"
    ended = subprocess.run(
        [flask, *command.split()[1:]],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == ""
