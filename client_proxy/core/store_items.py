"""What the file store asks the directory for, put together: one look-up, and one write to begin."""

from __future__ import annotations

import secrets

from lockstep_store.wire.messages.files import BeginItem, LookupItem, Preconditions


def new_write_id() -> str:
    """What makes one write safe to repeat: 128 random bits, in hex."""
    return secrets.token_hex(16)


def look_up(credential: str, bucket: str, path: str, version: str | None, with_settings: bool = False) -> LookupItem:
    """The look-up of a path's current version, or of the one named."""
    return LookupItem(credential, bucket, path, version, with_settings)


def begin(
    credential: str,
    bucket: str,
    path: str,
    size: int | None,
    lock_number: int | None,
    release_lock: bool,
    preconditions: Preconditions,
    content_type: str,
    metadata: dict[str, str] | None,
) -> BeginItem:
    """A write, under an id of its own."""
    return BeginItem(
        credential=credential,
        write_id=new_write_id(),
        bucket=bucket,
        path=path,
        size=size,
        lock_number=lock_number,
        release_lock=release_lock,
        preconditions=preconditions,
        content_type=content_type,
        metadata=metadata or {},
    )
