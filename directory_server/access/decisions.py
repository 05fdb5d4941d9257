"""Authorises people in buckets, for every door, inside the transaction that acts.

The checks, in order: the limits of the person's key; a Deny of the bucket's policy; owner and administrators; an Allow
of the policy; a grant on the file or on a folder that it is in; whether the bucket is shared; grants of the bucket's
and the object's access control lists. An owner can
always change the policy itself, so that nobody locks themselves out. A bucket without policy and lists costs no read
beyond its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from directory_server.access import acl, limits, policy, tenancy
from directory_server.access.decision_counts import DECISIONS
from directory_server.access.lists import AccessLists
from directory_server.access.own_keys import OWN_KEYS, TIME_KEYS, days_until
from directory_server.access.refusals import forbidden
from directory_server.access.rules import ENFORCED, NO_RULES, Rules, parse_rules
from directory_server.metadata.statements import access as rows
from directory_server.metadata.statements import buckets, files, groups, identities, people, s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import Reader, Row
from directory_server.people.absent_person import person_of_role
from directory_server.people.person import Person
from directory_server.people.share_links import limits_named
from lockstep_store.wire.errors import Forbidden, NotFound
from lockstep_store.wire.file_facts import tags_of
from lockstep_store.wire.messages.access import ALLOWING, AccessGround
from lockstep_store.wire.messages.groups import GROUP_PREFIX, is_group
from lockstep_store.wire.messages.s3 import TAGS
from lockstep_store.wire.names import TENANT_SEPARATOR, tenant_of

_OF_THE_POLICY = frozenset({"s3:putbucketpolicy", "s3:getbucketpolicy", "s3:deletebucketpolicy"})
_EXISTING_TAG = "s3:existingobjecttag/"
_RETAIN_UNTIL = "s3:object-lock-retain-until-date"
_REMAINING_DAYS = "s3:object-lock-remaining-retention-days"
_NO_KEYS: Mapping[str, list[str]] = {}


@dataclass(frozen=True)
class Ground:
    """A bucket and its rules, if it has any, from one snapshot."""

    bucket: Bucket
    rules: Rules | None

    @classmethod
    def of(cls, reader: Reader, name: str) -> Ground:
        """Read a bucket and its rules; raise NotFound if there is none."""
        found = buckets.require(reader, name)
        if found.settings.isdisjoint(rows.NAMES):
            return cls(found, None)
        values = sorted((one[0], one[1]) for one in reader.all(rows.RULES, of_bucket=name))
        return cls(found, parse_rules(name, tuple(values)))


@dataclass
class Standing:
    """Decides what a person may do in a bucket, within one snapshot. `at` is seconds since 1970, for conditions."""

    reader: Reader
    person: Person
    ground: Ground
    at: float
    source_path: str = ""
    """What a copy reads in this bucket, for which the request names a different expected owner; empty for a target."""
    is_for_this_request: bool = field(default=False, init=False)
    """A rule asked for the time, or for something that another request of the same kind may have otherwise."""
    groups: frozenset[str] | None = None
    """Groups of the account, such as `group:editors`, to judge by; None: those that it is in."""
    hidden: bool = field(default=False, init=False)
    """The bucket is a tenant's and the person is not in it: a refusal says that there is no such bucket."""
    trusted: bool = field(init=False)
    """The account is the owner or an administrator. A person with limits needs their leave as well."""

    def __post_init__(self) -> None:
        owner, person = self.ground.bucket.owner, self.person
        if TENANT_SEPARATOR in owner or TENANT_SEPARATOR in person.account:
            rules, source = self.ground.rules, self.source_path
            person = self.person = tenancy.judged_as(person, self.bucket, rules, self.reader, source_path=source)
            self.hidden = not person.account
        self.trusted = person.of_administrator or (bool(person.account) and person.account == owner)
        access = person.access
        if access is not None and (access.owner or access.source_owner):
            other = bool(self.source_path) or (bool(access.source_action) and access.bucket != self.bucket.name)
            expected = access.source_owner if other else access.owner
            if expected and expected != owner:
                if self.hidden:
                    raise buckets.missing(self.bucket.name)
                raise Forbidden(
                    f"bucket {self.bucket.name!r} does not belong to {expected}",
                    bucket=self.bucket.name,
                    expected=expected,
                )

    @property
    def bucket(self) -> Bucket:
        return self.ground.bucket

    @property
    def rules(self) -> Rules:
        return self.ground.rules or NO_RULES

    @property
    def lists(self) -> AccessLists:
        """The access control lists of the bucket and its versions."""
        return AccessLists(self.reader, self.bucket, self.rules)

    @property
    def path_asked(self) -> str:
        """Return the key in an S3 request's address, for calls about the bucket that the request leads to."""
        return self.person.access.path if self.person.access is not None else ""

    # ------------------------------------------------------------ questions

    def asked(self, action: str, path: str = "") -> str:
        """Return the action that an S3 request names for that path; `action` for a call through another door."""
        access = self.person.access
        if access is None:
            return action
        if access.reads(self.bucket.name, path):
            return access.source_action
        return access.action or action

    def asked_to_read(self, path: str, version: str | None) -> str:
        """Return the action of a lookup.

        A copy looks up its source, which may be the path that it writes: the right to write must not be enough to read.
        """
        action = "s3:GetObject" if version is None else "s3:GetObjectVersion"
        access = self.person.access
        if access is None or not access.source_action:
            return self.asked(action, path)
        return action if version is None else access.source_action

    def demand(
        self,
        action: str,
        path: str = "",
        *,
        version: str | None = None,
        keys: Mapping[str, list[str]] = _NO_KEYS,
        owners_only: bool = False,
    ) -> Bucket:
        """Return the bucket; raise Forbidden unless the person may do `action` on it, or on that path in it.

        With `owners_only`, sharing the bucket does not give this right.
        """
        ground = self.decide(action, path, version=version, keys=keys, owners_only=owners_only)
        DECISIONS.note(self.bucket.name, action, ground)
        if ground not in ALLOWING:
            raise self._forbidden(action, owners_only)
        return self.bucket

    def may(
        self,
        action: str,
        path: str = "",
        *,
        version: str | None = None,
        keys: Mapping[str, list[str]] = _NO_KEYS,
        owners_only: bool = False,
    ) -> bool:
        """Whether the person may do `action` on the bucket, or on that path in it."""
        return self.decide(action, path, version=version, keys=keys, owners_only=owners_only) in ALLOWING

    def decide(
        self,
        action: str,
        path: str = "",
        *,
        version: str | None = None,
        keys: Mapping[str, list[str]] = _NO_KEYS,
        owners_only: bool = False,
    ) -> AccessGround:
        """Return what allows the person the action, or what refuses it: the one place where that is decided."""
        if self.person.read_only and self.person.changes_as_reader(action):
            return "read-only"
        if not self._within_limits(action, path, version, keys):
            return "limits"
        shared = bool(self.bucket.shared and self.person.account) and not owners_only
        has_rules = self.ground.rules is not None
        verdict = self._verdict(action, path, version, keys) if has_rules else None
        if verdict == "Deny" and not self._keeps_policy(action):
            return "denied"
        if self.trusted:
            return "owner" if self.person.account == self.bucket.owner else "administrator"
        if verdict == "Allow":
            return "policy"
        if has_rules and self._allowed_by_grant(action, path, version, keys):
            return "grant"
        if shared:
            return "shared"
        return "acl" if self._granted(action, path, version) else "nothing"

    def _allowed_by_grant(self, action: str, path: str, version: str | None, keys: Mapping[str, list[str]]) -> bool:
        found = self.rules.grants
        if found is None:
            return False
        policies = (found.named, None if "RestrictPublicBuckets" in self.rules.blocked else found.public)
        question = self._question(action, path, version, keys)
        return any(one is not None and one.verdict(question) == "Allow" for one in policies)

    def _keeps_policy(self, action: str) -> bool:
        return self.trusted and self.person.limits is None and action.lower() in _OF_THE_POLICY

    def _within_limits(self, action: str, path: str, version: str | None, keys: Mapping[str, list[str]]) -> bool:
        found = self.person.limits
        if found is None:
            return True
        question = self._question(action, path, version, keys)
        bucket_policy = self.rules.policy
        named = self.bucket.owner == found.account and bucket_policy is not None and bucket_policy.names(question)
        return limits.allow(found, question, named=named)

    def may_read(self, path: str, version: str) -> bool:
        """Whether the person may read that version, by its id or as the current one."""
        if self.may("s3:GetObjectVersion", path, version=version):
            return True
        if not self.may("s3:GetObject", path):
            return False
        current = self._version(path, None)
        return current is not None and current[2] == version

    def denied(self, action: str, path: str = "") -> bool:
        """Whether the policy explicitly denies the action, or the person's limits do not allow it."""
        if not self._within_limits(action, path, None, _NO_KEYS):
            return True
        return self._verdict(action, path, None, _NO_KEYS) == "Deny"

    def hide(self, found: NotFound) -> Exception:
        """Return the error for a missing path: NotFound only for people who may list the bucket at that path."""
        if self.ground.rules is None and self.trusted and self.person.limits is None:
            return found
        keys = {"s3:prefix": [str(found.facts.get("path", ""))]}
        if self.may("s3:ListBucket", keys=keys) or self.may("s3:ListBucketVersions", keys=keys):
            return found
        return self._forbidden("s3:GetObject", False)

    def _forbidden(self, action: str, owners_only: bool) -> Forbidden | NotFound:
        if self.hidden:
            return buckets.missing(self.bucket.name)
        return forbidden(self.person, self.bucket, self.ground.rules, action, owners_only=owners_only)

    # ------------------------------------------------------------ the policy

    def _verdict(
        self, action: str, path: str, version: str | None, keys: Mapping[str, list[str]]
    ) -> policy.Effect | None:
        found = self.rules.policy
        if found is None:
            return None
        verdict = found.verdict(self._question(action, path, version, keys))
        if verdict == "Allow" and "RestrictPublicBuckets" in self.rules.blocked and found.public:
            return None  # such a policy then applies only to the owner's own people
        return verdict

    def _question(self, action: str, path: str, version: str | None, keys: Mapping[str, list[str]]) -> policy.Question:
        resource = f"{self.bucket.name}/{path}" if path else self.bucket.name
        principal = self.person.limits.principal if self.person.limits is not None else ""
        return policy.Question(
            self.person.account,
            action,
            resource,
            lambda name: self._key(name, path, version, keys),
            principal,
            groups=self._groups,
        )

    def _groups(self) -> frozenset[str]:
        if self.groups is None:
            account = self.person.account
            found = groups.groups_of(self.reader, account) if account else ()
            self.groups = frozenset(f"{GROUP_PREFIX}{name}" for name in found)
        return self.groups

    def _key(self, name: str, path: str, version: str | None, keys: Mapping[str, list[str]]) -> list[str] | None:
        person = self.person
        known = OWN_KEYS.get(name)
        if known is not None:
            self.is_for_this_request |= name in TIME_KEYS
            return known(person, self.at)
        if name.startswith(_EXISTING_TAG):
            return self._existing_tag(name[len(_EXISTING_TAG) :], path, version)
        self.is_for_this_request = True
        if name in keys:
            return keys[name]
        if name == "s3:versionid" and version is not None:
            return [version]
        if person.access is None:
            return None
        if name == _REMAINING_DAYS:
            return days_until(self._key(_RETAIN_UNTIL, path, version, keys), self.at)
        return person.access.keys.get(name)

    def _existing_tag(self, name: str, path: str, version: str | None) -> list[str] | None:
        row = self._version(path, version) if path else None
        tags = s3_settings.version_values(self.reader, row[2]).get(TAGS) if row is not None else None
        for key, value in tags_of(tags):
            if key.lower() == name:
                return [value]
        return None

    # ------------------------------------------------------------ access control lists

    def _granted(self, action: str, path: str, version: str | None) -> bool:
        rules = self.rules
        if rules.ownership == ENFORCED:
            return False
        ignore = "IgnorePublicAcls" in rules.blocked
        account = self.person.account
        if rules.acl is not None and acl.allows(rules.acl, "bucket", account, action, ignore_public=ignore):
            return True
        if not path or not acl.concerns_objects(action):
            return False
        row = self._version(path, version)
        if row is None:
            return False
        if self.ground.rules is None and rows.ACL not in s3_settings.version_values(self.reader, row[2]):
            # Having written while the bucket was shared gives no rights later, unless the bucket has lists.
            return False
        return acl.allows(self.lists.of_version(row), "object", account, action, ignore_public=ignore)

    def _version(self, path: str, version: str | None) -> Row | None:
        if version is None:
            return self.reader.one(files.CURRENT, bucket=self.bucket.name, path=path)
        return files.find_version(self.reader, self.bucket.name, path, version)

    def holds(self, path: str, version: str | None) -> bool:
        """Whether there is such a version."""
        return self._version(path, version) is not None

    def settled(self, settings: dict[str, str], author: str) -> dict[str, str]:
        """Return a new version's settings with the access control list that its writer requests.

        Raises Forbidden or BadRequest if the bucket does not allow that list.
        """
        return settings if rows.ACL not in settings else self.lists.settled(settings, author)

    def is_account(self, name: str) -> bool:
        """Whether there is such an account, a group (`group:editors`), or a user or role (`ann:user/backup`)."""
        tenant = tenant_of(self.bucket.owner)
        if is_group(name):
            return groups.find(self.reader, tenant, name[len(GROUP_PREFIX) :]) is not None
        return tenant_of(name) == tenant and identities.is_principal(self.reader, name)


