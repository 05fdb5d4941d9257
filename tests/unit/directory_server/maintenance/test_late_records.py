"""After a restore, what file servers kept of the directory's changes is made again before anything else happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from directory_server.maintenance.backup import Backups
from directory_server.maintenance.fsck import check_metadata
from directory_server.maintenance.redo_log import SEALING_CONTEXT, RedoLog
from directory_server.maintenance.restore import accept_older, restore
from file_server.maintenance.redo_records import RedoRecords
from lockstep_store.runtime.storage.redo_files import batches_in, files_in
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import ensure_authority
from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import Damaged, NotFound, NotLoggedIn, Starting
from lockstep_store.wire.messages import files as m
from lockstep_store.wire.messages import people as am
from lockstep_store.wire.messages import servers as s
from lockstep_store.wire.messages.base import CredentialRequest, Nothing
from lockstep_store.wire.messages.buckets import BUCKETS, CREATE_BUCKET, CreateBucketRequest
from lockstep_store.wire.messages.journal import CHANGES, ChangesRequest
from lockstep_store.wire.messages.kms import CREATE_KMS_KEY, KmsKeyRequest
from lockstep_store.wire.messages.locks import ACQUIRE, AcquireRequest, LockPath
from lockstep_store.wire.messages.recovery import BACKUP_PATH, RECOVERY
from lockstep_store.wire.messages.redo import FOLLOW_REDO, RedoPlace, RedoRequest
from lockstep_store.wire.messages.targets import ADD_TARGET, AddTargetRequest
from lockstep_store.wire.messages.writes import BEGIN, BeginItem, BeginRequest
from tests.unit.directory_server.api.directory_calls import Directory


class Keeper:
    """A file server as far as records go: registers, beats, keeps."""

    def __init__(self, id: str, folder: Path) -> None:
        self.id = id
        self.directory: Directory | None = None
        self.records = RedoRecords(folder / f"redo-of-{id}", self)  # type: ignore[arg-type]

    def ask(self, call: Any, request: Any, timeout: float | None = None) -> Any:
        assert self.directory is not None
        return self.directory.call(call, request, "file_server", self.id)

    def beat(self, directory: Directory) -> None:
        self.directory = directory
        reply = directory.beat(self.id)
        self.records.learn(reply.redo, reply.replay_after, reply.issuer)
        self.records.step()


class Cluster:
    """A directory that is restored, and two file servers that live on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority: CertificateAuthority = ensure_authority(folder / "certs")
        self.keepers = [Keeper("1", folder), Keeper("2", folder)]
        self.backup = folder / "backup"
        self.lives = 0
        self.directory = self._start()
        self.admin = self.directory.admin
        self.up()

    def _start(self) -> Directory:
        folder = self.folder / f"life-{self.lives}"
        if self.lives:
            (folder / "admin-credentials.json").write_bytes(
                (self.folder / "life-0" / "admin-credentials.json").read_bytes()
            )
        return Directory(folder, self.authority, token_seconds=1e9)

    def up(self) -> None:
        self.directory.file_servers_up("1", "2")
        self.beat()

    def beat(self, *ids: str) -> None:
        for keeper in self.keepers:
            if not ids or keeper.id in ids:
                keeper.beat(self.directory)

    def back_up(self) -> None:
        backups = Backups(self.directory.server.store, self.directory.server.clock, self.directory.settings.data, "1")
        self.backup.write_bytes(b"".join(backups.stream().body))

    def restore(self, *, older: bool = False) -> None:
        """The directory's disk is lost; a backup takes its place."""
        if not older:
            self.directory.server.stop()
        self.lives += 1
        target = self.folder / f"life-{self.lives}" / "directory_server" / "metadata.db"
        restore(self.backup, target)
        self.directory = self._start()

    def change_much(self) -> None:
        """What leaves no bytes at a file server."""
        call = self.directory.call
        call(am.LOGIN, am.PasswordRequest("late", "a secret word"))
        call(CREATE_BUCKET, CreateBucketRequest(self.admin, "made-late"))
        call(m.COPY, m.CopyRequest(self.admin, "write-id-of-a-copy", "files", "kept", None, "files", "copied"))
        call(m.DELETE, m.DeleteRequest(self.admin, "write-id-of-a-removal", "files", "removed"))

    def names(self) -> set[str]:
        reply = self.directory.call(m.LIST, m.ListRequest(self.admin, "files"))
        return {entry.path for entry in reply.files}

    def replayed(self) -> int:
        info = self.directory.call(RECOVERY, CredentialRequest(self.admin)).recovery
        return int(info.replayed_records)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.directory.server.stop()


