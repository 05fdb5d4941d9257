"""The command that searches: what it asks for, and what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep_store.wire.messages.search import SearchFilters
from tests.unit.client.cli.command_shell import Shell


@pytest.fixture
def ann(shell: Shell, tmp_path: Path) -> Shell:
    shell.login("ann")
    (tmp_path / "note").write_text("hello\n")
    for name in ("plans/roof a", "plans/roof b", "plans/roof c", "other"):
        shell.run("put", "note", name)
    return shell


def test_names_are_printed_with_their_buckets(ann: Shell) -> None:
    """One a line, ready to be given to other commands; with -l their size, time and author."""
    assert ann.run("search", "ROOF").stdout.splitlines() == [f"files/plans/roof {one}" for one in "abc"]
    line = ann.run("search", "-l", "roof", "a").stdout
    assert line.split()[:2] == ["6", "B"]
    assert "ann" in line
    assert line.endswith("files/plans/roof a\n")
    assert "nothing found" in ann.run("search", "nowhere").stderr


def test_pages_are_followed_up_to_the_limit(ann: Shell) -> None:
    """Without words for it, nobody is told that all was shown."""
    result = ann.run("search", "roof", "--limit", "2")
    assert len(result.stdout.splitlines()) == 2
    assert "there are more" in result.stderr
    assert "there are more" not in ann.run("search", "roof", "--limit", "3").stderr
    found = ann.json("search", "roof", "--limit", "1")
    assert ([hit["file"]["path"] for hit in found["hits"]], found["more"], found["complete"]) == (
        ["plans/roof a"],
        True,
        True,
    )
    ann.server.core.index_is_complete = False
    assert "still being filled" in ann.run("search", "roof").stderr


def test_every_option_is_sent(ann: Shell) -> None:
    """Sizes have units, dates are in UTC, and words are one text."""
    options = "--bucket files --prefix plans/ --type image --author ben --tag a=b --min-size 1KiB --max-size 2KiB"
    times = "--since 1970-01-02 --until 1970-01-03T00:00:00+01:00"
    ann.run("search", "two", "words", *options.split(), *times.split(), "--description", "of roof")
    sent = ann.server.core.searches[-1]
    assert (sent.text, sent.bucket, sent.prefix) == ("two words", "files", "plans/")
    assert sent.filters == SearchFilters("image", "ben", "a=b", 1024, 2048, 86400.0, 2 * 86400.0 - 3600.0, "of roof")


def test_wrong_values_are_refused_in_words(ann: Shell) -> None:
    assert "not a size" in ann.run("search", "x", "--min-size", "many", code=2).stderr
    assert "must be a date such as 2026-03-01" in ann.run("search", "x", "--since", "yesterday", code=2).stderr


def test_the_python_client_yields_every_hit(ann: Shell) -> None:
    from tests.unit.people import client

    with client(ann.server) as api:
        assert [hit.file.path[-1] for hit in api.search("roof")] == ["a", "b", "c"]
        assert [hit.file.path for hit in api.search("o", bucket="files", prefix="oth")] == ["other"]
        page = api.search_page("roof", limit=2)
        assert api.search_page("roof", limit=2, cursor=page.next_after or "").hits[0].file.path == "plans/roof c"
