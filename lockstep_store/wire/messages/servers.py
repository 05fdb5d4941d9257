"""Calls from file servers to the directory, and calls to file servers.

A file server also serves three streams (see lockstep_store/wire/chunk_stream.py for the framing):

- ``POST /v1/write``: a chunk stream in, `WriteReply` out. Headers `X-Lockstep-Ticket`, `X-Lockstep-Hop`.
- ``POST /v1/chunks/read``: `ReadChunksRequest` in, a chunk stream of declared length out.
- ``GET /v1/manifests/<digest>``: the canonical manifest of a blob.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.authorities import AuthorityUse, TrustNews
from lockstep_store.wire.messages.base import Message, Nothing, Outcome, Size, WriteId
from lockstep_store.wire.messages.files import FileVersion, Holder
from lockstep_store.wire.messages.redo import RedoBatch, RedoPlace, RedoReply, RedoRequest
from lockstep_store.wire.messages.storage_keys import StorageKeyUse
from lockstep_store.wire.protocol_versions import FIRST

TICKET_HEADER = "X-Lockstep-Ticket"
HOP_HEADER = "X-Lockstep-Hop"
WRITE_PATH = "/v1/write"
READ_CHUNKS_PATH = "/v1/chunks/read"
MANIFEST_PATH = "/v1/manifests/"
MAX_READ_CHUNKS = 256
MAX_MISSING_CHUNKS = 100_000
MAX_ORDERS = 64
MAX_DROPS = 500
MAX_INVENTORY = 1000
MAX_FOUND = 200
MAX_SMALL_WRITES = 64
MAX_UNREACHABLE = 100
MAX_SMALL_STREAM_BYTES = 64 * 1024

Hop = Literal["master", "replica"]
"""`master`: forward to the ticket's replicas, then commit. `replica`: store only."""


class WriteReply(Message):
    """The reply to a write. A master's has the committed version; a replica's means only that the blob is durable."""

    digest: Digest
    size: Size
    holder: str
    version: FileVersion | None = None
    copies: int = 1
    cursor: int = 0


class SmallWrite(Message):
    """One small write: the ticket and the body that POST /v1/write would carry."""

    ticket: Annotated[str, Meta(max_length=256 * 1024)]
    stream: Annotated[bytes, Meta(max_length=MAX_SMALL_STREAM_BYTES)]


class SmallWritesRequest(Message):
    """Several small writes for one file server.

    They share its reply, its flush and, at the master, the calls to replicas and the commit.
    """

    items: Annotated[list[SmallWrite], Meta(max_length=MAX_SMALL_WRITES)]
    hop: Hop = "replica"


class SmallWritesReply(Message):
    results: list[Outcome[WriteReply]]


class ReadChunksRequest(Message):
    digests: Annotated[list[Digest], Meta(min_length=1, max_length=MAX_READ_CHUNKS)]


class MissingChunksRequest(Message):
    digests: Annotated[list[Digest], Meta(max_length=MAX_MISSING_CHUNKS)]


class MissingChunksReply(Message):
    missing: list[Digest]


# ---------------------------------------------------------------- file server to directory


class CommitItem(Message):
    """A master's report that `holders` hold the blob durably: the directory commits the write or rejects it."""

    ticket: str
    digest: Digest
    size: Size
    holders: list[str]
    trailing_metadata: dict[str, str] = field(default_factory=dict, name="facts")
    """From the end of the chunk stream (see lockstep_store/wire/chunk_stream.py): added to the version's metadata."""
    unreachable: Annotated[list[str], Meta(max_length=MAX_UNREACHABLE)] = []
    """Ids of the file servers that the master could not reach for this write; others took their place."""


class CommitRequest(Message):
    items: Annotated[list[CommitItem], Meta(max_length=1000)]


class CommitReplyItem(Message):
    version: FileVersion
    copies: int


class CommitReply(Message):
    cursor: int
    results: list[Outcome[CommitReplyItem]]


