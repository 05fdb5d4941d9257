"""Claims: what a signed request says about its sender, read and not yet checked.

Rules only. Source of the forms: the API reference's chapters on authenticating requests by header, by query and by
form; the other services of AWS sign their requests in the first form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.messages.s3 import S3_SERVICE
from lockstep_store.wire.messages.s3 import SIGNING_ALGORITHM as ALGORITHM

UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING = frozenset({STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER})
PAYLOAD_HEADER = "x-amz-content-sha256"
MAX_EXPIRES_SECONDS = 7 * 86400
MAX_SIGNED_HEADERS = 100

_CREDENTIAL = re.compile(r"([!-.0-~]{1,128})/([0-9]{8})/([!-.0-~]{1,64})/([!-.0-~]{1,32})/aws4_request")
"""In visible ASCII letters: others may be bytes that are no text, which no message can carry."""
_SESSION_TOKEN = re.compile(r"[!-~]{0,2048}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_AMZ_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_EXPIRES = re.compile(r"[0-9]{1,9}")
_QUERY_PROOF = frozenset({"X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Credential"})
"""Arguments of which each claims that the address is presigned."""
_QUERY_NAMES = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")

Header = Callable[[str], str | None]


class Scope(NamedTuple):
    """The access key, day, region and service of a signing key."""

    access_key: str
    date: str
    region: str
    service: str = S3_SERVICE

    @property
    def text(self) -> str:
        """As it stands in the string to sign."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Claim:
    """Who a request says it is from, and what it shows for it."""

    form: Literal["header", "query", "form"]
    scope: Scope
    amz_date: str
    signed_headers: tuple[str, ...]
    signature: str
    payload: str
    """The SHA-256 of the body in hex, or one of the constants above."""
    expires: int | None = None
    session_token: str = ""


def read_credential(arguments: Sequence[tuple[str, str]], header: Header) -> str | None:
    """The token or API key in the headers, as sent; None if there is none. S3Error if the request also shows another
    proof: nobody should have to know which one counts."""
    authorization, key = header("authorization"), header("x-api-key")
    scheme, _, token = (authorization or "").strip().partition(" ")
    is_bearer = scheme.lower() == "bearer"
    if key is None and not is_bearer:
        return None
    if (key is not None and authorization is not None) or any(name in _QUERY_PROOF for name, _ in arguments):
        raise S3Error("InvalidArgument", "send only one of these: an API key, a Bearer token, a signature")
    return token.strip() if is_bearer else key


def read_claim(arguments: Sequence[tuple[str, str]], header: Header) -> Claim | None:
    """The claim in the headers or the query; None for an anonymous request.

    `arguments` are the decoded query arguments in order. S3Error when there is a claim that cannot be read, is made
    in more than one way, or is of the retired version 2.
    """
    authorization = header("authorization")
    names = {name for name, _ in arguments}
    by_query = not _QUERY_PROOF.isdisjoint(names)
    if authorization is not None and by_query:
        raise S3Error("InvalidArgument", "sign either in the Authorization header or in the query, not in both")
    if authorization is not None:
        return _from_header(authorization, header)
    if by_query:
        return _from_query(arguments, header)
    if {"Signature", "AWSAccessKeyId"} <= names:
        raise _version_2()
    return None


def _version_2() -> S3Error:
    return S3Error(
        "InvalidRequest",
        f"signature version 2 is not supported; please sign with {ALGORITHM}: most clients have a setting such as "
        "signature_version = s3v4",
    )


def read_query_claim(header: Header, payload: str, services: Collection[str]) -> Claim | None:
    """The claim of a request to one of the other `services`; None for an anonymous one.

    Its signature covers `payload`, the SHA-256 of the body in hex.
    """
    authorization = header("authorization")
    return None if authorization is None else _from_header(authorization, header, payload, services)


def _from_header(
    text: str, header: Header, payload: str | None = None, services: Collection[str] = (S3_SERVICE,)
) -> Claim:
    scheme, _, rest = text.strip().partition(" ")
    if scheme == "AWS":
        raise _version_2()
    if scheme != ALGORITHM:
        others = ", or with Bearer" if S3_SERVICE in services else ""
        raise S3Error("InvalidArgument", f"the Authorization header must begin with {ALGORITHM}{others}")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    try:
        credential, signed, signature = parts["Credential"], parts["SignedHeaders"], parts["Signature"]
    except KeyError as error:
        raise S3Error("AuthorizationHeaderMalformed", f"the Authorization header lacks {error.args[0]}") from error
    scope = _scope(credential, "AuthorizationHeaderMalformed", services)
    payload = payload or header(PAYLOAD_HEADER)
    if not payload:
        raise S3Error("InvalidRequest", "the header x-amz-content-sha256 is missing; it belongs to the signature")
    return Claim(
        "header",
        scope,
        _date_of(header, scope),
        _signed_headers(signed, "AuthorizationHeaderMalformed"),
        _checked_signature(signature, "AuthorizationHeaderMalformed"),
        check_payload(payload),
        session_token=_session_token(header("x-amz-security-token")),
    )


