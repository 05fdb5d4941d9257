"""Calls the directory for the proxy: retries lost calls, and coalesces lookups, begins and deletes of many callers.

Coalescing is safe because a lookup only joins a call that has not been sent yet. So the directory looks it up after the
read began, and the reply is never older than the read.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from client_proxy.core.directory_outage import DirectoryOutage
from client_proxy.core.read_leases import Found, ReadLeases, lease_key
from client_proxy.metrics import DIRECTORY_REPEATS
from lockstep_store.runtime.backoff import JITTER, pause_after
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.runtime.clock import Clock, SystemClock
from lockstep_store.runtime.peers.coalescing import Coalescer
from lockstep_store.runtime.peers.protocols import Caller, Opener
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.codec import Call, Decoder, decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    AlreadyExists,
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
    DELETE_MANY,
    LIST,
    LOOKUP,
    VERSIONS,
    DeleteManyRequest,
    DeleteReply,
    DeleteRequest,
    FileVersion,
    LookupItem,
    LookupRequest,
)
from lockstep_store.wire.messages.folders import DELETE_FOLDER, FOLDER_CHANGE, FOLDER_CHANGES, MOVE_FOLDER
from lockstep_store.wire.messages.journal import CHANGES, ChangesRequest
from lockstep_store.wire.messages.kms import BUCKET_ENCRYPTION, KMS_KEYS, NEW_DATA_KEY
from lockstep_store.wire.messages.locks import ACQUIRE, LOCK_CHANGES, LOCKS, RENEW, AcquireRequest, LockChangesRequest
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
from lockstep_store.wire.messages.trash import EMPTY_TRASH, TRASH, TRASH_TOTALS
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
"""The directory copies and checks a whole backup before it sends the first byte."""
BEGIN_OR_END_A_LIFE = (CREATE_BUCKET.path, DELETE_BUCKET.path)
MAX_LIVES = 10_000
"""Far more buckets than are created or deleted while a cache entry is valid."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
MAX_LOOKUPS_IN_FLIGHT = 1
"""With 32 readers, a second call in flight cost a quarter of their rate, and a third one more."""
MAX_BEGINS_IN_FLIGHT = 2
"""A begin that links known content waits for the directory's disk. The second call keeps others from waiting too."""
MAX_DELETES_IN_FLIGHT = 2
"""A delete waits until no proxy reads the path under a lease. The second call keeps others from waiting too."""
MAX_DELETES = 50
"""As many as the directory deletes in one transaction."""

_WAITING = (AcquireRequest, ChangesRequest, LockChangesRequest, TryTargetRequest)

SAFE_TO_REPEAT: frozenset[str] = frozenset(
    call.path
    for call in (
        *(
            LOOKUP,
            LIST,
            VERSIONS,
            BUCKETS,
            GET_BUCKET,
            *(LOCKS, LOCK_CHANGES),
            WHO_AM_I,
            API_KEYS,
            CLUSTER,
            CHANGES,
            *(FOLDER_CHANGE, FOLDER_CHANGES, TRASH, TRASH_TOTALS),
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
        ),  # they change nothing
        *(BEGIN, GIVE_UP, DELETE, DELETE_MANY, COPY),  # their id identifies a repeat
        *(MOVE_FOLDER, DELETE_FOLDER, ACQUIRE, CREATE_UPLOAD),  # likewise
        *(RENEW, DAMAGED, FSCK, RECOVER, EMPTY_TRASH),  # repeating them has no further effect
    )
)
"""Calls that change a setting are not repeated (PUT_BUCKET_SETTING, PUT_OBJECT_SETTING, CHANGE_BUCKET, ENABLE_KMS_KEY,
DRAIN_SERVER, BALANCE). They carry no id, so a first attempt that arrives late could undo what another person has set
since, and so open what a later policy or list closed."""

MAY_COME_LATE: frozenset[str] = frozenset(
    call.path for call in (BEGIN, DELETE, DELETE_MANY, COPY, MOVE_FOLDER, DELETE_FOLDER, ACQUIRE)
)
"""A lost attempt of these calls may still arrive, and change something, after its repeat was refused."""
REFUSED_FOR_NOW = (PreconditionFailed, AlreadyExists, Locked, Deadlock, NotFound, NotLoggedIn, Forbidden)
"""Refusals that do not show what became of an earlier attempt, because the state may have differed then, or may differ
when it arrives. Permissions are checked first, so even the repeat of a completed attempt can get the last two."""

Req = TypeVar("Req")
Rep = TypeVar("Rep")
R = TypeVar("R")
_lookup_items = decoder(LookupItem)
_begin_items = decoder(BeginItem)
_delete_items = decoder(DeleteRequest)


class DirectoryPeer(Caller, Opener, Protocol):
    """Makes calls, and opens replies that are read as they arrive."""


