"""Guesses the content type of a file that was written without one."""

from __future__ import annotations

import mimetypes

UNKNOWN_TYPE = "application/octet-stream"

# Only Python's own table: a machine's mime.types file would make proxies differ.
_TYPES = mimetypes.MimeTypes()


def guessed_type(path: str) -> str:
    """The type suggested by the file's name."""
    kind, packed = _TYPES.guess_type(path.rsplit("/", 1)[-1], strict=False)
    if packed:
        return "application/gzip" if packed == "gzip" else UNKNOWN_TYPE
    if kind is None:
        return UNKNOWN_TYPE
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
