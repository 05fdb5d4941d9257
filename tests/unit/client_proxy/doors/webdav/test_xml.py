"""XML from clients: namespaces are resolved, and nothing in it spoils a reply or makes a small body a large one."""

from __future__ import annotations

import tracemalloc
from xml.etree import ElementTree

import pytest

from client_proxy.doors.webdav.xml import MAX_NAMESPACE, XmlName, document, empty, read_xml
from lockstep_store.wire.errors import BadRequest
from tests.fakes.webdav import DavPerson, message, tree

PROPERTY = '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>{}</D:prop></D:set></D:propertyupdate>'
ASKED = '<D:propfind xmlns:D="DAV:"><D:prop>{}</D:prop></D:propfind>'


@pytest.mark.parametrize(
    "element",
    [
        '<a:note xmlns:a="of }a{ person"/>',
        '<a:note xmlns:a="urn:&quot;"/>',
        '<a:note xmlns:a="urn:a&#10;b"/>',
        '<a:note xmlns:a=""/>',
        '<a:note xmlns:a="http://www.w3.org/XML/1998/namespace"/>',
        '<a:note xmlns:a="http://www.w3.org/2000/xmlns/"/>',
        '<xml:note xmlns:xml="urn:a"/>',
        '<note xmlns:xmlns="urn:a"/>',
        "<xmlns:note/>",
        "<a:note/>",
        '<note a:b="1"/>',
        '<a:1 xmlns:a="urn:a"/>',
        '<a:-b xmlns:a="urn:a"/>',
        '<a:ーb xmlns:a="urn:a"/>',
        '<a:b:c xmlns:a="urn:a"/>',
        "<:a/>",
        '<note xmlns:a="urn:a" xmlns:b="urn:a" a:c="1" b:c="2"/>',
    ],
)
def test_names_that_a_reply_could_not_repeat_are_refused(olga: DavPerson, bucket: str, element: str) -> None:
    """They were stored once, and then nobody's client could read the folder's listing."""
    olga.put(f"{bucket}/a")
    for method, body in (("PROPPATCH", PROPERTY), ("PROPFIND", ASKED)):
        answer = olga.ask(method, f"{bucket}/a", body.format(element), Depth="0")
        assert answer.status == 400, answer.body
        assert message(answer)
    tree(olga.ask("PROPFIND", f"{bucket}/", Depth="1"))


@pytest.mark.parametrize(
    ("element", "tag"),
    [
        ('<note xmlns="">text</note>', "note"),
        ("<xml:note>text<xml:inner/></xml:note>", "{http://www.w3.org/XML/1998/namespace}note"),
        ('<a:note xmlns:a="urn:a">text</a:note>', "{urn:a}note"),
        ('<note xmlns="urn:a">text<inner xmlns="" a="&#10;&lt;" xml:lang="de"/></note>', "{urn:a}note"),
        ('<a:note xmlns:a="urn:a" xmlns:b="urn:b" b:a="1" a="2">text<b:c/></a:note>', "{urn:a}note"),
        ('<a:xmlns xmlns:a="urn:a" a:xmlns="1">text</a:xmlns>', "{urn:a}xmlns"),
        ('<a:größe xmlns:a="urn:ä">text</a:größe>', "{urn:ä}größe"),
        ('<a:b xmlns:a="urn:a">text<a:c xmlns:a="urn:b"/><a:d/></a:b>', "{urn:a}b"),
    ],
)
def test_other_names_come_back_as_they_were(olga: DavPerson, bucket: str, element: str, tag: str) -> None:
    olga.put(f"{bucket}/a")
    assert olga.ask("PROPPATCH", f"{bucket}/a", PROPERTY.format(element)).status == 207
    found = tree(olga.ask("PROPFIND", f"{bucket}/a", Depth="0")).find(f".//{tag}")
    assert found is not None
    assert _canonical(ElementTree.tostring(found, "unicode")) == _canonical(element)


def _canonical(xml: str) -> str:
    return ElementTree.canonicalize(xml, rewrite_prefixes=True)


def test_a_long_namespace_makes_no_gigabyte() -> None:
    """129 KB once took 600 MB to read, and 286 MB to answer for each file in a listing."""
    many = "".join(f"<x:a{number}/>" for number in range(3000))
    attributes = " ".join(f'x:a{number}=""' for number in range(3000))
    tracemalloc.start()
    try:
        for inside in (many, f"<b {attributes}/>"):
            with pytest.raises(BadRequest, match="namespace of 100000 characters"):
                read_xml(f'<a xmlns:x="{"u" * 100_000}">{inside}</a>'.encode())
        root = read_xml(f'<a xmlns:x="{"u" * MAX_NAMESPACE}">{many}</a>'.encode())
        assert len(root.write()) < 5_000_000
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_a_listing_repeats_a_bounded_number_of_names(olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a")
    names = "".join(f'<n{number} xmlns="urn:{"a" * 100}"/>' for number in range(100))
    refused = olga.ask("PROPFIND", f"{bucket}/", ASKED.format(names), Depth="1")
    assert (refused.status, "ask for fewer at once" in message(refused)) == (400, True)
    fewer = "".join(f"<D:n{number}/>" for number in range(100))
    assert olga.ask("PROPFIND", f"{bucket}/", ASKED.format(fewer), Depth="1").status == 207


def test_a_name_without_content_is_written_with_its_namespace() -> None:
    assert read_xml(document("prop", [empty(XmlName("urn:a", "b"))])).children[0].name == XmlName("urn:a", "b")
