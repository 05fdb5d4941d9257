"""`python -m tests.contract.wire_corpus`: add today's messages to the corpus. Nothing recorded is ever dropped."""

from __future__ import annotations

import sys

from tests.contract.wire_corpus.corpus import load, no_longer_declared, save, with_today


def main() -> int:
    recorded = load()
    gone = no_longer_declared(recorded)
    if gone:
        print(
            f"nothing was recorded: these are recorded, but no longer declared: {', '.join(gone)}.\n"
            "Programs of an older version still send them. Declare them again, or remove them from the corpus by hand.",
            file=sys.stderr,
        )
        return 1
    save(with_today(recorded))
    return 0


if __name__ == "__main__":
    sys.exit(main())
