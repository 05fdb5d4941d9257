"""Announces the paths that a transaction will probably change, so that their read leases end before it begins.

The transaction would end them itself, but then everyone who shares it would wait for the slowest proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

Announced = Callable[[Iterable[tuple[str, str]]], AbstractContextManager[None]]
"""Surrounds a transaction that changes these buckets and paths."""


def unannounced(_: Iterable[tuple[str, str]]) -> AbstractContextManager[None]:
    """Without read leases."""
    return nullcontext()
