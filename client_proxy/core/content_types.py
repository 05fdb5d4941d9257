"""The content type of a file whose writer stated none."""

from __future__ import annotations

import mimetypes

UNKNOWN_TYPE = "application/octet-stream"

# Only the table that comes with Python: what a machine's own mime.types says would differ from proxy to proxy.
_TYPES = mimetypes.MimeTypes()


def guessed_type(path: str) -> str:
    """The type that a file's name suggests."""
    kind, packed = _TYPES.guess_type(path.rsplit("/", 1)[-1], strict=False)
    if packed:
        return "application/gzip" if packed == "gzip" else UNKNOWN_TYPE
    if kind is None:
        return UNKNOWN_TYPE
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
