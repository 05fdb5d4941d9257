"""A whole cluster in one process with the S3 door, and boto3 clients that reach it without a socket.

boto3 signs and writes every request itself and reads every answer itself; only the sending is made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from client_proxy.doors.dispatch import Doors
from client_proxy.doors.lfs.door import LfsDoor
from client_proxy.doors.rest.file_ids import FileIds
from client_proxy.doors.rest.older_addresses import OlderAddresses
from client_proxy.doors.s3.app import create_door
from client_proxy.doors.s3.events.access_log import AccessLog
from client_proxy.doors.shares.door import ShareDoor
from client_proxy.doors.webdav.door import WebDavDoor
from client_proxy.rate_limits.limiter import RateLimits
from lockstep_store.runtime.clock import SystemClock
from lockstep_store.runtime.http.request_head import RAW_HEADERS, RAW_PATH
from lockstep_store.wire.messages.s3 import CREATE_S3_KEY, CreateS3KeyRequest
from tests.fakes.whole_cluster import WholeCluster
from tests.fakes.wsgi import raw_headers

ENDPOINT = "https://127.0.0.1:5000"
DOMAIN = "s3.lab.test"
REGION = "us-east-1"


class _Raw:
    """A body as botocore reads one."""

    def __init__(self, body: bytes) -> None:
        self._stream = BytesIO(body)

    def read(self, count: int | None = None) -> bytes:
        return self._stream.read(-1 if count is None else count)

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        while block := self._stream.read(65536):
            yield block


class S3Rig:
    """The doors of one proxy of a whole cluster."""

    def __init__(
        self, folder: Path, certs: Path, *, list_shared: bool = False, limits: RateLimits | None = None, **options: Any
    ) -> None:
        self.cluster = WholeCluster(folder, certs, limits=limits, **options)
        proxy = self.cluster.proxies["1"]
        clock = SystemClock()
        self.access_log = AccessLog(proxy.files, proxy.directory, clock.wall, self.cluster.clock.monotonic)
        self.s3 = create_door(
            proxy.files,
            proxy.directory,
            clock,
            self.access_log,
            proxy_id="1",
            domain=DOMAIN,
            list_shared=list_shared,
            limits=limits,
        )
        self.shares = ShareDoor(proxy.files, proxy.directory, limits=limits)
        self.webdav = WebDavDoor(proxy.files, proxy.directory, limits=limits)
        self.lfs = LfsDoor(proxy.files, proxy.directory, limits=limits)
        others = {"dav": self.webdav, "lfs": self.lfs}
        api = OlderAddresses(proxy.app, FileIds(proxy.directory))
        self.doors = Doors(api, self.s3, self.shares, DOMAIN, others=others)
        self.directory = proxy.directory

    def key(self, api_key: str = "") -> tuple[str, str]:
        """A new S3 key of an account: (access key id, secret)."""
        made = self.directory.call(CREATE_S3_KEY, CreateS3KeyRequest(api_key or self.cluster.admin_key, "test"))
        return made.access_key_id, made.secret

    def client(
        self, key: tuple[str, ...] | None = None, *, service: str = "s3", endpoint: str = ENDPOINT, **config: Any
    ) -> Any:
        """A boto3 client; `key` of the administrator unless given: access key id, secret, perhaps a session token."""
        access, secret, *token = key or self.key()
        client = boto3.client(
            service,
            endpoint_url=endpoint,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            aws_session_token=token[0] if token else None,
            region_name=REGION,
            config=Config(retries={"max_attempts": 0}, **{"s3": {"addressing_style": "path"}, **config}),
        )
        client.meta.events.register(f"before-send.{service}", self._send)
        return client

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        body = request.body
        if hasattr(body, "read"):
            body = body.read()
        elif isinstance(body, str):
            body = body.encode()
        headers = {name: _text(value) for name, value in request.headers.items()}
        status, answered, content = self.ask(request.method, request.url, headers, body or b"")
        return AWSResponse(request.url, status, _Headers(answered), _Raw(content))

    def ask(
        self, method: str, url: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Any request as it stands, to whichever door has its address."""
        parts = urlsplit(url)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(parts.path or "/").decode("latin-1"),
            "QUERY_STRING": parts.query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "5000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "SCRIPT_NAME": "",
            "HTTP_HOST": parts.netloc,
            "wsgi.url_scheme": "https",
            "wsgi.input": BytesIO(body),
            "wsgi.input_terminated": True,
            RAW_PATH: (parts.path or "/").encode(),
            RAW_HEADERS: raw_headers({"Host": parts.netloc, **headers}),
        }
        for name, value in headers.items():
            lowered = name.lower()
            plain = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}.get(lowered)
            if plain or "_" not in name:
                environ[plain or "HTTP_" + name.upper().replace("-", "_")] = value
        answered: list[Any] = []
        content = b"".join(self.doors(environ, lambda status, given: answered.extend((status, given))))
        return int(answered[0].split()[0]), answered[1], content

    def close(self) -> None:
        self.cluster.close()


class _Headers(dict[str, str]):
    """Answered headers, looked up as botocore looks them up."""

    def __init__(self, given: list[tuple[str, str]]) -> None:
        super().__init__({name.lower(): value for name, value in given})

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
