"""The bounds of groups; tests/security/test_groups.py has who may do what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.metadata.statements import people
from directory_server.people import groups as module
from directory_server.people.accounts import insert_account
from directory_server.people.audit import AuditJournal
from directory_server.people.groups import Groups
from directory_server.people.passwords import NOBODY
from directory_server.people.person import Person
from lockstep_store.wire.errors import AlreadyExists, BadName, Conflict, NotFound
from lockstep_store.wire.messages.groups import ChangeGroupRequest, CreateGroupRequest
from tests.fakes.clock import ManualClock
from tests.fakes.metadata_engines import open_metadata

ADMIN = Person("admin", True, "")
BOSS = Person("acme\\boss", False, "", tenant_admin=True)


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[Groups]:
    store, clock = open_metadata(tmp_path / "metadata.sqlite"), DirectoryClock(ManualClock())
    for name in ("ann", "ben", "acme\\ann"):
        store.write(lambda tx, name=name: insert_account(tx, name, NOBODY, admin=False, at=0.0))  # type: ignore[misc]
    yield Groups(store, clock, AuditJournal(store, clock))
    store.close()


def make(groups: Groups, by: Person, name: str, *members: str) -> str:
    return groups.create(by, CreateGroupRequest("", name, accounts=dict.fromkeys(members, "member"))).name


def test_a_name_is_taken_once_in_each_tenant(groups: Groups) -> None:
    """Whatever its case."""
    assert make(groups, ADMIN, "Editors") == make(groups, BOSS, "editors") == "editors"
    with pytest.raises(AlreadyExists, match="there is a group 'editors' already"):
        make(groups, ADMIN, "EDITORS")
    with pytest.raises(BadName):
        make(groups, ADMIN, "group:editors")


def test_there_is_a_bound_for_each_tenant(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleted group makes room."""
    monkeypatch.setattr(module, "MAX_GROUPS", 1)
    make(groups, ADMIN, "one")
    with pytest.raises(Conflict, match="delete one first"):
        make(groups, ADMIN, "two")
    make(groups, BOSS, "two")
    groups.delete(ADMIN, "one")
    make(groups, ADMIN, "two")


def test_a_group_has_a_bound_of_members(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that passes it changes nothing; members can be exchanged at the bound."""
    monkeypatch.setattr(module, "MAX_GROUP_MEMBERS", 1)
    make(groups, ADMIN, "one", "ann")
    with pytest.raises(Conflict, match="at most 1 members"):
        groups.change(ADMIN, ChangeGroupRequest("", "one", accounts={"ben": "manager"}))
    assert groups.show(ADMIN, "one").accounts == {"ann": "member"}
    changed = groups.change(ADMIN, ChangeGroupRequest("", "one", accounts={"ben": "manager", "ann": None}))
    assert changed.accounts == {"ben": "manager"}


def test_members_are_accounts_of_the_tenant(groups: Groups) -> None:
    """The refusal is the one for an account that does not exist; what has gone can still be taken out."""
    for by, name in ((ADMIN, "acme\\ann"), (ADMIN, "nobody"), (BOSS, "ann"), (BOSS, "acme\\nobody")):
        with pytest.raises(NotFound) as refused:
            make(groups, by, "one", name)
        assert str(refused.value) == f"there is no account '{name}'"
    make(groups, BOSS, "one", "acme\\ann")
    groups._store.write(lambda tx: tx.run(people.DELETE_ACCOUNT, of_account="acme\\ann"))
    assert groups.change(BOSS, ChangeGroupRequest("", "one", accounts={"acme\\ann": None})).accounts == {}
