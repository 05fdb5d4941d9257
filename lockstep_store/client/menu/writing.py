"""The menu's "write to a file": lock, fetch, let the person edit, show the changes, save, release."""

from __future__ import annotations

import os

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.editing import Edit, editor_command, run_editor, shown_lines
from lockstep_store.client.local_storage import LocalFileError, LocalStorage
from lockstep_store.client.lock_holder import LockHolder, Waiting, agent_name
from lockstep_store.client.menu.terminal import EndOfInput, Terminal
from lockstep_store.client.text import formatting
from lockstep_store.client.text.progress_bars import file_bar
from lockstep_store.wire.messages.locks import LockPath
from lockstep_store.wire.names import FILES_BUCKET, check_path

POLL_SECONDS = 1.0
NOBODY_THERE_SECONDS = 60.0
CANCEL_WORDS = ("cancel", "c", "no", "n")


class Writing:
    """One request: write to a file in the bucket `files`."""

    def __init__(self, api: ApiCalls, storage: LocalStorage, terminal: Terminal) -> None:
        self._api = api
        self._storage = storage
        self._terminal = terminal
        self._said = (0, -1)

    def write(self, path: str) -> None:
        """Lock, edit and save. The lock is always released, and the edit never lost."""
        check_path(path)
        self._storage.for_writing(path)  # refuse a name that leads outside before anybody is kept waiting
        holder = LockHolder(
            self._api,
            [LockPath(FILES_BUCKET, path)],
            client=agent_name("menu"),
            on_wait=self._show_wait,
            on_lost=lambda reason: self._terminal.tell(f"\nWarning: {reason}. Saving will be refused."),
        )
        with holder:
            if not self._acquire(holder):
                return
            self._terminal.tell(f"locked {formatting.safe(path)} under number {holder.number}")
            self._edit(path, holder)

    def _acquire(self, holder: LockHolder) -> bool:
        self._terminal.begin_wait()
        self._said = (0, -1)
        try:
            holder.acquire(
                poll_seconds=POLL_SECONDS,
                give_up=self._terminal.gave_up,
                patience_seconds=NOBODY_THERE_SECONDS if self._terminal.ended else None,
            )
        except KeyboardInterrupt:
            self._terminal.tell("\nGave up waiting; nothing was changed.")
            return False
        return True

    def _show_wait(self, waiting: Waiting) -> None:
        place = f"you are number {waiting.place} in line" if waiting.place else "you are in line"
        holders = formatting.holders_line(waiting.holders)
        if self._terminal.output.isatty():
            waited = formatting.duration(waiting.waited_seconds)
            brief = f"number {waiting.place} in line" if waiting.place else "in line"
            tail = f"; {brief}, {waited}; Enter gives up"
            self._terminal.status(formatting.shorten(holders, max(16, self._terminal.width - len(tail))) + tail)
            return
        # In a pipe, a line every second would be noise: print changes, and a reminder every 15 seconds.
        turn = int(waiting.waited_seconds // 15)
        if (waiting.place, turn) != self._said:
            self._said = (waiting.place, turn)
            self._terminal.tell(f"waiting: {holders}; {place} (an empty line gives up)")

    def _edit(self, path: str, holder: LockHolder) -> None:
        session = Edit(self._api, holder, (FILES_BUCKET, path), self._storage, self._storage)
        with file_bar(self._terminal.output, "fetching", path, None, show=False) as progress:
            before = session.fetch(progress)
        if session.set_aside:
            self._terminal.tell(f"your local copy differed and was kept as {session.set_aside}")
        name = formatting.safe(path)
        if before is None:
            self._terminal.tell(f"{name} is a new file: {session.local}")
        else:
            self._terminal.tell(f"fetched version {before.version} ({formatting.size(before.size)}) to {session.local}")
        if not self._let_edit(session):
            session.remove_empty()
            self._terminal.tell(f"not saved; the lock is released, your copy stays in {session.local}")
            return
        change = session.changes()
        if not change.changed:
            session.remove_empty()
            self._terminal.tell(f"{change.summary}; the lock is released")
            return
        for line in shown_lines(change):
            self._terminal.say(line)
        self._terminal.tell(change.summary)
        size = session.local.stat().st_size
        with file_bar(self._terminal.output, "sending", path, size) as progress:
            sent = session.save(progress)
        note = f" ({formatting.size(sent.bytes_sent)} sent)" if sent.delta else ""
        self._terminal.tell(f"{formatting.saved_line(sent.saved)}{note}; the lock is released")

    def _let_edit(self, session: Edit) -> bool:
        """Let the person edit. Returns whether to save."""
        command = editor_command(os.environ) if self._terminal.interactive else []
        if command:
            try:
                run_editor(command, session.local)
            except LocalFileError as error:
                self._terminal.tell(str(error))
                return False
            return True
        try:
            question = "Edit it now, then press Enter to save (or type cancel): "
            # Only an empty line saves: a request's number typed too early must not.
            while answer := self._terminal.ask(question).lower():
                if answer in CANCEL_WORDS:
                    return False
                question = "Press Enter to save, or type cancel: "
            return True
        except KeyboardInterrupt:
            self._terminal.say()
            return False
        except EndOfInput:
            if session.changes().changed:
                self._terminal.tell(f"\nthe input ended before you saved: your edit is kept in {session.keep()}")
            raise
