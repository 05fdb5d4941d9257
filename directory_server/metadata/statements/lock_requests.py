"""The columns that locks and waiters share: each begins as a request to lock some paths.

The paths are stored twice: as rows of `lock_path` and `waiter_path`, which find the lock of a path, and as JSON in the
lock or waiter itself, so that ending it needs no second read. They never change once written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import bindparam

from directory_server.metadata.statements.party import Party
from lockstep_store.wire.messages.locks import LockPath

LAST = 2**62
"""Higher than every place in the queue."""

decode_paths = msgspec.json.Decoder(tuple[LockPath, ...]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class LockRequest:
    """A party's request to lock paths together; `since_at` is wall clock."""

    request_id: str
    party: Party
    paths: tuple[LockPath, ...]
    lease_seconds: float
    since_at: float

    def columns(self) -> dict[str, object]:
        """Return the values of the shared columns, by name."""
        return {
            "request_id": self.request_id,
            "account": self.party.account,
            "client": self.party.client,
            "session": self.party.session,
            "paths": _encode(self.paths).decode(),
            "lease_seconds": self.lease_seconds,
            "since_at": self.since_at,
        }


def columns_of(table: Any) -> tuple[Any, ...]:
    """Return the shared columns of a table, in the order that `from_columns` takes."""
    c = table.c
    return (c.request_id, c.account, c.client, c.session, c.paths, c.lease_seconds, c.since_at)


def from_columns(
    request_id: str, account: str, client: str, session: str, paths: str, lease_seconds: float, since_at: float
) -> dict[str, Any]:
    """Return the fields of a LockRequest, by name."""
    return {
        "request_id": request_id,
        "party": Party(account, client, session),
        "paths": decode_paths(paths),
        "lease_seconds": lease_seconds,
        "since_at": since_at,
    }


def of_request(table: Any) -> Any:
    """Match a table's row of a request."""
    return (table.c.account == bindparam("account")) & (table.c.request_id == bindparam("request_id"))


def on_path(table: Any) -> Any:
    """Match a table's rows of a path."""
    return (table.c.bucket == bindparam("bucket")) & (table.c.path == bindparam("path"))
