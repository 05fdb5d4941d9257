"""Rejects requests for something that a delete marker does not have."""

from __future__ import annotations

from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.messages.files import FileVersion


def check_no_marker(path: str, version: FileVersion, wanted: str) -> None:
    """Raise NotFound if `version` is a delete marker; `wanted` is what the request asks for."""
    if version.delete_marker:
        raise NotFound(
            f"a delete marker has no {wanted}",
            path=path,
            version=version.version,
            null_version=version.null_version,
            deleted_at=version.created_at,
            delete_marker=True,
        )
