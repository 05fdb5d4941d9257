"""The key that signs write tickets, a setting of the metadata. A restore discards it, which voids earlier tickets."""

from __future__ import annotations

import secrets

from directory_server.metadata.statements import people
from directory_server.metadata.store import MetadataStore, Tx
from lockstep_store.wire.tickets import TICKET_KEY_BYTES

_SETTING = "ticket_key"


def ticket_key(store: MetadataStore) -> bytes:
    """Return the key; create it at the first start."""

    def work(tx: Tx) -> str:
        found = people.read_setting(tx, _SETTING)
        if found is None:
            found = secrets.token_hex(TICKET_KEY_BYTES)
            people.write_setting(tx, _SETTING, found)
        return found

    return bytes.fromhex(store.write(work))
