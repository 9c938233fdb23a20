"""deploy/Dockerfile and its ignore file, as far as the tests must read them."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatch
from typing import NamedTuple

from tests.deploy.servers import DEPLOY


class Instruction(NamedTuple):
    """One instruction with the stage that it stands in, counted from 0."""

    stage: int
    name: str
    argument: str


def instructions() -> list[Instruction]:
    """Return the Dockerfile's instructions, comments gone and lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    found: list[Instruction] = []
    stage = -1
    for line in filter(str.strip, text.splitlines()):
        name, argument = line.split(maxsplit=1)
        stage += name == "FROM"
        found.append(Instruction(stage, name, argument))
    return found


def final(name: str) -> list[str]:
    """Return the arguments of the last stage's instructions of a name."""
    all_ = instructions()
    return [one.argument for one in all_ if one.stage == all_[-1].stage and one.name == name]


def environment() -> dict[str, str]:
    """Return what the image sets, PATH as it is written."""
    return dict(pair.split("=", 1) for argument in final("ENV") for pair in shlex.split(argument))


def copied() -> list[str]:
    """Return the paths that are copied from the repository."""
    from_here = [one.argument for one in instructions() if one.name == "COPY" and not one.argument.startswith("--from")]
    return [path for argument in from_here for path in argument.split()[:-1]]


def is_sent(path: str) -> bool:
    """Tell whether the ignore file lets the build see a path: the last pattern that fits it or a parent decides."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    parts = path.split("/")
    parents = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    sent = True
    for line in lines:
        pattern = line.strip().removeprefix("!")
        if pattern and not pattern.startswith("#") and any(_fits(parent, pattern) for parent in parents):
            sent = line.startswith("!")
    return sent


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(path.rsplit("/", 1)[-1], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)
