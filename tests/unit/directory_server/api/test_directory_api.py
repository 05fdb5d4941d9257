"""The directory's calls through its WSGI callable: who may call, what comes back, what an operator sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from directory_server.bootstrap import DirectoryServer
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import buckets, files
from directory_server.metadata.store import Tx
from directory_server.settings import Settings
from lockstep_store.runtime.peers.caller import PEER_HEADER
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import ensure_authority, new_key_and_request
from lockstep_store.runtime.tls.program_registry import ProgramRegistry
from lockstep_store.wire.codec import Call, decode_problem, encode
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    BadRequest,
    Deadlock,
    Forbidden,
    Locked,
    LockstepError,
    NotLoggedIn,
    PeerRefused,
    TicketRefused,
    Unavailable,
    from_problem,
)
from lockstep_store.wire.messages import buckets as bm
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import files as m
from lockstep_store.wire.messages import journal as jm
from lockstep_store.wire.messages import kms as km
from lockstep_store.wire.messages import locks as lm
from lockstep_store.wire.messages import people as am
from lockstep_store.wire.messages import programs as pm
from lockstep_store.wire.messages import recovery as rm
from lockstep_store.wire.messages import s3 as s3
from lockstep_store.wire.messages import servers as s
from lockstep_store.wire.messages import targets as tm
from lockstep_store.wire.messages import uploads as um
from lockstep_store.wire.messages import writes as wm
from lockstep_store.wire.messages.base import CredentialRequest, Nothing
from lockstep_store.wire.messages.buckets import (
    BUCKETS,
    CHANGE_BUCKET,
    CREATE_BUCKET,
    DELETE_BUCKET,
    GET_BUCKET,
    BucketRequest,
    BucketsRequest,
    ChangeBucketRequest,
    CreateBucketRequest,
)
from lockstep_store.wire.messages.writes import BEGIN, GIVE_UP, BeginItem, BeginRequest, GiveUpRequest
from lockstep_store.wire.tickets import TicketSigner
from tests.fakes.clock import ManualClock
from tests.fakes.directory_rig import heartbeat
from tests.fakes.wsgi import Answer, ask

FROM_FILE_SERVERS = [s.COMMIT, s.REGISTER, s.HEARTBEAT, s.HELD, s.DAMAGED, s.COLLECT, s.INVENTORY, s.FOUND]
FROM_PROXIES = {
    value.path: value
    for module in (m, bm, wm, lm, am, cm, pm, jm, km, rm, s3, tm, um)
    for value in vars(module).values()
    if isinstance(value, Call)
}
ALL_CALLS = [*FROM_PROXIES.values(), *FROM_FILE_SERVERS]


class Directory:
    """A whole directory in `folder` without its port, called as its peers do."""

    def __init__(self, folder: Path, authority: CertificateAuthority, **settings: Any) -> None:
        self.time = ManualClock(start=100.0)
        # Each test's programs are its own: what one removes is a member in the next.
        self.authority = replace(authority, programs=ProgramRegistry(folder))
        self.authority.write_revocation_list()
        self.settings = Settings(data=folder / "directory_server", certs=folder / "certs", **settings)
        self.store = SqliteStore(self.settings.metadata_file)
        keys = folder.parent / "certs" / "storage-keys.json"
        self.server = DirectoryServer(self.settings, self.store, self.authority, keys, self.time)
        self.app = SimpleNamespace(wsgi_app=self.server.wsgi)
        found = msgspec.json.decode(self.settings.credentials_file.read_bytes())
        self.admin: str = found["api_key"]

    def ask(self, call: Call[Any, Any], request: Any, role: str = "client_proxy", id: str = "1") -> Answer:
        return self.ask_with(self.authority.peer_token(role, id), call, request)

    def ask_with(self, token: str, call: Call[Any, Any], request: Any) -> Answer:
        return ask(self.app, "POST", call.path, encode(request), headers={PEER_HEADER: token})

    def call(self, call: Call[Any, Any], request: Any, role: str = "client_proxy", id: str = "1") -> Any:
        """The reply, or the refusal raised, as PeerClient would."""
        answer = self.ask(call, request, role, id)
        if answer.status != 200:
            raise from_problem(decode_problem(answer.body, answer.status))
        return call.decode_reply(answer.body)

    def person(self, name: str) -> str:
        """A log-in; its token."""
        token: str = self.call(am.LOGIN, am.PasswordRequest(name, "secret")).token
        return token

    def file_servers_up(self, *ids: str) -> s.RegisterReply:
        for id in ids:
            request = s.RegisterRequest(f"https://server-{id}", f"store-{id}")
            reply: s.RegisterReply = self.call(s.REGISTER, request, "file_server", id)
            assert self.beat(id).registered
        return reply

    def beat(self, id: str) -> s.HeartbeatReply:
        reply: s.HeartbeatReply = self.call(
            s.HEARTBEAT, heartbeat(f"https://server-{id}", f"store-{id}"), "file_server", id
        )
        return reply

    def write(self, credential: str, path: str, content: bytes, write_id: str, **fields: Any) -> m.FileVersion:
        """A write as proxy and master make it together."""
        item = BeginItem(credential, write_id, "files", path, **fields)
        begun = self.call(BEGIN, BeginRequest([item])).results[0].unwrap()
        commit = s.CommitItem(begun.ticket, chunk_digest(content), len(content), ["1", "2"])
        reply = self.call(s.COMMIT, s.CommitRequest([commit]), "file_server", begun.master.id)
        version: m.FileVersion = reply.results[0].unwrap().version
        return version


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return ensure_authority(tmp_path_factory.getbasetemp() / "certs")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("directory")


@pytest.fixture
def directory(folder: Path, authority: CertificateAuthority) -> Iterator[Directory]:
    directory = Directory(folder, authority)
    yield directory
    directory.server.stop()


def test_every_declared_call_is_answered(directory: Directory) -> None:
    """No call of the protocol is forgotten: each is a route of the directory."""
    streams = {("POST", rm.BACKUP_PATH)}
    assert {("POST", call.path) for call in ALL_CALLS} | streams == set(directory.server.wsgi.routes)


@pytest.mark.parametrize("call", ALL_CALLS, ids=repr)
def test_nobody_is_answered_without_a_peer_token(directory: Directory, call: Call[Any, Any]) -> None:
    """Without a token, with one that was not made here, or in the wrong role, no call does anything."""
    tokens = ["", "client_proxy.1.0000", directory.authority.peer_token("client_proxy", "1")[:-1]]
    tokens.append(directory.authority.peer_token("directory_server", "1"))
    for token in tokens:
        answer = directory.ask_with(token, call, Nothing())
        assert (answer.status, answer.json["code"]) == (403, "peer_refused")


def test_programs_keep_to_their_role(directory: Directory) -> None:
    """A file server cannot ask in a person's name, a proxy cannot commit or report copies."""
    with pytest.raises(PeerRefused):
        directory.call(m.LOOKUP, m.LookupRequest([]), "file_server")
    for call, request in (
        (s.COMMIT, s.CommitRequest([])),
        (s.HELD, s.HeldRequest([])),
        (s.REGISTER, s.RegisterRequest("https://x", "y")),
        (s.COLLECT, s.CollectRequest([])),
    ):
        with pytest.raises(PeerRefused):
            directory.call(call, request, "client_proxy")


