"""A directory server that stands by: it tells who is active, refuses every call, and waits to take over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from directory_server.metadata.store import InUse, MetadataStore
from directory_server.settings import Settings, program_version
from lockstep_store.runtime.http.api import Api, Environ, StartResponse, problem_reply
from lockstep_store.runtime.http.service import Service, end_process
from lockstep_store.runtime.tls.identity import Identity
from lockstep_store.runtime.tracing import log, start_request
from lockstep_store.wire.errors import SetupError, StandingBy
from lockstep_store.wire.messages.cluster import Health

LOOK_SECONDS = 0.5
THREADS = 16
_PAGES = ("/health", "/metrics")


class Turn(Protocol):
    """Knows when this directory server may take over."""

    active: str
    """The address of the active one; empty if it is not known."""
    problem: str
    """Why this one could not take over now; empty if it could."""

    def is_my_turn(self) -> bool: ...

    def close(self) -> None: ...


class Standby:
    """Serves on the directory server's own port meanwhile."""

    def __init__(self, settings: Settings, identity: Identity, turn: Turn) -> None:
        self._settings = settings
        self._identity = identity
        self._turn = turn
        self._started = time.monotonic()
        self._refusal = ""
        """Why the last try to take over failed; empty if none has."""
        self._pages = Api("directory_server", settings.id)
        self._pages.health = self._health

    def wait(self, take: Callable[[], MetadataStore]) -> MetadataStore:
        """Return the metadata, from `take`, once it is this one's turn. A signal ends the process."""
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        service = Service(
            self.wsgi,
            host=self._settings.host,
            port=self._settings.port,
            cert_file=self._identity.cert_file,
            key_file=self._identity.key_file,
            client_ca=self._identity.ca_file,
            revoked=self._settings.certs / "revoked.pem",
            threads=THREADS,
        ).start()
        log.info("another directory server is active; standing by at %s", self._settings.url)
        while not stopping.wait(LOOK_SECONDS):
            service.follow_certificate()
            if (store := self._taken(take)) is not None:
                log.warning("no other directory server is active: taking over")
                service.stop()
                self._turn.close()
                return store
        log.info("stopping")
        service.stop()
        self._turn.close()
        end_process()

    def _taken(self, take: Callable[[], MetadataStore]) -> MetadataStore | None:
        if not self._turn.is_my_turn():
            self._refusal = ""
            return None
        try:
            return take()
        except InUse:  # a third one was faster
            return None
        except SetupError as error:
            # PostgreSQL may have stopped at this moment; if it is something else, the next try says so again.
            if str(error) != self._refusal:
                log.warning("could not take over: %s", error)
            self._refusal = str(error)
            return None

    def wsgi(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the operators' pages, and refuse every call."""
        if environ["PATH_INFO"] in _PAGES:
            return self._pages(environ, start_response)
        request = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
        status, headers, body = problem_reply(StandingBy(f"this directory server stands by; {self._who_is_active}"))
        start_response(f"{status} -", [*headers, ("X-Request-Id", request)])
        return body

    @property
    def _who_is_active(self) -> str:
        return f"{self._turn.active} is active" if self._turn.active else "which one is active is not known"

    def _health(self) -> Health:
        problem = self._turn.problem or self._refusal
        return Health(
            program="directory_server",
            id=self._settings.id,
            version=program_version(),
            healthy=not problem,
            problems=[problem] if problem else [],
            uptime_seconds=time.monotonic() - self._started,
            pid=os.getpid(),
            facts={"standing_by": True, "active": self._turn.active},
        )
