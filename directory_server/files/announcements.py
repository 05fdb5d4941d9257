"""Announces the paths that a transaction will probably change, to those who read them under leases.

The transaction ends these leases in any case; but then everyone who shares it waits for the slowest proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

Announced = Callable[[Iterable[tuple[str, str]]], AbstractContextManager[None]]
"""Surrounds a transaction; gets buckets and paths."""


def nobody_told(_: Iterable[tuple[str, str]]) -> AbstractContextManager[None]:
    """Without read leases."""
    return nullcontext()
