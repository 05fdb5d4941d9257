"""Chunks of local files, cut as from scratch or against an older version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lockstep_store.client.local_storage import LocalFileError
from lockstep_store.client.transfers import (
    LocalFile,
    digest_file,
)
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.manifest import Manifest
from tests.unit.client.transfers.patience import MIB
from tests.unit.people import noise


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 5 * MIB, 18 * MIB + 7])
@pytest.mark.parametrize("with_base", [False, True])
def test_a_files_chunks_are_those_of_its_bytes(tmp_path: Path, size: int, with_base: bool) -> None:
    """Read in windows, with or without an older manifest, a file has the same chunks as its bytes in memory."""
    data = noise(size, size)
    older = data[: size // 2] + b"inserted" + data[size // 2 :]
    base = Manifest((c.digest, c.length) for c in chunk_bytes(older)) if with_base else None
    (tmp_path / "f").write_bytes(data)
    with LocalFile(tmp_path / "f") as file:
        found = file.manifest(base)
    assert found == Manifest((c.digest, c.length) for c in chunk_bytes(data))


@pytest.mark.parametrize("edit", ["cut the end", "add to the end", "cut to a boundary"])
def test_a_changed_end_is_cut_as_if_from_scratch(tmp_path: Path, edit: str) -> None:
    """The base's last chunk is a boundary only where this file ends too."""
    data = noise(1, 9 * MIB)
    base = Manifest((c.digest, c.length) for c in chunk_bytes(data))
    edited = {
        "cut the end": data[:-5],
        "add to the end": data + b"more",
        "cut to a boundary": data[: base.offset_of(len(base) - 1)],
    }[edit]
    (tmp_path / "f").write_bytes(edited)
    with LocalFile(tmp_path / "f") as file:
        assert file.manifest(base) == Manifest((c.digest, c.length) for c in chunk_bytes(edited))


def test_a_folder_or_a_pipe_is_not_a_file(tmp_path: Path) -> None:
    """What is not a regular file is refused in words, and a pipe without a writer does not hang us."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        with pytest.raises(LocalFileError):
            digest_file(path)
