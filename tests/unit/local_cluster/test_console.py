"""The build of the console's page: when it is needed, with which Node, and what people learn when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_cluster import console_build
from local_cluster.console import build_in_background, console_folder, is_built, source_digest, write_state
from local_cluster.console_build import Build, BuildFailure, Node, build, is_usable
from local_cluster.plan import ClusterSettings, Folder, plan_programs
from local_cluster.progress import next_step
from tests import ROOT
from tests.waiting import wait_until


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose page is built by a script instead of Node."""
    source = tmp_path / "checkout" / "console"
    (source / "src").mkdir(parents=True)
    (source / "package-lock.json").write_text("{}")
    (source / "src" / "main.ts").write_text("1")
    return source.parent


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    folder.mkdir()
    return folder


def fake_node(folder: Path, script: str) -> Node:
    """A Node that runs `script` for each of npm and vite, in the folder of the copied sources."""
    program = folder / "node"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Node(str(program), (str(program), "npm"), folder)


MAKES_PAGE = (
    '[ "$1" = npm ] && exit; mkdir -p dist/assets; cp src/main.ts dist/index.html; '
    'cp src/main.ts "dist/assets/$(cat src/main.ts).js"'
)


def test_the_page_is_outside_the_sources(monkeypatch: pytest.MonkeyPatch, checkout: Path, tmp_path: Path) -> None:
    """It is in the person's cache folder, one for each checkout; without sources there is no page."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = console_folder(checkout)
    assert folder is not None
    assert folder.is_relative_to(tmp_path / "cache" / "lockstep")
    other = console_folder(ROOT)
    assert other is not None
    assert other != folder
    assert console_folder(tmp_path) is None


def test_proxies_are_told_where_the_page_is(tmp_path: Path) -> None:
    """Only proxies, and only if there is one."""
    folder = Folder(tmp_path / "data", tmp_path / "certs", tmp_path / "page")
    for plan in plan_programs(ClusterSettings(), folder):
        told = " ".join(plan.command)
        assert (f"--console {tmp_path / 'page'}" in told) == (plan.program == "client_proxy")
    without = Folder(tmp_path / "data", tmp_path / "certs")
    assert not any("--console" in plan.command for plan in plan_programs(ClusterSettings(), without))


def test_any_change_of_the_sources_needs_a_build(checkout: Path) -> None:
    """A changed, new or renamed file does; what npm installs and what a build leaves do not."""
    source = checkout / "console"
    seen = {source_digest(source)}
    for path, content in (("src/main.ts", "2"), ("src/new.ts", ""), ("package-lock.json", "{ }")):
        (source / path).write_text(content)
        seen.add(source_digest(source))
    (source / "src" / "new.ts").rename(source / "src" / "newer.ts")
    seen.add(source_digest(source))
    assert len(seen) == 5
    (source / "node_modules").mkdir()
    (source / "node_modules" / "x.js").write_text("")
    assert source_digest(source) in seen


def test_a_build_replaces_the_page_and_then_removes_what_it_no_longer_needs(
    checkout: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new page, its files and their compressed twins are there, the old ones are not, nor is the work folder."""
    monkeypatch.setattr(console_build, "machine_node", lambda: fake_node(tmp_path, MAKES_PAGE))
    build(checkout, target)
    assert (target / "index.html").read_text() == "1"
    (checkout / "console" / "src" / "main.ts").write_text("2")
    assert not is_built(checkout, target)
    build(checkout, target)
    assert is_built(checkout, target)
    assert sorted(path.name for path in (target / "assets").iterdir()) == ["2.js", "2.js.gz"]
    assert (target / "index.html").read_text() == "2"
    assert not (target / "work").exists()
    assert not (target / "build.json").exists()
    assert not (checkout / "console" / "node_modules").exists()


