"""The proxy's side of the directory: patient calls, and many readers' lookups merged into one.

What makes merging sound: a lookup only joins a request that has not been sent yet, so it always begins after the
read that asked for it, and nothing older than the read can come back. What the answers mean is the callers' business.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from client_proxy.metrics import DIRECTORY_REPEATS
from lockstep_store.runtime.backoff import pause_after
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.runtime.clock import Clock, SystemClock
from lockstep_store.runtime.peers.coalescing import Coalescer
from lockstep_store.runtime.peers.protocols import Caller, Opener
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.codec import Call, Decoder, decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    BadRequest,
    Deadlock,
    Forbidden,
    Locked,
    LockstepError,
    NotFound,
    NotLoggedIn,
    PeerUnreachable,
    PreconditionFailed,
    Problem,
    Starting,
    Unavailable,
    Undecided,
    from_problem,
)
from lockstep_store.wire.messages.base import MAX_BATCH, Outcome
from lockstep_store.wire.messages.buckets import (
    BUCKETS,
    CREATE_BUCKET,
    DELETE_BUCKET,
    GET_BUCKET,
    BucketRequest,
    CreateBucketRequest,
)
from lockstep_store.wire.messages.cluster import CLUSTER, REPAIR_REPORT
from lockstep_store.wire.messages.files import (
    COPY,
    DELETE,
    LIST,
    LOOKUP,
    VERSIONS,
    FileVersion,
    LookupItem,
    LookupRequest,
)
from lockstep_store.wire.messages.journal import CHANGES, ChangesRequest
from lockstep_store.wire.messages.kms import BUCKET_ENCRYPTION, KMS_KEYS, NEW_DATA_KEY
from lockstep_store.wire.messages.locks import ACQUIRE, LOCKS, RENEW, AcquireRequest
from lockstep_store.wire.messages.people import API_KEYS, WHO_AM_I
from lockstep_store.wire.messages.recovery import FSCK, FSCK_REPORT, RECOVER, RECOVERY
from lockstep_store.wire.messages.s3 import (
    BUCKET_ACCESS_LOG,
    BUCKET_CORS,
    BUCKET_SETTING,
    OBJECT_SETTINGS,
    S3_KEYS,
    S3_SIGNING_KEY,
)
from lockstep_store.wire.messages.servers import DAMAGED, DamagedRequest
from lockstep_store.wire.messages.targets import TryTargetRequest
from lockstep_store.wire.messages.uploads import CREATE_UPLOAD, UPLOAD_PARTS, UPLOADS
from lockstep_store.wire.messages.writes import (
    BEGIN,
    GIVE_UP,
    BeginItem,
    BeginReplyItem,
    BeginRequest,
    GiveUpReply,
    GiveUpRequest,
)

PATIENCE_SECONDS = 8.0
CALL_SECONDS = 5.0
STREAM_SECONDS = 3600.0
"""A backup is copied and checked whole before its first byte."""
BEGIN_OR_END_A_LIFE = (CREATE_BUCKET.path, DELETE_BUCKET.path)
MAX_LIVES = 10_000
"""Many more buckets than are created or deleted while an entry of a cache is valid."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
MAX_LOOKUPS_IN_FLIGHT = 1
"""Merged lookups under way at once. With 32 readers a second one cost a quarter of their rate, a third one more."""
MAX_BEGINS_IN_FLIGHT = 2
"""A begin that links known content waits for the directory's disk; others need not wait with it."""

SAFE_TO_REPEAT: frozenset[str] = frozenset(
    call.path
    for call in (
        *(
            LOOKUP,
            LIST,
            VERSIONS,
            BUCKETS,
            GET_BUCKET,
            LOCKS,
            WHO_AM_I,
            API_KEYS,
            CLUSTER,
            CHANGES,
            REPAIR_REPORT,
            FSCK_REPORT,
            RECOVERY,
            UPLOADS,
            UPLOAD_PARTS,
            BUCKET_SETTING,
            OBJECT_SETTINGS,
            BUCKET_CORS,
            BUCKET_ACCESS_LOG,
            S3_KEYS,
            S3_SIGNING_KEY,
            KMS_KEYS,
            BUCKET_ENCRYPTION,
            NEW_DATA_KEY,
        ),  # they only ask
        *(BEGIN, GIVE_UP, DELETE, COPY, ACQUIRE, CREATE_UPLOAD),  # they carry an id that the directory remembers
        *(RENEW, DAMAGED, FSCK, RECOVER),  # the second time finds the first one's result and keeps it
    )
)
"""What sets something and can be set back is asked for once (PUT_BUCKET_SETTING, PUT_OBJECT_SETTING, CHANGE_BUCKET,
ENABLE_KMS_KEY, DRAIN_SERVER, BALANCE): it carries no id, so the late first attempt of one that was repeated could undo
what somebody else has set since, and open again what a later policy or list closed."""

