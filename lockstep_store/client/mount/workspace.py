"""The files that programs of this machine write: opened under their locks, saved when they are closed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.mount.cluster_locks import ClusterLocks
from lockstep_store.client.mount.contents import Contents
from lockstep_store.client.mount.range_locks import RangeLocks
from lockstep_store.client.mount.saver import Saver
from lockstep_store.client.mount.timed_calls import TimedCalls
from lockstep_store.client.mount.tree import FOLDER, Entry, Tree
from lockstep_store.client.mount.unsaved import Unsaved
from lockstep_store.client.mount.working_file import OpenedFile, WorkingFile
from lockstep_store.wire.errors import AlreadyExists, Conflict, LockstepError, NotFound, PreconditionFailed
from lockstep_store.wire.messages.files import FileVersion

log = logging.getLogger("lockstep.mount")

SETTLE_SECONDS = 0.005
"""After a rename was answered: libfuse gives the name to the new file only then."""
ATTEMPTS = 5
"""To open a file that changes all the time."""


class Workspace:
    """The working files of one mount, by path. A lock on one file is taken before the table's."""

    def __init__(
        self,
        api: ApiCalls,
        bucket: str,
        calls: TimedCalls,
        tree: Tree,
        contents: Contents,
        saver: Saver,
        locks: ClusterLocks,
        unsaved: Unsaved,
        wait_seconds: float,
    ) -> None:
        """`wait_seconds`: how long opening and writing wait for a lock that somebody else holds."""
        self._api = api
        self._bucket = bucket
        self._calls = calls
        self._tree = tree
        self._contents = contents
        self._saver = saver
        self._locks = locks
        self._wait_seconds = wait_seconds
        self._unsaved = unsaved
        self._guard = threading.Lock()
        self._files: dict[str, WorkingFile] = {}
        self._arriving: dict[str, threading.Event] = {}

    def find(self, path: str) -> WorkingFile | None:
        """The file, if this machine knows more of it than the cluster does."""
        with self._guard:
            file = self._files.get(path)
        return file if file is not None and file.is_own and not file.is_gone else None

    def new_names(self, folder: str) -> list[str]:
        """The names in a folder that are not in the cluster yet."""
        prefix = f"{folder}/" if folder else ""
        with self._guard:
            own = [path for path, file in self._files.items() if file.base is None and not file.is_gone]
        return [path[len(prefix) :] for path in own if path.startswith(prefix) and "/" not in path[len(prefix) :]]

    def open(self, path: str, *, truncate: bool = False, claim: bool = False, appends: bool = False) -> OpenedFile:
        """Open a file at its current version.

        With `claim`, or if `truncate` changes it, under its lock; else its first change takes that. Truncating an empty
        file does not: scripts open a file so, and only then lock it and wait for others.
        """
        with self._joined(path, appends) as opened:
            file = opened.file
            is_new = file.base is None and file.is_dirty
            if truncate and claim and not is_new:
                known = None if file.is_own else self._tree.lookup(path).file
                claim = bool(known.size if known is not None else file.size)
            if not (is_new or claim or file.is_own):
                self._take_current(file)
            if not is_new and (claim or (truncate and file.size)):
                self._lock(file, self._wait_seconds)
                opened.claim()
            if truncate and file.size:
                file.truncate(0)
            opened.turn = file.turn
            return opened

    def create(self, path: str, mode: int, *, appends: bool = False) -> OpenedFile:
        """Begin a new file. It is in the cluster when it is first saved."""
        with self._joined(path, appends) as opened:
            if opened.file.is_dirty or self._exists(path):
                raise AlreadyExists(f"{path} exists")
            opened.file.begin_new(mode)
            opened.turn = opened.file.turn
            return opened

    def write(self, opened: OpenedFile, data: bytes, offset: int) -> int:
        """Write at `offset`, or at the end if the program appends."""
        with opened.file.guard:
            self._own(opened)
            return opened.file.write(data, None if opened.appends else offset)

    def truncate(self, opened: OpenedFile, size: int) -> None:
        with opened.file.guard:
            self._own(opened)
            opened.file.truncate(size)

    def flush(self, opened: OpenedFile) -> None:
        """A program closes the file: save it, and release the lock unless another program needs it.

        One that is still blank is saved with its last close only: others must not see it empty in between.
        """
        with opened.file.guard:
            if not opened.file.is_blank:
                opened.end_claim()
                self._save(opened.file)

    def sync(self, opened: OpenedFile) -> None:
        """Save what was written so far."""
        with opened.file.guard:
            self._save(opened.file)

    def close(self, opened: OpenedFile) -> None:
        """A program has closed the file. What the last one leaves unsaved is kept on this machine."""
        file = opened.file
        with file.guard:
            opened.end_claim()
            file.users -= 1
            if not file.users:
                self._end(file)
            else:
                self._try(file, self.settle)

    def lock(self, file: WorkingFile, patience_seconds: float | None) -> None:
        """Have the file's lock, its current version, and the present names beside it (a database's journal).

        The caller holds `file.guard`. `patience_seconds`: None is until the program gets a signal. An empty new file is
        saved: others open it to lock it, too.
        """
        self._lock(file, patience_seconds, with_folder=True)

    def settle(self, file: WorkingFile) -> None:
        """Save what was written under the lock, and release it, unless a program needs it."""
        if file.lock is not None and not file.is_needed:
            self._save(file)

    def give_up_lock(self, file: WorkingFile) -> None:
        """Release the lock although what was written under it was not saved: it stays here until the last close."""
        self._try(file, self._locks.release)

    def _end(self, file: WorkingFile) -> None:
        file.claims, file.fcntl_locks, file.flocks = 0, RangeLocks(), RangeLocks()
        self._try(file, self._save)
        kept = file.close()
        if kept is not None:
            log.warning("%s was not saved; what was written is in %s", file.path, kept)
        self._try(file, self._locks.release)
        with self._guard:
            if self._files.get(file.path) is file:
                del self._files[file.path]

    def _try(self, file: WorkingFile, step: Callable[[WorkingFile], None]) -> None:
        """Do what no program waits for."""
        try:
            step(file)
        except LockstepError as error:
            log.warning("%s was not saved: %s", file.path, error)

    def close_all(self) -> None:
        """Save everything that is still open; what cannot be saved is kept."""
        with self._guard:
            files = list(self._files.values())
        for file in files:
            with file.guard:
                self._end(file)

    def restate(self, path: str, entry: Entry, *, at_ns: int | None = None, mode: int | None = None) -> None:
        """Change a file's time or mode."""
        with self._guard:
            file = self._files.get(path)
        if file is not None and file.is_own and not file.is_gone:
            with file.guard:
                if at_ns is not None:
                    file.set_modified(at_ns)
                if mode is not None:
                    file.set_mode(mode)
            return
        if entry.file is not None:
            version = self._saver.restate(entry.file, at_ns=at_ns, mode=mode)
            self._tree.note(path, Entry(version))
            if file is not None and file.base is not None and file.base.digest == version.digest:
                file.rebase(version)

    def remove(self, path: str) -> None:
        """Remove a file. A program that has it open goes on without it."""
        with self._guard:
            file = self._files.get(path)
        lock = None
        if file is not None:
            with file.guard:
                file.is_gone = True
                lock = file.lock
                if file.base is None:
                    self._locks.release(file)
                    return
        self._keep_folder(path)
        try:
            reply = self._calls.run(self._api.delete, self._tree.key(path), bucket=self._bucket, lock=lock)
        except LockstepError:
            if file is not None:
                file.is_gone = False
            raise
        self._tree.note(path, None, reply.cursor)
        if file is not None:
            self._locks.release(file)
        if not reply.existed:
            raise NotFound(f"{path} does not exist")

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in one commit; a file that has the new name is replaced."""
        with self._guard:
            file = self._files.get(old)
        with self._arrival(new):
            self._rename(file, old, new)

    def _rename(self, file: WorkingFile | None, old: str, new: str) -> None:
        if file is None:
            self._move(old, new, {})
            return
        with file.guard:  # to the end: what is written meanwhile must not pass for saved
            if file.asking:
                raise Conflict(f"a program waits for the lock on {old}")
            if file.is_dirty:
                self._tree.note(old, Entry(self._saver.save(file, release=True)))
            self._locks.release(file)
            moved = self._move(old, new, file.base.metadata if file.base is not None else {})
            with self._guard:
                if self._files.get(old) is file:
                    del self._files[old]
                    self._files[new] = file
            file.move(new, self._tree.key(new))
            file.saved(moved)
            if file.is_needed:
                self._try(file, lambda file: self._lock(file, 0.0))

    def wait_for_arrival(self, path: str) -> None:
        """Wait while a file is being renamed to `path`.

        libfuse lets a program look up the file that is replaced, makes it wait for the rename when it opens that, and
        then tells it that there is none.
        """
        with self._guard:
            arrival = self._arriving.get(path)
        if arrival is not None:
            arrival.wait()
            time.sleep(SETTLE_SECONDS)

    @contextmanager
    def _arrival(self, path: str) -> Iterator[None]:
        arrival = threading.Event()
        with self._guard:
            self._arriving[path] = arrival
        try:
            yield
        finally:
            with self._guard:
                self._arriving.pop(path, None)
            arrival.set()

    def _move(self, old: str, new: str, metadata: dict[str, str]) -> FileVersion:
        """Move a file in the cluster. `metadata` is what is known of the source's."""
        with self._guard:
            replaced = self._files.get(new)
        if old.rpartition("/")[0] != new.rpartition("/")[0]:
            self._keep_folder(old)
        lock = replaced.lock if replaced is not None else None
        source, target = self._tree.key(old), self._tree.key(new)
        version = self._calls.run(self._api.move, source, target, bucket=self._bucket, lock=lock).version
        version.metadata = version.metadata or dict(metadata)
        self._tree.note(old, None, version.cursor)
        if version.metadata:
            self._tree.note(new, Entry(version))
        else:
            self._tree.doubt(new)
        if replaced is not None:
            replaced.is_gone = True
            self._locks.release(replaced)
        return version

    def rename_folder(self, old: str, new: str) -> None:
        """Give a folder another name. Conflict, naming one of them, if files of a large folder had to stay."""
        source, target = self._tree.key(old), self._tree.key(new)
        change = self._calls.save(self._api.move_folder, source, target, bucket=self._bucket)
        if change.failed:
            first = change.problems[0] if change.problems else None
            reason = f", such as {first.path}: {first.problem.detail}" if first is not None else ""
            raise Conflict(f"{change.failed} of {change.total} files stay in {old}{reason}")

    def is_busy(self, folder: str) -> bool:
        """Whether a file in the folder is open for writing."""
        with self._guard:
            return any(path.startswith(f"{folder}/") and not file.is_gone for path, file in self._files.items())

    @contextmanager
    def _joined(self, path: str, appends: bool) -> Iterator[OpenedFile]:
        """The working file, opened by one more program unless the block fails."""
        while True:
            with self._guard:
                file = self._files.get(path)
                if file is None or file.is_gone:
                    file = self._files[path] = WorkingFile(self._unsaved, self._bucket, path, self._tree.key(path))
            with file.guard:
                with self._guard:
                    if self._files.get(path) is not file:
                        continue  # its last user has just closed it
                file.users += 1
                opened = OpenedFile(file, appends)
                try:
                    yield opened
                except BaseException:
                    self.close(opened)
                    raise
                return

    def _exists(self, path: str) -> bool:
        try:
            self._tree.lookup(path)
        except NotFound:
            return False
        return True

    def _own(self, opened: OpenedFile) -> None:
        """Have the right to write. PreconditionFailed if somebody else has changed what the program has opened."""
        file = opened.file
        if not file.is_gone and file.base is not None:
            self._lock(file, self._wait_seconds)
            if not (file.fcntl_locks or file.flocks):
                opened.claim()
        if opened.appends:
            opened.turn = file.turn
        if file.turn != opened.turn:
            raise PreconditionFailed(f"{file.path} was changed by others while it was open: open it again")

    def _lock(self, file: WorkingFile, patience_seconds: float | None, *, with_folder: bool = False) -> None:
        """Have the cluster's lock, and the version that is current then."""
        if not self._locks.take(file, patience_seconds):
            return
        try:
            if with_folder:
                self._tree.forget_folder(file.path.rpartition("/")[0])
            else:
                self._tree.doubt(file.path)
            if file.base is not None or self._exists(file.path):
                self._take_current(file)
            elif with_folder and file.is_blank:
                self._tree.note(file.path, Entry(self._saver.save(file, release=False)))
        except BaseException:
            self._locks.release(file)
            raise

    def _take_current(self, file: WorkingFile) -> None:
        """Take over the file's current version. PreconditionFailed if others created what is new here, with content."""
        for _ in range(ATTEMPTS):
            current = self._tree.lookup(file.path).file
            if current is None:
                raise NotFound(f"{file.path} is a folder")
            if file.base is None and file.is_dirty and not file.is_blank:
                raise PreconditionFailed(f"{file.path} was created by others meanwhile")
            if file.lock is not None and file.base is not None and file.base.digest == current.digest:
                file.rebase(current)
                return
            pinned = self._contents.open(file.key, current)
            if pinned.file.digest == current.digest:
                if file.base is None or file.base.digest != current.digest:
                    file.begin_with(current, pinned)
                return
            self._tree.doubt(file.path)
        raise PreconditionFailed(f"{file.path} changes all the time: try again")

    def _save(self, file: WorkingFile) -> None:
        """Save what was written, and release the lock unless a program needs it."""
        if file.is_dirty and not file.is_gone:
            self._tree.note(file.path, Entry(self._saver.save(file, release=not file.is_needed)))
        elif not file.is_needed:
            self._locks.release(file)

    def _keep_folder(self, path: str) -> None:
        """Let a folder stay that loses its last name: programs that empty a folder remove it themselves."""
        folder = path.rpartition("/")[0]
        if folder and self._tree.is_alone(path):
            self._calls.run(self._api.create_folder, self._tree.key(folder), bucket=self._bucket, exist_ok=True)
            self._tree.note(folder, FOLDER)
