"""Content types: what a file's name says, and where it says nothing, what the first bytes say.

Which bytes mean what is from the MIME Sniffing standard (https://mimesniff.spec.whatwg.org/, sections 6 and 7) and the
formats' own registrations at IANA. As there, nothing that could run scripts is ever found: without a name or a type
that says so, HTML, SVG and scripts are plain text. The libraries for this were refused: `puremagic` 1.30 takes 240 µs a
file, as much as a commit, calls any ZIP archive a Word document and a text with the word "text" in it OpenDocument;
`python-magic` needs a library of the system.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from lockstep_store.wire.chunk_stream import BEGINNING_BYTES

FOUND_TYPE = "s3:found-type"
"""The metadata name of a type that was found in the content. A type that the writer states, and one that the name says
at any time, count more: a file that is saved under a temporary name gets its type when it is renamed."""
UNKNOWN_TYPE = "application/octet-stream"

# Only Python's own table: a machine's mime.types file would make programs differ.
_TYPES = mimetypes.MimeTypes()
for _ending, _kind in {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".epub": "application/epub+zip",
    ".7z": "application/x-7z-compressed",
    ".rar": "application/vnd.rar",
    ".zst": "application/zstd",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".mkv": "video/matroska",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".md": "text/markdown",
}.items():
    _TYPES.add_type(_kind, _ending)  # which the table of older Pythons lacks
_TEXT = "text/plain; charset=utf-8"
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"8BPS\0\1", "image/vnd.adobe.photoshop"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS\0", "application/ogg"),
    (b"MThd\0\0\0\6", "audio/midi"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"Rar!\x1a\7", "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"OTTO\0", "font/otf"),
    (b"\0\1\0\0\0", "font/ttf"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"\x7fELF", "application/x-elf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
)
_BY_FIRST_BYTE = {first: [one for one in _SIGNATURES if one[0][0] == first] for first in {s[0][0] for s in _SIGNATURES}}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"avif": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
}
_NOT_IN_TEXT = frozenset((*range(0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F))
_DOCUMENT = re.compile(rb"(application/(?:epub\+zip|vnd\.oasis\.opendocument\.[a-z-]{1,40}))PK")
_ZIP = b"PK\3\4"
_ZIP_NAME = 30
"""Where the name of a ZIP archive's first entry is; OpenDocument and EPUB say there what they are."""


def guessed_type(path: str) -> str:
    """Return the type suggested by the file's name."""
    name = path.rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    if dot and f".{ending}" in _TYPES.encodings_map:  # `.tar.gz`: what is packed counts, too
        ending = f"{stem.rpartition('.')[2]}.{ending}" if "." in stem else ending
    return _type_of_ending(ending) if stem and dot else UNKNOWN_TYPE


@lru_cache(maxsize=4096)
def _type_of_ending(ending: str) -> str:
    kind, packed = _TYPES.guess_type(f"x.{ending}", strict=False)
    if packed:
        return "application/gzip" if packed == "gzip" else UNKNOWN_TYPE
    if kind is None:
        return UNKNOWN_TYPE
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def known_endings() -> Iterator[tuple[str, bool, str]]:
    """Return (ending, whether its case does not matter, type) of all that names can say."""
    endings = {ending for kinds in _TYPES.types_map for ending in kinds}
    for ending in sorted(ending[1:] for ending in endings | {*_TYPES.encodings_map, *_TYPES.suffix_map}):
        kind = _type_of_ending(ending)
        if kind != UNKNOWN_TYPE:
            yield ending, _type_of_ending(ending.upper()) == kind, kind


def type_of(path: str, stated: str, metadata: Mapping[str, str]) -> str:
    """Return a version's type: the one that its writer stated, else what its name says, else what was found in it."""
    if stated:
        return stated
    guessed = guessed_type(path)
    return metadata.get(FOUND_TYPE, guessed) if guessed == UNKNOWN_TYPE else guessed


def has_telling_name(path: str) -> bool:
    """Whether the file's name suggests a type, so that nobody need look at the content."""
    return guessed_type(path) != UNKNOWN_TYPE


def found_type(beginning: bytes) -> str:
    """Return the type that a content's first bytes show (BEGINNING_BYTES, or all there are); empty if they do not."""
    if not beginning:
        return ""
    for signature, kind in _BY_FIRST_BYTE.get(beginning[0], ()):
        if beginning.startswith(signature):
            return kind
    return _container(beginning) or (_TEXT if _is_text(beginning) else "")


class Beginning:
    """The first bytes of a content, kept while its blocks pass. For the type, once the last block has passed."""

    def __init__(self, blocks: Iterable[bytes] = ()) -> None:
        self._blocks = blocks
        self._kept = b""

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.add(block)
            yield block

    def add(self, block: bytes | memoryview) -> None:
        if len(self._kept) < BEGINNING_BYTES:
            self._kept += bytes(block[: BEGINNING_BYTES - len(self._kept)])

    def metadata(self) -> dict[str, str]:
        """Return the entry for the type that was found; {} for none."""
        kind = found_type(self._kept)
        return {FOUND_TYPE: kind} if kind else {}


def _container(beginning: bytes) -> str:
    """Formats that share a frame, and say inside it which one they are."""
    if beginning.startswith(b"RIFF"):
        return _RIFF.get(beginning[8:12], "")
    if beginning[4:8] == b"ftyp":
        return _BRANDS.get(beginning[8:12], "video/mp4")
    if beginning.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in beginning[:64] else "video/matroska"
    if beginning.startswith(_ZIP):
        return _zip(beginning)
    if beginning.startswith(b"BZh") and beginning[4:10] == b"1AY&SY":
        return "application/x-bzip2"
    return "application/x-tar" if beginning[257:262] == b"ustar" else ""


def _zip(beginning: bytes) -> str:
    if beginning.startswith(b"mimetype", _ZIP_NAME):
        told = _DOCUMENT.match(beginning, _ZIP_NAME + len(b"mimetype"))
        if told:
            return told[1].decode()
    return "application/zip"


def _is_text(beginning: bytes) -> bool:
    if not _NOT_IN_TEXT.isdisjoint(beginning):
        return False
    for cut in range(min(4, len(beginning))):  # the last character may be incomplete
        try:
            beginning[: len(beginning) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return cut == 0 or len(beginning) >= BEGINNING_BYTES
    return False
