"""What the kernel asks of a mounted folder, answered from the tree and the contents.

Every method raises OSError with the number that the program shall see. The names and arguments are those of
`mfusepy.Operations`.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, TypeVar

from lockstep_store.client.mount.contents import Contents, PinnedFile
from lockstep_store.client.mount.errnos import QUIET, number_of
from lockstep_store.client.mount.space import Space
from lockstep_store.client.mount.tree import FOLDER, Entry, Tree, modified_ns
from lockstep_store.wire.errors import LockstepError

log = logging.getLogger("lockstep.mount")

BLOCK_BYTES = 128 * 1024
"""What programs should read at a time: the most that the kernel asks for at once."""
SECTOR_BYTES = 512
NAME_BYTES = 255
ROOT_INODE = 1

P = ParamSpec("P")
T = TypeVar("T")


def _answering(
    method: Callable[Concatenate[ReadOperations, str, P], T],
) -> Callable[Concatenate[ReadOperations, str, P], T]:
    """Turn the cluster's errors into numbers, and explain in the log those that a number does not."""

    @functools.wraps(method)
    def answer(self: ReadOperations, path: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, path, *args, **kwargs)
        except LockstepError as error:
            number = number_of(error)
            if number not in QUIET and not error.facts.get("repeated"):
                log.warning("%s %s: %s", method.__name__, path, error)
            raise OSError(number, os.strerror(number)) from error

    return answer


class ReadOperations:
    """A mounted folder that can only be read."""

    use_ns = True
    """Times are whole nanoseconds."""

    def __init__(self, tree: Tree, contents: Contents, space: Space) -> None:
        self._tree = tree
        self._contents = contents
        self._space = space
        self._mounted_ns = time.time_ns()
        self._owner = {"st_uid": os.getuid(), "st_gid": os.getgid()}
        self._guard = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, PinnedFile] = {}

    @_answering
    def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
        """The attributes of a file or folder."""
        return self._attributes(path, self._tree.lookup(_relative(path)))

    @_answering
    def readdir(self, path: str, handle: int | None = None) -> Iterator[tuple[str, dict[str, int], int]]:
        """The names in a folder."""
        found = self._tree.list(_relative(path))
        own, below = _kind(path, FOLDER), path.rstrip("/")
        named = ((name, _kind(f"{below}/{name}", entry), 0) for name, entry in found)
        return iter([(".", own, 0), ("..", own, 0), *named])

    @_answering
    def open(self, path: str, flags: int) -> int:
        """Open a file at its current version; returns the handle."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        relative = _relative(path)
        entry = self._tree.lookup(relative)
        if entry.file is None:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        opened = self._contents.open(self._tree.key(relative), entry.file)
        if opened.file.version != entry.file.version:
            self._tree.doubt(relative)
        with self._guard:
            handle = next(self._numbers)
            self._open[handle] = opened
        return handle

    @_answering
    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        with self._guard:
            opened = self._open[handle]
        return opened.read(offset, size)

    def release(self, path: str, handle: int) -> int:
        """Forget an open file."""
        with self._guard:
            self._open.pop(handle, None)
        return 0

    @_answering
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

    def _attributes(self, path: str, entry: Entry) -> dict[str, int]:
        file = entry.file
        if file is None:
            times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), self._mounted_ns)
            return {**self._owner, **times, **_kind(path, entry), "st_mode": stat.S_IFDIR | 0o555, "st_nlink": 2}
        return {
            **self._owner,
            **_kind(path, entry),
            "st_mode": stat.S_IFREG | (0o444 if file.readable else 0),
            "st_nlink": 1,
            "st_size": file.size,
            "st_blksize": BLOCK_BYTES,
            "st_blocks": -(-file.size // SECTOR_BYTES),
            "st_atime": modified_ns(file),
            "st_mtime": modified_ns(file),
            "st_ctime": int(file.created_at * 1e9),
        }


def _relative(path: str) -> str:
    """The path as the tree has it. No file of the cluster has a name that is not UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
    return path.strip("/")


def _kind(path: str, entry: Entry) -> dict[str, int]:
    """The type, and an inode number that stays the same for a path: tools such as Git compare it."""
    own = hashlib.blake2b(path.encode("utf-8"), digest_size=8).digest()
    number = ROOT_INODE if path == "/" else int.from_bytes(own, "big") >> 1
    return {"st_mode": stat.S_IFDIR if entry.is_folder else stat.S_IFREG, "st_ino": number}
