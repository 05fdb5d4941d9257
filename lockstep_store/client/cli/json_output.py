"""The --json output of results that combine several messages."""

from __future__ import annotations

from typing import Any

from lockstep_store.client.api.answers import Saved


def saved_data(saved: Saved, bytes_sent: int | None = None) -> dict[str, Any]:
    """A write and its receipt. `copies` is worded by the proxy ("2/2 fsynced"); sizes in bytes."""
    version = saved.version
    data: dict[str, Any] = {
        "bucket": version.bucket,
        "path": version.path,
        "version": version.version,
        "digest": version.digest,
        "size": version.size,
        "cursor": saved.reply.cursor,
        "copies": saved.receipt.copies or str(saved.reply.copies),
        "created": saved.created,
        "request_id": saved.receipt.request_id,
    }
    if bytes_sent is not None:
        data["bytes_sent"] = bytes_sent
    return data
