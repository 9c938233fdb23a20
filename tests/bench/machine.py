"""What a figure depends on: the machine, the kernel and the versions of everything that took part."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from tests.harness.service import REPOSITORY

COMMAND_TIMEOUT_S = 10


def facts() -> dict[str, str]:
    """Return names and values, for the header."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(),
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **{name: version(name) for name in ("gunicorn", "gevent", "flask", "redis", "orjson")},
        "wrk": _word_after(_said("wrk", "--version"), "wrk "),
        "redis-server": _word_after(_said("redis-server", "--version"), "v="),
        "Webdis": _package_version("webdis"),
    }


def _said(*command: str) -> str:
    """Return what a command wrote; nothing where it does not run."""
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _word_after(text: str, mark: str) -> str:
    return text.partition(mark)[2].split(" ")[0] or "unknown"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _package_version(package: str) -> str:
    """Webdis does not tell its version; Debian does."""
    if shutil.which(package) is None:
        return "not installed"
    return _said("dpkg-query", "--show", "--showformat", "${Version}", package) or "unknown"


def _commit() -> str:
    changed = (
        " and uncommitted changes" if _said("git", "status", "--porcelain", "--", "app", "gunicorn.conf.py") else ""
    )
    return (_said("git", "rev-parse", "--short", "HEAD") or "unknown") + changed
