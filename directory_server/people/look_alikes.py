"""Finds accounts whose names look like a new one (Unicode Technical Standard 39, section 4).

Two names look alike when their skeletons are equal: every character is replaced by the one that it can be taken for.
Existing accounts that look alike stay; only a new one is refused.
"""

from __future__ import annotations

import functools
import threading
import unicodedata

from directory_server.metadata.statements import people
from directory_server.metadata.store import Tx
from lockstep_store.wire.errors import BadName
from lockstep_store.wire.names import TENANT_SEPARATOR

_MARK = "\u200e"
"""The data has this invisible mark beside letters that are written from right to left."""


def skeleton(name: str) -> str:
    """What a name looks like, whatever its case and the script of its letters. Only for comparing.

    The standard's skeletons have capital letters (0 becomes O), so the case is folded twice.
    """
    return _replaced(_replaced(name.casefold()).casefold())


def check_separator(name: str) -> str:
    r"""Return the name of a new account; BadName if part of it can be taken for the `\` behind a tenant's name."""
    if TENANT_SEPARATOR in skeleton(name.partition(TENANT_SEPARATOR)[2] or name):
        raise BadName("the user name is invalid: it has a character that looks like the '\\' behind a tenant's name")
    return name


def _replaced(text: str) -> str:
    prototypes = _prototypes()
    decomposed = unicodedata.normalize("NFD", text)
    replaced = "".join(prototypes.get(character, character) for character in decomposed)
    return unicodedata.normalize("NFD", replaced)


@functools.cache
def _prototypes() -> dict[str, str]:
    """What each confusable character is replaced by.

    The library's data lists pairs in both directions. A character's prototype is the one that others share with it: a
    sequence such as `rn`, which is never replaced itself, or the centre of its group.
    """
    # Imported here: it reads a megabyte.
    from confusable_homoglyphs.confusables import confusables_data

    pairs: dict[str, list[str]] = {}
    for character, others in confusables_data.items():
        key = character.replace(_MARK, "")
        pairs.setdefault(key, []).extend(other["c"].replace(_MARK, "") for other in others)
    prototypes: dict[str, str] = {}
    for character, others in pairs.items():
        if len(character) > 1:
            continue
        sequences = [other for other in others if len(other) > 1]
        if sequences:
            prototypes[character] = sequences[0]
        elif len(others) == 1:
            is_centre = len(pairs.get(others[0], ())) == 1 and character < others[0]
            prototypes[character] = character if is_centre else others[0]
    return prototypes


class LookAlikes:
    """The skeletons of all names, read once: only this process makes accounts. Thread-safe."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] | None = None
        self._guard = threading.Lock()

    def find(self, tx: Tx, name: str) -> str | None:
        """The existing account that `name` can be taken for, or None, and then `name` counts from now on.

        A name that was noted for a transaction that failed, or whose account was deleted, is found to be gone.
        """
        with self._guard:
            if self._names is None:
                self._names = {}
                for (existing,) in tx.all(people.ACCOUNT_NAMES):
                    self._names.setdefault(skeleton(existing), set()).add(existing)
            noted = self._names.setdefault(skeleton(name), set())
            for other in sorted(noted - {name}):
                if tx.one(people.ACCOUNT, name=other) is not None:
                    return other
                noted.discard(other)
            noted.add(name)
            return None
