"""Looks up the cluster's locks, and recognises those that were taken through this door."""

from __future__ import annotations

from collections.abc import Iterable

from client_proxy.core.directory_calls import Directory
from lockstep_store.wire.errors import Forbidden
from lockstep_store.wire.messages.locks import LOCKS, MAX_LISTED_LOCKS, LockInfo, LockPath, LocksRequest

FILE_CLIENT = " (WebDAV)"
"""The end of the client's name in a lock that was taken here."""
SHARED_CLIENT = " (WebDAV, shared)"
"""Of a lock that other programs of the same account may join."""
FOLDER_CLIENT = " (WebDAV folder)"
"""Of a lock that covers a whole folder."""

Place = tuple[str, str]
"""A bucket and a path in it."""


def locks_on(directory: Directory, access: str, places: Iterable[Place]) -> dict[Place, LockInfo]:
    """The locks on these paths, as far as the person may see them: the directory judges every write all the same."""
    wanted = list(dict.fromkeys(places))
    found: dict[Place, LockInfo] = {}
    for start in range(0, len(wanted), MAX_LISTED_LOCKS):
        part = wanted[start : start + MAX_LISTED_LOCKS]
        try:
            reply = directory.call(LOCKS, LocksRequest(access, on=[LockPath(*place) for place in part]))
        except Forbidden:  # a key with limits
            return {}
        found |= {(path.bucket, path.path): lock for lock in reply.locks for path in lock.paths}
    return {place: found[place] for place in wanted if place in found}  # an older directory answers with all locks


def is_of_folder(lock: LockInfo) -> bool:
    """Whether the lock covers a folder with everything in it."""
    return lock.client.endswith(FOLDER_CLIENT)


def is_shared(lock: LockInfo) -> bool:
    """Whether other programs of the account may join the lock."""
    return lock.client.endswith(SHARED_CLIENT)


def reserves(lock: LockInfo) -> bool:
    """Whether the lock makes a name without a file look like an empty file here, as clients expect after LOCK."""
    return lock.client.endswith((FILE_CLIENT, SHARED_CLIENT))
