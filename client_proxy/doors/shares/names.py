"""Names of files between the cluster and a visitor: what a header and a zip may contain, and what to store."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from lockstep_store.wire.errors import BadName
from lockstep_store.wire.names import check_path

FALLBACK = "file"
_NOT_IN_FILES = re.compile(r'[\\/:*?"<>|]')
_MAX_BYTES = 240
_MAX_ENDING = 20


def attachment(name: str) -> str:
    """The Content-Disposition of a download, for any name (RFC 6266): never inline, and nothing that ends the value."""
    safe = visible(name) or FALLBACK
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " !#$&+-.^_`|~()[]{}@=,") else "_" for c in safe)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(safe, safe='')}"


def visible(name: str) -> str:
    """The name without characters that control a terminal or turn the direction of text: `exe.gpj` is no JPEG."""
    return "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn"))


def last_part(path: str) -> str:
    """The name of a file in its folder, or of a folder."""
    return path.rstrip("/").rpartition("/")[2]


def in_archive(name: str) -> str:
    """A path below the archive's top that every system unpacks below its own folder."""
    parts = [_NOT_IN_FILES.sub("_", visible(part)).rstrip(". ") for part in name.split("/")]
    return "/".join(part for part in parts if part) or FALLBACK


def received(given: str) -> str:
    """The name to store an uploaded file under: the last part of what the browser sent, without what could mislead."""
    last = re.split(r"[\\/]", given.replace("%22", '"'))[-1]
    name = visible(last).strip()
    stem, dot, ending = name.rpartition(".")
    if len(name.encode("utf-8", "replace")) > _MAX_BYTES:
        ending = f".{ending}" if dot and len(ending) <= _MAX_ENDING else ""
        name = _shortened(stem if ending else name, _MAX_BYTES - len(ending.encode("utf-8", "replace"))) + ending
    try:
        return check_path(name)
    except BadName:
        return FALLBACK


def beside(name: str, mark: str) -> str:
    """Another name for the same file, for when `name` cannot be used: `plan (3f9a2c).txt`."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem} ({mark}){dot}{ending}" if stem else f"{name} ({mark})"


def _shortened(text: str, count: int) -> str:
    return text.encode("utf-8", "replace")[:count].decode("utf-8", "ignore")