def begin(cluster: Cluster) -> None:
    for name in ("kept", "removed"):
        cluster.directory.write(cluster.admin, name, name.encode(), f"write-id-of-{name}")
    cluster.back_up()


def assert_nothing_is_lost(cluster: Cluster) -> None:
    assert cluster.names() == {"kept", "copied"}
    buckets = cluster.directory.call(BUCKETS, CredentialRequest(cluster.admin)).buckets
    assert "made-late" in {bucket.name for bucket in buckets}
    assert cluster.directory.call(am.LOGIN, am.PasswordRequest("late", "a secret word")).token
    _, problems, more = check_metadata(cluster.directory.server.store)
    assert (problems, more) == ([], 0)


def test_what_left_no_bytes_is_there_after_a_restore(cluster: Cluster) -> None:
    """Copies, deletions, buckets and accounts since the backup; nothing is granted before they are."""
    begin(cluster)
    cluster.change_much()
    cluster.beat()
    cluster.restore()
    cluster.directory.file_servers_up("1", "2")
    with pytest.raises(Starting):
        cluster.directory.call(CREATE_BUCKET, CreateBucketRequest(cluster.admin, "too-early"))
    cluster.beat()
    assert_nothing_is_lost(cluster)
    assert cluster.replayed() > 0
    version = cluster.directory.write(cluster.admin, "new", b"new", "write-id-of-new-one")
    assert version.cursor > 1_000_000_000


def test_nobody_reads_what_the_backup_has_before_it_is_made_newer(cluster: Cluster) -> None:
    """Reads would be of the past, and who follows the journal is ahead; an administrator sees how far it is."""
    begin(cluster)
    cluster.change_much()
    cluster.beat()
    cluster.restore()
    cluster.directory.file_servers_up("1", "2")
    lookup = m.LookupRequest([m.LookupItem(cluster.admin, "files", "removed")])
    for call, request in ((m.LOOKUP, lookup), (CHANGES, ChangesRequest(cluster.admin, "files", 4))):
        with pytest.raises(Starting, match="was restored and is waiting"):
            cluster.directory.call(call, request)
    assert not cluster.directory.call(RECOVERY, CredentialRequest(cluster.admin)).recovery.finished
    cluster.beat()
    with pytest.raises(NotFound):
        cluster.directory.call(m.LOOKUP, lookup).results[0].unwrap()
    cluster.directory.call(CHANGES, ChangesRequest(cluster.admin, "files", 4))


def test_what_ended_after_the_backup_is_not_remembered_from_it(cluster: Cluster) -> None:
    """A key that an administrator used while records were missing, and that they revoke; and a target that they add."""
    begin(cluster)
    call = cluster.directory.call
    key = call(am.CREATE_API_KEY, am.CreateApiKeyRequest(cluster.admin, "stolen"))
    cluster.back_up()
    call(am.REVOKE_API_KEY, am.RevokeApiKeyRequest(cluster.admin, key.id))
    call(ADD_TARGET, AddTargetRequest(cluster.admin, "added-late", "http://127.0.0.1:1/"))
    call(CREATE_KMS_KEY, KmsKeyRequest(cluster.admin, "made-late"))
    cluster.beat()
    cluster.restore()
    cluster.directory.file_servers_up("1", "2")
    stolen = CredentialRequest(key.key)
    assert cluster.directory.call(RECOVERY, stolen).recovery, "it is in the backup"
    cluster.directory.server.named_keys.all()
    cluster.beat()
    with pytest.raises(NotLoggedIn):
        cluster.directory.call(RECOVERY, stolen)
    assert list(cluster.directory.server.targets._running) == ["added-late"]
    assert [key.name for key in cluster.directory.server.named_keys.all().keys] == ["made-late"]


