"""The code blocks of the documents, for tests that run what the documents show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is the number of its first line inside `page`; `language` may be empty."""

    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return every fenced block of a page, in order."""
    found: list[Block] = []
    inside: list[str] | None = None
    language, start = "", 0
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if not line.startswith("```"):
            if inside is not None:
                inside.append(line)
        elif inside is None:
            inside, language, start = [], line.removeprefix("```").strip(), number + 1
        else:
            found.append(Block(page, start, language, "\n".join(inside) + "\n"))
            inside = None
    assert inside is None, f"{page.name}: the block at line {start} does not end"
    return found
