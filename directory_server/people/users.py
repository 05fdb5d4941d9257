"""What administrators do with accounts: list, create, change, delete, reset, and end their log-ins and keys.

An administrator who is disabled, deleted or no longer one leaves no invitation behind: a program that joins gets the
storage keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from directory_server.metadata.statements import (
    access,
    buckets,
    deleted_names,
    folders,
    groups,
    identities,
    identity_providers,
    journal,
    people,
    quotas,
    s3_keys,
    second_factor,
    share_links,
    tenants,
)
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.access_keys import PeopleClock
from directory_server.people.accounts import MAX_API_KEYS, Accounts, insert_account
from directory_server.people.audit import AuditJournal
from directory_server.people.log_ins import LogIns
from directory_server.people.look_alikes import check_separator
from directory_server.people.names import prepared_name
from directory_server.people.password_rules import check_new_password
from directory_server.people.person import Person
from directory_server.people.second_factors import SecondFactors
from lockstep_store.wire.errors import AlreadyExists, BadName, Conflict, NotFound
from lockstep_store.wire.messages.people import ApiKeyInfo
from lockstep_store.wire.messages.users import (
    AccountRole,
    ChangeUserRequest,
    CreatedUser,
    CreateUserRequest,
    DeleteUserRequest,
    RevokeAccessRequest,
    RevokedAccess,
    SessionInfo,
    UserAccessReply,
    UserInfo,
    UsersReply,
)
from lockstep_store.wire.names import TENANT_SEPARATOR, check_account, quoted, tenant_of

_MAX_SHOWN = 1000


class Users:
    """Thread-safe. Callers have checked that `by` is an administrator, of the cluster or of a tenant.

    To one of a tenant, only that tenant's accounts exist.
    """

    def __init__(
        self,
        store: MetadataStore,
        clock: PeopleClock,
        log_ins: LogIns,
        accounts: Accounts,
        factors: SecondFactors,
        audit: AuditJournal,
    ) -> None:
        self._store = store
        self._clock = clock
        self._log_ins = log_ins
        self._accounts = accounts
        self._factors = factors
        self.end_locks: Callable[[Tx, str], None] = lambda tx, account: None
        """Ends the locks and places in line of an account that is being deleted."""
        self._audit = audit

    def all(self, by: Person) -> UsersReply:
        """Return every account, by name; for an administrator of a tenant, the tenant's."""
        with self._store.read() as reader:
            return UsersReply([user for user in _users(reader) if by.administers(user.name)])

    def create(self, by: Person, request: CreateUserRequest) -> CreatedUser:
        """Make an account; without a password it gets a one-time password. AlreadyExists for a taken name."""
        name = check_separator(prepared_name(check_account(request.name, in_tenant=True)))
        tenant = tenant_of(name)
        if not by.administers(name):
            example = f"{by.tenant}{TENANT_SEPARATOR}ann"
            raise BadName(f"names of accounts in your tenant begin with its name, such as {example}")
        one_time = "" if request.password else secrets.token_urlsafe(12)
        password = self._log_ins.hashed(one_time or check_new_password(name, request.password))

        def work(tx: Tx) -> UserInfo:
            if tenant:
                tenants.require(tx, tenant)
                quotas.demand_room(tx, quotas.TENANT, tenant, "accounts")
            if tx.one(people.ACCOUNT, name=name) is not None:
                raise AlreadyExists(f"an account {quoted(name)} exists already: choose another name")
            if (other := self._log_ins.look_alikes.find(tx, name)) is not None:
                raise AlreadyExists(
                    f"the name {quoted(name)} looks like the account {quoted(other)}: choose a more distinct name"
                )
            insert_account(
                tx,
                name,
                password,
                admin=request.role == "administrator",
                at=self._clock.wall(),
                read_only=request.role == "read-only",
                must_change=bool(one_time),
            )
            self._audit.write(tx, "account made", by.account, name, detail=request.role)
            return _user(tx, name, by)

        return CreatedUser(self._store.write(work), one_time)

    def change(self, by: Person, request: ChangeUserRequest) -> UserInfo:
        """Change role, state, or whether a second factor is required. Conflict for the last enabled administrator.

        The log-ins end of an account that is disabled, or lacks a second factor that it must have now.
        """

        def work(tx: Tx) -> UserInfo:
            user = _user(tx, request.name, by)
            role = user.role if request.role is None else request.role
            disabled = user.disabled if request.disabled is None else request.disabled
            required = request.second_factor_required
            required = user.second_factor_required if required is None else required
            if disabled or role != "administrator":
                _keep_an_administrator(tx, user)
            people.set_state(
                tx, user.name, administrator=role == "administrator", read_only=role == "read-only", disabled=disabled
            )
            second_factor.require(tx, user.name, required)
            if disabled or self._factors.must_enrol(tx, user.name):
                tx.run(people.DELETE_SESSIONS_OF, of_account=user.name)
            if disabled or role != "administrator":
                _end_invitations(tx, user)
            detail = f"{role}, {'disabled' if disabled else 'enabled'}{', second factor required' if required else ''}"
            self._audit.write(tx, "account changed", by.account, user.name, detail=detail)
            return _user(tx, user.name, by)

        changed = self._store.write(work)
        self._accounts.forget_all()
        return changed

    def delete(self, by: Person, request: DeleteUserRequest) -> None:
        """Delete an account, its log-ins and keys, and give its buckets to `buckets_to`.

        Policies and lists that gave it access name an id in its place. The audit tells whose id it is.

        Conflict when it owns buckets that nobody is named for, and for the last enabled administrator.
        """

        id = deleted_names.new_id()

        def work(tx: Tx) -> None:
            user = _user_to_delete(tx, by, request)
            if user.buckets:
                tx.run(people.GIVE_BUCKETS, of_account=user.name, new_owner=request.buckets_to)
            for statement in (
                people.DELETE_SESSIONS_OF,
                people.DELETE_API_KEYS_OF,
                s3_keys.DELETE_KEYS_OF,
                *identities.DELETE_ALL_OF,
                *second_factor.DELETE_ALL_OF,
                identity_providers.DELETE_LINKS_OF,
                share_links.DELETE_LINKS_OF,
                groups.DELETE_MEMBERSHIPS_OF,
                *folders.DELETE_ALL_OF,
                people.DELETE_ACCOUNT,
            ):
                tx.run(statement, of_account=user.name)
            self.end_locks(tx, user.name)
            access.drop_grants_of(tx, user.name, tenant_of(user.name))
            deleted_names.replace_deleted(tx, user.name, id)
            journal.disown_past_buckets(tx, user.name)
            _end_invitations(tx, user)
            quotas.drop_quotas(tx, quotas.ACCOUNT, user.name)
            detail = f"{id} in policies and lists{f', buckets to {request.buckets_to}' if user.buckets else ''}"
            self._audit.write(tx, "account deleted", by.account, user.name, detail=detail)

        with self._store.read() as reader:
            name = _user_to_delete(reader, by, request).name
        deleted_names.replace_in_most_versions(self._store, name, id)
        self._store.write(work)
        self._accounts.forget_all()

    def reset(self, by: Person, name: str) -> CreatedUser:
        """Replace a password by a one-time password, and end every log-in. Keys and the second factor stay.

        Conflict for an account that logs in by single sign-on only.
        """
        one_time = secrets.token_urlsafe(12)
        password = self._log_ins.hashed(one_time)

        def work(tx: Tx) -> UserInfo:
            user = _user(tx, name, by)
            if user.identities and not user.has_password:
                raise Conflict(f"{name} logs in by single sign-on and has no password: unlink its identities first")
            people.set_password(tx, user.name, password, must_change=True)
            tx.run(people.DELETE_SESSIONS_OF, of_account=user.name)
            self._audit.write(tx, "password reset", by.account, user.name)
            return _user(tx, user.name, by)

        made = CreatedUser(self._store.write(work), one_time)
        self._accounts.forget_all()
        return made

    def reset_second_factor(self, by: Person, name: str) -> UserInfo:
        """Delete a second factor, whose owner has lost it, and end every log-in. Keys stay. NotFound without one."""

        def work(tx: Tx) -> UserInfo:
            user = _user(tx, name, by)
            if not self._factors.drop(tx, user.name):
                raise NotFound(f"{user.name} has no second factor")
            tx.run(people.DELETE_SESSIONS_OF, of_account=user.name)
            self._audit.write(tx, "second factor reset", by.account, user.name)
            return _user(tx, user.name, by)

        changed = self._store.write(work)
        self._accounts.forget_all()
        return changed

    def access(self, by: Person, name: str) -> UserAccessReply:
        """Return an account's log-ins and keys, without secrets."""
        with self._store.read() as reader:
            user = _user(reader, name, by)
            sessions = reader.all(people.SESSIONS_OF, of_account=user.name, count=_MAX_SHOWN)
            keys = reader.all(people.API_KEYS_OF, account=user.name, count=MAX_API_KEYS)
            s3 = s3_keys.every_key_of(reader, user.name, _MAX_SHOWN)
        shown = [SessionInfo(f"session-{row[0].hex()[:16]}", row[1], row[2], row[3]) for row in sessions]
        return UserAccessReply(shown, [ApiKeyInfo(*row) for row in keys], [key.access_key_id for key in s3])

    def revoke(self, by: Person, request: RevokeAccessRequest) -> RevokedAccess:
        """End one log-in or key by its id; without one, all of them and the share links. NotFound for an unknown id."""

        def work(tx: Tx) -> int:
            user = _user(tx, request.name, by)
            if request.id:
                ended = _end_one(tx, user.name, request.id)
            else:
                every = (
                    people.DELETE_SESSIONS_OF,
                    people.DELETE_API_KEYS_OF,
                    s3_keys.DELETE_KEYS_OF,
                    share_links.DELETE_LINKS_OF,
                )
                ended = sum(tx.run(statement, of_account=user.name) for statement in every)
                _end_invitations(tx, user)
            if request.id and not ended:
                raise NotFound(f"{user.name} has no log-in or key {request.id!r}")
            self._audit.write(tx, "access revoked", by.account, user.name, detail=request.id or "all")
            return ended

        ended = self._store.write(work)
        self._accounts.forget_all()
        return RevokedAccess(ended)


