"""Forms with several files. tests/s3/objects/test_post_form.py has what one file and its fields may be."""

from __future__ import annotations

from io import BytesIO
from random import Random

import pytest

from lockstep_store.runtime.http.form_body import FormBody
from lockstep_store.wire.errors import BadRequest, TooLarge

BOUNDARY = b"b0undary"


def form(*files: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    parts = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\nContent-Type: x/y\r\n\r\n%b\r\n'
        % (BOUNDARY, name.encode(), content)
        for name, content in files
    )
    return parts + b"--" + BOUNDARY + end


def read(body: bytes, block: int = 1 << 16) -> list[tuple[str, bytes]]:
    source = BytesIO(body)
    found = FormBody(f"multipart/form-data; boundary={BOUNDARY.decode()}", lambda _: source.read(block))
    files = []
    while True:
        content = b""
        while piece := found.read(1000):
            content += piece
        files.append((found.filename, content))
        if not found.next_file():
            return files


@pytest.mark.parametrize("end", [b"--\r\n", b"--", b"--\r\nan epilogue"])
def test_every_file_of_a_form_is_read(end: bytes) -> None:
    """In order, however the body comes in, also with content that looks like a boundary."""
    tricky = b"\r\n--b0undar\r\n--b0\r\n"
    files = [("a.txt", b"A" * 5000), ("", b""), ("b", tricky), ("ü.txt", Random(1).randbytes(3000))]
    for block in (1, 2, 7, 100, 1 << 16):
        assert read(form(*files, end=end), block) == files


def test_unread_bytes_of_a_file_are_skipped() -> None:
    """The next file begins where it begins."""
    source = BytesIO(form(("a", b"x" * 300_000), ("b", b"second")))
    found = FormBody(f"multipart/form-data; boundary={BOUNDARY.decode()}", source.read)
    assert found.read(10) == b"x" * 10
    assert found.next_file()
    assert (found.filename, found.read(100)) == ("b", b"second")
    assert not found.next_file()


def test_a_form_that_is_cut_off_never_looks_whole() -> None:
    """Wherever it ends, an error says so."""
    body = form(("a", b"one"), ("b", b"two"), end=b"--")
    for count in range(len(body)):
        with pytest.raises(BadRequest):
            read(body[:count])


def test_a_form_without_a_file_or_with_too_much_before_it_is_refused() -> None:
    """Each with its reason."""
    field = b'--%b\r\nContent-Disposition: form-data; name="n"\r\n\r\n%b\r\n'
    with pytest.raises(BadRequest, match="has no file"):
        read(field % (BOUNDARY, b"x") + b"--" + BOUNDARY + b"--")
    with pytest.raises(TooLarge):
        read(field % (BOUNDARY, b"x" * 30_000) + form(("a", b"x")))
    with pytest.raises(BadRequest, match="boundary"):
        FormBody("multipart/form-data", lambda _: b"")


@pytest.mark.parametrize("sent", ["roof.txt", "C:\\\\plans\\\\roof.txt", "plans/roof.txt", "../roof.txt"])
def test_a_files_own_name_has_no_folders(sent: str) -> None:
    """Some clients send their whole path."""
    source = BytesIO(form((sent, b"content")))
    found = FormBody(f"multipart/form-data; boundary={BOUNDARY.decode()}", source.read)
    assert found.own_name == "roof.txt"
