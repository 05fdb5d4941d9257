"""Reads XML from clients safely, with namespaces and mixed content, and writes it.

No document type, no entities, bounded size, depth and number of elements, as at the S3 door, whose requests have
neither namespaces nor content between elements.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from xml.parsers import expat
from xml.sax import saxutils
from xml.sax.saxutils import quoteattr

from lockstep_store.wire.errors import BadRequest

DAV = "DAV:"
XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n'
MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ELEMENTS = 5000
_BETWEEN = "\n"
"""Between a namespace and a name in what expat reports: no name can contain it."""


class XmlName(NamedTuple):
    """The name of an element or attribute. `space` is the namespace; empty for none."""

    space: str
    local: str


class XmlElement:
    """An element with its attributes, and its content in order: text and elements."""

    __slots__ = ("attributes", "content", "name")

    def __init__(self, name: XmlName, attributes: dict[XmlName, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.content: list[XmlElement | str] = []

    @property
    def children(self) -> list[XmlElement]:
        """The elements in it."""
        return [child for child in self.content if isinstance(child, XmlElement)]

    @property
    def text(self) -> str:
        """All text in it, at any depth."""
        return "".join(child if isinstance(child, str) else child.text for child in self.content)

    def find(self, local: str) -> XmlElement | None:
        """The first child of that name in the namespace `DAV:`."""
        return next((child for child in self.children if child.name == XmlName(DAV, local)), None)

    def write(self) -> str:
        """The element as XML that stands by itself, wherever it is put."""
        return f"{self._start()}{self.inner()}</{_tag(self.name)}>"

    def inner(self) -> str:
        """What is in it, as XML."""
        return "".join(map(_written, self.content))

    def _start(self) -> str:
        parts = [f"<{_tag(self.name)}", _declared("x", self.name.space)]
        for number, (name, value) in enumerate(self.attributes.items()):
            if name.space == XML_NAMESPACE:
                parts.append(f"xml:{name.local}={quoteattr(value)}")
            elif name.space:
                parts.append(f"{_declared(f'a{number}', name.space)} a{number}:{name.local}={quoteattr(value)}")
            else:
                parts.append(f"{name.local}={quoteattr(value)}")
        return " ".join(parts) + ">"


def _written(content: XmlElement | str) -> str:
    return escape(content) if isinstance(content, str) else content.write()


def escape(text: str) -> str:
    """Text as XML. A carriage return is written as a reference, because readers make a line feed of it."""
    return saxutils.escape(text, {"\r": "&#13;"})


def _tag(name: XmlName) -> str:
    if name.space == XML_NAMESPACE:
        return f"xml:{name.local}"
    return f"x:{name.local}" if name.space else name.local


def _declared(prefix: str, space: str) -> str:
    if space == XML_NAMESPACE:  # it has its own prefix, and no other may be bound to it
        return ""
    return f"xmlns:{prefix}={quoteattr(space)}" if space else 'xmlns=""'


def empty(name: XmlName) -> str:
    """An element without content, as XML."""
    if name.space == DAV:
        return f"<D:{name.local}/>"
    return f"<{_tag(name)} {_declared('x', name.space)}/>"


def document(root: str, parts: Iterable[str]) -> bytes:
    """A document whose root is an element of `DAV:`, which has the prefix D."""
    return HEAD + f'<D:{root} xmlns:D="DAV:">{"".join(parts)}</D:{root}>\n'.encode()


def read_xml(body: bytes) -> XmlElement:
    """The root of `body`. BadRequest for anything that is not one well-formed document within the bounds."""
    reader = _Reader()
    try:
        reader.parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise BadRequest(f"the body is not well-formed XML: {error}") from error
    assert reader.root is not None  # expat refuses a document without one
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: XmlElement | None = None
        self._open: list[XmlElement] = []
        self._count = 0
        self.parser = expat.ParserCreate(namespace_separator=_BETWEEN)
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _doctype(self, *_: object) -> None:
        raise BadRequest("a document type declaration is not accepted in the XML; leave it out")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise BadRequest(f"the XML has more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels")
        element = XmlElement(_name(name), {_name(key): value for key, value in attributes.items()})
        if self._open:
            self._open[-1].content.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _text(self, text: str) -> None:
        self._open[-1].content.append(text)

    def _end(self, _: str) -> None:
        self._open.pop()


def _name(reported: str) -> XmlName:
    space, _, local = reported.rpartition(_BETWEEN)
    return XmlName(space, local)
