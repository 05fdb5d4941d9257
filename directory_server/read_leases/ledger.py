"""The ledger of read leases: grants them, and breaks them before a change becomes visible.

The argument, which docs/consistency.md gives in full:

- A transaction that changes a lease's keys is committed only when the proxy has confirmed that it no longer uses the
  lease, or when the proxy's session has ended (`commit_guard`). The change becomes visible after the last read under
  the lease.
- A lease is granted only on a snapshot that no such transaction has overtaken (`grant`).
- A session ends at the proxy before it ends here: the proxy counts from the sending of a poll, the ledger from its
  arrival, and for longer. A poll that leaves a break unconfirmed extends nothing.
- After a restart earlier leases are unknown, so the first change waits until they have ended (`held_until`).
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from prometheus_client import Counter, Histogram

from directory_server.read_leases.keys import ALL, EVERYTHING, NOTHING, Key, Keys, changed_keys, path_key
from directory_server.read_leases.sessions import MAX_LEASES, HeldLease, LeaseIndex, LeaseSession
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Overloaded
from lockstep_store.wire.messages.read_leases import (
    LEASE_SECONDS,
    TERM_SECONDS,
    ReadLease,
    ReadLeasesReply,
    ReadLeasesRequest,
)

MAX_SESSIONS = 1000
MAX_WAITING = 32
"""Polls that wait for a break, each on a thread. Beyond them proxies pause, and confirm breaks that much later."""
PAUSE_SECONDS = 0.3
KEPT_COMMITS = 256
"""Commits whose keys are remembered. A look-up that more of them overtake gets no lease."""

GRANTED = Counter("lockstep_directory_read_leases_granted_total", "Read leases granted to proxies")
BROKEN = Counter("lockstep_directory_read_leases_broken_total", "Read leases ended because of a change")
LAPSED = Counter(
    "lockstep_directory_read_lease_sessions_lapsed_total", "Sessions that ended before their proxy confirmed a break"
)
BREAK_SECONDS = Histogram(
    "lockstep_directory_read_lease_break_seconds",
    "Seconds that a change waited for proxies to confirm that they no longer use a lease",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4),
)


class LeaseOffer(NamedTuple):
    """A lease that a look-up offers on the reply to one of its items: the reply's keys, and for how long."""

    item: int
    keys: Keys
    seconds: float = LEASE_SECONDS


