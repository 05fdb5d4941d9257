"""What a log-in asks a provider: to redeem a code (RFC 6749, 7636), to log in a device (RFC 8628), for more claims."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

from directory_server.identity_providers.known_provider import KnownProvider
from directory_server.identity_providers.outgoing import ProviderFailed, ProviderReply
from directory_server.identity_providers.provider import SCOPES, Claims, claims_used, values_of
from lockstep_store.wire.errors import NotLoggedIn

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_MAX_DEVICE_SECONDS = 900.0
_MAX_TEXT = 2048
_STILL = {"authorization_pending": 0.0, "slow_down": 5.0}
"""Refusals that mean that the person is not ready yet, and by how much the pause between questions grows."""


@dataclass(frozen=True)
class Tokens:
    """The provider's answer to a code."""

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)


@dataclass(frozen=True)
class DeviceCode:
    """A log-in on a device without a browser. `code` is the directory's secret; the rest is shown to the person."""

    code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    seconds: float
    poll_seconds: float


@dataclass(frozen=True)
class NotYet:
    """The person is not ready; ask again, and leave so much more time between questions."""

    slower_by: float


def challenge_of(verifier: str) -> str:
    """The S256 code challenge of a verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorization_url(known: KnownProvider, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
    """The address at which the person logs in. ProviderFailed if the provider has none."""
    endpoint = known.endpoints().authorization
    if not endpoint:
        raise ProviderFailed("it has no address for log-ins with a browser", permanent=True)
    asked = {
        "response_type": "code",
        "client_id": known.settings.client_id,
        "redirect_uri": redirect_uri,
        "scope": _scope(known),
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"


def redeem(known: KnownProvider, *, code: str, redirect_uri: str, verifier: str) -> Tokens:
    """Redeem an authorization code. NotLoggedIn if the provider refuses it, ProviderFailed if it cannot be asked."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    reply = _post(known, known.endpoints().token, form)
    if reply.status != 200:
        raise _refusal(known, reply)
    return _tokens(reply)


def start_device(known: KnownProvider) -> DeviceCode:
    """Begin a log-in on a device without a browser."""
    reply = _post(known, known.endpoints().device, {"scope": _scope(known)})
    if reply.status != 200:
        raise _refusal(known, reply)
    found = reply.document()
    return DeviceCode(
        _text(found, "device_code"),
        _text(found, "user_code"),
        _text(found, "verification_uri"),
        _text(found, "verification_uri_complete", required=False),
        min(_number(found, "expires_in", 300.0), _MAX_DEVICE_SECONDS),
        max(1.0, _number(found, "interval", 5.0)),
    )


def poll_device(known: KnownProvider, code: str) -> Tokens | NotYet:
    """Ask whether the person has logged in. NotLoggedIn if they refused, or if it took too long."""
    reply = _post(known, known.endpoints().token, {"grant_type": DEVICE_GRANT, "device_code": code})
    if reply.status == 200:
        return _tokens(reply)
    error = reply.document().get("error")
    if error in _STILL:
        return NotYet(_STILL[str(error)])
    raise _refusal(known, reply)


def with_userinfo(known: KnownProvider, claims: Claims, access_token: str) -> Claims:
    """Return the claims, with those that decide about the log-in and are not in the id token.

    Many providers answer them only to this question (OpenID Connect Core 1.0, 5.3). What the id token says counts.
    """
    endpoint = known.endpoints().userinfo
    missing = [name for name in claims_used(known.settings) if not values_of(claims, name)]
    if not missing or not endpoint or not access_token:
        return claims
    reply = known.ask(endpoint, known.context, headers={"Authorization": f"Bearer {access_token}"})
    if reply.status != 200:
        raise ProviderFailed(f"it answered the request for more claims with status {reply.status}")
    more = reply.document()
    if more.get("sub") != claims["sub"]:
        raise ProviderFailed("it answered with the claims of another person")
    return {**more, **claims}


def _scope(known: KnownProvider) -> str:
    return " ".join(dict.fromkeys((*SCOPES, *known.settings.scopes)))


def _post(known: KnownProvider, url: str, form: Mapping[str, str]) -> ProviderReply:
    """Post a form as the client that the provider knows (RFC 6749, 2.3.1)."""
    if not url:
        raise ProviderFailed("it has no address for this kind of log-in", permanent=True)
    settings, headers = known.settings, {}
    sent = dict(form)
    if settings.client_secret and not known.endpoints().secret_in_body:
        pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        sent["client_id"] = settings.client_id
        if settings.client_secret:
            sent["client_secret"] = settings.client_secret
    return known.ask(url, known.context, form=sent, headers=headers)


def _refusal(known: KnownProvider, reply: ProviderReply) -> NotLoggedIn:
    """What the provider's error means for the person (RFC 6749, 5.2; RFC 8628, 3.5)."""
    found = reply.document()
    error = str(found.get("error", f"status {reply.status}"))[:100]
    if error in ("invalid_client", "unauthorized_client"):
        raise ProviderFailed(f"it refused this cluster as its client ({error})", permanent=True)
    if reply.status >= 500:
        raise ProviderFailed(f"it answered with status {reply.status}")
    if error == "access_denied":
        return NotLoggedIn(f"{known.name} refused the log-in")
    if error == "expired_token":
        return NotLoggedIn("this log-in took too long: begin again")
    return NotLoggedIn(f"{known.name} did not accept the log-in ({error}): begin again")


def _tokens(reply: ProviderReply) -> Tokens:
    found = reply.document()
    id_token, access_token = found.get("id_token"), found.get("access_token", "")
    if not isinstance(id_token, str):
        raise ProviderFailed("its reply has no id token: is this an OpenID Connect provider?")
    return Tokens(id_token, access_token if isinstance(access_token, str) else "")


def _text(found: Mapping[str, object], name: str, *, required: bool = True) -> str:
    value = found.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable() or (required and not value):
        raise ProviderFailed(f"its reply has no usable {name}")
    return value


def _number(found: Mapping[str, object], name: str, default: float) -> float:
    value = found.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        return default
    return float(value)
