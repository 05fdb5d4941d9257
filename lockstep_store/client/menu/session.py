"""A session of the menu: logs in, then carries out requests by number."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.local_storage import LocalStorage
from lockstep_store.client.menu.file_requests import FileRequests
from lockstep_store.client.menu.log_in import LogIn, RefusedLogIn
from lockstep_store.client.menu.people_requests import PeopleRequests
from lockstep_store.client.menu.second_factor_requests import SecondFactorRequests
from lockstep_store.client.menu.share_requests import ShareRequests
from lockstep_store.client.menu.state_requests import StateRequests
from lockstep_store.client.menu.terminal import EndOfInput, Terminal
from lockstep_store.client.menu.writing import Writing
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import LockstepError, NotLoggedIn, Unavailable
from lockstep_store.wire.messages.people import LoginReply

OK, NOT_LOGGED_IN, UNAVAILABLE = 0, 4, 7
_LEAVE_WORDS = ("q", "quit", "exit", "bye", "logout", "log out")
_NUMBERED = re.compile(r"(\d+)[.):]?(?:\s+(.*))?", re.DOTALL)


class _Leave(Exception):
    """Ends the session."""


@dataclass(frozen=True)
class _Entry:
    """A numbered request.

    `question` asks for the name it needs; empty if it needs none. `names` completes that name.
    """

    title: str
    words: tuple[str, ...]
    action: Callable[[str], None]
    question: str = ""
    names: Callable[[str], Iterable[str]] | None = None
    for_administrators: bool = False


class Session:
    """A session of the menu, on `terminal` and with the proxy of `api`."""

    def __init__(self, api: ApiCalls, storage: LocalStorage, terminal: Terminal) -> None:
        self._api = api
        self._terminal = terminal
        self._account = ""
        files = FileRequests(api, storage, terminal)
        writing = Writing(api, storage, terminal)
        self._state = StateRequests(api, terminal)
        self._factor = SecondFactorRequests(api, terminal)
        self._people = PeopleRequests(api, terminal, self._factor)
        self._log_in = LogIn(api, terminal, self._factor, self._people)
        api.transport.on_delay = self._say_delay
        shares = ShareRequests(api, terminal)
        self._is_admin = False
        folder = f"{storage.root.name or storage.root}/"
        self._all_entries = (
            _Entry("list files", ("list", "ls", "files"), files.list, names=files.names),
            _Entry("read a file", ("read", "cat"), files.read, "File to read: ", files.names),
            _Entry("write to a file", ("write", "edit"), writing.write, "File to write to: ", files.names),
            _Entry(f"upload from {folder}", ("upload", "put"), files.upload, "File to upload: ", files.local_names),
            _Entry(f"download to {folder}", ("download", "get"), files.download, "File to download: ", files.names),
            _Entry("delete a file", ("delete", "rm"), files.delete, "File to delete: ", files.names),
            _Entry("versions of a file", ("versions",), files.versions, "File whose versions to show: ", files.names),
            _Entry("locks: yours, all, the queue", ("locks",), self._state.locks),
            _Entry("cluster state", ("cluster", "status"), self._state.cluster),
            _Entry("log out and leave", _LEAVE_WORDS, self._leave),
            _Entry("change your password", ("password", "passwd"), self._people.change_password),
            _Entry("your second factor", ("mfa", "second factor"), self._factor.manage),
            _Entry("search for files", ("search", "find"), files.search, "Words in the name: "),
            _Entry("share a file by a link", ("share",), shares.share, "File or folder/ to share: ", files.names),
            _Entry("your share links", ("links", "shares"), shares.list),
            _Entry("accounts of people", ("accounts", "users"), self._people.accounts, for_administrators=True),
            _Entry("security events", ("events", "audit"), self._people.events, for_administrators=True),
        )
        # Requests about the list that was shown last, such as "restore 2" or "break 1".
        self._following: dict[str, Callable[[str], bool]] = {
            "read": files.read_version,
            "restore": files.restore_version,
            "release": self._state.release,
            "break": self._state.break_lock,
            "revoke": shares.revoke,
        }
        self._before_upload = files.show_folder

    @property
    def _entries(self) -> list[_Entry]:
        """The requests that this person may make; administrators' are the last."""
        return [entry for entry in self._all_entries if self._is_admin or not entry.for_administrators]

    def run(self) -> int:
        """Run the session and return its exit code."""
        self._terminal.say(f"Lockstep at {self._api.url}")
        try:
            code = self._enter()
            if code != OK:
                return code
            self._show_menu()
            while True:
                self._next_request()
        except (_Leave, EndOfInput, KeyboardInterrupt):
            self._log_out()
            return OK

    def _enter(self) -> int:
        try:
            name, reply = self._log_in.run()
        except RefusedLogIn:
            return NOT_LOGGED_IN
        except Unavailable as error:
            self._terminal.tell(f"Cannot log in now: {error}")
            return UNAVAILABLE
        self._welcome(reply, name)
        return OK

    def _welcome(self, reply: LoginReply, name: str) -> None:
        self._account = reply.account or name
        self._state.account = self._people.account = self._factor.account = self._account
        self._is_admin = reply.admin
        role = ", administrator" if reply.admin else ""
        shown = formatting.safe(self._account)
        if reply.created:
            self._terminal.say(f"\nWelcome, {shown}. Your account was created.")
        else:
            self._terminal.say(f"\nWelcome back, {shown}{role}.")

    def _log_out(self) -> None:
        if not self._account:
            self._terminal.say()
            return
        try:
            self._api.logout()
        except LockstepError:
            self._terminal.say("\nGoodbye. (The proxy did not answer, so the log-in stays valid until it expires.)")
        else:
            self._terminal.say(f"\nLogged out {formatting.safe(self._account)}. Goodbye.")

    def _show_menu(self) -> None:
        rows = (len(self._entries) + 1) // 2
        self._terminal.say()
        for row in range(rows):
            left = f"{row + 1:>3}  {self._entries[row].title}"
            other = row + rows
            right = f"{other + 1:>3}  {self._entries[other].title}" if other < len(self._entries) else ""
            self._terminal.say(f"{left:<38}{right}".rstrip())
        self._terminal.say("Type a number, or a number and a file's name: 3 notes.txt. Enter: this menu.")

    def _next_request(self) -> None:
        line = self._terminal.ask(f"\n{formatting.safe(self._account)}> ", self._completions, request=True)
        if not line or line in ("?", "help", "menu"):
            self._show_menu()
            return
        try:
            self._answer(line)
        except NotLoggedIn as error:
            if self._is_logged_in():  # it was about a password or a code that was typed
                self._terminal.tell(f"Not done: {formatting.safe_lines(str(error))}")
                return
            self._terminal.tell(f"Your log-in has ended ({error}). Log in again:")
            if self._enter() != OK:
                raise _Leave from error
            self._terminal.say("Please repeat your request.")
        except LockstepError as error:
            self._terminal.tell(f"Not done: {formatting.safe_lines(str(error))}")
        except KeyboardInterrupt:
            self._terminal.say("\nInterrupted: the request was cancelled.")

    def _is_logged_in(self) -> bool:
        try:
            return bool(self._api.me().name)
        except LockstepError:
            return False

    def _answer(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        following = self._following.get(word.lower())
        if following is None and self._is_admin:
            following = self._people.following.get(word.lower())
        if following is not None and following(rest.strip()):
            return
        entry, argument = self._understand(line)
        if entry is None:
            last = len(self._entries)
            self._terminal.say(f"{formatting.safe(line)!r} is not a request: type a number from 1 to {last}.")
            return
        if entry.question and not argument:
            if entry.words[0] == "upload":
                self._before_upload()
            argument = self._terminal.ask(entry.question, entry.names)
            if not argument:
                self._terminal.say("No name given; nothing was done.")
                return
        entry.action(argument)

    def _completions(self, line: str) -> Iterable[str]:
        """Return the lines that `line` may become."""
        entry, name = self._understand(line)
        if entry is None or (not name and not line.endswith(" ")):
            return sorted(word for one in self._entries for word in one.words if word.startswith(line.lower()))
        if entry.names is None:
            return ()
        head = line[: len(line) - len(name)]
        return [head + found for found in entry.names(name)]

    def _say_delay(self) -> None:
        self._terminal.tell("The cluster has not answered yet; still trying (Ctrl-C gives up).")

    def _understand(self, line: str) -> tuple[_Entry | None, str]:
        numbered = _NUMBERED.fullmatch(line)
        if numbered:
            number, argument = int(numbered[1]), (numbered[2] or "").strip()
            return (self._entries[number - 1] if 1 <= number <= len(self._entries) else None), argument
        lowered = line.lower()
        for entry in self._entries:
            for word in entry.words:
                if lowered == word:
                    return entry, ""
                if lowered.startswith(word + " ") and entry.action != self._leave:
                    return entry, line[len(word) :].strip()
        return None, ""

    def _leave(self, argument: str) -> None:
        raise _Leave
