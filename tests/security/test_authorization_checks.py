"""Every authorization check of the programs is there for a test: without it, that test fails.

`tests/security/mutation` finds the checks by the names in `checks.py` and takes away one at a time. `killers.txt` has
the test that failed then; the everyday form repeats a few by the run's seed, the long form (`--soak`) goes through all.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.security.mutation import checks
from tests.security.mutation.__main__ import read_killers
from tests.security.mutation.instrument import Check, all_checks, build

EVERYDAY_CHECKS = 2
EVERYDAY_SECONDS, SOAK_SECONDS = 300, 4 * 3600


@pytest.fixture(scope="module")
def found() -> list[Check]:
    return all_checks()


def run(folder: Path, seconds: int, *options: str) -> str:
    """Run the tool; return what it said."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.security.mutation", *options],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-6000:]
    return ended.stdout


def test_every_listed_name_is_a_check(found: list[Check]) -> None:
    """A name that the programs no longer have must leave the list, or be replaced by what it is called now."""
    listed = {*checks.CALLS, *checks.ROLES, *checks.ERRORS, *checks.ERROR_MAKERS, *checks.CODES, *checks.ATTRIBUTES}
    assert {*listed, checks.OWNER} - {check.name for check in found} == set()


def test_every_exception_is_of_a_check(found: list[Check]) -> None:
    """What is listed as no check, or as one that no test can miss, is still in the sources."""
    ids = {check.id for check in found}
    assert set(checks.SURVIVORS) <= ids
    assert not ids & set(checks.NO_CHECKS)
    assert not set(checks.SURVIVORS) & set(read_killers())


def test_the_stored_tests_have_the_names_of_today(request: pytest.FixtureRequest) -> None:
    """Of those that this run collects: a test that lost or changed its parameters is another one to pytest."""
    collected = {item.nodeid for item in request.session.items}
    functions = {test.partition("[")[0] for test in collected}
    stored = set(read_killers().values())
    assert {test for test in stored if test.partition("[")[0] in functions} <= collected


def test_every_kind_of_check_is_found() -> None:
    """In a source with one of each, and nothing else."""
    source = """
def ask(api, place, person, request):
    place.demand("s3:GetObject")
    api.serve(LOOKUP, ask, PROXY)
    if not person.admin and request.owner != person.account:
        raise Forbidden("no")
    found = person.admin
    raise NotFound("gone")
"""
    tree, found = build(source, "module", "file")
    names = ("demand", "serve LOOKUP", "admin", "owner", "Forbidden")
    assert {check.id for check in found} == {f"module:ask:{name}" for name in names}
    assert ast.unparse(tree).count("__lockstep_checks__") == len(found)


def test_a_check_that_is_taken_away_is_missed(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """By the test that is known for it."""
    seed = str(request.config.option.seed)
    said = run(tmp_path, EVERYDAY_SECONDS, "--sample", str(EVERYDAY_CHECKS), "--seed", seed)
    assert said.count("killed by") == EVERYDAY_CHECKS
    print(said)


@pytest.mark.soak
def test_every_check_that_is_taken_away_is_missed(tmp_path: Path) -> None:
    """All of them, by whatever test meets their refusals."""
    said = run(tmp_path, SOAK_SECONDS)
    print(said.splitlines()[-1])
