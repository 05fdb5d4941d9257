"""Health checks of the cluster's programs, over TLS as their peers connect."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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


class HealthProbe:
    """Checks programs over HTTPS.

    For the directory and file servers it uses the directory's certificate; for proxies, as people do, only the
    authority's certificate.
    """

    def __init__(self, folder: Folder) -> None:
        ensure_authority(folder.certs_dir)
        self._certs = folder.certs_dir
        self._people = people_context(folder.ca_file)

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
        try:
            health = self._ask(entry)
        except TimeoutError:
            return f"did not answer within {ASK_SECONDS:g} s"
        except ConnectionRefusedError:
            return "is not listening yet"
        except (OSError, http.client.HTTPException) as error:
            return f"cannot be reached ({error})"
        except (msgspec.MsgspecError, LockstepError) as error:
            return f"sent an invalid reply ({error})"
        if health.program != entry.program or health.id != entry.id:
            return f"does not have its port: {health.program} {health.id} answers there"
        if health.pid and health.pid != entry.pid:
            return f"does not have its port: process {health.pid} answers there"
        # Problems count even if the program is `healthy`: a file server that cannot reach its directory works, but the
        # cluster cannot use it.
        if health.problems or not health.healthy:
            return "; ".join(health.problems) or "reports that it is not healthy"
        return ""

    def faults(self, entries: Sequence[ProgramEntry]) -> list[str]:
        """Check many programs at once; return their faults in order."""
        with ThreadPoolExecutor(max_workers=max(1, min(16, len(entries)))) as pool:
            return list(pool.map(self.fault, entries))

    def _ask(self, entry: ProgramEntry) -> Health:
        address = urlsplit(entry.url)
        context: ssl.SSLContext = self._people if entry.program == "client_proxy" else self._peers()
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, timeout=ASK_SECONDS, context=context
        )
        try:
            connection.request("GET", "/health")
            body = connection.getresponse().read(MAX_ANSWER_BYTES)
        finally:
            connection.close()
        return msgspec.json.decode(body, type=Health)
