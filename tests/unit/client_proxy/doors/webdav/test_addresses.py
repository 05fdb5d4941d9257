"""Addresses below /dav/, as requests, Destination headers and replies have them."""

from __future__ import annotations

import pytest

from client_proxy.doors.webdav.addresses import MAX_ADDRESS_BYTES, Address, is_shown, read_address, read_destination
from lockstep_store.wire.errors import BadName, BadRequest

HOST = "proxy:5000"


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/dav", Address()),
        ("/dav/", Address()),
        ("/dav/team", Address("team")),
        ("/dav/team/", Address("team")),
        ("/dav/team/a/b", Address("team", "a/b", as_folder=False)),
        ("/dav/team/a/b/", Address("team", "a/b")),
        ("/dav/team/\xc3\xa9", Address("team", "é", as_folder=False)),
    ],
)
def test_an_address_names_a_bucket_and_a_path(path: str, address: Address) -> None:
    assert read_address(path) == address


@pytest.mark.parametrize("path", ["/dav/team/a//b", "/dav/team/a//", "/dav/team/../b", "/dav/Team/a", "/dav/team/\xff"])
def test_a_name_that_nothing_can_have_is_refused(path: str) -> None:
    with pytest.raises(BadName):
        read_address(path)


@pytest.mark.parametrize(
    "address", [Address(), Address("team"), Address("team", "a b/é#%"), Address("team", "a", False)]
)
def test_a_reply_s_address_reads_back(address: Address) -> None:
    href = address.href(folder=address.as_folder)
    assert href.endswith("/") is address.as_folder
    assert read_destination(href, HOST) == address


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("https://proxy:5000/dav/team/a%20b", Address("team", "a b", as_folder=False)),
        ("https://PROXY:5000/dav/team/", Address("team")),
        ("/dav/team/a", Address("team", "a", as_folder=False)),
        ("https://other:5000/dav/team/a", None),
        ("https://proxy:5000/davos/team/a", None),
        ("https://proxy:5000/api/v1/files/team/a", None),
    ],
)
def test_a_destination_is_below_this_door_of_this_host(header: str, found: Address | None) -> None:
    assert read_destination(header, HOST) == found


@pytest.mark.parametrize("header", ["", "https://[::1/dav/team/a", "/dav/team/" + "a" * MAX_ADDRESS_BYTES])
def test_what_is_no_destination_is_refused(header: str) -> None:
    with pytest.raises(BadRequest):
        read_destination(header, HOST)


def test_a_folder_contains_itself_and_what_is_below() -> None:
    folder = Address("team", "a")
    assert folder.contains(folder)
    assert folder.contains(Address("team", "a/b/c", as_folder=False))
    assert Address("team").contains(folder)
    for other in (Address("team", "ab"), Address("team"), Address("other", "a/b")):
        assert not folder.contains(other)
    assert Address("team", "a/b/c").parent == Address("team", "a/b")
    assert folder.parent == Address("team")
    assert Address("team").parent == Address()


@pytest.mark.parametrize(
    ("path", "shown"), [("a/b", True), ("a/b/", True), ("a//b", False), ("../up", False), ("/root", False)]
)
def test_names_that_only_s3_can_say_are_not_shown(path: str, shown: bool) -> None:
    assert is_shown(path) is shown
