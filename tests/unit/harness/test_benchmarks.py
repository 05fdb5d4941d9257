"""The benchmark's command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as benchmarks


def test_an_unknown_name_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--only` with a name that no figure has says so and names those there are, instead of measuring nothing."""
    monkeypatch.setattr(benchmarks, "BenchmarkCluster", None)
    monkeypatch.setattr(benchmarks, "BareServer", None)
    outcome = CliRunner().invoke(benchmarks.main, ["--only", "smal reads"])
    assert outcome.exit_code == 2
    assert "no figure has 'smal reads' in its name" in outcome.output
    assert all(name in " ".join(outcome.output.split()) for name in benchmarks.PARTS)
