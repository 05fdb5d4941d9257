"""Allows only one process for each data folder: two would overwrite each other's work."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from lockstep_store.wire.errors import SetupError


def claim(lock_file: Path, program: str, place: Path, options: str) -> int:
    """Hold `place` for this process until it ends or closes the returned descriptor.

    SetupError when another process holds it; the message names that process and the `options` to choose another place.
    OSError when the lock file cannot be created.
    """
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise SetupError(
            f"another {program} (process {owner}) is using {place}: stop it, or start this one with its own {options}"
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    with contextlib.suppress(OSError):  # only a message uses the process id; a full disk must not prevent the start
        os.pwrite(descriptor, f"{os.getpid():<31}\n".encode(), 0)
    return descriptor
