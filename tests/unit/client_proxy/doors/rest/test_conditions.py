"""Conditional and range requests, apart from any route."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep_store.runtime.http.conditions import (
    not_modified,
    parse_range,
    parse_tags,
    wanted_part,
    wanted_range,
    write_preconditions,
)
from lockstep_store.wire.errors import BadRequest, LockstepError, PreconditionFailed, RangeNotSatisfiable
from lockstep_store.wire.messages.files import NO_PRECONDITIONS

TAG = "ab" * 32
AT = 1_700_000_000.6
WHEN = formatdate(int(AT), usegmt=True)
EARLIER, LATER = formatdate(int(AT) - 1, usegmt=True), formatdate(int(AT) + 1, usegmt=True)

sizes = st.integers(0, 300)
positions = st.integers(0, 400)


@given(size=sizes, first=positions, last=st.none() | positions)
def test_a_range_is_what_slicing_gives(size: int, first: int, last: int | None) -> None:
    """`bytes=a-b` and `bytes=a-` select exactly the slice, are ignored when inverted, and 416 past the end."""
    content = bytes(number % 256 for number in range(size))
    header = f"bytes={first}-{'' if last is None else last}"
    if last is not None and last < first:
        assert parse_range(header, size) is None
    elif first >= size:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, size)
    else:
        found = parse_range(header, size)
        assert found is not None
        start, stop = found
        assert 0 <= start < stop <= size
        assert content[start:stop] == content[first : None if last is None else last + 1]


@given(size=sizes, count=positions)
def test_a_suffix_is_what_slicing_gives(size: int, count: int) -> None:
    """`bytes=-n` selects the last n bytes, or the whole file when it is shorter."""
    content = bytes(number % 256 for number in range(size))
    if count == 0:
        with pytest.raises(RangeNotSatisfiable):
            parse_range("bytes=-0", size)
        return
    found = parse_range(f"bytes=-{count}", size)
    if size == 0:
        assert found is None
    else:
        assert found is not None
        assert content[found[0] : found[1]] == content[-count:]


@given(header=st.text(max_size=40) | st.from_regex(r"bytes=[0-9,\- ]{0,20}", fullmatch=True), size=sizes)
def test_any_text_is_a_range_within_the_file_or_none(header: str, size: int) -> None:
    """Whatever is sent as Range gives bytes inside the file, or the whole file, or 416; never anything else."""
    try:
        found = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize(
    "header", ["bytes=-", "bytes=", "bytes=a-b", "bytes=1-2,4-5", "items=0-1", "bytes=" + "9" * 40]
)
def test_what_is_not_one_range_is_ignored(header: str) -> None:
    """Malformed and multiple ranges are answered with the whole file, as RFC 9110 allows."""
    assert parse_range(header, 10) is None


@given(header=st.text(max_size=60))
def test_any_text_as_tags_is_read_or_refused(header: str) -> None:
    """A tag list is parsed or refused as BadRequest, in bounded time, whatever it contains."""
    try:
        tags = parse_tags(header, "If-Match")
    except BadRequest:
        return
    assert tags is None or 1 <= len(tags) <= 100


@given(st.lists(st.tuples(st.text(alphabet="0123456789abcdef", max_size=8), st.booleans()), min_size=1, max_size=100))
def test_a_written_list_of_tags_reads_back(written: list[tuple[str, bool]]) -> None:
    """Tags in quotes, weak or not, come back in order."""
    header = ", ".join(f'{"W/" if weak else ""}"{text}"' for text, weak in written)
    tags = parse_tags(header, "If-Match")
    assert tags is not None
    assert [(tag.text, tag.weak) for tag in tags] == written


def test_a_star_is_any() -> None:
    """`*` is not a tag."""
    assert parse_tags(" * ", "If-Match") is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"IF_NONE_MATCH": f'"{TAG}"'}, True),
        ({"IF_NONE_MATCH": f'W/"{TAG}"'}, True),
        ({"IF_NONE_MATCH": f'"x", "{TAG}"'}, True),
        ({"IF_NONE_MATCH": "*"}, True),
        ({"IF_NONE_MATCH": '"x"'}, False),
        ({"IF_NONE_MATCH": '"x"', "IF_MODIFIED_SINCE": LATER}, False),
        ({"IF_MODIFIED_SINCE": WHEN}, True),
        ({"IF_MODIFIED_SINCE": EARLIER}, False),
        ({"IF_MODIFIED_SINCE": "yesterday"}, False),
        ({"IF_MATCH": f'"{TAG}"'}, False),
        ({"IF_MATCH": TAG}, False),
        ({"IF_MATCH": "*"}, False),
        ({"IF_MATCH": f'"{TAG}"', "IF_NONE_MATCH": f'"{TAG}"'}, True),
        ({"IF_MATCH": f'"{TAG}"', "IF_UNMODIFIED_SINCE": EARLIER}, False),
        ({"IF_UNMODIFIED_SINCE": WHEN}, False),
        ({"IF_UNMODIFIED_SINCE": "never"}, False),
        ({"IF_MATCH": '"x"'}, PreconditionFailed),
        ({"IF_MATCH": f'W/"{TAG}"'}, PreconditionFailed),
        ({"IF_UNMODIFIED_SINCE": EARLIER}, PreconditionFailed),
    ],
)
def test_read_conditions(headers: dict[str, str], expected: bool | type[LockstepError]) -> None:
    """Each condition, and their order, as in RFC 9110 section 13.2.2."""
    environ = {f"HTTP_{name}": value for name, value in headers.items()}
    if isinstance(expected, bool):
        assert not_modified(environ, TAG, AT) is expected
    else:
        with pytest.raises(expected):
            not_modified(environ, TAG, AT)


@pytest.mark.parametrize(
    ("if_range", "holds"),
    [
        (None, True),
        (f'"{TAG}"', True),
        ('"x"', False),
        (f'W/"{TAG}"', False),
        (WHEN, True),
        (EARLIER, False),
        (LATER, False),
        ("junk", False),
    ],
)
def test_if_range(if_range: str | None, holds: bool) -> None:
    """A range counts only while its If-Range names the version that is read."""
    environ = {"HTTP_RANGE": "bytes=1-"} | ({} if if_range is None else {"HTTP_IF_RANGE": if_range})
    assert wanted_range(environ, TAG, AT, 10) == ((1, 10) if holds else None)


def test_a_reply_says_which_part_of_the_file_it_has() -> None:
    length = "Content-Length"
    assert wanted_part({}, TAG, AT, 10) == (200, 0, 10, [(length, "10")])
    some = [(length, "3"), ("Content-Range", "bytes 2-4/10")]
    assert wanted_part({"HTTP_RANGE": "bytes=2-4"}, TAG, AT, 10) == (206, 2, 5, some)


def test_write_preconditions_reach_the_directory_as_digests() -> None:
    """Tags become digests, `*` stays `*`, and a weak tag under If-Match can never equal a digest."""
    assert write_preconditions({}) is NO_PRECONDITIONS
    found = write_preconditions({"HTTP_IF_MATCH": f'"{TAG}", W/"{TAG}"', "HTTP_IF_NONE_MATCH": f'W/"{TAG}"'})
    assert found.if_match == [TAG, f"W/{TAG}"]
    assert found.if_none_match == [TAG]
    assert write_preconditions({"HTTP_IF_NONE_MATCH": "*"}).if_none_match == ["*"]
