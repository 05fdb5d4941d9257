"""Keys: what the reply to a look-up depends on, and what a transaction changes, in the same words.

A lease ends when a transaction changes one of its keys. These keys follow from the changed rows, so that no code which
changes something can forget to end leases. A table that this module does not know ends every lease.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

Key = tuple[str, ...]
Keys = frozenset[Key]

EVERYTHING: Key = ("*",)
"""Every lease has this key."""
NOTHING: Keys = frozenset()
ALL: Keys = frozenset((EVERYTHING,))


def path_key(bucket: str, path: str) -> Key:
    """The current version of a path, and the locks taken on it."""
    return ("path", bucket, path)


def version_key(version: str) -> Key:
    """A version and its settings."""
    return ("version", version)


def blob_key(digest: bytes) -> Key:
    """Where the copies of a content are."""
    return ("blob", digest.hex().upper())


def bucket_key(bucket: str) -> Key:
    """A bucket and its settings."""
    return ("bucket", bucket)


def account_key(account: str) -> Key:
    """An account, the groups that it is in, and the identities below it with their policies."""
    return ("account", account)


def credential_key(hash: bytes) -> Key:
    """A log-in or API key, by its hash."""
    return ("credential", hash.hex().upper())


def s3_key_key(access_key_id: str) -> Key:
    """An S3 access key."""
    return ("s3_key", access_key_id)


_OF_ROW: dict[str, Callable[[list[Any]], Key]] = {
    "current": lambda row: path_key(row[2], row[3]),
    "path_fence": lambda row: path_key(row[2], row[3]),
    "version": lambda row: version_key(row[2]),
    "version_setting": lambda row: version_key(row[2]),
    "holder": lambda row: ("blob", row[2]),
    "bucket": lambda row: bucket_key(row[2]),
    "bucket_setting": lambda row: bucket_key(row[2]),
    "account": lambda row: account_key(row[2]),
    "identity": lambda row: account_key(row[2]),
    "identity_policy": lambda row: account_key(row[2]),
    "group_member": lambda row: account_key(row[2]),
    "account_group_member": lambda row: account_key(row[2]),
    "session": lambda row: ("credential", row[2]),
    "api_key": lambda row: ("credential", row[2]),
    "s3_key": lambda row: s3_key_key(row[2]),
}
"""The key of a changed row. Its values begin at the third element, with the primary key's."""

NOT_READ = frozenset(
    (
        *("past_bucket", "past_write", "journal", "blob", "dropped", "unnamed", "file_server", "audit", "join_secret"),
        *("counter", "setting", "redo_record", "quota", "usage", "upload", "part", "target", "event"),
        *("second_factor", "recovery_code", "identity_provider", "linked_identity"),  # log-ins ask for them
        *("search_bucket", "search_file", "stored_total", "folder_total", "content_total", "daily_total"),
        *("lock", "lock_path", "waiter", "waiter_path"),  # a new lock changes `path_fence`; a lock in a reply: no lease
        *("folder_change", "folder_problem"),
        "tenant",  # an account's tenant is in its name
        "account_group",  # a reply depends on who is in it: on `account_group_member`
        "share_link",  # a reply through a link is never leased
        *("kms_key", "kms_key_version"),  # a reply with a data key is never leased
    )
)
"""Tables that no leased reply depends on."""

LEASED_ON = frozenset(_OF_ROW)
"""Tables that leased replies depend on."""


def changed_keys(changes: str) -> Keys:
    """Return the keys of a transaction's changed rows, given as in redo records: a JSON array a line."""
    if not changes:
        return NOTHING
    found = set()
    # JSON escapes a line break in a value, so each one here ends a row.
    for row in msgspec.json.decode(f"[{changes.replace(chr(10), ',')}]"):
        of_row = _OF_ROW.get(row[1])
        if of_row is not None:
            found.add(of_row(row))
        elif row[1] not in NOT_READ:
            return ALL
    return frozenset(found)
