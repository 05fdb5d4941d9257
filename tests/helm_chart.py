"""The Helm chart, rendered by helm where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT

CHART = ROOT / "deploy" / "helm" / "lockstep"
HELM = shutil.which("helm", path=f"{os.environ['PATH']}:{Path.home() / 'go' / 'bin'}")
RELEASE, NAMESPACE = "store", "files"
DEV, PRODUCTION = CHART / "values-dev.yaml", CHART / "values-production.yaml"

needs_helm = pytest.mark.skipif(
    HELM is None, reason="helm is not installed (go install helm.sh/helm/v3/cmd/helm@v3.19.0)"
)


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False, timeout=240)


def template(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", "1.35.0", *arguments)


@cache
def rendered(*arguments: str) -> list[dict[str, Any]]:
    """The chart's objects with these further options of `helm template`."""
    ended = template(*arguments)
    assert ended.returncode == 0, ended.stderr
    return [found for found in yaml.safe_load_all(ended.stdout) if found]


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The specification of each StatefulSet's pods, by the role."""
    sets = [one for one in objects if one["kind"] == "StatefulSet"]
    return {one["metadata"]["name"].removeprefix(f"{RELEASE}-"): one["spec"]["template"]["spec"] for one in sets}
