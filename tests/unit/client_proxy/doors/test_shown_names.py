"""Names that a browser or a zip program gets, from names that anybody may have chosen."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_proxy.doors.shown_names import attachment, beside, in_archive, last_part, visible

_HEADER = re.compile(r"attachment; filename=\"([ !#-\[\]-~]*)\"; filename\*=UTF-8''([A-Za-z0-9%._~-]+)")


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=300))
def test_no_name_ends_a_headers_value(name: str) -> None:
    """The header is one attachment with one name, in ASCII, whatever the name is."""
    found = _HEADER.fullmatch(attachment(name))
    assert found is not None
    assert unquote(found[2]) == (visible(name) or "file")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("plan.txt", "plan.txt"), ("gpj.\u202eexe", "gpj.exe"), ("a\r\nb", "ab"), ("a\u200bb", "ab"), ("文 é", "文 é")],
)
def test_what_controls_a_text_is_not_shown(name: str, shown: str) -> None:
    """Line ends, marks of direction and invisible letters go; letters of every script stay."""
    assert visible(name) == shown


@given(st.text(max_size=200))
def test_an_entry_unpacks_below_its_folder(name: str) -> None:
    """On every system: no drive, no root, no step up, no empty part."""
    parts = in_archive(name).split("/")
    assert all(part.strip(". ") or part == "file" for part in parts)
    assert not set('\\:*?"<>|') & set("".join(parts))


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("con", "con_"),
        ("in/AUX.txt", "in/AUX_.txt"),
        ("com1.tar.gz", "com1_.tar.gz"),
        ("console.log", "console.log"),
        ("a.con", "a.con"),
    ],
)
def test_an_entry_has_no_name_of_a_device(name: str, entry: str) -> None:
    """Windows cannot make such files, whatever their ending."""
    assert in_archive(name) == entry


def test_another_name_keeps_the_ending() -> None:
    """So that the file opens with the same program."""
    assert beside("in/plan.v2.txt", "3f") == "in/plan.v2 (3f).txt"
    assert beside("plan", "3f") == "plan (3f)"
    assert last_part("in/deep/") == "deep"
    assert last_part("plan.txt") == "plan.txt"
    assert last_part("") == ""