def test_a_backup_that_knows_no_file_server_waits_for_any(cluster: Cluster, tmp_path: Path) -> None:
    """It does not say for whom to wait: so the first that registers is not taken for the last."""
    cluster.directory.server.stop()
    cluster.directory = Directory(tmp_path / "young", cluster.authority, token_seconds=1e9)
    cluster.admin = cluster.directory.admin
    cluster.keepers = [Keeper(id, tmp_path / "young") for id in ("1", "2")]
    cluster.back_up()
    cluster.up()
    cluster.directory.write(cluster.admin, "kept", b"kept", "write-id-of-kept")
    cluster.beat("1")
    cluster.directory.write(cluster.admin, "known-to-2", b"2", "write-id-of-another")
    cluster.beat("2")
    cluster.directory.server.stop()
    target = tmp_path / "old" / "directory_server" / "metadata.db"
    restore(cluster.backup, target)
    (tmp_path / "old" / "admin-credentials.json").write_bytes(
        (tmp_path / "young" / "admin-credentials.json").read_bytes()
    )
    cluster.directory = Directory(tmp_path / "old", cluster.authority, token_seconds=1e9)
    cluster.directory.file_servers_up("1")
    cluster.beat("1")
    with pytest.raises(Starting):
        cluster.names()
    cluster.directory.file_servers_up("2")
    cluster.beat("2")
    cluster.directory.time.advance(61.0)
    cluster.directory.server.late_records.step()
    assert cluster.names() == {"kept", "known-to-2"}


def test_records_of_a_start_with_older_metadata_are_not_handed_out(cluster: Cluster) -> None:
    """A file server that took them would have another history than those that have the newest records."""
    begin(cluster)
    cluster.directory.file_servers_up("3")
    cluster.beat()
    cluster.directory.server.stop()
    cluster.directory = cluster._start()
    reply = cluster.directory.call(s.REGISTER, s.RegisterRequest("https://server-1", "store-1"), "file_server", "1")
    assert reply.ticket_key
    assert not cluster.directory.server.epochs.is_open
    assert cluster.directory.beat("1").redo.sequence == 0
    with pytest.raises(Starting):
        cluster.directory.call(s.REDO, RedoRequest(RedoPlace()), "file_server", "1")
    for path in (FOLLOW_REDO.path, BACKUP_PATH):
        admit = cluster.directory.server.wsgi.admit
        assert admit is not None
        with pytest.raises(Starting):
            admit(path)
    backup = Call(BACKUP_PATH, CredentialRequest, Nothing)
    assert cluster.directory.ask(backup, CredentialRequest(cluster.admin)).status == 503
    cluster.directory.file_servers_up("2")
    assert cluster.directory.beat("1").redo == cluster.directory.server.redo_log.place()


def test_records_are_for_those_who_registered_at_this_start(cluster: Cluster, tmp_path: Path) -> None:
    """Metadata of before the first file server waits for none. Whoever has not registered there may have records of
    newer metadata, which these would replace."""
    cluster.directory.server.stop()
    cluster.directory = Directory(tmp_path / "young", cluster.authority)
    assert cluster.directory.server.epochs.is_open
    with pytest.raises(Starting, match="file_server-1 has yet to register"):
        cluster.directory.call(s.REDO, RedoRequest(RedoPlace()), "file_server", "1")
    cluster.directory.file_servers_up("1")
    assert cluster.directory.call(s.REDO, RedoRequest(RedoPlace()), "file_server", "1").oldest.sequence


