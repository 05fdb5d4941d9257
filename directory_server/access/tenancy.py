"""Keeps tenants apart: another tenant's buckets seem not to exist.

An account's name says its tenant, and a bucket belongs to the tenant of its owner. An account of another tenant may
read what is open to everybody, as it could without signing its request; any other request gets the answer for a missing
bucket. The cluster's administrators are above tenants.
"""

from __future__ import annotations

from dataclasses import replace

from directory_server.access.acl import ALL_USERS, is_public
from directory_server.access.rules import Rules
from directory_server.metadata.statements import access as rows
from directory_server.metadata.statements import buckets
from directory_server.metadata.store import Reader
from directory_server.people.person import Person
from lockstep_store.wire.names import tenant_of


def judged_as(
    person: Person, bucket: buckets.Bucket, rules: Rules | None, reader: Reader, *, source_path: str = ""
) -> Person:
    """Return whom to judge: an account of another tenant is judged as an anonymous person.

    Raises NotFound, as for a missing bucket, for such an account if nothing is open to everybody: neither by the
    bucket's rules, nor by a list of the object that an S3 request is about, or that it reads (`source_path`).
    """
    if not person.account:
        return person
    if person.tenant == tenant_of(bucket.owner) or (person.of_administrator and not person.tenant):
        return person
    if not (rules is not None and is_open(rules)) and not asks_for_open_object(reader, person, bucket, source_path):
        raise buckets.missing(bucket.name)
    return replace(person, account="", read_only=True, limits=None, tenant_admin=False)


def is_open(rules: Rules) -> bool:
    """Whether any rule of the bucket is for everybody."""
    allows = rules.policy is not None and any(
        statement.effect == "Allow" and statement.principals.open for statement in rules.policy.statements
    )
    granted = rules.grants is not None and rules.grants.public is not None
    return allows or granted or (rules.acl is not None and is_public(rules.acl))


def asks_for_open_object(reader: Reader, person: Person, bucket: buckets.Bucket, source_path: str = "") -> bool:
    """Whether it is an S3 request about an object that has, in any version, an access control list for everybody.

    Other calls do not learn whether there is one.
    """
    access = person.access
    if access is None:
        return False
    path = source_path or (access.path if access.bucket == bucket.name else "")
    return bool(path) and rows.is_named_in_a_list(reader, bucket.name, path, ALL_USERS)
