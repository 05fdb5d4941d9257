"""Someone who uses the menu, by a script or answer by answer."""

from __future__ import annotations

import codecs
import io
import os
import pty
import threading
from collections.abc import Callable
from pathlib import Path

from lockstep_store.client.menu import run_menu
from tests.fakes.rest import RestServer

PATIENCE_SECONDS = 60.0
Menu = Callable[..., str]


def script(server: RestServer, folder: Path, *lines: str, name: str = "ann", code: int = 0) -> str:
    """The menu's whole output for lines that were all in the pipe from the start."""
    reading, writing = os.pipe()
    os.write(writing, "".join(f"{line}\n" for line in (name, "secret", *lines)).encode())
    os.close(writing)
    output = io.StringIO()
    with os.fdopen(reading) as source:
        assert run_menu(server.url, server.ca_file, folder, source, output) == code
    return output.getvalue()


class Person:
    """Somebody who reads what the menu says before typing; over a pipe, or over a terminal."""

    def __init__(self, server: RestServer, folder: Path, *, terminal: bool = False) -> None:
        if terminal:
            self._ours, theirs = pty.openpty()
            self._reads = self._ours
            self._source = os.fdopen(theirs, "r")
            self._output = os.fdopen(os.dup(theirs), "w")
        else:
            reading, self._ours = os.pipe()
            self._reads, writing = os.pipe()
            self._source = os.fdopen(reading, "r")
            self._output = os.fdopen(writing, "w")
        self._terminal = terminal
        self._open = {self._ours, self._reads}
        self.seen = ""
        self._new = threading.Condition()
        self.code: int | None = None
        self._menu = threading.Thread(target=self._run, args=(server, folder))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._menu.start()

    def _run(self, server: RestServer, folder: Path) -> None:
        self.code = run_menu(server.url, server.ca_file, folder, self._source, self._output)
        self._source.close()
        self._output.close()

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()  # what is read may end within a character
        while True:
            try:
                data = os.read(self._reads, 65536)
            except OSError:
                return
            if not data:
                return
            with self._new:
                self.seen += decoder.decode(data)
                self._new.notify_all()

    def sees(self, text: str) -> str:
        """Wait for `text`, and forget everything up to it."""
        if self._terminal:
            text = text.rstrip()  # a line editor moves the cursor over a space
        with self._new:
            found = self._new.wait_for(lambda: text in self.seen, PATIENCE_SECONDS)
            assert found, f"{text!r} was not said; instead:\n{self.seen}"
            before, _, self.seen = self.seen.partition(text)
            return before + text

    def types(self, line: str) -> None:
        self.presses(f"{line}\n")

    def presses(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def logs_in(self, name: str, password: str = "secret") -> None:
        self.sees("User name")
        self.types(name)
        self.sees("Password: ")
        self.types(password)
        self.sees(f"{name}> ")

    def leaves(self) -> None:
        self.types("10")
        self.ends()

    def ends(self) -> None:
        self._menu.join(PATIENCE_SECONDS)
        assert not self._menu.is_alive(), f"the menu does not end:\n{self.seen}"
        self._reader.join(PATIENCE_SECONDS)  # or it might read on from whatever gets the descriptor's number next
        self.close()

    def closes_input(self) -> None:
        os.close(self._ours)
        self._open.discard(self._ours)

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())
