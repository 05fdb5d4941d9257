"""An OpenID Connect provider as a function: it answers what the directory asks, and signs any token."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from directory_server.identity_providers.outgoing import ProviderFailed, ProviderReply

ISSUER = "https://login.lab.test/realms/lab"
CLIENT = "lockstep"
_KEYS: dict[str, Any] = {}


def rsa_key(name: str) -> RSAKey:
    """A key by its name, made once in a run."""
    return _KEYS.get(name) or _made(name, RSAKey.generate_key(2048, auto_kid=False))


def ec_key(name: str, curve: str = "P-256") -> ECKey:
    return _KEYS.get(name + curve) or _made(name + curve, ECKey.generate_key(curve, auto_kid=False))  # type: ignore[arg-type]


def ed_key(name: str) -> OKPKey:
    return _KEYS.get(name + "ed") or _made(name + "ed", OKPKey.generate_key("Ed25519", auto_kid=False))


def _made(name: str, key: Any) -> Any:
    _KEYS[name] = key
    return key


def public(key: Any, id: str, **more: Any) -> dict[str, Any]:
    """The key as a provider publishes it."""
    return {**key.as_dict(private=False), "kid": id, "use": "sig", **more}


def signed(claims: Mapping[str, Any], key: Any, id: str | None = "1", algorithm: str = "RS256", **header: Any) -> str:
    """A token with these claims."""
    head = {"alg": algorithm, "typ": "JWT", **({} if id is None else {"kid": id}), **header}
    return jws.serialize_compact(
        head, json.dumps(claims), key, algorithms=[algorithm], registry=_AnyHeader(algorithms=[algorithm])
    )


class _AnyHeader(jws.JWSRegistry):
    """Signs with whatever stands in the header: forged tokens need that."""

    def check_header(self, header: Any) -> None:
        return None


class FakeProvider:
    """`ask` takes the place of requests. `keys` are its public keys; `down` makes it fail."""

    def __init__(self, issuer: str = ISSUER) -> None:
        self.issuer = issuer
        self.key = rsa_key("provider")
        self.keys = [public(self.key, "1")]
        self.down = ""
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.token_replies: list[tuple[int, dict[str, Any]]] = []
        self.userinfo: dict[str, Any] = {}
        self._subject = ""
        self.more: dict[str, Any] = {}
        """Further members of its description."""

    def description(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/me",
            "device_authorization_endpoint": f"{self.issuer}/device",
            **self.more,
        }

    def ask(
        self,
        url: str,
        context: ssl.SSLContext,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ProviderReply:
        assert context.verify_mode == ssl.CERT_REQUIRED
        place = urlsplit(url).path.rpartition("/")[2]
        self.asked.append(place)
        if self.down:
            raise ProviderFailed(self.down)
        if form is not None:
            self.forms.append({**form, **{name.lower(): value for name, value in (headers or {}).items()}})
        if place == "openid-configuration":
            return _json(200, self.description())
        if place == "jwks":
            return _json(200, {"keys": self.keys})
        if place == "me":
            return _json(200, {"sub": self._subject, **self.userinfo})
        if place == "device":
            return _json(
                200,
                {
                    "device_code": "device-secret",
                    "user_code": "ABCD-EFGH",
                    "verification_uri": f"{self.issuer}/activate",
                    "expires_in": 600,
                    "interval": 5,
                },
            )
        assert place == "token", url
        return _json(*self.token_replies.pop(0))

    def token(self, wall: float, **claims: Any) -> str:
        """A good token, with other claims than usual where they are given; None leaves one out."""
        usual = {"iss": self.issuer, "aud": CLIENT, "sub": "subject-1", "iat": wall, "exp": wall + 300}
        merged = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        self._subject = merged.get("sub", "")
        return signed(merged, self.key, self.keys[0]["kid"])


def _json(status: int, document: Any) -> ProviderReply:
    return ProviderReply(status, json.dumps(document).encode())
