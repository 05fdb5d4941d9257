"""`python -m tests.simulation SEED…`: runs seeds, or ranges like 0-999, and prints violations; -v prints the run."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.faults import forgetful
from tests.simulation.run import laboratory


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seeds", nargs="+", help="a seed, or FIRST-LAST")
    parser.add_argument("--forgetful", action="store_true", help="programs that come back with less than they had")
    parser.add_argument("-v", "--story", action="store_true", help="tell everything that happened")
    arguments = parser.parse_args()
    seeds: list[int] = []
    for text in arguments.seeds:
        first, _, last = text.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    failed = 0
    started = time.process_time()
    with laboratory() as laboratory_:
        for count, seed in enumerate(seeds, 1):
            profile = forgetful(seed) if arguments.forgetful else {}
            report = laboratory_.run(seed, story=arguments.story, **profile)
            if arguments.story:
                print("\n".join(report.story))
            if report.violations:
                failed += 1
                print(f"seed {seed}:", *report.violations, sep="\n  ")
            if len(seeds) == 1 or count % 100 == 0:
                each = (time.process_time() - started) / count
                print(f"seed {seed}: {report.fingerprint}, {report.operations} operations, {report.answered} answered,"
                      f" {report.switches} turns, {report.virtual_seconds:.0f} virtual s;"
                      f" {failed} of {count} failed, {each:.3f} s each", flush=True)  # fmt: skip
    print(f"{len(seeds)} seeds, {failed} failed, {(time.process_time() - started) / len(seeds):.3f} s each")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
