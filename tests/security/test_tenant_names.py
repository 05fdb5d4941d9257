r"""Nobody makes a name that is, or looks like, one of a tenant (`acme\ann`), where people register themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from directory_server.people.accounts import insert_account
from directory_server.people.passwords import NOBODY
from tests.fakes.whole_cluster import WholeCluster
from tests.fakes.wsgi import Answer
from tests.security.people import comparable

PASSWORD = "correct horse"
WIDE_BACKSLASH = "\N{FULLWIDTH REVERSE SOLIDUS}"
LOOKS_LIKE_A_BACKSLASH = "\u4e36"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    certs = tmp_path_factory.getbasetemp() / "tenant-names-certs"
    with WholeCluster(tmp_path_factory.mktemp("tenant-names"), certs, registration="open") as cluster:
        assert cluster.ask("POST", "/tenants", _json(name="acme")).status == 201
        made = cluster.ask("POST", "/users", _json(name="acme\\ann", password=PASSWORD))
        assert made.status == 201, made.body
        yield cluster


def _json(**body: Any) -> bytes:
    return json.dumps(body).encode()


def register(cluster: WholeCluster, name: str) -> Answer:
    return cluster.ask_with({}, "POST", "/auth/register", _json(username=name, password=PASSWORD))


def log_in(cluster: WholeCluster, name: str) -> Answer:
    asked = _json(username=name, password="wrong password", create=True)
    return cluster.ask_with({}, "POST", "/auth/login", asked)


def names(cluster: WholeCluster) -> set[str]:
    return {user["name"] for user in cluster.ask("GET", "/users").json["users"]}


@pytest.mark.parametrize("separator", [WIDE_BACKSLASH, LOOKS_LIKE_A_BACKSLASH])
def test_no_spelling_registers_in_a_tenant(cluster: WholeCluster, separator: str) -> None:
    """Names are stored with their width folded, so a wide backslash is one; others can be taken for one."""
    before = names(cluster)
    for ask in (register, log_in):
        taken, free = (ask(cluster, f"acme{separator}{own}") for own in ("ann", "eve"))
        assert taken.status == free.status == 400, (taken.body, free.body)
        assert comparable(taken, "ann") == comparable(free, "eve")
    assert names(cluster) == before


@pytest.mark.parametrize(
    "name",
    [
        "group\N{FULLWIDTH COLON}editors",
        "\N{FULLWIDTH COLON}everybody",
        "ann\N{FULLWIDTH COLON}user\N{FULLWIDTH SOLIDUS}ci",
    ],
)
def test_no_spelling_makes_the_name_of_a_principal_that_is_no_account(cluster: WholeCluster, name: str) -> None:
    """A group, everybody, and a service account have names that policies and grants tell from accounts by ':'."""
    before = names(cluster)
    assert register(cluster, name).status == 400
    assert cluster.ask("POST", "/users", _json(name=name)).status == 400
    assert names(cluster) == before


def test_administrators_make_no_name_that_looks_like_a_tenants(cluster: WholeCluster) -> None:
    """Neither outside tenants nor inside one."""
    for name in (f"acme{LOOKS_LIKE_A_BACKSLASH}bob", f"acme\\a{LOOKS_LIKE_A_BACKSLASH}b", f"acme\\a{WIDE_BACKSLASH}b"):
        refused = cluster.ask("POST", "/users", _json(name=name))
        assert refused.status == 400, (name, refused.body)
    group = cluster.ask("POST", "/groups", _json(name=f"a{WIDE_BACKSLASH}b"))
    assert group.status == 400, group.body


def test_no_older_account_gets_into_a_new_tenant(cluster: WholeCluster) -> None:
    """A name with a backslash may be from a version in which it meant nothing; the tenant is not made around it."""
    insert = partial(insert_account, name="older\\ann", password=NOBODY, admin=False, at=0.0)
    cluster.directory.store.write(insert)
    refused = cluster.ask("POST", "/tenants", _json(name="older"))
    assert refused.status == 409, refused.body
    assert "older" not in {one["name"] for one in cluster.ask("GET", "/tenants").json["tenants"]}
    assert cluster.ask("DELETE", "/users/older%5Cann").status == 204
    assert cluster.ask("POST", "/tenants", _json(name="older")).status == 201
