"""Edits a line on a terminal: cursor keys, earlier lines with Up, names with Tab.

Everything else reads the terminal line by line, so what prompt_toolkit read beyond a line is handed back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from lockstep_store.client.text import formatting

KEPT_LINES = 1000

Completions = Callable[[str], Iterable[str]]
"""Returns the whole lines that the beginning of one may become."""


class LineHistory(History):
    """The lines of this and earlier sessions, in a file that only its owner can read."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterable[str]:
        """Return the lines, the newest first."""
        try:
            lines = self._file.read_text("utf-8", "replace").splitlines()
            if len(lines) > 2 * KEPT_LINES:
                self._write("\n".join(lines[-KEPT_LINES:]) + "\n", os.O_TRUNC)
        except OSError:
            return []
        return lines[: -KEPT_LINES - 1 : -1]

    def store_string(self, string: str) -> None:
        """Append a line; without a place for it, it is remembered for this session only."""
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(string + "\n", os.O_APPEND)

    def _write(self, text: str, how: int) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | how, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)


class LineEditor:
    """Asks for lines on the terminal of `input` and `output`; `history` is the file of earlier requests."""

    def __init__(self, input: TextIO, output: TextIO, history: Path) -> None:
        self._input = create_input(input)
        self._screen = Vt100_Output.from_pty(output, term=os.environ.get("TERM"))
        # A terminal that does not know position requests would answer them with stray characters, or a warning.
        self._screen.enable_cpr = False
        self._requests = LineHistory(history)

    def ask(self, question: str, begun: str, completions: Completions | None, *, request: bool) -> tuple[str, str]:
        """Return the line, and what was typed after it. `begun` is what was typed before the question.

        Only a `request` is remembered. Raises EOFError for Ctrl-D on an empty line, and KeyboardInterrupt for Ctrl-C
        on one; Ctrl-C clears a line that has text.
        """
        session: PromptSession[str] = PromptSession(
            input=self._input,
            output=self._screen,
            history=self._requests if request else InMemoryHistory(),
            completer=None if completions is None else ThreadedCompleter(_Names(completions)),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            reserve_space_for_menu=0,
            key_bindings=_keys(),
        )
        line = session.prompt(question, default=begun)
        later = "".join(key.data for key in get_typeahead(self._input)).replace("\r", "\n")
        line, _, pasted = line.partition("\n")
        return line, f"{pasted}\n{later}" if pasted else later


class _Names(Completer):
    def __init__(self, completions: Completions) -> None:
        self._completions = completions

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        line = document.text_before_cursor
        for whole in self._completions(line):
            if whole.startswith(line):
                shown = whole[line.rfind(" ") + 1 :] if " " in line else whole
                yield Completion(whole, start_position=-len(line), display=formatting.safe(shown))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        buffer: Buffer = event.current_buffer
        if buffer.text:
            buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return keys
