"""Settings: each variable's good and bad values, and refusals of one line that never echo what was given."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from app.banner import banner
from app.core.keys import storage_digest
from app.errors import OperatorError, SettingsError
from app.settings import ROOT, Settings, documented, is_loopback, without_credentials

MIB = 1024 * 1024

# For each variable: (field, {good text: value}, bad texts)
VARIABLES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "REDIS_URL": (
        "redis_url",
        {
            url: url
            for url in (
                *("redis://redis:6379", "redis://:p%40ss@h:1/3", "rediss://user:pass@h", "unix:///run/redis.sock"),
                *("redis://[::1]:6379/0", "redis://10.0.0.1"),
            )
        },
        [
            "redis",
            "http://redis:6379",
            "redis://",
            "redis:///0",
            "redis://h:0x10",
            "redis://h:99999",
            "redis://[::1",
            "unix://",
        ],
    ),
    "LOKI_URL": (
        "loki_url",
        {url: url for url in ("http://loki:3100", "https://user:pass@loki.example/prefix", "http://[::1]:3100/")},
        ["loki:3100", "ftp://loki", "http://", "http://:3100", "http://loki:port", "//loki", "http://[::1"],
    ),
    "DATA_DIR": ("data_dir", {"/tmp/x": Path("/tmp/x"), "~/x": Path.home() / "x", "x": Path.cwd() / "x"}, ["a\0b"]),
    "CONFIG_DIR": ("config_dir", {"/etc/x/../y": Path("/etc/y")}, ["a\0b", "~no-such-user-here/x"]),
    "HOST": ("host", {"127.0.0.1": "127.0.0.1", "::1": "::1", "localhost": "localhost"}, ["a\nb", "x" * 257]),
    "PORT": (
        "port",
        {"1": 1, "8114": 8114, "65535": 65535},
        ["0", "65536", "-1", "+1", "1.0", "http", " 1", "1_0", "\u0661"],
    ),
    "ALLOW_ANONYMOUS": (
        "allow_anonymous",
        {"true": True, "TRUE": True, "1": True, "yes": True, "false": False, "0": False, "No": False},
        ["on", "2", "y", " true", "truee"],
    ),
    "WEB_CONCURRENCY": ("web_concurrency", {"1": 1, "64": 64}, ["0", "65", "auto", "1.5"]),
    "LOG_LEVEL": ("log_level", {"info": "info", "DEBUG": "debug", "Error": "error"}, ["trace", "warn", "10"]),
    "ENVIRONMENT": (
        "environment",
        {"prod": "prod", "a.b:c_d-9": "a.b:c_d-9", "x" * 64: "x" * 64},
        ["a b", "é", "x" * 65],
    ),
    "LOKI_TENANT": ("loki_tenant", {"team-a": "team-a"}, ["a/b", "a b", "a\r\nX: y", "x" * 65]),
    "LOKI_CONNECT_TIMEOUT_S": (
        "loki_connect_timeout_s",
        {"0.01": 0.01, "60": 60.0, "1e0": 1.0},
        ["0", "61", "nan", "inf", "1s"],
    ),
    "LOKI_READ_TIMEOUT_S": ("loki_read_timeout_s", {"0.01": 0.01, "300": 300.0}, ["0", "301", "-5", "nan"]),
    "LOKI_MAX_LINE_BYTES": ("loki_max_line_bytes", {"1024": 1024, str(MIB): MIB}, ["1023", str(16 * MIB + 1), "256KB"]),
    "LOKI_MAX_STREAMS": ("loki_max_streams", {"1": 1, "100000": 100_000}, ["0", "100001"]),
    "BATCH_MAX_BYTES": ("batch_max_bytes", {str(MIB): MIB, str(16 * MIB): 16 * MIB}, ["1023", str(16 * MIB + 1), "1M"]),
    "BATCH_MAX_EVENTS": ("batch_max_events", {"1": 1, "100000": 100_000}, ["0", "100001"]),
    "BATCH_MAX_AGE_S": ("batch_max_age_s", {"0": 0.0, "0.5": 0.5, "60": 60.0}, ["-1", "60.1", "nan"]),
    "SHIPPER_POOL_SIZE": ("shipper_pool_size", {"1": 1, "64": 64}, ["0", "65"]),
    "SPOOL_MAX_BYTES": (
        "spool_max_bytes",
        {str(MIB): MIB, str(65536 * MIB): 65536 * MIB},
        ["65535", str(65536 * MIB + 1), "1G"],
    ),
    "SPOOL_SYNC": ("spool_sync", {"group": "group", "off": "off"}, ["on", "none", "fsync"]),
    "LOG_FILE_MAX_BYTES": ("log_file_max_bytes", {"65536": 65536}, ["65535", "64MB"]),
    "REDACTION_AUDIT_EVERY": ("redaction_audit_every", {"0": 0, "1000000": 1_000_000}, ["-1", "1000001", "0.1"]),
    "EVENT_MAX_BYTES": ("event_max_bytes", {"1024": 1024, str(16 * MIB): 16 * MIB}, ["1023", str(16 * MIB + 1)]),
    "LOG_BATCH_MAX_BYTES": ("log_batch_max_bytes", {"1024": 1024}, ["1023", str(256 * MIB + 1)]),
    "LOG_BATCH_MAX_EVENTS": ("log_batch_max_events", {"1": 1, "1000000": 1_000_000}, ["0", "1000001"]),
    "EVENT_ID_MEMORY_S": ("event_id_memory_s", {"0": 0.0, "86400": 86400.0}, ["-1", "86401", "nan"]),
    "EVENT_ID_MEMORY_IDS": ("event_id_memory_ids", {"1": 1}, ["0", "10000001"]),
    "CACHE_VALUE_MAX_BYTES": ("cache_value_max_bytes", {"1024": 1024}, ["1023", str(64 * MIB + 1)]),
    "CACHE_TTL_JITTER": ("cache_ttl_jitter", {"0": 0.0, "0.05": 0.05, "0.5": 0.5}, ["-0.1", "0.51", "5%", "nan"]),
    "CACHE_KEY_SECRET": (
        "cache_key_secret",
        {"s" * 16: "s" * 16, "s" * 64: "s" * 64},
        ["s" * 15, "s" * 65, "tab\tin the secret", "line\nin the secret"],
    ),
    "CACHE_KEY_SECRET_FILE": ("cache_key_secret_file", {"/run/secrets/key": Path("/run/secrets/key")}, ["a\0b"]),
    "PSEUDONYM_KEYS_FILE": ("pseudonym_keys_file", {"/run/secrets/keys": Path("/run/secrets/keys")}, ["a\0b"]),
    "EMBEDDED_CACHE_MAX_BYTES": ("embedded_cache_max_bytes", {"1024": 1024}, ["1023", "1G"]),
    "EMBEDDED_CACHE_MAX_ENTRIES": ("embedded_cache_max_entries", {"1": 1}, ["0", "10000001"]),
    "REDIS_POOL_SIZE": ("redis_pool_size", {"1": 1, "1000": 1000}, ["0", "1001"]),
    "REDIS_POOL_TIMEOUT_S": ("redis_pool_timeout_s", {"0.001": 0.001, "10": 10.0}, ["0", "10.1", "nan"]),
    "REDIS_CONNECT_TIMEOUT_S": ("redis_connect_timeout_s", {"0.001": 0.001, "10": 10.0}, ["0", "10.1"]),
    "REDIS_READ_TIMEOUT_S": ("redis_read_timeout_s", {"0.001": 0.001, "10": 10.0}, ["0", "10.1"]),
    "CACHE_DEADLINE_S": ("cache_deadline_s", {"0.01": 0.01, "30": 30.0}, ["0", "30.1"]),
    "KPI_WINDOW_S": ("kpi_window_s", {"5": 5.0, "3600": 3600.0}, ["4.9", "3601"]),
    "BODY_TIMEOUT_S": ("body_timeout_s", {"0.1": 0.1, "300": 300.0}, ["0", "301"]),
    "KEEP_ALIVE_S": ("keep_alive_s", {"1": 1, "300": 300}, ["0", "301", "1.5"]),
    "GRACEFUL_TIMEOUT_S": ("graceful_timeout_s", {"6": 6, "600": 600}, ["5", "601"]),
    "WORKER_SLOT": ("worker_slot", {"0": 0, "1023": 1023}, ["-1", "1024", "a"]),
    "PROMETHEUS_MULTIPROC_DIR": ("metrics_dir", {"/tmp/m": Path("/tmp/m")}, ["a\0b"]),
    "SERVICE_STARTED_S": ("started_s", {"0": 0.0, "12345.678": 12345.678}, ["-1", "nan", "now"]),
}

GOOD = [(name, text) for name, (_, good, _) in VARIABLES.items() for text in good]
BAD = [(name, text) for name, (_, _, bad) in VARIABLES.items() for text in bad]


def refused(**environ: str) -> SettingsError | None:
    """The refusal of an environment, or None."""
    try:
        Settings.from_env(environ)
    except SettingsError as exc:
        return exc
    return None


def refusal(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    return str(caught.value)


def test_every_setting_stands_in_the_table_of_this_file() -> None:
    """A setting that is added needs its good and bad values here."""
    declared = {setting.metadata["env"]: setting.name for setting in dataclasses.fields(Settings)}
    assert declared == {name: field for name, (field, _, _) in VARIABLES.items()}


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_a_good_value_is_taken(name: str, text: str) -> None:
    """Parsed to its type, and nothing else is changed by it."""
    field, good, _ = VARIABLES[name]
    settings = Settings.from_env({name: text})
    assert getattr(settings, field) == good[text]
    assert type(getattr(settings, field)) is type(good[text])
    assert dataclasses.replace(settings, **{field: getattr(Settings(), field)}) == Settings()


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_bad_value_is_refused_in_one_line_that_names_the_variable(name: str, text: str) -> None:
    """And says what it takes, and does not echo what was given: it may be a password in the wrong place."""
    takes = {setting.metadata["env"]: setting.metadata["takes"] for setting in dataclasses.fields(Settings)}
    assert refusal(**{name: text}) == f"{name}: takes {takes[name]}"
    assert takes[name].isprintable()


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_set_to_nothing_counts_as_unset(name: str) -> None:
    """As compose files write it."""
    assert Settings.from_env({name: ""}) == Settings()


@pytest.mark.parametrize("name", VARIABLES)
def test_a_secret_in_the_wrong_variable_is_not_shown(name: str) -> None:
    """Not in the refusal, nor in the exception that it was made from."""
    found = refused(**{name: "plum\x07quince"})
    if found is not None:
        assert "plum" not in str(found)
        assert found.__suppress_context__ or found.__context__ is None
        assert isinstance(found, OperatorError)


def test_what_is_not_ours_is_not_looked_at() -> None:
    """An environment holds many variables."""
    assert Settings.from_env({"PATH": "/bin", "redis_url": "x", "PORT_": "x"}) == Settings()


def test_the_defaults() -> None:
    """Loopback, 8114, embedded store and sink."""
    settings = Settings.from_env({})
    assert (settings.host, settings.port, settings.redis_url, settings.loki_url) == ("127.0.0.1", 8114, None, None)
    assert (settings.data_dir, settings.config_dir) == (ROOT / "var", ROOT / "config")
    assert settings.loki_max_line_bytes == 262_144
    assert (settings.redis_pool_size, settings.kpi_window_s) == (20, 60.0)


def test_settings_cannot_be_changed() -> None:
    """One frozen object, parsed once."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_of_peoples_says_what_it_means_and_takes() -> None:
    """docs/settings.md is written from this; what gunicorn sets is not in it."""
    names = [setting.metadata["env"] for setting in documented()]
    assert set(VARIABLES) - set(names) == {"WORKER_SLOT", "PROMETHEUS_MULTIPROC_DIR", "SERVICE_STARTED_S"}
    assert all(setting.metadata["takes"] and setting.metadata["means"].endswith(".") for setting in documented())