def standing(
    reader: Reader,
    name: str,
    person: Person,
    at: float,
    *,
    source_path: str = "",
    known: dict[str, Ground] | None = None,
) -> Standing:
    """Return the standing of `person` in the bucket; raise NotFound if there is none of that name.

    `source_path`: see `Standing`. `known` caches buckets within one snapshot.
    """
    ground = known.get(name) if known is not None else None
    if ground is None:
        ground = Ground.of(reader, name)
        if known is not None:
            known[name] = ground
    return Standing(reader, person, ground, at, source_path)


def standing_by_name(
    reader: Reader, name: str, account: str, at: float, access: str = "", limited_by: str = ""
) -> Standing:
    """Return the standing of an account, such as that of a write's beginner at its commit.

    `access` describes the request, and `limited_by` names its key or link if that has limits; both are from the ticket.
    Raises NotLoggedIn when that has ended.
    """
    ground = Ground.of(reader, name)
    bucket = ground.bucket
    matters = account not in ("", bucket.owner) and (not bucket.shared or ground.rules is not None)
    role = people.role_of(reader, account) if matters else people.NO_ROLE
    found = limits_named(reader, limited_by) if limited_by else None
    return Standing(reader, person_of_role(account, role, access, found), ground, at)


def access_of(person: Person) -> str:
    """Return the description, for a ticket, of the request that begins a write, without credentials; empty for other
    doors."""
    return "" if person.access is None else msgspec.structs.replace(person.access, credential="").encode()
