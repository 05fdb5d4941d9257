"""Who is judged as what in a tenant's bucket at a commit; tests/security/test_tenants.py has what people can do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.access.decisions import standing_by_name
from directory_server.metadata.statements import buckets, people
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.people.accounts import insert_account
from directory_server.people.passwords import NOBODY
from lockstep_store.wire.errors import NotFound
from tests.fakes.metadata_engines import open_metadata

ADMINISTRATORS = ("admin", "acme\\boss", "beta\\boss")
MEMBERS = ("olga", "acme\\ann", "acme\\ben", "beta\\ann")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetadataStore]:
    """Ann of acme has a bucket."""
    made = open_metadata(tmp_path / "metadata.sqlite")

    def work(tx: Tx) -> None:
        for name in (*ADMINISTRATORS, *MEMBERS):
            insert_account(tx, name, NOBODY, admin=name in ADMINISTRATORS, at=0.0)
        buckets.insert_bucket(tx, Bucket("plans", "acme\\ann", "off", False, 0.0))

    made.write(work)
    yield made
    made.close()


def may_write(store: MetadataStore, account: str) -> bool:
    """Whether a write that the account began may commit."""
    with store.read() as reader:
        return standing_by_name(reader, "plans", account, 0.0).may("s3:PutObject", "f")


@pytest.mark.parametrize(
    ("account", "allowed"), [("acme\\ann", True), ("acme\\boss", True), ("admin", True), ("acme\\ben", False)]
)
def test_a_commit_is_judged_by_the_role_of_that_moment(store: MetadataStore, account: str, allowed: bool) -> None:
    """The owner's, an administrator's of the tenant or of the cluster; no other member's."""
    assert may_write(store, account) is allowed


@pytest.mark.parametrize("account", ["olga", "beta\\ann", "beta\\boss"])
def test_outside_the_tenant_there_is_no_such_bucket(store: MetadataStore, account: str) -> None:
    """Also for another tenant's administrator, and when the bucket is shared with all accounts."""
    for shared in (False, True):
        store.write(lambda tx, shared=shared: buckets.change_bucket(tx, "plans", "off", shared=shared))  # type: ignore[misc]
        with pytest.raises(NotFound, match="there is no bucket 'plans'"):
            may_write(store, account)


def test_an_administrator_of_a_tenant_is_none_of_the_cluster(store: MetadataStore) -> None:
    """Nor does a change of the role make one."""
    with store.read() as reader:
        assert people.role_of(reader, "acme\\boss") == (False, False, True)
        assert people.role_of(reader, "admin") == (True, False, False)
    for name in ("acme\\ann", "olga"):
        store.write(
            lambda tx, name=name: people.set_state(tx, name, administrator=True, read_only=False, disabled=False)  # type: ignore[misc]
        )
    with store.read() as reader:
        assert people.role_of(reader, "acme\\ann").admin is False
        assert people.administrators(reader, "") == ["admin", "olga"]
        assert people.administrators(reader, "acme") == ["acme\\ann", "acme\\boss"]
