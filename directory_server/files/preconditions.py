"""Preconditions of a change: what the path's current version must be."""

from __future__ import annotations

from directory_server.access.decisions import Standing
from directory_server.metadata.statements import files
from directory_server.metadata.store import Row
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import PreconditionFailed
from lockstep_store.wire.messages.files import Preconditions


def check_preconditions(place: Standing, path: str, wanted: Preconditions) -> None:
    """Raise PreconditionFailed unless the path's current version, or its absence, meets `wanted`.

    A condition that names content would confirm a guess of it. So it is Forbidden, whatever the path has, for people
    who may not read there; the refusals of other conditions do not describe the version to them.
    """
    matching, excluded = wanted.if_match, wanted.if_none_match
    if matching is None and excluded is None and wanted.if_version is None:
        return
    if wanted.if_version is not None or any(named != "*" for named in (*(matching or ()), *(excluded or ()))):
        place.demand("s3:GetObject", path)
    current = place.reader.one(files.CURRENT, bucket=place.bucket.name, path=path)
    failed = _failed(current, wanted)
    if not failed:
        return
    facts: dict[str, str | None] = {}
    if place.may("s3:GetObject", path):
        facts = {"digest": None, "version": None}
        if current is not None:
            facts = {"digest": Digest(current[3]).hex(), "version": current[2]}
    raise PreconditionFailed(f"precondition failed: {failed}", **facts)


def _failed(current: Row | None, wanted: Preconditions) -> str:
    """Return why the current version does not meet the conditions; an empty string if it does."""
    digest = Digest(current[3]).hex() if current is not None else None
    matching, excluded, version = wanted.if_match, wanted.if_none_match, wanted.if_version
    if matching is not None and (digest is None or not ("*" in matching or digest in matching)):
        return "there is no such file" if digest is None else "the content has changed"
    if excluded is not None and digest is not None and ("*" in excluded or digest in excluded):
        return "the file already exists"
    if version is not None:
        is_null = version == files.NULL_ID and current is not None and bool(current[10])
        if not is_null and (current is None or version != current[2]):
            return "another version is current"
    return ""
