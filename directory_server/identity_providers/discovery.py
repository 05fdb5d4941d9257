"""A provider's description of itself (OpenID Connect Discovery 1.0). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from directory_server.identity_providers.outgoing import ProviderFailed
from directory_server.identity_providers.provider import https_parts

PATH = "/.well-known/openid-configuration"
_MAX_URL = 2048


@dataclass(frozen=True)
class Endpoints:
    """Addresses at the provider; empty where it has none."""

    keys: str
    authorization: str = ""
    token: str = ""
    device: str = ""
    userinfo: str = ""
    secret_in_body: bool = False
    """The token endpoint wants the client secret in the form, not in the Authorization header."""
    names_issuer: bool = False
    """Answers to authorization requests name the issuer (RFC 9207)."""


def document_url(issuer: str) -> str:
    """Where the provider describes itself."""
    return issuer.rstrip("/") + PATH


def read_endpoints(issuer: str, document: dict[str, Any]) -> Endpoints:
    """Return the endpoints of a provider. ProviderFailed if it calls itself by another name, or has no keys."""
    named = document.get("issuer")
    if named != issuer:
        raise ProviderFailed(f"it calls itself {str(named)[:200]!r}: use exactly that as the issuer", permanent=True)
    methods = document.get("token_endpoint_auth_methods_supported")
    keys = _url(document, "jwks_uri")
    if not keys:
        raise ProviderFailed("its description names no signing keys (jwks_uri)")
    return Endpoints(
        keys,
        _url(document, "authorization_endpoint"),
        _url(document, "token_endpoint"),
        _url(document, "device_authorization_endpoint"),
        _url(document, "userinfo_endpoint"),
        secret_in_body=isinstance(methods, list) and "client_secret_basic" not in methods,
        names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _url(document: dict[str, Any], name: str) -> str:
    found = document.get(name, "")
    if found == "":
        return ""
    if not isinstance(found, str) or len(found) > _MAX_URL or https_parts(found) is None:
        raise ProviderFailed(f"its {name} is not an address that begins with https")
    return found
