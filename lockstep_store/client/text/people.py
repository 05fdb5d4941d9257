"""Tables of accounts and of security events."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep_store.client.text import formatting
from lockstep_store.wire.messages.users import AuditEvent, UserInfo


def accounts_text(users: Sequence[UserInfo], width: int = formatting.WIDTH, *, numbered: bool = False) -> str:
    """The accounts with their roles, states, log-ins and keys."""
    head = ["name", "role", "state", "MFA", "log-ins", "keys", "S3 keys"]
    rows = [
        [
            *(one.name, one.role, state_of(one), second_factor_of(one)),
            *(str(count) for count in (one.sessions, one.api_keys, one.s3_keys)),
        ]
        for one in users
    ]
    if numbered:
        head.insert(0, "#")
        for number, row in enumerate(rows, 1):
            row.insert(0, str(number))
    return formatting.table(head, rows, right="# log-ins keys", width=width)


def state_of(user: UserInfo) -> str:
    """Whether an account can be used."""
    return "disabled" if user.disabled else "one-time password" if user.must_change else "enabled"


def second_factor_of(user: UserInfo) -> str:
    """Whether an account has a second factor, or must get one."""
    return "yes" if user.second_factor else "required" if user.second_factor_required else "no"


def events_text(events: Sequence[AuditEvent], width: int = formatting.WIDTH) -> str:
    """Security events, the oldest first."""
    rows = [(formatting.when(one.at), one.kind, one.account, one.subject, one.detail or one.address) for one in events]
    return formatting.table(("time", "event", "by", "account", "detail"), rows, width=width)
