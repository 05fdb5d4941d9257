"""Says in words why somebody may not do something in a bucket."""

from __future__ import annotations

from directory_server.access.rules import Rules
from directory_server.metadata.statements.buckets import Bucket
from directory_server.people.person import Person
from lockstep_store.wire.errors import Forbidden


def forbidden(person: Person, bucket: Bucket, rules: Rules | None, action: str, *, owners_only: bool) -> Forbidden:
    """Return the error. `owners_only`: sharing the bucket would not give this right."""
    name, owner = bucket.name, bucket.owner
    if not person.account:
        return Forbidden(f"bucket {name!r} is not open to everybody; sign the request", bucket=name)
    if person.changes_as_reader(action):
        return Forbidden(person.only_reads, bucket=name)
    if person.limits is not None:
        return Forbidden(f"{person.limits.who} may not do {action} in bucket {name!r}", bucket=name)
    if rules is None or rules.policy is None:
        if owners_only:
            return Forbidden(f"only {owner} or an administrator may change bucket {name!r}", bucket=name)
        return Forbidden(f"bucket {name!r} belongs to {owner}, who does not share it", bucket=name)
    return Forbidden(f"the rules of bucket {name!r} do not allow {person.account} to do {action}", bucket=name)
