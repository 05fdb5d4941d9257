"""Keys that are settings of the metadata, each made when it is first needed."""

from __future__ import annotations

import secrets

from directory_server.metadata.statements import people
from directory_server.metadata.store import MetadataStore, Tx
from lockstep_store.wire.messages.file_ids import FILE_ID_KEY_BYTES
from lockstep_store.wire.tickets import TICKET_KEY_BYTES

_TICKETS, _FILE_IDS = "ticket_key", "file_id_key"


def ticket_key(store: MetadataStore) -> bytes:
    """Return the key that signs write tickets. A restore discards it, which voids earlier tickets."""
    return bytes.fromhex(store.write(lambda tx: _made(tx, _TICKETS, TICKET_KEY_BYTES)))


def file_id_key(store: MetadataStore) -> bytes:
    """Return the key from which proxies make the ids of files. It stays the same for the life of the metadata."""
    with store.read() as reader:
        found = people.read_setting(reader, _FILE_IDS)
    return bytes.fromhex(found or store.write(lambda tx: _made(tx, _FILE_IDS, FILE_ID_KEY_BYTES)))


def _made(tx: Tx, setting: str, size: int) -> str:
    found = people.read_setting(tx, setting)
    if found is None:
        found = secrets.token_hex(size)
        people.write_setting(tx, setting, found)
    return found
