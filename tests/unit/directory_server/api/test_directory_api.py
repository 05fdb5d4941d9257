"""The directory's calls through its WSGI callable: who may call, what comes back, what an operator sees."""

from __future__ import annotations

import pytest

from directory_server.metadata.statements import buckets
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    Deadlock,
    Forbidden,
    Locked,
    NotLoggedIn,
    PeerRefused,
)
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import files as m
from lockstep_store.wire.messages import locks as lm
from lockstep_store.wire.messages import people as am
from lockstep_store.wire.messages import recovery as rm
from lockstep_store.wire.messages import s3 as s3
from lockstep_store.wire.messages import servers as s
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
from lockstep_store.wire.messages.writes import BEGIN, BeginItem, BeginRequest
from lockstep_store.wire.tickets import TicketSigner
from tests.unit.directory_server.api.directory_calls import ALL_CALLS, Directory

pytestmark = pytest.mark.usefixtures("every_engine")


def test_every_declared_call_is_answered(directory: Directory) -> None:
    """No call of the protocol is forgotten: each is a route of the directory."""
    streams = {("POST", rm.BACKUP_PATH)}
    assert {("POST", call.path) for call in ALL_CALLS} | streams == set(directory.server.wsgi.routes)


def test_nobody_is_answered_without_a_peer_token(directory: Directory) -> None:
    """Without a token, with one that was not made here, or in the wrong role, no call does anything."""
    tokens = ["", "client_proxy.1.0000", directory.authority.peer_token("client_proxy", "1")[:-1]]
    tokens.append(directory.authority.peer_token("directory_server", "1"))
    for call in ALL_CALLS:
        for token in tokens:
            answer = directory.ask_with(token, call, Nothing())
            assert (answer.status, answer.json["code"]) == (403, "peer_refused"), (call, token)


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


def test_what_a_master_could_not_reach_gets_no_writes(directory: Directory) -> None:
    """A commit names it, so a write begun after the commit's reply does not wait for it again, whatever its path."""
    registered = directory.file_servers_up("1", "2", "3")
    signer = TicketSigner(bytes.fromhex(registered.ticket_key))
    ann = directory.person("ann")

    begun: list[str] = []

    def holders(number: int) -> set[str]:
        item = BeginItem(ann, f"write-{number:012}", "files", f"{number}.txt")
        begun.append(directory.call(BEGIN, BeginRequest([item])).results[0].unwrap().ticket)
        ticket = signer.verify(begun[-1], registered.directory_time)
        return {ticket.master.id, *(replica.id for replica in ticket.replicas)}

    assert any("2" in holders(number) for number in range(20))
    commit = s.CommitItem(begun[0], chunk_digest(b"hello"), 5, ["1", "3"], unreachable=["2"])
    directory.call(s.COMMIT, s.CommitRequest([commit]), "file_server", "1").results[0].unwrap()
    assert all(holders(number) == {"1", "3"} for number in range(1, 20))
    directory.beat("2")
    assert any("2" in holders(number) for number in range(1, 20))


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
