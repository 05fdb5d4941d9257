"""Hands out redo records, to administrators' continuous backups and, sealed, to file servers.

Records have every secret that the metadata has. A file server must not read them: it holds the storage keys, which
open the named keys. So its batches are sealed with a key of the authority, which only the directory's machine has.
While the authority is rotated, file servers have what they keep sealed again before the old key is deleted.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable
from contextlib import suppress

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.metadata.statements import redo
from directory_server.metadata.statements.redo import HistoryPlace, Record
from directory_server.metadata.store import MetadataStore
from lockstep_store.wire.errors import Damaged
from lockstep_store.wire.messages.redo import MAX_BATCH_BYTES, RedoBatch, RedoPlace, RedoReply
from lockstep_store.wire.messages.servers import ResealReply, ResealRequest

SEALING_CONTEXT = "lockstep 2026 redo records v1"
MAX_PLAIN_BYTES = 1 << 30
_NONCE_BYTES = 12
_COMPRESSION = 1
_bodies = msgspec.json.Decoder(list[str])


class RedoLog:
    """Reads the records of `store`. `keys` returns the key of each authority by its id; the first one seals."""

    def __init__(self, store: MetadataStore, clock: DirectoryClock, keys: Callable[[], dict[str, bytes]]) -> None:
        self._store = store
        self._clock = clock
        self._keys = keys

    def place(self) -> RedoPlace:
        """How far the metadata is."""
        with self._store.read() as reader:
            return to_wire(redo.newest(reader))

    def read(self, after: RedoPlace, *, sealed: bool) -> RedoReply:
        """The records behind a place."""
        made_at = self._clock.wall()
        with self._store.read() as reader:
            newest = redo.newest(reader)
            oldest = redo.oldest(reader)
            known = after.sequence > 0 and redo.is_past(reader, from_wire(after))
            records = redo.records_after(reader, after.sequence, MAX_BATCH_BYTES) if known else []
        batch = None
        if records:
            last = HistoryPlace(records[-1].sequence, records[-1].chain)
            payload = zlib.compress(msgspec.json.encode([record.body for record in records]), _COMPRESSION)
            batch = RedoBatch(after, to_wire(last), made_at, payload)
            if sealed:
                batch = self.seal(batch)
        return RedoReply(to_wire(newest), made_at, batch, known, to_wire(oldest))

    def seal(self, batch: RedoBatch) -> RedoBatch:
        """The batch with a payload that only this cluster's directory can read."""
        sealed_by, key = next(iter(self._keys().items()))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(_data_key(key, batch)).encrypt(nonce, batch.payload, None)
        return msgspec.structs.replace(batch, payload=nonce + sealed, sealed_by=sealed_by)

    def unseal(self, batch: RedoBatch) -> RedoBatch:
        """Damaged when the payload was not sealed here for exactly these records."""
        nonce, sealed = batch.payload[:_NONCE_BYTES], batch.payload[_NONCE_BYTES:]
        for key in self._keys().values():
            with suppress(InvalidTag, ValueError):
                payload = AESGCM(_data_key(key, batch)).decrypt(nonce, sealed, None)
                return msgspec.structs.replace(batch, payload=payload, sealed_by="")
        raise Damaged("redo records are damaged, not this cluster's, or sealed with the key of a retired authority")

    def reseal(self, request: ResealRequest) -> ResealReply:
        """Seal a batch again with the key that seals now. Damaged when it was not sealed here."""
        return ResealReply(self.seal(self.unseal(request.batch)))


def _data_key(key: bytes, batch: RedoBatch) -> bytes:
    """Of its own for each batch, so that random nonces never repeat under one."""
    about = msgspec.json.encode([batch.before.sequence, batch.before.chain, batch.through.sequence, batch.made_at])
    return blake3(about, key=key).digest()


def bodies_of(batch: RedoBatch) -> list[str]:
    """The records of a plain batch, proven by their chain. Damaged when they are not what the batch says."""
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(batch.payload, MAX_PLAIN_BYTES)
        bodies = _bodies.decode(text)
    except (zlib.error, msgspec.DecodeError) as error:
        raise Damaged(f"redo records cannot be read ({error})") from error
    place = from_wire(batch.before)
    for body in bodies:
        place = HistoryPlace(place.sequence + 1, redo.next_chain(place.chain, body))
    if place != from_wire(batch.through):
        raise Damaged(f"redo records behind {batch.before.sequence} are not those that were written")
    return bodies


def records_of(batch: RedoBatch, place: HistoryPlace | None) -> list[Record]:
    """The batch's records behind `place`. Damaged when they do not follow it."""
    at = from_wire(batch.before)
    follows = at == place
    records = []
    for body in bodies_of(batch):
        at = HistoryPlace(at.sequence + 1, redo.next_chain(at.chain, body))
        if follows:
            records.append(Record(at.sequence, at.chain, body))
        follows = follows or at == place
    if not follows and (place is None or at.sequence >= place.sequence):
        raise Damaged(f"the redo records behind {batch.before.sequence} do not follow the backup")
    return records


def to_wire(place: HistoryPlace | None) -> RedoPlace:
    """As it is sent."""
    return RedoPlace() if place is None else RedoPlace(place.sequence, place.chain.hex())


def from_wire(place: RedoPlace) -> HistoryPlace:
    """As it is compared. A chain that is no hexadecimal is no place's."""
    try:
        return HistoryPlace(place.sequence, bytes.fromhex(place.chain))
    except ValueError:
        return HistoryPlace(place.sequence, b"")
