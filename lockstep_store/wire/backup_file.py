"""The backup file of a directory: a format line, a line of information, then the metadata.

The digest covers every byte of the metadata, so the file can be checked without opening it. The directory server
creates and restores backups.
"""

from __future__ import annotations

from typing import BinaryIO

import msgspec
from blake3 import blake3

from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import Damaged, LockstepError, StorageFormatError
from lockstep_store.wire.messages.recovery import BACKUP_FORMAT, MAX_BACKUP_INFO_BYTES, BackupInfo

BLOCK_BYTES = 1024 * 1024
_infos = decoder(BackupInfo)


def header_of(info: BackupInfo) -> bytes:
    """Return the two lines before the metadata."""
    return BACKUP_FORMAT + encode(info) + b"\n"


def read_header(file: BinaryIO, name: str) -> BackupInfo:
    """Read the information about the backup `file`, and leave `file` at the metadata's first byte.

    StorageFormatError for another kind of file or a newer version, Damaged when the information cannot be read.
    """
    first = file.readline(len(BACKUP_FORMAT) + 1)
    if first != BACKUP_FORMAT:
        if first.startswith(BACKUP_FORMAT.rpartition(b" ")[0]):
            raise StorageFormatError(
                f"{name} has the format {first[:60].decode('utf-8', 'replace').strip()!r}, but this program reads "
                f"{BACKUP_FORMAT.decode().strip()!r}: use the version of Lockstep that created it"
            )
        raise StorageFormatError(f"{name} is not a backup of a Lockstep directory")
    line = file.readline(MAX_BACKUP_INFO_BYTES)
    try:
        return _infos.decode(line)
    except (msgspec.DecodeError, LockstepError) as error:
        raise Damaged(f"{name} is damaged: its second line cannot be read ({error}); use another backup") from error


def digest_of(file: BinaryIO) -> tuple[Digest, int]:
    """Return the BLAKE3 digest of the rest of `file`, and its length in bytes."""
    hasher, size = blake3(), 0
    while block := file.read(BLOCK_BYTES):
        hasher.update(block)
        size += len(block)
    return Digest(hasher.digest()), size


def check(file: BinaryIO, name: str) -> BackupInfo:
    """Check every byte of the backup `file` and return its information; raises Damaged or StorageFormatError."""
    info = read_header(file, name)
    digest, size = digest_of(file)
    if size != info.size:
        raise Damaged(f"{name} has {size} bytes of metadata instead of {info.size}: use another backup")
    if digest != info.digest:
        raise Damaged(f"{name} is damaged: the metadata does not match its digest; use another backup")
    return info
