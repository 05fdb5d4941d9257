"""The person behind work that goes on after their request: with the rights that they have now."""

from __future__ import annotations

from directory_server.metadata.statements import people
from directory_server.metadata.store import Reader
from directory_server.people.limits import Limits, limits_of_key
from directory_server.people.person import Person
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.names import quoted


def absent_person(reader: Reader, account: str, access: str = "", limited_by: str = "") -> Person:
    """Return the person of an account, with the description of their request and the limits of their key.

    Raises NotLoggedIn when the account is gone or disabled, or when the key has ended.
    """
    found = people.state_of(reader, account)
    if found is None:
        raise NotLoggedIn(f"account {quoted(account)} no longer exists")
    role, disabled = found
    if disabled:
        raise NotLoggedIn(f"account {quoted(account)} is disabled")
    return person_of_role(account, role, access, limits_of_key(reader, limited_by) if limited_by else None)


def person_of_role(account: str, role: people.Role, access: str, limits: Limits | None) -> Person:
    """Return the person with an account's role, unless the key has limits; `access` may describe the request."""
    return Person(
        account,
        role.admin and limits is None,
        "",
        access=S3Access.decode(access),
        read_only=role.read_only or (limits is not None and limits.read_only),
        limits=limits,
        tenant_admin=role.tenant_admin and limits is None,
    )
