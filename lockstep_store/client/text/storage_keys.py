"""Formats the storage keys for people: which is current, and what still needs the others."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep_store.client.text.formatting import WIDTH, counted, safe, table, when
from lockstep_store.wire.messages.storage_keys import KeyHolder, StorageKeyInfo


def storage_keys_text(keys: Sequence[StorageKeyInfo], width: int = WIDTH) -> str:
    """The storage keys, one a line, and below what needs them, and what the old ones wait for."""
    head = ("key", "state", "made")
    rows = [(key.id, _state(key), when(key.created_at) if key.created_at else "") for key in keys]
    return "\n".join([table(head, rows, width=width), *(line for key in keys for line in _waiting_lines(key))])


def old_storage_key_lines(keys: Sequence[StorageKeyInfo]) -> list[str]:
    """For the cluster's state: the old storage keys, and how much is left to do."""
    return [f"old storage key {key.id}: {_summary(key)}" for key in keys if not key.current]


def _state(key: StorageKeyInfo) -> str:
    if key.unknown:
        return "MISSING"
    if key.current:
        return "current"
    return "old" if key.holders or key.waiting_for else "unneeded"


def _needed(key: StorageKeyInfo) -> str:
    return "; ".join(f"{safe(one.program)}: {_items(one)}" for one in key.holders)


def _items(holder: KeyHolder) -> str:
    if not holder.items:
        return "a write under way"
    return counted(holder.items, "chunk" if holder.program.startswith("file server") else "secret")


def _waiting_lines(key: StorageKeyInfo) -> list[str]:
    if key.current:
        return [f"{key.id}: needed by {_needed(key)}"] if key.holders else []
    if key.unknown:
        return [f"{key.id}: the directory does not have this key; restore certs/storage-keys.json from a backup of it"]
    if not key.holders and not key.waiting_for:
        return [f"{key.id}: {_summary(key)}", *_backup_lines(key)]
    needed = [f"{key.id}: {_summary(key)}"] if key.holders else []
    return needed + [f"{key.id}: {safe(reason)}" for reason in key.waiting_for]


def _backup_lines(key: StorageKeyInfo) -> list[str]:
    if key.backups_before is None:
        return []
    return [f"{key.id}: backups made before {when(key.backups_before)} have secrets that only this key opens"]


def _summary(key: StorageKeyInfo) -> str:
    if key.holders:
        left = f"still needed by {_needed(key)}"
    elif key.waiting_for:
        left = safe(key.waiting_for[0])
    else:
        left = f"nothing needs it; lockstep storage-keys retire {key.id} deletes it"
    return left
