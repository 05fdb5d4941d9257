"""Rows whose content is sealed with the storage keys. Their owners seal it; a rotation seals it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.digest import Digest


class SealedRow(NamedTuple):
    """One row's sealed bytes, and the name that they are bound to."""

    name: Digest
    sealed: bytes
    replace: Callable[[Tx, bytes], int]
    """Stores other sealed bytes, if the row still has `sealed`; returns the number of rows changed."""


class SealedRows(Protocol):
    """An owner of sealed rows."""

    def sealed_rows(self, reader: Reader) -> Iterable[SealedRow]:
        """Return all sealed rows."""
        ...
