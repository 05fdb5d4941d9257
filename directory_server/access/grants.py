"""Grants: what a bucket's owner, or whoever manages a folder, lets accounts, groups or everybody do with a file or a
folder.

A grant is kept beside the policy, as a bucket setting, and means one or two Allow statements. So `decisions` judges it
as it judges the policy, a Deny of the policy wins, and every door agrees. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from directory_server.access import conditions
from directory_server.access.policy import Policy, PolicyStatement, Principals
from lockstep_store.wire.messages.access import EVERYBODY, AccessLevel
from lockstep_store.wire.messages.groups import is_group

MAX_GRANTS = 500
"""Of one bucket."""

_READ = (
    *("s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"),
    *("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
)
_WRITE = (
    *_READ,
    *("s3:PutObject", "s3:DeleteObject", "s3:PutObjectTagging", "s3:DeleteObjectTagging"),
    *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
)
_MANAGE = (
    *_WRITE,
    *("s3:DeleteObjectVersion", "s3:PutObjectVersionTagging", "s3:DeleteObjectVersionTagging"),
    *("s3:GetObjectAcl", "s3:GetObjectVersionAcl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
    *("s3:GetObjectRetention", "s3:GetObjectLegalHold"),
)
_LISTING = ("s3:ListBucket", "s3:ListBucketVersions")
ACTIONS: dict[AccessLevel, tuple[str, ...]] = {"read": _READ, "write": _WRITE, "manage": _MANAGE}
_SPECIAL = re.compile(r"[*?$]")


class Grant(NamedTuple):
    """A path that is empty or ends with a slash is a folder, with everything below it. EVERYBODY needs no account, and
    `group:editors` is the members of a group."""

    path: str
    account: str
    level: AccessLevel

    def covers(self, path: str) -> bool:
        """Whether it is about that file or folder."""
        return path.startswith(self.path) if is_folder(self.path) else path == self.path


class Grants(NamedTuple):
    """A bucket's grants with what they mean: `named` for accounts and groups, `public` for everybody."""

    all: tuple[Grant, ...]
    named: Policy | None
    public: Policy | None


def is_folder(path: str) -> bool:
    """Whether a path means everything below it."""
    return not path or path.endswith("/")


@lru_cache(maxsize=256)
def parse(text: str, bucket: str) -> Grants:
    """Parse a bucket's stored grants. Cached by their text."""
    found = tuple(Grant(*one) for one in json.loads(text))
    named = [one for one in found if one.account != EVERYBODY]
    return Grants(found, _policy(named, bucket), _policy([one for one in found if one.account == EVERYBODY], bucket))


def stored(grants: Iterable[Grant]) -> str | None:
    """Return the setting to store; None for no grants."""
    ordered = sorted(set(grants))
    return json.dumps(ordered, ensure_ascii=False) if ordered else None


def _policy(grants: Sequence[Grant], bucket: str) -> Policy | None:
    statements = tuple(statement for one in grants for statement in _statements(one, bucket))
    return Policy(statements) if statements else None


def _statements(grant: Grant, bucket: str) -> Iterator[PolicyStatement]:
    # A name is not a pattern: what is special in one stands for itself.
    path = _SPECIAL.sub(lambda found: f"${{{found[0]}}}", grant.path) + ("*" if is_folder(grant.path) else "")
    yield _allow(grant, ACTIONS[grant.level], f"{bucket}/{path}", ())
    if is_folder(grant.path):
        below = conditions.parse({"StringLike": {"s3:prefix": path}}, variables=True) if grant.path else ()
        yield _allow(grant, _LISTING, bucket, below)


def _allow(
    grant: Grant, actions: Sequence[str], resource: str, found: tuple[conditions.Condition, ...]
) -> PolicyStatement:
    return PolicyStatement(
        effect="Allow",
        principals=_principals(grant.account),
        actions=tuple(action.lower() for action in actions),
        not_actions=False,
        resources=(resource,),
        not_resources=False,
        conditions=found,
        variables=True,
    )


def _principals(name: str) -> Principals:
    nobody: frozenset[str] = frozenset()
    if name == EVERYBODY:
        return Principals(True, nobody, False)
    if is_group(name):
        return Principals(False, nobody, False, groups=frozenset({name}))
    return Principals(False, frozenset({name}), False)
