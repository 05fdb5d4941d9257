"""Which threads of the directory a call may occupy. Proxies' calls on behalf of people cannot hold up the rest.

Heartbeats, commits and other calls of programs for themselves are bounded by the pool alone, and PROGRAM_THREADS of it
are theirs. Calls that wait for a lock, and those that end something (a lock, a log-in, a key, a program), have their
own shares, because they must succeed while everything else is busy.
"""

from __future__ import annotations

from directory_server.locks.lock_manager import MAX_BLOCKED
from lockstep_store.runtime.http.thread_shares import ThreadShare
from lockstep_store.wire.messages import (
    cluster,
    groups,
    identities,
    locks,
    people,
    programs,
    read_leases,
    s3,
    second_factor,
    servers,
    shares,
    single_sign_on,
    tenants,
    users,
    writes,
)

PROGRAM_THREADS = 64
_LOCKING = 32
_ENDING = 32

OF_PROGRAMS = frozenset(
    call.path
    for call in (
        servers.REGISTER,
        servers.HEARTBEAT,
        servers.COMMIT,
        servers.HELD,
        servers.COLLECT,
        servers.DAMAGED,
        servers.INVENTORY,
        servers.FOUND,
        servers.REDO,
        servers.REPLAY,
        servers.RESEAL,
        programs.PROXY_HEARTBEAT,
        read_leases.READ_LEASES,  # a change waits for it
        locks.LOCK_CHANGES,
        cluster.RENEW_CERTIFICATE,
    )
)
"""No person's request causes one of these directly: the numbers of programs and of writes bound them. (Of waits for
changes of locks, each proxy has one at a time, however many people listen.)"""

ENDING = frozenset(
    call.path
    for call in (
        locks.RENEW,
        locks.RELEASE,
        writes.GIVE_UP,
        people.LOGOUT,
        people.REVOKE_API_KEY,
        s3.REVOKE_S3_KEY,
        shares.REVOKE_SHARE,
        tenants.DELETE_TENANT,
        groups.CHANGE_GROUP,
        groups.DELETE_GROUP,
        users.CHANGE_USER,
        users.DELETE_USER,
        users.REVOKE_ACCESS,
        second_factor.RESET_SECOND_FACTOR,
        identities.DELETE_IDENTITY,
        identities.CHANGE_USER_KEY,
        identities.DELETE_USER_KEY,
        single_sign_on.REMOVE_SSO_PROVIDER,
        single_sign_on.UNLINK_IDENTITY,
        cluster.REMOVE_SERVER,
        programs.REVOKE_PROGRAM,
    )
)


class DirectoryShares:
    """The shares of a directory that handles `threads` other calls of people at a time. A call that is not listed above
    is one of these."""

    def __init__(self, threads: int) -> None:
        self.people = ThreadShare(threads, threads)
        # Callers that wait for a lock occupy their threads for long, so they get more of them.
        self.locking = ThreadShare(MAX_BLOCKED + _LOCKING, _LOCKING)
        self.ending = ThreadShare(_ENDING, _ENDING)
        self.pool = self.people.threads + self.locking.threads + self.ending.threads + PROGRAM_THREADS
        """How many threads the runner needs; it starts one when a request finds none."""

    def of(self, path: str) -> ThreadShare | None:
        """Return the share of a call; None for those of programs."""
        if path in OF_PROGRAMS:
            return None
        if path in ENDING:
            return self.ending
        return self.locking if path == locks.ACQUIRE.path else self.people
