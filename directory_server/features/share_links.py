"""Share links: makes, lists, revokes, opens and counts them. `people.share_links` has what a link lets its visitor do.

A link ends with its maker's account, with its bucket, or when it is revoked: its row is then gone, and every call looks
the row up.
"""

from __future__ import annotations

import json
import secrets
from typing import get_args

from directory_server.access.decisions import Standing, standing
from directory_server.files.hooks import Feature
from directory_server.files.lookups import not_found
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.statements import share_links as rows
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.statements.share_links import ShareRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.access_keys import PeopleClock
from directory_server.people.accounts import Accounts
from directory_server.people.audit import Auditor
from directory_server.people.guessing import GuessingBounds
from directory_server.people.passwords import HashingSlots, PasswordHash
from directory_server.people.person import Person
from directory_server.people.share_links import (
    LINK_KEY_PREFIX,
    UNLOCK_SECONDS,
    good_link,
    is_folder,
    is_unlocked,
    rule_allows,
    rule_of,
    token_hash,
    unlock_of,
)
from lockstep_store.runtime.addresses import counted_as
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.wire.errors import BadRequest, Conflict, Forbidden, NotFound, NotLoggedIn
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.messages.shares import (
    DAY_SECONDS,
    MAX_SHARES,
    SHARE_RULE,
    CreateShareRequest,
    LinkRule,
    OpenShareReply,
    OpenShareRequest,
    RevokeShareRequest,
    ShareLink,
    ShareProof,
    SharesReply,
    SharesRequest,
    UseShareReply,
    UseShareRequest,
)
from lockstep_store.wire.names import check_path

RESUME_SECONDS = 3600.0
"""How long after a download began its other parts are not counted again at the same address."""
SHOWN_SECONDS = 30 * DAY_SECONDS
"""How long an expired link is still listed."""
_TOKEN_BYTES = 20
_MAX_DOWNLOADS = 10_000


class ShareLinks:
    """Serves the calls about share links. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: PeopleClock, accounts: Accounts, audit: Auditor) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._audit = audit
        self._guessing = GuessingBounds(clock.now)
        self._slots = HashingSlots()
        self._begun: ExpiringMap[tuple[str, str, str], bool] = ExpiringMap(_MAX_DOWNLOADS, RESUME_SECONDS, clock.now)
        """Counted downloads, by link, file and client. In memory: after a restart a resumed one counts again."""

    # ------------------------------------------------------------ what makers and owners do

    def create(self, request: CreateShareRequest) -> ShareLink:
        """Make a link. Forbidden without the right that it gives, or if the bucket's rule does not allow it."""
        person = self._accounts.authenticate(request.credential)
        if person.read_only:
            raise Forbidden(person.only_reads)
        if request.path:
            check_path(request.path)
        password = None
        if request.password:
            with self._slots.one():
                password = PasswordHash.of(request.password)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        row = self._new_row(person, request, token, password)

        def work(tx: Tx) -> None:
            place = standing(tx, request.bucket, person, self._clock.wall())
            _check_rule(tx, place, endless=row.expires is None)
            _check_right(tx, place, row)
            if len(rows.listed(tx, person.account, "", "", MAX_SHARES)) >= MAX_SHARES:
                raise Conflict(f"you have {MAX_SHARES} links already: revoke one first")
            rows.insert_link(tx, row)
            self._audit.write(tx, "link made", person.account, f"link {row.id}", detail=_what(row))

        self._store.write(work)
        made = self._shown(row)
        made.token = token
        return made

    def list(self, request: SharesRequest) -> SharesReply:
        """Return a page of links: the caller's, or everybody's in a bucket for its owner and administrators."""
        person = self._accounts.authenticate(request.credential)
        with self._store.read() as reader:
            account: str | None = person.account
            if request.bucket and standing(reader, request.bucket, person, self._clock.wall()).trusted:
                account = None
            found = rows.listed(reader, account, request.bucket, request.after, request.limit + 1)
        page = [self._shown(row) for row in found[: request.limit]]
        return SharesReply(page, page[-1].id if len(found) > request.limit else None)

    def revoke(self, request: RevokeShareRequest) -> ShareLink:
        """End a link at once. NotFound unless it is the caller's, or one into a bucket that the caller owns."""
        person = self._accounts.authenticate(request.credential)

        def work(tx: Tx) -> ShareRow:
            found = rows.by_id(tx, request.id)
            if found is None or not (
                person.administers(found.owner) or person.account in (found.row.account, found.owner)
            ):
                raise NotFound(f"you have no link {request.id!r}")
            rows.delete_link(tx, request.id)
            self._audit.write(tx, "link revoked", person.account, f"link {request.id}", detail=_what(found.row))
            return found.row

        return self._shown(self._store.write(work))

    def remove_ended(self, tx: Tx) -> None:
        """Delete links that expired long ago."""
        rows.drop_ended(tx, self._clock.now() - SHOWN_SECONDS)

    def _new_row(
        self, person: Person, request: CreateShareRequest, token: str, password: PasswordHash | None
    ) -> ShareRow:
        now, wall, lasts = self._clock.now(), self._clock.wall(), request.expires_in
        return ShareRow(
            id=secrets.token_hex(6),
            token_hash=token_hash(token),
            account=person.account,
            bucket=request.bucket,
            path=request.path,
            mode=request.mode,
            note=request.note,
            created_at=wall,
            expires=None if lasts is None else now + lasts,
            expires_at=None if lasts is None else wall + lasts,
            salt=password.salt if password else None,
            password_hash=password.hash if password else None,
            scrypt_log_n=password.log_n if password else None,
            scrypt_p=password.p if password else None,
            max_uses=request.max_uses,
            uses=0,
            max_bytes=request.max_bytes,
            last_used_at=None,
        )

    def _shown(self, row: ShareRow) -> ShareLink:
        expired = row.expires is not None and row.expires <= self._clock.now()
        expired |= row.expires_at is not None and row.expires_at <= self._clock.wall()
        return ShareLink(
            id=row.id,
            bucket=row.bucket,
            path=row.path,
            folder=is_folder(row.path),
            mode="upload" if row.mode == "upload" else "read",
            account=row.account,
            created_at=row.created_at,
            uses=row.uses,
            state="expired" if expired else "used_up" if row.used_up else "active",
            has_password=row.password_hash is not None,
            expires_at=row.expires_at,
            max_uses=row.max_uses,
            max_bytes=row.max_bytes,
            last_used_at=row.last_used_at,
            note=row.note,
        )

    # ------------------------------------------------------------ what visitors do

    def open(self, request: OpenShareRequest) -> OpenShareReply:
        """Return what a visitor may know about a link, and with the right password what unlocks it.

        NotLoggedIn for a link that has ended or never was, and, with the reason "wrong password", for a wrong one.
        TooManyRequests after too many of those.
        """
        proof = _proof(request.credential)
        with self._store.read() as reader:
            row = good_link(rows.by_token(reader, token_hash(proof.token)), self._clock).row
        unlock = proof.unlock
        if request.password:
            unlock = self._unlocked(row, request)
        elif row.password_hash is not None and not is_unlocked(row, unlock, self._clock.now()):
            return OpenShareReply(locked=True)
        return OpenShareReply(
            id=row.id,
            bucket=row.bucket,
            path=row.path,
            mode="upload" if row.mode == "upload" else "read",
            expires_at=row.expires_at,
            max_bytes=row.max_bytes,
            limited=row.max_uses is not None,
            used_up=row.used_up,
            unlock=unlock,
            unlock_seconds=UNLOCK_SECONDS,
        )

    def _unlocked(self, row: ShareRow, request: OpenShareRequest) -> str:
        if row.password_hash is None:
            return ""  # there is nothing to guess
        whose = f"link {row.id}"
        self._guessing.check(whose, request.address)
        stored = PasswordHash(row.salt or b"", row.password_hash, row.scrypt_log_n or 0, row.scrypt_p or 0)
        with self._slots.one(request.address):
            self._guessing.check(whose, request.address)  # others may have failed while this one waited
            matches = stored.matches(request.password)
        if not matches:
            self._guessing.failed(whose, request.address)
            self._audit.note("link refused", whose, subject=row.account, address=request.address, detail=_what(row))
            raise NotLoggedIn("the password of this link is wrong", reason="wrong password")
        self._guessing.succeeded(whose, request.address)
        return unlock_of(row, self._clock.now() + UNLOCK_SECONDS)

    def use(self, request: UseShareRequest) -> UseShareReply:
        """Count a use. It is not allowed if none is left; the audit names the link, its maker and the file.

        The events belong to the link, so that visitors cannot make the journal forget what the maker did.
        """
        _proof(request.credential)
        person = self._accounts.identify(request.credential)
        id = person.session.removeprefix(LINK_KEY_PREFIX)
        if request.undo:
            self._store.write(lambda tx: rows.undo_use(tx, id))
            return UseShareReply(allowed=True)
        begun = (id, request.path, counted_as(request.address))
        if request.resumes and self._begun.get(begun):
            return UseShareReply(allowed=True)

        def work(tx: Tx) -> bool:
            if not rows.use(tx, id, self._clock.wall()):
                return False
            detail = f"{request.what}, made by {person.account}"
            self._audit.write(tx, "link used", f"link {id}", request.path, request.address, detail)
            return True

        allowed = self._store.write(work)
        if allowed and request.what == "download":
            self._begun.set(begun, True)
        return UseShareReply(allowed=allowed)


