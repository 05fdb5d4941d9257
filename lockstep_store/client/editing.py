"""Edits one file safely: lock, fetch, let the person edit, show the changes, save and release.

The callers, the menu and `lockstep edit`, run the editor and print. An edit that cannot be saved is never lost: a copy
is kept, and the error says where.
"""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lockstep_store.client.api.answers import RemoteFile, WriteOptions, label
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.local_storage import LocalFileError, LocalStorage, local_problem
from lockstep_store.client.lock_holder import LockHolder
from lockstep_store.client.text import formatting
from lockstep_store.client.transfers import Sent, digest_file, download, upload
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.manifest import Manifest

MAX_DIFF_BYTES = 1024 * 1024
SHOWN_DIFF_LINES = 200


class NotSaved(LocalFileError):
    """The edit could not be saved. `kept` is its copy, `reason` the error."""

    code, title = "not_saved", "Edit not saved"

    def __init__(self, reason: LockstepError, kept: Path) -> None:
        super().__init__(f"not saved: {reason}. Your edit is kept in {kept}", kept=str(kept))
        self.reason = reason
        self.kept = kept


@dataclass(frozen=True)
class EditSummary:
    """The changes of an edit: the `lines` of a unified diff, empty unless it is text, and a one-line `summary`."""

    changed: bool
    summary: str
    lines: tuple[str, ...] = ()


class Edit:
    """One file being edited, under a lock that `holder` has already taken."""

    def __init__(
        self,
        api: ApiCalls,
        holder: LockHolder,
        where: tuple[str, str],
        folder: LocalStorage,
        keep_in: LocalStorage,
    ) -> None:
        """The person edits in `folder`. Edits that cannot be saved are kept in `keep_in`."""
        self._api = api
        self._holder = holder
        self._where = where
        self._keep_in = keep_in
        self._before: RemoteFile | None = None
        self._manifest_before = Manifest([])
        self._text_before: str | None = ""
        self.local = folder.for_writing(where[1])
        self.set_aside: Path | None = None
        self._folder = folder

    def fetch(self, progress: Callable[[int], None] = lambda count: None) -> RemoteFile | None:
        """Fetch the current version to `local`. Returns None if the file is new.

        A different local file of that name may be someone's work, so it is renamed first, to `set_aside`. If the file
        is new, the local one becomes its content instead.
        """
        self._before = self._api.stat_or_none(self._where[1], bucket=self._where[0])
        if self._before is None:
            if not self.local.exists():
                self._create_empty()
            return None
        if self.local.exists() and digest_file(self.local).digest != self._before.digest:
            self.set_aside = self._copy_beside("local")
        download(self._api, *self._where, self.local, self._before.version, progress=progress)
        self._manifest_before = digest_file(self.local)
        self._text_before = _text(self.local)
        return self._before

    def changes(self) -> EditSummary:
        """The changes so far."""
        now = digest_file(self.local)
        if self._before is not None and now.digest == self._before.digest:
            return EditSummary(False, "nothing changed")
        if self._before is None and now.size == 0:
            return EditSummary(False, "the new file is empty")
        text = _text(self.local)
        if text is None or self._text_before is None:
            return EditSummary(True, _chunks_summary(self._manifest_before, now))
        name = formatting.safe(label(*self._where))
        lines = tuple(
            line.rstrip("\n")
            for line in difflib.unified_diff(
                self._text_before.splitlines(keepends=True),
                text.splitlines(keepends=True),
                f"{name} (before)",
                f"{name} (your edit)",
            )
        )
        added = sum(1 for line in lines[2:] if line.startswith("+"))
        removed = sum(1 for line in lines[2:] if line.startswith("-"))
        parts = [formatting.counted(added, "line") + " added", formatting.counted(removed, "line") + " removed"]
        return EditSummary(True, ", ".join(parts), lines)

    def save(self, progress: Callable[[int], None] = lambda count: None) -> Sent:
        """Save `local` under the lock and release it in the same commit. NotSaved if that fails."""
        try:
            self._holder.check()
            options = WriteOptions(lock_number=self._holder.number, release_lock=True)
            sent = upload(self._api, self.local, *self._where, options=options, progress=progress)
        except LockstepError as error:
            raise NotSaved(error, self.keep()) from error
        self._holder.released()
        return sent

    def keep(self) -> Path:
        """Copy the edit to a name that nothing overwrites. Returns its path."""
        return self._copy_beside("unsaved")

    def _copy_beside(self, kind: str) -> Path:
        stamp = f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
        target = self._keep_in.for_writing(self._keep_in.keep_copy_name(self._where[1], stamp))
        try:
            shutil.copy2(self.local, target)
        except OSError as error:
            raise local_problem("keep your edit in", target, error) from error
        return target

    def _create_empty(self) -> None:
        try:
            self.local.touch()
        except OSError as error:
            raise local_problem("write", self.local, error) from error

    def remove_empty(self) -> None:
        """Delete the file that was created for a new name, if it is still empty."""
        if self._before is None and self.local.exists() and self.local.stat().st_size == 0:
            self.local.unlink()


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """The command of the person's editor, from VISUAL or EDITOR; empty if neither is set."""
    chosen = environment.get("VISUAL") or environment.get("EDITOR") or ""
    try:
        return shlex.split(chosen)
    except ValueError as error:
        raise LocalFileError(f"EDITOR={chosen!r} is not a valid command ({error}): set it to an editor") from error


def run_editor(command: list[str], file: Path) -> None:
    """Open `file` in the editor and wait. LocalFileError if it cannot be started or reports a failure."""
    try:
        code = subprocess.call([*command, os.fspath(file)])
    except OSError as error:
        reason = error.strerror or error
        raise LocalFileError(f"the editor {command[0]!r} cannot start ({reason}): set EDITOR to another") from error
    if code:
        raise LocalFileError(f"the editor {command[0]!r} ended with code {code}: nothing was saved")


def shown_lines(change: EditSummary, limit: int = SHOWN_DIFF_LINES) -> list[str]:
    """The diff for a terminal, at most `limit` lines of it."""
    lines = [formatting.safe_lines(line) for line in change.lines[:limit]]
    if len(change.lines) > limit:
        lines.append(f"… and {formatting.counted(len(change.lines) - limit, 'more line')}")
    return lines


def _text(file: Path) -> str | None:
    """The file's text; None if it is not text, or too long."""
    try:
        if file.stat().st_size > MAX_DIFF_BYTES:
            return None
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return None
    except OSError as error:
        raise local_problem("read", file, error) from error
    return None if "\0" in text else text


def _chunks_summary(before: Manifest, now: Manifest) -> str:
    had = {digest for digest, _ in before.chunks}
    fresh = sum(1 for digest, _ in now.chunks if digest not in had)
    return (
        f"{formatting.size(before.size)} before, {formatting.size(now.size)} now; "
        f"{fresh} of {formatting.counted(len(now), 'chunk')} changed"
    )
