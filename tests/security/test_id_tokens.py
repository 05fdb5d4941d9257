"""Forged, foreign, stale and malformed id tokens: only what the provider signed for this cluster is accepted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from directory_server.identity_providers.id_tokens import (
    ALGORITHMS,
    MAX_CHARACTERS,
    ExpiredIdToken,
    InvalidIdToken,
    UnknownSigningKey,
    read_keys,
    verify,
)
from directory_server.identity_providers.outgoing import ProviderFailed
from tests.fakes.identity_provider import CLIENT, ISSUER, ec_key, ed_key, public, rsa_key, signed

NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {"iss": ISSUER, "aud": CLIENT, "sub": "s", "iat": NOW, "exp": NOW + 300, "nonce": "n"}
KEY = rsa_key("provider")
KEYS = read_keys({"keys": [public(KEY, "1"), public(ec_key("e"), "2"), public(ed_key("d"), "3")]})


def check(token: str, nonce: str = "n", audiences: tuple[str, ...] = (CLIENT,), keys: Any = KEYS) -> Any:
    return verify(token, keys, ISSUER, audiences, NOW, nonce=nonce)


def refusal(token: str, **more: Any) -> str:
    with pytest.raises(InvalidIdToken) as caught:
        check(token, **more)
    return str(caught.value)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_claims(**claims: Any) -> str:
    """A token that the provider signed, with other claims; None leaves one out."""
    merged = {name: value for name, value in {**GOOD, **claims}.items() if value is not None}
    return signed(merged, KEY)


def test_a_good_token_is_accepted_with_every_kind_of_key() -> None:
    """And its claims are those that were signed."""
    assert check(signed(GOOD, KEY)) == GOOD
    assert check(signed(GOOD, KEY, algorithm="PS256"))["sub"] == "s"
    assert check(signed(GOOD, ec_key("e"), "2", "ES256"))["sub"] == "s"
    assert check(signed(GOOD, ed_key("d"), "3", "Ed25519"))["sub"] == "s"
    assert check(signed(GOOD, KEY, None), keys=KEYS[:1])["sub"] == "s"


def test_a_wrong_key_is_refused() -> None:
    """Under the provider's key id, without one, and when the token brings its own key."""
    forger = rsa_key("forger")
    assert refusal(signed(GOOD, forger)) == "its signature is wrong"
    assert refusal(signed(GOOD, forger, None)) == "its signature is wrong"
    own = ec_key("forger").as_dict(private=False)
    assert refusal(signed(GOOD, ec_key("forger"), "2", "ES256", jwk=own)) == "its signature is wrong"
    for header in (
        {"jwk": own},
        {"jku": "https://forger.test/jwks"},
        {"x5u": "https://forger.test/x"},
        {"x5c": ["AA"]},
    ):
        assert refusal(signed(GOOD, forger, **header)) == "its signature is wrong"


def test_no_token_without_a_signature_passes() -> None:
    """`none` in any spelling, with and without a signature part."""
    for name in ("none", "None", "NONE", "", None, 5, ["RS256"]):
        for end in ("", "AAAA"):
            token = f"{part({'alg': name, 'kid': '1'})}.{part(GOOD)}.{end}"
            assert "algorithm" in refusal(token) or "not a signed" in refusal(token)
    head, claims, signature = signed(GOOD, KEY).split(".")
    for broken in ("", signature[:-8], signature[::-1], part(b"\0" * 256)):
        assert refusal(f"{head}.{claims}.{broken}")


def test_the_public_key_is_no_shared_secret() -> None:
    """HS256 with the provider's public key as the secret, in the forms that libraries have taken it."""
    published = KEY.as_dict(private=False)
    for secret in (KEY.as_pem(private=False), json.dumps(published).encode(), published["n"].encode()):
        head = part({"alg": "HS256", "kid": "1", "typ": "JWT"})
        mac = hmac.digest(secret, f"{head}.{part(GOOD)}".encode(), hashlib.sha256)
        assert "algorithm 'HS256' is not accepted" in refusal(f"{head}.{part(GOOD)}.{part(mac)}")
    assert not any(name.startswith("HS") or name == "none" for name in ALGORITHMS)


def test_key_ids_open_nothing() -> None:
    """An unknown one, another key's, and ones that are no text."""
    with pytest.raises(UnknownSigningKey):
        check(signed(GOOD, rsa_key("forger"), "new"))
    for id in ("../../etc/passwd", "' OR 1=1 --", "\0", "1 ", "2" * 300):
        with pytest.raises(UnknownSigningKey):
            check(signed(GOOD, KEY, id))
    assert "not for RS256" in refusal(signed(GOOD, KEY, "2"))
    for odd in (1, True, {"a": "1"}, ["1"]):
        head = part({"alg": "RS256", "kid": odd})
        assert refusal(f"{head}.{part(GOOD)}.{part(b'x' * 256)}")


def test_a_key_is_used_for_its_own_algorithm_only() -> None:
    """The curve decides for elliptic keys, and the key's own `alg` where it has one."""
    assert "not for ES384" in refusal(f"{part({'alg': 'ES384', 'kid': '2'})}.{part(GOOD)}.{part(b'x' * 96)}")
    assert "not for ES256" in refusal(f"{part({'alg': 'ES256', 'kid': '1'})}.{part(GOOD)}.{part(b'x' * 64)}")
    only = read_keys({"keys": [public(KEY, "1", alg="RS256")]})
    assert check(signed(GOOD, KEY), keys=only)
    assert "not for PS256" in refusal(signed(GOOD, KEY, algorithm="PS256"), keys=only)


