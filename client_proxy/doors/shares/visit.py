"""A visitor's request: which link, which part of it, and what the directory needs to judge it."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote

from client_proxy.doors.request_access import access_of
from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import Environ
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.wire.errors import BadRequest, NotFound
from lockstep_store.wire.messages.shares import MAX_PASSWORD, SHARE_ADDRESS, ShareProof
from lockstep_store.wire.names import MAX_PATH_BYTES

COOKIE = "lockstep_share"
_ADDRESS = re.compile(rf"{SHARE_ADDRESS}([A-Za-z0-9_-]{{16,64}})(?:/([a-z]{{1,8}})(?:/(.*))?)?", re.DOTALL)
_UNLOCK = re.compile(rf"(?:^|;) *{COOKIE}=([0-9a-f.]{{1,128}})(?: *;|$)")
_MAX_FORM_BYTES = 8 * MAX_PASSWORD + 64


class ShareVisit(DrainableRequest):
    """`/s/TOKEN`, `/s/TOKEN/ACTION` or `/s/TOKEN/ACTION/REST`. NotFound for anything else.

    `rest` follows the action's slash exactly as it was sent, so a part of a folder's name is never changed.
    """

    def __init__(self, environ: Environ) -> None:
        super().__init__(environ)
        try:
            path = self.path.encode("latin-1").decode()
        except UnicodeError:
            raise NotFound("there is no such link") from None
        found = _ADDRESS.fullmatch(path)
        if found is None:
            raise NotFound("there is no such link")
        self.token: str = found[1]
        self.action: str = found[2] or ""
        self.rest: str = found[3] or ""
        self.address = remote_address(environ)
        unlock = _UNLOCK.search(environ.get("HTTP_COOKIE", ""))
        self.unlock = unlock[1] if unlock is not None else ""

    def access(self) -> str:
        """The link as a credential, with what policies may ask about the request. No cookie of a log-in counts here."""
        return access_of(self.environ, ShareProof(self.token, self.unlock).encode())

    def link_to(self, action: str = "", rest: str = "") -> str:
        """The address of another part of the link."""
        home = f"{SHARE_ADDRESS}{self.token}"
        return f"{home}/{action}/{quote(rest, safe='/')}" if rest else f"{home}/{action}" if action else home

    def after(self) -> str:
        """Where the wanted page of a folder begins; empty for the first one."""
        try:
            values = parse_qs(self.query, errors="strict", max_num_fields=5).get("after", [""])
        except ValueError:
            raise BadRequest("the address has arguments that cannot be read") from None
        return values[0][: 2 * MAX_PATH_BYTES]

    def password(self) -> str:
        """The password in the posted form."""
        try:
            fields = parse_qs(self.body(_MAX_FORM_BYTES).decode(), errors="strict", max_num_fields=5)
        except ValueError:
            raise BadRequest("the form cannot be read: go back and type the password again") from None
        return fields.get("password", [""])[0][:MAX_PASSWORD]
