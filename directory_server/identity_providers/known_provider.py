"""One provider at work: what is known of its endpoints and signing keys, and the threads that ask it.

No call of the directory waits for a provider. Keys are fetched every FRESH_SECONDS, and sooner for a token with an
unknown key; until they are there, callers are told to try again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from directory_server.identity_providers import discovery
from directory_server.identity_providers.discovery import Endpoints
from directory_server.identity_providers.outgoing import CONNECT_SECONDS, TOTAL_SECONDS, Ask, ProviderFailed
from directory_server.identity_providers.provider import Claims, Provider, unmet
from lockstep_store.runtime.tls.trusted_cas import tls_context
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Conflict, Forbidden, LockstepError, NotLoggedIn, Overloaded, Unavailable

if TYPE_CHECKING:
    from directory_server.identity_providers.id_tokens import SigningKey

FRESH_SECONDS = 600.0
"""How long a key that the provider has withdrawn may go on being trusted, while the provider can be reached."""
USABLE_SECONDS = 3600.0
"""And while it cannot."""
RETRY_SECONDS = 30.0
"""The least time between two attempts, whatever keys tokens name."""
CALLS_AT_ONCE = 8
"""Requests for people's log-ins; each has a thread while the provider works on it."""

Spawn = Callable[[str, Callable[[], None]], None]


class ProviderClock(Protocol):
    """Directory time, and wall time, by which tokens expire."""

    def now(self) -> float: ...

    def wall(self) -> float: ...


def in_a_thread(name: str, work: Callable[[], None]) -> None:
    """Run `work` in a daemon thread: one that still waits for a provider must not keep the program from ending."""
    threading.Thread(target=work, name=name, daemon=True).start()


@dataclass(frozen=True)
class _Fetched:
    endpoints: Endpoints
    keys: tuple[SigningKey, ...]
    at: float


