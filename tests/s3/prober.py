"""Sends an S3 door whatever bytes a test makes up, and holds it to what no request may break.

No answer is a failure of the server, nothing is logged as one, and no request takes long.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import replace
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import quote

from client_proxy.doors.s3.auth.claims import ALGORITHM, STREAMING_SIGNED, UNSIGNED, Claim, Scope
from client_proxy.doors.s3.auth.signature import canonical_request, sign
from client_proxy.doors.s3.auth.signature import string_to_sign as what_is_signed
from client_proxy.doors.s3.protocol.xml_reader import read_xml
from lockstep_store.runtime.http.request_head import RAW_HEADERS, RAW_PATH
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.messages.s3 import signing_key
from tests.fakes.wsgi import raw_headers
from tests.s3.rig import REGION, S3Rig

HOST = "127.0.0.1:5000"
LONGEST_SECONDS = 20.0
"""For one request on a loaded machine. What hangs takes longer, and so does who waits for slow clients to be cut off,
which is after 30 s."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """A refusal's code, or an empty string."""
        found = read_xml(self.body).find("Code") if self.status >= 400 and self.body else None
        return found.text if found else ""


class _Failures(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Prober:
    """The administrator, with an S3 key. Paths are decoded bytes, as a runner gives them."""

    def __init__(self, rig: S3Rig) -> None:
        self._rig = rig
        self.access, self.secret = rig.key()
        self._failures = _Failures()
        log.addHandler(self._failures)

    def close(self) -> None:
        log.removeHandler(self._failures)

    def ask(self, method: str, path: bytes, query: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """One request exactly as given. Fails the test when the promise is broken."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.decode("latin-1"),
            "QUERY_STRING": query,
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": HOST,
            "wsgi.input": BytesIO(body),
            "wsgi.input_terminated": True,
            RAW_PATH: quote(path).encode(),
            RAW_HEADERS: raw_headers({"Host": HOST, **headers}),
        }
        for name, value in headers.items():
            plain = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}.get(name.lower())
            if plain or "_" not in name:
                environ[plain or "HTTP_" + name.upper().replace("-", "_")] = value
        answered: list[Any] = []
        started = time.monotonic()
        content = b"".join(self._rig.doors(environ, lambda status, given: answered.extend((status, given))))
        taken = time.monotonic() - started
        answer = Answer(int(answered[0].split()[0]), dict(answered[1]), content)
        asked = f"{method} {path[:200]!r}?{query[:500]} {str(headers)[:1000]} {body[:500]!r}"
        assert not self._failures.records, f"{self._failures.records[0].getMessage()} logged for {asked}"
        assert answer.status < 500 or answer.status == 501, f"{answer.status} {content!r} for {asked}"
        assert taken < LONGEST_SECONDS, f"{taken:.1f} s for {asked}"
        if answer.status >= 400 and content:
            assert read_xml(content).name == "Error", f"{content!r} for {asked}"
        return answer

    def claim(self, payload: str = UNSIGNED, signed: tuple[str, ...] = ("host", "x-amz-date")) -> Claim:
        """A claim of now, not signed yet."""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return Claim("header", Scope(self.access, now[:8], REGION), now, signed, "0" * 64, payload)

    def key(self, claim: Claim) -> bytes:
        """The signing key of the claim's day."""
        return signing_key(self.secret, claim.scope.date, claim.scope.region)

    def sign(
        self, method: str, path: bytes, query: str, headers: dict[str, str], payload: str = UNSIGNED
    ) -> tuple[dict[str, str], Claim]:
        """The headers of the request with a good signature over all of them, and the claim."""
        lowered = {name.lower(): value for name, value in headers.items()}
        claim = self.claim(payload)
        lowered |= {"host": HOST, "x-amz-date": claim.amz_date, "x-amz-content-sha256": payload}
        claim = replace(claim, signed_headers=tuple(sorted(lowered)))
        signature = sign(
            self.key(claim), what_is_signed(claim, canonical_request(claim, method, path, query, lowered.get))
        )
        lowered["authorization"] = (
            f"{ALGORITHM} Credential={self.access}/{claim.scope.text}, "
            f"SignedHeaders={';'.join(claim.signed_headers)}, Signature={signature}"
        )
        return lowered, replace(claim, signature=signature)

    def signed(
        self, method: str, path: bytes, query: str = "", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """One request with a good signature: it gets past the gate."""
        given = dict(headers or {})
        if body or method in ("PUT", "POST"):
            given.setdefault("content-length", str(len(body)))
        signed, _ = self.sign(method, path, query, given)
        return self.ask(method, path, query, signed, body)

    def chunked(self, path: bytes, chunks: list[bytes]) -> tuple[dict[str, str], bytes]:
        """The headers and the body of a PUT in chunks that are each signed."""
        length = sum(map(len, chunks))
        given = {"x-amz-decoded-content-length": str(length), "content-encoding": "aws-chunked"}
        headers, claim = self.sign("PUT", path, "", given, STREAMING_SIGNED)
        key, previous, body = self.key(claim), claim.signature, b""
        for chunk in [*chunks, b""]:
            hashes = (hashlib.sha256(b"").hexdigest(), hashlib.sha256(chunk).hexdigest())
            text = "\n".join(("AWS4-HMAC-SHA256-PAYLOAD", claim.amz_date, claim.scope.text, previous, *hashes))
            previous = sign(key, text)
            body += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk + b"\r\n"
        return {**headers, "content-length": str(len(body))}, body
