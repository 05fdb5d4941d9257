"""Who is invited in Kubernetes: the pods of the release, each as itself, and nobody else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from tests import ROOT
from tests.fakes.kubernetes_api import status

SCRIPT = ROOT / "deploy" / "docker" / "kubernetes_join.py"


@pytest.fixture(scope="module")
def joining() -> ModuleType:
    """The script, which is no part of a package, as a module."""
    spec = importlib.util.spec_from_file_location("kubernetes_join", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Reviews:
    """An API server that gives this status for every token."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def review(self, token: str) -> dict[str, Any]:
        return self._found


def _asked(joining: ModuleType, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any]) -> tuple[str, str, list[str]]:
    """Ask for an invitation with a token of that status; returns the role, id and hosts that are invited."""
    invited: list[tuple[str, str, list[str]]] = []

    def invite(role: str, id: str, hosts: list[str]) -> str:
        invited.append((role, id, hosts))
        return "an invitation"

    monkeypatch.setattr(joining, "_invite", invite)
    invitations = joining.Invitations("store", "files", ["files.example.org"], _Reviews(found))
    assert invitations.token("a token") == "an invitation"
    (one,) = invited
    return one


KNOWN = {"authenticated": True, "audiences": ["lockstep-join"]}


def test_a_pod_is_invited_as_itself(joining: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ordinal is the id; its own name and, for a proxy, people's names are in the certificate."""
    server = {**KNOWN, **status("files:store-file-server", "store-file-server-12")}
    name = "store-file-server-12.store-file-server.files.svc"
    assert _asked(joining, monkeypatch, server) == ("file-server", "12", [name])
    proxy = {**KNOWN, **status("files:store-proxy", "store-proxy-0")}
    hosts = ["store-proxy-0.store-proxy.files.svc", "files.example.org"]
    assert _asked(joining, monkeypatch, proxy) == ("proxy", "0", hosts)


@pytest.mark.parametrize(
    "found",
    [
        {**KNOWN, **status("files:store-proxy", "store-proxy-0"), "authenticated": False},
        {**KNOWN, **status("files:store-proxy", "store-proxy-0"), "audiences": ["https://kubernetes.default.svc"]},
        {"authenticated": True, **status("files:store-proxy", "store-proxy-0")},
        {**KNOWN, **status("other:store-proxy", "store-proxy-0")},
        {**KNOWN, **status("files:default", "store-proxy-0")},
        {**KNOWN, **status("files:store-directory", "store-directory-0")},
        {**KNOWN, **status("files:store-proxy", "store-file-server-0")},
        {**KNOWN, **status("files:store-proxy", "store-proxy-0-debug")},
        {**KNOWN, **status("files:store-proxy", "")},
        KNOWN,
    ],
    ids=[
        "unknown token",
        "token for the API server",
        "no audience",
        "another namespace",
        "another account",
        "the directory",
        "a pod of another role",
        "no ordinal",
        "bound to no pod",
        "nobody",
    ],
)
def test_nobody_else_is_invited(joining: ModuleType, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any]) -> None:
    """Not with a token for something else, nor from a namespace, an account or a pod that is not of the role."""
    with pytest.raises(joining.Refused):
        _asked(joining, monkeypatch, found)


def test_a_wrong_call_is_explained() -> None:
    """With the ways to call it."""
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "join", "directory"], capture_output=True, text=True, check=False, timeout=240
    )
    assert (ended.returncode, ended.stdout) == (
        2,
        "usage: kubernetes_join.py serve | join file-server | join proxy\n",
    )
