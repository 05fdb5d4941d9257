"""`./run_tests.sh bench peers`: what it chooses, what it writes, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks.peers import __main__ as command
from benchmarks.peers.peer import Endpoint, PeerUnavailable
from tests.unit.harness.peers.s3_double import ACCESS_KEY, API_KEY, SECRET_KEY, S3Double


class Double:
    """A peer in this process. `broken` says why it does not start."""

    version = "1"
    note = "keeps everything in memory."

    def __init__(self, name: str, broken: BaseException | None = None, api_key: str = "") -> None:
        self.name = name
        self.home: Path | None = None
        self.stopped = 0
        self._broken, self._api_key = broken, api_key
        self._server: S3Double | None = None

    def start(self) -> Endpoint:
        if self._broken:
            raise self._broken
        self._server = S3Double()
        return Endpoint([self._server.url], Path(), ACCESS_KEY, SECRET_KEY, self._api_key)

    def processes(self) -> dict[str, int]:
        return {"server": os.getpid()}

    def stop(self) -> None:
        self.stopped += 1
        if self._server:
            self._server.close()
            self._server = None


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Runs the command over doubles, with temporary folders below this test's own and no measurement of the machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(command.machine, "limits", lambda *_: {"flushes_per_second": 1.0})
    monkeypatch.setattr(command.shutil, "which", lambda _: None)  # the Python generator starts at once
    everyone: list[Double] = []

    def start(doubles: list[Double], *options: str) -> Result:
        everyone.extend(doubles)

        def maker(double: Double) -> Callable[[Path, Any], Double]:
            def make(home: Path, _: Any) -> Double:
                assert home.is_dir()
                double.home = home
                return double

            return make

        monkeypatch.setattr(command, "PEERS", {double.name: maker(double) for double in doubles})
        return CliRunner().invoke(command.main, [*options, "--out", str(tmp_path / "out")])

    yield start
    assert list((tmp_path / "temporary").iterdir()) == []
    assert all(double.stopped for double in everyone if double.home is not None)


def record(tmp_path: Path) -> Any:
    [file] = (tmp_path / "out").iterdir()
    return json.loads(file.read_text())


def test_a_run_measures_all_and_names_who_is_absent(run: Run, tmp_path: Path) -> None:
    """Cells, costs and ratios of those that run; for one that does not start, a row that says why."""
    doubles = [Double("one", api_key=API_KEY), Double("two"), Double("three", PeerUnavailable("it has no legs"))]
    outcome = run(doubles, "--short", "--cells", "put 4 kib x8,LIST x1,delete,idle,lock")
    assert outcome.exit_code == 0, outcome.output
    assert "three does not take part: it has no legs" in outcome.output
    found = {(cell["cell"], cell["peer"]): cell for cell in record(tmp_path)["cells"]}
    assert found["start", "three"]["failure"] == "does not take part: it has no legs"
    for peer in ("one", "two"):
        for cell in ("PUT 4 KiB x8", "LIST x1", "DELETE 4 KiB x8"):
            result = found[cell, peer]
            assert result["failure"] == ""
            assert result["operations"] > 0
            assert result["rate"] > 0
            assert 0 < result["p50_ms"] <= result["p99_ms"]
            assert result["generator_ms"] > 0
            assert result["processor_ms_by_program"]["server"] == pytest.approx(result["processor_ms"])
        assert found["idle", peer]["resident_mib"] > 0
    assert ("lock acquire + release x8", "one") in found
    assert ("lock acquire + release x8", "two") not in found
    assert record(tmp_path)["limits"] == {"flushes_per_second": 1.0}
    assert record(tmp_path)["settings"]["generator"] == "Python"


def test_a_peer_that_fails_in_a_cell_fails_there_alone(run: Run, tmp_path: Path) -> None:
    """A peer that answers wrongly has a failed row; the other peer and the next cell are measured."""

    class Liar(Double):
        def start(self) -> Endpoint:
            endpoint = super().start()
            assert self._server is not None
            self._server.break_content = True
            return endpoint

    outcome = run([Double("one"), Liar("liar")], "--short", "--cells", "get 4 kib x1,head")
    assert outcome.exit_code == 0, outcome.output
    found = {(cell["cell"], cell["peer"]): cell["failure"] for cell in record(tmp_path)["cells"]}
    assert "wrong content" in found.pop(("GET 4 KiB x1", "liar"))
    assert found == {("GET 4 KiB x1", "one"): "", ("HEAD 4 KiB x8", "one"): "", ("HEAD 4 KiB x8", "liar"): ""}


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), ZeroDivisionError("a defect")])
def test_an_end_in_the_middle_stops_and_removes_everything(run: Run, tmp_path: Path, ending: BaseException) -> None:
    """After Ctrl-C or a defect, those that run are stopped, even the one that was just starting, and folders go."""
    outcome = run([Double("one"), Double("two", ending)], "--short", "--cells", "put 4 kib x8")
    assert outcome.exit_code == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--cells", "put,frobnicate"], "frobnicate"), (["--peers", "nobody"], "nobody"), (["--seconds", "0"], "0")],
)
def test_unknown_names_are_refused_before_anything_starts(run: Run, options: list[str], named: str) -> None:
    """A cell or a peer that does not exist would otherwise be a run that measures nothing."""
    double = Double("one")
    outcome = run([double], *options)
    assert outcome.exit_code == 2
    assert named in outcome.output
    assert double.home is None