def test_a_page_that_is_up_to_date_is_not_built_again(
    checkout: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second start does nothing."""
    monkeypatch.setattr(console_build, "machine_node", lambda: fake_node(tmp_path, MAKES_PAGE))
    build(checkout, target)
    monkeypatch.setattr(console_build, "machine_node", lambda: fake_node(tmp_path, "exit 1"))
    build(checkout, target)
    assert build_in_background(checkout, target) == ""
    assert is_built(checkout, target)


def test_a_failed_build_says_what_to_do_and_keeps_the_old_page(
    checkout: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the log, the log has the command's own words, and the next start tries again."""
    (target / "index.html").write_text("old")
    monkeypatch.setattr(console_build, "machine_node", lambda: fake_node(tmp_path, "echo no such host; exit 1"))
    build(checkout, target)
    state = json.loads((target / "build.json").read_text())
    assert state["state"] == "failed"
    assert state["detail"].startswith("The page's libraries could not be installed")
    assert str(target / "build.log") in state["detail"]
    assert "no such host" in (target / "build.log").read_text()
    assert (target / "index.html").read_text() == "old"
    assert not is_built(checkout, target)


def test_a_machine_without_node_and_network_says_so(
    checkout: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's package registry is the second way to Node; without both there is no page."""
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(console_build, "machine_node", lambda: None)
    monkeypatch.setattr(sys, "executable", str(pip))
    with pytest.raises(BuildFailure, match=r"no Node 20\.19 or newer, and none could be installed"):
        with (target / "build.log").open("a") as log:
            Build(checkout, target, log).run()


def test_a_tool_that_cannot_be_run_is_a_failure_in_words(checkout: Path, target: Path) -> None:
    """Not an exception that nobody sees."""
    with (target / "build.log").open("a") as log, pytest.raises(BuildFailure, match="it failed"):
        Build(checkout, target, log)._call(None, ("/nowhere/node",), "it failed")


@pytest.mark.parametrize(
    ("version", "usable"),
    [
        *(("v20.19.0\n", True), ("v20.18.9", False), ("v21.7.0", False), ("v22.11.0", False), ("v22.12.0", True)),
        *(("v24.1.0-rc.1", True), ("v18.20.0", False), ("", False), ("node", False)),
    ],
)
def test_which_node_builds_the_page(version: str, usable: bool) -> None:
    """As the build's tools require."""
    assert is_usable(version) == usable


def test_the_build_goes_on_in_the_background(checkout: Path, target: Path, tmp_path: Path) -> None:
    """The start does not wait for it, and a build that cannot begin is a sentence, too."""
    tools = tmp_path / "tools"
    tools.mkdir()
    fake_node(tools, f'[ "$1" = --version ] && echo v24.0.0 && exit; {MAKES_PAGE.replace("npm", "ci")}')
    (tools / "npm").symlink_to(tools / "node")
    command = [sys.executable, "-P", "-m", "local_cluster.console_build", str(checkout), str(target)]
    env = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")
    wait_until(lambda: is_built(checkout, target), what="the page")
    (tmp_path / "file").write_text("")
    assert "could not start" in build_in_background(checkout, tmp_path / "file" / "page")


def test_a_state_is_replaced_as_a_whole(target: Path) -> None:
    """A proxy that reads it meanwhile never finds half of it."""
    write_state(target, "building", "Step 1.")
    write_state(target, "failed", "Why.")
    assert [path.name for path in target.iterdir()] == ["build.json"]
    assert json.loads((target / "build.json").read_text()) == {"state": "failed", "detail": "Why."}


def test_a_start_says_where_the_page_is(tmp_path: Path) -> None:
    """With a remark while it is being built; nothing without a page."""
    folder = Folder(tmp_path, tmp_path / "certs", tmp_path / "page")
    steps = next_step(folder, ROOT, tmp_path, "https://127.0.0.1:5000", "being built")
    assert "Browser:        https://127.0.0.1:5000/  (being built)\n" in steps
    without = next_step(Folder(tmp_path, tmp_path / "certs"), ROOT, tmp_path, "https://127.0.0.1:5000")
    assert "Browser" not in without
