"""deploy/Dockerfile: what is in the image, who runs it, and how it is asked whether it is well."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from app.settings import Settings, is_loopback
from tests.deploy.dockerfile import copied, environment, final, instructions, is_sent
from tests.deploy.servers import DEPLOY, ROOT
from tests.harness.service import free_port

if TYPE_CHECKING:
    from tests.harness.service import RunningService

BASE = re.compile(r"python:3\.\d+\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}")
PYTHONS_OWN = {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


def test_base_is_pinned() -> None:
    """Both stages stand on the same bytes."""
    bases = {one.argument.split(" AS ")[0] for one in instructions() if one.name == "FROM"}
    assert len(bases) == 1
    assert BASE.fullmatch(bases.pop())


def test_runs_as_a_numbered_user_who_is_not_root() -> None:
    """An orchestrator can see it by the number, and DATA_DIR is that user's."""
    (user,) = final("USER")
    uid, gid = map(int, user.split(":"))
    assert uid > 0
    assert gid > 0
    (run,) = final("RUN")
    assert run == f"install -d -m 0700 -o {uid} -g {gid} {environment()['DATA_DIR']}"


def test_starts_as_make_run_does() -> None:
    """The command is exec form, so that SIGTERM reaches gunicorn, and the Makefile's."""
    (command,) = final("CMD")
    assert " ".join(json.loads(command)) == "gunicorn --config gunicorn.conf.py wsgi:app"
    assert "gunicorn --config gunicorn.conf.py wsgi:app" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert final("STOPSIGNAL") == ["SIGTERM"]
    assert final("ENTRYPOINT") == []


def test_environment_is_known_and_not_open() -> None:
    """Its variables are settings or Python's, parse, and leave the service on loopback."""
    given = environment()
    known = {setting.metadata["env"] for setting in fields(Settings)}
    assert set(given) <= known | PYTHONS_OWN
    settings = Settings.from_env(given)
    assert is_loopback(settings.host)
    assert final("EXPOSE") == [str(settings.port)]


def test_holds_no_secret_and_adds_nothing_from_afar() -> None:
    """No ADD, no ARG, no name that smells of a secret, and hashes for what pip installs."""
    names = [one.name for one in instructions()]
    assert not {"ADD", "ARG"} & set(names)
    assert not [one for one in instructions() if re.search(r"(?i)password|secret|token|key=", one.argument)]
    (pip,) = [one.argument for one in instructions() if one.name == "RUN" and "pip" in one.argument]
    assert "--require-hashes" in pip
    assert "--only-binary :all:" in pip


def test_copies_what_exists_and_may_be_seen() -> None:
    """Each path is in the repository and not ignored, and together they are what the service needs."""
    paths = copied()
    assert sorted(paths) == ["app", "config", "gunicorn.conf.py", "requirements.txt", "wsgi.py"]
    for path in paths:
        assert (ROOT / path).exists(), path
        assert is_sent(path), path


IGNORED = (
    *("tests", "tests/conftest.py", ".git", ".git/config", "var", "var/cache-key.secret", ".venv", ".venv/bin/python"),
    *("deploy/Dockerfile", "deploy/.env", ".env", "docs/adr/README.md", "README.md", "requirements-dev.txt"),
    *("app/__pycache__", "app/core/__pycache__/x.cpython-311.pyc", "config/x.pyc", "anything-new"),
)


@pytest.mark.parametrize("path", IGNORED)
def test_the_build_does_not_see(path: str) -> None:
    """What the image has no use for, or must not hold, is not even sent to the engine."""
    assert not is_sent(path)


@pytest.mark.parametrize("path", ["app/core/keys.py", "config/kpis.toml", "wsgi.py", "requirements.txt"])
def test_the_build_sees(path: str) -> None:
    """The service's own files are sent."""
    assert (ROOT / path).exists()
    assert is_sent(path)


def ask_health(port: int) -> int:
    """Run the image's health check here, with a proxy in the way; return its exit code."""
    (check,) = final("HEALTHCHECK")
    program, *arguments = json.loads(check.split("CMD", 1)[1])
    assert program == "python"
    env = {"PATH": os.environ["PATH"], "PORT": str(port), "http_proxy": f"http://127.0.0.1:{free_port()}"}
    run = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, timeout=10, check=False)
    return run.returncode


def test_health_check_tells_well_from_dead(embedded: RunningService) -> None:
    """The image's own command gives 0 for a service that serves and 1 for a port where nobody listens."""
    assert ask_health(embedded.port) == 0
    assert ask_health(free_port()) == 1


def test_ignore_file_is_beside_its_dockerfile() -> None:
    """BuildKit takes the ignore file by its name, and no other one stands in its way."""
    assert (DEPLOY / "Dockerfile.dockerignore").exists()
    assert not (ROOT / ".dockerignore").exists()
