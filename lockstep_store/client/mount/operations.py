"""What the kernel asks of a mounted folder, answered from the tree and the contents.

Every method raises OSError with the number that the program shall see. The names and arguments are those of
`mfusepy.Operations`.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import itertools
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from lockstep_store.client.mount.attributes import mode_of, modified_ns
from lockstep_store.client.mount.contents import Contents, PinnedFile
from lockstep_store.client.mount.errnos import QUIET, number_of, refusal
from lockstep_store.client.mount.space import Space
from lockstep_store.client.mount.tree import Tree
from lockstep_store.client.mount.working_file import OpenedFile, SpoolReader
from lockstep_store.wire.errors import LockstepError

log = logging.getLogger("lockstep.mount")

BLOCK_BYTES = 128 * 1024
"""What programs should read at a time: the most that the kernel asks for at once."""
SECTOR_BYTES = 512
NAME_BYTES = 255
ROOT_INODE = 1

Listed = tuple[str, dict[str, int], int]
P = ParamSpec("P")
T = TypeVar("T")
Self = TypeVar("Self")


def answering(
    method: Callable[Concatenate[Self, str, P], T],
) -> Callable[Concatenate[Self, str, P], T]:
    """Turn the cluster's errors into numbers, and explain in the log those that a number does not."""

    @functools.wraps(method)
    def answer(self: Self, path: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, path, *args, **kwargs)
        except LockstepError as error:
            number = number_of(error)
            if number not in QUIET and not error.facts.get("repeated"):
                log.warning("%s %s: %s", method.__name__, path, error)
            raise refusal(number) from error

    return answer


Opened = PinnedFile | SpoolReader | OpenedFile
"""What one program has opened."""


class ReadOperations:
    """A mounted folder that can only be read."""

    use_ns = True
    """Times are whole nanoseconds."""
    file_bits = 0o555
    """Which permissions files and folders can have."""

    def __init__(self, tree: Tree, contents: Contents, space: Space) -> None:
        self._tree = tree
        self._contents = contents
        self._space = space
        self._mounted_ns = time.time_ns()
        self._owner = {"st_uid": os.getuid(), "st_gid": os.getgid()}
        self._guard = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, Opened] = {}

    @answering
    def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
        """The attributes of a file or folder."""
        file = self._tree.lookup(relative_path(path)).file
        if file is not None:
            mode = mode_of(file) if file.readable else 0
            return self._file_attributes(path, file.size, modified_ns(file), mode)
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), self._mounted_ns)
        own = {"st_mode": stat.S_IFDIR | (0o755 & self.file_bits), "st_ino": inode_of(path), "st_nlink": 2}
        return {**self._owner, **times, **own}

    @answering
    def access(self, path: str, wanted: int) -> int:
        """Whether the permissions that `getattr` shows have all that is wanted (`R_OK`, `W_OK`, `X_OK`)."""
        if wanted << 6 & ~self.getattr(path)["st_mode"]:
            raise refusal(errno.EACCES)
        return 0

    @answering
    def readdir(self, path: str, handle: int | None = None) -> Iterator[Listed]:
        """The names in a folder."""
        found = self._tree.list(relative_path(path))
        named = (listed(path, name, is_folder=entry.is_folder) for name, entry in found)
        return iter([*(listed(path, name, is_folder=True) for name in (".", "..")), *named])

    @answering
    def open(self, path: str, flags: int) -> int:
        """Open a file at its current version; returns the handle."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise refusal(errno.EROFS)
        relative = relative_path(path)
        known = self._tree.lookup(relative).file
        if known is None:
            raise refusal(errno.EISDIR)
        opened = self._contents.open(self._tree.key(relative), known)
        if opened.file.version != known.version:
            self._tree.doubt(relative)
        return self._add(opened)

    @answering
    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        return self._handle(handle).read(offset, size)

    def release(self, path: str, handle: int) -> int:
        """Forget an open file."""
        self._drop(handle)
        return 0

    @answering
    def flock(self, path: str, handle: int, operation: int) -> int:
        """Refused: granted by the kernel alone, a lock would not hold for other machines."""
        if operation & fcntl.LOCK_UN:
            return 0
        raise refusal(errno.ENOLCK)

    @answering
    def lock(self, path: str, handle: int, owner: int, command: int, wanted: Any) -> int:
        """Refused, as `flock` is."""
        if wanted.l_type == fcntl.F_UNLCK:
            return 0
        raise refusal(errno.ENOLCK)

    @answering
    def statfs(self, path: str) -> dict[str, int]:
        """The space that quotas and the file servers' disks leave."""
        total, free = self._space.look()
        return {
            "f_bsize": BLOCK_BYTES,
            "f_frsize": BLOCK_BYTES,
            "f_blocks": total // BLOCK_BYTES,
            "f_bfree": free // BLOCK_BYTES,
            "f_bavail": free // BLOCK_BYTES,
            "f_namemax": NAME_BYTES,
        }

    def _add(self, opened: Opened) -> int:
        with self._guard:
            handle = next(self._numbers)
            self._open[handle] = opened
        return handle

    def _handle(self, handle: int) -> Opened:
        with self._guard:
            return self._open[handle]

    def _drop(self, handle: int) -> Opened | None:
        with self._guard:
            return self._open.pop(handle, None)

    def _file_attributes(self, path: str, size: int, at_ns: int, mode: int) -> dict[str, int]:
        """A time of change of its own would not survive the save of a file: tools such as Git compare it."""
        return {
            **self._owner,
            **dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), at_ns),
            "st_mode": stat.S_IFREG | (mode & self.file_bits),
            "st_ino": inode_of(path),
            "st_nlink": 1,
            "st_size": size,
            "st_blksize": BLOCK_BYTES,
            "st_blocks": -(-size // SECTOR_BYTES),
        }


def relative_path(path: str) -> str:
    """The path as the tree has it. No file of the cluster has a name that is not UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise refusal(errno.ENOENT) from None
    return path.strip("/")


def inode_of(path: str) -> int:
    """A number that stays the same for a path: tools such as Git compare it."""
    own = hashlib.blake2b(path.encode("utf-8"), digest_size=8).digest()
    return ROOT_INODE if path == "/" else int.from_bytes(own, "big") >> 1


def listed(folder: str, name: str, *, is_folder: bool) -> Listed:
    """One name of a folder, as the kernel takes it."""
    path = folder if name in (".", "..") else f"{folder.rstrip('/')}/{name}"
    return name, {"st_mode": stat.S_IFDIR if is_folder else stat.S_IFREG, "st_ino": inode_of(path)}, 0
