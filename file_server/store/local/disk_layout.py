"""Where everything lies in a file server's data folder, and which version of that order this program knows.

::

    DATA/format            the version of everything below; another version is refused
    DATA/store-id          random, made with the storage: a new one means that the disk was empty
    DATA/lock              held while a file server runs, so that two never share one folder
    DATA/index.db          chunks, blobs, references and fences (see chunk_index.py)
    DATA/chunks/ab/ab12…   sealed chunks of more than 64 KiB, named by their digest
    DATA/incoming/         what is being received; emptied at start
    DATA/quarantine/       sealed chunks that failed their check

What the files contain is left to chunk_index.py, chunk_files.py and lockstep_store/runtime/storage/sealing.py.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from lockstep_store.runtime.storage.process_lock import claim
from lockstep_store.runtime.storage.sealing import write_durably
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import SetupError, StorageFormatError

FORMAT = "lockstep file server storage 2"
OLDER_FORMATS = ("lockstep file server storage 1",)
"""Brought up to date at the start: in version 2 the index also has commit notes, which are made when it is opened."""
INLINE_BYTES = 64 * 1024
"""Sealed chunks of at most this size lie in the index; larger ones are files."""


class DiskLayout:
    """An opened data folder. While it is open no other process can open it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.format_file = root / "format"
        self.store_id_file = root / "store-id"
        self.lock_file = root / "lock"
        self.index_file = root / "index.db"
        self.chunks = root / "chunks"
        self.incoming = root / "incoming"
        self.quarantine = root / "quarantine"
        self._lock = -1
        self.store_id = ""

    @classmethod
    def open(cls, root: Path) -> DiskLayout:
        """Lock and check `root`, making the storage when there is none, and empty `incoming/`.

        Raises SetupError when another process has it or it cannot be written, StorageFormatError when it is of a
        version this program does not know.
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
            raise SetupError(
                f"the data folder {root} cannot be used ({error.strerror or error}): "
                "check its owner and its disk, or choose another with --data"
            ) from error
        return layout

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def chunk_file(self, digest: Digest) -> Path:
        """Where a chunk lies when it is too large for the index."""
        name = digest.hex()
        return self.chunks / name[:2] / name

    def temporary_file(self) -> Path:
        """A name in `incoming/` that nobody else has."""
        return self.incoming / secrets.token_hex(12)

    def quarantine_file(self, digest: Digest) -> Path:
        """A new name for a damaged chunk; the same chunk can be damaged more than once."""
        return self.quarantine / f"{digest.hex()}.{secrets.token_hex(4)}"

    def chunk_folder(self, number: int) -> Path:
        """One of the 256 folders that chunk files lie in; each is made when the first file comes to it."""
        return self.chunks / f"{number:02x}"

    def _prepare(self) -> None:
        if self.format_file.exists():
            self._check_format()
        elif self.index_file.exists():
            raise StorageFormatError(
                f"{self.root} holds data but no format file: it is not a file server's folder, or was damaged. "
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
                f"{self.store_id_file} is missing: restore it, or empty {self.root} to begin with an empty disk"
            ) from None

    def _check_format(self) -> None:
        found = self.format_file.read_text("utf-8", "replace").strip()
        if found in OLDER_FORMATS:
            # Before the index is touched: an older program must not open one whose notes it would not keep true.
            write_durably(self.format_file, FORMAT.encode() + b"\n")
        elif found != FORMAT:
            raise StorageFormatError(
                f"{self.root} is stored as {found[:80]!r}, this program knows {FORMAT!r}: "
                "use the version of Lockstep that wrote it, or choose another folder with --data"
            )

    def _create(self) -> None:
        """The format file comes last: a creation that was interrupted is simply done again."""
        write_durably(self.store_id_file, secrets.token_hex(16).encode())
        for folder in (self.incoming, self.quarantine, self.chunks):
            folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.format_file, FORMAT.encode() + b"\n")
