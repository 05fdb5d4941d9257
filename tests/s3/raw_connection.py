"""A TLS connection to a real proxy that sends whatever bytes it is given."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.cluster.cluster_harness import ClusterHarness
from tests.s3.command_clients import REGION

PATIENCE_SECONDS = 20.0
"""For what has to come, on a loaded machine; clients that stall are cut off after 30 s."""


class Connection:
    """One TLS connection to proxy 1, as the administrator where a request is signed."""

    def __init__(self, cluster: ClusterHarness, source: str = "") -> None:
        self._cluster = cluster
        parts = urlsplit(cluster.proxy_urls[0])
        self.url = cluster.proxy_urls[0]
        context = ssl.create_default_context(cafile=str(cluster.ca_file))
        raw = socket.create_connection((parts.hostname, parts.port), PATIENCE_SECONDS, (source, 0) if source else None)
        self._socket = context.wrap_socket(raw, server_hostname=parts.hostname)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """As much of it as the server takes before it hangs up."""
        with suppress(OSError):
            self._socket.sendall(data)

    def answer(self, seconds: float = PATIENCE_SECONDS, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """One answer: status, headers, body; status 0 when the connection was closed without one."""
        self._socket.settimeout(seconds)
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._receive()
            if not more:
                return 0, {}, data
            data += more
        top, _, body = data.partition(b"\r\n\r\n")
        lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = 0 if head else int(headers.get("content-length", "0"))
        while len(body) < length:
            body += self._receive() or b"\x00" * length
        return int(lines[0].split()[1]), headers, body

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            return b""

    def signed(self, method: str, path: str, *headers: tuple[str, str], secret: str = "", sent_as: str = "") -> bytes:
        """The head of a signed request; `sent_as` is the path as it is written, where that is not how it is signed."""
        admin = self._cluster.admin
        request = AWSRequest(method, self.url + path, headers=dict(headers))
        _Signer(Credentials(admin["s3_access_key"], secret or admin["s3_secret_key"]), "s3", REGION).add_auth(request)
        given = {"host": urlsplit(self.url).netloc, **request.headers}
        lines = [f"{method} {sent_as or path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return "\r\n".join([*lines, "", ""]).encode()


class _Signer(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"
