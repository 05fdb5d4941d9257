"""The calls about people and their buckets. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from lockstep_store.client.api.caller import ApiCaller, segment
from lockstep_store.wire.errors import SecondFactorNeeded
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.buckets import BucketInfo, BucketsReply, Versioning
from lockstep_store.wire.messages.people import AccountInfo, ApiKeyInfo, ApiKeysReply, LoginReply
from lockstep_store.wire.messages.quotas import QuotaReply, QuotaScope, QuotasReply, Resource
from lockstep_store.wire.messages.s3 import S3KeyInfo, S3KeysReply
from lockstep_store.wire.messages.users import (
    AccountRole,
    AuditEvent,
    AuditReply,
    CreatedUser,
    RevokedAccess,
    UserAccessReply,
    UserInfo,
    UsersReply,
)
from lockstep_store.wire.names import check_bucket


class PeopleCalls(ApiCaller):
    """Log-ins, API keys and S3 access keys."""

    def login(
        self, username: str, password: str, *, register: bool = False, create: bool = True, code: str = ""
    ) -> LoginReply:
        """Log in and use the token from now on.

        A new name creates an account, unless `create` is false; with `register` it must be new. Where people make
        accounts themselves, NotLoggedIn has the fact `no_account` for a new name that creates none.

        `code` is one of the authenticator app, or a recovery code. Raises SecondFactorNeeded if one is needed, or if
        the account must set up a second factor first, which also a new account may have to.
        """
        address = "/api/v1/auth/register" if register else "/api/v1/auth/login"
        message = _with_code(code, username=username, password=password, **({} if create else {"create": False}))
        reply = self._ask(LoginReply, "POST", address, message=message)
        if reply.token:
            self.transport.credential = reply.token
        elif reply.must_enrol:
            raise _enrol_first("the account was created, and" if reply.created else "this account")
        elif register:
            return self.login(username, password)
        return reply

    def logout(self) -> None:
        """End this log-in's token at the cluster, and drop it here."""
        self.transport.request("POST", "/api/v1/auth/logout", message={}, repeatable=True)
        self.transport.credential = ""

    def change_password(self, username: str, password: str, new_password: str, *, code: str = "") -> LoginReply:
        """Change a password and use the new log-in from now on; every other log-in of the account ends.

        Raises SecondFactorNeeded like `login`; with the reason `enrol`, the password was changed.
        """
        body = _with_code(code, username=username, password=password, new_password=new_password)
        reply = self._ask(LoginReply, "POST", "/api/v1/auth/password", message=body)
        if reply.must_enrol:
            raise _enrol_first("the password was changed, and this account")
        self.transport.credential = reply.token
        return reply

    def me(self) -> AccountInfo:
        return self._ask(AccountInfo, "GET", "/api/v1/auth/me")

    def api_keys(self) -> list[ApiKeyInfo]:
        return self._ask(ApiKeysReply, "GET", "/api/v1/auth/keys").keys

    def create_key(self, name: str) -> ApiKeyInfo:
        return self._ask(ApiKeyInfo, "POST", "/api/v1/auth/keys", message={"name": name})

    def revoke_key(self, key_id: str) -> None:
        self.transport.request("DELETE", f"/api/v1/auth/keys/{segment(key_id)}", repeatable=True)

    def s3_keys(self) -> list[S3KeyInfo]:
        return self._ask(S3KeysReply, "GET", "/api/v1/auth/s3-keys").keys

    def create_s3_key(self, name: str, valid_seconds: float | None = None) -> S3KeyInfo:
        """Create an S3 access key; with `valid_seconds`, a temporary one that has a session token."""
        message = {"name": name} if valid_seconds is None else {"name": name, "valid_seconds": valid_seconds}
        return self._ask(S3KeyInfo, "POST", "/api/v1/auth/s3-keys", message=message)

    def rotate_s3_key(self, access_key_id: str) -> S3KeyInfo:
        """Replace a key with a new one. The old one stops working."""
        return self._ask(S3KeyInfo, "POST", f"/api/v1/auth/s3-keys/{segment(access_key_id)}/rotate", message={})

    def revoke_s3_key(self, access_key_id: str) -> None:
        self.transport.request("DELETE", f"/api/v1/auth/s3-keys/{segment(access_key_id)}", repeatable=True)


def _with_code(code: str, **body: str | bool) -> dict[str, str | bool]:
    return {**body, "code": code} if code else body


def _enrol_first(what: str) -> SecondFactorNeeded:
    return SecondFactorNeeded(f"{what} must have a second factor: set it up with `lockstep mfa enable`", reason="enrol")


