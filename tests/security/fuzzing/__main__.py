"""Fuzzes the targets, each in a child process, from the kept corpus on.

    python -m tests.security.fuzzing [TARGET ...] [--runs N] [--seconds N] [--seed N] [--keep]

A fault is what leaves a target, takes longer than LONGEST_SECONDS, or more memory than LARGEST_MIB: it is printed with
the input, and the exit status is 1. `--keep` adds what reached further to the corpus, if it is short.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import atheris

from tests.security.fuzzing import corpus

_PACKAGES = ["client_proxy", "directory_server", "file_server", "lockstep_store"]
with redirect_stderr(StringIO()), atheris.instrument_imports(include=_PACKAGES):  # it names every module
    from tests.security.fuzzing.targets import TARGETS

LONGEST_SECONDS = 30
"""For one input of 4 KiB on a loaded machine."""
LARGEST_MIB = 1024
LONGEST_INPUT = 4096
MOST_KEPT, LONGEST_KEPT = 60, 400


def fuzz(target: str, folder: Path, *options: str) -> tuple[int, str]:
    """Run the fuzzer in a child process; return its exit status and what it said."""
    said = folder / "said"
    child = os.fork()
    if not child:
        try:
            handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            bounds = (f"-timeout={LONGEST_SECONDS}", f"-rss_limit_mb={LARGEST_MIB}", f"-max_len={LONGEST_INPUT}")
            for data in [b"", *corpus.read(target)]:
                TARGETS[target](data)  # what is loaded once takes none of an input's time
            atheris.Setup([target, *options, *bounds, f"-artifact_prefix={folder}/fault-"], TARGETS[target])
            atheris.Fuzz()
        finally:
            os._exit(1)  # a run without a fault has ended the process already
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.read_text("utf-8", "replace")


def go_through(target: str, given: argparse.Namespace, folder: Path) -> bool:
    """Fuzz a target; whether it is without a fault."""
    kept, found = folder / "kept", folder / "found"
    corpus.unpack(target, kept)
    found.mkdir()
    bound = f"-max_total_time={given.seconds}" if given.seconds else f"-runs={given.runs}"
    status, said = fuzz(target, folder, str(found), str(kept), bound, f"-seed={given.seed or 1}")
    last = [line for line in said.splitlines() if " cov: " in line][-1:]
    print(f"{target}: {last[0].strip() if last else 'no figures'}", flush=True)
    if status:
        print(said[-6000:])
        for file in folder.glob("fault-*"):
            print(f"{target}: the input is {corpus.escaped(file.read_bytes())}")
        return False
    if given.keep:
        keep(target, folder)
    return True


def keep(target: str, folder: Path) -> None:
    """Add the short ones of the inputs that reach something that no other does."""
    merged = folder / "merged"
    merged.mkdir()
    fuzz(target, folder, "-merge=1", str(merged), str(folder / "kept"), str(folder / "found"))
    new = [one for one in (file.read_bytes() for file in merged.iterdir()) if len(one) <= LONGEST_KEPT]
    seeds = corpus.read(target)
    room = max(0, MOST_KEPT - len(seeds))
    corpus.write(target, [*seeds, *sorted((one for one in new if one not in seeds), key=len)[:room]])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security.fuzzing")
    parser.add_argument("targets", nargs="*", default=sorted(TARGETS))
    parser.add_argument("--runs", type=int, default=2000, help="so many inputs for each target")
    parser.add_argument("--seconds", type=int, default=0, help="instead, so long for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="add to the corpus")
    given = parser.parse_args(arguments)
    sound = True
    for target in given.targets:
        with tempfile.TemporaryDirectory() as folder:
            sound = go_through(target, given, Path(folder)) and sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