def test_a_file_server_that_is_not_known_commits_nothing(cluster: Cluster) -> None:
    """The metadata may be older than it: registering compares them."""
    item = BeginItem(cluster.admin, "write-id-of-a-stranger", "files", "new")
    begun = cluster.directory.call(BEGIN, BeginRequest([item])).results[0].unwrap()
    commit = s.CommitRequest([s.CommitItem(begun.ticket, chunk_digest(b"new"), 3, ["1", "2"])])
    with pytest.raises(Starting, match="has yet to register"):
        cluster.directory.call(s.COMMIT, commit, "file_server", "9")
    cluster.directory.call(s.COMMIT, commit, "file_server", begun.master.id)


def test_lock_numbers_go_on_above_those_of_both_lives(cluster: Cluster) -> None:
    """A record never puts the count of lock numbers back."""
    begin(cluster)
    path = [LockPath("files", "kept")]
    first = cluster.directory.call(ACQUIRE, AcquireRequest(cluster.admin, path, "request-number-1")).lock.number
    cluster.beat()
    cluster.restore()
    cluster.up()
    second = cluster.directory.call(ACQUIRE, AcquireRequest(cluster.admin, path, "request-number-2")).lock.number
    assert second > first + 1000


def test_records_of_the_last_moment_may_be_with_one_server_only(cluster: Cluster) -> None:
    """Each batch is taken from whoever has it, in any order; what nobody has is lost, and nothing else."""
    begin(cluster)
    cluster.beat()
    cluster.change_much()
    cluster.beat("2")
    cluster.directory.call(CREATE_BUCKET, CreateBucketRequest(cluster.admin, "known-to-nobody"))
    cluster.restore()
    cluster.up()
    assert_nothing_is_lost(cluster)


def test_after_patience_it_goes_on_without_a_silent_server(cluster: Cluster) -> None:
    """A server that never returns does not keep the cluster closed; the other's records are used."""
    begin(cluster)
    cluster.change_much()
    cluster.beat()
    cluster.restore()
    cluster.directory.file_servers_up("1")
    cluster.beat("1")
    with pytest.raises(Starting):
        cluster.directory.call(CREATE_BUCKET, CreateBucketRequest(cluster.admin, "too-early"))
    cluster.directory.time.advance(61.0)
    cluster.directory.server.late_records.step()
    assert_nothing_is_lost(cluster)
    cluster.directory.file_servers_up("2")
    cluster.beat()
    assert_nothing_is_lost(cluster)


