"""Descriptions and tags: what can be one, how changes merge, and that what is stored comes back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.file_facts import (
    MAX_DESCRIPTION,
    changed_tags,
    check_description,
    check_tags,
    description_of,
    stored_description,
    stored_tags,
    tags_of,
)

KEYS = st.text("abcü _.:/=+-@1", min_size=1, max_size=20)
TAGS = st.dictionaries(KEYS, st.text("abcü _.:/=+-@1", max_size=20), max_size=10)


@given(TAGS)
def test_stored_tags_come_back(tags: dict[str, str]) -> None:
    """In their order, in the form that S3's door reads; no tags are no setting."""
    pairs = list(tags.items())
    check_tags(pairs)
    assert tags_of(stored_tags(pairs)) == pairs
    assert (stored_tags(pairs) is None) == (not pairs)


@given(TAGS, st.dictionaries(KEYS, st.none() | st.just("new"), max_size=5))
def test_changes_merge(before: dict[str, str], changes: dict[str, str | None]) -> None:
    """What is named is set or removed, and everything else stays."""
    after = dict(changed_tags(list(before.items()), changes))
    assert after == {key: value for key, value in (before | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("tags", "wrong"),
    [
        ([(f"k{n}", "") for n in range(11)], {}),
        ([("", "v")], {"tag_key": ""}),
        ([("k" * 129, "v")], {"tag_key": "k" * 129}),
        ([("😀" * 65, "v")], {"tag_key": "😀" * 65}),
        ([("a;", "v")], {"tag_key": "a;"}),
        ([("AWS:a", "v")], {"tag_key": "AWS:a"}),
        ([("a", "v" * 257)], {"tag_key": "a", "tag_value": "v" * 257}),
        ([("a", "<")], {"tag_key": "a", "tag_value": "<"}),
        ([("a", "1"), ("a", "2")], {"tag_key": "a"}),
        ([("\ud800", "v")], {"tag_key": "\ud800"}),
    ],
)
def test_what_is_no_tag_is_refused(tags: list[tuple[str, str]], wrong: dict[str, str]) -> None:
    """With what is wrong, so that every door can name it in its own way."""
    with pytest.raises(BadRequest) as refused:
        check_tags(tags)
    assert refused.value.facts == wrong


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=MAX_DESCRIPTION))
def test_a_stored_description_comes_back(text: str) -> None:
    """Without the blanks around it, and short enough for a master's note of the version."""
    kept = check_description(text)
    stored = stored_description(kept)
    assert kept == text.strip() == description_of(stored)
    assert len(stored or "") <= 4096


@pytest.mark.parametrize("text", ["x" * (MAX_DESCRIPTION + 1), "a\0b", "a\x1bb", "a\rb", "\ud800"])
def test_what_is_no_description_is_refused(text: str) -> None:
    """Terminals would obey control characters, and nothing could store half a character."""
    with pytest.raises(BadRequest, match="description"):
        check_description(text)


def test_line_breaks_are_kept() -> None:
    """The longest description whose every character is escaped still fits."""
    text = check_description("first\n\tsecond\n")
    assert text == "first\n\tsecond"
    longest = stored_description('"' * MAX_DESCRIPTION) or ""
    assert len(longest) <= 4096
    assert json.loads(longest) == {"Text": '"' * MAX_DESCRIPTION}
