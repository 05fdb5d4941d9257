"""The benchmark's command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as benchmarks


def test_an_unknown_name_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--only` with text that no name contains is refused, with the names to choose from."""
    monkeypatch.setattr(benchmarks, "BenchmarkCluster", None)
    monkeypatch.setattr(benchmarks, "BareServer", None)
    outcome = CliRunner().invoke(benchmarks.main, ["--only", "smal reads"])
    assert outcome.exit_code == 2
    assert "no name contains 'smal reads'" in outcome.output
    assert all(name in " ".join(outcome.output.split()) for name in benchmarks.PARTS)
