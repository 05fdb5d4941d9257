"""Text in headers of answers, whichever door gives them."""

from __future__ import annotations

from urllib.parse import quote


def header_text(value: str) -> str:
    """`value` as a header can carry it: what is not printable ASCII is percent-encoded."""
    if value.isascii() and value.isprintable():
        return value
    return quote(value, safe=" !#$&'()*+,/:;=?@[]~")
