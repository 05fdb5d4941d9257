"""Sizes, and pauses that take no time."""

from __future__ import annotations

MIB = 1024 * 1024


def no_sleep(seconds: float) -> None:
    """Attempts follow at once."""
