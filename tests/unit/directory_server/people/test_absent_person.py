"""Whose rights work has that goes on after its request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import people
from directory_server.metadata.store import MetadataStore
from directory_server.people.absent_person import absent_person
from directory_server.people.accounts import insert_account
from directory_server.people.passwords import NOBODY
from lockstep_store.wire.errors import NotLoggedIn


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetadataStore]:
    """Boss administers the tenant acme."""
    made = SqliteStore(tmp_path / "metadata.sqlite")
    made.write(lambda tx: insert_account(tx, "acme\\boss", NOBODY, admin=True, at=0.0))
    yield made
    made.close()


def test_it_has_the_role_of_that_moment(store: MetadataStore) -> None:
    """An administrator of a tenant until the role is taken away."""
    with store.read() as reader:
        before = absent_person(reader, "acme\\boss")
    assert (before.admin, before.tenant_admin, before.read_only) == (False, True, False)
    store.write(
        lambda tx: people.set_state(tx, "acme\\boss", administrator=False, read_only=True, disabled=False),
    )
    with store.read() as reader:
        after = absent_person(reader, "acme\\boss")
    assert (after.admin, after.tenant_admin, after.read_only) == (False, False, True)
    assert after.only_reads.startswith(r"account 'acme\boss' is read-only")


def test_a_disabled_or_deleted_account_has_none(store: MetadataStore) -> None:
    """The refusal names it as people type it."""
    store.write(lambda tx: people.set_state(tx, "acme\\boss", administrator=True, read_only=False, disabled=True))
    with store.read() as reader, pytest.raises(NotLoggedIn) as refused:
        absent_person(reader, "acme\\boss")
    assert str(refused.value) == r"account 'acme\boss' is disabled"
    store.write(lambda tx: tx.run(people.DELETE_ACCOUNT, of_account="acme\\boss"))
    with store.read() as reader, pytest.raises(NotLoggedIn) as refused:
        absent_person(reader, "acme\\boss")
    assert str(refused.value) == r"account 'acme\boss' no longer exists"