def _proof(credential: str) -> ShareProof:
    access = S3Access.decode(credential)
    found = ShareProof.decode(credential if access is None else access.credential)
    if found is None:
        raise NotLoggedIn("this is for visitors of share links alone")
    return found


def _what(row: ShareRow) -> str:
    return f"{row.mode} {row.bucket}/{row.path}"


def _check_rule(tx: Tx, place: Standing, *, endless: bool) -> None:
    rule = rule_of(s3_settings.bucket_value(tx, place.bucket.name, SHARE_RULE))
    if rule_allows(rule, trusted=place.trusted, endless=endless):
        return
    name, owner = place.bucket.name, place.bucket.owner
    if rule == "off":
        raise Forbidden(f"bucket {name!r} has no links: its owner {owner} has switched them off")
    if rule == "owner":
        raise Forbidden(f"only {owner}, who owns bucket {name!r}, and administrators may make links into it")
    raise Forbidden(f"links into bucket {name!r} must expire: choose a time, or ask its owner {owner}")


def _check_right(tx: Tx, place: Standing, row: ShareRow) -> None:
    """Raise unless the maker may now do what the link is for. Each use is judged by itself, too."""
    if row.mode == "upload":
        place.demand("s3:PutObject", row.path + "file" if is_folder(row.path) else row.path)
    elif is_folder(row.path):
        place.demand("s3:ListBucket", keys={"s3:prefix": [row.path]})
    else:
        if not place.holds(row.path, None):
            raise place.hide(not_found(tx, row.bucket, row.path))
        place.demand("s3:GetObject", row.path)


def _check_setting(reader: Reader, bucket: Bucket, person: Person, value: str | None, at: float) -> None:
    try:
        known = value is None or json.loads(value) in get_args(LinkRule)
    except ValueError:
        known = False
    if not known:
        raise BadRequest(f"the rule for links must be one of {', '.join(get_args(LinkRule))}")


FEATURE = Feature(SHARE_RULE, check_bucket_setting=_check_setting)
