"""Checks and backups of the directory's metadata, and recovery after a restore.

A backup is a stream: POST a `CredentialRequest` to `BACKUP_PATH`. The reply is a file of the line `BACKUP_FORMAT`, a
line of `BackupInfo` as JSON, and the `size` bytes of the metadata.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.base import Credential, CredentialRequest, Message, Nothing, Size
from lockstep_store.wire.messages.redo import RedoPlace

BACKUP_PATH = "/v1/backup"
BACKUP_FORMAT = b"lockstep directory backup 1\n"
MAX_BACKUP_INFO_BYTES = 64 * 1024
MAX_PROBLEMS = 1000

FsckState = Literal["never", "running", "done"]
ServerCheck = Literal["waiting", "done", "away"]


RecoverySource = Literal["backup", "older", "nothing", "unknown"]
"""What a recovering directory began with: a backup, metadata that was older than what file servers had seen, none at
all, or a file server whose storage it did not know."""


class BackupInfo(Message):
    """The content of a backup, and the size and digest of its bytes."""

    made_at: float
    lockstep: str
    """The version of the program that created it."""
    engine: str
    """The metadata store that the bytes belong to: `sqlite`."""
    cursor: int
    files: int
    versions: int
    blobs: int
    rows: dict[str, int]
    """Number of rows by table."""
    size: Size
    """Length of the metadata in bytes."""
    digest: Digest
    """BLAKE3 of those bytes."""
    redo: RedoPlace = field(default_factory=RedoPlace)
    """The place in the directory's history: redo records behind it may be added when it is restored."""


class FsckProblem(Message):
    """One inconsistency."""

    kind: str
    name: str
    """The file, bucket, blob, server or lock concerned."""
    detail: str = ""
    file_server: str = ""


class FsckServer(Message):
    """The result of one file server's inventory."""

    id: str
    state: ServerCheck
    """`away`: it was or went down, so its check is incomplete."""
    compared: int = 0
    missing: int = 0
    """Copies that the metadata counts but the server did not have. Repair replaces them."""
    damaged: int = 0
    """Copies that failed their check meanwhile. Repair replaces them."""
    counted: int = 0
    """Copies that the server had but the metadata did not count. They count now."""
    unknown: int = 0
    """Blobs that no version refers to, left by writes that were never committed. They will be collected."""


class FsckRequest(Message):
    """Administrator: check the metadata, and compare every file server's inventory with it.

    With `deep`, file servers also read every byte. Only one check runs at a time; a request during a check joins it.
    """

    credential: Credential
    deep: bool = False


class FsckReport(Message):
    """The latest check. `problems` lists at most `MAX_PROBLEMS` inconsistencies; `more_problems` counts the rest."""

    state: FsckState
    deep: bool = False
    started_at: float = 0.0
    seconds: float = 0.0
    checks: dict[str, int] = {}
    """Number of rows checked by table."""
    problems: list[FsckProblem] = []
    more_problems: int = 0
    file_servers: list[FsckServer] = []
    recovery: RecoveryInfo | None = None
    """None unless the directory was restored from a backup."""


class RecoveryInfo(Message):
    """How far the directory has recovered the changes made after the backup that it was restored from."""

    restored_at: float
    backup_made_at: float
    backup_cursor: int
    waiting_for: list[str]
    """Ids of file servers that have not yet sent their inventory; nothing on them is collected."""
    finished: bool
    recovered_versions: int
    unnamed_blobs: int
    """Blobs without a known name. They are kept until an administrator decides."""
    unnamed_bytes: int
    source: RecoverySource = "backup"
    replayed_records: int = 0
    """Changes that were made again from file servers' redo records."""


class RecoverRequest(Message):
    """Administrator: complete a recovery.

    `finish` stops the wait for file servers that will not return. Unnamed blobs are kept (`keep`), become files named
    by their digest in bucket `recovered` (`name`), or are given up (`drop`).
    """

    credential: Credential
    finish: bool = False
    unnamed: Literal["keep", "name", "drop"] = "keep"


class RecoveryReply(Message):
    recovery: RecoveryInfo | None = None
    """None if this directory was never restored from a backup."""


FSCK = Call("/v1/fsck", FsckRequest, Nothing)
FSCK_REPORT = Call("/v1/fsck/report", CredentialRequest, FsckReport)
RECOVERY = Call("/v1/recovery", CredentialRequest, RecoveryReply)
RECOVER = Call("/v1/recover", RecoverRequest, RecoveryReply)
