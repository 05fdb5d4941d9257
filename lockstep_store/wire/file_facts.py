"""File facts: the rules for descriptions and tags, which every door shares, and their stored form."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence

from lockstep_store.wire.errors import BadRequest

MAX_DESCRIPTION = 2000
"""Characters. So long, its stored form still fits into a master's note of the version, whatever the characters."""
MAX_FILE_TAGS = 10
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256

_SIGNS = frozenset("_.:/=+-@")
_RESERVED = "aws:"

Tag = tuple[str, str]


def check_tags(tags: Sequence[Tag], limit: int = MAX_FILE_TAGS) -> None:
    """Raise BadRequest unless these can be the tags of a file or bucket. The rules are S3's.

    The error's `tag_key` and `tag_value` name what is wrong.
    """
    if len(tags) > limit:
        raise BadRequest(f"there are {len(tags)} tags; the maximum is {limit}")
    for key, value in tags:
        if not 1 <= _length(key) <= MAX_TAG_KEY or not _is_plain(key):
            raise BadRequest(
                f"the tag key {key[:40]!r} is invalid: use 1 to {MAX_TAG_KEY} letters, digits, spaces or _.:/=+-@",
                tag_key=key,
            )
        if key.lower().startswith(_RESERVED):
            raise BadRequest(f"the tag key {key[:40]!r} is reserved, as all that begin with {_RESERVED}", tag_key=key)
        if _length(value) > MAX_TAG_VALUE or not _is_plain(value):
            raise BadRequest(
                f"the value of the tag {key[:40]!r} is invalid: use up to {MAX_TAG_VALUE} letters, digits, spaces or "
                "_.:/=+-@",
                tag_key=key,
                tag_value=value,
            )
    keys = [key for key, _ in tags]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise BadRequest(f"two tags have the key {twice[:40]!r}", tag_key=twice)


def stored_tags(tags: Sequence[Tag]) -> str | None:
    """Return tags as a setting; None without tags, because S3 takes an empty list as a deletion."""
    return json.dumps({"TagSet": [{"Key": key, "Value": value} for key, value in tags]}) if tags else None


def tags_of(setting: str | None) -> list[Tag]:
    """Return the tags in a version's setting."""
    if setting is None:
        return []
    found = json.loads(setting)
    pairs = found.get("TagSet", found) if isinstance(found, dict) else found
    if isinstance(pairs, dict):
        return list(pairs.items())
    return [(one["Key"], one["Value"]) for one in pairs]


def changed_tags(before: Sequence[Tag], changes: Mapping[str, str | None]) -> list[Tag]:
    """Return the tags with some of them set, and those removed whose new value is None."""
    merged: dict[str, str | None] = {**dict(before), **changes}
    return [(key, value) for key, value in merged.items() if value is not None]


def check_description(text: str) -> str:
    """Return `text` without blanks around it; BadRequest if it cannot be a file's description."""
    text = text.strip()
    if len(text) > MAX_DESCRIPTION:
        raise BadRequest(f"the description has {len(text)} characters; the maximum is {MAX_DESCRIPTION}")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t":
            raise BadRequest(
                f"the description contains the control character U+{ord(character):04X}; "
                "only line breaks and tabs are allowed"
            )
    return text


def stored_description(text: str) -> str | None:
    """Return a description as a setting; None for an empty one."""
    return json.dumps({"Text": text}, ensure_ascii=False) if text else None


def description_of(setting: str | None) -> str:
    """Return the description in a version's setting; empty without one."""
    return "" if setting is None else str(json.loads(setting)["Text"])


def _length(text: str) -> int:
    """Return the length in UTF-16 units, as S3 counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _is_plain(text: str) -> bool:
    return all(sign in _SIGNS or unicodedata.category(sign)[0] in "LZN" for sign in text)
