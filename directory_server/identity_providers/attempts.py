"""Log-ins at providers that are under way: begun, answered by the browser or the device, and verified once.

They are in memory only: after a restart of the directory a person begins again.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from urllib.parse import parse_qsl

from directory_server.identity_providers import exchanges
from directory_server.identity_providers.exchanges import DeviceCode, NotYet, Tokens
from directory_server.identity_providers.known_provider import KnownProvider, ProviderClock
from directory_server.identity_providers.outgoing import ProviderFailed
from directory_server.identity_providers.provider import Claims, only_used
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import LockstepError, NotLoggedIn
from lockstep_store.wire.messages.single_sign_on import SignOn, SignOnMethod

BROWSER_SECONDS = 300.0
MAX_ATTEMPTS = 10_000
_LONGEST_SECONDS = 900.0
_ASKING_SECONDS = 0.5
_MAX_ARGUMENTS = 20
_MAX_FAILURES = 3


@dataclass
class Attempt:
    """One log-in. `guard` protects what changes."""

    known: KnownProvider
    method: SignOnMethod
    client: str
    redirect_uri: str
    until: float
    """Directory time."""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    state: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)
    guard: threading.Lock = field(default_factory=threading.Lock)
    asking: bool = False
    device: DeviceCode | None = None
    poll_seconds: float = 5.0
    next_poll: float = 0.0
    failures: int = 0
    url: str = ""
    claims: Claims | None = None
    refusal: LockstepError | None = None


class Attempts:
    """Thread-safe."""

    def __init__(self, clock: ProviderClock) -> None:
        self._clock = clock
        self._attempts: ExpiringMap[str, Attempt] = ExpiringMap(MAX_ATTEMPTS, _LONGEST_SECONDS, clock.now)

    def start(self, known: KnownProvider, method: SignOnMethod, redirect_uri: str, client: str) -> SignOn:
        """Begin a log-in. Unavailable while the provider cannot be asked."""
        known.endpoints()
        until = self._clock.now() + BROWSER_SECONDS
        attempt = Attempt(known, method, client, redirect_uri, until)
        if method == "browser":
            try:
                attempt.url = exchanges.authorization_url(
                    known,
                    redirect_uri=redirect_uri,
                    state=attempt.state,
                    nonce=attempt.nonce,
                    verifier=attempt.verifier,
                )
            except ProviderFailed as error:
                raise known.refusal(error) from error
        else:
            with attempt.guard:
                self._ask(attempt, lambda: self._begin_device(attempt))
        self._attempts.set(attempt.id, attempt)
        return self._shown(attempt)

    def find(self, id: str) -> Attempt:
        """Return a log-in under way. NotLoggedIn if there is none."""
        found = self._attempts.get(id)
        if found is None or found.until <= self._clock.now():
            self._attempts.forget(id)
            raise NotLoggedIn("this log-in took too long, or ended already: begin again")
        return found

    def go_on(self, attempt: Attempt, answer: str) -> Claims | SignOn:
        """Return the verified claims, once, or how the log-in stands; raise why it failed.

        `answer` is the query of the address that the provider sent the browser to.
        """
        with attempt.guard:
            if (refusal := attempt.refusal) is not None:
                # Again and again: a client repeats a request whose answer it lost, or that failed for the moment.
                raise type(refusal)(refusal.detail, **refusal.facts)
            if attempt.claims is not None:
                if self._attempts.get(attempt.id) is None:
                    raise NotLoggedIn("this log-in ended already: begin again")
                self._attempts.forget(attempt.id)
                return attempt.claims
            if not attempt.asking:
                self._next(attempt, answer)
        return self._shown(attempt)

    # ------------------------------------------------------------ steps; the caller holds the guard

    def _next(self, attempt: Attempt, answer: str) -> None:
        if attempt.method == "browser":
            if answer:
                code = self._code(attempt, answer)
                self._ask(attempt, lambda: self._redeem(attempt, code))
        elif attempt.device is not None and self._clock.now() >= attempt.next_poll:
            device = attempt.device
            self._ask(attempt, lambda: self._poll(attempt, device.code))

    def _code(self, attempt: Attempt, answer: str) -> str:
        """Return the authorization code of an answer to this very attempt."""
        try:
            pairs = parse_qsl(answer, keep_blank_values=True, max_num_fields=_MAX_ARGUMENTS, errors="strict")
        except ValueError as error:
            raise NotLoggedIn("the provider's answer cannot be read: begin again") from error
        given = dict(pairs)
        if len(given) != len(pairs):
            raise NotLoggedIn("the provider's answer has the same argument twice: begin again")
        if not compare_digest(given.get("state", "").encode(), attempt.state.encode()):
            raise NotLoggedIn("the browser's answer belongs to another log-in (wrong state): begin again")
        issuer = given.get("iss")
        if issuer != attempt.known.settings.issuer and (issuer is not None or attempt.known.endpoints().names_issuer):
            raise NotLoggedIn("the browser's answer comes from another provider: begin again")
        if "error" in given:
            reason = given.get("error_description") or given["error"]
            attempt.refusal = NotLoggedIn(f"{attempt.known.name} did not log you in: {reason[:200]}")
            raise attempt.refusal
        if not given.get("code"):
            raise NotLoggedIn("the provider's answer has no code: begin again")
        return given["code"]

    def _ask(self, attempt: Attempt, work: Callable[[], None]) -> None:
        attempt.asking = True
        try:
            attempt.known.work(lambda: self._done(attempt, work))
        except LockstepError:
            attempt.asking = False
            raise

    # ------------------------------------------------------------ in a thread of their own

    def _done(self, attempt: Attempt, work: Callable[[], None]) -> None:
        refusal: LockstepError | None = None
        try:
            work()
        except ProviderFailed as error:
            refusal = attempt.known.refusal(error)
            log.warning("log-in at identity provider %s failed: %s", attempt.known.name, error)
        except LockstepError as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - the person must get an answer
            log.exception("log-in at identity provider %s failed", attempt.known.name)
            refusal = attempt.known.refusal(ProviderFailed(f"unexpected error ({type(error).__name__})"))
        attempt.refusal = refusal
        attempt.asking = False

    def _begin_device(self, attempt: Attempt) -> None:
        device = exchanges.start_device(attempt.known)
        now = self._clock.now()
        attempt.until, attempt.poll_seconds = now + device.seconds, device.poll_seconds
        attempt.next_poll = now + device.poll_seconds
        attempt.device = device

    def _poll(self, attempt: Attempt, code: str) -> None:
        found: Tokens | NotYet
        try:
            found = exchanges.poll_device(attempt.known, code)
        except ProviderFailed:
            attempt.failures += 1
            if attempt.failures > _MAX_FAILURES:
                raise
            found = NotYet(attempt.poll_seconds)  # RFC 8628, 3.5: ask less often
        if isinstance(found, NotYet):
            attempt.poll_seconds += found.slower_by
            attempt.next_poll = self._clock.now() + attempt.poll_seconds
        else:
            self._verify(attempt, found)  # no nonce: the code never left the directory

    def _redeem(self, attempt: Attempt, code: str) -> None:
        found = exchanges.redeem(attempt.known, code=code, redirect_uri=attempt.redirect_uri, verifier=attempt.verifier)
        self._verify(attempt, found, attempt.nonce)

    def _verify(self, attempt: Attempt, found: Tokens, nonce: str = "") -> None:
        known = attempt.known
        claims = known.verify_patiently(found.id_token, (known.settings.client_id,), nonce)
        attempt.claims = only_used(known.settings, exchanges.with_userinfo(known, claims, found.access_token))

    def _shown(self, attempt: Attempt) -> SignOn:
        device, now = attempt.device, self._clock.now()
        asking = attempt.asking or attempt.claims is not None or attempt.refusal is not None
        shown = SignOn(
            attempt.id,
            state="asking" if asking else "waiting",
            provider=attempt.known.name,
            authorization_url=attempt.url,
            poll_seconds=_ASKING_SECONDS,
            seconds_left=max(0.0, attempt.until - now),
        )
        if device is not None:
            shown.verification_uri = device.verification_uri
            shown.verification_uri_complete = device.verification_uri_complete
            shown.user_code = device.user_code
            shown.poll_seconds = _ASKING_SECONDS if asking else max(_ASKING_SECONDS, attempt.next_poll - now)
        return shown
