"""Small files are replaced as a whole, and an error names the file that could not be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lockstep_store.runtime.storage.durable_files import write_durably
from lockstep_store.runtime.storage.permissions import cannot_use


def test_a_full_disk_names_the_file_and_keeps_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's error names no file, so the caller could not say which disk is full."""
    file = tmp_path / "ca.pem"
    write_durably(file, b"before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_durably(file, b"after")
    assert cannot_use(raised.value) == f"cannot write {file} (No space left on device): free space on that disk"
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]
