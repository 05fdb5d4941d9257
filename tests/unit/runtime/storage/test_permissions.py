"""A program's files are its user's alone."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.runtime.storage.permissions import (
    cannot_use,
    check_writable,
    keep_private,
    say_where_keys_are,
    too_open,
)
from lockstep_store.wire.errors import SetupError


@pytest.fixture(autouse=True)
def umask_of_before() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_new_files_and_folders_are_private(tmp_path: Path) -> None:
    """Whatever creates them, and with whatever mode it asks for."""
    keep_private(tmp_path)
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "file").write_text("x")
    assert stat.S_IMODE((tmp_path / "folder" / "inner").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "folder" / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o770])
def test_an_open_folder_is_reported(tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    """With its mode and the command that closes it; a closed one and one that is not there are not."""
    opened, closed = tmp_path / "open", tmp_path / "closed"
    opened.mkdir()
    opened.chmod(mode)
    closed.mkdir(mode=0o700)
    assert too_open([opened, closed, tmp_path / "missing"]) == [(opened, mode)]
    with caplog.at_level(logging.WARNING, logger="lockstep"):
        keep_private(opened, closed)
    assert [f"chmod go= {opened}" in record.getMessage() for record in caplog.records] == [True]


def test_keys_on_the_disk_of_their_data_are_mentioned_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line at a start says what that means; none if the keys are protected, elsewhere, or not there."""
    keys = tmp_path / "storage-keys.json"
    keys.write_text("{}")
    with caplog.at_level("INFO"):
        say_where_keys_are(keys, tmp_path, is_protected=True)
        say_where_keys_are(keys, Path("/proc"), is_protected=False)
        say_where_keys_are(tmp_path / "missing", tmp_path, is_protected=False)
        assert caplog.messages == []
        say_where_keys_are(keys, tmp_path, is_protected=False)
    (message,) = caplog.messages
    assert "whoever takes the whole disk can read everything" in message


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do, before anything is opened there; one that is not there yet is made later."""
    check_writable(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    check_writable(tmp_path / "missing")
    with pytest.raises(SetupError, match="mounted read-only"):
        check_writable(tmp_path)


def test_an_error_of_the_system_is_one_sentence() -> None:
    """It names the file, the reason and what to do."""
    denied = PermissionError(errno.EACCES, "Permission denied", "/certs/authority")
    assert cannot_use(denied) == (
        "cannot use /certs/authority (Permission denied): check that it is there, its owner and its permissions"
    )
    assert "free space" in cannot_use(OSError(errno.ENOSPC, "No space left on device", "/certs/ca.pem"))
