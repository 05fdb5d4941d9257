"""The console's page: what a browser gets before, during and after its build, and with which policy."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from client_proxy.doors.console import ConsoleDoor
from client_proxy.doors.console.door import PAGE_POLICY, WORKER_POLICY
from tests.fakes.wsgi import ask

PAGE, SCRIPT = b"<!doctype html><title>Lockstep</title>", b"console.log(1)"


@pytest.fixture
def built(tmp_path: Path) -> ConsoleDoor:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_bytes(PAGE)
    (tmp_path / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "index-abc.js.gz").write_bytes(gzip.compress(SCRIPT))
    (tmp_path / "secret.js").write_bytes(b"secret")
    return ConsoleDoor(tmp_path)


@pytest.mark.parametrize("path", ["/", "/console"])
def test_the_root_leads_to_the_page(built: ConsoleDoor, path: str) -> None:
    """No cache may keep the redirection, because programs get something else at the root."""
    answer = ask(built, "GET", path)
    assert (answer.status, answer.headers["Location"]) == (302, "/console/")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/console/", "/console/locks", "/console/files/a-bucket/b%20c/d"])
def test_every_place_in_the_console_is_the_same_page(built: ConsoleDoor, path: str) -> None:
    """A reload, or a link from somebody else, opens the place that the address names."""
    answer = ask(built, "GET", path)
    assert (answer.status, answer.body) == (200, PAGE)
    assert answer.headers["Cache-Control"] == "no-cache"


def test_the_policy_has_no_exception(built: ConsoleDoor) -> None:
    """No inline script or style, nothing of other sites, no frame around the page."""
    headers = ask(built, "GET", "/console/").headers
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY
    assert "data:" not in PAGE_POLICY
    for name, value in (("default-src", "'none'"), ("script-src", "'self'"), ("frame-ancestors", "'none'")):
        assert f"{name} {value}" in PAGE_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_only_the_worker_may_compile_webassembly(built: ConsoleDoor, tmp_path: Path) -> None:
    """A worker has the policy of its own script. Neither policy allows code from text or from elsewhere."""
    (tmp_path / "assets" / "worker-abc.js").write_bytes(SCRIPT)
    policies = {
        path: ask(built, "GET", f"/console/{path}").headers["Content-Security-Policy"]
        for path in ("", "assets/index-abc.js", "assets/worker-abc.js", "assets/worker-none.js")
    }
    assert policies.pop("assets/worker-abc.js") == WORKER_POLICY
    assert set(policies.values()) == {PAGE_POLICY}
    assert "'unsafe" not in WORKER_POLICY
    assert WORKER_POLICY.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';")


def test_files_are_compressed_for_browsers_that_can_read_it(built: ConsoleDoor) -> None:
    """The build's file names change with their content, so browsers keep them for good."""
    plain = ask(built, "GET", "/console/assets/index-abc.js")
    packed = ask(built, "GET", "/console/assets/index-abc.js", headers={"Accept-Encoding": "br, gzip"})
    assert (plain.body, gzip.decompress(packed.body)) == (SCRIPT, SCRIPT)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Content-Type"] == packed.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "immutable" in plain.headers["Cache-Control"]
    assert ask(built, "HEAD", "/console/assets/index-abc.js").body == b""


@pytest.mark.parametrize(
    "name",
    ["../secret.js", "..%2fsecret.js", "none.js", "index-abc.js.gz", "", ".js", "a/b.js", "x%00.js", "index.php"],
)
def test_only_the_builds_own_files_are_served(built: ConsoleDoor, name: str) -> None:
    """No name leads out of the folder, and no other kind of file is served."""
    answer = ask(built, "GET", f"/console/assets/{name}")
    assert answer.status == 404
    assert b"secret" not in answer.body


def test_the_page_can_only_be_read(built: ConsoleDoor) -> None:
    """Another method is refused, and the refusal names what is allowed."""
    answer = ask(built, "POST", "/console/", b"x" * 100)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_a_page_that_is_being_built_says_so_and_opens_by_itself(tmp_path: Path) -> None:
    """The browser asks again every two seconds until the page is there."""
    (tmp_path / "build.json").write_text(json.dumps({"state": "building", "detail": "Step 1 of 2."}))
    door = ConsoleDoor(tmp_path)
    answer = ask(door, "GET", "/console/")
    assert (answer.status, answer.headers["Refresh"]) == (503, "2")
    assert b"The console is being built" in answer.body
    assert b"Step 1 of 2." in answer.body
    assert answer.headers["Content-Security-Policy"] == PAGE_POLICY
    (tmp_path / "index.html").write_bytes(PAGE)
    assert ask(door, "GET", "/console/").body == PAGE


def test_a_failed_build_says_why(tmp_path: Path) -> None:
    """Nothing in the sentence is taken for markup, and the browser does not ask again and again."""
    (tmp_path / "build.json").write_text(json.dumps({"state": "failed", "detail": "No Node & no <network>."}))
    answer = ask(ConsoleDoor(tmp_path), "GET", "/console/", headers={"Accept-Language": "de-DE,de;q=0.9"})
    assert b"No Node &amp; no &lt;network&gt;." in answer.body
    assert b"konnte nicht gebaut werden" in answer.body
    assert "Refresh" not in answer.headers


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"state": "else"}'])
def test_a_folder_without_a_build_says_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    """Also one whose state cannot be read."""
    if content is not None:
        (tmp_path / "build.json").write_bytes(content)
    answer = ask(ConsoleDoor(tmp_path), "GET", "/console/")
    assert answer.status == 503
    assert b"run_cluster.sh" in answer.body
