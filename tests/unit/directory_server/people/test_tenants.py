"""Which tenants can be made and deleted; tests/security/test_tenants.py has what they see of each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.metadata.statements import buckets, people
from directory_server.metadata.statements import groups as group_rows
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore
from directory_server.people import tenants as module
from directory_server.people.accounts import insert_account
from directory_server.people.audit import AuditJournal
from directory_server.people.passwords import NOBODY
from directory_server.people.person import Person
from directory_server.people.tenants import Tenants
from lockstep_store.wire.errors import AlreadyExists, BadName, Conflict, NotFound
from lockstep_store.wire.messages.tenants import CreateTenantRequest
from tests.fakes.clock import ManualClock
from tests.fakes.metadata_engines import open_metadata

ADMIN = Person("admin", True, "")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetadataStore]:
    made = open_metadata(tmp_path / "metadata.sqlite")
    yield made
    made.close()


@pytest.fixture
def tenants(store: MetadataStore) -> Tenants:
    clock = DirectoryClock(ManualClock())
    return Tenants(store, clock, AuditJournal(store, clock))


def make(tenants: Tenants, name: str) -> None:
    assert tenants.create(ADMIN, CreateTenantRequest("", name)).name == name


def test_a_name_is_taken_once(tenants: Tenants) -> None:
    """Also by one that looks like it."""
    make(tenants, "mill")
    with pytest.raises(AlreadyExists, match="tenant 'mill' exists already"):
        make(tenants, "mill")
    with pytest.raises(AlreadyExists, match="tenant 'mi11' looks like 'mill'"):
        make(tenants, "mi11")
    with pytest.raises(BadName, match="lower-case letters"):
        make(tenants, "Mill")
    assert [one.name for one in tenants.all().tenants] == ["mill"]


def test_there_is_a_bound(tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleted tenant makes room."""
    monkeypatch.setattr(module, "MAX_TENANTS", 1)
    make(tenants, "acme")
    with pytest.raises(Conflict, match="delete one first"):
        make(tenants, "beta")
    tenants.delete(ADMIN, "acme")
    make(tenants, "beta")


def test_no_tenant_takes_what_exists_over(tenants: Tenants, store: MetadataStore) -> None:
    """Neither an account nor a bucket whose owner has such a name; after the refusal there is no tenant."""
    store.write(lambda tx: insert_account(tx, "acme\\ann", NOBODY, admin=False, at=0.0))
    with pytest.raises(Conflict, match=r"begin with 'acme\\', and would belong to the tenant"):
        make(tenants, "acme")
    store.write(lambda tx: tx.run(people.DELETE_ACCOUNT, of_account="acme\\ann"))
    store.write(lambda tx: buckets.insert_bucket(tx, Bucket("plans", "acme\\ann", "off", False, 0.0)))
    with pytest.raises(Conflict, match=r"begin with 'acme\\', and would belong to the tenant"):
        make(tenants, "acme")
    assert tenants.all().tenants == []
    make(tenants, "acm")


def test_its_groups_are_deleted_with_it(tenants: Tenants, store: MetadataStore) -> None:
    """The next tenant of that name has none."""
    make(tenants, "acme")
    store.write(lambda tx: group_rows.insert_group(tx, "acme", "editors", "", 0.0))
    tenants.delete(ADMIN, "acme")
    with pytest.raises(NotFound, match="there is no tenant 'acme'"):
        tenants.delete(ADMIN, "acme")
    make(tenants, "acme")
    with store.read() as reader:
        assert group_rows.every_group(reader, "acme") == []