def test_a_replay_goes_on_after_a_kill_in_its_middle(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far it is stands in the metadata, in the transaction of the changes."""
    monkeypatch.setattr("directory_server.maintenance.redo_log.MAX_BATCH_BYTES", 1)
    begin(cluster)
    cluster.change_much()
    cluster.beat()
    cluster.restore()
    cluster.directory.file_servers_up("1", "2")
    real, asked = Keeper.ask, []

    def ask(self: Keeper, call: Any, request: Any, timeout: float | None = None) -> Any:
        asked.append(call)
        if len(asked) > 3:
            raise Starting("killed")
        return real(self, call, request, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "ask", ask)
        cluster.beat("1")
    assert cluster.replayed() == 3
    cluster.directory.server.stop()
    cluster.directory = cluster._start()
    cluster.up()
    assert_nothing_is_lost(cluster)


@pytest.mark.parametrize("retired", [True, False])
def test_records_outlive_a_rotation_of_the_key_that_seals_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, retired: bool
) -> None:
    """Files are sealed again one after the other, also after a kill in the middle; a restore reads both kinds. Once the
    old authority is retired, its key opens no record any more."""
    monkeypatch.setattr("directory_server.maintenance.redo_log.MAX_BATCH_BYTES", 1)
    monkeypatch.setattr("file_server.maintenance.redo_records.FILE_BYTES", 1500)
    begin(cluster)
    cluster.change_much()
    cluster.beat()
    authority, log = cluster.directory.authority, cluster.directory.server.redo_log
    (old,), stolen = (one.id for one in authority.keys.authorities), authority.derive_keys(SEALING_CONTEXT)
    authority.introduce()
    authority.promote()
    new, keeper = authority.keys.issuing.id, cluster.keepers[0]
    assert len(files_in(tmp_path / "redo-of-1")) > 2
    assert keeper.records.sealed_by == [old]
    keeper.records.learn(log.place(), None, new)
    keeper.records.step()
    assert keeper.records.sealed_by == sorted([old, new])
    keeper.records.close()
    keeper.records = RedoRecords(tmp_path / "redo-of-1", keeper)  # type: ignore[arg-type]
    assert keeper.records.sealed_by == sorted([old, new])
    if retired:
        for keeper in cluster.keepers:
            keeper.records.learn(log.place(), None, new)
            while keeper.records.sealed_by != [new]:
                keeper.records.step()
        authority.retire(old)
        thief = RedoLog(cluster.directory.store, cluster.directory.server.clock, lambda: stolen)
        for batch in batches_in(files_in(tmp_path / "redo-of-1"), 1):
            with pytest.raises(Damaged):
                thief.unseal(batch)
    cluster.directory.call(CREATE_BUCKET, CreateBucketRequest(cluster.admin, "made-last"))
    cluster.beat()
    cluster.authority = authority
    cluster.restore()
    cluster.up()
    assert_nothing_is_lost(cluster)
    buckets = cluster.directory.call(BUCKETS, CredentialRequest(cluster.admin)).buckets
    assert "made-last" in {bucket.name for bucket in buckets}


def test_records_that_the_directory_cannot_read_are_put_aside(cluster: Cluster, tmp_path: Path) -> None:
    """So they do not hold up a retirement for ever; what follows is kept."""
    begin(cluster)
    cluster.beat()
    keeper, log = cluster.keepers[0], cluster.directory.server.redo_log
    keys = log._keys
    log._keys = lambda: {"another": b"a" * 32}
    keeper.records.learn(log.place(), None, "another")
    keeper.records.step()
    assert keeper.records.sealed_by == []
    assert list((tmp_path / "redo-of-1").glob("*.damaged"))
    log._keys = keys
    cluster.change_much()
    cluster.beat()
    assert keeper.records._appender is not None
    assert keeper.records._appender.place == log.place()


def test_older_metadata_that_was_started_is_made_as_new_as_the_records(cluster: Cluster) -> None:
    """A snapshot that was put back by mistake, refused, and accepted: its own start does not stand in the way."""
    begin(cluster)
    metadata = cluster.directory.settings.metadata_file
    cluster.directory.server.stop()
    snapshot = {file.name: file.read_bytes() for file in metadata.parent.iterdir() if file.is_file()}
    cluster.directory = cluster._start()
    cluster.up()
    cluster.change_much()
    cluster.beat()
    cluster.directory.server.stop()
    for file in metadata.parent.iterdir():
        if file.is_file():
            file.unlink()
    for name, content in snapshot.items():
        (metadata.parent / name).write_bytes(content)
    cluster.directory = cluster._start()
    cluster.directory.server.stop()
    accept_older(metadata)
    cluster.directory = cluster._start()
    cluster.up()
    assert_nothing_is_lost(cluster)


def test_records_are_bounded_and_a_damaged_file_is_put_aside(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The oldest go first; what is kept follows one another; a damaged newest file does not end the keeping."""
    monkeypatch.setattr("file_server.maintenance.redo_records.FILE_BYTES", 1000)
    keeper = cluster.keepers[0]
    keeper.records._kept_bytes = 5000
    for number in range(40):
        cluster.directory.call(CREATE_BUCKET, CreateBucketRequest(cluster.admin, f"bucket-{number}"))
        cluster.beat("1")
    folder = tmp_path / "redo-of-1"
    files = files_in(folder)
    assert len(files) > 3
    assert sum(file.stat().st_size for file in files) < 8000
    keeper.records.close()
    content = bytearray(files[-1].read_bytes())
    content[10] ^= 1
    files[-1].write_bytes(content)
    keeper.records = RedoRecords(folder, keeper)  # type: ignore[arg-type]
    cluster.directory.call(CREATE_BUCKET, CreateBucketRequest(cluster.admin, "another"))
    cluster.beat("1")
    assert keeper.records._appender is not None
    assert keeper.records._appender.place == cluster.directory.server.redo_log.place()
    assert list(folder.glob("*.damaged"))
