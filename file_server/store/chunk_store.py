"""The chunk store: what every storage engine promises to the file server.

An engine stores blobs: a manifest and the chunks that it names. How and where is the engine's business; `local/` keeps
sealed chunks on this machine's disk. Whether a write is allowed, which servers get a copy and what may be dropped are
decided elsewhere. Only a path's fence is stored here, because it must be as durable as the bytes.

`tests/contract/test_chunk_store_contract.py` holds every engine to these promises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, MissingChunks, NotFound, TicketRefused
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.servers import MAX_MISSING_CHUNKS, CommitNote

SWEEP_PARTS = 256
"""`sweep_orphans` takes the storage in so many parts."""


class Fence(NamedTuple):
    """The lock number that a write was begun under, and the path it counts for."""

    path: str
    number: int


class WholeBlob(NamedTuple):
    """A blob that is whole in memory; chunks without data must be in the store already."""

    chunks: Sequence[Chunk]
    manifest: Manifest
    fence: Fence | None = None


class BlobRow(NamedTuple):
    """A blob in a listing. Ids only order a listing; a blob that is dropped and stored again gets another."""

    id: int
    digest: Digest
    generation: int
    size: int


class Totals(NamedTuple):
    """How much the store holds. `stored_bytes` is the size of the chunks in their stored form."""

    chunks: int
    blobs: int
    stored_bytes: int


class Collected(NamedTuple):
    """What one collection removed, and how many chunks are still in their grace period."""

    removed: int
    waiting: int


class Resealed(NamedTuple):
    """What one call of `reseal` did. `after` continues the walk; None: it has reached the end."""

    after: int | None
    chunks: int
    size: int
    """Plain bytes."""


class Staging(Protocol):
    """The chunks of one blob between their arrival and the moment the blob is durable.

    End it with `complete`, `keep` or `abort`; as a context manager it aborts unless completed. One thread only.
    """

    def put(self, chunk: Chunk) -> None:
        """Add a chunk. If it has data, the caller has checked the data against the digest.

        A chunk that the store holds is not written again, but protected from collection until this staging ends.
        Safe to repeat. Not durable before `complete` or `keep`. Raises StorageFull or Unavailable.
        """
        ...

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return the digests that are neither staged nor stored, each once, in order."""
        ...

    def complete(self, manifest: Manifest, fence: Fence | None = None) -> None:
        """Store the blob. Durable on return; after an exception the store does not have it.

        Raises MissingChunks (the staged chunks then stay for the grace period), TicketRefused when the path's fence is
        higher, StorageFull, Unavailable. Storing the same content again is safe and gives the blob a new generation.
        """
        ...

    def keep(self) -> None:
        """Keep the staged chunks, without a blob, for the grace period. Durable on return."""
        ...

    def abort(self) -> None:
        """Discard the staged chunks. Safe to repeat, and after `complete`."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ChunkStore(Protocol):
    """One file server's storage. Thread-safe.

    Failures of the medium are StorageFull or Unavailable, from any method, and show in `problem` until a `probe`
    succeeds. What does not match its digest is never returned: it is quarantined, reported to the `on_damage` that the
    engine was built with, and no longer held.
    """

    @property
    def store_id(self) -> str:
        """Return the storage's random id. A different id means a different, empty storage."""
        ...

    @property
    def problem(self) -> str:
        """Say why the storage takes no writes, as a clause for people; empty when it does."""
        ...

    @property
    def totals(self) -> Totals:
        """Return the totals as of the latest change. Costs no I/O."""
        ...

    def space(self) -> tuple[int, int]:
        """Return (capacity, free for new blobs) in bytes."""
        ...

    def probe(self) -> None:
        """Check that the storage takes writes, by a write if the last one failed. Call it once a second.

        Raises StorageFull or Unavailable.
        """
        ...

    def rebuild(self) -> bool:
        """Rebuild what keeps track of the storage, if that is damaged; whether it was. Call it once a second.

        Everything else is refused meanwhile, and what was acknowledged before is kept as far as it is whole. Raises
        StorageFull or Unavailable when it failed; then the next call tries again.
        """
        ...

    def close(self) -> None:
        """Finish pending work and release the storage."""
        ...

    # ------------------------------------------------------------ writes

    def check_room(self) -> None:
        """Raise StorageFull or Unavailable if a write would fail now. Costs no write."""
        ...

    def stage(self) -> Staging:
        """Begin to receive a blob. Raises as `check_room` does."""
        ...

    def put_blobs(self, blobs: Sequence[WholeBlob]) -> list[LockstepError | None]:
        """Store several blobs at the cost of one flush where the engine can. Durable on return.

        Returns for each blob None, or what `Staging.complete` would have raised; one refusal affects no other blob.
        Safe to repeat.
        """
        ...

    def check_fence(self, fence: Fence) -> None:
        """Raise TicketRefused if a higher lock number was seen on the path. Storing the blob checks again."""
        ...

    def highest_fence(self) -> int:
        """Return the highest lock number seen on any path; 0 without one."""
        ...

    # ------------------------------------------------------------ reads

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return the chunks not held intact, each once, in order. Puts off the collection of the others."""
        ...

    def lengths(self, digests: list[Digest]) -> list[int]:
        """Return the chunks' plain lengths in bytes. NotFound names the first chunk that is not held."""
        ...

    def read_chunk(self, digest: Digest) -> bytes:
        """Return a chunk's plain bytes, checked. NotFound, or DamagedChunk when the check fails."""
        ...

    def manifest(self, digest: Digest) -> Manifest:
        """Return a blob's manifest, checked. NotFound, or Damaged when the check fails."""
        ...

    def generation(self, digest: Digest) -> int | None:
        """Return the blob's generation, which rises each time it is stored; None if it is not held."""
        ...

    @property
    def latest_generation(self) -> int:
        """Return the highest generation given: every blob up to it exists by now."""
        ...

    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Return the plain bytes of each blob that is held."""
        ...

    def not_whole(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return the digests, in order, of which no blob is held or the blob has a damaged chunk."""
        ...

    def damaged_blobs(self) -> list[Digest]:
        """Return the blobs with a chunk known to be damaged."""
        ...

    def blobs(self, after: int, up_to_generation: int | None, limit: int) -> list[BlobRow]:
        """Return a page of blobs by rising id; without those stored after `up_to_generation`, if given."""
        ...

    def blobs_by_digest(self, after: Digest | None, limit: int) -> tuple[list[Digest], Digest | None]:
        """Return the whole blobs among the next `limit` after `after` in digest order, and where the page ended.

        The end is None on the last page.
        """
        ...

    # ------------------------------------------------------------ removal

    def drop_blob(self, digest: Digest, generation: int) -> bool:
        """Forget a blob unless it was stored again since `generation`; return whether it was dropped.

        Durable on return. False if it is not held, so safe to repeat.
        """
        ...

    def collect_chunks(self, grace_seconds: float) -> Collected:
        """Remove chunks that no blob has referred to for `grace_seconds` of this process's time."""
        ...

    def sweep_orphans(self, part: int) -> int:
        """Remove what a crash left behind in one of `SWEEP_PARTS`; return how many objects that were."""
        ...

    # ------------------------------------------------------------ maintenance

    def verify_next(self, after: int) -> tuple[int, int] | None:
        """Check the first chunk with an id above `after`; return (its id, bytes read), or None after the last.

        A damaged chunk is handled as in `read_chunk`, without an exception.
        """
        ...

    def verify_blob(self, digest: Digest) -> None:
        """Check that a blob's manifest matches and that all its chunks are held; report the blob if not."""
        ...

    def reseal(self, after: int, most_bytes: int) -> Resealed:
        """Seal chunks with ids above `after` again that are under an older storage key, up to `most_bytes` of them.

        Durable on return, and safe to interrupt: a chunk is under the one key or the other. A damaged chunk is handled
        as in `read_chunk`, without an exception. One whose key is missing stays.
        """
        ...

    def sealed_under(self) -> dict[bytes, int]:
        """Return the number of chunks under each storage key that is needed to read them, by the key's id.

        A key with 0 chunks is needed by a write under way. A key that is neither listed nor current is never needed
        again. Costs no I/O.
        """
        ...

    def remember(self, name: str, value: int) -> None:
        """Store a number under a name. Durable on return."""
        ...

    def remembered(self, name: str) -> int:
        """Return the number stored under a name; 0 without one."""
        ...

    def keep_soon(self, numbers: dict[str, int]) -> None:
        """Store numbers under their names with the next write, as `keep_notes` does. Never waits."""
        ...

    # ------------------------------------------------------------ commit notes

    def note(self, cursor: int, digest: Digest, encoded: Callable[[], bytes]) -> None:
        """Add a commit note, kept as long as its blob. Never waits; durable with the next write or `keep_notes`."""
        ...

    def keep_notes(self) -> None:
        """Write the notes and numbers that no other write has carried along. Durable on return."""
        ...

    def highest_note(self) -> int:
        """Return the highest cursor of a note; 0 without one."""
        ...

    def notes(self, after: int, through: int, limit: int) -> list[CommitNote]:
        """Return at most `limit` notes with cursors above `after` up to `through`, by rising cursor."""
        ...


def superseded(fence: Fence, known: int) -> TicketRefused:
    """Return the refusal of a write begun before lock number `known` was granted."""
    return TicketRefused(
        f"the write to {fence.path!r} began under lock number {fence.number}, but number {known} has been granted "
        "since; begin the write again",
        fence=known,
    )


def missing_chunks(digests: list[Digest]) -> MissingChunks:
    """Return the refusal that names the chunks to send with their bytes."""
    named = [str(digest) for digest in digests[:MAX_MISSING_CHUNKS]]
    plural = "chunk is" if len(digests) == 1 else "chunks are"
    return MissingChunks(f"{len(digests)} {plural} not stored here; send the bytes too", digests=named)


def chunk_not_found(digest: Digest) -> NotFound:
    """Return the error for a chunk that is not held."""
    return NotFound(f"chunk {digest} is not on this file server", digest=str(digest))
