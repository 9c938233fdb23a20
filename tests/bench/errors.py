"""What ends a benchmark early, split by who must act."""

from __future__ import annotations


class MissingToolError(Exception):
    """A program is not installed; the message is one line that names its Debian package."""


class BenchError(Exception):
    """A process did not start, answer or live as it must; the figures of this run are worth nothing."""
