"""One process to a data folder: two that wrote to the same one would undo each other's work."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from lockstep_store.wire.errors import SetupError


def claim(lock_file: Path, program: str, place: Path, options: str) -> int:
    """Hold `place` for this process until it ends, or closes the descriptor that this gives.

    SetupError when another process has it, naming that process and the `options` to choose another place with. OSError
    when the lock file cannot be made.
    """
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise SetupError(
            f"another {program} (process {owner}) is using {place}: stop it, or give this one its own {options}"
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    with contextlib.suppress(OSError):  # only a message needs the number, and a full disk must not keep a program down
        os.pwrite(descriptor, f"{os.getpid():<31}\n".encode(), 0)
    return descriptor
