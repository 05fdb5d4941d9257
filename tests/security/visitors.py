"""Visitors of share links: browsers without an account, each at an address of its own."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.wsgi import Answer, ask
from tests.s3.rig import S3Rig
from tests.security.people import Person

BOUNDARY = "form-boundary-1234"


def share(person: Person, bucket: str, path: str, **options: Any) -> dict[str, Any]:
    """Make a link and return it, as the API shows it."""
    body = json.dumps({"bucket": bucket, "path": path, **options}).encode()
    answer = person.ask("POST", "/shares", body, Content_Type="application/json")
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


class Visitor:
    """A browser at one address that keeps the links' cookies."""

    def __init__(self, rig: S3Rig, address: str = "203.0.113.7") -> None:
        self._rig = rig
        self.address = address
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._ask(method, target, b"", named)

    def unlock(self, token: str, password: str) -> Answer:
        body = f"password={password}".encode()
        return self._ask("POST", f"/s/{token}", body, {"Content-Type": "application/x-www-form-urlencoded"})

    def send(self, token: str, *files: tuple[str, bytes]) -> Answer:
        """Post the form of a link that takes uploads."""
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
            + content
            + b"\r\n"
            for name, content in files
        ]
        body = b"".join(parts) + f"--{BOUNDARY}--".encode()
        return self._ask("POST", f"/s/{token}", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})

    def _ask(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        if self.cookies:
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **headers}
        answer = ask(self._rig.doors, method, target, body, headers={**self.headers, **headers}, address=self.address)
        cookie = answer.headers.get("Set-Cookie", "")
        if cookie:
            name, _, rest = cookie.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return answer
