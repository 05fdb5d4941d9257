"""What somebody searches for: the words, how well a path fits them, and where the index should look.

Words are compared without case. Words of fewer than three characters are not in the index; they are compared all the
same. A name is similar if one typing error leads to it: a character that is wrong, missing or too many, or two that
were swapped.
"""

from __future__ import annotations

import re
from functools import cached_property

INDEXED = 3
"""The shortest text that the index finds."""
SHORTEST_MISTYPED = 4
"""With shorter words, too many names would be similar."""
HALVED = 8
"""Of words so long, one end or the other is without the error."""
MAX_WORDS = 8
LONGEST_MISTYPED = 64

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def name_of(path: str) -> str:
    """The last part of a path, as in the index: lower case as far as it is ASCII."""
    return path.rpartition("/")[2].translate(_ASCII_LOWER)


class SearchText:
    """A text to search for. An empty one fits every path."""

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        self.words = tuple(dict.fromkeys(self.text.casefold().split()))[:MAX_WORDS]
        self.name = "" if "/" in self.text or "\0" in self.text else self.text.translate(_ASCII_LOWER)
        """What names are looked up by; empty if no name can begin with the text."""

    @property
    def is_indexed(self) -> bool:
        """Whether the index can find paths that contain the words."""
        return any(len(word) >= INDEXED and "\0" not in word for word in self.words)

    @property
    def all_words(self) -> list[tuple[str, ...]]:
        """What the index has to find: every word."""
        return [self.words]

    def rank(self, path: str) -> int | None:
        """How well a path contains the words: 0 is best; None if it lacks one."""
        folded = path.casefold()
        if not all(word in folded for word in self.words):
            return None
        name = folded.rpartition("/")[2]
        if self.words and name.startswith(self.words[0]):
            return 0
        places = [name.find(word) for word in self.words]
        if any(place < 0 for place in places):
            return 3
        return 1 if all(_begins_word(name, place) for place in places) else 2

    def is_named(self, path: str) -> bool:
        """Whether the name is the text, or begins with it: a look at the names finds it."""
        return bool(self.name) and name_of(path).startswith(self.name)

    # ------------------------------------------------------------ typing errors

    @cached_property
    def mistyped(self) -> list[tuple[str, ...]]:
        """What the index has to find for names in which one word is similar: alternatives of texts."""
        found: list[tuple[str, ...]] = []
        for place, word in enumerate(self.words):
            others = self.words[:place] + self.words[place + 1 :]
            found += [(*pieces, *others) for pieces in _pieces(word) if any(len(piece) >= INDEXED for piece in pieces)]
        return found

    def is_similar(self, path: str) -> bool:
        """Whether the name is similar to one word, and the path contains the others."""
        folded = path.casefold()
        name = folded.rpartition("/")[2]
        missing = [place for place, word in enumerate(self.words) if word not in folded]
        if len(missing) != 1:
            return False
        word = self.words[missing[0]]
        if len(word) >= HALVED and not any(end in name for end in _ends(word)):
            return False  # which most are: the expression takes far longer
        return self._similar[missing[0]].search(name) is not None

    @cached_property
    def _similar(self) -> list[re.Pattern[str]]:
        return [re.compile("|".join(_patterns(word)) or "(?!)", re.DOTALL) for word in self.words]


def _begins_word(name: str, place: int) -> bool:
    return place == 0 or not name[place - 1].isalnum()


def _may_be_mistyped(word: str) -> bool:
    return SHORTEST_MISTYPED <= len(word) <= LONGEST_MISTYPED


def _pieces(word: str) -> list[tuple[str, ...]]:
    """Texts that a name contains if one error, at each of the places, leads from the word to it."""
    if not _may_be_mistyped(word):
        return []
    if len(word) >= HALVED:
        return [(end,) for end in _ends(word)]
    swapped = [(_swapped(word, at),) for at in range(len(word) - 1)]
    # These are left by a wrong, a missing and an additional character alike.
    return [*swapped, *((word[:at], word[at + 1 :]) for at in range(len(word)))]


def _ends(word: str) -> tuple[str, str]:
    """What is in front of the two characters in the middle, and what is behind them."""
    middle = len(word) // 2
    return word[: middle - 1], word[middle + 1 :]


def _patterns(word: str) -> list[str]:
    if not _may_be_mistyped(word):
        return []
    found = [re.escape(_swapped(word, at)) for at in range(len(word) - 1)]
    for at in range(len(word)):
        before, here, behind = re.escape(word[:at]), re.escape(word[at]), re.escape(word[at + 1 :])
        found += [f"{before}.?{behind}", f"{before}.{here}{behind}"]
    return found


def _swapped(word: str, at: int) -> str:
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