class DirectoryClient:
    """Calls the directory on behalf of people. Thread-safe.

    When the directory does not reply, calls that are safe to repeat are retried, with jittered pauses, for `patience`
    seconds. Then they raise Unavailable (503), and from then on calls do so at once until the directory answers again;
    other calls raise Undecided at once. After a refused connection, which
    carried nothing, every call is retried. With `leases`, hot look-ups are answered without a call.
    """

    def __init__(
        self,
        peer: DirectoryPeer,
        url: str,
        *,
        patience: float = PATIENCE_SECONDS,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = JITTER,
        leases: ReadLeases | None = None,
    ) -> None:
        self.url = url
        self._leases = leases
        self._peer = peer
        self._patience = patience
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._jitter = jitter
        self._outage = DirectoryOutage(self._clock.monotonic)
        self._lives: BoundedMap[str, int] = BoundedMap(MAX_LIVES)
        self._life_numbers = itertools.count(1)
        self._lookups: Coalescer[LookupItem, Found] = Coalescer(
            self._send_lookups, max_batch=MAX_BATCH, max_in_flight=MAX_LOOKUPS_IN_FLIGHT
        )
        self._begins: Coalescer[BeginItem, BeginReplyItem] = Coalescer(
            self.begin_all, max_batch=MAX_BATCH, max_in_flight=MAX_BEGINS_IN_FLIGHT
        )
        self._deletes: Coalescer[DeleteRequest, DeleteReply] = Coalescer(
            self._send_deletes, max_batch=MAX_DELETES, max_in_flight=MAX_DELETES_IN_FLIGHT
        )

    def call(self, call: Call[Req, Rep], request: Req) -> Rep:
        """Make a declared call. Raises the directory's error, or Unavailable when it does not reply."""
        waits = request.wait_seconds if isinstance(request, _WAITING) else 0.0

        def attempt(seconds: float) -> Rep:
            return self._peer.call(self.url, call, request, timeout=seconds + waits)

        try:
            return self._patiently(attempt, call.path, repeatable=call.path in SAFE_TO_REPEAT)
        finally:
            if call.path in BEGIN_OR_END_A_LIFE and isinstance(request, (CreateBucketRequest, BucketRequest)):
                # Even after a failure, because the call may have taken effect.
                self._lives[request.bucket] = next(self._life_numbers)

    def bucket_life(self, bucket: str) -> int:
        """A number, for the keys of caches, that changes when this proxy may have created or deleted the bucket."""
        return self._lives.get(bucket, 0)

    def stream(self, path: str, request: Any) -> Any:
        """POST a request and return the reply unread. PeerUnreachable when the directory does not reply."""
        return self._peer.open(self.url, "POST", path, encode(request), timeout=STREAM_SECONDS)

    def lookup(self, item: LookupItem) -> FileVersion:
        """The requested version and its holders, as the directory would find them after this call began."""
        return self.lookup_at(item).version

    def lookup_at(self, item: LookupItem) -> Found:
        """The same, with the journal cursor of the look-up, and whether it was made before, under a lease."""
        leases = self._leases
        key = lease_key(item) if leases is not None else None
        if leases is not None and key is not None:
            if (found := leases.find(key)) is not None:
                return found
            item.wants_lease = leases.is_wanted(key)
        _check_shape(_lookup_items, item)
        return self._patiently(lambda _: self._lookups.submit(item), LOOKUP.path, repeatable=True)

    def begin(self, item: BeginItem) -> BeginReplyItem:
        """Begin a write, or link known content. A repeated write id returns the version that it committed."""
        return self.begin_in(item, self._begins.submit)

    def begin_in(self, item: BeginItem, submit: Callable[[BeginItem], R]) -> R:
        """The same, with a `submit` that calls `begin_all`, and is called again if that call is lost."""
        _check_shape(_begin_items, item)
        return self._patiently(lambda _: submit(item), BEGIN.path, repeatable=True)

    def begin_all(self, items: list[BeginItem]) -> list[BeginReplyItem | Exception]:
        """Begin several writes in one call; each has its own outcome. The call may be lost."""
        reply = self._peer.call(self.url, BEGIN, BeginRequest(items=items), timeout=CALL_SECONDS)
        return [outcome.value if outcome.value is not None else _refusal(outcome) for outcome in reply.results]

    def delete(self, item: DeleteRequest) -> DeleteReply:
        """Delete a path, or one version of it. A repeated write id deletes nothing more."""
        _check_shape(_delete_items, item)
        return self._patiently(lambda _: self._deletes.submit(item), DELETE.path, repeatable=True)

    def delete_many(self, items: list[DeleteRequest]) -> list[DeleteReply | LockstepError]:
        """Delete several files in one call; each has its own outcome."""
        attempts = 0

        def attempt(seconds: float) -> list[DeleteReply | LockstepError]:
            nonlocal attempts
            attempts += 1
            reply = self._peer.call(self.url, DELETE_MANY, DeleteManyRequest(items), timeout=seconds)
            return [
                outcome.value if outcome.value is not None else _refusal(outcome, repeated=attempts > 1)
                for outcome in reply.results
            ]

        return self._patiently(attempt, DELETE_MANY.path, repeatable=True)

    def give_up(self, item: BeginItem) -> GiveUpReply:
        """Prevent a failed write from being committed later. Returns its version if it was committed already."""
        request = GiveUpRequest(item.credential, item.write_id, item.bucket, item.path)
        return self.call(GIVE_UP, request)

    def report_damaged(self, holder: str, digests: list[Digest]) -> None:
        """Report chunks of `holder` that failed verification. Never raises, because the read continues."""
        try:
            self.call(DAMAGED, DamagedRequest(holder=holder, digests=digests))
        except LockstepError as error:
            log.warning("could not report damage on file server %s to the directory: %s", holder, error)

    def _send_lookups(self, items: list[LookupItem]) -> list[Found | Exception]:
        leases = self._leases
        session = leases.session if leases is not None and any(item.wants_lease for item in items) else None
        sent = leases.elapsed() if leases is not None else 0.0
        request = LookupRequest(items=items, lease_session="" if session is None else session.id)
        reply = self._peer.call(self.url, LOOKUP, request, timeout=CALL_SECONDS)
        cursor = reply.cursor
        found: list[Found | Exception] = [
            Found(outcome.value, cursor) if outcome.value is not None else _refusal(outcome)
            for outcome in reply.results
        ]
        if leases is not None and session is not None:
            for lease in reply.leases:
                one, key = found[lease.item], lease_key(items[lease.item])
                if isinstance(one, Found) and key is not None:
                    leases.keep(session, lease, key, one, sent)
        return found

    def _send_deletes(self, items: list[DeleteRequest]) -> list[DeleteReply | Exception]:
        if len(items) == 1:
            return [self._peer.call(self.url, DELETE, items[0], timeout=CALL_SECONDS)]
        reply = self._peer.call(self.url, DELETE_MANY, DeleteManyRequest(items), timeout=CALL_SECONDS)
        return [outcome.value if outcome.value is not None else _refusal(outcome) for outcome in reply.results]

    def _patiently(self, attempt: Callable[[float], R], what: str, *, repeatable: bool) -> R:
        began = self._clock.monotonic()
        with self._outage.admitted() as is_try:
            try:
                result = self._repeated(attempt, what, 0.0 if is_try else self._patience, repeatable=repeatable)
            except LockstepError as error:
                if not isinstance(error.__cause__, PeerUnreachable):
                    self._outage.note_answer()
                elif is_try or self._clock.monotonic() - began >= self._patience:
                    self._outage.note_failure(began)
                raise
        self._outage.note_answer()
        return result

    def _repeated(self, attempt: Callable[[float], R], what: str, patience: float, *, repeatable: bool) -> R:
        deadline = self._clock.monotonic() + patience
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
            except Starting as refusal:  # nothing was done, so every call can be repeated
                left = deadline - self._clock.monotonic()
                if left <= 0 and lost and what in MAY_COME_LATE:
                    raise undecided(refusal) from refusal
                if left <= 0:
                    raise
            except PeerUnreachable as error:
                lost = lost or not isinstance(error.__cause__, ConnectionRefusedError)
                if not (repeatable or isinstance(error.__cause__, ConnectionRefusedError)):
                    raise Undecided(
                        f"the directory server's reply to {what} was lost ({error}): it may or may not have been "
                        "done, so check before you try again"
                    ) from error
                left = deadline - self._clock.monotonic()
                if left <= 0 and lost and what in MAY_COME_LATE:
                    raise Undecided(
                        f"the directory server has not replied for {self._patience:g} s ({error}): the request may or "
                        "may not have been done, so check before you try again"
                    ) from error
                if left <= 0:
                    raise Unavailable(
                        f"the directory server has not replied for {self._patience:g} s ({error}): nothing can be read "
                        "or written until it is back; try again then"
                    ) from error
            DIRECTORY_REPEATS.inc()
            repeats += 1
            self._sleep(min(pause_after(repeats, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, self._jitter), left))


def undecided(refusal: LockstepError) -> Undecided:
    """The error when a repeat was refused, but a lost earlier attempt may still take effect.

    The state may have changed when that attempt arrives. The refusal itself would promise that nothing is done.
    """
    return Undecided(
        f"the reply to an earlier attempt was lost, and its repeat was refused ({refusal}): the earlier attempt may "
        "still take effect, so check before you try again"
    )


def _refusal(outcome: Outcome[Any], *, repeated: bool = False) -> LockstepError:
    refusal = from_problem(outcome.problem or Problem("internal", 500, "the directory sent an empty outcome"))
    return undecided(refusal) if repeated and isinstance(refusal, REFUSED_FOR_NOW) else refusal


def _check_shape(items: Decoder[R], item: R) -> None:
    """BadRequest for an item that does not fit its shape. The directory would reject the whole coalesced call."""
    try:
        items.decode(encode(item))
    except (msgspec.DecodeError, LockstepError, UnicodeError) as error:
        raise BadRequest(f"the request is not valid: {error}") from error
