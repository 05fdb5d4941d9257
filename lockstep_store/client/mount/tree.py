"""The names in the mounted folder, and their attributes.

A folder's listing is fetched when it is first needed and then kept. `apply` hears of every change in the bucket and
marks the names that it concerns as unsure; they are looked up again when they are next used. What is kept is used only
while `is_fresh()` says that no change is missing, and for at most `MAX_AGE_SECONDS`, because changes of rights are not
in the journal.

Keys that no folder can show (`a//b`, `a/../b`) are left out. Where a file `a` and a folder `a/` exist, the folder is
shown.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.messages.files import FileVersion, ListReply
from lockstep_store.wire.messages.journal import Change

MAX_AGE_SECONDS = 60.0
MAX_NAMES = 500_000
"""How many names are kept in all; the folders that were used least recently go first."""
MAX_LOOKUPS = 16
"""With more unsure names than this, a folder is listed again instead of looking them up one by one."""
MAX_UNSURE = 1000
MAX_NAME_BYTES = 255
ENDING_KINDS = frozenset({"delete", "remove"})
"""Changes after which a folder may be gone."""


class Entry(NamedTuple):
    """A file, or a folder if there is no `file`."""

    file: FileVersion | None = None

    @property
    def is_folder(self) -> bool:
        return self.file is None


FOLDER = Entry()


class PageOf(Protocol):
    """The request for one page of a listing (`FileCalls.list_page`)."""

    def __call__(self, prefix: str, *, delimiter: str = "", limit: int = ..., cursor: str = "") -> ListReply: ...


class _Doubt(NamedTuple):
    """A name to look up again. `below`: a change below it may have made or ended a folder."""

    below: bool
    serial: int


@dataclass
class _Listing:
    """What is known of a folder."""

    entries: dict[str, Entry | None] = field(default_factory=dict)
    unsure: dict[str, _Doubt] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    """Names that this machine removed, with the cursor of that change or one shortly before it."""
    complete: bool = False
    fetched_at: float = 0.0
    serial: int = 0

    def apply(self, name: str, change: Change, *, leaf: bool) -> None:
        """Doubt a name if the change, of its path or below it, can have changed what is known of it."""
        entry = self.entries.get(name)
        if not leaf:
            if entry != FOLDER or change.kind in ENDING_KINDS:
                self.doubt(name, below=True)
        elif entry is None:
            still_gone = self.complete and change.kind == "delete" and name not in self.unsure
            if not still_gone and change.cursor > self.gone.get(name, 0):
                self.doubt(name)
        elif name in self.unsure or (entry.file is not None and _news(change, entry.file)):
            self.doubt(name)

    def doubt(self, name: str, *, below: bool = False) -> None:
        before = self.unsure.get(name)
        self.serial += 1
        self.unsure[name] = _Doubt(below or (before is not None and before.below), self.serial)


def _news(change: Change, known: FileVersion) -> bool:
    """Whether a change of a file's path is not already known, nor the end of an older version."""
    if change.kind == "remove":
        return change.version == known.version
    return change.cursor > known.cursor


def can_show(name: str) -> bool:
    """Whether a folder can have an entry of that name."""
    return name not in ("", ".", "..") and len(name.encode("utf-8")) <= MAX_NAME_BYTES


