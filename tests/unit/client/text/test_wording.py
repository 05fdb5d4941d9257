"""Words for people: sizes, times and tables."""

from __future__ import annotations

import pytest

from lockstep_store.client.text import formatting


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10 * 1024, "10 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (1024**3, "1.0 GiB"),
        (5 * 1024**5, "5.0 PiB"),
        (5000 * 1024**5, "5000 PiB"),
    ],
)
def test_sizes_are_short(count: int, text: str) -> None:
    """A size is given in the unit that leaves a readable number."""
    assert formatting.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (7260, "2 h 1 min"),
        (90000, "1 day"),
    ],
)
def test_times_are_short(seconds: float, text: str) -> None:
    """A duration has two units at most and is never negative."""
    assert formatting.duration(seconds) == text


def test_tables_fit_their_width_and_obey_no_control_characters() -> None:
    """The widest column gives way, folder and ending stay visible, and nothing a terminal obeys gets through."""
    rows = [("folder/" + "x" * 200 + ".txt", "1 B"), ("evil\x1b[2J\u202egpj.exe", "22 B")]
    text = formatting.table(("name", "size"), rows, right="size", width=60)
    lines = text.splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert lines[1].startswith("folder/")
    assert ".txt" in lines[1]
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert lines[1].endswith(" 1 B")
    assert lines[2].endswith("22 B")
