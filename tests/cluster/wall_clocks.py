"""Wall clocks of running programs that a test can set, one by one; their monotonic clocks go on as ever.

It needs libfaketime (Debian: faketime), which stands between a program and the C library; tests skip without it.
Its version 0.9.10 also shifts absolute waits on the monotonic clock, which a real clock step does not; Python sleeps
that way, so the programs are given a sleep that waits for a length of time instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
HOUR = 3600
_SLEEP = """import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


def library() -> Path | None:
    """Where libfaketime is on this machine."""
    return next((found for pattern in LIBRARIES for found in Path("/").glob(pattern.lstrip("/"))), None)


class WallClocks:
    """One wall clock for every program in `names`, a file in `folder` each, which the program reads every second."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._names = list(names)
        (folder / "sitecustomize.py").write_text(_SLEEP)
        for name in self._names:
            self.step(name, 0)

    def variables(self) -> dict[str, dict[str, str]]:
        """The environment that makes each program use its clock."""
        found = library()
        assert found is not None, "libfaketime is not installed"
        python_path = os.pathsep.join(filter(None, (str(self._folder), os.environ.get("PYTHONPATH", ""))))
        return {
            name: {
                "LD_PRELOAD": str(found),
                "FAKETIME_TIMESTAMP_FILE": str(self._file(name)),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
                "PYTHONPATH": python_path,
            }
            for name in self._names
        }

    def step(self, name: str, seconds: int) -> None:
        """Set a clock to `seconds` after (or, negative, before) the true time."""
        new = self._file(name).with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file(name))  # never half a line for a program that looks just now

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.clock"
