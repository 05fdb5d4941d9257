"""The layout of a file server's data folder, and the versions of it that this program knows.

::

    DATA/format            the version of everything below; unknown versions are refused
    DATA/store-id          random, made with the storage: a new id means an empty disk
    DATA/disk-key          the key of the names and digests on this disk, sealed (see sealed_names.py)
    DATA/lock              locked while a file server runs, so that two never share a folder
    DATA/index.db          chunks, blobs, references and fences (see chunk_index.py)
    DATA/chunks/ab/ab12…   sealed chunks of more than 64 KiB, by the stored names of their digests
    DATA/incoming/         files being received; emptied at start
    DATA/quarantine/       sealed chunks that failed their check

chunk_index.py, chunk_files.py and lockstep_store/runtime/storage/sealing.py define what the files contain.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from lockstep_store.runtime.storage.process_lock import claim
from lockstep_store.runtime.storage.sealing import write_durably
from lockstep_store.wire.errors import SetupError, StorageFormatError

FORMAT = "lockstep file server storage 5"
OLDER_FORMATS = tuple(f"lockstep file server storage {number}" for number in (1, 2, 3, 4))
"""Upgraded at the start, by opening the index (index_upgrade.py): version 2 added the table of commit notes, version 3
the numbers of chunks under each storage key, version 4 sealed names, version 5 sealed digests."""
INLINE_BYTES = 64 * 1024
"""Sealed chunks up to this size are in the index; larger ones are files."""


class DiskLayout:
    """An opened data folder. While it is open no other process can open it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.format_file = root / "format"
        self.store_id_file = root / "store-id"
        self.lock_file = root / "lock"
        self.index_file = root / "index.db"
        self.key_file = root / "disk-key"
        self.chunks = root / "chunks"
        self.incoming = root / "incoming"
        self.quarantine = root / "quarantine"
        self._lock = -1
        self.store_id = ""

    @classmethod
    def open(cls, root: Path) -> DiskLayout:
        """Lock and check `root`, create the storage if there is none, and empty `incoming/`.

        Raises SetupError if another process has it open or it cannot be written, StorageFormatError if this program
        does not know its version.
        """
        layout = cls(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            layout._lock = claim(layout.lock_file, "file server", root, "folder with --data")
            try:
                layout._prepare()
            except BaseException:
                layout.close()
                raise
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            advice = "free space on that disk" if full else "check its owner and its disk"
            raise SetupError(
                f"cannot use the data folder {root} ({error.strerror or error}): "
                f"{advice}, or choose another folder with --data"
            ) from error
        return layout

    def close(self) -> None:
        """Unlock the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def chunk_file(self, name: bytes) -> Path:
        """Return the path of a chunk that is too large for the index, by its stored name."""
        text = name.hex()
        return self.chunks / text[:2] / text

    def temporary_file(self) -> Path:
        """Return an unused name in `incoming/`."""
        return self.incoming / secrets.token_hex(12)

    def quarantine_file(self, name: bytes) -> Path:
        """Return an unused path for a damaged chunk; a chunk can be damaged more than once."""
        return self.quarantine / f"{name.hex()}.{secrets.token_hex(4)}"

    def chunk_folder(self, number: int) -> Path:
        """Return one of the 256 folders of chunk files; the first file creates it."""
        return self.chunks / f"{number:02x}"

    def _prepare(self) -> None:
        if self.format_file.exists():
            self._check_format()
        elif self.index_file.exists():
            raise StorageFormatError(
                f"{self.root} has an index.db but no file `format`: it is not a file server's folder, or was damaged. "
                "Restore the file `format`, or choose another folder with --data"
            )
        else:
            self._create()
        for folder in (self.incoming, self.quarantine, self.chunks):
            folder.mkdir(parents=True, exist_ok=True)
        for left_over in self.incoming.iterdir():
            left_over.unlink()
        try:
            self.store_id = self.store_id_file.read_text("ascii").strip()
        except FileNotFoundError:
            raise StorageFormatError(
                f"{self.store_id_file} is missing: restore it, or empty {self.root} to start with an empty disk"
            ) from None

    def _check_format(self) -> None:
        found = self.format_file.read_text("utf-8", "replace").strip()
        if found in OLDER_FORMATS:
            # Before the index is opened: an older program must not open an index of which it would not maintain a part.
            write_durably(self.format_file, FORMAT.encode() + b"\n")
        elif found != FORMAT:
            raise StorageFormatError(
                f"{self.root} has the format {found[:80]!r}, but this program needs {FORMAT!r}: "
                "use the version of Lockstep that wrote it, or choose another folder with --data"
            )

    def _create(self) -> None:
        """Create the storage. The format file comes last, so that an interrupted creation is repeated."""
        write_durably(self.store_id_file, secrets.token_hex(16).encode())
        for folder in (self.incoming, self.quarantine, self.chunks):
            folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.format_file, FORMAT.encode() + b"\n")
