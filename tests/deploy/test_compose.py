"""deploy/docker-compose.yml: a compose file, hardened, pinned, with nothing on other interfaces than loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from app.settings import Settings, is_loopback
from tests.deploy.dockerfile import environment
from tests.deploy.servers import DEPLOY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVICES = ("telemetry-cache", "redis", "redis-exporter", "loki", "prometheus", "grafana")
# A name, an exact version, perhaps a variant of it, perhaps a digest.
PINNED = re.compile(r"[a-z0-9_./-]+:v?\d+\.\d+\.\d+(-[a-z0-9.]+)?(@sha256:[0-9a-f]{64})?")
SECRET = re.compile(r"pass|secret|token|api_?key|credential", re.IGNORECASE)
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
UNITS_S = {"s": 1, "m": 60, "h": 3600}
UNITS_BYTES = {"KB": 1 << 10, "MB": 1 << 20}


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, compose: dict[str, Any]) -> dict[str, Any]:
    """Return each service in turn."""
    return compose["services"][request.param]


def seconds(text: str) -> int:
    return int(text[:-1]) * UNITS_S[text[-1]]


def defaults(environment_: Mapping[str, str]) -> dict[str, str]:
    """Return an environment as it is when the caller has set no variable."""
    return {name: VARIABLE.sub(lambda found: found[3] or "", value) for name, value in environment_.items()}


def bind_mounts(service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for volume in service.get("volumes", []):
        source, target = volume.split(":")[:2]
        if source.startswith("."):
            yield source, target


def test_schema_accepts_it() -> None:
    """The compose specification's own schema finds nothing wrong."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    file = str(DEPLOY / "docker-compose.yml")
    run = subprocess.run([*command, file], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_services_are_those_of_the_specification_and_grafana(compose: dict[str, Any]) -> None:
    """None is missing, and none is here without a test."""
    assert tuple(compose["services"]) == SERVICES


def test_image_is_pinned(service: dict[str, Any]) -> None:
    """Each image has an exact version; the service's own is built from deploy/Dockerfile."""
    if "build" in service:
        assert "image" not in service
        context = (DEPLOY / service["build"]["context"]).resolve()
        assert (context / service["build"]["dockerfile"]) == DEPLOY / "Dockerfile"
    else:
        assert PINNED.fullmatch(service["image"]), service["image"]


def test_ports_are_of_loopback(service: dict[str, Any]) -> None:
    """A published port is reached from this machine alone, and host networking is not used."""
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port
    assert "network_mode" not in service


def test_is_hardened(service: dict[str, Any]) -> None:
    """Read-only root, no capabilities, no new privileges, limits, bounded logs, restarts."""
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])


