"""What file servers and the directory say to each other, and what is asked of a file server.

Besides these calls a file server answers three streams (see lockstep_store/wire/chunk_stream.py for the framing):

- ``POST /v1/write``: a chunk stream in, `WriteReply` out. Headers `X-Lockstep-Ticket`, `X-Lockstep-Hop`.
- ``POST /v1/chunks/read``: `ReadChunksRequest` in, a chunk stream out with its length declared.
- ``GET /v1/manifests/<digest>``: the canonical manifest of a blob.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import FileVersion, Holder, Message, Nothing, Outcome, Size, WriteId

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
MAX_SMALL_STREAM_BYTES = 64 * 1024

Hop = Literal["master", "replica"]
"""`master`: forward to the ticket's replicas, then commit. `replica`: store only."""


class WriteReply(Message):
    """A master's answer carries the committed version; a replica's only says what is durable on its disk."""

    digest: Digest
    size: Size
    holder: str
    version: FileVersion | None = None
    copies: int = 1
    cursor: int = 0


class SmallWrite(Message):
    """One small write: what POST /v1/write would carry in its header and body."""

    ticket: Annotated[str, Meta(max_length=256 * 1024)]
    stream: Annotated[bytes, Meta(max_length=MAX_SMALL_STREAM_BYTES)]


class SmallWritesRequest(Message):
    """Several small writes for one file server, which then share its answer, its flush and, at the master, the
    calls to replicas and the commit."""

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
    """The master reports that `holders` hold the blob durably: the directory makes it the truth, or refuses."""

    ticket: str
    digest: Digest
    size: Size
    holders: list[str]
    trailing_metadata: dict[str, str] = field(default_factory=dict, name="facts")
    """From the end of the chunk stream (see lockstep_store/wire/chunk_stream.py): added to the version's metadata."""


class CommitRequest(Message):
    items: Annotated[list[CommitItem], Meta(max_length=1000)]


class CommitReplyItem(Message):
    version: FileVersion
    copies: int


class CommitReply(Message):
    cursor: int
    results: list[Outcome[CommitReplyItem]]


class SeenMarks(Message):
    """The newest that a directory has told a file server of itself, and the file server remembers on its disk."""

    epoch: Size = 0
    """Counts the directory's starts; 0: nothing is remembered, or this start is not yet to be."""
    mark: Size = 0
    """The epoch's random half."""
    lock_number: Size = 0
    cursor: Size = 0


class RegisterRequest(Message):
    """A file server says who it is. `store_id` is made with its storage: a new one means an empty disk."""

    url: str
    store_id: str
    zone: str = ""
    version: str = ""
    highest_fence: Size = 0
    """The highest lock number that it has seen: a directory restored from a backup must not hand it out again."""
    highest_note: Size = 0
    """The highest cursor of a version that it committed."""
    blobs: Size = 0
    """How many it holds: a directory that does not know this storage keeps them."""
    seen: SeenMarks = field(default_factory=SeenMarks)


class RegisterReply(Message):
    ticket_key: str
    """Hex. What tickets are signed with; shared with file servers, never with proxies."""
    directory_time: float
    heartbeat_seconds: float


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
    """Which ticket key it trusts (see TicketSigner.key_id). Another one than the directory's: it must register."""
    inventory_done: int = 0
    """The id of the last inventory order that it has carried out."""
    inventoried: bool = False
    """It has compared everything it holds since it registered: others may drop a copy in reliance on its own."""


class InventoryOrder(Message):
    """Walk over everything you hold, from the start, and send it with INVENTORY under this id."""

    id: int
    notes_after: int | None = None
    """Send with FOUND the commit notes of versions behind this cursor, up to `notes_through`, and whatever the
    directory does not know. None: not asked for."""
    notes_through: int = 0
    deep: bool = False
    """Read and check every byte too, as the scrubber does, before saying that it is done."""


class CopyOrder(Message):
    """Fetch this blob from one of `sources` and report it with HELD."""

    digest: Digest
    size: Size
    sources: list[Holder]


class HeartbeatReply(Message):
    registered: bool
    """False: the directory does not know this server (any more); register again."""
    directory_time: float = 0.0
    orders: list[CopyOrder] = []
    servers: list[Holder] = []
    drops: list[Digest] = []
    """Copies that are not needed: the caller may ask with COLLECT to drop them."""
    inventory: InventoryOrder | None = None
    marks: SeenMarks = field(default_factory=SeenMarks)
    """What to remember of this directory, and to send with the next registration."""


class HeldRequest(Message):
    """Blobs that are durable on the caller's disk now."""

    digests: Annotated[list[Digest], Meta(max_length=1000)]


class HeldReply(Message):
    unwanted: list[Digest]
    """No version refers to these any more."""


class DamagedRequest(Message):
    """A chunk or blob of `holder` failed its check; the directory stops counting that copy and has it repaired."""

    holder: str
    digests: Annotated[list[Digest], Meta(max_length=1000)]
    inventory: int = 0
    """The inventory order that showed them to be missing altogether."""


class CollectRequest(Message):
    """May the caller drop its copies of these blobs? Asked for blobs older than the grace period, oldest first."""

    digests: Annotated[list[Digest], Meta(max_length=1000)]


class CollectReply(Message):
    drop: list[Digest]


class InventoryRequest(Message):
    """All blobs that the caller holds whole with digests above `after` (None: from the first), up to `through`
    (None: to the last), rising. `id` is that of the order it belongs to; 0 for the daily round."""

    id: int = 0
    after: Digest | None = None
    through: Digest | None = None
    digests: Annotated[list[Digest], Meta(max_length=MAX_INVENTORY)] = []


class InventoryReply(Message):
    """What the comparison of one page with the books found."""

    missing: list[Digest]
    """The books count these as held by the caller, and it did not name them. It looks again, and says DAMAGED."""
    unknown: list[Digest]
    """The directory has never heard of these. Left to collection, or sent with FOUND when that was ordered."""
    counted: int = 0
    """Copies that the books had not counted, and count again now."""
    through: Digest | None = None
    """How far the comparison went; the next page begins behind it. None: to the end."""


class CommitNote(Message):
    """What a master remembers of a version that it committed: enough to make its row again."""

    write_id: WriteId
    version: FileVersion


class FoundBlob(Message):
    digest: Digest
    size: Size


class FoundRequest(Message):
    """For a directory restored from a backup: versions that the caller committed and holds, by rising cursor, and
    blobs that the directory did not know."""

    notes: Annotated[list[CommitNote], Meta(max_length=MAX_FOUND)] = []
    blobs: Annotated[list[FoundBlob], Meta(max_length=MAX_INVENTORY)] = []


class FoundReply(Message):
    recovered: int
    """Versions made again."""


COMMIT = Call("/v1/commit", CommitRequest, CommitReply)
REGISTER = Call("/v1/register", RegisterRequest, RegisterReply)
HEARTBEAT = Call("/v1/heartbeat", HeartbeatRequest, HeartbeatReply)
HELD = Call("/v1/held", HeldRequest, HeldReply)
DAMAGED = Call("/v1/damaged", DamagedRequest, Nothing)
COLLECT = Call("/v1/collect", CollectRequest, CollectReply)
INVENTORY = Call("/v1/inventory", InventoryRequest, InventoryReply)
FOUND = Call("/v1/found", FoundRequest, FoundReply)
SMALL_WRITES = Call("/v1/writes/small", SmallWritesRequest, SmallWritesReply)
MISSING_CHUNKS = Call("/v1/chunks/missing", MissingChunksRequest, MissingChunksReply)
