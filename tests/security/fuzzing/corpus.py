"""The kept corpus: for every target a text file with one input a line, escaped as Python escapes text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests import ROOT

FOLDER = ROOT / "tests" / "security" / "corpus"


def read(target: str) -> list[bytes]:
    """The kept inputs of a target."""
    file = FOLDER / f"{target}.txt"
    lines = file.read_text("ascii").splitlines() if file.exists() else []
    return [line.encode("ascii").decode("unicode_escape").encode("latin-1") for line in lines]


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Replace the kept inputs of a target."""
    (FOLDER / f"{target}.txt").write_text("".join(f"{escaped(one)}\n" for one in sorted(set(inputs))), "ascii")


def escaped(data: bytes) -> str:
    """An input as a line of the corpus."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def unpack(target: str, folder: Path) -> None:
    """Write each kept input to a file of its own, as the fuzzer wants them."""
    folder.mkdir()
    for number, data in enumerate(read(target)):
        (folder / str(number)).write_bytes(data)
