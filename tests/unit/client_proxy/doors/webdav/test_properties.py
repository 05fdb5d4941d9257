"""Properties: dead ones stay with their file, live ones are not changed, and bodies are judged as the standard says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from client_proxy.core.requests import Write
from client_proxy.doors.webdav import changing
from lockstep_store.wire.messages.s3 import PUT_OBJECT_SETTING
from tests.fakes.webdav import DavPerson, DavRig, header, message, token, tree
from tests.fakes.wsgi import Answer

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


class _Others:
    """Do something just before a proxy changes a setting, or writes a file: `times` times."""

    def __init__(self, rig: DavRig, monkeypatch: pytest.MonkeyPatch, act: Callable[[int], Answer], times: int) -> None:
        self.left = times
        for target, name in ((rig.directory, "call"), (rig.files, "write")):
            monkeypatch.setattr(target, name, self._after(getattr(target, name), act, rig))

    def _after(self, original: Callable[..., Any], act: Callable[[int], Answer], rig: DavRig) -> Callable[..., Any]:
        def passed_on(first: Any, *others: Any, **options: Any) -> Any:
            if self.left and (first is PUT_OBJECT_SETTING or isinstance(first, Write)):
                number, self.left = self.left, 0
                assert act(number).status in (204, 207)
                self.left = number - 1
            return original(first, *others, **options)

        return passed_on


@pytest.mark.parametrize("path", ["file", "folder/", "locked"])
def test_clients_that_change_properties_at_once_all_keep_theirs(
    rig: DavRig, olga: DavPerson, bucket: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file, of a folder that exists by its files alone, and of what was only locked until now."""
    address, headers = f"{bucket}/{path}", {}
    olga.put(f"{bucket}/file")
    olga.api("PUT", f"/files{bucket}/folder/file", b"x")
    if path == "locked":
        headers = {"If": f"({token(olga.lock(address))})"}
    _Others(rig, monkeypatch, lambda number: olga.set_property(address, f"other{number}", "theirs", **headers), 3)
    assert olga.set_property(address, "mine", "mine", **headers).status == 207
    found = {name: olga.property(address, name, SPACE) for name in ("mine", "other1", "other2", "other3")}
    assert found == {"mine": "mine", "other1": "theirs", "other2": "theirs", "other3": "theirs"}


def test_a_property_set_while_the_file_is_written_stays_with_the_file(
    rig: DavRig, olga: DavPerson, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga.put(f"{bucket}/a", b"1")
    olga.set_property(f"{bucket}/a", "color", "red")
    _Others(rig, monkeypatch, lambda _: olga.put(f"{bucket}/a", b"2"), 1)
    assert olga.set_property(f"{bucket}/a", "size", "large").status == 207
    assert olga.get(f"{bucket}/a").body == b"2"
    assert [olga.property(f"{bucket}/a", name, SPACE) for name in ("color", "size")] == ["red", "large"]


@pytest.mark.parametrize("versioning", ["enabled", "off"])
@pytest.mark.parametrize("condition", ["If-Match", "If"])
def test_a_proppatch_for_a_version_changes_no_older_one(
    rig: DavRig, olga: DavPerson, bucket: str, monkeypatch: pytest.MonkeyPatch, condition: str, versioning: str
) -> None:
    """A file that is written just before the change is not the one of the condition any more."""
    assert olga.api("PATCH", f"/buckets{bucket}", b'{"versioning": "%s"}' % versioning.encode()).status == 200
    tag = header(olga.put(f"{bucket}/a", b"1"), "ETag")
    wanted = {"If-Match": {"If_Match": tag}, "If": {"If": f"([{tag}])"}}[condition]
    assert olga.set_property(f"{bucket}/a", "color", "red", **wanted).status == 207
    _Others(rig, monkeypatch, lambda _: olga.put(f"{bucket}/a", b"2"), 1)
    assert olga.set_property(f"{bucket}/a", "color", "blue", **wanted).status == 412
    assert olga.property(f"{bucket}/a", "color", SPACE) == "red"


def test_a_proppatch_that_others_always_overtake_asks_to_be_repeated(
    rig: DavRig, olga: DavPerson, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "PROPERTY_ATTEMPTS", 3)
    olga.put(f"{bucket}/a")
    _Others(rig, monkeypatch, lambda number: olga.set_property(f"{bucket}/a", "color", str(number)), 3)
    refused = olga.set_property(f"{bucket}/a", "mine", "mine")
    assert refused.status == 503
    assert "try again" in message(refused)
    assert olga.property(f"{bucket}/a", "mine", SPACE) is None


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
