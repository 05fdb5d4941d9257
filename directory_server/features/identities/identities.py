"""Users, roles and groups of an account, with their inline policies and members.

A user is what a program signs in as: it has keys and no password. A role has no keys; others take it for a session. A
group gives its policies to its users. None of them has more rights than its account, and none may call this module: so
a key with limits cannot widen itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from directory_server.access.own_keys import principal_arn, user_id
from directory_server.access.policy import BadPolicy
from directory_server.access.policy_documents import (
    check_identity_words,
    check_principals,
    check_size,
    parse_identity,
    parse_trust,
)
from directory_server.metadata.statements import identities as rows
from directory_server.metadata.statements import people, s3_keys
from directory_server.metadata.statements.identities import IdentityRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.access_keys import PeopleClock
from directory_server.people.accounts import Accounts
from directory_server.people.audit import AuditJournal
from directory_server.people.person import Person
from lockstep_store.wire.errors import AlreadyExists, BadRequest, Conflict, Forbidden, NotFound
from lockstep_store.wire.messages import identities as im
from lockstep_store.wire.messages.base import MAX_LISTING, Nothing
from lockstep_store.wire.messages.s3 import S3Proof
from lockstep_store.wire.names import tenant_of

MAX_IDENTITIES = 1000
"""Of a kind, in one account."""
MAX_POLICY_BYTES = 20 * 1024
"""Of all inline policies of one identity."""
_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ID_PREFIXES = {"user": "AIDA", "role": "AROA", "group": "AGPA"}
T = TypeVar("T")


class IdentityOwners:
    """Finds the account whose identities a request is about. Only keys with all of its rights may change them."""

    def __init__(self, store: MetadataStore, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts

    def anyone(self, credential: str) -> Person:
        """Return who signed the request, limits included."""
        return self._accounts.signer(credential, "iam")

    def owner(self, credential: str) -> Person:
        """Return whose request it is. Forbidden for a key with limits and for a session.

        A log-in or an API key has all rights of its account.
        """
        if S3Proof.decode(credential) is None:
            return self._accounts.authenticate(credential)
        person = self.anyone(credential)
        if person.limits is not None:
            raise Forbidden(f"{person.limits.who} cannot call IAM: use a key of account {person.account} itself")
        with self._store.read() as reader:
            key = s3_keys.find_key(reader, person.s3_key)
        if key is None or key.session_hash is not None:
            raise Forbidden("a temporary key cannot call IAM: use a lasting one")
        return person


class Identities:
    """Thread-safe. `forget` makes every credential be looked up again, because limits have changed."""

    def __init__(
        self,
        store: MetadataStore,
        clock: PeopleClock,
        owners: IdentityOwners,
        audit: AuditJournal,
        forget: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._owners = owners
        self._audit = audit
        self._forget = forget

    # ------------------------------------------------------------ identities

    def list(self, request: im.IdentitiesRequest) -> im.IdentitiesReply:
        """Return a page of the account's identities of a kind, by name."""
        person = self._owners.owner(request.credential)
        with self._store.read() as reader:
            found = rows.page(reader, person.account, request.kind, request.after, MAX_IDENTITIES)
        wanted = [info(row) for row in found if row.path.startswith(request.path_prefix)]
        return im.IdentitiesReply(wanted[: request.limit], len(wanted) > request.limit)

    def get(self, request: im.IdentityRequest) -> im.IdentityInfo:
        """Return an identity; a user without a name is the caller, which needs no right for that."""
        if request.kind == "user" and not request.name:
            return self._caller(self._owners.anyone(request.credential))
        person = self._owners.owner(request.credential)
        if request.kind == "user" and request.name == person.account:
            return self._caller(person)
        with self._store.read() as reader:
            return info(find(reader, person.account, request.kind, request.name))

    def service_account(self, request: im.IdentityRequest) -> im.ServiceAccountInfo:
        """Return a user with its policies, keys and groups."""
        person = self._owners.owner(request.credential)
        with self._store.read() as reader:
            found = find(reader, person.account, "user", request.name)
            keys = s3_keys.keys_of(reader, found.account, MAX_LISTING, f"user/{found.name}")
            groups = rows.groups_of(reader, found.account, found.name)
            return im.ServiceAccountInfo(info(found), _policies(reader, found), keys, groups)

    def _caller(self, person: Person) -> im.IdentityInfo:
        limits = person.limits
        with self._store.read() as reader:
            if limits is not None and limits.identity.startswith("user/"):
                return info(find(reader, person.account, "user", limits.identity.partition("/")[2]))
            row = reader.one(people.ACCOUNT, name=person.account)
        if limits is not None and limits.identity:
            raise BadRequest("a role's session is no user: name one")
        if row is None:
            raise people.missing(person.account)
        return im.IdentityInfo("user", person.account, user_id(person), principal_arn(person), "/", row[1])

    def create(self, request: im.NewIdentityRequest) -> im.IdentityInfo:
        """Create an identity. AlreadyExists for a taken name in any case, Conflict when there are too many."""
        for document in request.policies.values():
            _check_policy(document)
        person = self._owners.owner(request.credential)
        if request.name.lower() == person.account.lower() and request.kind == "user":
            raise AlreadyExists(f"user {request.name!r} is the account itself")
        if request.name == im.SELF and request.kind == "role":
            raise AlreadyExists(f"every account has the role {im.SELF!r} already")
        made = IdentityRow(
            person.account,
            request.kind,
            request.name,
            _ID_PREFIXES[request.kind] + "".join(secrets.choice(_ID_LETTERS) for _ in range(17)),
            request.path,
            self._clock.wall(),
            request.description,
            request.trust,
            request.max_session_seconds if request.kind == "role" else 0.0,
        )

        def work(tx: Tx) -> im.IdentityInfo:
            if request.kind == "role":
                _check_trust(tx, person.tenant, request.trust)
            taken = rows.find(tx, made.account, made.kind, made.name)
            if taken is not None:
                raise AlreadyExists(f"{made.kind} {taken.name!r} exists already")
            if len(rows.page(tx, made.account, made.kind, "", MAX_IDENTITIES)) >= MAX_IDENTITIES:
                raise Conflict(f"account {made.account} has {MAX_IDENTITIES} {made.kind}s already: delete one first")
            rows.insert_identity(tx, made)
            for name, document in request.policies.items():
                _put_policy(tx, made, name, document)
            self._audit.write(tx, "identity made", person.account, f"{made.kind} {made.name}")
            return info(made)

        return self._store.write(work)

    def change_role(self, request: im.ChangeRoleRequest) -> im.IdentityInfo:
        """Change a role's trust policy, description or longest session. Its sessions go on."""

        def work(tx: Tx, person: Person) -> im.IdentityInfo:
            role = find(tx, person.account, "role", request.name)
            if request.trust is not None:
                _check_trust(tx, person.tenant, request.trust)
            changed = replace(
                role,
                description=role.description if request.description is None else request.description,
                trust=request.trust or role.trust,
                max_session_seconds=request.max_session_seconds or role.max_session_seconds,
            )
            rows.change_identity(tx, changed)
            self._audit.write(tx, "identity changed", person.account, f"role {role.name}")
            return info(changed)

        return self._change(request.credential, work)

    def delete(self, request: im.DeleteIdentityRequest) -> Nothing:
        """Delete an identity, with everything it has if that is asked for.

        Otherwise Conflict as long as it has policies, keys, groups or members, as at AWS.
        """

        def work(tx: Tx, person: Person) -> Nothing:
            found = find(tx, person.account, request.kind, request.name)
            if request.everything:
                _drop_all_of(tx, found)
            left = _left_of(tx, found)
            if left:
                raise Conflict(f"{found.kind} {found.name} still has {left}: delete those first", in_use=left)
            # Sessions of a role: another role of the same name must not revive them.
            s3_keys.drop_keys_of_identity(tx, found.account, f"{found.kind}/{found.name}")
            rows.drop_identity(tx, found)
            self._audit.write(tx, "identity deleted", person.account, f"{found.kind} {found.name}")
            return Nothing()

        return self._change(request.credential, work)

    # ------------------------------------------------------------ policies

    def policies(self, request: im.IdentityRequest) -> im.IdentityPoliciesReply:
        """Return the names of an identity's inline policies."""
        person = self._owners.owner(request.credential)
        with self._store.read() as reader:
            found = find(reader, person.account, request.kind, request.name)
            return im.IdentityPoliciesReply(list(_policies(reader, found)))

    def policy(self, request: im.IdentityPolicyRequest) -> im.IdentityPolicyReply:
        person = self._owners.owner(request.credential)
        with self._store.read() as reader:
            found = find(reader, person.account, request.kind, request.name)
            documents = _policies(reader, found)
        if request.policy not in documents:
            raise _no_policy(found, request.policy)
        return im.IdentityPolicyReply(documents[request.policy])

    def put_policy(self, request: im.PutIdentityPolicyRequest) -> Nothing:
        """Create or replace a policy. BadRequest for an invalid document, Conflict when there is too much text."""
        _check_policy(request.document)

        def work(tx: Tx, person: Person) -> Nothing:
            found = find(tx, person.account, request.kind, request.name)
            _put_policy(tx, found, request.policy, request.document)
            self._note_policy(tx, person, found, request.policy)
            return Nothing()

        return self._change(request.credential, work)

    def delete_policy(self, request: im.IdentityPolicyRequest) -> Nothing:
        """Delete a policy. Raises NotFound if there is none of that name."""

        def work(tx: Tx, person: Person) -> Nothing:
            found = find(tx, person.account, request.kind, request.name)
            if not rows.drop_policy(tx, found.account, found.kind, found.name, request.policy):
                raise _no_policy(found, request.policy)
            self._note_policy(tx, person, found, request.policy)
            return Nothing()

        return self._change(request.credential, work)

    def _note_policy(self, tx: Tx, person: Person, found: IdentityRow, policy: str) -> None:
        self._audit.write(tx, "access changed", person.account, f"{found.kind} {found.name}", detail=f"policy {policy}")

    # ------------------------------------------------------------ groups

    def members(self, request: im.IdentityRequest) -> im.IdentitiesReply:
        """Return the users of a group."""
        return self._linked(request, "group", rows.members_of, "user")

    def groups_of(self, request: im.IdentityRequest) -> im.IdentitiesReply:
        """Return the groups of a user."""
        return self._linked(request, "user", rows.groups_of, "group")

    def _linked(
        self, request: im.IdentityRequest, kind: str, names_of: Callable[[Reader, str, str], Sequence[str]], others: str
    ) -> im.IdentitiesReply:
        person = self._owners.owner(request.credential)
        with self._store.read() as reader:
            found = find(reader, person.account, kind, request.name)
            names = names_of(reader, person.account, found.name)
            return im.IdentitiesReply([info(find(reader, person.account, others, name)) for name in names])

    def add_member(self, request: im.GroupMemberRequest) -> Nothing:
        """Add a user to a group. Safe to repeat."""

        def add(tx: Tx, group: IdentityRow, user: str) -> None:
            rows.add_member(tx, group.account, group.name, user)

        return self._change_members(request, add)

    def remove_member(self, request: im.GroupMemberRequest) -> Nothing:
        """Remove a user from a group. Raises NotFound if the user is not in it."""

        def remove(tx: Tx, group: IdentityRow, user: str) -> None:
            if not rows.drop_member(tx, group.account, group.name, user):
                raise NotFound(f"user {user} is not in group {group.name}")

        return self._change_members(request, remove)

    def _change_members(self, request: im.GroupMemberRequest, act: Callable[[Tx, IdentityRow, str], None]) -> Nothing:
        def work(tx: Tx, person: Person) -> Nothing:
            group = find(tx, person.account, "group", request.group)
            user = find(tx, person.account, "user", request.user)
            act(tx, group, user.name)
            self._audit.write(tx, "access changed", person.account, f"group {group.name}", detail=f"user {user.name}")
            return Nothing()

        return self._change(request.credential, work)

    def _change(self, credential: str, work: Callable[[Tx, Person], T]) -> T:
        person = self._owners.owner(credential)
        done = self._store.write(lambda tx: work(tx, person))
        self._forget()
        return done


