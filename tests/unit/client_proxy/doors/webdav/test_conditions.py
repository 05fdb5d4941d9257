"""The If header and lock tokens, without a cluster."""

from __future__ import annotations

import uuid

import pytest

from client_proxy.doors.webdav.addresses import Address
from client_proxy.doors.webdav.conditions import MAX_RESOURCES, State, has_joined, number_of, read_if, token_of
from lockstep_store.wire.errors import BadRequest

HOST = "proxy:5000"
OWN, OTHER = Address("team", "own", False), Address("team", "other", False)
MINE, THEIRS = token_of(7), token_of(8)
STATES = {OWN: State(frozenset({7}), '"e1"'), OTHER: State(frozenset({8}), '"e2"')}


def _holds(header: str) -> bool:
    return read_if(header, HOST).holds(OWN, lambda address: STATES.get(address, State(frozenset(), "")))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", True),
        (f"(<{MINE}>)", True),
        (f"(<{THEIRS}>)", False),
        (f'(<{MINE}> ["e1"])', True),
        (f'(<{MINE}> ["e2"])', False),
        (f'(<{THEIRS}>) (["e1"])', True),
        ("(Not <DAV:no-lock>)", True),
        ("(<DAV:no-lock>)", False),
        (f"(Not <{MINE}>)", False),
        (f"(<{MINE}x>) (Not <DAV:no-lock>)", True),
        (f"<https://{HOST}/dav/team/other> (<{THEIRS}>)", True),
        (f"</dav/team/other> (<{MINE}>)", False),
        (f'</dav/team/other> (<{MINE}>) (["e2"])', True),
        (f"<https://elsewhere/dav/team/own> (<{MINE}>)", False),
        (f"<https://elsewhere/dav/team/own> (Not <{MINE}>)", True),
        ('</dav/team/missing> (["e1"])', False),
        (f"(<{token_of(7, 99)}>)", True),
    ],
)
def test_what_holds(header: str, expected: bool) -> None:
    assert _holds(header) is expected


@pytest.mark.parametrize(
    "header", ["(", "()", "(<a>", "<a>", "nonsense", "(Not)", "(Not Not <a>)", "(<a>) x", '["e"]', "(" * 9000]
)
def test_another_syntax_is_refused(header: str) -> None:
    with pytest.raises(BadRequest):
        read_if(header, HOST)


def test_a_header_asks_about_a_bounded_number_of_resources() -> None:
    """Each costs calls to the directory, and one small request once made a thousand."""
    many = [f"</dav/team/{number}> (<{MINE}>)" for number in range(MAX_RESOURCES + 1)]
    with pytest.raises(BadRequest, match="send fewer"):
        read_if(" ".join(many), HOST)
    assert read_if(" ".join(many[1:] * 2), HOST).given


@pytest.mark.parametrize("number", [1, 7, 2**62 - 1])
def test_a_token_is_a_uuid_that_names_the_lock(number: int) -> None:
    for share in (0, 1, 2**48 - 1):
        token = token_of(number, share)
        parsed = uuid.UUID(token.removeprefix("opaquelocktoken:"))
        assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
        assert number_of(token) == number_of(token.upper()) == number
        assert has_joined(token) is (share != 0)


@pytest.mark.parametrize(
    "token",
    ["", "DAV:no-lock", "opaquelocktoken:foobar", f"{MINE}x", f"opaquelocktoken:{uuid.UUID(int=5)}", token_of(0)],
)
def test_what_is_no_token_names_no_lock(token: str) -> None:
    assert number_of(token) == 0
