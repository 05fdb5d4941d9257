"""Access to files and folders: explains it, and changes the grants. `access.grants` says what a grant means.

Sharing a bucket lets everybody use its files, but not decide who else does.
"""

from __future__ import annotations

from dataclasses import replace

from directory_server.access import explain, grants, settings
from directory_server.access.decisions import Standing, standing
from directory_server.access.grants import Grant
from directory_server.metadata.statements import access as rows
from directory_server.metadata.statements import buckets, groups, people, s3_settings
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.people.access_keys import PeopleClock
from directory_server.people.accounts import Accounts
from directory_server.people.audit import Auditor
from lockstep_store.wire.errors import BadRequest, Conflict, Forbidden, NotFound
from lockstep_store.wire.messages.access import (
    ANY_ACCOUNT,
    EVERYBODY,
    AccessReply,
    AccessRequest,
    GrantEntry,
    PlacedGrant,
    PreviewPolicyRequest,
    SetAccessRequest,
    SharedWithMe,
    SharedWithMeReply,
)
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.groups import GROUP_PREFIX, is_group
from lockstep_store.wire.names import check_path, tenant_of


class FileAccess:
    """Serves the calls about access. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: PeopleClock, accounts: Accounts, audit: Auditor) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._audit = audit

    def show(self, request: AccessRequest) -> AccessReply:
        """Explain who may do what. Whoever may not see the rules is told about itself alone."""
        person = self._accounts.authenticate(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            if request.account not in ("", person.account):
                place.demand("s3:GetObjectAcl", explain.key_for(request.path), owners_only=True)
                if request.account not in (EVERYBODY, ANY_ACCOUNT) and not place.is_account(request.account):
                    raise _nobody(request.account)
            return _reply(place, request.path, request.account)

    def set(self, request: SetAccessRequest) -> AccessReply:
        """Replace the grants of a path. Forbidden unless the caller owns the bucket or manages the path."""
        person = self._accounts.authenticate(request.credential)
        if request.path:
            check_path(request.path)

        def work(tx: Tx) -> AccessReply:
            place = standing(tx, request.bucket, person, self._clock.wall())
            place.demand("s3:PutObjectAcl", explain.key_for(request.path), owners_only=True)
            named = {entry.account for entry in request.grants}
            added = [one for entry in request.grants if (one := _checked(place, request.path, entry)) is not None]
            known = place.rules.grants.all if place.rules.grants is not None else ()
            ended = (one for one in known if one.path == request.path and (request.replace or one.account in named))
            kept = set(known).difference(ended)
            if len(kept) + len(added) > grants.MAX_GRANTS:
                raise Conflict(f"bucket {request.bucket!r} may have {grants.MAX_GRANTS} grants: share folders instead")
            s3_settings.put_bucket_value(tx, request.bucket, rows.GRANTS, grants.stored([*kept, *added]))
            detail = ", ".join(f"{entry.account} {entry.level or 'nothing'}" for entry in request.grants) or "no grants"
            subject = f"{request.bucket}/{request.path}"
            self._audit.write(tx, "access changed", person.account, subject, detail=detail)
            return _reply(standing(tx, request.bucket, person, self._clock.wall()), request.path, "")

        return self._store.write(work)

    def preview(self, request: PreviewPolicyRequest) -> AccessReply:
        """Explain who could do what with another policy. Forbidden and BadRequest as when it is stored."""
        person = self._accounts.authenticate(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            place.demand(place.asked("s3:PutBucketSetting"), owners_only=True)
            wanted = None if request.policy is None else settings.checked_policy(place, request.policy)
            ground = replace(place.ground, rules=replace(place.rules, policy=wanted))
            return _reply(Standing(reader, person, ground, place.at), request.path, "")

    def shared_with_me(self, request: CredentialRequest) -> SharedWithMeReply:
        """Return what grants in other people's buckets give to the caller, by bucket and path."""
        person = self._accounts.authenticate(request.credential)
        found: list[SharedWithMe] = []
        with self._store.read() as reader:
            names = {person.account: ""}
            names |= {f"{GROUP_PREFIX}{group}": group for group in groups.groups_of(reader, person.account)}
            for name in s3_settings.buckets_with(reader, rows.GRANTS):
                owner = buckets.require(reader, name).owner
                text = s3_settings.bucket_value(reader, name, rows.GRANTS)
                if owner != person.account and tenant_of(owner) == person.tenant and text is not None:
                    given = [one for one in grants.parse(text, name).all if one.account in names]
                    found += [SharedWithMe(name, one.path, owner, one.level, names[one.account]) for one in given]
        return SharedWithMeReply(found)


def _checked(place: Standing, path: str, entry: GrantEntry) -> Grant | None:
    if entry.level is None:
        return None
    if entry.account == EVERYBODY:
        if entry.level != "read":
            raise BadRequest("everybody may only read: to receive files, make a share link that takes uploads")
        if "BlockPublicPolicy" in place.rules.blocked:
            raise Forbidden(f"bucket {place.bucket.name!r} blocks public access", bucket=place.bucket.name)
    elif not place.is_account(entry.account):
        raise _nobody(entry.account)
    return Grant(path, entry.account, entry.level)


def _nobody(name: str) -> NotFound:
    if is_group(name):
        return groups.missing(name[len(GROUP_PREFIX) :])
    return people.missing(name)


def _reply(place: Standing, path: str, account: str) -> AccessReply:
    key = explain.key_for(path)
    sees_all = place.may("s3:GetObjectAcl", key, owners_only=True)
    me = place.person.account
    mine = {me, EVERYBODY, *(f"{GROUP_PREFIX}{group}" for group in groups.groups_of(place.reader, me))}
    people = (
        explain.explain_all(place, path) if sees_all and not account else [explain.explain(place, account or me, path)]
    )
    found = [one for one in explain.grants_on(place, path) if sees_all or one.account in mine]
    return AccessReply(
        bucket=place.bucket.name,
        path=path,
        owner=place.bucket.owner,
        shared=bool(place.bucket.shared),
        public="read" in explain.explain(place, EVERYBODY, path).levels,
        grants=[PlacedGrant(one.path, one.account, one.level) for one in found],
        people=people,
        may_change=place.may("s3:PutObjectAcl", key, owners_only=True),
    )
