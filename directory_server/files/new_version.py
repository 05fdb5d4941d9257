"""A version that a write will make, and the bounds of its metadata."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from directory_server.metadata.statements import files
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import TooLarge
from lockstep_store.wire.messages.files import MAX_METADATA_BYTES, metadata_bytes
from lockstep_store.wire.messages.kms import KMS_ENTRY
from lockstep_store.wire.messages.s3 import CUSTOMER_KEY_ENTRY


@dataclass(frozen=True)
class NewVersion:
    """A version to be made. `metadata` is encoded; without a digest it is a delete marker."""

    path: str
    digest: Digest | None
    size: int
    author: str
    write_id: str
    content_type: str = ""
    metadata: str = files.NO_METADATA
    lock_number: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    keeps_tags: bool = True
    """The path's tags stay, as its description always does. A write through S3 brings its own tags, or none."""


def stored_metadata(metadata: dict[str, str]) -> str:
    """Return a version's metadata in stored form; TooLarge over the bound."""
    size = metadata_bytes(metadata)
    if size > MAX_METADATA_BYTES:
        raise TooLarge(f"the file's metadata has {size} bytes; the limit is {MAX_METADATA_BYTES}")
    return files.encode_metadata(metadata)


def copied_metadata(source: str, wanted: dict[str, str]) -> str:
    """Return `wanted` plus the source's encryption-key entries, because a copy keeps the encrypted content."""
    is_sealed = CUSTOMER_KEY_ENTRY in source or KMS_ENTRY in source
    found: dict[str, str] = msgspec.json.decode(source) if is_sealed else {}
    key_entries = {name: text for name, text in found.items() if name.startswith((CUSTOMER_KEY_ENTRY, KMS_ENTRY))}
    return stored_metadata(wanted | key_entries)
