"""Signature version 4: reads a request's claim about its sender, and checks the signature.

Rules only: time, signing key and request are arguments. A signing key is valid for one day, one region and this
service, so a proxy may have it without the secret that it is derived from. Source of the method: the API reference's
chapters on authenticating requests by header, by query and by form.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from client_proxy.doors.s3.protocol.request import query_arguments
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import read_amz_date
from lockstep_store.wire.messages.s3 import SIGNING_ALGORITHM as ALGORITHM
from lockstep_store.wire.messages.s3 import S3Proof, canonical_digest

UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING = frozenset({STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER})
PAYLOAD_HEADER = "x-amz-content-sha256"
MAX_SKEW_SECONDS = 15 * 60
MAX_EXPIRES_SECONDS = 7 * 86400
MAX_SIGNED_HEADERS = 100

_CREDENTIAL = re.compile(r"([!-.0-~]{1,128})/([0-9]{8})/([!-.0-~]{1,64})/([!-.0-~]{1,32})/aws4_request")
"""In visible ASCII letters: others may be bytes that are no text, which no message can carry."""
_SESSION_TOKEN = re.compile(r"[!-~]{0,2048}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_AMZ_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_EXPIRES = re.compile(r"[0-9]{1,9}")
_SPACES = re.compile(r" +")
_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)
_QUERY_NAMES = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")

Header = Callable[[str], str | None]


@dataclass(frozen=True)
class Scope:
    """The access key, day and region of a signing key."""

    access_key: str
    date: str
    region: str

    @property
    def text(self) -> str:
        """As it stands in the string to sign."""
        return f"{self.date}/{self.region}/s3/aws4_request"


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


# ---------------------------------------------------------------- reading the claim


def read_claim(arguments: Sequence[tuple[str, str]], header: Header) -> Claim | None:
    """The claim in the headers or the query; None for an anonymous request.

    `arguments` are the decoded query arguments in order. S3Error when there is a claim that cannot be read, is made
    in more than one way, or is of the retired version 2.
    """
    authorization = header("authorization")
    names = {name for name, _ in arguments}
    by_query = "X-Amz-Algorithm" in names or "X-Amz-Signature" in names or "X-Amz-Credential" in names
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


def _from_header(text: str, header: Header) -> Claim:
    scheme, _, rest = text.strip().partition(" ")
    if scheme == "AWS":
        raise _version_2()
    if scheme != ALGORITHM:
        raise S3Error("InvalidArgument", f"the Authorization header must begin with {ALGORITHM}")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    try:
        credential, signed, signature = parts["Credential"], parts["SignedHeaders"], parts["Signature"]
    except KeyError as error:
        raise S3Error("AuthorizationHeaderMalformed", f"the Authorization header lacks {error.args[0]}") from error
    scope = _scope(credential, "AuthorizationHeaderMalformed")
    payload = header(PAYLOAD_HEADER)
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


def check_form_day(claim: Claim, now: float) -> None:
    """S3Error for a form signed over a week ago, whatever its policy says."""
    try:
        made = read_amz_date(claim.amz_date)
    except ValueError as error:
        raise S3Error("AccessDenied", f"{claim.amz_date} is not a time") from error
    if not -MAX_SKEW_SECONDS <= now - made <= MAX_EXPIRES_SECONDS:
        raise S3Error("AccessDenied", "the form's x-amz-date is in the future or more than seven days ago")


def check_form_signature(claim: Claim, key: bytes, policy: str) -> S3Proof:
    """The proof for the directory that `key` made the claim's signature over `policy`, as it stands in the form.

    The directory knows one form of proof, so the key that made the policy's signature makes one of that form too.
    """
    if not hmac.compare_digest(sign(key, policy).encode(), claim.signature.encode("utf-8", "replace")):
        raise S3Error(
            "SignatureDoesNotMatch",
            "the signature is not the one this policy would have with your secret key",
            AWSAccessKeyId=claim.scope.access_key,
            StringToSign=policy[:20_000],
            SignatureProvided=claim.signature[:200],
            StringToSignBytes=_shown_bytes(policy[:20_000]),
        )
    canonical = f"POST-FORM\n{policy}"
    return proof_of(replace(claim, signature=sign(key, string_to_sign(claim, canonical))), canonical)


def _scope(text: str, code: str) -> Scope:
    found = _CREDENTIAL.fullmatch(text)
    if not found:
        raise S3Error(code, "the credential must look like KEY/20260131/REGION/s3/aws4_request")
    if found[4] != "s3":
        raise S3Error(code, f"the credential is for the service {found[4]!r}; this is s3")
    return Scope(found[1], found[2], found[3])


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


# ---------------------------------------------------------------- judging it


def check_time(claim: Claim, now: float) -> None:
    """S3Error when the request is too old or too new by the wall clock `now`, in seconds since 1970."""
    try:
        made = read_amz_date(claim.amz_date)
    except ValueError as error:
        raise S3Error("AccessDenied", f"{claim.amz_date} is not a time") from error
    if claim.expires is None:
        if abs(now - made) > MAX_SKEW_SECONDS:
            raise S3Error(
                "RequestTimeTooSkewed",
                f"the request's time differs from the server's by more than {MAX_SKEW_SECONDS // 60} minutes: set the "
                "clock of one of them",
                RequestTime=claim.amz_date,
                ServerTime=_shown_time(now),
                MaxAllowedSkewMilliseconds=str(MAX_SKEW_SECONDS * 1000),
            )
    elif made - now > MAX_SKEW_SECONDS:
        raise S3Error("AccessDenied", "this presigned address is not valid yet")
    elif now - made > claim.expires:
        raise S3Error(
            "AccessDenied",
            "Request has expired: this presigned address is no longer valid",
            {},
            **{"X-Amz-Expires": str(claim.expires)},
            Expires=_shown_time(made + claim.expires),
            ServerTime=_shown_time(now),
        )


def check_signature(
    claim: Claim, key: bytes, method: str, path: bytes, query: str, header: Header, *, sent_path: bytes = b""
) -> S3Proof:
    """The proof for the directory that `key` made the claim's signature over exactly this request.

    `path` is percent-decoded, `query` as it came. Clients that encode the slashes in a key sign them as they send them
    in `sent_path`. S3Error SignatureDoesNotMatch when `key` did not make it.
    """
    canonical = canonical_request(claim, method, path, query, header)
    proof = proof_of(claim, canonical)
    if not proof.is_made_with(key) and _ENCODED_SLASH.search(sent_path):
        kept = "/".join(quote(unquote_to_bytes(part), safe="-_.~") for part in sent_path.split(b"/"))
        other = proof_of(claim, canonical_request(claim, method, kept, query, header))
        proof = other if other.is_made_with(key) else proof
    if not proof.is_made_with(key):
        to_sign = string_to_sign(claim, canonical)
        raise S3Error(
            "SignatureDoesNotMatch",
            "the signature is not the one this request would have with your secret key: check the key, and that "
            "nothing on the way changes the request",
            AWSAccessKeyId=claim.scope.access_key,
            StringToSign=to_sign,
            SignatureProvided=claim.signature,
            StringToSignBytes=_shown_bytes(to_sign),
            CanonicalRequest=canonical,
            CanonicalRequestBytes=_shown_bytes(canonical),
        )
    return proof


def proof_of(claim: Claim, canonical: str) -> S3Proof:
    """What the directory needs to check the claim for itself."""
    scope = claim.scope
    return S3Proof(
        scope.access_key, scope.date, scope.region, claim.amz_date, canonical_digest(canonical), claim.signature
    )


def check_all_signed(claim: Claim, header_names: Sequence[str]) -> None:
    """S3Error when an x-amz- header came along that the signature does not cover: anyone could have added it."""
    unsigned = [n for n in header_names if n.startswith("x-amz-") and n not in claim.signed_headers]
    if claim.form == "query":
        unsigned = [name for name in unsigned if name != PAYLOAD_HEADER]
    if unsigned:
        raise S3Error(
            "AccessDenied", "there are headers that were not signed", HeadersNotSigned=", ".join(sorted(unsigned))
        )


def canonical_request(claim: Claim, method: str, path: bytes | str, query: str, header: Header) -> str:
    """The request in the one form that both sides sign. `path` is percent-decoded bytes, or text already encoded."""
    encoded = path if isinstance(path, str) else quote(path, safe="/-_.~")
    lines = [method, encoded or "/", _canonical_query(query, claim.form == "query")]
    for name in claim.signed_headers:
        value = header(name)
        if value is None:
            raise S3Error("AccessDenied", f"the signed header {name[:64]!r} is not in the request")
        lines.append(f"{name}:{_SPACES.sub(' ', value.strip())}")
    lines += ["", ";".join(claim.signed_headers), claim.payload]
    return "\n".join(lines)


def string_to_sign(claim: Claim, canonical: str) -> str:
    """What the signature is made of."""
    return f"{ALGORITHM}\n{claim.amz_date}\n{claim.scope.text}\n{canonical_digest(canonical)}"


def sign(key: bytes, text: str) -> str:
    """The signature of `text`, in hex."""
    return _hmac(key, text).hex()


def _shown_bytes(text: str) -> str:
    """Each byte in hex: texts that differ in a space look alike."""
    return text.encode("utf-8", "surrogateescape").hex(" ")


def _shown_time(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _canonical_query(query: str, without_signature: bool) -> str:
    pairs = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in query_arguments(query)
        if not (without_signature and name == "X-Amz-Signature")
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")