class Tree:
    """The files whose paths begin with `prefix`, which is empty or ends with a slash. Safe to use from several threads.

    Paths are relative to the prefix, without slashes at their ends; the empty one is the mounted folder itself.
    """

    def __init__(
        self,
        list_page: PageOf,
        prefix: str = "",
        *,
        is_fresh: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._list_page = list_page
        self._prefix = prefix
        self.is_fresh = is_fresh
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._listings: OrderedDict[str, _Listing] = OrderedDict()
        self._fetching: dict[str, list[_Listing]] = {}
        self._generation = 0

    def key(self, path: str) -> str:
        """The path in the bucket."""
        return self._prefix + path

    def lookup(self, path: str) -> Entry:
        """Return the file or folder; NotFound if there is none."""
        if not path:
            return FOLDER
        folder, _, name = path.rpartition("/")
        if not can_show(name):
            raise NotFound(f"{path} does not exist")
        listing = self._kept(folder)
        if listing is None and self.is_fresh():
            listing = self._fetch(folder, whole=False)
        entry = self._entry(folder, name, listing)
        if entry is None:
            raise NotFound(f"{path} does not exist")
        return entry

    def list(self, path: str) -> list[tuple[str, Entry]]:
        """Return the folder's names, in the order of their bytes."""
        listing = self._kept(path)
        if listing is None or not listing.complete or len(listing.unsure) > MAX_LOOKUPS:
            listing = self._fetch(path, whole=True)
        with self._guard:
            names = [*listing.entries, *(name for name in listing.unsure if name not in listing.entries)]
        found = ((name, self._entry(path, name, listing)) for name in sorted(names))
        return [(name, entry) for name, entry in found if entry is not None]

    def apply(self, change: Change) -> None:
        """Mark the names that a change concerns."""
        if not change.path.startswith(self._prefix):
            return
        parts = change.path[len(self._prefix) :].split("/")
        with self._guard:
            stays = self._has_others("/".join(parts[:-1]), parts[-1])
            for depth, name in enumerate(parts):
                folder = "/".join(parts[:depth])
                leaf = depth == len(parts) - 1
                for listing in self._known(folder):
                    if can_show(name) and (leaf or not stays or listing.entries.get(name) != FOLDER):
                        listing.apply(name, change, leaf=leaf)
                self._drop_if_doubtful(folder)

    def doubt(self, path: str) -> None:
        """Look a file up again when it is next used: its content was found to have changed."""
        folder, _, name = path.rpartition("/")
        with self._guard:
            for listing in self._known(folder):
                listing.doubt(name)

    def note(self, path: str, entry: Entry | None, cursor: int = 0) -> None:
        """Know of a change that this machine made, before the journal tells of it. None: gone since `cursor`."""
        parts = path.split("/")
        with self._guard:
            for depth, name in enumerate(parts):
                for listing in self._known("/".join(parts[:depth])):
                    if depth == len(parts) - 1:
                        listing.entries[name] = entry
                        listing.unsure.pop(name, None)
                        if entry is None:
                            listing.gone[name] = cursor
                    elif entry is not None:
                        listing.entries[name] = FOLDER

    @contextlib.contextmanager
    def new_folder(self, path: str) -> Iterator[None]:
        """The block creates a folder, and fails if it exists. So it is known to be empty, but for changes heard of."""
        listing = _Listing(complete=True, fetched_at=self._monotonic())
        with self._hearing(path, listing) as generation:
            yield
            with self._guard:
                if generation == self._generation:
                    self._keep(path, listing)
        self.note(path, FOLDER)

    def is_alone(self, path: str) -> bool:
        """Whether a folder has no other name than this one, as far as is known."""
        folder, _, name = path.rpartition("/")
        with self._guard:
            return not self._has_others(folder, name)

    def _has_others(self, folder: str, name: str) -> bool:
        listing = self._listings.get(folder)
        if listing is None:
            return False
        return any(
            entry is not None and at != name and at not in listing.unsure for at, entry in listing.entries.items()
        )

    def forget(self) -> None:
        """Drop everything, also what is being fetched: changes may have been missed."""
        with self._guard:
            self._generation += 1
            self._listings.clear()

    def forget_folder(self, folder: str) -> None:
        """Drop what is known of a folder's names: others may have changed them just now."""
        with self._guard:
            self._generation += 1
            self._listings.pop(folder, None)

    def _known(self, folder: str) -> Iterator[_Listing]:
        if folder in self._listings:
            yield self._listings[folder]
        yield from self._fetching.get(folder, ())

    def _kept(self, folder: str) -> _Listing | None:
        if not self.is_fresh():
            return None
        with self._guard:
            listing = self._listings.get(folder)
            if listing is None or self._monotonic() - listing.fetched_at > MAX_AGE_SECONDS:
                return None
            self._listings.move_to_end(folder)
            return listing

    def _entry(self, folder: str, name: str, listing: _Listing | None) -> Entry | None:
        """The entry from a listing, or looked up if that is not sure of it."""
        if listing is None:
            return self._look_up(folder, name, below=True)
        with self._guard:
            doubt = listing.unsure.get(name)
            known = name in listing.entries
            if doubt is None and (known or listing.complete):
                return listing.entries.get(name)
        entry = self._look_up(folder, name, below=doubt.below if doubt and (known or listing.complete) else True)
        with self._guard:
            listing.entries[name] = entry
            if listing.unsure.get(name) == doubt:  # otherwise a change came meanwhile
                listing.unsure.pop(name, None)
        return entry

    def _look_up(self, folder: str, name: str, *, below: bool) -> Entry | None:
        key = self.key(f"{folder}/{name}" if folder else name)
        if below:
            inside = self._list_page(f"{key}/", limit=1)
            if inside.files or inside.prefixes:
                return FOLDER
        found = self._list_page(key, limit=1).files
        return Entry(found[0]) if found and found[0].path == key else None

    def _fetch(self, folder: str, *, whole: bool) -> _Listing:
        """List the folder: all of it, or one page."""
        prefix = self.key(f"{folder}/" if folder else "")
        listing = _Listing(fetched_at=self._monotonic())
        with self._hearing(folder, listing) as generation:
            cursor: str | None = ""
            while cursor is not None:
                page = self._list_page(prefix, delimiter="/", cursor=cursor)
                self._take(listing, page, prefix)
                cursor = page.next_after
                if cursor is not None and not whole:
                    break
            listing.complete = cursor is None
            if folder and listing.complete and not (listing.entries or page.files or page.prefixes):
                raise NotFound(f"{folder} does not exist")
            with self._guard:
                if generation == self._generation:
                    self._keep(folder, listing)
        return listing

    @contextlib.contextmanager
    def _hearing(self, folder: str, listing: _Listing) -> Iterator[int]:
        """Let `apply` mark the names that change while the listing is fetched."""
        with self._guard:
            self._fetching.setdefault(folder, []).append(listing)
            generation = self._generation
        try:
            yield generation
        finally:
            with self._guard:
                self._fetching[folder].remove(listing)
                if not self._fetching[folder]:
                    del self._fetching[folder]

    def _take(self, listing: _Listing, page: ListReply, prefix: str) -> None:
        with self._guard:
            for version in page.files:
                name = version.path[len(prefix) :]
                if can_show(name) and listing.entries.get(name) != FOLDER:
                    listing.entries[name] = Entry(version)
            for path in page.prefixes:
                name = path[len(prefix) : -1]
                if can_show(name):
                    listing.entries[name] = FOLDER

    def _keep(self, folder: str, listing: _Listing) -> None:
        self._listings.pop(folder, None)
        self._listings[folder] = listing
        while len(self._listings) > 1 and sum(len(one.entries) + 1 for one in self._listings.values()) > MAX_NAMES:
            self._listings.popitem(last=False)

    def _drop_if_doubtful(self, folder: str) -> None:
        if folder in self._listings and len(self._listings[folder].unsure) > MAX_UNSURE:
            del self._listings[folder]
