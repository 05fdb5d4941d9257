"""The directory's calls, each wired to the rules that answer it, and what an operator sees of the directory.

A handler parses nothing and decides nothing: shapes and bounds were checked by the message types, the caller's role
by the runner, and everything else is the rules' own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from prometheus_client import Gauge

from directory_server.accounts import Accounts
from directory_server.buckets import Buckets
from directory_server.changes import Changes
from directory_server.collector import Collector
from directory_server.directory_clock import DirectoryClock
from directory_server.enrolment import Enrolment
from directory_server.lock_manager import LockManager
from directory_server.membership import Membership
from directory_server.metadata import files
from directory_server.metadata.store import MetadataStore
from directory_server.namespace import Namespace
from directory_server.repair import Repair
from directory_server.totals import Totals
from directory_server.writes import Writes
from wire import account_messages as am
from wire import cluster_messages as cm
from wire import journal_messages as jm
from wire import lock_messages as lm
from wire import messages as m
from wire import server_messages as s
from wire.certificate_authority import PeerIdentity
from wire.errors import LockstepError
from wire.names import check_bucket, check_path
from wire.service import Api

PROXY = ("client_proxy",)
FILE_SERVER = ("file_server",)
BOTH = ("client_proxy", "file_server")

FILES = Gauge("lockstep_directory_files", "Paths that have a current version")
VERSIONS = Gauge("lockstep_directory_versions", "Versions, delete markers included")
BLOBS = Gauge("lockstep_directory_blobs", "Blobs known")
LOCKS = Gauge("lockstep_directory_locks", "Locks held")
WAITERS = Gauge("lockstep_directory_waiters", "Places taken in the queues for locks")
SERVERS = Gauge("lockstep_directory_file_servers", "File servers by state", ["state"])
UNDER_COPIED = Gauge("lockstep_directory_under_copied_blobs", "Blobs with fewer living copies than promised")
WITHOUT_COPY = Gauge("lockstep_directory_blobs_without_copy", "Blobs without any living copy")
_STATES = ("joining", "up", "suspect", "down", "draining")


def _figure(measure: Callable[[], float]) -> Callable[[], float]:
    """A figure that is unknown (NaN) while the store cannot be read: a bad disk must not take /metrics down too."""

    def measured() -> float:
        try:
            return measure()
        except LockstepError:
            return math.nan

    return measured


@dataclass(frozen=True)
class Parts:
    """Everything that answers calls."""

    store: MetadataStore
    clock: DirectoryClock
    accounts: Accounts
    buckets: Buckets
    namespace: Namespace
    changes: Changes
    writes: Writes
    locks: LockManager
    membership: Membership
    repair: Repair
    collector: Collector
    enrolment: Enrolment
    totals: Totals
    ticket_key: str
    copies: int
    version: str


class DirectoryApi:
    """Wires `parts` to `api`."""

    def __init__(self, api: Api, parts: Parts) -> None:
        self._parts = parts
        self._started_at = parts.clock.wall()
        api.health = self._health
        self._serve_files(api)
        self._serve_locks(api)
        self._serve_people(api)
        self._serve_file_servers(api)
        self._serve_cluster(api)
        self._show_gauges()

    # ------------------------------------------------------------ files and buckets

    def _serve_files(self, api: Api) -> None:
        namespace, buckets, who = self._parts.namespace, self._parts.buckets, self._parts.accounts.authenticate
        api.serve(m.LOOKUP, lambda request, _: namespace.lookup(request.items), PROXY)
        api.serve(m.BEGIN, self._begin, PROXY)
        api.serve(m.LIST, lambda request, _: namespace.list(request), PROXY)
        api.serve(m.VERSIONS, lambda request, _: namespace.versions(request), PROXY)
        api.serve(m.DELETE, lambda request, _: namespace.delete(request), PROXY)
        api.serve(m.COPY, lambda request, _: namespace.copy(request), PROXY)
        api.serve(jm.CHANGES, lambda request, _: self._parts.changes.read(request), PROXY)
        api.serve(m.BUCKETS, lambda request, _: buckets.all(who(request.credential)), PROXY)
        api.serve(m.GET_BUCKET, lambda request, _: buckets.get(who(request.credential), request.bucket), PROXY)
        api.serve(m.CREATE_BUCKET, lambda request, _: buckets.create(who(request.credential), request), PROXY)
        api.serve(m.CHANGE_BUCKET, lambda request, _: buckets.change(who(request.credential), request), PROXY)
        api.serve(m.DELETE_BUCKET, self._delete_bucket, PROXY)

    def _begin(self, request: m.BeginRequest, _: PeerIdentity) -> m.BeginReply:
        for id in {id for item in request.items for id in item.exclude}:
            self._parts.membership.report_unreachable(id)
        return self._parts.writes.begin(request.items)

    def _delete_bucket(self, request: m.BucketRequest, _: PeerIdentity) -> m.Nothing:
        self._parts.buckets.delete(self._parts.accounts.authenticate(request.credential), request.bucket)
        return m.Nothing()

    # ------------------------------------------------------------ locks

    def _serve_locks(self, api: Api) -> None:
        api.serve(lm.ACQUIRE, self._acquire, PROXY)
        api.serve(lm.RENEW, self._renew, PROXY)
        api.serve(lm.RELEASE, self._release, PROXY)
        api.serve(lm.LOCKS, self._locks, PROXY)

    def _acquire(self, request: lm.AcquireRequest, _: PeerIdentity) -> lm.AcquireReply:
        person = self._parts.accounts.authenticate(request.credential)
        for path in request.paths:
            check_bucket(path.bucket)
            check_path(path.path)
        return self._parts.locks.acquire(person.account, person.session, request.client, request)

    def _renew(self, request: lm.RenewRequest, _: PeerIdentity) -> lm.LockInfo:
        person = self._parts.accounts.authenticate(request.credential)
        return self._parts.locks.renew(person.account, request.lock_id, request.lease_seconds)

    def _release(self, request: lm.ReleaseRequest, _: PeerIdentity) -> m.Nothing:
        if request.break_lock:
            administrator = self._parts.accounts.administrator(request.credential)
            self._parts.locks.break_lock(request.lock_id, administrator.account)
        else:
            person = self._parts.accounts.authenticate(request.credential)
            self._parts.locks.release(person.account, request.lock_id)
        return m.Nothing()

    def _locks(self, request: m.CredentialRequest, _: PeerIdentity) -> lm.LocksReply:
        """Only those on paths whose bucket the person may use: names in a private bucket are private too."""
        person = self._parts.accounts.authenticate(request.credential)
        usable = {bucket.name for bucket in self._parts.buckets.all(person).buckets}
        reply = self._parts.locks.list()
        reply.locks = [lock for lock in reply.locks if all(path.bucket in usable for path in lock.paths)]
        reply.waiters = [waiter for waiter in reply.waiters if all(path.bucket in usable for path in waiter.paths)]
        return reply

    # ------------------------------------------------------------ people

    def _serve_people(self, api: Api) -> None:
        accounts = self._parts.accounts
        who = accounts.authenticate
        api.serve(am.LOGIN, lambda request, _: accounts.log_in(request), PROXY)
        api.serve(am.LOGOUT, self._log_out, PROXY)
        api.serve(am.WHO_AM_I, lambda request, _: accounts.who_am_i(request.credential), PROXY)
        api.serve(am.API_KEYS, lambda request, _: accounts.api_keys(who(request.credential)), PROXY)
        api.serve(
            am.CREATE_API_KEY, lambda request, _: accounts.create_api_key(who(request.credential), request.name), PROXY
        )
        api.serve(am.REVOKE_API_KEY, self._revoke_api_key, PROXY)

    def _log_out(self, request: m.CredentialRequest, _: PeerIdentity) -> m.Nothing:
        self._parts.accounts.log_out(request.credential)
        return m.Nothing()

    def _revoke_api_key(self, request: am.RevokeApiKeyRequest, _: PeerIdentity) -> m.Nothing:
        self._parts.accounts.revoke_api_key(self._parts.accounts.authenticate(request.credential), request.key_id)
        return m.Nothing()

    # ------------------------------------------------------------ file servers

    def _serve_file_servers(self, api: Api) -> None:
        repair, collector = self._parts.repair, self._parts.collector
        api.serve(s.REGISTER, self._register, FILE_SERVER)
        api.serve(s.HEARTBEAT, self._heartbeat, FILE_SERVER)
        api.serve(s.COMMIT, lambda request, peer: self._parts.writes.commit(request.items, peer.id), FILE_SERVER)
        api.serve(s.HELD, lambda request, peer: s.HeldReply(repair.held(peer.id, request.digests)), FILE_SERVER)
        api.serve(
            s.COLLECT, lambda request, peer: s.CollectReply(collector.collect(peer.id, request.digests)), FILE_SERVER
        )
        api.serve(s.DAMAGED, self._damaged, BOTH)

    def _register(self, request: s.RegisterRequest, peer: PeerIdentity) -> s.RegisterReply:
        membership = self._parts.membership
        membership.register(peer.id, request)
        return s.RegisterReply(self._parts.ticket_key, self._parts.clock.now(), membership.timing.heartbeat_seconds)

    def _heartbeat(self, request: s.HeartbeatRequest, peer: PeerIdentity) -> s.HeartbeatReply:
        parts = self._parts
        if not parts.membership.heartbeat(peer.id, request):
            return s.HeartbeatReply(False)
        orders = parts.repair.orders_for(peer.id)
        return s.HeartbeatReply(True, parts.clock.now(), orders, parts.membership.holders())

    def _damaged(self, request: s.DamagedRequest, _: PeerIdentity) -> m.Nothing:
        self._parts.repair.damaged(request.holder, request.digests)
        return m.Nothing()

    # ------------------------------------------------------------ the cluster

    def _serve_cluster(self, api: Api) -> None:
        enrolment = self._parts.enrolment
        api.serve(cm.CLUSTER, self._cluster, PROXY)
        api.serve(cm.JOIN_SECRET, self._join_secret, PROXY)
        api.serve(cm.ENROL, lambda request, _: enrolment.enrol(request), PROXY)
        api.serve(cm.RENEW_CERTIFICATE, lambda request, peer: enrolment.renew(peer, request), BOTH)

    def _join_secret(self, request: cm.JoinSecretRequest, _: PeerIdentity) -> cm.JoinSecretReply:
        self._parts.accounts.administrator(request.credential)
        return self._parts.enrolment.join_secret(request.valid_seconds)

    def _cluster(self, request: m.CredentialRequest, _: PeerIdentity) -> cm.ClusterReply:
        parts = self._parts
        parts.accounts.authenticate(request.credential)
        totals = parts.totals.latest()
        with parts.store.read() as reader:
            locks, waiters = parts.locks.counts(reader)
            cursor = files.read_cursor(reader)
        return cm.ClusterReply(
            directory_version=parts.version,
            started_at=self._started_at,
            uptime_seconds=parts.clock.since_start(),
            copies=parts.copies,
            cursor=cursor,
            files=totals.files,
            versions=totals.versions,
            blobs=totals.blobs,
            logical_bytes=totals.logical_bytes,
            locks=locks,
            waiters=waiters,
            file_servers=parts.membership.infos(),
            repair=parts.repair.info(),
        )

    # ------------------------------------------------------------ health and figures

    def _health(self) -> cm.Health:
        problem = self._parts.store.problem
        return cm.Health(
            program="directory_server",
            id="1",
            version=self._parts.version,
            healthy=not problem,
            problems=[f"the last write failed: {problem}"] if problem else [],
            uptime_seconds=self._parts.clock.since_start(),
            pid=os.getpid(),
            facts={"file_servers": {info.id: info.state for info in self._parts.membership.infos()}},
        )

    def _show_gauges(self) -> None:
        parts = self._parts
        FILES.set_function(_figure(lambda: parts.totals.latest().files))
        VERSIONS.set_function(_figure(lambda: parts.totals.latest().versions))
        BLOBS.set_function(_figure(lambda: parts.totals.latest().blobs))
        LOCKS.set_function(_figure(lambda: self._lock_counts()[0]))
        WAITERS.set_function(_figure(lambda: self._lock_counts()[1]))
        UNDER_COPIED.set_function(_figure(lambda: parts.repair.info().under_copied))
        WITHOUT_COPY.set_function(_figure(lambda: parts.repair.info().without_living_copy))
        for state in _STATES:
            SERVERS.labels(state).set_function(_figure(partial(self._servers_in, state)))

    def _lock_counts(self) -> tuple[int, int]:
        with self._parts.store.read() as reader:
            return self._parts.locks.counts(reader)

    def _servers_in(self, state: str) -> int:
        return sum(info.state == state for info in self._parts.membership.infos())
