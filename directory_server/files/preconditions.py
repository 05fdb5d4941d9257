"""Preconditions of a change: what the path's current version must be."""

from __future__ import annotations

from directory_server.metadata.statements import files
from directory_server.metadata.store import Reader
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import PreconditionFailed
from lockstep_store.wire.messages.files import Preconditions


def check_preconditions(reader: Reader, bucket: str, path: str, wanted: Preconditions) -> None:
    """Raise PreconditionFailed unless the path's current version, or its absence, is as `wanted`."""
    if wanted.if_match is None and wanted.if_none_match is None and wanted.if_version is None:
        return
    current = reader.one(files.CURRENT, bucket=bucket, path=path)
    digest = Digest(current[3]).hex() if current is not None else None
    facts = {"digest": digest, "version": current[2] if current is not None else None}
    matching = wanted.if_match
    if matching is not None and (digest is None or not ("*" in matching or digest in matching)):
        what = "there is no such file" if digest is None else "the content has changed"
        raise PreconditionFailed(f"precondition failed: {what}", **facts)
    excluded = wanted.if_none_match
    if excluded is not None and digest is not None and ("*" in excluded or digest in excluded):
        raise PreconditionFailed("precondition failed: the file already exists", **facts)
    if wanted.if_version is not None:
        is_null = wanted.if_version == files.NULL_ID and current is not None and bool(current[10])
        if not is_null and wanted.if_version != facts["version"]:
            raise PreconditionFailed("precondition failed: another version is current", **facts)