def test_a_file_through_all_its_calls(directory: Directory) -> None:
    """Log in, write, look up, list, delete, list versions, restore, copy: each with a reply of its shape."""
    directory.file_servers_up("1", "2")
    ann = directory.person("ann")
    made = directory.write(ann, "a.txt", b"hello", "write-000000000001")
    looked = directory.call(m.LOOKUP, m.LookupRequest([m.LookupItem(ann, "files", "a.txt")]))
    assert looked.results[0].unwrap().version == made.version
    assert {holder.url for holder in looked.results[0].unwrap().holders} == {"https://server-1", "https://server-2"}
    assert looked.cursor == made.cursor
    deleted = directory.call(m.DELETE, m.DeleteRequest(ann, "write-000000000002", "files", "a.txt"))
    assert deleted.delete_marker
    assert directory.call(m.LIST, m.ListRequest(ann, "files")).files == []
    versions = directory.call(m.VERSIONS, m.VersionsRequest(ann, "files", "a.txt"))
    assert len(versions.versions) == 2
    copy = m.CopyRequest(ann, "write-000000000003", "files", "a.txt", made.version, "files", "a.txt")
    assert directory.call(m.COPY, copy).copies == 2
    assert [file.path for file in directory.call(m.LIST, m.ListRequest(ann, "files")).files] == ["a.txt"]


