"""Gate: identifies the principal of every S3 request.

A signature is checked here, with the day's signing key from the directory, and again by the directory with every call
that is made for the request. So a revoked key stops working there at once, and a handler that calls no directory is
protected too. The same holds for the API key or token that a request may have in a header instead. A request without
either is anonymous, and policies and ACLs decide about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from client_proxy.doors.callers import check_credential
from client_proxy.doors.s3.auth import claims, signature
from client_proxy.doors.s3.auth.claims import Claim, Scope
from client_proxy.doors.s3.auth.presigned_headers import presigned_headers
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.s3 import SigningKeyReply, SigningKeyRequest

KEEP_SECONDS = 60.0
"""How long signing keys are cached. A revoked key can do nothing without the directory."""
MAX_KNOWN = 10_000
_KEY_REFUSALS = (("expired", "ExpiredToken"), ("token", "InvalidToken"))

AskKey = Callable[[SigningKeyRequest], SigningKeyReply]
AskCaller = Callable[[str], tuple[str, str]]
"""Returns the account of a token or API key, and its name for rate limits."""


@dataclass(frozen=True)
class Principal:
    """The account behind a request. `credential` is sent to the directory; empty for an anonymous request."""

    credential: str = ""
    account: str = ""
    access_key: str = ""
    """The key that signed the request; empty for one with an API key or a token."""
    claim: Claim | None = None
    key: bytes = b""
    seen_at: float = 0.0
    """Arrival of the request, in seconds since 1970."""

    @property
    def anonymous(self) -> bool:
        return not self.credential


ANONYMOUS = Principal()


class Gate:
    """Thread-safe. `wall` is seconds since 1970, by which a signature's age is judged; `monotonic` ages the keys."""

    def __init__(
        self, ask_key: AskKey, ask_caller: AskCaller, wall: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._ask_key = ask_key
        self._ask_caller = ask_caller
        self._wall = wall
        self._monotonic = monotonic
        self._keys: ExpiringMap[tuple[Scope, str], tuple[bytes, str]] = ExpiringMap(MAX_KNOWN, KEEP_SECONDS, monotonic)

    def identify(self, request: S3Request) -> Principal:
        """The principal of `request`. S3Error when its signature is malformed, too old or wrong, NotLoggedIn when its
        API key or token is."""
        header = request.signed_headers
        credential = claims.read_credential(request.argument_list, header)
        if credential is not None:
            return self._caller(request, credential)
        claim = claims.read_claim(request.argument_list, header)
        if claim is None:
            request.identified("", "")
            return ANONYMOUS
        now = self._wall()
        signature.check_time(claim, now)
        key, account = self.signing_key(claim.scope, claim.session_token)
        proof = signature.check_signature(
            claim, key, request.method, request.raw_path, request.query, header, sent_path=request.sent_path
        )
        signature.check_all_signed(claim, request.amz_headers)
        if claim.form == "query":
            request.add_headers(presigned_headers(request.argument_list))
        request.identified(account, claim.scope.access_key)
        return Principal(proof.encode(), account, claim.scope.access_key, claim, key, now)

    def identify_caller(self, request: S3Request) -> Principal | None:
        """The principal whose API key or token is in the headers; None if there is none."""
        credential = claims.read_credential(request.argument_list, request.signed_headers)
        return None if credential is None else self._caller(request, credential)

    def _caller(self, request: S3Request, credential: str) -> Principal:
        if not credential:
            raise NotLoggedIn("the API key or token is empty: check that it was copied correctly")
        account, key = self._ask_caller(check_credential(credential))
        request.identified(account, key)
        return Principal(credential, account)

    def identify_form(self, fields: Mapping[str, str]) -> Principal:
        """The principal who signed a form's policy. S3Error when the signature is wrong."""
        claim = claims.read_form_claim(fields)
        signature.check_form_day(claim, self._wall())
        key, account = self.signing_key(claim.scope, claim.session_token)
        proof = signature.check_form_signature(claim, key, fields["policy"])
        return Principal(proof.encode(), account, claim.scope.access_key)

    def signing_key(self, scope: Scope, session_token: str = "") -> tuple[bytes, str]:
        """The signing key of a day, and its account. S3Error InvalidAccessKeyId for an unknown access key."""
        asked = self._monotonic()
        known = self._keys.get((scope, session_token))
        if known is not None:
            return known
        try:
            reply = self._ask_key(SigningKeyRequest(scope.access_key, scope.date, scope.region, session_token))
        except NotLoggedIn as error:
            code = next((code for fact, code in _KEY_REFUSALS if error.facts.get(fact)), "InvalidAccessKeyId")
            raise S3Error(code, str(error), AWSAccessKeyId=scope.access_key) from error
        key = bytes.fromhex(reply.key)
        self._keys.set((scope, session_token), (key, reply.account), since=asked)
        return key, reply.account
