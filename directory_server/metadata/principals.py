"""Reads the principals of policies. `access` judges by them, and `statements` looks for them in stored documents: both
must take a name for the same one."""

from __future__ import annotations

import re

from lockstep_store.wire.messages.groups import GROUP_PREFIX

_ARN = re.compile(r"arn:aws[a-z-]*:iam::([^:]*):(root|(?:user|role|group)/(.+))")


def principal_of(name: str) -> str | None:
    """Return the account, group (`group:editors`), user (`ann:user/backup`) or role that a policy names.

    AWS has no groups as principals. Here one is named like an account, or by an ARN that names no account. None for an
    ARN without a counterpart here.
    """
    if not name.startswith("arn:"):
        return name
    found = _ARN.fullmatch(name)
    if found is None:
        return None
    owner, what, path = found.groups()
    if what == "root":
        return owner or None
    own = path.rsplit("/", 1)[-1]
    if what.startswith("group/"):
        return f"{GROUP_PREFIX}{path}" if not owner and path == own else None
    if what.startswith("role/"):
        return f"{owner}:role/{own}" if owner and not owner.isdecimal() else None
    # An account is a user of its own name; a number is what other systems call the account.
    return own if owner in ("", own) or owner.isdecimal() else f"{owner}:user/{own}"


def is_of_account(name: str, account: str) -> bool:
    """Whether a policy names that account, or a user or role of it."""
    found = principal_of(name)
    return found is not None and (found == account or found.startswith((f"{account}:user/", f"{account}:role/")))
