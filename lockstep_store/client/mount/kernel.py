"""FUSE: the only module that knows `mfusepy`, which is installed with the extra `mount`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep_store.wire.errors import SetupError

if TYPE_CHECKING:
    from lockstep_store.client.mount.operations import ReadOperations

DEVICE = Path("/dev/fuse")
MOUNTS = Path("/proc/self/mounts")
UNMOUNTERS = ("fusermount3", "fusermount")
UNMOUNT_SECONDS = 30.0
THREADS = 96
"""Of libfuse 3, which would have ten: programs that wait for a lock keep one each."""


def check_usable() -> None:
    """Raise SetupError, with what to install, if this machine cannot mount folders."""
    _library()
    if not DEVICE.exists():
        raise SetupError(f"this machine has no {DEVICE}: load the kernel's module with `modprobe fuse`")


def serve(operations: ReadOperations, folder: Path, name: str, *, writable: bool = False) -> None:
    """Mount `folder`, and answer the kernel until it is unmounted or the process gets SIGINT or SIGTERM.

    The kernel caches nothing. Its cache of pages would mix the versions of a file that two programs have open, and one
    of names and attributes would hide other machines' changes. Nor does it judge permissions (`default_permissions`):
    each use of a file would first ask for the attributes of every folder above it, and the cluster judges anyway.
    `name` is what `mount` and `df` show.
    """
    library = _library()
    writing: dict[str, Any] = {"ro": not writable}
    if writable and library.fuse_version_major == 2:
        # libfuse 3 has the first two by itself. Its `hard_remove` makes files stale that are removed while open.
        writing |= {"big_writes": True, "atomic_o_trunc": True, "hard_remove": True}
    if (library.fuse_version_major, library.fuse_version_minor) >= (3, 12):
        writing["max_threads"] = THREADS

    class Fuse(library.FUSE):  # type: ignore[misc, name-defined]
        """Tells whose a lock is, too. Of files that were removed while open, `path` is None."""

        def lock(self, path: bytes | None, info: Any, command: int, wanted: Any) -> int:
            opened = info.contents
            return operations.lock(os.fsdecode(path or b""), opened.fh, opened.lock_owner, command, wanted.contents)

        def flock(self, path: bytes | None, info: Any, operation: int) -> int:
            return operations.flock(os.fsdecode(path or b""), info.contents.fh, operation)

    with contextlib.suppress(RuntimeError):  # libfuse has printed why
        Fuse(
            operations,
            str(folder),
            foreground=True,
            fsname=name,
            subtype="lockstep",
            direct_io=True,
            use_ino=True,
            attr_timeout=0,
            entry_timeout=0,
            negative_timeout=0,
            **writing,
        )


def asking_process() -> int:
    """The number of the program whose request the calling thread answers."""
    _, _, process = _library().fuse_get_context()
    return int(process)


def is_interrupted() -> bool:
    """Whether the program whose request the calling thread answers got a signal. It waits for the answer even so."""
    return bool(_library()._libfuse.fuse_interrupted())


def is_mounted(folder: Path) -> bool:
    """Whether something is mounted at a folder, even if nobody answers for it any more."""
    for line in MOUNTS.read_bytes().splitlines():
        place = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), line.split(b" ")[1])
        if os.fsdecode(place) == str(folder):
            return True
    return False


def unmount(folder: Path, *, detach: bool = False) -> None:
    """Unmount a folder; with `detach` also one that programs still use. SetupError if that fails."""
    program = next(filter(None, map(shutil.which, UNMOUNTERS)), None)
    if program is None:
        raise SetupError("fusermount is not installed: install the package fuse3, or fuse")
    command = [program, "-u", *(["-z"] if detach else []), "--", str(folder)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=UNMOUNT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise SetupError(f"{folder} could not be unmounted within {UNMOUNT_SECONDS:.0f} s: use --detach") from None
    if ended.returncode != 0:
        if "busy" in ended.stderr:
            raise SetupError(f"{folder} is in use: close the programs that use it, or unmount it with --detach")
        raise SetupError(f"{folder} could not be unmounted ({ended.stderr.strip()})")


def _library() -> Any:
    try:
        import mfusepy
    except ImportError:
        raise SetupError("mounting needs an extra: install it with `pip install 'lockstep-store[mount]'`") from None
    except (OSError, AttributeError) as error:
        raise SetupError(f"mounting needs libfuse ({error}): install your system's package fuse3, or fuse") from error
    return mfusepy
