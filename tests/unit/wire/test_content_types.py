"""Content types: by what is stated, by name, and by the first bytes, of which none makes a script."""

from __future__ import annotations

import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep_store.wire.content_types import (
    BEGINNING_BYTES,
    FOUND_TYPE,
    UNKNOWN_TYPE,
    Beginning,
    found_type,
    has_telling_name,
    type_of,
)

TEXT = "text/plain; charset=utf-8"


def _zip(*entries: tuple[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return packed.getvalue()


def _tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return packed.getvalue()


def _database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE a (b)")
    content = connection.serialize()
    connection.close()
    return content


OPEN_DOCUMENT = "application/vnd.oasis.opendocument.text"
MADE: list[tuple[Callable[[], bytes], str]] = [
    (lambda: gzip.compress(b"x"), "application/gzip"),
    (lambda: lzma.compress(b"x"), "application/x-xz"),
    (lambda: _zip(("a.txt", "text")), "application/zip"),
    (lambda: _zip(("mimetype", OPEN_DOCUMENT), ("content.xml", "<a/>")), OPEN_DOCUMENT),
    (lambda: _zip(("mimetype", "application/x\r\nevil: 1"), ("b", "")), "application/zip"),
    (_tar, "application/x-tar"),
    (_database, "application/vnd.sqlite3"),
]


@pytest.mark.parametrize(("made", "kind"), MADE)
def test_what_programs_write_is_recognised(made: Callable[[], bytes], kind: str) -> None:
    """From the first bytes alone."""
    assert found_type(made()[:BEGINNING_BYTES]) == kind


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image/jpeg"),
        (b"GIF89a\1\0", "image/gif"),
        (b"RIFF\1\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\1\0\0\0WAVEfmt ", "audio/wav"),
        (b"\0\0\0\x1cftypavif\0", "image/avif"),
        (b"\0\0\0\x18ftypheic\0", "image/heic"),
        (b"\0\0\0\x20ftypisom\0", "video/mp4"),
        (b"\0\0\0\x14ftypqt  \0", "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska", "video/matroska"),
        (b"ID3\3\0\0", "audio/mpeg"),
        (b"hello world, this is text", TEXT),
        ("Größe: 5 µm\r\n\t".encode(), TEXT),
        (b"\xef\xbb\xbfwith a mark", TEXT),
        (b"<!DOCTYPE html><script>alert(1)</script>", TEXT),
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="x()"/>', TEXT),
        (b'<?xml version="1.0"?><html/>', TEXT),
        (b"#!/bin/sh\n", TEXT),
        (b"\x1b[31mred\x1b[0m", TEXT),
        (b"RIFF\1\0\0\0what", ""),
        (b"gr\xf6\xdfer", ""),
        (b"text\0", ""),
        (b"\0\1\2\3", ""),
        (b"", ""),
    ],
)
def test_what_the_first_bytes_show(beginning: bytes, kind: str) -> None:
    """What could run scripts is text; what nothing is known of has no type."""
    assert found_type(beginning) == kind


@given(st.binary(max_size=600))
def test_no_content_becomes_a_page(content: bytes) -> None:
    """Whatever it is: the type is one that browsers never run, and fits a header."""
    for beginning in (content, b"<html>" + content, b"PK\3\4" + bytes(26) + b"mimetypeapplication/" + content):
        kind = found_type(beginning[:BEGINNING_BYTES])
        assert kind.isascii()
        assert not kind or kind.isprintable()
        assert not kind.startswith(("text/html", "image/svg", "text/xml", "text/javascript"))


@given(st.text(min_size=200, max_size=400))
def test_text_is_text_wherever_it_is_cut(text: str) -> None:
    """Also in the middle of a character."""
    content = "".join(c for c in text if c.isprintable()).encode() * 3
    if len(content) >= BEGINNING_BYTES:
        kind = found_type(content[:BEGINNING_BYTES])
        assert kind == found_type(b"a" + content[: BEGINNING_BYTES - 1]) == TEXT or not content[:1].isalnum()


@given(st.lists(st.binary(max_size=300)))
def test_a_beginning_is_kept_while_all_passes(blocks: list[bytes]) -> None:
    """However small the blocks are; they pass unchanged."""
    beginning = Beginning(blocks)
    assert list(beginning) == blocks
    kind = found_type(b"".join(blocks)[:BEGINNING_BYTES])
    assert beginning.metadata() == ({FOUND_TYPE: kind} if kind else {})


def test_what_is_stated_counts_most_and_what_is_found_least() -> None:
    """So a renamed file has the type of its new name."""
    found = {FOUND_TYPE: "application/zip"}
    assert type_of("a.docx", "x/y", found) == "x/y"
    assert "wordprocessingml" in type_of("a.docx", "", found)
    assert type_of("a.tmp~", "", found) == "application/zip"
    assert type_of("a.tmp~", "", {}) == UNKNOWN_TYPE
    assert [has_telling_name(name) for name in ("a.txt", "in.txt/a", "a.tar.gz", "a")] == [True, False, True, False]


def test_no_scripted_type_can_be_named_by_an_archive() -> None:
    """A ZIP archive that calls itself XHTML is an archive."""
    assert found_type(_zip(("mimetype", "application/xhtml+xml"), ("b", ""))[:BEGINNING_BYTES]) == "application/zip"
