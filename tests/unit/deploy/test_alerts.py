"""The alert rules are valid, fire when they should, and say what to do."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is not installed")
@pytest.mark.parametrize("command", [("check", "alerts.yml"), ("test", "alerts_test.yml")], ids=lambda words: words[0])
def test_promtool_accepts_the_rules_and_their_tests(command: tuple[str, str]) -> None:
    """Each rule parses, and each series in the tests gives exactly the expected alerts."""
    assert PROMTOOL is not None
    words = [PROMTOOL, command[0], "rules", str(FOLDER / command[1])]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_has_a_runbook_line_and_a_test() -> None:
    """Someone who is woken reads what to do first; a rule that was never seen to fire may never fire."""
    rules, tests = (FOLDER / "alerts.yml").read_text(), (FOLDER / "alerts_test.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert len(alerts) > 10
    assert len(re.findall(r"^ +runbook: '.+'$", rules, re.MULTILINE)) == len(alerts)
    fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n +- exp_labels", tests))
    assert fired == set(alerts)
