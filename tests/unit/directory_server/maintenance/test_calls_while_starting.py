"""Calls before the directory knows that its metadata is current: held unless listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from directory_server.maintenance.calls_while_starting import ANSWERED_WHILE_RESTORING, ANSWERED_WHILE_STARTING
from directory_server.maintenance.safe_to_start import _OF_A_START
from directory_server.metadata.statements import redo as records
from lockstep_store.runtime.tls.identity import ensure_authority, new_key_and_request
from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import OutOfDate, Starting, Unavailable
from lockstep_store.wire.messages import (
    access,
    analytics,
    authorities,
    buckets,
    cluster,
    facts,
    file_ids,
    files,
    folders,
    groups,
    identities,
    journal,
    kms,
    locks,
    people,
    programs,
    quotas,
    read_leases,
    recovery,
    redo,
    s3,
    search,
    second_factor,
    servers,
    shares,
    single_sign_on,
    storage_keys,
    targets,
    tenants,
    trash,
    uploads,
    users,
    writes,
)
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.servers import RegisterRequest, SeenMarks
from tests.fakes.directory_rig import heartbeat
from tests.unit.directory_server.api.directory_calls import FROM_FILE_SERVERS, Directory

HELD_WHILE_STARTING = {
    call.path
    for call in (
        files.LOOKUP,
        files.LIST,
        search.SEARCH,
        files.VERSIONS,
        journal.CHANGES,
        buckets.BUCKETS,
        buckets.GET_BUCKET,
        uploads.UPLOADS,
        uploads.UPLOAD_PARTS,
        *(locks.LOCKS, locks.LOCK_CHANGES),
        writes.BEGIN,
        writes.GIVE_UP,
        files.DELETE,
        files.DELETE_MANY,
        files.COPY,
        buckets.CREATE_BUCKET,
        buckets.CHANGE_BUCKET,
        buckets.DELETE_BUCKET,
        folders.MOVE_FOLDER,
        trash.TRASH,
        trash.TRASH_TOTALS,
        trash.RESTORE_TRASH,
        trash.EMPTY_TRASH,
        folders.FOLDER_CHANGE,
        folders.FOLDER_CHANGES,
        folders.DELETE_FOLDER,
        folders.STEER_FOLDER_CHANGE,
        locks.ACQUIRE,
        locks.RENEW,
        locks.RELEASE,
        uploads.CREATE_UPLOAD,
        uploads.ABORT_UPLOAD,
        read_leases.READ_LEASES,
        s3.PUT_BUCKET_SETTING,
        s3.PUT_OBJECT_SETTING,
        targets.PUT_NOTIFICATION,
        recovery.RECOVER,
        people.LOGIN,
        people.LOGOUT,
        people.CREATE_API_KEY,
        people.REVOKE_API_KEY,
        users.CHANGE_PASSWORD,
        tenants.CREATE_TENANT,
        tenants.DELETE_TENANT,
        groups.CREATE_GROUP,
        groups.CHANGE_GROUP,
        groups.DELETE_GROUP,
        users.CREATE_USER,
        users.CHANGE_USER,
        users.DELETE_USER,
        users.RESET_PASSWORD,
        users.REVOKE_ACCESS,
        second_factor.BEGIN_SECOND_FACTOR,
        second_factor.CONFIRM_SECOND_FACTOR,
        second_factor.DISABLE_SECOND_FACTOR,
        second_factor.NEW_RECOVERY_CODES,
        second_factor.RESET_SECOND_FACTOR,
        quotas.SET_QUOTA,
        s3.CREATE_S3_KEY,
        s3.ROTATE_S3_KEY,
        s3.REVOKE_S3_KEY,
        kms.CREATE_KMS_KEY,
        kms.ENABLE_KMS_KEY,
        kms.ROTATE_KMS_KEY,
        kms.NEW_DATA_KEY,
        targets.ADD_TARGET,
        targets.REMOVE_TARGET,
        cluster.JOIN_SECRET,
        cluster.ENROL,
        cluster.DRAIN_SERVER,
        cluster.REMOVE_SERVER,
        cluster.BALANCE,
        programs.REVOKE_PROGRAM,
        storage_keys.ROTATE_STORAGE_KEYS,
        storage_keys.RETIRE_STORAGE_KEY,
        authorities.ROTATE_AUTHORITY,
        authorities.RETIRE_AUTHORITY,
        redo.FOLLOW_REDO,
        servers.COMMIT,
        servers.COLLECT,
        servers.FOUND,
        servers.HELD,
        servers.INVENTORY,
        servers.REDO,
        servers.RESEAL,
    )
} | {
    recovery.BACKUP_PATH,
    *(
        call.path
        for module in (access, analytics, facts, file_ids, identities, shares, single_sign_on)
        for call in vars(module).values()
        if isinstance(call, Call)
    ),
}


DIGEST = chunk_digest(b"kept")
TARGET = "elsewhere"
CSR = new_key_and_request("client_proxy", "1")[1]


def requests(admin: str, s3_key: str) -> dict[Any, Any]:
    """A request for each listed call, as it finds what `begun` left."""
    by_admin = CredentialRequest(admin)
    return {
        s3.BUCKET_SETTING: s3.BucketSettingRequest(admin, "files", "cors"),
        s3.BUCKET_CORS: s3.BucketCorsRequest("files"),
        s3.BUCKET_ACCESS_LOG: s3.AccessLogRequest("files"),
        s3.OBJECT_SETTINGS: s3.ObjectSettingsRequest(admin, "files", "kept"),
        s3.S3_KEYS: by_admin,
        s3.S3_SIGNING_KEY: s3.SigningKeyRequest(s3_key, "20270115", "us-east-1"),
        kms.BUCKET_ENCRYPTION: kms.BucketEncryptionRequest("files"),
        kms.KMS_KEYS: by_admin,
        people.WHO_AM_I: by_admin,
        people.API_KEYS: by_admin,
        second_factor.SECOND_FACTOR: by_admin,
        users.USERS: by_admin,
        tenants.TENANTS: by_admin,
        groups.GROUPS: by_admin,
        groups.GROUP: groups.GroupRequest(admin, "editors"),
        quotas.QUOTAS: by_admin,
        quotas.QUOTA: quotas.QuotaRequest(admin, "account", "admin"),
        users.USER_ACCESS: users.UserRequest(admin, "admin"),
        users.AUDIT: users.AuditRequest(admin),
        targets.TARGETS: by_admin,
        targets.TEST_TARGET: targets.TryTargetRequest(admin, TARGET),
        cluster.CLUSTER: by_admin,
        cluster.REPAIR_REPORT: cluster.RepairReportRequest(admin),
        cluster.RENEW_CERTIFICATE: cluster.RenewCertificateRequest(CSR),
        recovery.FSCK: recovery.FsckRequest(admin),
        recovery.FSCK_REPORT: by_admin,
        recovery.RECOVERY: by_admin,
        programs.PROXIES: by_admin,
        storage_keys.STORAGE_KEYS: by_admin,
        authorities.AUTHORITIES: by_admin,
        programs.PROXY_HEARTBEAT: programs.ProxyHeartbeatRequest("https://proxy-1"),
        servers.REGISTER: RegisterRequest("https://server-1", "another store"),
        servers.HEARTBEAT: heartbeat("https://server-1", "store-1"),
        servers.REPLAY: servers.ReplayRequest(),
        servers.DAMAGED: servers.DamagedRequest("1", [DIGEST]),
    }


def begun(tmp_path: Path) -> tuple[Directory, dict[Any, Any]]:
    """A directory that is starting, and a request for each listed call."""
    authority = ensure_authority(tmp_path / "certs")
    first = Directory(tmp_path, authority)
    first.authority.sign_request(CSR, "client_proxy", "1", [])
    first.file_servers_up("1", "2", "3")
    admin = first.admin
    first.write(admin, "kept", b"kept", "write-id-of-kept")
    key = first.call(s3.CREATE_S3_KEY, s3.CreateS3KeyRequest(admin, "made up"))
    first.call(groups.CREATE_GROUP, groups.CreateGroupRequest(admin, "editors"))
    first.call(targets.ADD_TARGET, targets.AddTargetRequest(admin, TARGET, "http://127.0.0.1:1/"))
    first.server.stop()
    return Directory(tmp_path, authority), requests(admin, key.access_key_id)


def tables_changed_since(directory: Directory, sequence: int) -> set[str]:
    with directory.store.read() as reader:
        bodies = [record.body for record in records.records_after(reader, sequence, 1 << 20)]
    return {json.loads(line)[1] for body in bodies for line in body.split("\n")}


def test_each_listed_call_changes_nothing_that_must_not_be_lost(tmp_path: Path) -> None:
    """Each is made: otherwise file servers' records could not continue the metadata, if it turned out to be older."""
    directory, asked = begun(tmp_path)
    try:
        assert {call.path for call in asked} == ANSWERED_WHILE_STARTING
        with directory.store.read() as reader:
            place = records.newest(reader)
        assert place is not None
        for call, request in asked.items():
            role = "file_server" if call in FROM_FILE_SERVERS and call is not servers.DAMAGED else "client_proxy"
            fails = call is targets.TEST_TARGET
            with pytest.raises(Unavailable, match="cannot connect") if fails else nullcontext():
                directory.call(call, request, role)
            assert not directory.server.epochs.is_open
            assert tables_changed_since(directory, place.sequence) <= set(_OF_A_START), call.path
        for job in directory.server._jobs:
            job._step()
        directory.server.targets._running[TARGET].job._step()
        assert tables_changed_since(directory, place.sequence) <= set(_OF_A_START), "background jobs"
    finally:
        directory.server.stop()


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Directory]:
    """A directory that was started again and has heard of none of its three file servers yet."""
    authority = ensure_authority(tmp_path / "certs")
    first = Directory(tmp_path, authority)
    first.file_servers_up("1", "2", "3")
    first.server.stop()
    directory = Directory(tmp_path, authority)
    yield directory
    directory.server.stop()