class SeenMarks(Message):
    """The newest state of the directory that a file server knows of and keeps on its disk."""

    epoch: Size = 0
    """Counts the directory's starts; 0: nothing is stored, or this start must not be stored yet."""
    mark: Size = 0
    """The random part of the epoch."""
    lock_number: Size = 0
    cursor: Size = 0


class RegisterRequest(Message):
    """A file server registers. `store_id` is created with its storage: a new one means an empty disk."""

    url: str
    store_id: str
    zone: str = ""
    version: str = ""
    highest_fence: Size = 0
    """The highest lock number that it has seen: a directory restored from a backup must not grant it again."""
    highest_note: Size = 0
    """The highest cursor of a version that it committed."""
    blobs: Size = 0
    """Number of blobs that it holds: a directory that does not know this storage keeps them."""
    seen: SeenMarks = field(default_factory=SeenMarks)
    protocol: int = FIRST
    """The version of the protocol that the sender speaks, and the oldest that it works with."""
    oldest_protocol: int = FIRST


class RegisterReply(Message):
    ticket_key: str
    """The key that signs tickets, in hex; shared with file servers, never with proxies."""
    directory_time: float
    heartbeat_seconds: float
    protocol: int = FIRST
    """The version of the protocol that the sender speaks, and the oldest that it works with."""
    oldest_protocol: int = FIRST


class HeartbeatRequest(Message):
    url: str
    store_id: str
    capacity_bytes: int
    free_bytes: int
    blobs: int
    stored_bytes: int
    healthy: bool
    problem: str = ""
    ticket_key_id: str = ""
    """The id of its ticket key (see TicketSigner.key_id). If the directory has another key, the server must register
    again."""
    inventory_done: int = 0
    """The id of the last inventory order that it has completed."""
    inventoried: bool = False
    """It has compared all its blobs since it registered, so other servers may drop copies in favour of its own."""
    revoked_number: int = -1
    """The number of its list of revoked certificates; -1: it has none."""
    storage_keys: StorageKeyUse | None = None
    """None: it cannot take over new storage keys."""
    authorities: AuthorityUse | None = None
    """None: it cannot take over a new certificate authority."""
    redo_sealed_by: list[str] | None = None
    """Every `RedoBatch.sealed_by` among the redo records that it keeps. None: it cannot have them sealed again."""


class InventoryOrder(Message):
    """Orders a file server to list everything it holds, from the start, with INVENTORY under this id."""

    id: int
    notes_after: int | None = None
    """Also send with FOUND the commit notes after this cursor, up to `notes_through`, and every blob that the directory
    does not know. None: do not."""
    notes_through: int = 0
    deep: bool = False
    """Also read and check every byte, as the scrubber does, before reporting the order as done."""


class CopyOrder(Message):
    """Orders a file server to fetch this blob from one of `sources`, and to report it with HELD."""

    digest: Digest
    size: Size
    sources: list[Holder]


class HeartbeatReply(Message):
    registered: bool
    """False: the directory does not know this server (any more), so it must register again."""
    directory_time: float = 0.0
    orders: list[CopyOrder] = []
    servers: list[Holder] = []
    drops: list[Digest] = []
    """Copies that are not needed: the caller may ask with COLLECT whether to drop them."""
    inventory: InventoryOrder | None = None
    marks: SeenMarks = field(default_factory=SeenMarks)
    """State of this directory to store, and to send with the next registration."""
    revoked_pem: str = ""
    """The signed list of revoked certificates; empty when the caller has the latest."""
    redo: RedoPlace = field(default_factory=RedoPlace)
    """How far the directory is: the caller fetches with REDO the records that it lacks, and keeps them."""
    replay_after: RedoPlace | None = None
    """Send with REPLAY the records behind this place. None: do not."""
    storage_keys_json: str = ""
    """The storage keys; empty when the caller has them."""
    trust: TrustNews | None = None
    """The certificate authorities; None when the caller has them already."""
    issuer: str = ""
    """The id of the authority that issues the caller's certificates now."""


