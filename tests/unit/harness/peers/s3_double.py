"""A small S3 server for the load generators' tests: it checks every signature and notes what was asked of it."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY, SECRET_KEY, REGION, API_KEY = "access", "secret", "us-east-1", "api"


class S3Double(ThreadingHTTPServer):
    """Keeps objects in memory. `break_content` makes it answer reads with wrong bytes."""

    request_queue_size = 128  # with less, the system refuses some of many clients at once, and they retry after 1 s

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[int, bytes] = {}
        self.buckets: set[str] = set()
        self.locks: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.completed = ""
        self.break_content = False
        self.guard = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a body sent after its head would wait 40 ms for the head's acknowledgement
    server: S3Double

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        length = len(body)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _signed(self) -> bool:
        """Compute the signature of this very request as AWS's own library does."""
        request = AWSRequest(self.command, self.server.url + self.path, data=b"")
        moment = self.headers["x-amz-date"]
        request.context["timestamp"] = moment
        request.headers["x-amz-content-sha256"] = self.headers["x-amz-content-sha256"]
        request.headers["x-amz-date"] = moment
        auth = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
        expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        found = re.search(r"Signature=(\w+)", self.headers.get("Authorization", ""))
        return found is not None and found[1] == expected

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        _, bucket, *rest = address.path.split("/", 2)
        key = rest[0] if rest else ""
        with self.server.guard:
            self.server.asked[self.command] += 1
            if bucket == "api":
                self._lock(body)
            elif not self._signed():
                self._answer(403, b"<Code>SignatureDoesNotMatch</Code>")
            elif not key:
                self._bucket(bucket, query)
            else:
                getattr(self, f"_object_{self.command.lower()}")(key, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _lock(self, body: bytes) -> None:
        if self.headers.get("X-Api-Key") != API_KEY:
            self._answer(401)
        elif self.command == "POST":
            path = re.search(rb'"paths": ?\["([^"]+)"\]', body)
            assert path is not None
            name = hashlib.sha256(path[1]).hexdigest()
            if name in self.server.locks:
                return self._answer(409)
            self.server.locks.add(name)
            self._answer(201, f'{{"lock": {{"id": "{name}"}}}}'.encode())
        else:
            self.server.locks.remove(self.path.rpartition("/")[2])
            self._answer(204)

    def _bucket(self, bucket: str, query: dict[str, list[str]]) -> None:
        if self.command == "PUT":
            self.server.buckets.add(bucket)
            return self._answer(200)
        found = sorted(key for key in self.server.objects if key.startswith(query["prefix"][0]))
        keys = "".join(f"<Key>{key}</Key>" for key in found[: int(query["max-keys"][0])])
        self._answer(200, f"<ListBucketResult>{keys}</ListBucketResult>".encode())

    def _object_put(self, key: str, query: dict[str, list[str]], body: bytes) -> None:
        if "partNumber" in query:
            number = int(query["partNumber"][0])
            self.server.parts[number] = body
            return self._answer(200, headers={"ETag": f'"part-{number}"'})
        assert key not in self.server.objects, f"{key} was written twice"
        self.server.objects[key] = body
        self._answer(200)

    def _object_get(self, key: str, query: dict[str, list[str]], body: bytes) -> None:
        content = self.server.objects[key]
        self._answer(200, bytes(len(content)) if self.server.break_content else content)

    _object_head = _object_get

    def _object_delete(self, key: str, query: dict[str, list[str]], body: bytes) -> None:
        del self.server.objects[key]
        self._answer(204)

    def _object_post(self, key: str, query: dict[str, list[str]], body: bytes) -> None:
        if "uploads" in query:
            return self._answer(200, b"<R><Bucket>b</Bucket><UploadId>id/1+2=</UploadId></R>")
        assert query["uploadId"] == ["id/1+2="]
        self.server.completed = body.decode()
        self._answer(200)