def find(reader: Reader, account: str, kind: str, name: str) -> IdentityRow:
    """Return an identity. Raises NotFound."""
    found = rows.find(reader, account, kind, name)
    if found is None:
        raise NotFound(f"account {account} has no {kind} {name[:128]!r}")
    return found


def info(row: IdentityRow) -> im.IdentityInfo:
    """Return an identity as messages have it."""
    return im.IdentityInfo(
        row.kind,  # type: ignore[arg-type]
        row.name,
        row.id,
        f"arn:aws:iam::{row.account}:{row.kind}{row.path}{row.name}",
        row.path,
        row.created_at,
        row.description,
        row.trust,
        row.max_session_seconds,
    )


def _policies(reader: Reader, found: IdentityRow) -> dict[str, str]:
    return rows.policies_of(reader, found.account, found.kind, found.name)


def _check_policy(document: str) -> None:
    try:
        check_identity_words(parse_identity(document))
    except BadPolicy as error:
        raise BadRequest(str(error), s3_code="MalformedPolicyDocument") from error


def _put_policy(tx: Tx, found: IdentityRow, name: str, document: str) -> None:
    documents = _policies(tx, found) | {name: document}
    if sum(len(text.encode()) for text in documents.values()) > MAX_POLICY_BYTES:
        raise Conflict(f"the policies of {found.kind} {found.name} may have {MAX_POLICY_BYTES} bytes in all")
    rows.put_policy(tx, found.account, found.kind, found.name, name, document)