def _end_one(tx: Tx, account: str, id: str) -> int:
    for row in tx.all(people.SESSIONS_OF, of_account=account, count=_MAX_SHOWN):
        if f"session-{row[0].hex()[:16]}" == id:
            return tx.run(people.DELETE_SESSION, hash=row[0])
    key = tx.one(people.API_KEY_HASH, id=id, account=account)
    if key is not None:
        return tx.run(people.DELETE_API_KEY, hash=key[0])
    return 1 if s3_keys.drop_key(tx, id, account) is not None else 0


def _end_invitations(tx: Tx, user: UserInfo) -> None:
    """End all unused invitations with an administrator's access. They do not say who made them."""
    if user.role == "administrator" and not tenant_of(user.name):
        tx.run(people.DELETE_JOIN_SECRETS)


def _user_to_delete(reader: Reader, by: Person, request: DeleteUserRequest) -> UserInfo:
    user = _user(reader, request.name, by)
    _keep_an_administrator(reader, user)
    if user.buckets and not request.buckets_to:
        raise Conflict(
            f"{user.name} owns buckets ({', '.join(user.buckets)[:200]}): name the account that gets them",
            buckets=user.buckets,
        )
    if user.buckets:
        heir = _user(reader, request.buckets_to, by)
        if heir.name == user.name:
            raise Conflict("the buckets must go to another account")
        if tenant_of(heir.name) != tenant_of(user.name):
            raise Conflict("the buckets must go to an account of the same tenant")
    return user