class LeaseLedger:
    """Thread-safe. `monotonic` is the machine's; no change becomes visible before `held_until` on it.

    `remember` is called, outside of any transaction, before the first session of this run begins.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        held_until: float = float("-inf"),
        remember: Callable[[], None] = lambda: None,
    ) -> None:
        self._monotonic = monotonic
        self._held_until = held_until
        self._remember = remember
        self._is_remembered = False
        self._changed = threading.Condition()
        self._sessions: dict[str, LeaseSession] = {}
        self._index = LeaseIndex()
        self._ids = itertools.count(1)
        self._committing = NOTHING
        self._commits = 0
        self._recent: deque[Keys] = deque(maxlen=KEPT_COMMITS)
        self._announced: Counts[Key] = Counts()
        self._waiting = 0
        self._closed = False

    # ------------------------------------------------------------ look-ups

    def moment(self) -> int:
        """Return the number of commits so far, to be taken before the snapshot of a look-up begins."""
        with self._changed:
            return self._commits

    def grant(self, session_id: str, since: int, offers: Sequence[LeaseOffer]) -> list[ReadLease]:
        """Return leases for those `offers` that nothing has changed since the moment `since`."""
        with self._changed:
            session = self._sessions.get(session_id)
            if session is None or self._closed or self._monotonic() >= session.until:
                return []
            missed = self._commits - since
            if missed > len(self._recent):
                return []
            overtaken = frozenset().union(*itertools.islice(reversed(self._recent), missed), self._committing)
            return [lease for offer in offers if (lease := self._granted(session, offer, overtaken)) is not None]

    def _granted(self, session: LeaseSession, offer: LeaseOffer, overtaken: Keys) -> ReadLease | None:
        keys = offer.keys | {EVERYTHING}
        if not overtaken.isdisjoint(keys) or any(key in self._announced for key in keys):
            return None
        self._forget_old(session)
        if len(session.leases) >= MAX_LEASES:
            return None
        lease = HeldLease(next(self._ids), session, keys, self._monotonic() + offer.seconds)
        self._index.add(lease)
        GRANTED.inc()
        return ReadLease(offer.item, lease.id, offer.seconds, session.newest_break)

    def _forget_old(self, session: LeaseSession) -> None:
        """Remove leases from the front that have run out at the proxy, too."""
        now = self._monotonic()
        while session.leases:
            oldest = next(iter(session.leases.values()))
            if oldest.until > now:
                return
            self._index.remove(oldest)

    # ------------------------------------------------------------ polls of proxies

    def poll(self, request: ReadLeasesRequest) -> ReadLeasesReply:
        """Hold a proxy's session open; wait for a break, at most as long as the request says."""
        if not request.session:
            return self._begin()
        with self._changed:
            session = self._sessions.get(request.session)
            if session is None or self._closed:
                return ReadLeasesReply()
            if self._monotonic() >= session.until:
                self._end(session)
                return ReadLeasesReply()
            self._confirm(session, request)
            # A proxy that gets no replies polls again and again. If that extended its session, a change would wait for
            # ever.
            extended, pause = not session.breaks, 0.0
            if extended:
                session.until = self._monotonic() + TERM_SECONDS
                pause = self._wait_for_break(session, request.wait_seconds)
            broken = [id for _, ids in session.breaks for id in ids]
            return ReadLeasesReply(session.id, extended, TERM_SECONDS, broken, session.newest_break, pause)

    def _begin(self) -> ReadLeasesReply:
        if not self._is_remembered:
            self._remember()
            self._is_remembered = True
        with self._changed:
            if self._closed:
                return ReadLeasesReply()
            now = self._monotonic()
            for ended in [each for each in self._sessions.values() if now >= each.until]:
                self._end(ended)
            if len(self._sessions) >= MAX_SESSIONS:
                raise Overloaded("too many proxies hold read leases: lookups without a lease are still answered")
            session = LeaseSession(secrets.token_hex(16), now + TERM_SECONDS)
            self._sessions[session.id] = session
            return ReadLeasesReply(session.id, True, TERM_SECONDS)

    def _confirm(self, session: LeaseSession, request: ReadLeasesRequest) -> None:
        for id in request.dropped:
            if (dropped := session.leases.get(id)) is not None:
                self._index.remove(dropped)
        while session.breaks and session.breaks[0][0] <= request.done:
            for id in session.breaks.popleft()[1]:
                if (broken := session.leases.get(id)) is not None:
                    self._index.remove(broken)
        self._changed.notify_all()

    def _wait_for_break(self, session: LeaseSession, seconds: float) -> float:
        """Wait for a break; return how long the proxy should pause instead, because too many polls wait."""
        session.polls += 1
        mine = session.polls
        self._changed.notify_all()
        if self._waiting >= MAX_WAITING:
            return min(seconds, PAUSE_SECONDS)
        self._waiting += 1
        try:
            self._changed.wait_for(lambda: session.breaks or self._closed or session.polls != mine, seconds)
        finally:
            self._waiting -= 1
        return 0.0

    def _end(self, session: LeaseSession) -> None:
        """Forget a session that has ended at the proxy, too."""
        self._sessions.pop(session.id, None)
        session.breaks.clear()
        for lease in list(session.leases.values()):
            self._index.remove(lease)
        self._changed.notify_all()

    # ------------------------------------------------------------ changes

    @contextmanager
    def commit_guard(self, changes: str) -> Iterator[None]:
        """Surround the moment at which a transaction becomes visible. There is one transaction at a time.

        `changes` are its changed rows (see `changed_keys`). Within, nobody reads under a lease on them.
        """
        with self._changed:
            # Without a session there is no lease. A session that begins now grants none on a snapshot of before: ALL.
            matters = bool(self._sessions) or self._monotonic() < self._held_until
            keys = changed_keys(changes) if matters else ALL
            self._committing = keys
            try:
                if matters and keys:
                    self._break(keys)
                    self._outlast_earlier_leases()
            except BaseException:
                self._committing = NOTHING
                raise
        try:
            yield
        finally:
            with self._changed:
                self._committing = NOTHING
                self._commits += 1
                self._recent.append(keys)

    @contextmanager
    def announced(self, paths: Iterable[tuple[str, str]]) -> Iterator[None]:
        """Break the leases on `paths`, and grant none, around a transaction that will probably change them.

        The transaction would break them itself; but then everyone who shares it would wait.
        """
        if not self._sessions:
            yield
            return
        keys = frozenset(path_key(bucket, path) for bucket, path in paths)
        with self._changed:
            self._announced.update(keys)
        try:
            with self._changed:
                self._break(keys)
            yield
        finally:
            with self._changed:
                self._announced.subtract(keys)
                for key in keys:
                    if not self._announced[key]:
                        del self._announced[key]

    def _break(self, keys: Keys) -> None:
        """Break the leases on `keys`, and wait until nobody reads under them. The lock is held, except for waiting."""
        awaited = self._start_break(keys)
        if not awaited:
            return
        self._changed.notify_all()
        with BREAK_SECONDS.time():
            while True:
                now = self._monotonic()
                for session in [each for each in awaited if now >= each.until and each.id in self._sessions]:
                    log.warning(
                        "a proxy with read leases hangs or is cut off: a change has waited for its session to end"
                    )
                    LAPSED.inc()
                    self._end(session)
                awaited = {
                    session: number
                    for session, number in awaited.items()
                    if session.id in self._sessions and session.breaks and session.breaks[0][0] <= number
                }
                if not awaited:
                    return
                self._changed.wait(min(session.until for session in awaited) - now)

    def _start_break(self, keys: Keys) -> dict[LeaseSession, int]:
        """Begin to break the leases on `keys`; return the break that each session has to confirm.

        A break that another change has begun counts as well: it may not be confirmed yet.
        """
        now = self._monotonic()
        awaited: dict[LeaseSession, int] = {}
        fresh: dict[LeaseSession, list[int]] = {}
        for lease in self._index.find(keys):
            if lease.broken_by:
                awaited[lease.session] = max(awaited.get(lease.session, 0), lease.broken_by)
            elif lease.until <= now:
                self._index.remove(lease)
            else:
                fresh.setdefault(lease.session, []).append(lease.id)
        for session, ids in fresh.items():
            session.newest_break += 1
            session.breaks.append((session.newest_break, ids))
            for id in ids:
                session.leases[id].broken_by = session.newest_break
            awaited[session] = session.newest_break
            BROKEN.inc(len(ids))
        return awaited

    def _outlast_earlier_leases(self) -> None:
        while (left := self._held_until - self._monotonic()) > 0:
            self._changed.wait(left)

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """Answer the polls that wait, and grant nothing more. Leases stay valid until they end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_held(self) -> bool:
        """Whether a proxy may still read under a lease, of this run or of the one before."""
        with self._changed:
            now = self._monotonic()
            held = any(session.leases and session.until > now for session in self._sessions.values())
            return held or now < self._held_until

    @property
    def count(self) -> int:
        """Return how many leases proxies hold."""
        with self._changed:
            return sum(len(session.leases) for session in self._sessions.values())
