"""The console's sources: they fit the API as the proxy serves it, and their logic does what it should."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from tests import ROOT
from tests.browser.page_sources import npm, sources
from tests.fakes.wsgi import ask
from tests.unit.rest_door import make_door

MAX_LINES = 400
MOST_BYTES = 250_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = sources(tmp_path_factory.mktemp("page"))
    (copied / "openapi.json").write_bytes(ask(make_door().app, "GET", "/api/v1/openapi.json").body)
    npm(copied, "run", "--silent", "types")
    return copied


def test_the_page_fits_the_api(folder: Path) -> None:
    """Every call that the page makes has the types of the served document: neither can change without the other."""
    npm(folder, "run", "--silent", "check")


def test_the_logic_of_the_page(folder: Path) -> None:
    """Listings, uploads, kept locks, addresses and texts, without a browser."""
    assert "passed" in npm(folder, "run", "--silent", "test")


def test_the_first_load_is_small(folder: Path) -> None:
    """What a browser loads before it shows the files is under 250 KB compressed; other pages come when opened."""
    npm(folder, "run", "--silent", "build")
    built = folder / "dist"
    first = set(re.findall(r'(?:src|href)="/console/(assets/[^"]+)"', (built / "index.html").read_text("utf-8")))
    sizes = {name: len(gzip.compress((built / name).read_bytes(), 9)) for name in first}
    assert {Path(name).suffix for name in first} >= {".js", ".css"}
    assert sum(sizes.values()) < MOST_BYTES, sizes
    assert len(list((built / "assets").glob("*.js"))) > len([name for name in first if name.endswith(".js")])


def test_no_source_is_too_long() -> None:
    """A file past 400 lines has more than one job: split it."""
    found = [path for path in (ROOT / "console" / "src").rglob("*.ts*") if path.name != "schema.d.ts"]
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in found}
    assert len(lengths) > 20
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}
