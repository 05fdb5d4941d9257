"""Explains who may do what with a file or folder, by asking the function that decides about requests.

An explanation has no request, so a policy's conditions on one (an address, an agent) do not hold in it: it says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from directory_server.access import grants as granted
from directory_server.access.decisions import Standing
from directory_server.access.grants import Grant
from directory_server.metadata.statements import groups, people
from directory_server.metadata.store import Reader
from directory_server.people.person import Person
from lockstep_store.wire.messages.access import (
    ALLOWING,
    ANY_ACCOUNT,
    EVERYBODY,
    AccessGround,
    AccessLevel,
    AccessOf,
)
from lockstep_store.wire.messages.groups import GROUP_PREFIX, is_group
from lockstep_store.wire.names import TENANT_SEPARATOR, tenant_of

ASKED: dict[AccessLevel, str] = {"read": "s3:GetObject", "write": "s3:PutObject", "manage": "s3:PutObjectAcl"}
"""The action that stands for each level."""
MAX_PEOPLE = 1000


def key_for(path: str) -> str:
    """Return the key that stands for a path in questions: a folder's own, and for the whole bucket one that only
    patterns for everything in it match."""
    return path or "/"


def grants_on(place: Standing, path: str) -> list[Grant]:
    """Return the grants that concern a file or folder, its own last."""
    found = place.rules.grants
    return [] if found is None else [one for one in found.all if one.covers(path)]


def explain_all(place: Standing, path: str) -> list[AccessOf]:
    """Explain the owner, the administrators, whoever a rule names or is in a group that it names, and the rest."""
    return [explain(place, name, path) for name in [*_named(place, path), ANY_ACCOUNT, EVERYBODY]]


def explain(place: Standing, name: str, path: str) -> AccessOf:
    """Explain one account, one group (a member of it and of no other), EVERYBODY or ANY_ACCOUNT.

    `place` is anybody's standing in the bucket, by the rules to explain.
    """
    person = _person(place.reader, name, tenant_of(place.bucket.owner))
    asked = Standing(place.reader, person, place.ground, place.at)
    if is_group(name):
        asked.groups = frozenset({name})
    levels, ground = _levels(asked, path)
    group = "" if is_group(name) else _deciding_group(asked, path, (levels, ground))
    words = _words(asked, group or name, ground, path)
    if group:
        words = f"member of {group[len(GROUP_PREFIX) :]}: {words}"
    return AccessOf(name, levels, ground, words, asked.is_for_this_request, group)


def _levels(asked: Standing, path: str) -> tuple[list[AccessLevel], AccessGround]:
    """Return what somebody may do, and the ground of the first level, or of the refusal."""
    key = key_for(path)
    decided = {level: asked.decide(action, key, owners_only=level == "manage") for level, action in ASKED.items()}
    levels = [level for level, ground in decided.items() if ground in ALLOWING]
    return levels, decided[levels[0]] if levels else decided["read"]


def _deciding_group(asked: Standing, path: str, found: tuple[list[AccessLevel], AccessGround]) -> str:
    """Return the group that makes the difference to what the account has: the first, by name, that is enough alone.

    If only several together are, the first that gives a part; empty if the account has the same without groups.
    """
    own = sorted(asked.groups or ())  # None: no rule asked for them
    alone = {}
    for group in ("", *own) if own else ():
        asked.groups = frozenset({group})
        alone[group] = _levels(asked, path)
    enough = [group for group, levels in alone.items() if levels == found]
    part = [group for group, (_, ground) in alone.items() if group and ground == found[1]]
    return next(iter([*enough, *part]), "")


def _person(reader: Reader, name: str, tenant: str) -> Person:
    if name == EVERYBODY:
        return Person("", False, "")
    if name == ANY_ACCOUNT or is_group(name):
        # No rule names this one, so it has what all accounts of the tenant have.
        return Person(f"{tenant}{TENANT_SEPARATOR}{ANY_ACCOUNT}" if tenant else ANY_ACCOUNT, False, "")
    role = people.role_of(reader, name)
    return Person(name, role.admin, "", read_only=role.read_only, tenant_admin=role.tenant_admin)


def _named(place: Standing, path: str) -> list[str]:
    """Return who may have access of their own, in order: owner, administrators, groups, then accounts by name."""
    tenant = tenant_of(place.bucket.owner)
    first = [place.bucket.owner, *people.administrators(place.reader, tenant)]
    named = set(_in_rules(place, path))
    found = {name for name in named if name and ":" not in name and place.is_account(name)}
    teams = sorted(name for name in named if is_group(name) and place.is_account(name))
    for team in teams:
        found.update(groups.members_of(place.reader, tenant, team[len(GROUP_PREFIX) :]))
    return [*dict.fromkeys(first), *teams, *sorted(found.difference(first))][:MAX_PEOPLE]


def _in_rules(place: Standing, path: str) -> Iterator[str]:
    rules = place.rules
    if rules.policy is not None:
        for statement in rules.policy.statements:
            yield from statement.principals.accounts
            yield from statement.principals.groups
    for one in grants_on(place, path):
        yield one.account
    for listed in place.lists.on_path(path):
        for grant in listed["Grants"]:
            yield grant["Grantee"].get("ID", "")


def _words(asked: Standing, name: str, ground: AccessGround, path: str) -> str:
    bucket, owner = asked.bucket.name, asked.bucket.owner
    if ground == "grant":
        paths = [one.path for one in grants_on(asked, path) if one.account in (name, EVERYBODY)]
        where = max(paths, key=len, default="")
        kind = "folder" if granted.is_folder(where) else "file"
        return f"a grant on the {kind} {where!r}" if where else f"a grant on the whole bucket {bucket!r}"
    return {
        "owner": f"owns bucket {bucket!r}",
        "administrator": "is an administrator",
        "policy": f"the policy of bucket {bucket!r} allows it",
        "shared": f"bucket {bucket!r} is shared with all accounts",
        "acl": "an access control list of the file or its bucket allows it",
        "denied": f"the policy of bucket {bucket!r} denies it",
        "read-only": "the account may only read",
        "limits": "the limits of the key do not allow it",
        "nothing": f"no rule of bucket {bucket!r} allows it; it belongs to {owner}",
    }[ground]