def _drop_all_of(tx: Tx, found: IdentityRow) -> None:
    """Delete what would keep an identity from being deleted."""
    for policy in _policies(tx, found):
        rows.drop_policy(tx, found.account, found.kind, found.name, policy)
    if found.kind == "group":
        for user in rows.members_of(tx, found.account, found.name):
            rows.drop_member(tx, found.account, found.name, user)
    if found.kind == "user":
        for group in rows.groups_of(tx, found.account, found.name):
            rows.drop_member(tx, found.account, group, found.name)
        identity = f"user/{found.name}"
        for key in s3_keys.keys_of(tx, found.account, MAX_LISTING, identity):
            s3_keys.drop_key(tx, key.access_key_id, found.account, identity)


def _no_policy(found: IdentityRow, policy: str) -> NotFound:
    return NotFound(f"{found.kind} {found.name} has no policy {policy!r}")


def _check_trust(reader: Reader, tenant: str, text: str) -> None:
    try:
        for statement in parse_trust(check_size(text)).statements:
            check_principals(statement, lambda name: tenant_of(name) == tenant and rows.is_principal(reader, name))
    except BadPolicy as error:
        raise BadRequest(str(error), s3_code="MalformedPolicyDocument") from error


def _left_of(reader: Reader, found: IdentityRow) -> str:
    """Return what must be deleted before an identity; empty if nothing."""
    if _policies(reader, found):
        return "policies"
    if found.kind == "user" and s3_keys.keys_of(reader, found.account, MAX_LISTING, f"user/{found.name}"):
        return "access keys"
    if found.kind == "user" and rows.groups_of(reader, found.account, found.name):
        return "groups"
    if found.kind == "group" and rows.members_of(reader, found.account, found.name):
        return "members"
    return ""
