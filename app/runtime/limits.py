"""Limits in time."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import gevent


class TimeLimit(AbstractContextManager["TimeLimit"]):
    """Raises `error` when its block takes longer than `seconds`.

    Inside the block the limit shows itself as a BaseException, so that a library which handles
    `Exception` neither swallows it nor takes its connection for a sound one.
    """

    def __init__(self, seconds: float, error: Exception) -> None:
        """The clock starts when the block is entered."""
        self._timeout = gevent.Timeout(seconds)
        self._error = error

    def __enter__(self) -> Self:
        """Start the clock."""
        self._timeout.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the clock; turn our own limit into `error`."""
        self._timeout.close()
        if exc is self._timeout:
            raise self._error from None
