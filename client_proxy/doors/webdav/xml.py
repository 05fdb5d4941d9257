"""Reads XML from clients safely, with namespaces and mixed content, and writes it.

No document type, no entities, bounded size, depth and number of elements, as at the S3 door, whose requests have
neither namespaces nor content between elements. Namespaces are resolved here: expat would repeat a long one in every
name, and make a gigabyte of a small body.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple
from xml.parsers import expat
from xml.sax import saxutils
from xml.sax.saxutils import quoteattr

from lockstep_store.wire.errors import BadRequest

DAV = "DAV:"
XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
_XMLNS_NAMESPACE = "http://www.w3.org/2000/xmlns/"
HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n'
MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ELEMENTS = 5000
MAX_NAMESPACE = 512
"""Characters of one namespace."""
_NOT_IN_NAMESPACE = frozenset('<>"{}|\\^`')
"""No URI contains them, and some clients' parsers refuse them."""


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
        self._spaces: list[dict[str, str]] = [{"": "", "xml": XML_NAMESPACE}]
        """The namespaces that each open element declares, by prefix."""
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _doctype(self, *_: object) -> None:
        raise BadRequest("a document type declaration is not accepted in the XML; leave it out")

    def _start(self, tag: str, given: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise BadRequest(f"the XML has more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels")
        declared = {key: value for key, value in given.items() if key.partition(":")[0] == "xmlns"}
        self._spaces.append({key[6:]: _namespace(key, value) for key, value in declared.items()})
        name = self._name(tag, self._space(""))
        others = [(self._name(key, ""), value) for key, value in given.items() if key not in declared]
        element = XmlElement(name, dict(others))
        if len(element.attributes) != len(others):
            raise BadRequest(f"the XML has an element {tag[:40]!r} with the same attribute twice")
        if self._open:
            self._open[-1].content.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _text(self, text: str) -> None:
        self._open[-1].content.append(text)

    def _end(self, _: str) -> None:
        self._open.pop()
        self._spaces.pop()

    def _name(self, written: str, default: str) -> XmlName:
        """The name that is `written` with a prefix or without; without one its namespace is `default`."""
        prefix, colon, local = written.rpartition(":")
        if not colon:
            return XmlName(default, written)
        if not prefix or ":" in prefix or not _begins_name(local):
            raise BadRequest(f"the XML has an invalid name: {written[:40]!r}")
        return XmlName(self._space(prefix), local)

    def _space(self, prefix: str) -> str:
        for declared in reversed(self._spaces):
            if prefix in declared:
                return declared[prefix]
        raise BadRequest(f"the XML does not declare its prefix {prefix[:40]!r}")


def _begins_name(local: str) -> bool:
    """Whether a name can begin so; expat has seen that its characters can be in one."""
    return local[:1] == "_" or (local[:1].isalpha() and unicodedata.category(local[0]) != "Lm")


def _namespace(key: str, value: str) -> str:
    """The namespace that an attribute declares. BadRequest for a reserved one, or one that is no URI."""
    if len(value) > MAX_NAMESPACE:
        raise BadRequest(f"the XML has a namespace of {len(value)} characters; at most {MAX_NAMESPACE} are accepted")
    if not value.isprintable() or " " in value or not _NOT_IN_NAMESPACE.isdisjoint(value):
        raise BadRequest(f"a namespace must be a URI, and {value[:40]!r} is not one")
    of_xml = key == "xmlns:xml"
    if (
        of_xml is not (value == XML_NAMESPACE)
        or key in ("xmlns:", "xmlns:xmlns")
        or value == _XMLNS_NAMESPACE
        or (not value and key != "xmlns")
    ):
        raise BadRequest(f"the XML must not declare {key[:40]}={value!r}")
    return value
