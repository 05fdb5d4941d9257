"""Share links as callers: a visitor is the link's maker, with limits.

A session policy names what the link is for, so `access` decides about a visitor as about any session of the maker: the
maker's rights count as they are now, and the link adds nothing to them.
"""

from __future__ import annotations

import hmac
import json
import re

from blake3 import blake3

from directory_server.metadata.statements import share_links as rows
from directory_server.metadata.statements.share_links import HeldShare, ShareRow
from directory_server.metadata.store import Reader
from directory_server.people.access_keys import PeopleClock
from directory_server.people.limits import Limits, limits_of_key
from directory_server.people.person import Person
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.shares import DEFAULT_RULE, ShareProof

LINK_KEY_PREFIX = "link-"
"""Before a link's id where an access key's id is expected."""
UNLOCK_SECONDS = 12 * 3600.0
"""How long a visitor need not type the password again."""
_SPECIAL = re.compile(r"[*?$]")


def token_hash(token: str) -> bytes:
    """The stored form of a link's token: its BLAKE3 hash, 32 bytes. It is random, so one fast hash is enough."""
    return blake3(b"share link " + token.encode("utf-8", "surrogatepass")).digest()


def is_folder(path: str) -> bool:
    """Whether a link's path is a folder: a prefix, not a file."""
    return not path or path.endswith("/")


def person_of_link(reader: Reader, proof: ShareProof, clock: PeopleClock) -> Person:
    """Return who acts through a link. NotLoggedIn if it has ended, or if the password is missing."""
    found = good_link(rows.by_token(reader, token_hash(proof.token)), clock)
    if found.row.password_hash is not None and not is_unlocked(found.row, proof.unlock, clock.now()):
        raise NotLoggedIn("this link needs its password", reason="password")
    limits = _limits(found)
    return Person(found.row.account, False, limits.key, read_only=found.read_only, limits=limits)


def limits_at_commit(reader: Reader, key: str) -> Limits:
    """Return the limits of the link whose id follows LINK_KEY_PREFIX; NotLoggedIn if it was revoked or switched off.

    Whether it has expired was decided when the write began.
    """
    found = rows.by_id(reader, key.removeprefix(LINK_KEY_PREFIX))
    return _limits(_allowed(found))


def limits_named(reader: Reader, limited_by: str) -> Limits | None:
    """Return the limits of a key or a link, as a ticket names it. NotLoggedIn when it has ended."""
    if limited_by.startswith(LINK_KEY_PREFIX):
        return limits_at_commit(reader, limited_by)
    return limits_of_key(reader, limited_by)


def good_link(found: HeldShare | None, clock: PeopleClock) -> HeldShare:
    """Return the link; NotLoggedIn, always in the same words, unless it exists, is allowed and has not expired."""
    row = _allowed(found).row
    if row.expires is not None and row.expires <= clock.now():
        raise _ended()
    # Directory time stands still while the directory does, so the date counts too. Neither alone can be stretched.
    if row.expires_at is not None and row.expires_at <= clock.wall():
        raise _ended()
    assert found is not None
    return found


def rule_of(stored: str | None) -> str:
    """The LinkRule that a bucket's setting holds."""
    return DEFAULT_RULE if stored is None else str(json.loads(stored))


def rule_allows(rule: str, *, trusted: bool, endless: bool) -> bool:
    """Whether a bucket's rule allows a link; `trusted` is one of the bucket's owner or of an administrator."""
    if rule == "off":
        return False
    return trusted or rule == "any" or (rule == "expiring" and not endless)


def unlock_of(row: ShareRow, until: float) -> str:
    """Return what shows, until a moment of directory time, that somebody knew the password.

    The stored hash is the key, so another password ends it, and only the directory can make one.
    """
    assert row.password_hash is not None
    text = f"{int(until)}"
    return f"{text}.{blake3(f'unlock {row.id} {text}'.encode(), key=row.password_hash).hexdigest()}"


def is_unlocked(row: ShareRow, unlock: str, now: float) -> bool:
    """Whether `unlock` was made for this link and still counts."""
    until, _, _ = unlock.partition(".")
    if not (until.isascii() and until.isdecimal() and len(until) <= 15) or int(until) <= now:
        return False
    return hmac.compare_digest(unlock_of(row, int(until)).encode(), unlock.encode("utf-8", "replace"))


def _allowed(found: HeldShare | None) -> HeldShare:
    if found is None or found.disabled:
        raise _ended()
    trusted = found.admin or found.owner == found.row.account
    if not rule_allows(rule_of(found.rule), trusted=trusted, endless=found.row.expires is None):
        raise _ended()
    return found


def _ended() -> NotLoggedIn:
    return NotLoggedIn("this link does not exist, or it has ended", reason="link")


def _limits(found: HeldShare) -> Limits:
    row = found.row
    key = f"{LINK_KEY_PREFIX}{row.id}"
    return Limits(row.account, found.admin, key, session_name=f"link {row.id}", session=(_policy(row),))


def _policy(row: ShareRow) -> str:
    folder = is_folder(row.path)
    # What is special in patterns is written so that it stands for itself: a name is not a pattern.
    path = _SPECIAL.sub(lambda found: f"${{{found[0]}}}", row.path) + ("*" if folder else "")
    things = f"arn:aws:s3:::{row.bucket}/{path}"
    if row.mode == "upload":
        statements = [_allow(["s3:PutObject"], things)]
    else:
        statements = [_allow(["s3:GetObject", "s3:GetObjectVersion"], things)]
        if folder:
            listing = _allow(["s3:ListBucket"], f"arn:aws:s3:::{row.bucket}")
            statements.append(listing | {"Condition": {"StringLike": {"s3:prefix": path}}})
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _allow(actions: list[str], resource: str) -> dict[str, object]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}
