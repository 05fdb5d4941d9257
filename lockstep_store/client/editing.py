"""Editing one file safely: lock, fetch, let the person edit, show what changed, save and release.

Who edits how (an editor, a pause until Enter) and how things are shown is left to the callers, the menu and
`lockstep edit`. An edit that cannot be saved is never lost: a copy is kept and the error says where.
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
    """What an edit changed: `lines` of a unified diff for text, none otherwise; `summary` is one line."""

    changed: bool
    summary: str
    lines: tuple[str, ...] = ()


class Edit:
    """One file being edited under a lock that `holder` has taken already."""

    def __init__(
        self,
        api: ApiCalls,
        holder: LockHolder,
        where: tuple[str, str],
        folder: LocalStorage,
        keep_in: LocalStorage,
    ) -> None:
        """`folder` is where the person edits, `keep_in` where an edit is kept that cannot be saved."""
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
        """Bring the current version to `local`; None when the file is new.

        A different local file of that name is set aside first (`set_aside` says where): it may be somebody's work. For
        a new file it is the beginning instead.
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
        """Return what has changed so far."""
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
        """Save `local` under the lock and release it in the same commit; NotSaved when that fails."""
        try:
            self._holder.check()
            options = WriteOptions(lock_number=self._holder.number, release_lock=True)
            sent = upload(self._api, self.local, *self._where, options=options, progress=progress)
        except LockstepError as error:
            raise NotSaved(error, self.keep()) from error
        self._holder.released()
        return sent

    def keep(self) -> Path:
        """Keep a copy of the edit under a name that nothing overwrites; where it is."""
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
        """Take away the empty file that was made for a new name and not filled."""
        if self._before is None and self.local.exists() and self.local.stat().st_size == 0:
            self.local.unlink()


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """The person's editor as a command, from VISUAL or EDITOR; empty when there is none."""
    chosen = environment.get("VISUAL") or environment.get("EDITOR") or ""
    try:
        return shlex.split(chosen)
    except ValueError as error:
        raise LocalFileError(f"EDITOR={chosen!r} cannot be understood ({error}): set it to a command") from error


def run_editor(command: list[str], file: Path) -> None:
    """Open `file` in the editor and wait for it to end; LocalFileError when it cannot start or reports a failure."""
    try:
        code = subprocess.call([*command, os.fspath(file)])
    except OSError as error:
        reason = error.strerror or error
        raise LocalFileError(f"the editor {command[0]!r} cannot start ({reason}): set EDITOR to another") from error
    if code:
        raise LocalFileError(f"the editor {command[0]!r} ended with code {code}: nothing was saved")


def shown_lines(change: EditSummary, limit: int = SHOWN_DIFF_LINES) -> list[str]:
    """The diff for a terminal, cut at `limit` lines."""
    lines = [formatting.safe_lines(line) for line in change.lines[:limit]]
    if len(change.lines) > limit:
        lines.append(f"… and {formatting.counted(len(change.lines) - limit, 'more line')}")
    return lines


def _text(file: Path) -> str | None:
    """The file's text when it is short and is text; otherwise None."""
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
