"""The names that uploaded files get, from names that anybody may have chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_proxy.doors.shares.names import received
from lockstep_store.wire.names import check_path


@given(st.text(max_size=400))
def test_an_uploaded_name_is_a_plain_one(given_name: str) -> None:
    """One segment of a path, short enough, and never one that leads elsewhere."""
    name = received(given_name)
    assert check_path(name) == name
    assert not {"/", "\\"} & set(name)
    assert 1 <= len(name.encode()) <= 240


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("plan.txt", "plan.txt"),
        ("C:\\Users\\ann\\plan.txt", "plan.txt"),
        ("a/b/plan.txt", "plan.txt"),
        ("..", "file"),
        ("", "file"),
        ("say %22hi%22.txt", 'say "hi".txt'),
        (".profile", ".profile"),
        ("x" * 300 + ".tar", "x" * 236 + ".tar"),
        ("." + "x" * 300, "." + "x" * 239),
    ],
)
def test_a_browsers_names_are_stored_as_people_see_them(sent: str, stored: str) -> None:
    """The last part, with its ending."""
    assert received(sent) == stored
