"""Crash points: declared once, placed once, nothing when off, sudden death when armed."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from lockstep_store.wire import crash_points
from lockstep_store.wire.crash_points import CRASH_POINTS, ENVIRONMENT, armed_by
from tests import ROOT

PROGRAMS = {"directory": "directory_server", "file_server": "file_server", "proxy": "client_proxy"}


def _placed() -> Counter[tuple[str, str]]:
    """(package, name) of every call of `crash_point` in the programs, with how often it stands there."""
    found: Counter[tuple[str, str]] = Counter()
    for package in ("lockstep_store", *PROGRAMS.values()):
        for source in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(source.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_point":
                    (name,) = node.args
                    assert isinstance(name, ast.Constant), f"{source}: a crash point's name is written out"
                    found[package, str(name.value)] += 1
    return found


def test_every_crash_point_stands_once_in_the_program_it_is_named_after() -> None:
    """Each declared point is placed exactly once, in its own program, none is placed undeclared, and they are many."""
    wanted = Counter((PROGRAMS[name.split(".")[0]], name) for name in CRASH_POINTS)
    assert _placed() == wanted
    assert len(CRASH_POINTS) >= 40


def test_crash_points_do_nothing_when_off() -> None:
    """Without the variable the function at every point is one that does nothing and looks at nothing."""
    off = armed_by("")
    assert off.__code__.co_names == ()
    assert off("directory.commit.done") is None
    if not os.environ.get(ENVIRONMENT):
        assert crash_points.crash_point is off


@pytest.mark.parametrize("setting", ["no.such.point", "directory.commit.done:0", "directory.commit.done:x", ":3"])
def test_an_unknown_point_is_refused_at_the_start(setting: str) -> None:
    """A misspelt point ends the program with a sentence instead of a test that waits for ever."""
    with pytest.raises(ValueError, match="of a known crash point"):
        armed_by(setting)
    assert _run(setting, passings=0).returncode == 1


@pytest.mark.parametrize("passings", [2, 3])
def test_the_program_dies_at_the_chosen_passing_and_flushes_nothing(passings: int) -> None:
    """`name:3` lets two passings by and ends the program by SIGKILL in the third; other points do not count."""
    ended = _run("directory.commit.done:3", passings)
    if passings < 3:
        assert (ended.returncode, ended.stdout) == (0, b"buffered and the exit handler")
    else:
        assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, b"")


def _run(setting: str, passings: int) -> subprocess.CompletedProcess[bytes]:
    program = (
        "import atexit, sys; from lockstep_store.wire.crash_points import crash_point\n"
        "sys.stdout.write('buffered'); atexit.register(lambda: sys.stdout.write(' and the exit handler'))\n"
        f"for _ in range({passings}): crash_point('directory.commit.asked'); crash_point('directory.commit.done')\n"
    )
    environment = {**os.environ, ENVIRONMENT: setting}
    return subprocess.run(
        [sys.executable, "-E", "-c", program], env=environment, cwd=ROOT, capture_output=True, timeout=240, check=False
    )
