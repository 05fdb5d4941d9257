"""Checks and encodes names and values of HTTP headers, for all doors."""

from __future__ import annotations

import re
from urllib.parse import quote

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
"""A header's name in lower case. Metadata from other sources must match it too: Lockstep's own metadata is stored next
to people's, and its names contain a colon, which no name of a header does."""


def header_text(value: str) -> str:
    """Encode `value` for a header: everything but printable ASCII is percent-encoded."""
    if value.isascii() and value.isprintable():
        return value
    return quote(value, safe=" !#$&'()*+,/:;=?@[]~")
