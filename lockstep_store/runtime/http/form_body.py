"""Reads multipart/form-data as a stream: the fields before a file, within bounds, then the file, then the next one.

(The web framework's decoder was tried: where a block of the body ends after a boundary, it adds a byte to the file.)
"""

from __future__ import annotations

import re
from collections.abc import Callable

from werkzeug.http import parse_options_header

from lockstep_store.wire.errors import BadRequest, TooLarge

BLOCK_BYTES = 256 * 1024
MAX_FIELDS = 200
MAX_FIELD_BYTES = 20 * 1024
"""Of all fields before a file together with their headers, as in S3."""
MAX_BOUNDARY_BYTES = 200
FILE = "file"
_SLASHES = re.compile(r"[/\\]")


class FormBody:
    """`fields` by lower-case name, the first of each, and `filename`; then `read` returns the file.

    `next_file` goes on to the next one. A door with errors of its own overrides what makes them.
    """

    def __init__(self, content_type: str, read: Callable[[int], bytes]) -> None:
        boundary = parse_options_header(content_type)[1].get("boundary", "").encode("utf-8", "replace")
        if not 1 <= len(boundary) <= MAX_BOUNDARY_BYTES:
            raise self.malformed("its Content-Type has no boundary")
        self._read = read
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # so that the first delimiter looks like the others
        self._ended = False
        self._left = MAX_FIELD_BYTES
        self.fields: dict[str, str] = {}
        self.filename = ""
        self._until(self._delimiter)  # anything may stand before the first
        if not self._to_file():
            raise self.no_file()

    @property
    def own_name(self) -> str:
        """The name of the file, without the folders that some clients put in front of it."""
        return _SLASHES.split(self.filename)[-1]

    def malformed(self, why: str) -> Exception:
        """The error for a body that is no form."""
        return BadRequest(f"the body is not well-formed multipart/form-data: {why}")

    def too_much(self, what: str) -> Exception:
        """The error for fields beyond the bounds."""
        return TooLarge(what)

    def no_file(self) -> Exception:
        """The error for a form without a file."""
        return BadRequest("the form has no file")

    def read(self, count: int) -> bytes:
        """Return up to `count` of the file's bytes; none at its end, which its delimiter proves."""
        while not self._ended:
            found = self._buffer.find(self._delimiter)
            # A possible beginning of a delimiter waits for the rest.
            ready = found if found >= 0 else len(self._buffer) - len(self._delimiter) + 1
            if ready > 0:
                data = bytes(self._buffer[: min(ready, count)])
                del self._buffer[: len(data)]
                return data
            self._ended = found == 0
            if not self._ended:
                self._fill()
        return b""

    def next_file(self) -> bool:
        """Skip the rest of this file and go on to the next; returns False if there is none."""
        while self.read(BLOCK_BYTES):
            pass
        self._ended, self._left = False, MAX_FIELD_BYTES
        self._until(self._delimiter)
        return self._to_file()

    def _to_file(self) -> bool:
        for _ in range(MAX_FIELDS):
            while len(self._buffer) < 2:
                self._fill()
            if self._buffer.startswith(b"--"):
                self._ended = True
                return False
            if self._until(b"\r\n").strip(b" \t"):
                raise self.malformed("text follows a boundary")
            name, filename = self._disposition(self._until(b"\r\n\r\n"))
            if name == FILE:
                self.filename = filename
                return True
            try:
                self.fields.setdefault(name, self._until(self._delimiter).decode("utf-8"))
            except UnicodeDecodeError as error:
                raise self.malformed("a field is not UTF-8") from error
        raise self.too_much(f"the form has more than {MAX_FIELDS} fields")

    def _until(self, mark: bytes) -> bytes:
        """The bytes before the next `mark`, which is dropped; they count towards the bound on all fields."""
        searched = 0
        while (found := self._buffer.find(mark, searched)) < 0:
            self._check_room(len(self._buffer))
            searched = max(0, len(self._buffer) - len(mark) + 1)
            self._fill()
        self._check_room(found)
        self._left -= found
        data = bytes(self._buffer[:found])
        del self._buffer[: found + len(mark)]
        return data

    def _check_room(self, size: int) -> None:
        if size > self._left + len(self._delimiter):
            raise self.too_much(f"the fields before the file have more than {MAX_FIELD_BYTES} bytes")

    def _fill(self) -> None:
        block = self._read(BLOCK_BYTES)
        if not block:
            raise self.malformed("it ended early")
        self._buffer += block

    def _disposition(self, head: bytes) -> tuple[str, str]:
        """The name of a part in lower case, and the name of the file in it, from the part's headers."""
        try:
            lines = head.decode("utf-8").split("\r\n")
        except UnicodeDecodeError as error:
            raise self.malformed("a part's headers are not UTF-8") from error
        for line in lines:
            header, _, value = line.partition(":")
            if header.strip().lower() == "content-disposition":
                options = parse_options_header(value.strip())[1]
                if options.get("name"):
                    return options["name"].lower(), options.get("filename", "")
        raise self.malformed("a part has no name")
