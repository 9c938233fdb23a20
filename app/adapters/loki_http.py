"""Grafana Loki over HTTP: the only `requests` import."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

import requests
from isal import isal_zlib

from app.core.events import Redacted
from app.core.loki import classify, encode
from app.core.verdicts import Delivered, Retry, Verdict

_log = logging.getLogger("telemetry_cache.loki")

PUSH_PATH: Final = "/loki/api/v1/push"
READY_PATH: Final = "/ready"

_GZIP_LEVEL: Final = 2
_GZIP_WINDOW: Final = 31
"""ISA-L's: 1.3 us an event of 1 KB, where zlib's level 1 takes 8.5 for a little less. 31: with gzip's header."""

_STRIKES: Final = 2
_MAX_ANSWER_BYTES: Final = 8192
"""A refusal's reason stands at its start; the rest of a long answer is not read."""


@dataclass(slots=True)
class MetadataSupport:
    """Whether this Loki takes structured metadata; one for all that push to it. Found out by the first pushes."""

    is_on: bool = True
    _strikes: int = 0

    def note(self, *, taken: bool) -> None:
        """Take note of a push that was taken with metadata, or only without: one such 400 may be a hiccup."""
        self._strikes = 0 if taken else self._strikes + 1
        if self._strikes >= _STRIKES:
            _log.warning("Loki does not take structured metadata: events go without")
            self.is_on = False


class LokiHttp:
    """Pushes batches over one kept connection. One instance a greenlet: its session is not shared."""

    def __init__(
        self,
        url: str,
        *,
        tenant: str | None,
        connect_timeout_s: float,
        read_timeout_s: float,
        metadata: MetadataSupport,
        time_limit: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`url` is Loki's base address, or that of its push call.

        The two times bound single reads only; `time_limit` is a block that raises TimeoutError when a whole
        exchange takes too long, as with an answer that comes a byte at a time.
        """
        self._time_limit = time_limit
        self._metadata = metadata
        self._base = url.rstrip("/").removesuffix(PUSH_PATH)
        self._timeout = (connect_timeout_s, read_timeout_s)
        self._session = requests.Session()
        # Neither a proxy nor a .netrc of whoever started us decides where logs go.
        self._session.trust_env = False
        if tenant is not None:
            self._session.headers["X-Scope-OrgID"] = tenant

    def send(self, batch: Sequence[Redacted]) -> Verdict:
        """Push a batch and say what Loki made of it."""
        verdict = self._push(batch, metadata=self._metadata.is_on)
        if self._metadata.is_on and isinstance(verdict, Retry) and verdict.reason == "bad_request":
            # Before 2.9 Loki cannot read the third member, 2.9 has it off, and each says so in words of its own. What
            # it takes without is the same stream, nanosecond and line.
            plain = self._push(batch, metadata=False)
            if not isinstance(plain, Retry):
                self._metadata.note(taken=False)
            return plain
        if isinstance(verdict, Delivered):
            self._metadata.note(taken=True)
        return verdict

    def _push(self, batch: Sequence[Redacted], *, metadata: bool) -> Verdict:
        try:
            with (
                self._time_limit(),
                self._session.post(
                    self._base + PUSH_PATH,
                    data=isal_zlib.compress(encode(batch, metadata=metadata), _GZIP_LEVEL, _GZIP_WINDOW),
                    headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                ) as answer,
            ):
                body = answer.raw.read(_MAX_ANSWER_BYTES, decode_content=True)
                return classify(answer.status_code, answer.headers, body.decode(errors="replace"))
        except (requests.Timeout, TimeoutError):
            return Retry("timeout")
        except (requests.RequestException, OSError, ValueError):
            return Retry("connection")
        except Exception as exc:
            # urllib3's own errors come through while a streamed answer is read.
            if type(exc).__module__.startswith("urllib3"):
                return Retry("connection")
            raise

    def probe(self) -> str | None:
        """Ask for /ready: anything but a 5xx means that Loki, or a gateway before it, is there."""
        try:
            with (
                self._time_limit(),
                self._session.get(
                    self._base + READY_PATH, timeout=self._timeout, allow_redirects=False, stream=True
                ) as answer,
            ):
                server_error = 500
                return "not_ready" if answer.status_code >= server_error else None
        except (requests.Timeout, TimeoutError):
            return "timeout"
        except (requests.RequestException, OSError, ValueError):
            return "connection"

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
