"""Checking the directory's books, backing them up, and what follows a restore. See wire/messages/files.py.

A backup itself is a stream: POST `BACKUP_PATH` with a `CredentialRequest` answers with a file that begins with one
line of `BACKUP_FORMAT`, one line of `BackupInfo` as JSON, and then the `size` bytes of the metadata.
"""

from __future__ import annotations

from typing import Literal

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import Credential, CredentialRequest, Message, Nothing, Size

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
    """What is in a backup, and what its bytes must be."""

    made_at: float
    lockstep: str
    """The version of the program that made it."""
    engine: str
    """`sqlite`: what the bytes are."""
    cursor: int
    files: int
    versions: int
    blobs: int
    rows: dict[str, int]
    """Rows in every table."""
    size: Size
    """Bytes of the metadata that follow."""
    digest: Digest
    """BLAKE3 of those bytes."""


class FsckProblem(Message):
    """One disagreement."""

    kind: str
    name: str
    """Which file, bucket, blob, server or lock."""
    detail: str = ""
    file_server: str = ""


class FsckServer(Message):
    """What one file server's inventory came to."""

    id: str
    state: ServerCheck
    """`away`: it was not up, or went down meanwhile, and was not checked to the end."""
    compared: int = 0
    missing: int = 0
    """The books count these copies, and they were not there. They are made again."""
    damaged: int = 0
    """Copies that failed their check meanwhile. They are made again."""
    counted: int = 0
    """Copies that were there and not counted. They count now."""
    unknown: int = 0
    """Blobs that no version refers to: left by writes that were never committed. The collector's."""


class FsckRequest(Message):
    """An administrator has the books checked, and every file server's holdings compared with them; with `deep`, every
    byte read as well. One check runs at a time: asked for again meanwhile, that one is answered."""

    credential: Credential
    deep: bool = False


class FsckReport(Message):
    """The latest check. `problems` is empty when nothing disagrees; at most `MAX_PROBLEMS` are named."""

    state: FsckState
    deep: bool = False
    started_at: float = 0.0
    seconds: float = 0.0
    checks: dict[str, int] = {}
    """How much was looked at, by table."""
    problems: list[FsckProblem] = []
    more_problems: int = 0
    """How many more there are than the listed ones."""
    file_servers: list[FsckServer] = []
    recovery: RecoveryInfo | None = None
    """None unless the directory was restored from a backup."""


class RecoveryInfo(Message):
    """How far the directory is in finding again what happened after the backup that it was restored from."""

    restored_at: float
    backup_made_at: float
    backup_cursor: int
    waiting_for: list[str]
    """File servers that have yet to say what they hold; nothing of theirs is collected."""
    finished: bool
    recovered_versions: int
    unnamed_blobs: int
    """Blobs that nobody knows a name of. They are kept until an administrator decides."""
    unnamed_bytes: int
    source: RecoverySource = "backup"


class RecoverRequest(Message):
    """An administrator decides: `finish` ends the waiting for file servers that will not come back; unnamed blobs
    stay (`keep`), become files named by their digest in bucket `recovered` (`name`), or are given up (`drop`)."""

    credential: Credential
    finish: bool = False
    unnamed: Literal["keep", "name", "drop"] = "keep"


class RecoveryReply(Message):
    """None: this directory was never restored from a backup."""

    recovery: RecoveryInfo | None = None


FSCK = Call("/v1/fsck", FsckRequest, Nothing)
FSCK_REPORT = Call("/v1/fsck/report", CredentialRequest, FsckReport)
RECOVERY = Call("/v1/recovery", CredentialRequest, RecoveryReply)
RECOVER = Call("/v1/recover", RecoverRequest, RecoveryReply)
