"""Claims on data folders: one process at a time, and nobody is kept out by anything else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lockstep_store.runtime.storage.process_lock import claim
from lockstep_store.wire.errors import SetupError


def test_the_second_is_told_who_has_it_until_the_first_lets_go(tmp_path: Path) -> None:
    """The refusal names the process and the way out; afterwards the place is free."""
    first = claim(tmp_path / "lock", "file server", tmp_path, "folder with --data")
    told = rf"another file server \(process {os.getpid()}\) is using {tmp_path}: .* its own folder with --data"
    with pytest.raises(SetupError, match=told):
        claim(tmp_path / "lock", "file server", tmp_path, "folder with --data")
    os.close(first)
    os.close(claim(tmp_path / "lock", "file server", tmp_path, "folder with --data"))


def test_a_full_disk_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the number in the message is lost."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    first = claim(tmp_path / "lock", "file server", tmp_path, "folder with --data")
    with pytest.raises(SetupError, match="process unknown"):
        claim(tmp_path / "lock", "file server", tmp_path, "folder with --data")
    os.close(first)
