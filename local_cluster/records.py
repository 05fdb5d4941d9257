"""The files that describe a cluster: its settings, its running programs, `cluster.json` and the run lock.

`cluster.json` is for people's tools and appears once every program is healthy. The records in `run/`, one for each
program, are authoritative. Each is written as soon as its program has a process id, so after a start that was cut short
at any moment, the next one can clean up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from local_cluster.failures import AlreadyRunning, UnsuitableFolder
from local_cluster.plan import COMMAND, ClusterSettings, Folder
from local_cluster.processes import is_running
from lockstep_store.wire.cluster_file import ClusterFile, ProgramEntry


class RunRecord(ProgramEntry):
    """A program that should run: its latest process with its mark, and how to start it again. `pid` is 0 before the
    first one."""

    mark: str = ""
    command: list[str] = []
    ended: str = ""
    """Why it does not run, as a clause; empty while it does."""
    reason: str = ""
    """What it logged last, if it gave up by itself."""
    failures: int = 0
    """How often in a row it ended soon after its start."""
    starts: int = 0
    """How often the command that keeps it running has tried to start it."""
    next_start: float = 0.0
    """When it is started again, by the system's monotonic clock; 0 if only a person starts it again."""

    @property
    def ending(self) -> str:
        """Why it does not run, how often in a row, and its own reason, as a clause."""
        times = f", {self.failures} times in a row" if self.failures > 1 else ""
        return f"{self.ended or 'ended'}{times}{f' ({self.reason})' if self.reason else ''}"

    @property
    def running(self) -> bool:
        return is_running(self.pid, self.mark)

    def entry(self) -> ProgramEntry:
        return ProgramEntry(self.program, self.id, self.url, self.pid, self.data_dir, self.log_file)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` atomically: a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # a failed write names no file, and others the temporary one
        raise


def _pretty(value: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def load_settings(folder: Folder) -> ClusterSettings | None:
    """Return the settings of the last start in `folder`; None when there was none."""
    try:
        content = folder.settings_file.read_bytes()
        settings = msgspec.json.decode(content, type=ClusterSettings)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise UnsuitableFolder(
            f"cannot read {folder.settings_file} ({error}): remove that file and repeat --file-servers, "
            "--proxies and --copies as in the last start"
        ) from error
    if settings.format != 1:
        raise UnsuitableFolder(
            f"{folder.data} was written by a newer version (settings format {settings.format}): update Lockstep"
        )
    return settings


def save_settings(folder: Folder, settings: ClusterSettings) -> None:
    write_atomically(folder.settings_file, _pretty(settings))


def save_record(folder: Folder, record: RunRecord) -> None:
    folder.run_dir.mkdir(exist_ok=True)
    write_atomically(folder.run_dir / f"{record.program}-{record.id}.json", _pretty(record))


def load_records(folder: Folder) -> list[RunRecord]:
    """Return every program that should run: directory, file servers, proxies, each by number."""
    records = []
    for file in folder.run_dir.glob("*.json"):
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):  # stopped meanwhile, or not our file
            records.append(msgspec.json.decode(file.read_bytes(), type=RunRecord))
    return sorted(records, key=_reading_order)


def _reading_order(record: RunRecord) -> tuple[int, int, str]:
    programs = ("directory_server", "file_server", "client_proxy")
    return programs.index(record.program), int(record.id) if record.id.isdigit() else 0, record.id


def forget_records(folder: Folder) -> None:
    """Remove `cluster.json`, then the records, so that no tool finds a program without a record."""
    folder.cluster_file.unlink(missing_ok=True)
    for file in folder.run_dir.glob("*.json"):
        file.unlink(missing_ok=True)


def forget_record(folder: Folder, record: RunRecord) -> None:
    """Forget a program that does not belong to the cluster any more."""
    (folder.run_dir / f"{record.program}-{record.id}.json").unlink(missing_ok=True)


def save_cluster_file(folder: Folder, records: Sequence[RunRecord]) -> None:
    """Write `cluster.json` with the programs that have a process."""
    entries = [record.entry() for record in records if record.pid]
    content = ClusterFile(str(folder.ca_file), str(folder.credentials_file), entries)
    write_atomically(folder.cluster_file, _pretty(content))


class RunLock:
    """Held by the command that starts, resets or watches a cluster. The system releases it when the command dies."""

    def __init__(self, folder: Folder) -> None:
        self._path = folder.lock_file
        self._data = folder.data

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; raises AlreadyRunning at once when another command holds it."""
        descriptor = self._open()
        try:
            if not _try_lock(descriptor):
                raise AlreadyRunning(
                    f"another {COMMAND} (process {self.holder() or 'unknown'}) is running the cluster in "
                    f"{self._data}: stop it with --stop, open a menu with --menu, or choose another --data"
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def holder(self) -> int:
        """Return the process id of the command that holds the lock; 0 when it is free."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            deadline = time.monotonic() + 1.0
            while True:  # a new holder writes its id a moment after it has locked the file
                if not _is_locked(descriptor):
                    return 0
                text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                if text.isdigit() or time.monotonic() > deadline:
                    return int(text) if text.isdigit() else 0
                time.sleep(0.01)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnsuitableFolder(
                f"cannot write {self._path} ({error.strerror}): choose another folder with --data"
            ) from error


def _try_lock(descriptor: int) -> bool:
    """Take the lock, with retries for a moment, because `holder` also locks the file briefly."""
    deadline = time.monotonic() + 0.2
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
