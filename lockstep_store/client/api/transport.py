"""HTTPS to one proxy: sessions, certificate checks, bounded retries, and error replies raised as exceptions.

`lockstep_store.client.api.calls` has the addresses and decodes the replies.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NewConnectionError

from lockstep_store.client.api.body import Body
from lockstep_store.client.api.trust_follower import TrustFollower
from lockstep_store.wire import errors
from lockstep_store.wire.codec import decode_problem, decoder, encode
from lockstep_store.wire.errors import BadRequest, LockstepError, PeerUnreachable, SetupError, from_problem
from lockstep_store.wire.messages.authorities import AUTHORITIES_HEADER, TrustNews

CONNECT_SECONDS = 5.0
READ_SECONDS = 120.0
PAUSES_SECONDS = (0.2, 0.6, 1.5)
LONGEST_PAUSE_SECONDS = 10.0
BUSY_SECONDS = 10.0
"""No retry after this time: a proxy itself waits for the directory before it replies 503."""
BLOCK_BYTES = 1024 * 1024
DELAY_SECONDS = 2.0
_BUSY = (502, 503, 504)

_BY_STATUS: dict[int, type[LockstepError]] = {
    304: errors.NotModified,
    400: errors.BadRequest,
    401: errors.NotLoggedIn,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    409: errors.Conflict,
    411: errors.LengthRequired,
    412: errors.PreconditionFailed,
    413: errors.TooLarge,
    416: errors.RangeNotSatisfiable,
    417: errors.ExpectationFailed,
    423: errors.Locked,
    429: errors.TooManyRequests,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
    507: errors.StorageFull,
}


class ApiTransport:
    """HTTPS connections to one proxy. Safe to use from several threads: each has its own session."""

    def __init__(
        self,
        url: str,
        ca_file: Path | None = None,
        credential: str = "",
        *,
        read_seconds: float = READ_SECONDS,
        pauses_seconds: tuple[float, ...] = PAUSES_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Trust `ca_file` instead of the system's authorities. Raises SetupError for a bad address or file."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise SetupError(f"{url[:120]!r} is not a proxy's address: give one such as https://127.0.0.1:5000")
        if ca_file is not None and not ca_file.is_file():
            raise SetupError(f"the CA file {ca_file} does not exist: start the cluster, or name it with --ca")
        self.url = f"https://{parts.netloc}"
        self.ca_file = ca_file
        self.credential = credential
        self._read_seconds = read_seconds
        self._pauses = pauses_seconds
        self._sleep = sleep
        self._monotonic = monotonic
        self._trust = TrustFollower(ca_file, self._authorities) if ca_file is not None else None
        self._own = threading.local()
        self._guard = threading.Lock()
        self._sessions: list[requests.Session] = []
        self.on_delay: Callable[[], None] | None = None
        """Called, by another thread, when a reply that should come at once has not come after two seconds."""

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        message: Any = None,
        body: Body | None = None,
        read_seconds: float | None = None,
        repeatable: bool | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Return a reply with a status below 400; raise other replies as errors.

        `message` is sent as JSON. A `repeatable` call (by default GET, HEAD) is retried if the connection is lost or
        the proxy returns 503; any call is, if nothing was sent, or a rate limit refused it for a few seconds. A `body`
        is sent once; callers decide about a retry.
        """
        if repeatable is None:
            repeatable = method in ("GET", "HEAD")
        pauses = iter(() if body is not None else self._pauses)
        began = self._monotonic()
        with self._noticing(prompt=body is None and read_seconds is None):
            while True:
                try:
                    response = self._once(method, path, params, headers, message, body, read_seconds, stream)
                except PeerUnreachable as error:
                    pause = next(pauses, None) if error.facts.get("unsent") or repeatable else None
                    if pause is None or error.facts.get("final"):
                        raise
                else:
                    if self._trust is not None:
                        self._trust.note(response.headers.get(AUTHORITIES_HEADER, ""))
                    if response.status_code < 400 and response.status_code != 304:
                        return response
                    refusal = _refusal(response)
                    asked = _retry_after(response)
                    soon = isinstance(refusal, errors.RateLimited) and (asked or 0.0) <= LONGEST_PAUSE_SECONDS
                    again = (response.status_code in _BUSY or soon) and self._monotonic() - began < BUSY_SECONDS
                    pause = next(pauses, None) if again else None
                    if pause is None or not (repeatable or asked is not None):
                        raise refusal
                    pause = max(pause, min(asked or 0.0, LONGEST_PAUSE_SECONDS))
                self._sleep(pause)

    @contextmanager
    def _noticing(self, *, prompt: bool) -> Iterator[None]:
        """Call `on_delay` if a reply that should be `prompt` takes longer than two seconds."""
        if self.on_delay is None or not prompt:
            yield
            return
        notice = threading.Timer(DELAY_SECONDS, self.on_delay)
        notice.daemon = True
        notice.start()
        try:
            yield
        finally:
            notice.cancel()

    def _authorities(self) -> TrustNews:
        try:
            return decoder(TrustNews).decode(self.request("GET", "/api/v1/authorities").content)
        except msgspec.DecodeError as error:
            raise BadRequest(f"{self.url} sent certificate authorities that cannot be read ({error})") from error

    def close(self) -> None:
        """Close every connection. Calls in progress in other threads fail."""
        with self._guard:
            sessions, self._sessions = self._sessions, []
        self._own = threading.local()
        for session in sessions:
            session.close()

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        message: Any,
        body: Body | None,
        read_seconds: float | None,
        stream: bool,
    ) -> requests.Response:
        sent = dict(headers or {})
        if self.credential:
            sent["Authorization"] = f"Bearer {self.credential}"
        data: Any = None
        if message is not None:
            data = encode(message)
            sent["Content-Type"] = "application/json"
        elif body is not None:
            data = body.for_requests()
        try:
            return self._session().request(
                method,
                self.url + path,
                params=dict(params or {}),
                headers=sent,
                data=data,
                stream=stream,
                timeout=(CONNECT_SECONDS, read_seconds or self._read_seconds),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self._unreachable(error) from error

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = requests.Session()
            # Off, or REQUESTS_CA_BUNDLE and proxies of the environment would override the caller's CA file.
            session.trust_env = False
            session.verify = str(self.ca_file) if self.ca_file else True
            session.headers["Accept-Encoding"] = "identity"
            session.headers["User-Agent"] = "lockstep"
            session.mount("https://", HTTPAdapter(pool_connections=1, pool_maxsize=2, max_retries=0))
            self._own.session = session
            with self._guard:
                self._sessions.append(session)
        return session

    def _unreachable(self, error: requests.RequestException) -> LockstepError:
        if _untrusted(error):
            return PeerUnreachable(
                f"{self.url} presented a certificate that {self.ca_file or 'this machine'} does not trust: "
                "name the cluster's ca.pem with --ca, or check the address; if its certificate authority was rotated, "
                "get the new ca.pem from an administrator",
                final=True,
                untrusted=True,
            )
        if isinstance(error, requests.ConnectTimeout) or _never_connected(error):
            return PeerUnreachable(f"{self.url} does not answer: check that this proxy is running", unsent=True)
        if isinstance(error, requests.Timeout):
            return PeerUnreachable(f"{self.url} accepted the request but did not answer in time", final=True)
        if isinstance(error, (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL)):
            return BadRequest(f"the request cannot be sent over HTTP ({error})")
        if self.ca_file is not None and not _has_certificates(self.ca_file):
            return SetupError(f"the CA file {self.ca_file} has no certificate: name the cluster's ca.pem with --ca")
        return PeerUnreachable(f"the connection to {self.url} was lost: try again, or use another proxy")


def body_blocks(response: requests.Response, url: str) -> Iterator[bytes]:
    """The bytes of a streamed reply. PeerUnreachable if it ends before its declared length."""
    try:
        yield from response.raw.stream(BLOCK_BYTES, decode_content=False)
    except (HTTPError, OSError) as error:
        raise PeerUnreachable(
            f"{url} stopped sending in the middle of a file: try again, and the download resumes"
        ) from error


def _untrusted(error: BaseException | None) -> bool:
    """Whether a certificate was not trusted. Other TLS errors look like a lost connection."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        seen.add(id(error))
        inner = getattr(error.args[0], "reason", None) if error.args else None
        inner = inner if isinstance(inner, BaseException) else (error.args[0] if error.args else None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
    return False


def _has_certificates(ca_file: Path) -> bool:
    try:
        ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        return False
    return True


def _never_connected(error: BaseException) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def _retry_after(response: requests.Response) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _refusal(response: requests.Response) -> LockstepError:
    try:
        body = response.content
    except requests.RequestException:
        body = b""
    problem = decode_problem(body, response.status_code)
    if problem.code in errors.BY_CODE and problem.code != LockstepError.code:
        refusal = from_problem(problem)
    else:
        cls = _BY_STATUS.get(response.status_code, LockstepError)
        refusal = cls(problem.detail or f"the proxy answered {response.status_code} {response.reason or ''}".rstrip())
    request_id = problem.request_id or response.headers.get("X-Request-Id", "")
    if request_id:
        refusal.facts.setdefault("request_id", request_id)
    return refusal
