"""A backup of the directory as a file: one line that says what it is, one with what is in it, then the metadata.

Whoever has the file can check it without opening the metadata: every byte is covered by the digest. How a backup is
made and put in place is the directory's business.
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
    """The two lines before the metadata."""
    return BACKUP_FORMAT + encode(info) + b"\n"


def read_header(file: BinaryIO, name: str) -> BackupInfo:
    """What is in the backup `file`, which is left at the metadata's first byte.

    StorageFormatError for another kind or a newer version, Damaged when what it says of itself cannot be read.
    """
    first = file.readline(len(BACKUP_FORMAT) + 1)
    if first != BACKUP_FORMAT:
        if first.startswith(BACKUP_FORMAT.rpartition(b" ")[0]):
            raise StorageFormatError(
                f"{name} says {first[:60].decode('utf-8', 'replace').strip()!r}, and this program knows "
                f"{BACKUP_FORMAT.decode().strip()!r}: use the version of Lockstep that made it"
            )
        raise StorageFormatError(f"{name} is not a backup of a Lockstep directory")
    line = file.readline(MAX_BACKUP_INFO_BYTES)
    try:
        return _infos.decode(line)
    except (msgspec.DecodeError, LockstepError) as error:
        raise Damaged(f"{name} is damaged: what is in it cannot be read ({error}); use another backup") from error


def digest_of(file: BinaryIO) -> tuple[Digest, int]:
    """BLAKE3 of the rest of `file`, and how many bytes that is."""
    hasher, size = blake3(), 0
    while block := file.read(BLOCK_BYTES):
        hasher.update(block)
        size += len(block)
    return Digest(hasher.digest()), size


def check(file: BinaryIO, name: str) -> BackupInfo:
    """What is in the backup `file`, every byte of which was checked; Damaged or StorageFormatError otherwise."""
    info = read_header(file, name)
    digest, size = digest_of(file)
    if size != info.size:
        raise Damaged(f"{name} has {size} bytes of metadata and should have {info.size}: it is cut, use another backup")
    if digest != info.digest:
        raise Damaged(f"{name} is damaged: its bytes have another digest than when it was made; use another backup")
    return info
