"""The commands that the README and docs/http-api.md show do what is shown, in the order of the pages.

Blocks marked `sh` must succeed. In blocks marked `console` each line after `$ ` is a command and what follows is its
output, compared with times, numbers, digests and widths of columns left out; `…` stands for any lines.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.pages import Block, blocks

PAGES = (ROOT / "README.md", ROOT / "docs" / "http-api.md")
RUN = ("sh", "console", "python")
ANSWERS = {
    "lockstep login": "correct horse\n",
    "./run_cluster.sh --menu": "ada\ncorrect horse\n1\n10\n",
}
"""What the person types."""
OPTIONAL = ("Password:", "HTTP/1.1 100 Continue")
"""Lines that are printed on a terminal only, or by some versions of curl only."""
MARK = "=== command "


def test_the_commands_of_the_readme_do_what_it_shows(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """A newcomer who types what the README and the API's page show sees what they show."""
    folder = _checkout(make_cluster(start_now=False), tmp_path)
    commands = [command for page in PAGES for block in blocks(page) for command in _commands(block)]
    assert len(commands) > 12
    outputs = _run([command for command, _ in commands], folder)
    for (command, shown), output in zip(commands, outputs, strict=True):
        if shown is not None:
            assert re.fullmatch(_pattern(shown), _plain(output)), f"$ {command}\n{output}\nbut the page shows\n{shown}"


def _checkout(cluster: ClusterHarness, folder: Path) -> Path:
    """A folder that looks like a fresh clone; its cluster has ports of its own and is stopped with the harness."""
    program = [sys.executable, "-P", "-m", "local_cluster", *cluster.arguments]
    script = folder / "run_cluster.sh"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n')
    script.chmod(0o755)
    (folder / ".cluster").symlink_to(cluster.data)
    (folder / "certs").symlink_to(cluster.folder.certs_dir)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".base-port").write_text(str(cluster.ports.base))
    return folder


def _commands(block: Block) -> list[tuple[str, str | None]]:
    """The commands of a block, each with the output that the page shows for it (None: none is shown)."""
    if block.language == "python":
        return [(f"python - <<'END'\n{block.text}END", None)]
    if block.language == "sh":
        return [(line, None) for line in block.text.splitlines()]
    if block.language != "console":
        return []
    found = []
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        found.append((command, output))
    return found


def _run(commands: list[str], folder: Path) -> list[str]:
    """What each command printed; all run in one shell that ends at the first failure."""
    base = int((folder / ".base-port").read_text())
    lines = ["set -e"]
    for number, command in enumerate(commands):
        own = re.sub(r"127\.0\.0\.1:50(\d\d)", lambda port: f"127.0.0.1:{base + int(port[1])}", command)
        typed = next((answer for start, answer in ANSWERS.items() if command.startswith(start)), None)
        own += f" <<< {shlex.quote(typed)}" if typed is not None else ""
        lines += [f"echo; echo '{MARK}{number}'", own]
    file = folder / "commands.sh"
    file.write_text("\n".join(lines) + "\n")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
    }
    ended = subprocess.run(
        ["bash", str(file)], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return re.split(rf"^{MARK}\d+\n", ended.stdout, flags=re.MULTILINE)[1:]


def _plain(text: str) -> str:
    """The text without what differs between two runs: times, numbers, digests, widths of columns."""
    lines = [line for line in text.splitlines() if line.strip() and line.strip() not in OPTIONAL]
    timeless = (re.sub(r"\b\d+ (?:days?|h|min|s)\b(?: \d+ (?:min|s)\b)?", "TIME", line) for line in lines)
    short = (re.sub(r"[0-9a-f]{64}|\d+(?:[.:/-]\d+)*", "#", line) for line in timeless)
    return "\n".join(" ".join(line.split()) for line in short)


def _pattern(shown: str) -> str:
    """What the output must match: the shown lines, and any lines for `…`."""
    parts = [r"[^\n]+(\n[^\n]+)*" if line == "…" else re.escape(line) for line in _plain(shown).split("\n")]
    return "\n".join(parts)