def _keep_an_administrator(reader: Reader, user: UserInfo) -> None:
    if tenant_of(user.name):
        return  # the cluster's administrators appoint others
    if user.role == "administrator" and not reader.one(people.OTHER_ADMINISTRATORS, name=user.name)[0]:  # type: ignore[index]
        raise Conflict(f"{user.name} is the last administrator: make another one first")


def _user(reader: Reader, name: str, by: Person) -> UserInfo:
    found = next((user for user in _users(reader) if user.name == name), None)
    if found is None or not by.administers(name):
        raise people.missing(name)
    return found


def _users(reader: Reader) -> list[UserInfo]:
    owned: dict[str, list[str]] = {}
    for bucket in buckets.all_buckets(reader):
        owned.setdefault(bucket.owner, []).append(bucket.name)
    return [
        UserInfo(
            row[0],
            _role(bool(row[1]), bool(row[2])),
            row[3],
            disabled=bool(row[4]),
            must_change=bool(row[5]),
            sessions=row[6],
            api_keys=row[7],
            s3_keys=row[8],
            buckets=owned.get(row[0], []),
            second_factor_required=bool(row[9]),
            second_factor=bool(row[10]),
            identities=row[11],
            has_password=bool(row[12]),
        )
        for row in reader.all(people.USERS)
    ]


def _role(admin: bool, read_only: bool) -> AccountRole:
    return "administrator" if admin else "read-only" if read_only else "member"
