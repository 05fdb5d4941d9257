"""Reads lines from a person or a pipe, and prints to either.

Reads the descriptor itself, not the stream: while someone waits for a lock, the menu must see that a line has arrived,
and the stream's buffer would hide it. Lines typed ahead are kept for later questions.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import subprocess
import sys
import termios
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

from lockstep_store.client.credentials import config_folder
from lockstep_store.client.text import formatting

if TYPE_CHECKING:
    from lockstep_store.client.menu.line_editor import Completions, LineEditor

HISTORY = "menu-history"


class EndOfInput(Exception):
    """The input has ended."""


class Terminal:
    """A person's input and output."""

    def __init__(self, input: TextIO, output: TextIO) -> None:
        self._input = input
        self.output = output
        self._descriptor = _descriptor(input)
        self._buffer = bytearray()
        self._typed_ahead = 0
        self._status_shown = 0
        self._last_status = ""
        self.ended = False
        self.interactive = input.isatty() and output.isatty()
        self._line_editor: LineEditor | None = None
        reconfigure = getattr(output, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")

    @property
    def width(self) -> int:
        """The terminal's columns; 80 for a pipe."""
        if not self.output.isatty():
            return formatting.WIDTH
        return max(40, shutil.get_terminal_size((formatting.WIDTH, 24)).columns - 1)

    def say(self, text: str = "") -> None:
        """Print text as it is."""
        self._clear_status()
        self.output.write(text + "\n")
        self.output.flush()

    def tell(self, sentence: str) -> None:
        """Print a sentence, wrapped between words on a terminal. `say` prints content and tables."""
        if self.output.isatty():
            wrapper = textwrap.TextWrapper(self.width, break_long_words=False, break_on_hyphens=False)
            sentence = "\n".join("\n".join(wrapper.wrap(line)) for line in sentence.split("\n"))
        self.say(sentence)

    def status(self, text: str) -> None:
        """Show a status line in place of the previous one. In a pipe, print it only if it changed."""
        if self.output.isatty():
            line = formatting.shorten(text, self.width)
            self.output.write("\r" + line.ljust(self._status_shown))
            self._status_shown = len(line)
        elif text != self._last_status:
            self.output.write(text + "\n")
        self._last_status = text
        self.output.flush()

    def page(self, lines: Iterable[str]) -> None:
        """Print lines, through a pager if there are more than the terminal shows at once."""
        height = shutil.get_terminal_size((formatting.WIDTH, 24)).lines - 2
        begun: list[str] = []
        rest = iter(lines)
        pager = _pager() if self.interactive and self.output is sys.stdout else []
        while pager and len(begun) <= height and (line := next(rest, None)) is not None:
            begun += line.split("\n")
        if len(begun) > height:
            _page(pager, self.output, itertools.chain(begun, rest))
            return
        for line in itertools.chain(begun, rest):
            self.say(line)

    def ask(self, question: str, completions: Completions | None = None, *, request: bool = False) -> str:
        """The next line, stripped. Raises EndOfInput.

        On a terminal, Tab completes names with `completions`, and a `request` can be found again with Up.
        """
        if self.interactive and b"\n" not in self._buffer and os.environ.get("TERM") != "dumb":
            return self._edited(question, completions, request=request).strip()
        self._clear_status()
        self.output.write(question)
        self.output.flush()
        line = self._line()
        if not self.interactive:
            # Nobody's typing is echoed by a pipe; with it the output reads like a conversation.
            self.output.write(line + "\n")
            self.output.flush()
        return line.strip()

    def _edited(self, question: str, completions: Completions | None, *, request: bool) -> str:
        self._clear_status()
        if self._line_editor is None:
            from lockstep_store.client.menu.line_editor import LineEditor

            self._line_editor = LineEditor(self._input, self.output, config_folder(os.environ) / HISTORY)
        above, newline, question = question.rpartition("\n")
        self.output.write(above + newline)
        self.output.flush()
        begun = self._buffer.decode("utf-8", "surrogateescape")
        self._buffer.clear()
        self.ended = False
        try:
            line, later = self._line_editor.ask(question, begun, completions, request=request)
        except EOFError:
            raise EndOfInput from None
        self._buffer += later.encode("utf-8", "surrogateescape")
        return line

    def ask_secret(self, question: str) -> str:
        """The next line unstripped, and without echo on a terminal. Raises EndOfInput."""
        self._clear_status()
        with self._without_echo():
            self.output.write(question)
            self.output.flush()
            line = self._line()
        self.output.write("\n")
        self.output.flush()
        return line

    def begin_wait(self) -> None:
        """Let `gave_up` watch for input from now on. Lines typed earlier do not end a wait."""
        self._receive_waiting()
        self._typed_ahead = len(self._buffer)
        self._last_status = ""

    def gave_up(self) -> bool:
        """Whether an empty line arrived or the input ended since the wait began. Other lines are kept."""
        was_ended = self.ended
        self._receive_waiting()
        while (end := self._buffer.find(b"\n", self._typed_ahead)) >= 0:
            if not self._buffer[self._typed_ahead : end].strip():
                del self._buffer[self._typed_ahead : end + 1]
                return True
            self._typed_ahead = end + 1
        return self.ended and not was_ended

    def _receive_waiting(self) -> None:
        if self._descriptor is None:
            self.ended = True
            return
        while not self.ended:
            watch = select.poll()
            watch.register(self._descriptor, select.POLLIN | select.POLLHUP)
            if not watch.poll(0):
                return
            self._receive()

    def _receive(self) -> None:
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:
            data = b""  # the terminal is gone
        self._buffer += data
        self.ended = self.ended or not data

    def _line(self) -> str:
        if self._descriptor is None:
            text = self._input.readline()
            if not text:
                self.ended = True
                raise EndOfInput
            return text.rstrip("\r\n")
        if self._input.isatty():
            self.ended = False  # Ctrl-D ended an earlier question or wait, not the terminal
        while b"\n" not in self._buffer and not self.ended:
            self._receive()
        line, newline, rest = bytes(self._buffer).partition(b"\n")
        if not newline and not line:
            raise EndOfInput
        self._buffer[:] = rest
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    def _clear_status(self) -> None:
        if self._status_shown:
            self.output.write("\r" + " " * self._status_shown + "\r")
            self._status_shown = 0

    @contextlib.contextmanager
    def _without_echo(self) -> Iterator[None]:
        if self._descriptor is None or not self._input.isatty():
            yield
            return
        before = termios.tcgetattr(self._descriptor)
        silent = termios.tcgetattr(self._descriptor)
        silent[3] &= ~termios.ECHO
        # Before the question is printed, and without flushing: what is typed early must be neither shown nor lost.
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, silent)
        try:
            yield
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _pager() -> list[str]:
    """The command of $PAGER, or less; empty if there is none, or for a terminal that can only print."""
    command = (os.environ.get("PAGER") or "less").split()
    can_page = os.environ.get("TERM") != "dumb" and command and shutil.which(command[0]) is not None
    return command if can_page else []


def _page(command: list[str], output: TextIO, lines: Iterable[str]) -> None:
    # People may have been given the menu alone: less must start no shell or editor for them.
    environment = {"LESS": "FRX", **os.environ, "LESSSECURE": "1"}
    pager = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, env=environment)
    assert pager.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError), pager.stdin as pipe:  # broken: somebody has seen enough
            for line in lines:
                pipe.write(f"{line}\n".encode("utf-8", "backslashreplace"))
    finally:
        while pager.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):  # the pager has got it, too, and knows what it means there
                pager.wait()
