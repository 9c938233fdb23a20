"""gunicorn as we change it: what it need not work out for each request is what it would have worked out."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import pytest
from gunicorn import util
from gunicorn.config import Config
from gunicorn.http import wsgi

from app.server import remember


@pytest.fixture
def cfg(monkeypatch: pytest.MonkeyPatch) -> Config:
    """Make a worker's settings; what `remember` changes of gunicorn's modules ends with the test."""
    for module, name in ((util, "http_date"), (wsgi, "WSGIErrorsWrapper")):
        monkeypatch.setattr(module, name, getattr(module, name))
    made = Config()
    for name, value in {"keepalive": 7, "workers": 3, "forwarder_headers": "", "limit_request_fields": 9}.items():
        made.set(name, value)
    return made


def shown(value: Any) -> Any:
    return getattr(value, "__func__", value)


def test_a_setting_is_what_it_was(cfg: Config) -> None:
    """All of them, and what gunicorn computes of several."""
    computed = ("address", "is_ssl", "uid", "worker_class_str", "sendfile")
    before = {name: shown(getattr(cfg, name)) for name in (*cfg.settings, *computed)}
    remember(cfg)
    assert {name: shown(getattr(cfg, name)) for name in (*cfg.settings, *computed)} == before
    assert (cfg.keepalive, cfg.workers, cfg.limit_request_fields) == (7, 3, 9)
    with pytest.raises(AttributeError):
        cfg.no_such_setting  # noqa: B018 - asked for on purpose


def test_a_setting_is_not_looked_up_again(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what it is for."""
    remember(cfg)
    monkeypatch.setattr(Config, "__getattr__", lambda _, name: pytest.fail(f"{name} was looked up"))
    assert cfg.keepalive == 7
    assert not cfg.is_ssl


def test_the_date_is_the_seconds(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """As RFC 9110 writes it; another second has another one, also when the clock is set back."""
    remember(cfg)
    for now_s in (1756895400.0, 1756895400.9, 1756895401.0, 1756895400.2, 0.0):
        monkeypatch.setattr(time, "time", lambda now_s=now_s: now_s)
        assert util.http_date() == email.utils.formatdate(int(now_s), usegmt=True)
    assert util.http_date(1756895400) == "Wed, 03 Sep 2025 10:30:00 GMT"


def test_what_is_written_to_the_error_stream_arrives(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """All requests share one."""
    remember(cfg)
    first, second = (wsgi.base_environ(cfg)["wsgi.errors"] for _ in range(2))
    first.write("a")
    second.write("b")
    assert first is second
    assert capsys.readouterr().err == "ab"
