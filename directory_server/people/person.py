"""A person: the authenticated caller of a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from directory_server.people.limits import Limits
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.names import quoted, tenant_of

READING_ACTIONS = ("s3:get", "s3:list", "s3:head")


@dataclass(frozen=True, slots=True)
class Person:
    """An authenticated caller. `account` is empty for an anonymous S3 request; `access` describes an S3 request.

    `admin` is an administrator of the cluster, `tenant_admin` one of the account's tenant alone. `session` identifies
    the log-in or API key without its secret. `expires` is directory time, if it expires. A person with `limits` is no
    administrator, whatever the account is: only `access` may give such a person a right.
    """

    account: str
    admin: bool
    session: str
    expires: float | None = None
    access: S3Access | None = field(default=None, compare=False)
    read_only: bool = False
    """The account's role only lets it read, whatever it owns and policies allow."""
    limits: Limits | None = None
    s3_key: str = ""
    """The id of the S3 access key that signed the request; empty for other credentials."""
    tenant_admin: bool = False

    @property
    def tenant(self) -> str:
        """The account's tenant; empty without one."""
        return tenant_of(self.account)

    @property
    def of_administrator(self) -> bool:
        """Whether the account is an administrator, of the cluster or its tenant: `limits` may still narrow it."""
        return self.admin or self.tenant_admin or (self.limits is not None and self.limits.admin)

    def administers(self, account: str) -> bool:
        """Whether the person is an administrator of what that account owns: of its tenant, or of the cluster."""
        return self.admin or (self.tenant_admin and tenant_of(account) == self.tenant)

    def changes_as_reader(self, action: str) -> bool:
        """Whether the action is a change that the account's role does not allow."""
        return self.read_only and not action.lower().startswith(READING_ACTIONS)

    @property
    def only_reads(self) -> str:
        """Why a change is refused to an account whose role only lets it read."""
        if self.limits is not None and self.limits.read_only:
            return "the account that took this role is read-only: ask an administrator for the role member"
        return f"account {quoted(self.account)} is read-only: ask an administrator for the role member"

    @property
    def asks_s3(self) -> bool:
        """Whether the request is an S3 operation."""
        return self.access is not None and self.access.is_s3


class People(Protocol):
    """Finds the person that a credential belongs to."""

    def authenticate(self, credential: str) -> Person:
        """Return the person. Raises NotLoggedIn if the credential is wrong or has ended."""
        ...

    def identify(self, credential: str) -> Person:
        """Return the person; an anonymous S3 request gets a person without a name."""
        ...