def _from_query(arguments: Sequence[tuple[str, str]], header: Header) -> Claim:
    given = dict(arguments)
    code = "AuthorizationQueryParametersError"
    missing = [name for name in (*_QUERY_NAMES, "X-Amz-Signature") if name not in given]
    if missing or given["X-Amz-Algorithm"] != ALGORITHM:
        what = f"lacks {', '.join(missing)}" if missing else f"must be signed with {ALGORITHM}"
        raise S3Error(code, f"the presigned address {what}")
    expires = given["X-Amz-Expires"]
    if not (_EXPIRES.fullmatch(expires) and 1 <= int(expires) <= MAX_EXPIRES_SECONDS):
        raise S3Error(code, f"X-Amz-Expires must be 1 to {MAX_EXPIRES_SECONDS} seconds, not {expires[:20]!r}")
    scope = _scope(given["X-Amz-Credential"], code)
    date = given["X-Amz-Date"]
    if not _AMZ_DATE.fullmatch(date) or not date.startswith(scope.date):
        raise S3Error(code, "X-Amz-Date must look like 20260131T120000Z, and be of the credential's day")
    signed = _signed_headers(given["X-Amz-SignedHeaders"], code)
    payload = header(PAYLOAD_HEADER) if PAYLOAD_HEADER in signed else None  # who uses an address may add any header
    return Claim(
        "query",
        scope,
        date,
        signed,
        _checked_signature(given["X-Amz-Signature"], code),
        check_payload(payload or given.get("X-Amz-Content-Sha256") or UNSIGNED),
        expires=int(expires),
        session_token=_session_token(given.get("X-Amz-Security-Token")),
    )


def read_scope(credential: str) -> Scope:
    """The scope in a form upload's credential field."""
    return _scope(credential, "InvalidArgument")


def read_form_claim(fields: Mapping[str, str]) -> Claim:
    """The claim in a form's fields, by lower-case name. S3Error names the field that is missing or wrong."""
    for name in ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"):
        if not fields.get(name):
            raise S3Error("InvalidArgument", f"the form lacks the field {name}", ArgumentName=name)
    if fields["x-amz-algorithm"] != ALGORITHM:
        raise S3Error("InvalidArgument", f"x-amz-algorithm must be {ALGORITHM}", ArgumentName="x-amz-algorithm")
    scope, date = read_scope(fields["x-amz-credential"]), fields["x-amz-date"]
    if not _AMZ_DATE.fullmatch(date) or not date.startswith(scope.date):
        raise S3Error("InvalidArgument", "x-amz-date must look like 20260131T120000Z, and be of the credential's day")
    # Any other text is just not the right signature: 403, as clients expect of a form.
    signed = fields["x-amz-signature"]
    token = _session_token(fields.get("x-amz-security-token"))
    return Claim("form", scope, date, (), signed, UNSIGNED, session_token=token)


def _scope(text: str, code: str, services: Collection[str] = (S3_SERVICE,)) -> Scope:
    found = _CREDENTIAL.fullmatch(text)
    if not found:
        raise S3Error(code, "the credential must look like KEY/20260131/REGION/s3/aws4_request")
    if found[4] not in services:
        raise S3Error(code, f"the credential is for the service {found[4]!r}; this is {' or '.join(services)}")
    return Scope(*found.groups())


def _signed_headers(text: str, code: str) -> tuple[str, ...]:
    names = tuple(text.split(";"))
    if "host" not in names or len(names) > MAX_SIGNED_HEADERS or any(name != name.lower() for name in names):
        raise S3Error(code, "the signed headers must be lower-case names with ';' between, and include host")
    return names


def _session_token(text: str | None) -> str:
    if text and not _SESSION_TOKEN.fullmatch(text):
        raise S3Error("InvalidToken", "the session token has characters that no session token has, or is too long")
    return text or ""


def _checked_signature(text: str, code: str) -> str:
    if not _SIGNATURE.fullmatch(text):
        raise S3Error(code, "the signature must be 64 hexadecimal digits")
    return text


def check_payload(text: str) -> str:
    """`text` itself when it can be the value of x-amz-content-sha256; its hex may have letters of either case."""
    if text == UNSIGNED or text in STREAMING or _SIGNATURE.fullmatch(text.lower()):
        return text
    raise S3Error(
        "InvalidArgument", f"x-amz-content-sha256 must be {UNSIGNED}, a SHA-256 in hex, or one of the STREAMING forms"
    )


def _date_of(header: Header, scope: Scope) -> str:
    given = header("x-amz-date")
    if given is None:
        given = _from_date(header("date") or "")
    if given is None or not _AMZ_DATE.fullmatch(given):
        raise S3Error("AccessDenied", "a signed request needs the header x-amz-date, such as 20260131T120000Z")
    if not given.startswith(scope.date):
        raise S3Error("AuthorizationHeaderMalformed", "the credential's day is not that of x-amz-date")
    return given


def _from_date(text: str) -> str | None:
    """The time of a Date header in the form of x-amz-date; None when it is none.

    AWS asks for ISO 8601 basic form in it, and botocore ends an HTTP date with `-0000`.
    """
    if _AMZ_DATE.fullmatch(text):
        return text
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # `-0000`
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except (TypeError, ValueError, IndexError, OverflowError):  # in UTC it may be outside the calendar
        return None
