"""FUSE on this machine: what is mounted, and what is missing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from lockstep_store.client.mount import kernel
from lockstep_store.wire.errors import SetupError


def test_mounted_folders_are_known_by_their_whole_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those with spaces and letters beyond ASCII, which the kernel's table writes otherwise."""
    table = tmp_path / "mounts"
    table.write_text("lockstep:files /home/ada/my\\040\\134team\\040ü fuse.lockstep ro 0 0\nproc /proc proc rw 0 0\n")
    monkeypatch.setattr(kernel, "MOUNTS", table)
    assert kernel.is_mounted(Path("/home/ada/my \\team ü"))
    assert kernel.is_mounted(Path("/proc"))
    assert not kernel.is_mounted(Path("/home/ada/my"))


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package, the library, the device, the program to unmount."""
    monkeypatch.setitem(sys.modules, "mfusepy", None)
    with pytest.raises(SetupError, match=r"lockstep-store\[mount\]"):
        kernel.check_usable()
    monkeypatch.setitem(sys.modules, "mfusepy", sys)
    monkeypatch.setattr(kernel, "DEVICE", tmp_path / "none")
    with pytest.raises(SetupError, match="modprobe fuse"):
        kernel.check_usable()
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(SetupError, match="fusermount is not installed"):
        kernel.unmount(tmp_path)


def test_a_machine_without_libfuse_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mfusepy.py").write_text("raise OSError('Unable to find libfuse')\n")
    monkeypatch.delitem(sys.modules, "mfusepy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SetupError, match="package fuse3"):
        kernel.check_usable()
