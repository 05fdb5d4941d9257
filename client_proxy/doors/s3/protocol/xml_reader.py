"""Reads XML from clients safely: no document type, no entities, bounded size, depth and number of elements."""

from __future__ import annotations

from xml.parsers import expat

from client_proxy.doors.s3.protocol.s3_errors import S3Error

MAX_BYTES = 4 * 1024 * 1024
"""10,000 parts with the longest checksums, or 1,000 keys of 1,024 bytes with version ids; and room for escapes."""
MAX_DEPTH = 32
MAX_ELEMENTS = 100_000


class Element:
    """An element: its name without namespace, its text, its children in order, its attributes as written."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str] | None = None) -> None:
        self.name = name
        self.text = ""
        self.children: list[Element] = []
        self.attributes = attributes or {}

    def find(self, name: str) -> Element | None:
        """The first child of that name."""
        return next((child for child in self.children if child.name == name), None)

    def find_all(self, name: str) -> list[Element]:
        """Every child of that name, in order."""
        return [child for child in self.children if child.name == name]


def read_xml(body: bytes) -> Element:
    """The root element of `body`. S3Error MalformedXML for anything that is not one well-formed document."""
    if len(body) > MAX_BYTES:
        raise S3Error("MaxMessageLengthExceeded", f"the XML has {len(body)} bytes; the maximum is {MAX_BYTES}")
    reader = _Reader()
    try:
        reader.parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise S3Error("MalformedXML", f"the body is not well-formed XML: {error}") from error
    assert reader.root is not None  # expat refuses a document without one
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._count = 0
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _doctype(self, *_: object) -> None:
        raise S3Error("MalformedXML", "a document type declaration is not accepted; leave it out")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise S3Error("MalformedXML", f"the XML has more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels")
        element = Element(name.rpartition(":")[2], attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts.append([])

    def _text(self, text: str) -> None:
        self._texts[-1].append(text)

    def _end(self, _: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())