class KnownProvider:
    """Thread-safe."""

    def __init__(self, name: str, settings: Provider, clock: ProviderClock, ask: Ask, spawn: Spawn) -> None:
        """BadRequest for a CA file that is none."""
        self.name = name
        self.settings = settings
        self.context = tls_context(settings.ca_pem)
        self.ask = ask
        self.failure: ProviderFailed | None = None
        """Why it could not be asked the last time."""
        self._clock = clock
        self._spawn = spawn
        self._fetched: _Fetched | None = None
        self._guard = threading.Lock()
        self._fetching = False
        self._idle = threading.Event()
        self._tried: float | None = None
        self._places = threading.BoundedSemaphore(CALLS_AT_ONCE)

    # ------------------------------------------------------------ endpoints and keys

    @property
    def known_keys(self) -> int:
        """The number of signing keys."""
        return len(self._fetched.keys) if self._fetched is not None else 0

    @property
    def offers_device(self) -> bool:
        """Whether it lets people log in on devices without a browser (RFC 8628)."""
        return self._fetched is not None and bool(self._fetched.endpoints.device)

    def seconds_until_due(self) -> float:
        """When `refresh` should be called again."""
        now, fetched = self._clock.now(), self._fetched
        due = now if fetched is None else fetched.at + FRESH_SECONDS
        return max(0.0, due - now, (self._tried + RETRY_SECONDS - now) if self._tried is not None else 0.0)

    def refresh(self) -> bool:
        """Begin to fetch endpoints and keys; return whether that is under way. False if it was just tried."""
        with self._guard:
            if self._fetching:
                return True
            now = self._clock.now()
            if self._tried is not None and now - self._tried < RETRY_SECONDS:
                return False
            self._fetching, self._tried = True, now
            self._idle.clear()
        try:
            self._spawn(f"identity provider {self.name}", self._fetch)
        except RuntimeError:
            self.failure = ProviderFailed("this machine has no threads left")
            self._fetching = False
            self._idle.set()
            return False
        return True

    def _fetch(self) -> None:
        try:
            at = self._clock.now()
            document = self._document(discovery.document_url(self.settings.issuer))
            endpoints = discovery.read_endpoints(self.settings.issuer, document)
            from directory_server.identity_providers.id_tokens import read_keys

            self._fetched = _Fetched(endpoints, read_keys(self._document(endpoints.keys)), at)
            self.failure = None
        except ProviderFailed as error:
            self.failure = error
            log.warning("identity provider %s cannot be used: %s", self.name, error)
        finally:
            self._fetching = False
            self._idle.set()

    def _document(self, url: str) -> dict[str, object]:
        reply = self.ask(url, self.context)
        if reply.status != 200:
            raise ProviderFailed(f"it answered {url} with status {reply.status}")
        return reply.document()

    def endpoints(self) -> Endpoints:
        """Return the endpoints. Unavailable or Conflict while they are unknown."""
        return self._usable().endpoints

    def _usable(self) -> _Fetched:
        fetched = self._fetched
        if fetched is not None and self._clock.now() - fetched.at < USABLE_SECONDS:
            return fetched
        self.refresh()
        raise self.refusal(self.failure or ProviderFailed("its signing keys are being fetched"))

    def refusal(self, failure: ProviderFailed) -> LockstepError:
        """The refusal while the provider cannot be asked: one that says whether it is worth trying again."""
        if failure.permanent:
            return Conflict(
                f"the identity provider {self.name} cannot be used: {failure}; an administrator must fix this",
                identity_provider=self.name,
            )
        return Unavailable(
            f"the identity provider {self.name} cannot be used now: {failure}; try again in a moment",
            identity_provider=self.name,
        )

    # ------------------------------------------------------------ tokens

    def verify(self, token: str, audiences: Collection[str], nonce: str = "") -> Claims:
        """Return the claims of an id token. NotLoggedIn for an invalid one, Unavailable while keys are fetched."""
        from directory_server.identity_providers import id_tokens

        fetched = self._usable()
        try:
            return id_tokens.verify(
                token, fetched.keys, self.settings.issuer, audiences, self._clock.wall(), nonce=nonce
            )
        except id_tokens.UnknownSigningKey as error:
            if self.refresh():
                failure = ProviderFailed("it may have new signing keys, which are being fetched")
                raise self.refusal(failure) from error
            raise self._refused(error) from error
        except id_tokens.InvalidIdToken as error:
            raise self._refused(error, expired_token=error.expired) from error

    def verify_patiently(self, token: str, audiences: Collection[str], nonce: str = "") -> Claims:
        """Like `verify`, but wait while keys are fetched. For threads of log-ins: their code cannot be used again."""
        try:
            return self.verify(token, audiences, nonce)
        except Unavailable:
            self._idle.wait(CONNECT_SECONDS + TOTAL_SECONDS)
            return self.verify(token, audiences, nonce)

    def demand_required(self, claims: Claims) -> None:
        """Raise Forbidden unless the claims have the values that an administrator requires."""
        missing = unmet(self.settings, claims)
        if missing:
            raise Forbidden(
                f"you may not log in here: your claim {missing!r} at {self.name} has none of the values that an "
                "administrator requires"
            )

    def _refused(self, error: Exception, **facts: bool) -> NotLoggedIn:
        return NotLoggedIn(f"the id token of {self.name} is not accepted: {error}", id_token=True, **facts)

    # ------------------------------------------------------------ log-ins

    def work(self, what: Callable[[], None]) -> None:
        """Run `what`, which asks the provider, in a thread. Overloaded at once if too many run already."""
        if not self._places.acquire(blocking=False):
            raise Overloaded(
                f"too many people are logging in at {self.name}, so nothing was done; try again in a moment"
            )

        def run() -> None:
            try:
                what()
            finally:
                self._places.release()

        try:
            self._spawn(f"log-in at {self.name}", run)
        except RuntimeError as error:
            self._places.release()
            raise Overloaded("this machine has no threads left, so nothing was done; try again in a moment") from error