def test_each_registered_call_is_answered_or_held(restarted: Directory) -> None:
    """A call that is added must be put into one of the two lists; until then it is held."""
    calls = {path for method, path in restarted.server.wsgi.routes if method == "POST" and path.startswith("/v1/")}
    assert calls == ANSWERED_WHILE_STARTING | HELD_WHILE_STARTING
    assert not ANSWERED_WHILE_STARTING & HELD_WHILE_STARTING
    assert ANSWERED_WHILE_RESTORING < ANSWERED_WHILE_STARTING


def test_calls_that_are_not_listed_are_held(restarted: Directory) -> None:
    """Until enough file servers have registered, unknown calls included."""
    admit = restarted.server.wsgi.admit
    assert admit is not None

    def reply(path: str) -> str:
        try:
            admit(path)
        except Starting as error:
            return str(error)
        return "admitted"

    replies = {path: reply(path) for path in (*HELD_WHILE_STARTING, "/v1/added-later")}
    assert not {path: said for path, said in replies.items() if "waiting for file servers" not in said}


def test_listed_calls_are_answered(restarted: Directory) -> None:
    """Reads and registering go on."""
    admit = restarted.server.wsgi.admit
    assert admit is not None
    for path in ANSWERED_WHILE_STARTING:
        admit(path)


