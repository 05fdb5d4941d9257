"""Names of files as headers, pages and zip files may contain them."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

FALLBACK = "file"
_NOT_IN_FILES = re.compile(r'[\\/:*?"<>|]')
_DEVICE = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)", re.IGNORECASE)


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


def beside(name: str, mark: str) -> str:
    """Another name for the same file, for when `name` cannot be used: `plan (3f9a2c).txt`."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem} ({mark}){dot}{ending}" if stem else f"{name} ({mark})"


def in_archive(name: str) -> str:
    """A path below the archive's top that every system, Windows included, unpacks below its own folder."""
    parts = [_NOT_IN_FILES.sub("_", visible(part)).rstrip(". ") for part in name.split("/")]
    return "/".join(_DEVICE.sub(r"\1_", part) for part in parts if part) or FALLBACK
