"""The laws of the house (docs/architecture.md), each checked on the code's own imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"

PURE_LIBRARIES = {"google_crc32c", "orjson", "re2", "phonenumbers"}
IMPURE_STDLIB = {
    "asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "signal",
    "socket", "ssl", "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
ROOMS = {"core", "handlers", "adapters", "web", "runtime", "replay", "clean"}


def _imports(path: Path) -> set[str]:
    """Every module that a file imports, at any depth, as a dotted name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" if module.startswith("app") else module for alias in node.names}
    return found


def _modules(room: str) -> list[Path]:
    return sorted((APP / room).rglob("*.py"))


def _of_app(imports: set[str]) -> set[str]:
    return {name for name in imports if name == "app" or name.startswith("app.")}


def _packages(imports: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in imports}


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", _modules("core"), ids=_id)
def test_core_is_pure(path: Path) -> None:
    """core imports the pure part of the standard library, four pure libraries, and core."""
    imports = _imports(path)
    foreign = _packages(imports) - set(sys.stdlib_module_names) - PURE_LIBRARIES - {"app"}
    assert not foreign
    assert not _packages(imports) & IMPURE_STDLIB
    assert all(name.startswith("app.core") for name in _of_app(imports))


@pytest.mark.parametrize("path", _modules("core"), ids=_id)
def test_core_reads_no_clock(path: Path) -> None:
    """datetime is for arithmetic: now() and today() are the outside's."""
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & {"now", "utcnow", "today", "open"}


@pytest.mark.parametrize("path", _modules("web"), ids=_id)
def test_web_knows_no_adapter(path: Path) -> None:
    """web imports handlers, ports and core, never adapters, services, redis or gevent."""
    imports = _imports(path)
    assert not _packages(imports) & {"redis", "fakeredis", "gevent", "requests", "prometheus_client"}
    assert not any(name.startswith(("app.adapters", "app.services", "app.runtime")) for name in imports)
    if path.name != "metrics.py":
        assert "prometheus_flask_exporter" not in _packages(imports)


@pytest.mark.parametrize("path", [*_modules("handlers"), *_modules("adapters"), APP / "shipper.py"], ids=_id)
def test_inside_knows_no_web(path: Path) -> None:
    """handlers, adapters and the shipper import neither Flask nor web nor gevent."""
    imports = _imports(path)
    assert not _packages(imports) & {"flask", "werkzeug", "gevent", "gunicorn"}
    assert not any(name.startswith(("app.web", "app.services", "app.factory", "app.runtime")) for name in imports)


@pytest.mark.parametrize("path", _modules("handlers"), ids=_id)
def test_handlers_know_ports_only(path: Path) -> None:
    """A handler asks ports; which adapter stands behind one is services' business."""
    assert not any(name.startswith("app.adapters") for name in _imports(path))


ONLY = {
    "gevent": {_id(path) for path in _modules("runtime") if path.name != "__init__.py"},
    "gunicorn": {"app/server.py"},
    "google_crc32c": {"app/core/frames.py", "app/core/cursors.py"},
    "redis": {"app/adapters/redis_cache.py"},
    "fakeredis": {"app/adapters/redis_cache.py"},
    "isal": {"app/adapters/loki_http.py"},
    "requests": {"app/adapters/loki_http.py"},
    "prometheus_client": {"app/adapters/metric_files.py", "app/adapters/prometheus.py"},
    "prometheus_flask_exporter": {"app/web/metrics.py"},
    "app.services": {"app/factory.py"},
    "app.factory": {"wsgi.py"},
}


@pytest.mark.parametrize(("module", "where"), ONLY.items(), ids=ONLY)
def test_one_door_for_each_foreign_thing(module: str, where: set[str]) -> None:
    """Each foreign thing, and the composition root, is imported in one place."""
    users = {
        _id(path)
        for path in [*APP.rglob("*.py"), ROOT / "wsgi.py", ROOT / "gunicorn.conf.py"]
        if any(name == module or name.startswith(f"{module}.") for name in _imports(path))
    }
    assert users == where


def test_only_services_knows_every_adapter() -> None:
    """Adapters are put together in services, and elsewhere only by one another."""
    users = {
        _id(path)
        for path in APP.rglob("*.py")
        if path.parent.name != "adapters" and any(name.startswith("app.adapters") for name in _imports(path))
    }
    assert users == {"app/services.py"}


def test_replay_is_a_client() -> None:
    """The replay knows the service by HTTP alone."""
    for path in _modules("replay"):
        assert all(name.startswith("app.replay") for name in _of_app(_imports(path)))


def test_cleaning_shares_the_rules_alone() -> None:
    """clean imports core, the reading of config/ and the errors, and of other people's code only tqdm and orjson."""
    allowed = ("app.clean", "app.core", "app.config_files", "app.errors")
    for path in _modules("clean"):
        imports = _imports(path)
        assert all(name.startswith(allowed) for name in _of_app(imports))
        assert _packages(imports) - set(sys.stdlib_module_names) <= {"app", "tqdm", "orjson"}


def test_rooms_are_the_folders() -> None:
    """The folder names are the architecture."""
    assert {path.parent.name for path in APP.glob("*/__init__.py")} == ROOMS


def test_importing_the_core_imports_no_framework() -> None:
    """app/__init__.py is a docstring, so that app.core can be used alone."""
    code = (
        "import sys, app.core.redaction, app.core.kpi, app.core.loki\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(loaded.split()) & {"flask", "gevent", "redis", "requests", "prometheus_client", "marshmallow"}


def test_nothing_runs_at_import() -> None:
    """Importing the factory opens no file below the working folder, starts no thread and no greenlet."""
    code = (
        "import threading, os, app.factory, app.services\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert not os.path.exists('var')\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "tests", env={"PYTHONPATH": str(ROOT)}, check=True, timeout=30
    )


@pytest.mark.parametrize("path", [ROOT / "gunicorn.conf.py", APP / "settings.py", APP / "banner.py"], ids=_id)
def test_what_the_master_reads_is_plain(path: Path) -> None:
    """Metric files must be named before a third-party import happens, so none happens there at module level."""
    top_level = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom | ast.Import)
    ]
    names = {
        alias.name if isinstance(node, ast.Import) else (node.module or "")
        for node in top_level
        for alias in node.names
    }
    assert _packages(names) <= set(sys.stdlib_module_names) | {"app"}


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=_id)
def test_files_open_with_their_law_and_stay_small(path: Path) -> None:
    """A docstring says what lives here; past 400 lines a person starts looking for the seam."""
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400
