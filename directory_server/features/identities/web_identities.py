"""Sessions of roles for whom an OpenID Connect provider vouches, as AWS's STS makes them (AssumeRoleWithWebIdentity).

The role's trust policy must name the provider, and its conditions see the token's claims as `ISSUER:CLAIM`, without
`https://`. Nobody here made the session, so it ends with its time, its role or its account.
"""

from __future__ import annotations

from collections.abc import Mapping

from directory_server.access.own_keys import OWN_KEYS
from directory_server.access.policy import Question
from directory_server.access.policy_documents import parse_trust
from directory_server.features.identities.sessions import check_enabled, check_policy, role_of_arn, session_signer
from directory_server.identity_providers.known_provider import KnownProvider
from directory_server.identity_providers.provider import Claims, values_of
from directory_server.identity_providers.providers import IdentityProviders
from directory_server.metadata.statements import identities
from directory_server.metadata.statements.identities import IdentityRow
from directory_server.metadata.statements.s3_keys import S3KeyHolder
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.access_keys import PeopleClock, S3Keys
from directory_server.people.audit import AuditJournal
from directory_server.people.person import Person
from lockstep_store.wire.errors import BadRequest, Forbidden, LockstepError, NotLoggedIn
from lockstep_store.wire.messages.identities import WebIdentityRequest, WebIdentitySession

ACTION = "sts:AssumeRoleWithWebIdentity"
_NOBODY = Person("", False, "web identity")


class WebIdentities:
    """Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: PeopleClock,
        keys: S3Keys,
        audit: AuditJournal,
        providers: IdentityProviders,
    ) -> None:
        self._store = store
        self._clock = clock
        self._keys = keys
        self._audit = audit
        self._providers = providers

    def create(self, request: WebIdentityRequest) -> WebIdentitySession:
        """Make a session. NotLoggedIn for a token that is not accepted; Forbidden unless it has the claims that the
        provider's settings require, and the role trusts it.

        Unavailable while the provider's keys are fetched, BadRequest for an invalid policy or a duration beyond the
        role's.
        """
        for policy in request.policies:
            check_policy(policy)
        provider = ""
        try:
            known = self._providers.of_token(request.token)
            provider = known.name
            claims = known.verify(request.token, known.settings.token_audiences)
            known.demand_required(claims)
            return self._store.write(lambda tx: self._session(tx, request, claims, known))
        except (NotLoggedIn, Forbidden) as error:
            self._note_refusal(request, provider, error)
            raise

    def _session(self, tx: Tx, request: WebIdentityRequest, claims: Claims, known: KnownProvider) -> WebIdentitySession:
        self._providers.demand_unchanged(tx, known)
        provider = known.settings.arn_part
        role = self._trusting_role(tx, request, claims, provider)
        if request.seconds > role.max_session_seconds:
            most = role.max_session_seconds
            raise BadRequest(f"a session of this role lasts at most {most:.0f} seconds", parameter="DurationSeconds")
        holder = S3KeyHolder(f"role/{role.name}", request.session_name, tuple(request.policies))
        made = self._keys.create_session(tx, role.account, request.seconds, holder)
        subject = str(claims["sub"])
        what = f"{request.role} for subject {subject} of {provider}"
        self._audit.write(
            tx, "session made", role.account, f"S3 key {made.access_key_id}", request.address, detail=what
        )
        signer = session_signer(role.account, role.name, role.id, request.session_name)
        audience = (values_of(claims, "azp") or values_of(claims, "aud"))[0]
        return WebIdentitySession(made, signer, subject, audience, str(claims["iss"]))

    def _trusting_role(self, reader: Reader, request: WebIdentityRequest, claims: Claims, provider: str) -> IdentityRow:
        account, name = role_of_arn(request.role)
        role = identities.find(reader, account, "role", name)
        if role is None or role.name != name:
            raise _may_not_take(request)
        keys = {**request.keys, **claim_keys(provider, claims), "sts:rolesessionname": [request.session_name]}

        def key(asked: str) -> list[str] | None:
            own = OWN_KEYS.get(asked)
            return own(_NOBODY, self._clock.wall()) if own is not None else keys.get(asked)

        arn = f"arn:aws:iam::{account}:role{role.path}{role.name}"
        if not parse_trust(role.trust).federates(Question("", ACTION, arn, key, federated=provider)):
            raise _may_not_take(request)
        check_enabled(reader, account)
        return role

    def _note_refusal(self, request: WebIdentityRequest, provider: str, error: LockstepError) -> None:
        detail = f"{request.role[:200]}: {error}"
        self._audit.note("log-in refused", "", subject=provider, address=request.address, detail=detail)


def claim_keys(provider: str, claims: Claims) -> Mapping[str, list[str]]:
    """Return the claims as condition keys, in small letters.

    As at AWS, `aud` is the authorized party if the token names one, and `oaud` always the audience. Of claims that
    differ in case only, the one in small letters counts, or none: another one must not pass for it.
    """
    found: dict[str, list[str]] = {}
    doubtful = set()
    for name in claims:
        values, small = [*values_of(claims, name)], name.lower()
        if small != name and small in claims:
            continue
        if small in found:
            doubtful.add(small)
        if values:
            found[small] = values
    found["oaud"] = found["aud"]
    if party := [*values_of(claims, "azp")]:
        found["aud"] = party
    return {f"{provider}:{name}".lower(): values for name, values in found.items() if name not in doubtful}


def _may_not_take(request: WebIdentityRequest) -> Forbidden:
    return Forbidden(f"not authorized to perform {ACTION} on {request.role[:300]}")
