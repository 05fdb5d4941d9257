"""Options that several programs share."""

from __future__ import annotations

import click
import pytest

from lockstep_store.runtime.options import Size


@pytest.mark.parametrize(("text", "size"), [("7", 7), ("10MiB", 10 * 1024**2), ("2 kB", 2000), (4096, 4096)])
def test_a_size_is_a_number_of_bytes(text: object, size: int) -> None:
    """With or without a unit."""
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "big", "-1", "1.5MiB", "3 parsecs"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """With how to write one."""
    with pytest.raises(click.BadParameter, match="not a size: give a number of bytes"):
        Size().convert(text, None, None)


def test_a_size_may_have_a_bound() -> None:
    """Which the refusal names."""
    assert Size(1024).convert("1KiB", None, None) == 1024
    with pytest.raises(click.BadParameter, match="at least 1024 bytes"):
        Size(1024).convert("1kB", None, None)
