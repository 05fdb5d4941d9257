"""Signature version 4: checks the signature of a request's claim about its sender.

Rules only: time, signing key and request are arguments. A signing key is valid for one day, one region and one service,
so a proxy may have S3's without the secret that it is derived from. Source of the method: the API reference's chapters
on authenticating requests by header, by query and by form.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote, unquote_to_bytes

from client_proxy.doors.s3.auth.claims import MAX_EXPIRES_SECONDS, PAYLOAD_HEADER, Claim, Header
from client_proxy.doors.s3.protocol.request import query_arguments
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import read_amz_date
from lockstep_store.wire.messages.s3 import S3_SERVICE, S3Proof, canonical_digest
from lockstep_store.wire.messages.s3 import SIGNING_ALGORITHM as ALGORITHM

MAX_SKEW_SECONDS = 15 * 60

_SPACES = re.compile(r" +")
_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)


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
        scope.access_key,
        scope.date,
        scope.region,
        claim.amz_date,
        canonical_digest(canonical),
        claim.signature,
        scope.service,
        "" if scope.service == S3_SERVICE else claim.session_token,
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