def test_buckets_through_their_calls(directory: Directory) -> None:
    """Create, get, change, list and delete."""
    ann = directory.person("ann")
    assert directory.call(CREATE_BUCKET, CreateBucketRequest(ann, "mine", "enabled")).owner == "ann"
    assert directory.call(CHANGE_BUCKET, ChangeBucketRequest(ann, "mine", shared=True)).shared
    assert directory.call(GET_BUCKET, BucketRequest(directory.person("bob"), "mine")).versioning == "enabled"
    names = [bucket.name for bucket in directory.call(BUCKETS, BucketsRequest(ann)).buckets]
    assert names == ["files", "mine"]
    directory.call(DELETE_BUCKET, BucketRequest(ann, "mine"))
    assert len(directory.call(BUCKETS, BucketsRequest(ann)).buckets) == 1


def test_people_through_their_calls(directory: Directory) -> None:
    """Keys are made, listed and revoked; a log-out ends the token; passwords never come back."""
    ann = directory.person("ann")
    assert directory.call(am.WHO_AM_I, CredentialRequest(ann)).name == "ann"
    key = directory.call(am.CREATE_API_KEY, am.CreateApiKeyRequest(ann, "laptop"))
    assert [listed.name for listed in directory.call(am.API_KEYS, CredentialRequest(key.key)).keys] == ["laptop"]
    directory.call(am.REVOKE_API_KEY, am.RevokeApiKeyRequest(ann, key.id))
    directory.call(am.LOGOUT, CredentialRequest(ann))
    for credential in (ann, key.key):
        with pytest.raises(NotLoggedIn):
            directory.call(am.WHO_AM_I, CredentialRequest(credential))


def test_locks_through_their_calls(directory: Directory) -> None:
    """Acquire, be refused, renew, be broken by an administrator; a lock in a private bucket is not shown."""
    ann, bob = directory.person("ann"), directory.person("bob")
    path = lm.LockPath("files", "a.txt")
    lock = directory.call(lm.ACQUIRE, lm.AcquireRequest(ann, [path], "request-0000000001", client="shell")).lock
    with pytest.raises(Locked) as refused:
        directory.call(lm.ACQUIRE, lm.AcquireRequest(bob, [path], "request-0000000002"))
    assert refused.value.facts["holder"] == "ann"
    assert directory.call(lm.RENEW, lm.RenewRequest(ann, lock.id, 120)).lease_seconds == 120
    with pytest.raises(Forbidden):
        directory.call(lm.RELEASE, lm.ReleaseRequest(bob, lock.id, break_lock=True))
    directory.call(lm.RELEASE, lm.ReleaseRequest(directory.admin, lock.id, break_lock=True))
    assert directory.call(lm.LOCKS, CredentialRequest(bob)).locks == []
    directory.call(CREATE_BUCKET, CreateBucketRequest(ann, "private"))
    private = lm.LockPath("private", "diary.txt")
    with pytest.raises(Forbidden):
        directory.call(lm.ACQUIRE, lm.AcquireRequest(bob, [private], "request-0000000003"))
    directory.call(lm.ACQUIRE, lm.AcquireRequest(ann, [private], "request-0000000004"))
    assert directory.call(lm.LOCKS, CredentialRequest(bob)).locks == []
    assert len(directory.call(lm.LOCKS, CredentialRequest(ann)).locks) == 1


