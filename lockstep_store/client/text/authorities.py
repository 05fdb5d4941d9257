"""Formats the certificate authorities for people: which issues certificates, and what the others wait for."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep_store.client.text.formatting import WIDTH, safe, table, when
from lockstep_store.wire.messages.authorities import AuthorityInfo


def authorities_text(authorities: Sequence[AuthorityInfo], width: int = WIDTH) -> str:
    """The authorities, one a line, and below what the next or the old one waits for."""
    head = ("authority", "state", "made", "until")
    rows = [(one.id, one.state, when(one.created_at), when(one.expires_at)) for one in authorities]
    lines = [line for one in authorities for line in _waiting_lines(one)]
    return "\n".join([table(head, rows, width=width), *lines, *_unvouched_lines(authorities)])


def rotation_lines(authorities: Sequence[AuthorityInfo]) -> list[str]:
    """For the cluster's state: a rotation that is under way."""
    return [f"{one.state} certificate authority {line}" for one in authorities for line in _waiting_lines(one)[:1]]


def _waiting_lines(one: AuthorityInfo) -> list[str]:
    if one.state == "next":
        reasons = one.waiting_for or ["it issues certificates in a moment"]
        return [f"{one.id}: {safe(reason)}" for reason in reasons]
    if one.state == "leaving":
        return [f"{one.id}: programs are about to stop trusting it"]
    if one.state == "old":
        if one.needed_by:
            return [f"{one.id}: needed, because {safe(reason)}" for reason in one.needed_by]
        return [f"{one.id}: no program needs it; lockstep certs retire-ca {one.id} ends the trust in it"]
    return []


def _unvouched_lines(authorities: Sequence[AuthorityInfo]) -> list[str]:
    """What an authority of an earlier version means for people: it cannot vouch for the next one."""
    if len(authorities) < 2 or all(one.vouches or one.state == "leaving" for one in authorities):
        return []
    return ["clients that trust only the old authority can no longer connect: give them the new ca.pem"]
