"""What the kernel asks of a mounted folder that can be written."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Any

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.mount.attributes import PLAIN_MODE, kept_mode, mode_of
from lockstep_store.client.mount.contents import Contents, PinnedFile
from lockstep_store.client.mount.errnos import refusal
from lockstep_store.client.mount.operations import Listed, Opened, ReadOperations, answering, listed, relative_path
from lockstep_store.client.mount.program_locks import ProgramLocks
from lockstep_store.client.mount.range_locks import END, RangeLock
from lockstep_store.client.mount.space import Space
from lockstep_store.client.mount.timed_calls import TimedCalls
from lockstep_store.client.mount.tree import FOLDER, Entry, Tree, can_show
from lockstep_store.client.mount.working_file import OpenedFile, SpoolReader, WorkingFile
from lockstep_store.client.mount.workspace import Workspace
from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.names import check_path


class WriteOperations(ReadOperations):
    """A mounted folder for reading and writing."""

    file_bits = 0o777
    flag_nullpath_ok = True
    """With libfuse 2: files that were removed while they are open are asked for without a path."""

    def __init__(
        self,
        tree: Tree,
        contents: Contents,
        space: Space,
        workspace: Workspace,
        locks: ProgramLocks,
        api: ApiCalls,
        bucket: str,
        calls: TimedCalls,
    ) -> None:
        super().__init__(tree, contents, space)
        self._workspace = workspace
        self._locks = locks
        self._api = api
        self._bucket = bucket
        self._calls = calls
        self._before_lock: dict[int, Opened] = {}
        """What a handle had open before its first lock: another thread may still read it."""

    @answering
    def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
        opened = self._handle(handle) if handle is not None else None
        file: WorkingFile | None = opened.file if isinstance(opened, OpenedFile) else None
        if file is None and path:
            self._workspace.wait_for_arrival(relative_path(path))
            file = self._workspace.find(relative_path(path))
        if file is None and not path and isinstance(opened, PinnedFile):  # removed, and still open
            return self._file_attributes("", opened.file.size, self._mounted_ns, PLAIN_MODE)
        if file is None:
            return super().getattr(path, handle)
        return self._file_attributes(f"/{file.path}", file.size, file.modified_ns, file.mode)

    @answering
    def readdir(self, path: str, handle: int | None = None) -> Iterator[Listed]:
        saved = list(super().readdir(path, handle))
        names = {name for name, _, _ in saved}
        new = [name for name in self._workspace.new_names(relative_path(path)) if name not in names]
        return iter([*saved, *(listed(path, name, is_folder=False) for name in new)])

    @answering
    def open(self, path: str, flags: int) -> int:
        relative = relative_path(path)
        if not flags & (os.O_WRONLY | os.O_RDWR):
            own = self._workspace.find(relative)
            reader = own.reader() if own is not None and own.is_dirty else None
            return super().open(path, flags) if reader is None else self._add(reader)
        if self._workspace.find(relative) is None and self._tree.lookup(relative).is_folder:
            raise refusal(errno.EISDIR)
        appends, truncates = bool(flags & os.O_APPEND), bool(flags & os.O_TRUNC)
        claims = bool(flags & os.O_WRONLY) and not appends
        return self._add(self._workspace.open(relative, truncate=truncates, claim=claims, appends=appends))

    @answering
    def create(self, path: str, mode: int, flags: int) -> int:
        return self._add(self._workspace.create(self._new_path(path), mode, appends=bool(flags & os.O_APPEND)))

    @answering
    def write(self, path: str, data: bytes, offset: int, handle: int) -> int:
        opened = self._handle(handle)
        assert isinstance(opened, OpenedFile)
        return self._workspace.write(opened, data, offset)

    @answering
    def truncate(self, path: str, length: int, handle: int | None = None) -> int:
        opened = self._handle(handle) if handle is not None else None
        if isinstance(opened, OpenedFile):
            self._workspace.truncate(opened, length)
            return 0
        opened = self._workspace.open(relative_path(path), claim=True)
        try:
            self._workspace.truncate(opened, length)
            self._workspace.flush(opened)
        finally:
            self._workspace.close(opened)
        return 0

    @answering
    def flush(self, path: str, handle: int) -> int:
        opened = self._handle(handle)
        if isinstance(opened, OpenedFile):
            self._workspace.flush(opened)
        return 0

    @answering
    def fsync(self, path: str, data_only: int, handle: int) -> int:
        opened = self._handle(handle)
        if isinstance(opened, OpenedFile):
            self._workspace.sync(opened)
        return 0

    @answering
    def release(self, path: str, handle: int) -> int:
        opened = self._drop(handle)
        for one in (opened, self._before_lock.pop(handle, None)):
            if isinstance(one, SpoolReader):
                one.close()
        if isinstance(opened, OpenedFile):
            self._locks.forget(opened, handle)
            self._workspace.close(opened)
        return 0

    @answering
    def unlink(self, path: str) -> int:
        self._workspace.remove(relative_path(path))
        return 0

    @answering
    def mkdir(self, path: str, mode: int) -> int:
        relative = self._new_path(path)
        with self._tree.new_folder(relative):
            self._calls.run(self._api.create_folder, self._tree.key(relative), bucket=self._bucket)
        return 0

    @answering
    def rmdir(self, path: str) -> int:
        relative = relative_path(path)
        if self._tree.list(relative) or self._workspace.is_busy(relative):
            raise refusal(errno.ENOTEMPTY)
        # Only the folder's own object: a file that somebody has saved in it meanwhile stays.
        removed = self._calls.run(self._api.delete, f"{self._tree.key(relative)}/", bucket=self._bucket)
        self._tree.note(relative, None, removed.cursor)
        return 0

    @answering
    def rename(self, old: str, new: str) -> int:
        source, target = relative_path(old), self._new_path(new)
        replaced = self._entry(target)
        is_folder = self._workspace.find(source) is None and self._tree.lookup(source).is_folder
        if replaced is not None and replaced.is_folder != is_folder:
            raise refusal(errno.ENOTDIR if is_folder else errno.EISDIR)
        if not is_folder:
            self._workspace.rename(source, target)
            return 0
        if self._workspace.is_busy(source):
            raise refusal(errno.EBUSY)
        if replaced is not None:
            self.rmdir(new)
        try:
            self._workspace.rename_folder(source, target)
        finally:
            self._tree.forget()
        return 0

    @answering
    def chmod(self, path: str, mode: int) -> int:
        """Only whether a file is executable is kept."""
        relative = relative_path(path)
        file, entry = self._workspace.find(relative), self._entry(relative)
        if file is not None or (entry is not None and entry.file and kept_mode(mode) != mode_of(entry.file)):
            self._workspace.restate(relative, entry or FOLDER, mode=kept_mode(mode))
        return 0

    @answering
    def chown(self, path: str, uid: int, gid: int) -> int:
        """Files belong to who mounted the folder."""
        if uid not in (-1, self._owner["st_uid"]) or gid not in (-1, self._owner["st_gid"]):
            raise refusal(errno.EPERM)
        return 0

    @answering
    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        """Only the time of modification is kept."""
        relative = relative_path(path)
        at_ns = time.time_ns() if times is None else times[1]
        self._workspace.restate(relative, self._entry(relative) or FOLDER, at_ns=at_ns)
        return 0

    @answering
    def flock(self, path: str, handle: int, operation: int) -> int:
        """A lock of an open file: of every program that has inherited it."""
        if operation & fcntl.LOCK_UN:
            opened = self._handle(handle)
            if isinstance(opened, OpenedFile):
                self._locks.release(opened.file, opened.file.flocks, handle)
            return 0
        opened = self._lockable(path, handle)
        wanted = RangeLock(handle, 0, END, bool(operation & fcntl.LOCK_EX))
        self._locks.acquire(opened, opened.file.flocks, wanted, waits=not operation & fcntl.LOCK_NB)
        return 0

    @answering
    def lock(self, path: str, handle: int, owner: int, command: int, wanted: Any) -> int:
        """A program's lock on a range. `wanted`: a `struct flock`, in which F_GETLK is answered."""
        start, end = wanted.l_start, wanted.l_start + wanted.l_len if wanted.l_len else END
        if wanted.l_type == fcntl.F_UNLCK:
            # Closing any of its descriptors ends a program's locks on a file, also one that was never locked itself.
            closed = self._handle(handle)
            file = closed.file if isinstance(closed, OpenedFile) else self._workspace.find(relative_path(path))
            if file is not None:
                self._locks.release(file, file.fcntl_locks, owner, start, end)
            return 0
        opened = self._lockable(path, handle)
        lock = RangeLock(owner, start, end, wanted.l_type == fcntl.F_WRLCK, wanted.l_pid)
        if command != fcntl.F_GETLK:
            self._locks.acquire(opened, opened.file.fcntl_locks, lock, waits=command == fcntl.F_SETLKW)
            return 0
        found = self._locks.conflict(opened.file, lock)
        wanted.l_type = fcntl.F_UNLCK
        if found is not None:
            wanted.l_type = fcntl.F_WRLCK if found.is_exclusive else fcntl.F_RDLCK
            wanted.l_start, wanted.l_len = found.start, 0 if found.end == END else found.end - found.start
            wanted.l_pid = found.process
        return 0

    def destroy(self, path: str) -> None:
        """The folder was unmounted."""
        self._workspace.close_all()

    def _lockable(self, path: str, handle: int) -> OpenedFile:
        """The open file as one that can be locked: a program that only reads sees the current version from then on."""
        opened = self._handle(handle)
        if isinstance(opened, OpenedFile):
            return opened
        if not path:
            raise refusal(errno.ESTALE)
        joined = self._workspace.open(relative_path(path))
        with self._guard:
            current = self._open[handle]
            if current is opened:
                self._open[handle] = joined
                self._before_lock[handle] = opened
                return joined
        self._workspace.close(joined)  # another thread of the program was faster
        assert isinstance(current, OpenedFile)
        return current

    def _new_path(self, path: str) -> str:
        """The relative path for a new name. Refused is one that the folder could not show, or the cluster not store."""
        relative = relative_path(path)
        if not can_show(relative.rpartition("/")[2]):
            raise refusal(errno.ENAMETOOLONG)
        check_path(self._tree.key(relative))
        return relative

    def _entry(self, path: str) -> Entry | None:
        try:
            return self._tree.lookup(path)
        except NotFound:
            return None