def test_a_lock_ends_with_the_right_to_it(directory: Directory) -> None:
    """After a bucket is no longer shared, a renewal is refused, waiters are skipped, and the owner has the path."""
    ann, bob, eve = (directory.person(name) for name in ("ann", "bob", "eve"))
    directory.call(CREATE_BUCKET, CreateBucketRequest(ann, "team", shared=True))
    path = lm.LockPath("team", "plan.txt")
    lock = directory.call(lm.ACQUIRE, lm.AcquireRequest(bob, [path], "request-0000000001")).lock
    directory.call(lm.ACQUIRE, lm.AcquireRequest(eve, [path], "request-0000000002", queue=True))
    directory.call(CHANGE_BUCKET, ChangeBucketRequest(ann, "team", shared=False))
    with pytest.raises(Forbidden):
        directory.call(lm.RENEW, lm.RenewRequest(bob, lock.id))
    directory.call(lm.RELEASE, lm.ReleaseRequest(bob, lock.id))
    reply = directory.call(lm.LOCKS, CredentialRequest(ann))
    assert (reply.locks, reply.waiters) == ([], [])
    assert directory.call(lm.ACQUIRE, lm.AcquireRequest(ann, [path], "request-0000000003")).lock is not None


def test_the_owner_of_a_bucket_sees_and_breaks_locks_in_it(directory: Directory) -> None:
    """Also a lock that reaches into somebody else's private bucket, of which the names stay private."""
    ann, bob = directory.person("ann"), directory.person("bob")
    directory.call(CREATE_BUCKET, CreateBucketRequest(ann, "team", shared=True))
    directory.call(CREATE_BUCKET, CreateBucketRequest(bob, "bobs"))
    paths = [lm.LockPath("bobs", "diary.txt"), lm.LockPath("team", "plan.txt")]
    lock = directory.call(lm.ACQUIRE, lm.AcquireRequest(bob, paths, "request-0000000001")).lock
    (shown,) = directory.call(lm.LOCKS, CredentialRequest(ann)).locks
    assert (shown.id, shown.paths) == (lock.id, paths[1:])
    directory.call(lm.RELEASE, lm.ReleaseRequest(ann, shown.id, break_lock=True))
    assert directory.call(lm.LOCKS, CredentialRequest(bob)).locks == []


def test_a_new_bucket_does_not_inherit_locks(directory: Directory) -> None:
    """Locks and places in line end with their bucket, so the next owner of the name starts without them."""
    ann, bob = directory.person("ann"), directory.person("bob")
    directory.call(CREATE_BUCKET, CreateBucketRequest(ann, "team", shared=True))
    path = lm.LockPath("team", "plan.txt")
    directory.call(lm.ACQUIRE, lm.AcquireRequest(ann, [path], "request-0000000001"))
    directory.call(lm.ACQUIRE, lm.AcquireRequest(bob, [path], "request-0000000002", queue=True))
    directory.call(DELETE_BUCKET, BucketRequest(ann, "team"))
    directory.call(CREATE_BUCKET, CreateBucketRequest(bob, "team"))
    reply = directory.call(lm.LOCKS, CredentialRequest(bob))
    assert (reply.locks, reply.waiters) == ([], [])
    assert directory.call(lm.ACQUIRE, lm.AcquireRequest(bob, [path], "request-0000000003")).lock is not None


def test_administrators_see_locks_without_a_bucket(directory: Directory) -> None:
    """A lock that an older directory left behind is listed, cannot be renewed, and can be broken."""
    ann = directory.person("ann")
    directory.call(CREATE_BUCKET, CreateBucketRequest(ann, "team"))
    path = lm.LockPath("team", "plan.txt")
    directory.call(lm.ACQUIRE, lm.AcquireRequest(ann, [path], "request-0000000001"))
    directory.store.write(lambda tx: buckets.delete_bucket(tx, "team"))
    (orphan,) = directory.call(lm.LOCKS, CredentialRequest(directory.admin)).locks
    assert directory.call(lm.LOCKS, CredentialRequest(ann)).locks == []
    directory.call(lm.RELEASE, lm.ReleaseRequest(directory.admin, orphan.id, break_lock=True))
    assert directory.call(lm.LOCKS, CredentialRequest(directory.admin)).locks == []


def test_a_deadlock_is_refused_by_name(directory: Directory) -> None:
    """Two people who would wait for each other: the second hears of the cycle."""
    ann, bob = directory.person("ann"), directory.person("bob")
    one, two = lm.LockPath("files", "1"), lm.LockPath("files", "2")
    directory.call(lm.ACQUIRE, lm.AcquireRequest(ann, [one], "request-0000000001"))
    directory.call(lm.ACQUIRE, lm.AcquireRequest(bob, [two], "request-0000000002"))
    waiting = directory.call(lm.ACQUIRE, lm.AcquireRequest(ann, [two], "request-0000000003", queue=True))
    assert waiting.waiter.place == 1
    with pytest.raises(Deadlock, match="bob"):
        directory.call(lm.ACQUIRE, lm.AcquireRequest(bob, [one], "request-0000000004", queue=True))