class ReplayRequest(Message):
    """For a directory restored from a backup: redo records that the caller has kept; None when it has no more."""

    batch: RedoBatch | None = None


class ReplayReply(Message):
    after: RedoPlace
    """The records behind this place are wanted next; sequence 0: none."""


class ResealRequest(Message):
    """Redo records that the caller keeps, sealed with the key of an authority that is being replaced."""

    batch: RedoBatch


class ResealReply(Message):
    batch: RedoBatch
    """The same, sealed with the key of the authority that issues certificates."""


class HeldRequest(Message):
    """Blobs that are now durable on the caller's disk."""

    digests: Annotated[list[Digest], Meta(max_length=1000)]


class HeldReply(Message):
    unwanted: list[Digest]
    """Blobs that no version refers to any more."""


class DamagedRequest(Message):
    """Copies on `holder` that failed their check: the directory stops counting them and has them repaired."""

    holder: str
    digests: Annotated[list[Digest], Meta(max_length=1000)]
    inventory: int = 0
    """The inventory order that found them missing."""


class CollectRequest(Message):
    """Asks whether the caller may drop its copies of these blobs: older than the grace period, oldest first."""

    digests: Annotated[list[Digest], Meta(max_length=1000)]


class CollectReply(Message):
    drop: list[Digest]


class InventoryRequest(Message):
    """All blobs that the caller holds whole, by rising digest, after `after` (None: from the first) and up to `through`
    (None: to the last). `id` is that of the inventory order; 0 for the daily inventory."""

    id: int = 0
    after: Digest | None = None
    through: Digest | None = None
    digests: Annotated[list[Digest], Meta(max_length=MAX_INVENTORY)] = []


class InventoryReply(Message):
    """The result of comparing one page with the metadata."""

    missing: list[Digest]
    """Blobs that the metadata counts on the caller but the page does not list. The caller checks again and reports with
    DAMAGED what is really missing."""
    unknown: list[Digest]
    """Blobs that the directory does not know: left to collection, or sent with FOUND if that was ordered."""
    counted: int = 0
    """Copies that the metadata had not counted, and counts now."""
    through: Digest | None = None
    """The last digest compared; the next page begins after it. None: everything was compared."""


class CommitNote(Message):
    """What a master keeps about a version that it committed: enough to restore its row."""

    write_id: WriteId
    version: FileVersion


class FoundBlob(Message):
    digest: Digest
    size: Size


class FoundRequest(Message):
    """For a directory restored from a backup: what the caller has and the directory may not know.

    `notes` are versions that the caller committed and holds, by rising cursor; `blobs` are unknown to the directory.
    """

    notes: Annotated[list[CommitNote], Meta(max_length=MAX_FOUND)] = []
    blobs: Annotated[list[FoundBlob], Meta(max_length=MAX_INVENTORY)] = []


class FoundReply(Message):
    recovered: int
    """Number of versions restored."""


COMMIT = Call("/v1/commit", CommitRequest, CommitReply)
REGISTER = Call("/v1/register", RegisterRequest, RegisterReply)
HEARTBEAT = Call("/v1/heartbeat", HeartbeatRequest, HeartbeatReply)
HELD = Call("/v1/held", HeldRequest, HeldReply)
DAMAGED = Call("/v1/damaged", DamagedRequest, Nothing)
COLLECT = Call("/v1/collect", CollectRequest, CollectReply)
INVENTORY = Call("/v1/inventory", InventoryRequest, InventoryReply)
FOUND = Call("/v1/found", FoundRequest, FoundReply)
REDO = Call("/v1/redo", RedoRequest, RedoReply)
REPLAY = Call("/v1/redo/replay", ReplayRequest, ReplayReply)
RESEAL = Call("/v1/redo/reseal", ResealRequest, ResealReply)
SMALL_WRITES = Call("/v1/writes/small", SmallWritesRequest, SmallWritesReply)
MISSING_CHUNKS = Call("/v1/chunks/missing", MissingChunksRequest, MissingChunksReply)
