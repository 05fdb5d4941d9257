"""The WebDAV door of a whole cluster in one process, and people at it."""

from __future__ import annotations

import base64
import itertools
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from client_proxy.doors.webdav.door import WebDavDoor
from client_proxy.rate_limits.limiter import RateLimits
from lockstep_store.wire.messages.people import CREATE_API_KEY, CreateApiKeyRequest
from tests.fakes.whole_cluster import WholeCluster
from tests.fakes.wsgi import Answer, ask

HOST = "https://127.0.0.1:5000"
PASSWORD = "correct horse"
NAMES = {"D": "DAV:", "L": "urn:lockstep:webdav"}
LOCK_BODY = (
    '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype>'
    "<D:owner>{owner}</D:owner></D:lockinfo>"
)
_numbers = itertools.count(1)


def basic(name: str, password: str) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def tree(answer: Answer) -> ElementTree.Element:
    """The XML of a reply."""
    return ElementTree.fromstring(answer.body)


def hrefs(answer: Answer) -> list[str]:
    """The addresses in a multistatus, in order."""
    return [one.text or "" for one in tree(answer).findall("D:response/D:href", NAMES)]


def message(answer: Answer) -> str:
    """The words in a refusal."""
    return tree(answer).findtext("L:message", "", NAMES)


def token(answer: Answer) -> str:
    """The lock's token in a reply to LOCK, with its angle brackets."""
    assert answer.status in (200, 201), answer.body
    return header(answer, "Lock-Token")


def header(answer: Answer, name: str) -> str:
    return {key.lower(): value for key, value in answer.headers.items()}.get(name.lower(), "")


class DavRig:
    """One proxy's WebDAV door over a whole cluster."""

    def __init__(self, folder: Path, certs: Path, *, limits: RateLimits | None = None, **options: Any) -> None:
        self.cluster = WholeCluster(folder, certs, **{"file_servers": 2, "read_leases": False, **options})
        proxy = self.cluster.proxies["1"]
        self.directory = proxy.directory
        self.files = proxy.files
        self.door = WebDavDoor(proxy.files, proxy.directory, limits=limits)

    def person(self, name: str) -> DavPerson:
        """An account, made if need be."""
        return DavPerson(self, name)

    def close(self) -> None:
        self.cluster.close()


class DavPerson:
    """An account that logs in with its password at the WebDAV door, and with its token at the API."""

    def __init__(self, rig: DavRig, name: str) -> None:
        self.rig = rig
        self.name = name
        self.api_headers = rig.cluster.log_in(name, PASSWORD)
        self.authorization = basic(name, PASSWORD)

    def ask(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> Answer:
        """One request. `path` begins after /dav; headers are named as `Lock_Token`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        chunked = named.pop("chunked", "") == "yes"
        raw = body.encode() if isinstance(body, str) else body
        return ask(
            self.rig.door,
            method,
            f"/dav{path}",
            raw,
            headers={"Authorization": self.authorization, **named},
            chunked=chunked,
        )

    def api(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """One request to the API; `target` begins after /api/v1."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.rig.cluster.ask_with(self.api_headers | named, method, target, body)

    def bucket(self) -> str:
        """A new bucket of this person's."""
        name = f"{self.name}-{next(_numbers)}"
        assert self.ask("MKCOL", f"/{name}").status == 201
        return name

    def put(self, path: str, body: bytes = b"content", **headers: str) -> Answer:
        return self.ask("PUT", path, body, **headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def names(self, path: str) -> list[str]:
        """The addresses in a folder, without its own."""
        answer = self.ask("PROPFIND", path, Depth="1")
        assert answer.status == 207, answer.body
        return hrefs(answer)[1:]

    def lock(self, path: str, *, scope: str = "exclusive", owner: str = "a program", **headers: str) -> Answer:
        return self.ask("LOCK", path, LOCK_BODY.format(scope=scope, owner=owner), **headers)

    def unlock(self, path: str, lock_token: str) -> Answer:
        return self.ask("UNLOCK", path, Lock_Token=lock_token)

    def copy(self, path: str, to: str, method: str = "COPY", **headers: str) -> Answer:
        return self.ask(method, path, Destination=f"{HOST}/dav{to}", **headers)

    def move(self, path: str, to: str, **headers: str) -> Answer:
        return self.copy(path, to, "MOVE", **headers)

    def property(self, path: str, name: str, space: str = "DAV:") -> str | None:
        """A property's text; None if the resource does not have it."""
        body = f'<D:propfind xmlns:D="DAV:"><D:prop><x:{name} xmlns:x="{space}"/></D:prop></D:propfind>'
        answer = self.ask("PROPFIND", path, body, Depth="0")
        assert answer.status == 207, answer.body
        found = tree(answer).find(f"D:response/D:propstat/D:prop/{{{space}}}{name}", NAMES)
        if found is None or b"404 Not Found" in answer.body:
            return None
        return "".join(found.itertext())

    def set_property(self, path: str, name: str, value: str, space: str = "urn:test", **headers: str) -> Answer:
        body = (
            f'<D:propertyupdate xmlns:D="DAV:" xmlns:x="{space}"><D:set><D:prop><x:{name}>{value}</x:{name}></D:prop>'
            "</D:set></D:propertyupdate>"
        )
        return self.ask("PROPPATCH", path, body, **headers)

    def api_key(self) -> str:
        credential = re.sub("^Bearer ", "", self.api_headers["Authorization"])
        return self.rig.directory.call(CREATE_API_KEY, CreateApiKeyRequest(credential, "laptop")).key