def test_file_servers_learn_the_ticket_key(directory: Directory) -> None:
    """What register gives lets a file server check the tickets that begin gives."""
    reply = directory.file_servers_up("1", "2")
    item = BeginItem(directory.person("ann"), "write-000000000001", "files", "a.txt")
    begun = directory.call(BEGIN, BeginRequest([item])).results[0].unwrap()
    ticket = TicketSigner(bytes.fromhex(reply.ticket_key)).verify(begun.ticket, reply.directory_time)
    assert (ticket.path, ticket.author, ticket.copies) == ("a.txt", "ann", 2)
    assert ticket.expires > reply.directory_time


def test_what_a_proxy_could_not_reach_is_suspect(directory: Directory) -> None:
    """A server excluded by one begin gets no other new writes before its next heartbeat."""
    directory.file_servers_up("1", "2", "3")
    ann = directory.person("ann")
    first = BeginItem(ann, "write-000000000001", "files", "a.txt", exclude=["1"])
    directory.call(BEGIN, BeginRequest([first]))
    states = {info.id: info.state for info in directory.call(cm.CLUSTER, CredentialRequest(ann)).file_servers}
    assert states == {"1": "suspect", "2": "up", "3": "up"}
    directory.beat("1")
    states = {info.id: info.state for info in directory.call(cm.CLUSTER, CredentialRequest(ann)).file_servers}
    assert states["1"] == "up"


def test_a_damaged_copy_is_copied_again(directory: Directory) -> None:
    """DAMAGED takes the copy out of the metadata, and the next heartbeats order a new one where there is none."""
    directory.file_servers_up("1", "2", "3")
    made = directory.write(directory.person("ann"), "a.txt", b"hello", "write-000000000001")
    directory.call(s.DAMAGED, s.DamagedRequest("1", [made.digest]))
    for _ in range(5):
        directory.server.repair.step()
    orders = {id: directory.beat(id).orders for id in ("1", "2", "3")}
    (order,) = [order for given in orders.values() for order in given]
    target = next(id for id, given in orders.items() if given)
    assert (order.digest, [source.id for source in order.sources]) == (made.digest, ["2"])
    assert directory.call(s.HELD, s.HeldRequest([made.digest]), "file_server", target).unwanted == []
    again = m.LookupRequest([m.LookupItem(directory.admin, "files", "a.txt")])
    holders = directory.call(m.LOOKUP, again).results[0].unwrap().holders
    assert {holder.id for holder in holders} == {"2", target}


def test_unreferenced_content_may_be_dropped_once_no_ticket_can_need_it(directory: Directory) -> None:
    """Right after a start nothing is collected; a ticket's lifetime later what nothing refers to is."""
    directory.file_servers_up("1")
    digest = chunk_digest(b"left over")
    ask_for = s.CollectRequest([digest])
    assert directory.call(s.COLLECT, ask_for, "file_server").drop == []
    directory.time.advance(directory.settings.ticket_seconds + 1)
    assert directory.call(s.COLLECT, ask_for, "file_server").drop == [digest]


# ---------------------------------------------------------------- joining


def test_joining_with_a_one_time_secret(directory: Directory) -> None:
    """An administrator's secret lets one program in, once: with a certificate, a peer token and the storage keys."""
    with pytest.raises(Forbidden):
        directory.call(cm.JOIN_SECRET, cm.JoinSecretRequest(directory.person("ann")))
    secret = directory.call(cm.JOIN_SECRET, cm.JoinSecretRequest(directory.admin)).secret
    _, csr = new_key_and_request("file_server", "7", ["far.example"])
    bad = cm.EnrolRequest(secret, "file_server", "7", "not a request")
    with pytest.raises(BadRequest):
        directory.call(cm.ENROL, bad)
    good = cm.EnrolRequest(secret, "file_server", "7", csr)
    reply = directory.call(cm.ENROL, good)
    assert directory.authority.verify_peer_token(reply.peer_token).id == "7"
    assert '"keys"' in reply.storage_keys_json
    assert "BEGIN CERTIFICATE" in reply.cert_pem
    with pytest.raises(Forbidden, match="already used"):
        directory.call(cm.ENROL, good)
    renewal = cm.RenewCertificateRequest(csr)
    assert directory.call(cm.RENEW_CERTIFICATE, renewal, "file_server", "7").cert_pem != reply.cert_pem


