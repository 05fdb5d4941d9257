"""Sessions: temporary keys, of the caller itself or of a role, as AWS's STS makes them.

A session has at most the rights of its caller, or of the role, and ends with the key that it was made with. Every
account has the role `self`, its own rights, for a session policy to narrow. The other roles are those that accounts
made; a role's trust policy says who may take it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from directory_server.access import limits
from directory_server.access.own_keys import OWN_KEYS, principal_arn, user_id
from directory_server.access.policy import BadPolicy, Question
from directory_server.access.policy_documents import check_identity_words, parse_identity, parse_trust
from directory_server.metadata.statements import identities, people
from directory_server.metadata.statements.s3_keys import S3KeyHolder, S3KeyRow, find_key
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.access_keys import PeopleClock, S3Keys
from directory_server.people.accounts import Accounts
from directory_server.people.audit import AuditJournal
from directory_server.people.person import Person
from lockstep_store.wire.errors import BadRequest, Forbidden, NotLoggedIn
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.identities import SELF, CallerReply, NewSession, NewSessionRequest
from lockstep_store.wire.names import tenant_of

MAX_CHAINED_SECONDS = 3600.0
"""Of a session that was made with another session."""
MIN_SECONDS = 60.0
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::([^:]+):role/(?:.+/)?([^/]+)")
_ASSUME = "sts:AssumeRole"


@dataclass(frozen=True)
class _Grant:
    """Whose rights a session gets, and what narrows them."""

    account: str
    identity: str
    policies: tuple[str, ...]
    signer: CallerReply
    max_seconds: float


class Sessions:
    """Thread-safe."""

    def __init__(
        self, store: MetadataStore, clock: PeopleClock, accounts: Accounts, keys: S3Keys, audit: AuditJournal
    ) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._keys = keys
        self._audit = audit

    def caller(self, request: CredentialRequest) -> CallerReply:
        """Return who signed the request."""
        return _signer_of(self._accounts.signer(request.credential, "sts"))

    def create(self, request: NewSessionRequest) -> NewSession:
        """Make a session. Forbidden unless the caller may take the role; BadRequest for an invalid policy."""
        person = self._accounts.signer(request.credential, "sts")
        for policy in request.policies:
            check_policy(policy)

        def work(tx: Tx) -> NewSession:
            key = find_key(tx, person.s3_key)
            if key is None:
                raise NotLoggedIn("the access key of this request was revoked")
            grant = self._role(tx, person, request) if request.role else self._of_the_caller(person, key)
            seconds = self._seconds(person, key, request.seconds, grant.max_seconds)
            name = request.session_name if request.role else ""
            holder = S3KeyHolder(grant.identity, name, grant.policies, person.s3_key)
            made = self._keys.create_session(tx, grant.account, seconds, holder)
            what = request.role or "session token"
            self._audit.write(tx, "session made", person.account, f"S3 key {made.access_key_id}", detail=what)
            return NewSession(made, grant.signer)

        return self._store.write(work)

    def _of_the_caller(self, person: Person, key: S3KeyRow) -> _Grant:
        if key.session_hash is not None:
            raise Forbidden("a session cannot make a session token: use the key that it was made with")
        return _Grant(person.account, key.identity, (), _signer_of(person), 129_600.0)

    def _role(self, reader: Reader, person: Person, request: NewSessionRequest) -> _Grant:
        account, name = role_of_arn(request.role)
        if not request.session_name:
            raise BadRequest("a role's session needs a name", parameter="RoleSessionName")
        if name == SELF:
            return self._self(person, account, request)
        return self._other_role(reader, person, account, name, request)

    def _self(self, person: Person, account: str, request: NewSessionRequest) -> _Grant:
        if account != person.account:
            raise _may_not_take(person, request.role)
        before = person.limits
        signer = session_signer(account, SELF, user_id(person), request.session_name)
        if before is None:
            return _Grant(account, "", tuple(request.policies), signer, 43_200.0)
        return _Grant(account, before.identity, before.session + tuple(request.policies), signer, 43_200.0)

    def _other_role(
        self, reader: Reader, person: Person, account: str, name: str, request: NewSessionRequest
    ) -> _Grant:
        role = identities.find(reader, account, "role", name)
        if role is None or role.name != name or tenant_of(account) != person.tenant:
            raise _may_not_take(person, request.role)
        arn = f"arn:aws:iam::{account}:role{role.path}{role.name}"
        keys = request.keys | {"sts:rolesessionname": [request.session_name]}

        def key(asked: str) -> list[str] | None:
            own = OWN_KEYS.get(asked)
            return own(person, self._clock.wall()) if own is not None else keys.get(asked)

        principal = person.limits.principal if person.limits is not None else ""
        question = Question(person.account, _ASSUME, arn, key, principal)
        trust = parse_trust(role.trust)
        if trust.verdict(question) != "Allow":
            raise _may_not_take(person, request.role)
        named = account == person.account and trust.names(question)
        if person.limits is not None and not limits.allow(person.limits, question, named=named):
            raise _may_not_take(person, request.role)
        check_enabled(reader, account)
        signer = session_signer(account, role.name, role.id, request.session_name)
        return _Grant(account, f"role/{role.name}", tuple(request.policies), signer, role.max_session_seconds)

    def _seconds(self, person: Person, key: S3KeyRow, asked: float, most: float) -> float:
        """Return how long the session lasts: never longer than the key that it was made with."""
        if asked > most:
            raise BadRequest(f"a session of this role lasts at most {most:.0f} seconds", parameter="DurationSeconds")
        if key.session_hash is not None and asked > MAX_CHAINED_SECONDS:
            raise BadRequest(
                f"a session that is made with another one lasts at most {MAX_CHAINED_SECONDS:.0f} seconds",
                parameter="DurationSeconds",
            )
        left = asked if person.expires is None else min(asked, person.expires - self._clock.now())
        if left < MIN_SECONDS:
            raise NotLoggedIn("this key expires within a minute: make a new one", expired=True)
        return left


def role_of_arn(arn: str) -> tuple[str, str]:
    """Return the account and the name of a role. BadRequest if the ARN is none of a role."""
    found = _ROLE.fullmatch(arn)
    if found is None:
        raise BadRequest(f"{arn[:200]!r} is not the ARN of a role", parameter="RoleArn")
    return found[1], found[2]


def check_policy(text: str) -> None:
    """Raise BadRequest for a session policy that is none."""
    try:
        check_identity_words(parse_identity(text))
    except BadPolicy as error:
        raise BadRequest(str(error), s3_code="MalformedPolicyDocument") from error


def check_enabled(reader: Reader, account: str) -> None:
    """Raise Forbidden for a disabled account."""
    row = reader.one(people.PASSWORD, name=account)
    if row is None or row[5]:
        raise Forbidden(f"account {account} is disabled")


def _may_not_take(person: Person, role: str) -> Forbidden:
    return Forbidden(f"{_signer_of(person).arn} is not allowed to do {_ASSUME} on {role[:300]}")


def _signer_of(person: Person) -> CallerReply:
    found = person.limits
    if found is None or not found.session_name:
        return CallerReply(person.account, principal_arn(person), user_id(person))
    kind, _, name = found.identity.partition("/")
    if kind == "role":
        return session_signer(found.account, name, found.id, found.session_name)
    return session_signer(found.account, SELF, user_id(person), found.session_name)


def session_signer(account: str, role: str, id: str, session: str) -> CallerReply:
    """Who signs with a session's key."""
    return CallerReply(account, f"arn:aws:sts::{account}:assumed-role/{role}/{session}", f"{id}:{session}")
