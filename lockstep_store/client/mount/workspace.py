"""The files that programs of this machine write: opened under their locks, saved when they are closed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.mount.contents import Contents
from lockstep_store.client.mount.saver import Saver
from lockstep_store.client.mount.timed_calls import TimedCalls
from lockstep_store.client.mount.tree import FOLDER, Entry, Tree
from lockstep_store.client.mount.unsaved import Unsaved
from lockstep_store.client.mount.working_file import WorkingFile
from lockstep_store.wire.errors import AlreadyExists, Conflict, LockstepError, NotFound, PreconditionFailed
from lockstep_store.wire.messages.files import FileVersion

log = logging.getLogger("lockstep.mount")

SETTLE_SECONDS = 0.005
"""After a rename was answered: libfuse gives the name to the new file only then."""


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
        unsaved: Unsaved,
    ) -> None:
        self._api = api
        self._bucket = bucket
        self._calls = calls
        self._tree = tree
        self._contents = contents
        self._saver = saver
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

    def open(self, path: str, *, truncate: bool) -> WorkingFile:
        """Open a file for writing, under its lock, at its current version."""
        with self._joined(path) as file:
            if file.base is None and file.is_dirty:  # new here
                pass
            elif file.lock is None:
                self._lock(file)
            if truncate:
                file.truncate(0)
            return file

    def create(self, path: str, mode: int) -> WorkingFile:
        """Begin a new file. It is in the cluster when it is first saved."""
        with self._joined(path) as file:
            if file.is_dirty or self._exists(path):
                raise AlreadyExists(f"{path} exists")
            file.begin_new(mode)
            return file

    def write(self, file: WorkingFile, data: bytes, offset: int | None, turn: int) -> int:
        """Write for a program that opened the file at `turn`; `offset` None is the end."""
        with file.guard:
            self._own(file, turn)
            return file.write(data, offset)

    def truncate(self, file: WorkingFile, size: int, turn: int) -> None:
        """Truncate for a program that opened the file at `turn`."""
        with file.guard:
            self._own(file, turn)
            file.truncate(size)

    def flush(self, file: WorkingFile) -> None:
        """A program closes the file: save it, and release the lock unless another program writes it, too.

        One that is still blank is saved with its last close only: others must not see it empty in between.
        """
        with file.guard:
            if not file.is_blank:
                self._save(file, release=file.writers <= 1)

    def sync(self, file: WorkingFile) -> None:
        """Save what was written so far."""
        with file.guard:
            self._save(file, release=False)

    def close(self, file: WorkingFile) -> None:
        """A writer is gone. What the last one leaves unsaved is kept on this machine."""
        with file.guard:
            file.writers -= 1
            if file.writers:
                return
            try:
                self._save(file, release=True)
            except LockstepError as error:
                log.warning("%s was not saved: %s", file.path, error)
            kept = file.close()
            if kept is not None:
                log.warning("%s was not saved; what was written is in %s", file.path, kept)
            try:
                self._saver.release_lock(file)
            except LockstepError as error:
                log.warning("the lock on %s was not released: %s", file.path, error)
            with self._guard:
                if self._files.get(file.path) is file:
                    del self._files[file.path]

    def close_all(self) -> None:
        """Save everything that is still open; what cannot be saved is kept."""
        with self._guard:
            files = list(self._files.values())
        for file in files:
            with file.guard:
                file.writers = 1
            self.close(file)

    def restate(self, path: str, entry: Entry, *, at_ns: int | None = None, mode: int | None = None) -> None:
        """Change a file's time or mode."""
        file = self.find(path)
        if file is not None:
            with file.guard:
                if at_ns is not None:
                    file.set_modified(at_ns)
                if mode is not None:
                    file.set_mode(mode)
            return
        if entry.file is not None:
            self._tree.note(path, Entry(self._saver.restate(entry.file, at_ns=at_ns, mode=mode)))

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
            self._saver.release_lock(file)
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
            self._save(file, release=True)
            self._saver.release_lock(file)
            moved = self._move(old, new, file.base.metadata if file.base is not None else {})
            with self._guard:
                if self._files.get(old) is file:
                    del self._files[old]
                    self._files[new] = file
            file.move(new, self._tree.key(new))
            file.saved(moved)

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
            self._saver.release_lock(replaced)
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
    def _joined(self, path: str) -> Iterator[WorkingFile]:
        """The working file with one more writer, unless the block fails."""
        while True:
            with self._guard:
                file = self._files.get(path)
                if file is None or file.is_gone:
                    file = self._files[path] = WorkingFile(self._unsaved, self._bucket, path, self._tree.key(path))
            with file.guard:
                with self._guard:
                    if self._files.get(path) is not file:
                        continue  # its last writer has just closed it
                file.writers += 1
                try:
                    yield file
                except BaseException:
                    self.close(file)
                    raise
                return

    def _exists(self, path: str) -> bool:
        try:
            self._tree.lookup(path)
        except NotFound:
            return False
        return True

    def _own(self, file: WorkingFile, turn: int) -> None:
        """Have the right to write: a program may go on after a close of the same file saved it and ended the lock.

        PreconditionFailed if somebody else has changed it since that program opened it.
        """
        if not file.is_gone and file.lock is None and file.base is not None:
            self._lock(file)
        if file.turn != turn:
            raise PreconditionFailed(f"{file.path} was changed by others while it was open: open it again")

    def _lock(self, file: WorkingFile) -> None:
        """Take the lock, and take over the version that is current then."""
        self._saver.take_lock(file)
        try:
            self._tree.doubt(file.path)
            current = self._tree.lookup(file.path).file
            if current is None:
                raise NotFound(f"{file.path} is a folder")
            if file.base is not None and file.base.digest == current.digest:
                file.base = current
                return
            pinned = self._contents.open(file.key, current)
            if pinned.file.digest != current.digest:
                raise PreconditionFailed(f"{file.path} changes without its lock: try again")
            file.begin_with(current, pinned)
        except BaseException:
            self._saver.release_lock(file)
            raise

    def _save(self, file: WorkingFile, *, release: bool) -> None:
        if file.is_dirty and not file.is_gone:
            self._tree.note(file.path, Entry(self._saver.save(file, release=release)))
        elif release:
            self._saver.release_lock(file)

    def _keep_folder(self, path: str) -> None:
        """Let a folder stay that loses its last name: programs that empty a folder remove it themselves."""
        folder = path.rpartition("/")[0]
        if folder and self._tree.is_alone(path):
            self._calls.run(self._api.create_folder, self._tree.key(folder), bucket=self._bucket, exist_ok=True)
            self._tree.note(folder, FOLDER)
