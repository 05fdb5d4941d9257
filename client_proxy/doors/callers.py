"""Tokens and API keys that requests show in a header: whether a text can be one, and whose it is.

Only headers count, which no web page of another origin can add unasked; cookies are the console's alone.
"""

from __future__ import annotations

import hashlib
import time

from client_proxy.core.directory_calls import Directory
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.people import WHO_AM_I
from lockstep_store.wire.messages.s3_access import OWN_PREFIXES

MAX_CREDENTIAL_BYTES = 512
KNOWN_SECONDS = 60.0
"""How long a credential's account is remembered. The request itself is authorised by the directory each time."""
MAX_KNOWN = 10_000


def check_credential(credential: str) -> str:
    """Return the credential. Raises NotLoggedIn if it cannot be a token or an API key."""
    if credential.startswith(OWN_PREFIXES):
        # A signature is valid for one request only, and only the S3 door has that request.
        raise NotLoggedIn("a signature is not accepted here: send a token or an API key")
    if not credential.isascii() or len(credential) > MAX_CREDENTIAL_BYTES:
        raise NotLoggedIn(
            "the credential is too long, or not ASCII, to be a token or an API key: check that it was copied correctly"
        )
    return credential


class Callers:
    """Finds out whose credential a request shows. Thread-safe."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: ExpiringMap[str, str] = ExpiringMap(MAX_KNOWN, KNOWN_SECONDS, time.monotonic)

    def identify(self, credential: str) -> tuple[str, str]:
        """The account and the key of a credential. NotLoggedIn if the directory does not know it.

        A key is named by a hash, because a shared storage of rate limits must not learn credentials. Unknown
        credentials are not counted: anybody can make up as many as there is memory for.
        """
        key = hashlib.sha256(credential.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        account = self._known.get(key)
        if account is None:
            asked = time.monotonic()
            account = self._directory.call(WHO_AM_I, CredentialRequest(credential)).name
            self._known.set(key, account, since=asked)
        return account, key
