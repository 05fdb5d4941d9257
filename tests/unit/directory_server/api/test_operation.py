"""Operating a directory: joining, restarts, health, housekeeping, metrics, bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from directory_server.metadata.statements import files
from directory_server.metadata.store import Tx
from lockstep_store.runtime.peers.caller import PEER_HEADER
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import new_key_and_request
from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    BadRequest,
    Forbidden,
    LockstepError,
    TicketRefused,
    Unavailable,
    from_problem,
)
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import files as m
from lockstep_store.wire.messages import locks as lm
from lockstep_store.wire.messages import people as am
from lockstep_store.wire.messages import redo
from lockstep_store.wire.messages import s3 as s3
from lockstep_store.wire.messages import servers as s
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.writes import BEGIN, GIVE_UP, BeginItem, BeginRequest, GiveUpRequest
from tests.fakes.directory_rig import heartbeat
from tests.fakes.wsgi import ask
from tests.unit.directory_server.api.directory_calls import Directory, health_of


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
    assert health_of(directory)[0] == 200
    failing = [True]

    def fail(tx: Tx) -> None:
        if failing:
            raise Unavailable("the disk is away")

    directory.store.last_in_each_transaction(fail)
    with pytest.raises(Unavailable):
        directory.person("ann")
    status, health = health_of(directory)
    assert (status, health.healthy) == (503, False)
    assert "the disk is away" in health.problems[0]
    assert directory.server.housekeeping.step() < 10
    failing.clear()
    directory.server.housekeeping.step()
    assert health_of(directory)[0] == 200


def test_housekeeping_forgets_all_that_is_over(directory: Directory) -> None:
    """However many answers have been kept for a day: what comes in a minute may be more than one round's batch."""

    ids = [f"write-{number:012}" for number in range(2 * files.FORGET_AT_ONCE + 1)]

    def fill(tx: Tx) -> None:
        for id in ids:
            tx.run(files.INSERT_PAST_WRITE, write_id=id, answer="{}", done_time=-1e6)

    directory.store.write(fill)
    directory.server.housekeeping.step()
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
    directory.server.housekeeping.step()
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


def test_the_directory_reports_its_condition(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk, why it cannot write, and whether a continuous backup follows, to administrators; to others only
    whether it can write."""

    def reported(credential: str) -> cm.DirectoryInfo:
        info: cm.DirectoryInfo = directory.call(cm.CLUSTER, CredentialRequest(credential)).directory
        return info

    directory.file_servers_up("1", "2")
    ann = directory.person("ann")
    info = reported(directory.admin)
    assert (info.writable, info.problems, info.backup_seconds) == (True, [], None)
    assert info.capacity_bytes is not None
    assert info.free_bytes is not None
    assert 0 < info.free_bytes <= info.capacity_bytes
    assert reported(ann) == cm.DirectoryInfo(writable=True)

    assert info.others == []
    with monkeypatch.context() as patch:
        patch.setattr(type(directory.store), "other_servers", lambda store: [("https://second:5050", 0.5)])
        assert reported(directory.admin).others == [cm.OtherDirectory("https://second:5050", 0.5)]
        assert reported(ann) == cm.DirectoryInfo(writable=True)
        invited = directory.call(cm.JOIN_SECRET, cm.JoinSecretRequest(directory.admin))
        assert invited.directory_url.endswith(",https://second:5050")

    place = directory.call(redo.FOLLOW_REDO, redo.FollowRequest(directory.admin, redo.RedoPlace())).newest
    directory.time.advance(7.0)
    behind = reported(directory.admin)
    assert (behind.backup_behind, round(behind.backup_seconds or 0)) == (place.sequence, 7)
    directory.call(redo.FOLLOW_REDO, redo.FollowRequest(directory.admin, place))
    assert reported(directory.admin).backup_behind == 0

    monkeypatch.setattr(type(directory.store), "problem", "the disk is full")
    assert reported(directory.admin).problems == ["the last write failed: the disk is full"]
    assert reported(ann) == cm.DirectoryInfo(writable=False)
    monkeypatch.setattr("directory_server.maintenance.condition.LOW_BYTES", info.capacity_bytes + 1)
    assert reported(directory.admin).is_low


def test_a_silent_server_that_drains_is_still_leaving(directory: Directory) -> None:
    """One that is down cannot be taken for one whose drain was stopped; one without room says that it is full."""
    directory.file_servers_up("1", "2", "3")
    directory.call(cm.DRAIN_SERVER, cm.DrainRequest(directory.admin, "1"))
    directory.time.advance(30.0)
    full = msgspec.structs.replace(heartbeat("https://server-2", "store-2"), free_bytes=1024)
    directory.call(s.HEARTBEAT, full, "file_server", "2")
    reply = directory.call(cm.CLUSTER, CredentialRequest(directory.admin))
    found = {info.id: (info.state, info.leaving, info.refuses) for info in reply.file_servers}
    assert found == {"1": ("down", True, ""), "2": ("up", False, "full"), "3": ("down", False, "")}


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
