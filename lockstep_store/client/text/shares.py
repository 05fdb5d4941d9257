"""Formats share links."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep_store.client.text import formatting
from lockstep_store.wire.messages.shares import ShareLink


def made_text(made: ShareLink, address: str) -> str:
    """The address of a new link, and how long it works."""
    ends = "never expires" if made.expires_at is None else f"expires {formatting.when(made.expires_at)}"
    return f"{address}\nlink {made.id}, {ends}; this address is not shown again"


def shares_text(links: Sequence[ShareLink], width: int = formatting.WIDTH, *, numbered: bool = False) -> str:
    """A table of links, `numbered` from 1 instead of with their ids."""
    if not links:
        return "no links"
    head = ("no." if numbered else "link", "by", "shares", "for", "uses", "ends", "state")
    rows = [_row(str(number) if numbered else one.id, one) for number, one in enumerate(links, 1)]
    return formatting.table(head, rows, right="no. uses", width=width)


def _row(name: str, one: ShareLink) -> tuple[str, ...]:
    uses = str(one.uses) if one.max_uses is None else f"{one.uses}/{one.max_uses}"
    what = f"{one.bucket}:{one.path}"
    kind = f"{one.mode}, password" if one.has_password else one.mode
    ends = "never" if one.expires_at is None else formatting.when(one.expires_at)
    named = f"{what} ({one.note})" if one.note else what
    return name, one.account, named, kind, uses, ends, one.state.replace("_", " ")
