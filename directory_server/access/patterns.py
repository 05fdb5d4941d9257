"""Patterns of policies: `*` matches any text, `?` any character, `${name}` a condition key's value.

Matching takes time in proportion to the text, whatever the pattern: anybody may write a policy, and a regular
expression could be made to take hours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

Value = Callable[[str], str | None]
"""Returns a policy variable's value; None when it has none."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERAL = {"*": "*", "?": "?", "$": "$"}
# Outside Unicode's assigned characters, and in no name or header: stands for a literal star or question mark.
_STAR, _MARK = "\ufdd0", "\ufdd1"


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` matches the whole of `text`."""
    segments = _segments(pattern)
    if len(segments) == 1:
        return len(text) == len(segments[0][1]) and _at(segments[0], text, 0)
    first, *middle, last = segments
    if len(text) < len(first[1]) + len(last[1]) or not _at(first, text, 0):
        return False
    place, end = len(first[1]), len(text) - len(last[1])
    for segment in middle:
        # The leftmost match leaves the most text for the following stretches.
        place = _find(segment, text, place, end)
        if place < 0:
            return False
        place += len(segment[1])
    return _at(last, text, end)


def filled(pattern: str, value: Value) -> str | None:
    """Replace a pattern's variables; stars in their values are not wildcards. None if a variable has no value."""
    if "${" not in pattern:
        return pattern
    missing = False

    def replace(found: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = found[1].partition(",")
        text = _LITERAL.get(name) or value(name.strip())
        if text is None and default.strip():
            text = default.strip().strip("'")
        if text is None:
            missing = True
            return ""
        return text.replace("*", _STAR).replace("?", _MARK)

    done = _VARIABLE.sub(replace, pattern)
    return None if missing else done


def plain(text: str) -> str:
    """Return a filled pattern as plain text, for comparisons without wildcards."""
    return text.replace(_STAR, "*").replace(_MARK, "?")


Segment = tuple[re.Pattern[str] | None, str]


@lru_cache(maxsize=4096)
def _segments(pattern: str) -> tuple[Segment, ...]:
    return tuple(_segment(part) for part in re.split(r"\*+", pattern))


def _segment(part: str) -> Segment:
    """A stretch without stars: its text, or a pattern of the same length where it has question marks."""
    if "?" not in part:
        return None, plain(part)
    return re.compile("".join("." if c == "?" else re.escape(plain(c)) for c in part), re.DOTALL), part


def _at(segment: Segment, text: str, place: int) -> bool:
    pattern, literal = segment
    return text.startswith(literal, place) if pattern is None else pattern.match(text, place) is not None


def _find(segment: Segment, text: str, start: int, end: int) -> int:
    pattern, literal = segment
    if pattern is None:
        return text.find(literal, start, end)
    found = pattern.search(text, start, end)
    return found.start() if found is not None else -1
