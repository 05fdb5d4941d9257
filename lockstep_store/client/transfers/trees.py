"""Transfers folders, several files in parallel. Running it again resumes.

A file with equal content at its target is skipped, so the same command resumes an interrupted run. A file that fails
does not stop the others; the report names it. Uploads do not follow links, and downloads write nothing outside the
target folder, whatever names the cluster sends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lockstep_store.client.api.answers import ClientReceipt, RemoteFile, WriteOptions, label
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.local_storage import LocalFileError, LocalStorage, NameRefused, walk_files
from lockstep_store.client.transfers.download import download
from lockstep_store.client.transfers.interrupted_uploads import InterruptedUploads
from lockstep_store.client.transfers.local_chunks import digest_file
from lockstep_store.client.transfers.upload import upload
from lockstep_store.wire.errors import BadName, LockstepError
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.names import check_path

WORKERS = 4
QUEUED = 64


class TreeProgress(Protocol):
    """A progress display; called from several threads."""

    def found(self, files: int, size: int) -> None:
        """More files and bytes to transfer."""

    def advance(self, count: int) -> None:
        """More bytes transferred."""

    def finished(self, name: str) -> None:
        """A file succeeded or failed."""


class Silent:
    """A progress display that shows nothing."""

    def found(self, files: int, size: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def finished(self, name: str) -> None: ...


@dataclass
class TreeReport:
    """The result of a run. `refused`: skipped because their names are unsafe. `failed`: may succeed later."""

    moved: int = 0
    skipped: int = 0
    size: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, LockstepError]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every file was transferred or was there already."""
        return not self.refused and not self.failed


class _Stopped(Exception):
    """Raised in the workers when the run was interrupted."""


class _Crew:
    """Runs one task for each file on a few threads, and collects the report."""

    def __init__(self, progress: TreeProgress) -> None:
        self.report = TreeReport()
        self._progress = progress
        self._stop = threading.Event()
        self._guard = threading.Lock()

    def run(self, tasks: Iterable[tuple[str, int, Callable[[Callable[[int], None]], bool]]]) -> TreeReport:
        """Run `tasks`: (name, size in bytes, action). An action takes a progress callback, and returns whether the
        file was transferred."""
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="transfer") as pool:
            under_way: set[Future[None]] = set()
            try:
                for name, size, action in tasks:
                    under_way.add(pool.submit(self._one, name, size, action))
                    if len(under_way) >= QUEUED:
                        under_way = self._collect(under_way)
                while under_way:
                    under_way = self._collect(under_way)
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return self.report

    def _collect(self, under_way: set[Future[None]]) -> set[Future[None]]:
        done, pending = wait(under_way, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        return pending

    def _one(self, name: str, size: int, action: Callable[[Callable[[int], None]], bool]) -> None:
        if self._stop.is_set():
            return
        try:
            moved = action(self._advance)
        except _Stopped:
            return
        except NameRefused as error:
            self.refuse(name, str(error))
        except LockstepError as error:
            with self._guard:
                self.report.failed.append((name, error))
        else:
            with self._guard:
                self.report.moved += moved
                self.report.skipped += not moved
                self.report.size += size if moved else 0
        self._progress.finished(name)

    def refuse(self, name: str, reason: str) -> None:
        """Report a file that is skipped for safety."""
        with self._guard:
            self.report.refused.append((name, reason))

    def _advance(self, count: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._progress.advance(count)


def put_tree(
    api: ApiCalls,
    folder: Path,
    bucket: str,
    prefix: str,
    *,
    progress: TreeProgress | None = None,
    interrupted: InterruptedUploads | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> TreeReport:
    """Upload every regular file below `folder` as `prefix` + its relative name."""
    if not folder.is_dir():
        raise LocalFileError(f"{folder} is not a folder: leave out -r for a single file")
    progress = progress or Silent()
    crew = _Crew(progress)
    present = {file.path: file for file in api.list(prefix, bucket=bucket)}

    def tasks() -> Iterable[tuple[str, int, Callable[[Callable[[int], None]], bool]]]:
        for source, relative, reason in walk_files(folder):
            name = prefix + relative
            reason = reason or _name_fault(name)
            if reason:
                crew.refuse(relative, reason)
                continue
            try:
                size = source.stat().st_size
            except OSError as error:
                crew.refuse(relative, f"cannot be read ({error.strerror})")
                continue
            progress.found(1, size)
            yield label(bucket, name), size, _put(source, name, size)

    def _put(source: Path, name: str, size: int) -> Callable[[Callable[[int], None]], bool]:
        def action(advance: Callable[[int], None]) -> bool:
            existing = present.get(name)
            if existing is not None and existing.size == size and digest_file(source).digest == existing.digest:
                advance(size)
                return False
            upload(
                api,
                source,
                bucket,
                name,
                options=WriteOptions(),
                progress=advance,
                interrupted=interrupted,
                sleep=sleep,
            )
            return True

        return action

    return crew.run(tasks())


def get_tree(
    api: ApiCalls,
    bucket: str,
    prefix: str,
    folder: Path,
    *,
    progress: TreeProgress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> TreeReport:
    """Download every current file below `prefix` to its relative name in `folder`."""
    progress = progress or Silent()
    crew = _Crew(progress)
    storage = LocalStorage(folder)

    def tasks() -> Iterable[tuple[str, int, Callable[[Callable[[int], None]], bool]]]:
        for file in api.list(prefix, bucket=bucket):
            progress.found(1, file.size)
            yield label(bucket, file.path), file.size, _get(file)

    def _get(file: FileVersion) -> Callable[[Callable[[int], None]], bool]:
        def action(advance: Callable[[int], None]) -> bool:
            relative = file.path[len(prefix) :]
            if file.path.endswith("/") and not file.size:  # an empty folder's own object
                storage.make_folder(relative.removesuffix("/"))
                return False
            target = storage.for_writing(relative)
            known = RemoteFile(
                file.bucket,
                file.path,
                file.digest,
                file.version,
                file.size,
                file.content_type,
                ClientReceipt(file.digest, file.version, file.cursor),
            )
            fetched = download(api, file.bucket, file.path, target, known=known, progress=advance, sleep=sleep)
            return not fetched.unchanged

        return action

    return crew.run(tasks())


def _name_fault(name: str) -> str:
    try:
        check_path(name)
    except BadName as error:
        return str(error)
    return ""