def test_an_open_directory_checks_no_call(restarted: Directory) -> None:
    """Once enough file servers have registered, the check is off the path of calls and of lock grants."""
    restarted.file_servers_up("1", "2")
    assert restarted.server.wsgi.admit is None
    assert restarted.server.locks.may_grant is None


def test_a_server_that_is_ahead_puts_the_check_back(restarted: Directory) -> None:
    """If it registers after the directory opened, every call is refused from then on."""
    restarted.file_servers_up("1", "2")
    ahead = RegisterRequest("https://server-3", "store-3", seen=SeenMarks(epoch=99, mark=7))
    with pytest.raises(OutOfDate):
        restarted.call(servers.REGISTER, ahead, "file_server", "3")
    with pytest.raises(OutOfDate):
        restarted.call(files.LOOKUP, files.LookupRequest([]))
    admit = restarted.server.wsgi.admit
    assert admit is not None
    with pytest.raises(OutOfDate):
        admit("/v1/added-later")


def test_a_server_that_is_ahead_wins_over_the_end_of_the_wait(
    restarted: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it registers at the very moment at which the wait ends, the directory stays closed."""
    epochs = restarted.server.epochs
    ahead = RegisterRequest("https://server-3", "store-3", seen=SeenMarks(epoch=99, mark=7))

    def since_start() -> float:
        with pytest.raises(OutOfDate):
            epochs.compare("3", ahead)
        return 1e9

    monkeypatch.setattr(restarted.server.clock, "since_start", since_start)
    assert not epochs.is_open
    assert restarted.server.wsgi.admit is not None
