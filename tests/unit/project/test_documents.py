"""The documents name everything that a user or operator can set, call or watch.

What exists is asked of the programs themselves (their help, their declared calls, their registered metrics), never
of a list kept here, so nothing new can be forgotten.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from client_proxy.doors.rest import create_app
from lockstep_store.wire.codec import Call
from tests import ROOT

PROGRAMS = ("directory_server", "file_server", "client_proxy")
PACKAGES = ("lockstep_store", *PROGRAMS, "local_cluster")
SETTING = re.compile(r"(?<![A-Z0-9_])LOCKSTEP(?:_[A-Z0-9]+)+(?![A-Z0-9_])")
PLACEHOLDER = re.compile(r"\{[^{}]*\}|<[^<>]*>")
RULES = ("/health", "/metrics")


@pytest.fixture(scope="module")
def documents() -> str:
    """All pages of docs/, with every placeholder in an address written as `{}`."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return "\n".join(page.read_text("utf-8") for page in pages)


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))
    yield from sorted([*ROOT.glob("*.sh"), *(ROOT / "local_cluster").glob("*.sh")])


def _missing(names: Iterable[str], documents: str) -> list[str]:
    """Those of `names` that no page has as a whole word or whole address."""
    return [name for name in sorted(set(names)) if not _has(name, documents)]


def _has(name: str, documents: str) -> bool:
    return re.search(rf"(?<![\w/]){re.escape(name)}(?![\w{{-]|/[\w{{])", documents) is not None


def _settings_in_help(program: str) -> set[str]:
    """The variables that `python -m program --help` shows."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", program, "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "400"},
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, f"python -m {program} --help failed:\n{ended.stderr}"
    return set(SETTING.findall(ended.stdout))


@pytest.mark.parametrize("program", [*PROGRAMS, "local_cluster"])
def test_every_setting_in_a_programs_help_is_in_the_documents(program: str, documents: str) -> None:
    """Each LOCKSTEP_ variable that a program's help names is explained in docs/."""
    settings = _settings_in_help(program)
    assert settings, f"the help of {program} names no LOCKSTEP_ variable"
    missing = _missing(settings, documents)
    assert not missing, f"docs/ does not name these settings of {program}: {', '.join(missing)}"


def test_every_setting_in_the_code_is_in_the_documents(documents: str) -> None:
    """Each LOCKSTEP_ variable that is spelled out anywhere in the code is explained in docs/."""
    code = "\n".join(source.read_text("utf-8") for source in _sources())
    prefixes = set(re.findall(r"auto_envvar_prefix\W+(\w+)", code))
    missing = _missing(set(SETTING.findall(code)) - prefixes, documents)
    assert not missing, f"docs/ does not name these settings: {', '.join(missing)}"


def test_every_call_between_programs_is_in_the_documents(documents: str) -> None:
    """Each call and stream address that two programs agreed on in wire/ is named in docs/."""
    addresses: set[str] = set(RULES)
    for module in _modules("lockstep_store.wire"):
        for name, value in vars(module).items():
            if isinstance(value, Call):
                addresses.add(value.path)
            elif name.endswith("_PATH") and isinstance(value, str) and value.startswith("/"):
                addresses.add(value.rstrip("/"))
    assert len(addresses) > 10, "the calls were not found"
    missing = [address for address in sorted(addresses) if address not in documents]
    assert not missing, f"docs/ does not name these calls: {', '.join(missing)}"


def test_every_address_of_the_https_api_is_in_the_documents(documents: str) -> None:
    """Each address that the proxy answers is named in docs/; what its placeholders are called does not matter."""
    untouched: Any = None  # the routes only keep what they will call
    app = create_app(untouched, untouched, program_id="1", version="0", health=untouched)
    addresses = {operation.address for operation in app.extensions["lockstep"].operations}
    assert len(addresses) > 10, "the operations were not found"
    plain = PLACEHOLDER.sub("{}", documents)
    missing = [address for address in sorted(addresses) if not _has(PLACEHOLDER.sub("{}", address), plain)]
    assert not missing, f"docs/ does not name these addresses: {', '.join(missing)}"


def test_every_metric_is_in_the_documents(documents: str) -> None:
    """Each metric that a program can show at /metrics is named in docs/, under the name that it shows."""
    for package in PACKAGES:
        list(_modules(package))
    shown = set()
    for metric in REGISTRY.collect():
        if metric.name.startswith("lockstep_"):
            shown.add(metric.name + ("_total" if metric.type == "counter" else ""))
    assert len(shown) > 10, "the metrics were not found"
    missing = _missing(shown, documents)
    assert not missing, f"docs/ does not name these metrics: {', '.join(missing)}"


def _modules(package: str) -> Iterator[object]:
    """Every module of a package, imported, except those that run something when imported."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(root.__path__, f"{package}."):
        if found.name.endswith(".__main__") or ".migrations" in found.name or found.name.endswith(".environment"):
            continue
        yield importlib.import_module(found.name)


def test_every_file_that_the_documents_name_exists() -> None:
    """A promise in docs/ names the test that holds it; that test, and every other file named, is there."""
    pages = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "ARCHITECTURE.md"]
    named = {
        (page.name, name)
        for page in pages
        for name in re.findall(
            r"\b(?:tests|lockstep_store|directory_server|file_server|client_proxy)/[\w/]+\.py\b", page.read_text()
        )
    }
    assert len(named) > 20
    missing = sorted(f"{page}: {name}" for page, name in named if not (ROOT / name).is_file())
    assert not missing, missing
