"""Takes away every authorization check in turn, and runs the tests that met its refusals: one of them must fail.

    python -m tests.security.mutation [--checks PATTERN ...] [--recording FILE] [--write]
    python -m tests.security.mutation --sample COUNT --seed NUMBER

1. The tests run once, with every check in place, and note which of them met a refusal of which check.
2. They run again, in one session, once for each check that is taken away, until one fails.
3. For each check that is left, a child process of its own runs more of them.
4. `--write` stores the tests that failed in `killers.txt`; `--sample` takes a few checks from there, and runs only
   those tests.

A check that no test met, or whose tests all pass without it, survives: a test is missing, or `SURVIVORS` in `checks.py`
has the reason. The exit status is 1 otherwise.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import random
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from tests.security.mutation import checks
from tests.security.mutation.instrument import Check, all_checks, exists
from tests.security.mutation.runner import Runner

KILLERS = Path(__file__).with_name("killers.txt")


def read_killers() -> dict[str, str]:
    """Return the test that fails without each check, by the check's id."""
    lines = KILLERS.read_text("utf-8").splitlines() if KILLERS.exists() else []
    return dict(line.split("  ", 1) for line in lines)


def write_killers(killers: dict[str, str]) -> None:
    KILLERS.write_text("".join(f"{id}  {test}\n" for id, test in sorted(killers.items())), "utf-8")


def recording(runner: Runner, file: Path | None) -> dict[str, list[str]]:
    """Return the tests that met a refusal of each check, from an earlier run if there is the file."""
    if file is not None and file.exists():
        found: dict[str, list[str]] = json.loads(file.read_text("utf-8"))
        return found
    recorded = runner.record()
    if file is not None:
        file.write_text(json.dumps(recorded), "utf-8")
    return recorded


def go_through(runner: Runner, wanted: Sequence[Check], recorded: dict[str, list[str]], write: bool) -> int:
    """Take away each of the checks; return the exit status."""
    known = read_killers()
    print(f"{len(recorded)} checks refused something in a test", flush=True)
    quick = runner.quick_killers({check.id: recorded[check.id] for check in wanted if check.id in recorded})
    killers, survivors, total = dict(known), [], 0
    for check in wanted:
        total += 1
        tests = recorded.get(check.id, [])
        killer = quick.get(check.id) or runner.killer(check.id, tests, known.get(check.id, ""))
        killers.pop(check.id, None)
        if killer:
            killers[check.id] = killer
        elif check.id not in checks.SURVIVORS:
            survivors.append(check)
        print(f"{check.id}  {killer or f'SURVIVES {len(tests)} tests'}", flush=True)
    killed = sum(check.id in killers for check in wanted)
    print(f"{killed} of {total} checks are missed by a test when they are taken away")
    for check in survivors:
        print(f"survives: {check.id} (line {check.line})")
    if write:
        ids = {check.id for check in all_checks()}
        write_killers({id: test for id, test in killers.items() if id in ids})
    return 1 if survivors else 0


def sample(count: int, seed: int) -> int:
    """Take away a few of the checks whose test is known; return the exit status."""
    known = sorted(read_killers().items())
    random.Random(seed).shuffle(known)
    chosen = list(islice(((id, test) for id, test in known if exists(id)), count))
    runner = Runner(only={id.partition(":")[0] for id, _ in chosen})
    status = 0
    for id, test in chosen:
        killed = runner.killer(id, [], test)
        print(f"{id}  {'killed by' if killed else 'SURVIVES'} {test}", flush=True)
        status = status if killed else 1
    return status


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security.mutation")
    parser.add_argument("--checks", nargs="+", default=["*"], help="only checks whose id matches a pattern")
    parser.add_argument("--recording", type=Path, help="a file to keep what step 1 finds, or to take it from")
    parser.add_argument("--write", action="store_true", help="store the tests that failed")
    parser.add_argument("--sample", type=int, default=0, help="so many checks, and only the tests that are stored")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.sample:
        return sample(given.sample, given.seed)
    runner = Runner()
    wanted = [check for check in all_checks() if any(fnmatch.fnmatch(check.id, one) for one in given.checks)]
    return go_through(runner, wanted, recording(runner, given.recording), given.write)


if __name__ == "__main__":
    sys.exit(main())
