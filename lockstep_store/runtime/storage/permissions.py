"""Keeps a program's files to its own user: new files 0600, new folders 0700, and a warning about what is too open."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError

PRIVATE_UMASK = 0o077
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def keep_private(*folders: Path) -> None:
    """Create new files and folders for this user only, from now on, and warn of `folders` that others can enter.

    Files that people need, such as ca.pem, get their wider mode explicitly.
    """
    os.umask(PRIVATE_UMASK)
    for path, mode in too_open(folders):
        log.warning(
            "other users of this machine can use %s (mode %04o): close it with `chmod go= %s`", path, mode, path
        )


def check_writable(folder: Path) -> None:
    """Raise SetupError if a data folder exists and cannot be written, such as on a disk that is mounted read-only."""
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        raise SetupError(
            f"cannot write to the data folder {folder}: check its owner, its permissions and whether its disk is "
            "mounted read-only, or choose another folder with --data"
        )


def cannot_use(error: OSError) -> str:
    """Return one sentence: which file or folder a program cannot use, why, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot write {error.filename or 'a file'} ({error.strerror}): free space on that disk"
    name = error.filename or "a file"
    return f"cannot use {name} ({error.strerror or error}): check that it is there, its owner and its permissions"


def say_where_keys_are(keys_file: Path, data: Path, *, is_protected: bool) -> None:
    """Say once what it means if the storage keys lie, unprotected, on the disk of the data that they encrypt."""
    try:
        together = keys_file.stat().st_dev == data.stat().st_dev
    except OSError:
        return  # it is not there yet
    if together and not is_protected:
        log.info(
            "the storage keys %s are on the disk of the data %s: encryption protects copies and parts of it, but "
            "whoever takes the whole disk can read everything. Keep them elsewhere (--certs), or protect them with "
            "--key-passphrase-file",
            keys_file,
            data,
        )


def too_open(folders: Iterable[Path]) -> list[tuple[Path, int]]:
    """Return those of `folders` that other users may read or enter, with their modes. What is inside a closed folder
    is closed too."""
    found = []
    for folder in folders:
        try:
            mode = stat.S_IMODE(folder.stat().st_mode)
        except OSError:
            continue  # it is not there yet
        if mode & _FOR_OTHERS:
            found.append((folder, mode))
    return found
