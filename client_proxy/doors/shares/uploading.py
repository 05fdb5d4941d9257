"""Links that take uploads: a plain form, whose files are stored as they arrive and never over another file."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import Write
from client_proxy.doors.shares.files import SharedFiles
from client_proxy.doors.shares.names import received
from client_proxy.doors.shares.pages import page, shown_size
from client_proxy.doors.shares.reading import ListedFile, used_up
from client_proxy.doors.shares.visit import ShareVisit
from client_proxy.doors.shown_names import beside, last_part
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.form_body import BLOCK_BYTES, FormBody
from lockstep_store.wire.errors import (
    BadRequest,
    Conflict,
    Locked,
    LockstepError,
    NotFound,
    PreconditionFailed,
    QuotaExceeded,
    StorageFull,
    TooLarge,
)
from lockstep_store.wire.messages.files import CommittedReply, Preconditions
from lockstep_store.wire.messages.shares import DEFAULT_MAX_BYTES, USE_SHARE, OpenShareReply, UseShareRequest

FORM_TYPE = "multipart/form-data"
_MAX_FILES = 100
"""Of one form."""
_NEW_ONLY = Preconditions(if_none_match=["*"])


class _Content:
    """The bytes of one file of the form, within the link's bound. Knows whether any was asked for."""

    def __init__(self, form: FormBody, most: int) -> None:
        self._form = form
        self._most = most
        self.begun = False
        self.size = 0

    def blocks(self) -> Iterator[bytes]:
        self.begun = True
        while block := self._form.read(BLOCK_BYTES):
            self.size += len(block)
            if self.size > self._most:
                raise TooLarge(f"a file may have at most {shown_size(self._most)} here")
            yield block


class ShareUploads:
    """Serves visitors of links that take uploads."""

    def __init__(self, files: SharedFiles, directory: Directory) -> None:
        self._files = files
        self._directory = directory

    def answer(self, visit: ShareVisit, link: OpenShareReply) -> RawReply:
        """The form, or the reply to it."""
        if visit.action:
            raise NotFound("there is nothing at this address")
        if visit.method != "POST":
            return used_up() if link.used_up else upload_page(visit, link)
        kind: str = visit.environ.get("CONTENT_TYPE", "")
        if kind.partition(";")[0].strip().lower() != FORM_TYPE:
            raise BadRequest(f"send the files as {FORM_TYPE}, in fields that are called file")
        done: list[ListedFile] = []
        try:
            self._take_all(visit, link, FormBody(kind, visit.read), done)
        except LockstepError as error:
            text, status = _said(error, link)
            return upload_page(visit, link, received=done, problem=text, status=status)
        if not done:
            return upload_page(visit, link, problem="Choose a file first.", status=400)
        return upload_page(visit, link, received=done)

    def _take_all(self, visit: ShareVisit, link: OpenShareReply, form: FormBody, done: list[ListedFile]) -> None:
        while True:
            if form.filename:  # a browser sends an empty part where no file was chosen
                if len(done) == _MAX_FILES:
                    raise TooLarge(f"at most {_MAX_FILES} files can be sent at once: send the rest with another form")
                done.append(self._take(visit, link, form))
            if not form.next_file():
                return

    def _take(self, visit: ShareVisit, link: OpenShareReply, form: FormBody) -> ListedFile:
        name = received(form.filename)
        path = link.path + name if _is_folder(link) else link.path
        use = UseShareRequest(visit.access(), path, "upload", visit.address)
        if not self._directory.call(USE_SHARE, use).allowed:
            raise Conflict("this link is used up")
        content = _Content(form, link.max_bytes or DEFAULT_MAX_BYTES)
        try:
            self._store(visit, link, path, content)
        except BaseException:
            use.undo = True
            self._directory.call(USE_SHARE, use)
            raise
        # The visitor sees the name that they sent: another one would tell that the name was taken.
        return ListedFile(name, "", content.size)

    def _store(self, visit: ShareVisit, link: OpenShareReply, path: str, content: _Content) -> CommittedReply:
        for attempt in (path, beside(path, secrets.token_hex(4))):
            write = Write(
                visit.access(),
                link.bucket,
                attempt,
                size=None,
                preconditions=_NEW_ONLY,
                ask_first=True,
            )
            try:
                return self._files.write(write, content.blocks())
            except (PreconditionFailed, Locked):
                if content.begun or not _is_folder(link):
                    raise
        raise Conflict("the file could not be stored under its name, nor under another one")


def _is_folder(link: OpenShareReply) -> bool:
    return not link.path or link.path.endswith("/")


def upload_page(
    visit: ShareVisit,
    link: OpenShareReply,
    *,
    received: list[ListedFile] | None = None,
    problem: str = "",
    status: int = 200,
) -> RawReply:
    """The form, with what was received and what went wrong."""
    folder = _is_folder(link)
    return page(
        "upload",
        status,
        title=f"Send files to {last_part(link.path) or link.bucket}" if folder else f"Send {last_part(link.path)}",
        home=visit.link_to(),
        folder=folder,
        received=received or [],
        problem=problem,
        open=folder or not received,
        max_bytes=link.max_bytes or DEFAULT_MAX_BYTES,
        expires_at=link.expires_at,
    )


def _said(error: LockstepError, link: OpenShareReply) -> tuple[str, int]:
    """What to tell a visitor whose upload failed. Nothing tells what is in the folder; other errors are the door's."""
    if isinstance(error, PreconditionFailed | Locked):
        if _is_folder(link):
            return "Somebody else sent a file of that name at the same moment: send yours again.", 409
        return "The file has been sent already. Ask the person who sent you the link.", 409
    if isinstance(error, TooLarge | BadRequest):
        return f"Not received: {error}.", error.status
    if isinstance(error, Conflict):
        return "This link is used up: no more files can be sent with it.", 410
    if isinstance(error, QuotaExceeded | StorageFull):
        return "There is no room for this file now. Tell the person who sent you the link.", 507
    raise error
