"""Verifies id tokens (OpenID Connect Core 1.0, 3.1.3.7) with a provider's public keys. No I/O.

Imported on first use: the library takes longer to load than most directories take to start.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from directory_server.identity_providers.outgoing import ProviderFailed
from directory_server.identity_providers.provider import Claims

MAX_CHARACTERS = 20_000
"""AWS's bound of a web identity token."""
LEEWAY_SECONDS = 60.0
MAX_SUBJECT = 255
_MAX_KEYS = 100
_LEAST_RSA_BITS = 2048
_MAX_TIME = 1e12
_FORMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("Ed25519",),  # RFC 9864; the library warns of its older name EdDSA
}
"""Algorithms by type or curve of the key that may be used with them. None of them has a shared secret."""
ALGORITHMS = frozenset(name for names in _FORMS.values() for name in names)


class InvalidIdToken(Exception):
    """The token is refused; the text is the reason. `expired`: it was valid once."""

    expired = False


class ExpiredIdToken(InvalidIdToken):
    expired = True


class UnknownSigningKey(InvalidIdToken):
    """No known key fits; the provider may have a new one."""


@dataclass(frozen=True)
class SigningKey:
    """A public key of the provider, and the algorithms that it may be used with."""

    id: str
    algorithms: tuple[str, ...]
    key: RSAKey | ECKey | OKPKey


def read_keys(document: dict[str, Any]) -> tuple[SigningKey, ...]:
    """Return the usable signing keys of a JWK set (RFC 7517). ProviderFailed if there are none."""
    given = document.get("keys")
    if not isinstance(given, list):
        raise ProviderFailed("its key set has no keys")
    keys = tuple(key for key in map(_read_key, given[:_MAX_KEYS]) if key is not None)
    if not keys:
        raise ProviderFailed("none of its keys can verify signatures")
    return keys


def _read_key(given: Any) -> SigningKey | None:
    """Return a key; None for one that is not for signatures, too weak, or unknown."""
    if not isinstance(given, dict) or given.get("use", "sig") != "sig":
        return None
    operations = given.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    kind = given.get("kty")
    form = kind if kind == "RSA" else given.get("crv")
    algorithms = _FORMS.get(form) if isinstance(form, str) else None
    public = {name: given[name] for name in ("kty", "crv", "n", "e", "x", "y") if isinstance(given.get(name), str)}
    try:
        key: RSAKey | ECKey | OKPKey
        if kind == "RSA":
            if len(public.get("n", "")) * 6 < _LEAST_RSA_BITS:  # in base64; the library only warns
                return None
            key = RSAKey.import_key(public)
            if key.public_key.key_size < _LEAST_RSA_BITS:
                return None
        elif kind == "EC":
            key = ECKey.import_key(public)
        elif kind == "OKP":
            key = OKPKey.import_key(public)
        else:
            return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if algorithms is None:
        return None
    if "alg" in given:
        algorithms = tuple(name for name in algorithms if name == given["alg"])
    return SigningKey(str(given.get("kid", "")), algorithms, key)


def unverified_issuer(token: str) -> str:
    """Return the issuer that a token claims, to find whose keys to verify it with. InvalidIdToken if there is none."""
    if len(token) > MAX_CHARACTERS:
        raise InvalidIdToken(f"it has more than {MAX_CHARACTERS} characters")
    try:
        payload = token.split(".")[1].encode("ascii")
        claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        issuer = claims["iss"]
    except (ValueError, IndexError, KeyError, TypeError, RecursionError) as error:
        raise InvalidIdToken("it is not a JSON web token with an issuer") from error
    if not isinstance(issuer, str):
        raise InvalidIdToken("it is not a JSON web token with an issuer")
    return issuer


def verify(
    token: str, keys: Sequence[SigningKey], issuer: str, audiences: Collection[str], wall: float, nonce: str = ""
) -> Claims:
    """Return the claims of a token that `issuer` signed for one of `audiences`.

    `wall` is seconds since 1970. With `nonce`, the token must have exactly this one. Raises InvalidIdToken.
    """
    claims = _signed_claims(token, keys)
    if claims.get("iss") != issuer:
        raise InvalidIdToken("it was issued by another provider")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        raise InvalidIdToken("it names no subject")
    _check_audience(claims, audiences)
    _check_times(claims, wall)
    if nonce and claims.get("nonce") != nonce:
        raise InvalidIdToken("it was not issued for this log-in (wrong nonce)")
    return claims


def _signed_claims(token: str, keys: Sequence[SigningKey]) -> dict[str, Any]:
    if len(token) > MAX_CHARACTERS:
        raise InvalidIdToken(f"it has more than {MAX_CHARACTERS} characters")
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidIdToken("it is not a signed JSON web token") from error
    algorithm = _checked_algorithm(header)
    for key in _fitting(keys, header.get("kid"), algorithm):
        try:
            claims = json.loads(jws.deserialize_compact(token, key.key, algorithms=[algorithm]).payload)
        except JoseError:
            continue
        except (ValueError, RecursionError) as error:
            raise InvalidIdToken("its claims are not JSON") from error
        if not isinstance(claims, dict):
            raise InvalidIdToken("its claims are not a JSON object")
        return claims
    raise InvalidIdToken("its signature is wrong")


def _checked_algorithm(header: dict[str, Any]) -> str:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidIdToken(f"its signature algorithm {str(algorithm)[:20]!r} is not accepted")
    if "crit" in header or "b64" in header:
        raise InvalidIdToken("its header demands extensions that no id token has")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.upper() != "JWT":  # such as at+jwt, an access token
        raise InvalidIdToken(f"it is not an id token, but of type {str(kind)[:20]!r}")
    return algorithm


def _fitting(keys: Sequence[SigningKey], id: Any, algorithm: str) -> list[SigningKey]:
    """Return the keys to try; UnknownSigningKey if there are none."""
    named = [key for key in keys if id is None or key.id == id]
    fitting = [key for key in named if algorithm in key.algorithms]
    if not named:
        raise UnknownSigningKey("the provider has no such signing key")
    if not fitting:
        raise InvalidIdToken(f"its signing key is not for {algorithm}")
    return fitting


def _check_audience(claims: Claims, audiences: Collection[str]) -> None:
    found = claims.get("aud")
    given = found if isinstance(found, list) else [found]
    if not any(isinstance(one, str) and one in audiences for one in given):
        raise InvalidIdToken("it is for another application (its audience is not allowed here)")
    party = claims.get("azp")
    if (len(given) > 1 or party is not None) and party not in audiences:
        raise InvalidIdToken("it was issued to another application (its authorized party is not allowed here)")


def _check_times(claims: Claims, wall: float) -> None:
    if _time(claims, "exp") <= wall - LEEWAY_SECONDS:
        raise ExpiredIdToken("it has expired")
    if _time(claims, "iat") > wall + LEEWAY_SECONDS or _time(claims, "nbf", 0.0) > wall + LEEWAY_SECONDS:
        raise InvalidIdToken("it is not valid yet: compare this machine's clock with the provider's")


def _time(claims: Claims, name: str, default: float | None = None) -> float:
    found = claims.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < _MAX_TIME:
        raise InvalidIdToken(f"its claim {name} is not a time")
    return float(found)
