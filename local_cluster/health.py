"""Health checks of the cluster's programs, over TLS as their peers connect."""

from __future__ import annotations

import http.client
import math
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from local_cluster.plan import Folder
from lockstep_store.runtime.tls.contexts import client_context, people_context
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.cluster_file import ProgramEntry
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.cluster import Health

ASK_SECONDS = 3.0
MAX_ANSWER_BYTES = 1024 * 1024


class Finding(NamedTuple):
    """What a check found: `fault` is a short clause, empty for a healthy program."""

    fault: str
    answers: bool = False
    """Whether the program itself reported it: then it runs, and waiting may not help."""


class HealthProbe:
    """Checks programs over HTTPS.

    For the directory and file servers it uses the directory's certificate; for proxies, as people do, only the
    authority's certificate.
    """

    def __init__(self, folder: Folder) -> None:
        ensure_authority(folder.certs_dir)
        self._certs = folder.certs_dir
        self._ca_file = folder.ca_file

    def _peers(self) -> ssl.SSLContext:
        """ConnectionRefusedError until the directory has made its certificate.

        Making it here was refused: the directory makes it after its metadata, so without metadata it shows that they
        were lost, and an interrupted first start must not look like that.
        """
        if not (self._certs / "directory_server-1" / "cert.pem").exists():
            raise ConnectionRefusedError
        return client_context(ensure_identity(self._certs, "directory_server", "1"))

    def fault(self, entry: ProgramEntry) -> str:
        """Return what is wrong with a program, as a short clause; empty when it is healthy. Takes seconds at most."""
        return self.check(entry).fault

    def check(self, entry: ProgramEntry) -> Finding:
        """Return what is wrong with a program. Takes seconds at most."""
        try:
            health = self.health(entry)
        except TimeoutError:
            return Finding(f"did not answer within {ASK_SECONDS:g} s")
        except ConnectionRefusedError:
            return Finding("is not listening yet")
        except (OSError, http.client.HTTPException) as error:
            return Finding(f"cannot be reached ({error})")
        except (msgspec.MsgspecError, LockstepError) as error:
            return Finding(f"sent an invalid reply ({error})")
        # A proxy that does not listen on loopback reports only whether it is healthy.
        if health.program and (health.program, health.id) != (entry.program, entry.id):
            return Finding(f"does not have its port: {health.program} {health.id} answers there")
        if health.pid and health.pid != entry.pid:
            return Finding(f"does not have its port: process {health.pid} answers there")
        # Problems count even if the program is `healthy`: a file server that cannot reach its directory works, but the
        # cluster cannot use it.
        if health.problems or not health.healthy:
            return Finding("; ".join(health.problems) or "reports that it is not healthy", answers=True)
        return Finding("")

    def faults(self, entries: Sequence[ProgramEntry]) -> list[str]:
        """Check many programs at once; return their faults in order."""
        with ThreadPoolExecutor(max_workers=max(1, min(16, len(entries)))) as pool:
            return list(pool.map(self.fault, entries))

    def work(self, directory: ProgramEntry) -> tuple[int, int]:
        """Return how many locks people hold and how many places in line they have; none if it cannot be known."""
        try:
            lines = self._get(directory, "/metrics").decode("utf-8", "replace").splitlines()
        except (OSError, http.client.HTTPException, LockstepError):
            return 0, 0
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#") and " " in line)
        locks, waiters = (values.get(f"lockstep_directory_{name}", "0") for name in ("locks", "waiters"))
        known = [float(value) for value in (locks, waiters)]
        return (0, 0) if any(math.isnan(value) for value in known) else (int(known[0]), int(known[1]))

    def health(self, entry: ProgramEntry) -> Health:
        """Return what a program says about itself. Raises OSError, HTTPException, MsgspecError or LockstepError."""
        return msgspec.json.decode(self._get(entry, "/health"), type=Health)

    def _get(self, entry: ProgramEntry, path: str) -> bytes:
        address = urlsplit(entry.url)
        host = address.hostname or ""
        # Most checks during a start end here. Preparing TLS first took most of the command's processor time. Preparing
        # it beside the open connection was refused: if the program ends meanwhile, nobody closes the socket.
        socket.create_connection((host, address.port), ASK_SECONDS).close()
        context = people_context(self._ca_file) if entry.program == "client_proxy" else self._peers()
        connection = http.client.HTTPSConnection(host, address.port, timeout=ASK_SECONDS, context=context)
        try:
            connection.request("GET", path)
            return connection.getresponse().read(MAX_ANSWER_BYTES)
        finally:
            connection.close()
