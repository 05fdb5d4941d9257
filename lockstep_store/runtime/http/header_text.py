"""Names and text of headers, for all doors."""

from __future__ import annotations

import re
from urllib.parse import quote

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
"""In small letters. None has a colon, as the names of Lockstep's own facts do, which are kept beside people's metadata:
what does not come as a header must have a name that could."""


def header_text(value: str) -> str:
    """Encode `value` for a header: everything but printable ASCII is percent-encoded."""
    if value.isascii() and value.isprintable():
        return value
    return quote(value, safe=" !#$&'()*+,/:;=?@[]~")
