"""An OpenID Connect provider as an administrator configured it, and what its claims mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.users import AccountRole

Claims = Mapping[str, Any]
"""The claims of a verified id token."""
SCOPES = ("openid", "profile", "email")
USERNAME_CLAIM = "preferred_username"
"""The name that people see at the provider. An e-mail address was refused: it is handed on to other people, need not be
verified, and would stand in every policy."""


class Provider(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything about a provider; stored sealed. Rules are texts `CLAIM=VALUE`.

    Without `client_id` people cannot log in with it, and it only vouches for programs, by tokens for `audiences`.
    """

    issuer: str
    client_id: str = ""
    client_secret: str = ""
    ca_pem: str = ""
    audiences: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    """In addition to SCOPES."""
    username_claim: str = USERNAME_CLAIM
    create_accounts: bool = False
    require: tuple[str, ...] = ()
    """Of each claim named here, one of the values must be there."""
    administrators: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Provider({self.issuer!r})"

    @property
    def token_audiences(self) -> tuple[str, ...]:
        """The audiences of tokens that programs may present."""
        return (*self.audiences, *((self.client_id,) if self.client_id else ()))

    @property
    def arn_part(self) -> str:
        """How ARNs and condition keys name the provider: the issuer without its scheme."""
        return self.issuer.removeprefix("https://")


def check_provider(given: Provider) -> None:
    """Raise BadRequest for settings that can never work."""
    parts = https_parts(given.issuer)
    if parts is None:
        raise BadRequest(f"the issuer {given.issuer[:200]!r} must be an address such as https://login.example.com")
    if parts.query or parts.fragment or parts.username is not None:
        raise BadRequest("the issuer must have no user, query or fragment: OpenID Connect does not allow them")
    if not given.token_audiences:
        raise BadRequest("give a client id for people's log-ins, or an audience for programs' tokens")
    if given.client_secret and not given.client_id:
        raise BadRequest("a client secret needs a client id")
    for rule in (*given.require, *given.administrators, *given.read_only):
        claim, sign, value = rule.partition("=")
        if not (claim and sign and value):
            raise BadRequest(f"{rule[:100]!r} is not a rule about a claim: write CLAIM=VALUE, such as groups=staff")


def https_parts(url: str) -> SplitResult | None:
    """Return the parts of an address that a request can be sent to over TLS; None for any other text."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme == "https" and parts.hostname else None


def values_of(claims: Claims, name: str) -> tuple[str, ...]:
    """Return a claim's values as text; none if it is missing or an object.

    A name with dots that is no claim itself leads into objects: `realm_access.roles`.
    """
    found = claims.get(name)
    if found is None and "." in name:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    return tuple(_texts(found if isinstance(found, list) else [found]))


def _texts(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, bool):
            yield "true" if value else "false"
        elif isinstance(value, str | int | float):
            yield str(value)


def unmet(provider: Provider, claims: Claims) -> str:
    """Return the name of a required claim without a required value; empty if all have one."""
    wanted: dict[str, set[str]] = {}
    for rule in provider.require:
        claim, _, value = rule.partition("=")
        wanted.setdefault(claim, set()).add(value)
    return next((claim for claim, values in wanted.items() if values.isdisjoint(values_of(claims, claim))), "")


def role_of(provider: Provider, claims: Claims) -> AccountRole | None:
    """Return the role that the claims give; None if the provider decides about no roles."""
    if not provider.administrators and not provider.read_only:
        return None
    if _any(provider.administrators, claims):
        return "administrator"
    return "read-only" if _any(provider.read_only, claims) else "member"


def _any(rules: Iterable[str], claims: Claims) -> bool:
    pairs = (rule.partition("=") for rule in rules)
    return any(value in values_of(claims, claim) for claim, _, value in pairs)


def only_used(provider: Provider, claims: Claims) -> Claims:
    """Return the claims that decide about a log-in. The others may be as long as a provider's reply."""
    names = {"sub", "email_verified", *claims_used(provider)}
    names |= {name.partition(".")[0] for name in names}
    return {name: claims[name] for name in names & claims.keys()}


def claims_used(provider: Provider) -> set[str]:
    """Return the names of the claims that decide about a log-in."""
    rules = (*provider.require, *provider.administrators, *provider.read_only)
    return {provider.username_claim, *(rule.partition("=")[0] for rule in rules)}
