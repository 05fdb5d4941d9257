"""Properties: dead ones stay with their file, live ones are not changed, and bodies are judged as the standard says."""

from __future__ import annotations

import pytest

from tests.fakes.webdav import DavPerson, message, tree

SPACE = "urn:test"


def test_dead_properties_stay_with_their_file(olga: DavPerson, bucket: str) -> None:
    """Through a write, a copy and a move here, and through moves of the file and its folder elsewhere."""
    olga.ask("MKCOL", f"{bucket}/d")
    olga.put(f"{bucket}/d/a", b"1")
    assert olga.set_property(f"{bucket}/d/a", "color", "red &amp; blue").status == 207
    assert olga.set_property(f"{bucket}/d", "color", "of the folder").status == 207
    olga.put(f"{bucket}/d/a", b"2")
    olga.copy(f"{bucket}/d/a", f"{bucket}/d/copy")
    olga.move(f"{bucket}/d/copy", f"{bucket}/d/moved")
    olga.copy(f"{bucket}/d/", f"{bucket}/e/")
    moved = b'{"bucket": "%s", "path": "e", "to_path": "f"}' % bucket[1:].encode()
    assert olga.api("POST", "/folders/move", moved).status == 200
    for path in ("d/a", "d/moved", "f/a", "f/moved"):
        assert olga.property(f"{bucket}/{path}", "color", SPACE) == "red & blue", path
    for path in ("d", "f/"):
        assert olga.property(f"{bucket}/{path}", "color", SPACE) == "of the folder", path


def test_a_folder_that_nobody_created_can_have_properties(olga: DavPerson, bucket: str) -> None:
    olga.api("PUT", f"/files{bucket}/d/file", b"x")
    assert olga.set_property(f"{bucket}/d/", "color", "red").status == 207
    assert olga.property(f"{bucket}/d/", "color", SPACE) == "red"


def test_a_listing_has_the_dead_properties_of_what_is_in_the_folder(olga: DavPerson, bucket: str) -> None:
    for name in ("a", "b"):
        olga.put(f"{bucket}/{name}")
        olga.set_property(f"{bucket}/{name}", "color", f"color of {name}")
    body = '<D:propfind xmlns:D="DAV:"><D:prop><c:color xmlns:c="urn:test"/></D:prop></D:propfind>'
    found = tree(olga.ask("PROPFIND", f"{bucket}/", body, Depth="1"))
    assert [one.text for one in found.iter("{urn:test}color")] == [None, "color of a", "color of b"]


def test_markup_in_a_property_keeps_its_names_and_order(olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a")
    value = 'one&#13; <y:b xmlns:y="urn:other" y:k="v" plain="&quot;&lt;">two</y:b> three<x:c/>'
    assert olga.set_property(f"{bucket}/a", "mixed", value).status == 207
    body = '<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'
    (found,) = tree(olga.ask("PROPFIND", f"{bucket}/a", body, Depth="0")).iter("{urn:test}mixed")
    first, second = found
    assert (found.text, first.text, first.tail) == ("one\r ", "two", " three")
    assert (first.tag, first.attrib) == ("{urn:other}b", {"{urn:other}k": "v", "plain": '"<'})
    assert second.tag == "{urn:test}c"


def test_properties_are_removed_and_a_change_is_all_or_nothing(olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a")
    olga.set_property(f"{bucket}/a", "color", "red")
    both = (
        '<D:propertyupdate xmlns:D="DAV:"><D:remove><D:prop><x:color xmlns:x="urn:test"/></D:prop></D:remove>'
        "{}</D:propertyupdate>"
    )
    protected = "<D:set><D:prop><D:getetag>mine</D:getetag></D:prop></D:set>"
    refused = olga.ask("PROPPATCH", f"{bucket}/a", both.format(protected))
    assert [one.text for one in tree(refused).iter("{DAV:}status")] == [
        "HTTP/1.1 403 Forbidden",
        "HTTP/1.1 424 Failed Dependency",
    ]
    assert olga.property(f"{bucket}/a", "color", SPACE) == "red"
    assert olga.ask("PROPPATCH", f"{bucket}/a", both.format("")).status == 207
    assert olga.property(f"{bucket}/a", "color", SPACE) is None


def test_properties_are_bounded(olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a")
    assert b"507" in olga.set_property(f"{bucket}/a", "long", "x" * 17_000).body
    assert olga.property(f"{bucket}/a", "long", SPACE) is None
    assert olga.set_property(f"{bucket}/a", "long", "x" * 15_000).status == 207
    assert olga.property(f"{bucket}/a", "long", SPACE) == "x" * 15_000
    assert olga.ask("PROPPATCH", f"{bucket}/a", "x" * 300_000).status == 413


@pytest.mark.parametrize(
    "body",
    [
        "<not closed",
        '<!DOCTYPE x [<!ENTITY e "boom">]><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>',
        '<D:propfind xmlns:D="DAV:"><D:prop><bar:foo xmlns:bar=""/></D:prop></D:propfind>',
        '<D:propfind xmlns:D="DAV:"/>',
        '<D:propfind xmlns:D="DAV:"><D:allprop/><D:propname/></D:propfind>',
        "<propfind/>",
        "<a>" * 40 + "</a>" * 40,
        f"<a>{'<b/>' * 6000}</a>",
    ],
)
@pytest.mark.parametrize("method", ["PROPFIND", "PROPPATCH", "LOCK"])
def test_bad_bodies_are_refused(olga: DavPerson, bucket: str, method: str, body: str) -> None:
    olga.put(f"{bucket}/a")
    answer = olga.ask(method, f"{bucket}/a", body, Depth="0")
    assert answer.status == 400
    assert message(answer)


def test_propname_lists_the_names_alone(olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a", b"12345")
    olga.set_property(f"{bucket}/a", "color", "red")
    body = '<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>'
    (prop,) = tree(olga.ask("PROPFIND", f"{bucket}/a", body, Depth="0")).iter("{DAV:}prop")
    assert {"{DAV:}getetag", "{DAV:}lockdiscovery", "{urn:test}color"} < {one.tag for one in prop}
    assert not any(one.text for one in prop)