def test_published_keys_that_cannot_verify_are_left_out() -> None:
    """Shared secrets, keys for encryption, weak and malformed ones; nothing but those is a failure."""
    useless: list[Any] = [
        {"kty": "oct", "kid": "1", "k": OctKey.generate_key(256, auto_kid=False).as_dict()["k"]},
        public(KEY, "1", use="enc"),
        public(KEY, "1", key_ops=["encrypt"]),
        {"kty": "RSA", "kid": "1", "n": base64.urlsafe_b64encode(b"\xc1" * 128).rstrip(b"=").decode(), "e": "AQAB"},
        {"kty": "RSA", "kid": "1"},
        {"kty": "RSA", "kid": "1", "n": 5, "e": "AQAB"},
        {"kty": "EC", "kid": "1", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "1", "crv": ["P-256"], "x": "AA", "y": "AA"},
        {"kty": "unheard"},
        "text",
    ]
    for one in useless:
        with pytest.raises(ProviderFailed):
            read_keys({"keys": [one]})
    assert [key.id for key in read_keys({"keys": [*useless, public(KEY, "7")]})] == ["7"]
    for nothing in ({}, {"keys": {}}, {"keys": []}):
        with pytest.raises(ProviderFailed):
            read_keys(nothing)


def test_another_issuer_or_audience_is_refused() -> None:
    """Also one that only looks alike, and one among several without the right authorized party."""
    for issuer in ("https://evil.test", f"{ISSUER}/", ISSUER.upper(), None, 5, [ISSUER]):
        assert "another provider" in refusal(with_claims(iss=issuer))
    for audience in ("other", [], None, ["other"], CLIENT.upper(), {"lockstep": 1}, [[CLIENT]], f"{CLIENT} "):
        assert "another application" in refusal(with_claims(aud=audience))
    assert "authorized party" in refusal(with_claims(aud=[CLIENT, "other"]))
    assert "authorized party" in refusal(with_claims(aud=[CLIENT, "other"], azp="other"))
    assert "authorized party" in refusal(with_claims(azp="other"))
    assert check(with_claims(aud=[CLIENT, "other"], azp=CLIENT))
    assert check(with_claims(aud=[CLIENT]))


def test_times_count() -> None:
    """Expired, from the future, without a time, or with one that is none; a minute of difference is allowed."""
    with pytest.raises(ExpiredIdToken):
        check(with_claims(exp=NOW - 60))
    assert check(with_claims(exp=NOW - 59, iat=NOW - 400))
    assert "not valid yet" in refusal(with_claims(iat=NOW + 61))
    assert "not valid yet" in refusal(with_claims(nbf=NOW + 61))
    assert check(with_claims(iat=NOW + 59, nbf=NOW + 59))
    for name in ("exp", "iat"):
        for value in (None, "soon", True, [NOW], 10**400, -(10**400), 1e300):
            assert f"claim {name} is not a time" in refusal(with_claims(**{name: value}))


def test_not_a_number_is_no_time() -> None:
    """JSON as Python reads it has NaN and Infinity."""
    for value in ("NaN", "Infinity", "-Infinity"):
        claims = json.dumps(GOOD).replace(str(NOW + 300), value)
        assert value in claims
        token = jws.serialize_compact({"alg": "RS256", "kid": "1"}, claims, KEY)
        assert "not a time" in refusal(token)


def test_the_nonce_must_be_the_one_of_the_log_in() -> None:
    """Another, none, or one of another type; without a log-in none is asked for."""
    for nonce in ("other", None, "", ["n"], True):
        assert "nonce" in refusal(with_claims(nonce=nonce))
    assert check(with_claims(nonce=None), nonce="")


def test_other_tokens_of_the_provider_are_no_id_tokens() -> None:
    """Access and log-out tokens, tokens that need extensions, and tokens about nobody."""
    for kind in ("at+jwt", "logout+jwt", "JWE", 5):
        assert "not an id token" in refusal(signed(GOOD, KEY, typ=kind))
    assert check(signed(GOOD, KEY, typ="jwt"))
    assert "extensions" in refusal(signed(GOOD, KEY, crit=["exp"], exp=1))
    assert refusal(f"{part({'alg': 'RS256', 'kid': '1', 'b64': False, 'crit': ['b64']})}.{part(GOOD)}.AAAA")
    for subject in (None, "", 5, ["s"], "s" * 256):
        assert "names no subject" in refusal(with_claims(sub=subject))


def test_what_is_no_token_is_refused_quickly() -> None:
    """Huge, nested, empty, encrypted, not ASCII: within a moment, by its own error."""
    nested = part(b'{"alg":"RS256","kid":"1","x":' + b"[" * 5000 + b"]" * 5000 + b"}")
    good = signed(GOOD, KEY)
    for text in (
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b.c.d.e",
        "ä.ö.ü",
        "\0" * 100,
        f"{good}.",
        f"{good}.{good}",
        f" {good}",
        f"{good}\n",
        good.replace(".", "", 1),
        f"{nested}.{part(GOOD)}.AAAA",
        f"{part([1])}.{part(GOOD)}.AAAA",
        f"{part(b'{')}.{part(GOOD)}.AAAA",
        "A" * (MAX_CHARACTERS + 1),
        "." * MAX_CHARACTERS,
    ):
        began = time.process_time()
        with pytest.raises(InvalidIdToken):
            check(text)
        assert time.process_time() - began < 2
    huge = with_claims(groups=["g" * 100] * 300)
    assert "characters" in refusal(huge)


def test_claims_that_are_no_object_are_refused() -> None:
    """Although the provider signed them."""
    for content in (b"[]", b"5", b"null", b"{", b"\xff", b"[" * 3000):
        token = jws.serialize_compact({"alg": "RS256", "kid": "1"}, content, KEY)
        assert refusal(token)
