"""Progress bars, on terminals only, so that pipes and logs stay clean."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

from lockstep_store.client.text import formatting

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

WORTH_A_BAR_BYTES = 8 * 1024 * 1024


def _bars(output: TextIO) -> Progress:
    # Loading it takes a sixth of a command's start, and most commands show no bar.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(file=output, highlight=False),
        transient=True,
    )


@contextlib.contextmanager
def file_bar(
    output: TextIO, verb: str, name: str, size: int | None, *, show: bool = True
) -> Iterator[Callable[[int], None]]:
    """A bar for a file of `size` bytes (None: unknown), unless it is too small for one."""
    if not show or not output.isatty() or (size is not None and size < WORTH_A_BAR_BYTES):
        yield lambda count: None
        return
    with _bars(output) as progress:
        task = progress.add_task(_description(verb, name), total=size)
        yield lambda count: progress.advance(task, count)


class TreeBar:
    """One bar for a whole folder: the bytes and files transferred."""

    def __init__(self, progress: Progress | None, verb: str) -> None:
        self._progress = progress
        self._verb = verb
        self._task: TaskID | None = progress.add_task(verb, total=0) if progress else None
        self._guard = threading.Lock()
        self._files = self._done = self._size = 0

    def found(self, files: int, size: int) -> None:
        with self._guard:
            self._files += files
            self._size += size
            self._show()

    def advance(self, count: int) -> None:
        if self._progress and self._task is not None:
            self._progress.advance(self._task, count)

    def finished(self, name: str) -> None:
        with self._guard:
            self._done += 1
            self._show()

    def _show(self) -> None:
        if self._progress and self._task is not None:
            text = f"{self._verb} {self._done:,}/{self._files:,} files"
            self._progress.update(self._task, total=self._size, description=text)


@contextlib.contextmanager
def tree_bar(output: TextIO, verb: str, *, show: bool = True) -> Iterator[TreeBar]:
    """A `TreeBar` on `output`, visible only on a terminal."""
    if not show or not output.isatty():
        yield TreeBar(None, verb)
        return
    with _bars(output) as progress:
        yield TreeBar(progress, verb)


def _description(verb: str, name: str) -> str:
    # Square brackets would be read as rich's markup.
    return f"{verb} {formatting.shorten(formatting.safe(name), 30)}".replace("[", "\\[")