def test_join_secrets_expire(directory: Directory) -> None:
    """After its time a secret lets nobody in."""
    secret = directory.call(cm.JOIN_SECRET, cm.JoinSecretRequest(directory.admin, 60.0)).secret
    directory.time.advance(61)
    _, csr = new_key_and_request("file_server", "7")
    with pytest.raises(Forbidden, match="expired"):
        directory.call(cm.ENROL, cm.EnrolRequest(secret, "file_server", "7", csr))


# ---------------------------------------------------------------- operating


def test_a_restart_keeps_everything(folder: Path, authority: CertificateAuthority) -> None:
    """Files, log-ins, file servers, the ticket key, directory time; a lock nearly over has its whole lease again."""
    first = Directory(folder, authority)
    key = first.file_servers_up("1", "2").ticket_key
    ann = first.person("ann")
    first.write(ann, "a.txt", b"hello", "write-000000000001")
    path = lm.LockPath("files", "a.txt")
    lock = first.call(lm.ACQUIRE, lm.AcquireRequest(ann, [path], "request-0000000001", lease_seconds=30)).lock
    first.time.advance(28)
    for id in ("1", "2"):
        first.beat(id)
    time_before = first.server.clock.now()
    first.server.stop()
    second = Directory(folder, authority)
    assert second.server.clock.now() >= time_before
    assert second.file_servers_up("1", "2").ticket_key == key
    looked = second.call(m.LOOKUP, m.LookupRequest([m.LookupItem(ann, "files", "a.txt")]))
    assert looked.results[0].unwrap().digest == chunk_digest(b"hello")
    assert second.admin == first.admin
    (held,) = second.call(lm.LOCKS, CredentialRequest(ann)).locks
    assert (held.number, round(held.seconds_left)) == (lock.number, 30)
    second.server.stop()


def test_a_failed_write_shows_in_the_health_until_writing_works(directory: Directory) -> None:
    """The health page names the reason; housekeeping finds out by itself that the disk is usable again."""
    assert _health(directory)[0] == 200
    failing = [True]

    def fail(tx: Tx) -> None:
        if failing:
            raise Unavailable("the disk is away")

    directory.store.last_in_each_transaction(fail)
    with pytest.raises(Unavailable):
        directory.person("ann")
    status, health = _health(directory)
    assert (status, health.healthy) == (503, False)
    assert "the disk is away" in health.problems[0]
    assert directory.server.housekeep() < 10
    failing.clear()
    directory.server.housekeep()
    assert _health(directory)[0] == 200


def test_housekeeping_forgets_all_that_is_over(directory: Directory) -> None:
    """However many answers have been kept for a day: what comes in a minute may be more than one round's batch."""

    ids = [f"write-{number:012}" for number in range(2 * files.FORGET_AT_ONCE + 1)]

    def fill(tx: Tx) -> None:
        for id in ids:
            tx.run(files.INSERT_PAST_WRITE, write_id=id, answer="{}", done_time=-1e6)

    directory.store.write(fill)
    directory.server.housekeep()
    with directory.store.read() as reader:
        assert sum(reader.one(files.PAST_WRITE, write_id=id) is not None for id in ids) == 0


