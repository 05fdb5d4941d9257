"""Whose request it is, at doors whose clients speak HTTP Basic: a password, an API key or an S3 access key.

A client repeats Basic with every request. So the log-in that a password led to is remembered, and a wrong one is, too:
the directory hashes a password once and counts a wrong one once, however often a client repeats it. Passwords are
remembered only as a hash under a key that this process made for itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from typing import NamedTuple, TypeVar

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.callers import check_credential
from client_proxy.doors.request_access import access_of
from client_proxy.rate_limits.limiter import ClassLimits, standing_headers
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import Environ, RawReply
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.wire.errors import NotLoggedIn, SecondFactorNeeded
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.people import LOGIN, WHO_AM_I, PasswordRequest
from lockstep_store.wire.messages.s3 import (
    REGION,
    S3_SIGNING_KEY,
    SIGNING_ALGORITHM,
    S3Proof,
    SigningKeyRequest,
    signing_key,
)

KEEP_SECONDS = 3600.0
"""How long a log-in is used. The directory judges it with every call all the same."""
WRONG_SECONDS = 60.0
"""How long a wrong password is refused without asking the directory."""
MAX_KNOWN = 10_000
MAX_HEADER = 2048
API_KEY_PREFIX = "lsk_"
_ACCESS_KEY = re.compile(r"LS[0-9A-Z]{18}")


class DoorCaller(NamedTuple):
    """An account, its credential for the directory, and how the credential is known to rate limits."""

    account: str
    credential: str
    key: str


class CallersRequest(DrainableRequest):
    """A request of `caller` about a bucket; the name is empty if it is about none."""

    bucket: str

    def __init__(self, environ: Environ, caller: DoorCaller) -> None:
        super().__init__(environ)
        self.caller = caller
        self.kept: bytes | None = None
        """The whole body, once it is in memory: then the request can be made again."""

    @cached_property
    def access(self) -> str:
        """The credential, with what policies may ask about the request."""
        return access_of(self.environ, self.caller.credential)

    def keep_body(self, limit: int) -> bytes:
        """The whole body; see `body`."""
        self.kept = self.body(limit)
        return self.kept


Asked = TypeVar("Asked", bound=CallersRequest)


class BasicLogIns:
    """Thread-safe. `client` names the log-ins, `limits` are their rate limits, `wall` dates signatures, and `monotonic`
    ages what is remembered."""

    def __init__(
        self,
        directory: Directory,
        limits: ClassLimits | None = None,
        *,
        client: str = "",
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._limits = limits
        self._client = client
        self._wall = wall
        self._monotonic = monotonic
        self._secret = secrets.token_bytes(32)
        self._known: ExpiringMap[str, DoorCaller] = ExpiringMap(MAX_KNOWN, KEEP_SECONDS, monotonic)
        self._wrong: ExpiringMap[str, str] = ExpiringMap(MAX_KNOWN, WRONG_SECONDS, monotonic)
        self._turns = _Turns()

    def answer(
        self,
        body: DrainableRequest,
        limits: ClassLimits | None,
        request_of: Callable[[Environ, DoorCaller], Asked],
        reply_to: Callable[[Asked], RawReply],
    ) -> RawReply:
        """Find out whose request it is, and answer it within the rate `limits` of its class.

        It is made again if only the log-in has ended: a client would take the refusal for a wrong password. `body` is
        the request without its caller, for the count of what was read.
        """
        environ, header = body.environ, body.header("Authorization")
        address = remote_address(environ)
        standings = limits.at_address(address) if limits is not None else []
        for again in (True, False):
            caller = self.identify(header, address)
            request = request_of(environ, caller)
            if again and limits is not None:
                standings += limits.of_caller(account=caller.account, key=caller.key, bucket=request.bucket)
            try:
                reply = reply_to(request)
            except NotLoggedIn:
                if not (again and self._may_repeat(header, request)):
                    raise
                continue
            finally:
                body.received = request.received
            reply.headers.extend(standing_headers(standings))
            return reply
        raise AssertionError("unreachable")

    def identify(self, header: str, address: str) -> DoorCaller:
        """The caller that an Authorization header names. NotLoggedIn if there is none, or it is wrong."""
        if not header or len(header) > MAX_HEADER:
            raise NotLoggedIn("log in with your user name and password, or with an API key as the password")
        key = self._key(header)
        known = self._known.get(key)
        if known is not None:
            return known
        # A client opens several connections at once: only the first of them logs in.
        with self._turns.turn(key):
            known = self._known.get(key)
            if known is not None:
                return known
            wrong = self._wrong.get(key)
            if wrong is not None:
                raise NotLoggedIn(wrong)
            asked = self._monotonic()
            try:
                found = self._ask(header, address, key)
            except NotLoggedIn as error:
                self._wrong.set(key, str(error))
                raise
            self._known.set(key, found, since=asked)
            return found

    def _may_repeat(self, header: str, request: CallersRequest) -> bool:
        """Drop what is remembered, because the directory refused it, and prepare the request to be made again.

        False if that cannot help, or the body is gone.
        """
        key = self._key(header)
        known = self._known.get(key)
        self._known.forget(key)
        if known is None or (request.received and request.kept is None):
            return False
        if request.kept is not None:
            request.environ["wsgi.input"] = BytesIO(request.kept)
        return True

    def _key(self, header: str) -> str:
        return hmac.new(self._secret, header.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def _ask(self, header: str, address: str, key: str) -> DoorCaller:
        scheme, _, value = header.partition(" ")
        value = value.strip()
        if scheme.lower() == "bearer":
            return self._of_credential(value, key)
        if scheme.lower() != "basic":
            raise NotLoggedIn("log in with Basic authentication: user name and password")
        name, password = _decoded(value)
        if password.startswith(API_KEY_PREFIX):
            return self._of_credential(password, key, name)
        if _ACCESS_KEY.fullmatch(name):
            return self._of_access_key(name, password, key)
        return self._log_in(name, password, address, key)

    def _of_credential(self, credential: str, key: str, name: str = "") -> DoorCaller:
        account = self._directory.call(WHO_AM_I, CredentialRequest(check_credential(credential))).name
        if name and name != account:
            raise NotLoggedIn("the API key belongs to another account than the user name")
        return DoorCaller(account, credential, key[:32])

    def _of_access_key(self, access_key: str, secret: str, key: str) -> DoorCaller:
        """Sign a proof in the person's name, as anybody can who has the access key's secret."""
        now = time.gmtime(self._wall())
        date, moment = time.strftime("%Y%m%d", now), time.strftime("%Y%m%dT%H%M%SZ", now)
        known = self._directory.call(S3_SIGNING_KEY, SigningKeyRequest(access_key, date, REGION))
        signing = signing_key(secret, date, REGION)
        if not hmac.compare_digest(signing.hex(), known.key):
            raise NotLoggedIn("the secret is not that of the access key")
        proof = S3Proof(access_key, date, REGION, moment, secrets.token_hex(32), "")
        text = f"{SIGNING_ALGORITHM}\n{moment}\n{proof.scope}\n{proof.canonical_sha256}"
        signature = hmac.digest(signing, text.encode(), "sha256").hex()
        return DoorCaller(known.account, proof._replace(signature=signature).encode(), access_key)

    def _log_in(self, name: str, password: str, address: str, key: str) -> DoorCaller:
        if self._limits is not None:
            self._limits.at_address(address)
        if not 1 <= len(name) <= 256 or not 1 <= len(password) <= 1024:
            raise NotLoggedIn("the name or the password is wrong")
        request = PasswordRequest(name, password, register="never", client=self._client, address=address)
        try:
            reply = self._directory.call(LOGIN, request)
        except SecondFactorNeeded as error:
            raise NotLoggedIn(
                "this account needs a second factor, which cannot be asked for here: make an API key "
                "(lockstep keys create laptop), and use it as the password"
            ) from error
        return DoorCaller(reply.account, reply.token, key[:32])


class _Turns:
    """One thread at a time for each key. Others, with other keys, do not wait."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """Wait for the key's turn, and have it."""
        with self._guard:
            lock, waiting = self._turns.get(key) or (threading.Lock(), 0)
            self._turns[key] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                _, waiting = self._turns.pop(key)
                if waiting > 1:
                    self._turns[key] = lock, waiting - 1


def _decoded(value: str) -> tuple[str, str]:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise NotLoggedIn("the header Authorization is not Basic authentication") from None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # older clients
    name, colon, password = text.partition(":")
    if not colon:
        raise NotLoggedIn("the header Authorization is not Basic authentication")
    return name, password