MAY_COME_LATE: frozenset[str] = frozenset(call.path for call in (BEGIN, DELETE, COPY, ACQUIRE))
"""An attempt of these that was given up may still arrive, and change something, after its repeat was refused."""
REFUSED_FOR_NOW = (PreconditionFailed, Locked, Deadlock, NotFound, NotLoggedIn, Forbidden)
"""Refusals that say nothing of an earlier attempt: the state may have been another one then, or may be when it arrives.
Who may do what comes first, so of these two even an attempt that was done long ago hears."""

Req = TypeVar("Req")
Rep = TypeVar("Rep")
R = TypeVar("R")
_lookup_items = decoder(LookupItem)
_begin_items = decoder(BeginItem)


class DirectoryPeer(Caller, Opener, Protocol):
    """Calls, and answers that are read as they come."""


class Found(NamedTuple):
    """A version, and the journal cursor at which the directory found it."""

    version: FileVersion
    cursor: int


class DirectoryClient:
    """Calls the directory in people's names. Thread-safe.

    When the directory does not answer, calls that are safe to repeat are repeated, with jittered pauses, for
    `patience` seconds; then, or at once for the others, Unavailable (503) says so. A refused connection carried
    nothing, so there every call is repeated.
    """

    def __init__(
        self,
        peer: DirectoryPeer,
        url: str,
        *,
        patience: float = PATIENCE_SECONDS,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self._peer = peer
        self._patience = patience
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._jitter = jitter
        self._lives: BoundedMap[str, int] = BoundedMap(MAX_LIVES)
        self._life_numbers = itertools.count(1)
        self._lookups: Coalescer[LookupItem, Found] = Coalescer(
            self._send_lookups, max_batch=MAX_BATCH, max_in_flight=MAX_LOOKUPS_IN_FLIGHT
        )
        self._begins: Coalescer[BeginItem, BeginReplyItem] = Coalescer(
            self._send_begins, max_batch=MAX_BATCH, max_in_flight=MAX_BEGINS_IN_FLIGHT
        )

    def call(self, call: Call[Req, Rep], request: Req) -> Rep:
        """Make any declared call. Raises what the directory raised, or Unavailable when it stays away."""
        waits = request.wait_seconds if isinstance(request, (AcquireRequest, ChangesRequest, TryTargetRequest)) else 0.0

        def attempt(seconds: float) -> Rep:
            return self._peer.call(self.url, call, request, timeout=seconds + waits)

        try:
            return self._patiently(attempt, call.path, repeatable=call.path in SAFE_TO_REPEAT)
        finally:
            if call.path in BEGIN_OR_END_A_LIFE and isinstance(request, (CreateBucketRequest, BucketRequest)):
                self._lives[request.bucket] = next(self._life_numbers)  # also after a failure: it may have happened

    def bucket_life(self, bucket: str) -> int:
        """Changes whenever the bucket may have been created or deleted through this proxy: a part of caches' keys."""
        return self._lives.get(bucket, 0)

    def stream(self, path: str, request: Any) -> Any:
        """POST to a stream of the directory: its unread answer. PeerUnreachable when it does not answer."""
        return self._peer.open(self.url, "POST", path, encode(request), timeout=STREAM_SECONDS)

    def lookup(self, item: LookupItem) -> FileVersion:
        """The version asked for, with its holders, as it is at some moment after this call began."""
        return self.lookup_at(item).version

    def lookup_at(self, item: LookupItem) -> Found:
        """The same with the journal cursor of that moment."""
        _check_shape(_lookup_items, item)
        return self._patiently(lambda _: self._lookups.submit(item), LOOKUP.path, repeatable=True)

    def begin(self, item: BeginItem) -> BeginReplyItem:
        """Begin a write, or link known content; with a write id seen before, the version it committed."""
        _check_shape(_begin_items, item)
        return self._patiently(lambda _: self._begins.submit(item), BEGIN.path, repeatable=True)

    def give_up(self, item: BeginItem) -> GiveUpReply:
        """Make sure that a write which failed is never committed later; its version when it was already."""
        request = GiveUpRequest(item.credential, item.write_id, item.bucket, item.path)
        return self.call(GIVE_UP, request)

    def report_damaged(self, holder: str, digests: list[Digest]) -> None:
        """Tell the directory that `holder` gave bytes that fail their check. Never raises: a read goes on."""
        try:
            self.call(DAMAGED, DamagedRequest(holder=holder, digests=digests))
        except LockstepError as error:
            log.warning("the directory could not be told of damage on file server %s: %s", holder, error)

    def _send_lookups(self, items: list[LookupItem]) -> list[Found | Exception]:
        reply = self._peer.call(self.url, LOOKUP, LookupRequest(items=items), timeout=CALL_SECONDS)
        cursor = reply.cursor
        return [
            Found(outcome.value, cursor) if outcome.value is not None else _refusal(outcome)
            for outcome in reply.results
        ]

    def _send_begins(self, items: list[BeginItem]) -> list[BeginReplyItem | Exception]:
        reply = self._peer.call(self.url, BEGIN, BeginRequest(items=items), timeout=CALL_SECONDS)
        return [outcome.value if outcome.value is not None else _refusal(outcome) for outcome in reply.results]

    def _patiently(self, attempt: Callable[[float], R], what: str, *, repeatable: bool) -> R:
        deadline = self._clock.monotonic() + self._patience
        repeats = 0
        lost = False
        while True:
            left = deadline - self._clock.monotonic()
            try:
                return attempt(min(CALL_SECONDS, max(1.0, left)))
            except REFUSED_FOR_NOW as refusal:
                if lost and what in MAY_COME_LATE:
                    raise undecided(refusal) from refusal
                raise
            except Starting as refusal:  # nothing was done, so that every call can be repeated
                left = deadline - self._clock.monotonic()
                if left <= 0 and lost and what in MAY_COME_LATE:
                    raise undecided(refusal) from refusal
                if left <= 0:
                    raise
            except PeerUnreachable as error:
                lost = lost or not isinstance(error.__cause__, ConnectionRefusedError)
                if not (repeatable or isinstance(error.__cause__, ConnectionRefusedError)):
                    raise Undecided(
                        f"the directory server's answer to {what} was lost ({error}): it may or may not have been "
                        "done, so look before you ask again"
                    ) from error
                left = deadline - self._clock.monotonic()
                if left <= 0 and lost and what in MAY_COME_LATE:
                    raise Undecided(
                        f"the directory server has not answered for {self._patience:g} s ({error}): what was asked of "
                        "it may or may not have been done, so look before you ask again"
                    ) from error
                if left <= 0:
                    raise Unavailable(
                        f"the directory server has not answered for {self._patience:g} s ({error}): nothing can be "
                        "read or written until it is back; try again then"
                    ) from error
            DIRECTORY_REPEATS.inc()
            repeats += 1
            self._sleep(min(pause_after(repeats, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, self._jitter), left))


def undecided(refusal: LockstepError) -> Undecided:
    """What to say when a repeat is refused although an earlier attempt, whose answer was lost, may still arrive.

    The state that refused the repeat may have passed by then. To say "refused" would promise that nothing is done.
    """
    return Undecided(
        f"the answer to an earlier attempt was lost and its repeat was refused ({refusal}): the earlier one was not "
        "done so far and may still be done, so look before you ask again"
    )


def _refusal(outcome: Outcome[Any]) -> LockstepError:
    return from_problem(outcome.problem or Problem("internal", 500, "the directory sent an empty outcome"))


def _check_shape(items: Decoder[R], item: R) -> None:
    """BadRequest for an item that the directory could not read: it would refuse the whole call, and so everybody whose
    items share it."""
    try:
        items.decode(encode(item))
    except (msgspec.DecodeError, LockstepError, UnicodeError) as error:
        raise BadRequest(f"the request cannot be told to the directory: {error}") from error
