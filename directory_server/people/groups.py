"""Groups of accounts: administrators make and delete them, and with a group's managers change who is in it.

Each tenant has its own groups, which nobody outside it sees.

What a group may do is in the grants and policies that name it. Each decision reads the members in its own snapshot, so
a change takes effect with its transaction.
"""

from __future__ import annotations

from directory_server.metadata.statements import access, people
from directory_server.metadata.statements import groups as rows
from directory_server.metadata.statements.groups import GroupRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.access_keys import PeopleClock
from directory_server.people.audit import AuditJournal
from directory_server.people.names import prepared_name
from directory_server.people.person import Person
from lockstep_store.wire.errors import AlreadyExists, BadName, Conflict, Forbidden
from lockstep_store.wire.messages.groups import (
    GROUP_PREFIX,
    MAX_GROUP_MEMBERS,
    MAX_GROUPS,
    AccountGroup,
    ChangeGroupRequest,
    CreateGroupRequest,
    GroupRole,
    GroupsReply,
)
from lockstep_store.wire.names import check_group, tenant_of


class Groups:
    """Thread-safe."""

    def __init__(self, store: MetadataStore, clock: PeopleClock, audit: AuditJournal) -> None:
        self._store = store
        self._clock = clock
        self._audit = audit

    def all(self, person: Person) -> GroupsReply:
        """Return every group for administrators, for others their own ones, by name and without the members."""
        with self._store.read() as reader:
            mine = rows.groups_of(reader, person.account)
            found = rows.every_group(reader, person.tenant)
        every = person.administers(person.account)
        return GroupsReply([_info(one, mine.get(one.name)) for one in found if every or one.name in mine])

    def show(self, person: Person, name: str) -> AccountGroup:
        """Return a group with its members. NotFound unless the person is in it, or an administrator."""
        with self._store.read() as reader:
            return _reply(reader, person, _seen(reader, person, name))

    def create(self, by: Person, request: CreateGroupRequest) -> AccountGroup:
        """Make a group. The caller has checked that `by` is an administrator. AlreadyExists for a taken name."""
        name = prepared_name(check_group(request.name))

        def work(tx: Tx) -> AccountGroup:
            if rows.find(tx, by.tenant, name) is not None:
                raise AlreadyExists(f"there is a group {name!r} already")
            if len(rows.every_group(tx, by.tenant)) >= MAX_GROUPS:
                raise Conflict(f"there are {MAX_GROUPS} groups already: delete one first")
            rows.insert_group(tx, by.tenant, name, request.description, self._clock.wall())
            _change_members(tx, by.tenant, name, request.accounts)
            self._audit.write(tx, "group made", by.account, name, detail=_words(request.accounts))
            return _reply(tx, by, name)

        return self._store.write(work)

    def change(self, by: Person, request: ChangeGroupRequest) -> AccountGroup:
        """Change the description or the members. Forbidden unless `by` is a manager or an administrator."""

        def work(tx: Tx) -> AccountGroup:
            name = self._managed(tx, by, request.name)
            if request.description is not None:
                rows.describe(tx, by.tenant, name, request.description)
            _change_members(tx, by.tenant, name, request.accounts)
            self._audit.write(tx, "group changed", by.account, name, detail=_words(request.accounts))
            return _reply(tx, by, name)

        return self._store.write(work)

    def delete(self, by: Person, name: str) -> None:
        """Delete a group with the grants to it. The caller has checked that `by` is an administrator.

        Conflict while a bucket's policy names it: the next group of that name would get what the policy allows.
        """

        def work(tx: Tx) -> None:
            found = _seen(tx, by, name)
            known = f"{GROUP_PREFIX}{found}"
            named = access.buckets_whose_policy_names(tx, known, by.tenant)
            if named:
                raise Conflict(
                    f"the policies of buckets name group {found!r} ({', '.join(named)[:200]}): change them first",
                    buckets=named,
                )
            access.drop_grants_of(tx, known, by.tenant)
            rows.delete_group(tx, by.tenant, found)
            self._audit.write(tx, "group deleted", by.account, found)

        self._store.write(work)

    def _managed(self, tx: Tx, person: Person, name: str) -> str:
        found = _seen(tx, person, name)
        if person.read_only:
            raise Forbidden(person.only_reads)
        if not person.administers(person.account) and rows.groups_of(tx, person.account).get(found) != "manager":
            raise Forbidden(f"only managers of group {found!r} and administrators may change it")
        return found


def _change_members(tx: Tx, tenant: str, name: str, changes: dict[str, GroupRole | None]) -> None:
    for account, role in changes.items():
        if role is not None and (tenant_of(account) != tenant or tx.one(people.ACCOUNT, name=account) is None):
            raise people.missing(account)
        rows.set_member(tx, tenant, name, account, role)
    if changes and len(rows.members_of(tx, tenant, name)) > MAX_GROUP_MEMBERS:
        raise Conflict(f"a group may have at most {MAX_GROUP_MEMBERS} members: create a second group")


def _seen(reader: Reader, person: Person, name: str) -> str:
    """Return the stored name of a group that the person may see; NotFound without one."""
    try:
        found = rows.find(reader, person.tenant, prepared_name(name))
    except BadName:
        found = None
    if found is None or not (
        person.administers(person.account) or found.name in rows.groups_of(reader, person.account)
    ):
        raise rows.missing(name)
    return found.name


def _reply(reader: Reader, person: Person, name: str) -> AccountGroup:
    found = rows.find(reader, person.tenant, name)
    assert found is not None
    accounts = rows.members_of(reader, person.tenant, name)
    return _info(found, accounts.get(person.account), accounts)


def _info(row: GroupRow, role: GroupRole | None, accounts: dict[str, GroupRole] | None = None) -> AccountGroup:
    return AccountGroup(row.name, row.members, row.created_at, row.description, role, accounts or {})


def _words(changes: dict[str, GroupRole | None]) -> str:
    return ", ".join(f"{account} {role or 'leaves'}" for account, role in changes.items())