def test_answers_are_kept_for_as_long_as_tickets_live(folder: Path, authority: CertificateAuthority) -> None:
    """Where a write may take longer than a day, one that was given up stays given up for that long."""
    directory = Directory(folder, authority, ticket_seconds=200_000.0)
    directory.file_servers_up("1", "2")
    item = BeginItem(directory.admin, "write-000000000001", "files", "a.txt")
    begun = directory.call(BEGIN, BeginRequest([item])).results[0].unwrap()
    directory.call(GIVE_UP, GiveUpRequest(directory.admin, item.write_id, "files", "a.txt"))
    directory.time.advance(150_000.0)
    directory.server.housekeep()
    commit = s.CommitItem(begun.ticket, chunk_digest(b"late"), 4, ["1", "2"])
    reply = directory.call(s.COMMIT, s.CommitRequest([commit]), "file_server", begun.master.id)
    with pytest.raises(TicketRefused, match="given up"):
        reply.results[0].unwrap()
    directory.server.stop()


def test_figures_for_monitoring(directory: Directory) -> None:
    """/metrics has the directory's gauges with true values."""
    directory.file_servers_up("1", "2")
    ann = directory.person("ann")
    directory.write(ann, "a.txt", b"hello", "write-000000000001")
    directory.call(lm.ACQUIRE, lm.AcquireRequest(ann, [lm.LockPath("files", "b")], "request-0000000001"))
    text = ask(directory.app, "GET", "/metrics").body.decode()
    for line in (
        "lockstep_directory_files 1.0",
        "lockstep_directory_locks 1.0",
        'lockstep_directory_file_servers{state="up"} 2.0',
        "lockstep_directory_under_copied_blobs 0.0",
    ):
        assert line in text.splitlines()
    reply = directory.call(cm.CLUSTER, CredentialRequest(ann))
    assert (reply.files, reply.versions, reply.blobs, reply.logical_bytes, reply.locks) == (1, 1, 1, 5, 1)
    assert (reply.copies, reply.cursor) == (2, 1)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"items": 7}', b'{"items": [{"credential": "x"}]}', b"\xff"])
def test_malformed_bodies_are_named(directory: Directory, body: bytes) -> None:
    """A body that does not fit the call's shape is a 400 that says which call, and changes nothing."""
    headers = {PEER_HEADER: directory.authority.peer_token("client_proxy", "1")}
    answer = ask(directory.app, "POST", m.LOOKUP.path, body, headers=headers)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert m.LOOKUP.path in answer.json["detail"]


def test_bounds_of_messages_are_enforced(directory: Directory) -> None:
    """Batches, names and waits over their bounds are refused before any rule sees them."""
    ann = directory.person("ann")
    too_much: list[tuple[Call[Any, Any], Any]] = [
        (m.LOOKUP, m.LookupRequest([m.LookupItem(ann, "files", "a")] * 1001)),
        (m.LOOKUP, m.LookupRequest([m.LookupItem(ann, "files", "a" * 1025)])),
        (m.LIST, m.ListRequest(ann, "files", limit=1001)),
        (lm.ACQUIRE, lm.AcquireRequest(ann, [], "request-0000000001")),
        (lm.ACQUIRE, lm.AcquireRequest(ann, [lm.LockPath("files", "a")], "request-0000000001", wait_seconds=31)),
        (am.LOGIN, am.PasswordRequest("ann", "")),
        (BEGIN, BeginRequest([BeginItem(ann, "short", "files", "a")])),
    ]
    for call, request in too_much:
        with pytest.raises(BadRequest):
            directory.call(call, request)


def _health(directory: Directory) -> tuple[int, cm.Health]:
    answer = ask(directory.app, "GET", "/health")
    return answer.status, msgspec.json.decode(answer.body, type=cm.Health)


def test_refusals_come_back_as_their_class(directory: Directory) -> None:
    """What a rule raises is what the caller raises, with its facts and whether trying again can help."""
    answer = directory.ask(BEGIN, BeginRequest([BeginItem(directory.admin, "write-000000000001", "files", "a")]))
    problem = BEGIN.decode_reply(answer.body).results[0].problem
    assert problem is not None
    error: LockstepError = from_problem(problem)
    assert (type(error).__name__, error.can_retry, error.facts["needed"]) == ("TooFewHolders", True, 2)


def test_figures_are_unknown_and_not_missing_while_the_store_cannot_be_read(directory: Directory) -> None:
    """/metrics answers, with NaN for what cannot be counted, after the store is closed."""
    directory.server.stop()
    answer = ask(directory.app, "GET", "/metrics")
    assert answer.status == 200
    assert "lockstep_directory_locks NaN" in answer.body.decode().splitlines()