class UserCalls(ApiCaller):
    """Accounts and the audit journal, for administrators."""

    def users(self) -> list[UserInfo]:
        """Return the accounts, by name."""
        return self._ask(UsersReply, "GET", "/api/v1/users").users

    def create_user(self, name: str, role: AccountRole = "member", password: str = "") -> CreatedUser:
        """Create an account; without a password it gets a one-time password."""
        message = {"name": name, "role": role, "password": password}
        return self._ask(CreatedUser, "POST", "/api/v1/users", message=message)

    def change_user(
        self,
        name: str,
        *,
        role: AccountRole | None = None,
        disabled: bool | None = None,
        second_factor_required: bool | None = None,
    ) -> UserInfo:
        """Change an account's role, disable or enable it, or require a second factor."""
        wanted = {"role": role, "disabled": disabled, "second_factor_required": second_factor_required}
        message = {key: value for key, value in wanted.items() if value is not None}
        return self._ask(UserInfo, "PATCH", f"/api/v1/users/{segment(name)}", message=message, repeatable=True)

    def delete_user(self, name: str, buckets_to: str = "") -> None:
        """Delete an account with its log-ins and keys; its buckets go to `buckets_to`."""
        params = {"buckets_to": buckets_to} if buckets_to else {}
        self.transport.request("DELETE", f"/api/v1/users/{segment(name)}", params=params)

    def reset_password(self, name: str) -> CreatedUser:
        """Replace a password by a one-time password."""
        return self._ask(CreatedUser, "POST", f"/api/v1/users/{segment(name)}/reset", message={})

    def user_access(self, name: str) -> UserAccessReply:
        """Return an account's log-ins and keys, without secrets."""
        return self._ask(UserAccessReply, "GET", f"/api/v1/users/{segment(name)}/access")

    def revoke_user_access(self, name: str, id: str = "") -> int:
        """End one log-in or key of an account by its id, or all without an id; returns how many ended."""
        address = f"/api/v1/users/{segment(name)}/access" + (f"/{segment(id)}" if id else "")
        return self._ask(RevokedAccess, "DELETE", address).ended

    def audit(self, after: int = 0, limit: int = MAX_LISTING) -> list[AuditEvent]:
        """Return security events after the id `after`, the oldest first."""
        params = {"after": str(after), "limit": str(limit)}
        return self._ask(AuditReply, "GET", "/api/v1/audit", params=params).events


class QuotaCalls(ApiCaller):
    """The calls about what accounts and buckets may have."""

    def quotas(self) -> list[QuotaReply]:
        """Return every account, bucket and tenant with a quota (administrators)."""
        return self._ask(QuotasReply, "GET", "/api/v1/quotas").owners

    def quota(self, scope: QuotaScope, name: str) -> QuotaReply:
        """Return what an account or bucket may have, and has."""
        return self._ask(QuotaReply, "GET", f"/api/v1/quotas/{scope}s/{segment(name)}")

    def set_quota(self, scope: QuotaScope, name: str, values: dict[Resource, int | None]) -> QuotaReply:
        """Set quotas; None removes one, and the others stay (administrators)."""
        address = f"/api/v1/quotas/{scope}s/{segment(name)}"
        return self._ask(QuotaReply, "PATCH", address, message={"quotas": values}, repeatable=True)


class BucketCalls(ApiCaller):
    """The calls about the buckets that the account may use."""

    def buckets(self) -> list[BucketInfo]:
        return self._ask(BucketsReply, "GET", "/api/v1/buckets").buckets

    def bucket(self, name: str) -> BucketInfo:
        return self._ask(BucketInfo, "GET", f"/api/v1/buckets/{check_bucket(name)}")

    def create_bucket(self, name: str, versioning: Versioning = "enabled", *, shared: bool = False) -> BucketInfo:
        message = {"name": check_bucket(name), "versioning": versioning, "shared": shared}
        return self._ask(BucketInfo, "POST", "/api/v1/buckets", message=message)

    def change_bucket(self, name: str, versioning: Versioning | None = None, shared: bool | None = None) -> BucketInfo:
        wanted = {"versioning": versioning, "shared": shared}
        message = {key: value for key, value in wanted.items() if value is not None}
        return self._ask(BucketInfo, "PATCH", f"/api/v1/buckets/{check_bucket(name)}", message=message, repeatable=True)

    def delete_bucket(self, name: str) -> None:
        self.transport.request("DELETE", f"/api/v1/buckets/{check_bucket(name)}")
