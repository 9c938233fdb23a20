"""What the documentation says is what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from app import docs
from app.core.problems import PROBLEM_TYPES
from app.settings import documented
from app.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["settings.md", "metrics.md"])
def test_generated_pages_are_fresh(name: str) -> None:
    """docs/settings.md and docs/metrics.md are what `make docs` writes."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == docs.pages(ROOT / "config")[name]


def test_every_environment_variable_in_the_code_is_a_setting() -> None:
    """No module reads an environment variable beside app/settings.py."""
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "app").rglob("*.py")
        if re.search(r"os\.environ|os\.getenv", path.read_text(encoding="utf-8"))
    ]
    # The replay is a client of the service: it takes its key from the environment as other clients do.
    assert sorted(readers) == ["app/replay/__main__.py", "app/settings.py"]


def test_settings_are_used() -> None:
    """No option does nothing: each setting's field is read somewhere outside app/settings.py."""
    sources = [*(ROOT / "app").rglob("*.py"), ROOT / "gunicorn.conf.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    used_inside = {"host", "port", "allow_anonymous", "web_concurrency", "redis_url"}
    unused = [
        setting.name
        for setting in documented()
        if not re.search(rf"settings\.{setting.name}\b", code) and setting.name not in used_inside
    ]
    assert unused == []


def test_one_version() -> None:
    """The version stands alike in app/version.py, pyproject.toml and at the head of the changelog."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    heads = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert project["version"] == VERSION
    assert VERSION in heads


def test_links_lead_somewhere() -> None:
    """Every relative link of README and docs/ names a file that is there."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert dead == []


def test_problem_types_are_distinct() -> None:
    """Slugs are stable names: none stands twice, and each page says something."""
    slugs = [kind.slug for kind in PROBLEM_TYPES]
    assert len(set(slugs)) == len(slugs)
    assert all(kind.explanation.endswith(".") for kind in PROBLEM_TYPES)


def test_nothing_names_a_registry_or_this_machine() -> None:
    """Pins carry no registry's address, so that any index serves."""
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-bench.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--hash=sha256:" in text