# Settings that must fit together


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "fe80::1", "128.0.0.1"])
def test_past_loopback_somebody_must_say_so(host: str) -> None:
    """Without keys everyone who reaches the port may do everything."""
    message = refusal(HOST=host)
    assert message.startswith("HOST: takes ")
    assert "ALLOW_ANONYMOUS=true" in message
    assert "\n" not in message
    assert host not in message
    assert refusal(HOST=host, ALLOW_ANONYMOUS="false") == message
    assert Settings.from_env({"HOST": host, "ALLOW_ANONYMOUS": "true"}).host == host


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")),
        *(
            (host, False)
            for host in ("0.0.0.0", "::", "", "10.0.0.1", "localhost.example.org", "127.0.0.1.example.org")
        ),
    ],
)
def test_what_only_this_machine_can_reach(host: str, *, loopback: bool) -> None:
    """127.0.0.0/8, ::1 and localhost; a name is not looked up."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("environ", "workers"),
    [
        ({}, 1),
        ({"REDIS_URL": "redis://h"}, os.cpu_count() or 1),
        ({"WEB_CONCURRENCY": "3"}, 3),
        ({"WEB_CONCURRENCY": "3", "REDIS_URL": "redis://h"}, 3),
        ({"LOKI_URL": "http://h"}, 1),
    ],
)
def test_how_many_workers_serve(environ: dict[str, str], workers: int) -> None:
    """One where each would have a cache of its own, else one a CPU, else as many as were asked for."""
    assert Settings.from_env(environ).workers == workers


@pytest.mark.parametrize(
    ("host", "bind"), [("127.0.0.1", "127.0.0.1:8114"), ("::1", "[::1]:8114"), ("localhost", "localhost:8114")]
)
def test_the_address_as_gunicorn_takes_it(host: str, bind: str) -> None:
    """IPv6 in brackets."""
    assert Settings.from_env({"HOST": host}).bind == bind


def test_a_stop_spends_a_third_on_delivering() -> None:
    """The rest is for requests in flight."""
    assert Settings.from_env({"GRACEFUL_TIMEOUT_S": "30"}).drain_s == 10


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"CACHE_KEY_SECRET": "s" * 16, "CACHE_KEY_SECRET_FILE": "/x"}, "CACHE_KEY_SECRET_FILE"),
        ({"LOKI_MAX_LINE_BYTES": "2097152"}, "BATCH_MAX_BYTES"),
        ({"BATCH_MAX_BYTES": "1024"}, "BATCH_MAX_BYTES"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(environ: dict[str, str], name: str) -> None:
    """Two secrets, or a line that would fit no batch."""
    message = refusal(**environ)
    assert message.startswith(f"{name}: takes ")
    assert "\n" not in message


@pytest.mark.parametrize("secret", ["s" * 16, "s" * 64, "é" * 16, "é" * 32, "\U0001f600" * 16, "鍵" * 22, "鍵" * 64])
def test_a_secret_that_is_taken_can_be_used(secret: str) -> None:
    """BLAKE2b takes a key of 64 bytes at most; a longer one is refused at the start, not at each call."""
    found = refused(CACHE_KEY_SECRET=secret)
    if found is None:
        assert storage_digest("k", (Settings.from_env({"CACHE_KEY_SECRET": secret}).cache_key_secret or "").encode())
    else:
        assert str(found).startswith("CACHE_KEY_SECRET: takes ")


# What is shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:pass@h:6379/3?x=secret#y", "redis://h:6379/3"),
        ("redis://:pass@h", "redis://h"),
        ("rediss://u@[::1]:6380/0", "rediss://[::1]:6380/0"),
        ("unix://:pass@/run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("https://user:pass@loki.example/prefix?token=secret", "https://loki.example/prefix"),
        ("http://loki:3100", "http://loki:3100"),
    ],
)
def test_an_address_is_shown_without_credentials(url: str, shown: str) -> None:
    """Neither user nor password, query or fragment."""
    assert without_credentials(url) == shown


def test_the_banner_holds_no_secret() -> None:
    """It says what runs where, and what is off, and none of the credentials it was given."""
    settings = Settings.from_env(
        {
            "REDIS_URL": "redis://plum:quince@redis:6379/0",
            "LOKI_URL": "https://plum:quince@loki:3100",
            "CACHE_KEY_SECRET": "quince" * 5,
        }
    )
    text = banner(settings)
    assert "plum" not in text
    assert "quince" not in text
    assert "redis://redis:6379/0" in text
    assert "https://loki:3100" in text
    assert "127.0.0.1:8114" in text
    assert "API keys" in text


def test_the_banner_says_what_is_embedded() -> None:
    """Without Redis and Loki: where events wait and go, and who has which cache; and that a sync is off."""
    text = banner(Settings.from_env({"WEB_CONCURRENCY": "3"}))
    for words in ("embedded", "each of 3 workers", "ndjson", "/spool,", "cache-key.secret"):
        assert words in text
    assert "power loss" not in text
    assert "power loss" in banner(Settings.from_env({"SPOOL_SYNC": "off"}))