def test_health_is_asked_without_a_shell(service: dict[str, Any]) -> None:
    """Each has a health check that runs a program of its image; the service's is the image's."""
    if "build" in service:
        assert "healthcheck" not in service
        assert "\nHEALTHCHECK " in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
        return
    assert service["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])


def test_dependencies_are_waited_for(compose: dict[str, Any], service: dict[str, Any]) -> None:
    """Who depends on another waits until it is healthy."""
    for name, how in service.get("depends_on", {}).items():
        assert name in compose["services"]
        assert how == {"condition": "service_healthy"}


def test_files_and_volumes_exist(compose: dict[str, Any], service: dict[str, Any]) -> None:
    """Mounted files are there and read-only; named volumes are declared."""
    for source, _ in bind_mounts(service):
        assert (DEPLOY / source).exists(), source
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert volume.endswith(":ro") if source.startswith(".") else source in compose["volumes"], volume


def test_no_password_is_written_down(service: dict[str, Any]) -> None:
    """A secret comes from the caller, and compose stops without it."""
    for name, value in service.get("environment", {}).items():
        if SECRET.search(name):
            assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name


def test_grafana_has_no_default_password(compose: dict[str, Any]) -> None:
    """Grafana's own default is admin: the variable must be there, and nobody gets in without it."""
    environment_ = compose["services"]["grafana"]["environment"]
    assert environment_["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_ADMIN_PASSWORD:?")
    assert environment_["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


def test_environment_is_known_to_the_service(compose: dict[str, Any]) -> None:
    """Each variable is a setting of app/settings.py, and with the image's own they parse."""
    given = compose["services"]["telemetry-cache"]["environment"]
    known = {setting.metadata["env"] for setting in fields(Settings)}
    assert set(given) <= known
    assert all(isinstance(value, str) for value in given.values())
    settings = Settings.from_env({**environment(), **defaults(given)})
    assert not is_loopback(settings.host)
    assert settings.allow_anonymous
    assert settings.port == int(compose["services"]["telemetry-cache"]["ports"][0].rsplit(":", 1)[1])


def test_a_stop_is_waited_for(compose: dict[str, Any]) -> None:
    """The engine kills later than the service itself would give up."""
    ours = compose["services"]["telemetry-cache"]
    settings = Settings.from_env(defaults(ours["environment"]))
    assert seconds(ours["stop_grace_period"]) > settings.graceful_timeout_s


def test_networks(compose: dict[str, Any]) -> None:
    """All share a network without a way out; only what publishes a port is in the other one."""
    assert compose["networks"]["inside"] == {"internal": True}
    for name, service in compose["services"].items():
        assert service["networks"] == (["inside", "outside"] if "ports" in service else ["inside"]), name


def test_addresses_lead_to_services(compose: dict[str, Any]) -> None:
    """Whom the configurations call is in the compose file, at the port that it listens on."""
    texts = [
        *(DEPLOY / "prometheus").glob("prometheus.yml"),
        *(DEPLOY / "grafana" / "provisioning").rglob("*.yml"),
        DEPLOY / "docker-compose.yml",
    ]
    called = {
        found
        for path in texts
        for found in re.findall(r'(?:://|targets: \[")([a-z-]+:\d+)', path.read_text(encoding="utf-8"))
    }
    ports = {"telemetry-cache": 8114, "redis": 6379, "redis-exporter": 9121, "loki": 3100, "prometheus": 9090}
    assert set(ports) < set(compose["services"])
    assert called == {f"{name}:{port}" for name, port in ports.items()} | {"localhost:9090"}


def test_redis_is_a_bounded_cache(compose: dict[str, Any]) -> None:
    """It evicts before the container's memory ends, and writes nothing."""
    lines = (DEPLOY / "redis" / "redis.conf").read_text(encoding="utf-8").splitlines()
    options = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert options["maxmemory-policy"].startswith(("allkeys-", "volatile-"))
    assert (options["save"], options["appendonly"]) == ('""', "no")
    limit = compose["services"]["redis"]["mem_limit"]
    assert int(options["maxmemory"].removesuffix("mb")) < int(limit.removesuffix("m"))


def test_loki_takes_what_the_service_sends() -> None:
    """Loki's limits are not below what the service reckons with, and old lines are deleted."""
    loki = yaml.safe_load((DEPLOY / "loki" / "loki.yaml").read_text(encoding="utf-8"))
    limits, settings = loki["limits_config"], Settings()
    number, unit = re.fullmatch(r"(\d+)([KM]B)", limits["max_line_size"]).groups()
    assert int(number) * UNITS_BYTES[unit] >= settings.loki_max_line_bytes
    assert limits["max_label_names_per_series"] >= len({"service_name", "event", "env", "tenant", "worker"})
    assert limits["max_global_streams_per_user"] >= 2 * settings.loki_max_streams
    assert limits["allow_structured_metadata"] is True
    assert loki["schema_config"]["configs"][-1]["schema"] == "v13"
    assert loki["compactor"]["retention_enabled"] is True
    assert loki["compactor"]["delete_request_store"] == "filesystem"
    assert limits["retention_period"].endswith("h")
    assert loki["analytics"]["reporting_enabled"] is False
