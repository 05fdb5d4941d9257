"""The menu's questions about second factors: the code at log-in, setting one up, recovery codes, disabling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.menu.terminal import Terminal
from lockstep_store.client.text.second_factor import recovery_text, secret_text, state_text
from lockstep_store.wire.errors import SecondFactorNeeded
from lockstep_store.wire.messages.people import LoginReply

T = TypeVar("T")
CODE_ATTEMPTS = 3
MUST_ENROL = "This account must have a second factor: set it up now."


class SecondFactorRequests:
    """Requests about the person's own second factor. `account` is the person's own."""

    def __init__(self, api: ApiCalls, terminal: Terminal) -> None:
        self._api = api
        self._terminal = terminal
        self.account = ""

    def with_code(self, attempt: Callable[[str], T]) -> T:
        """Make an attempt without a code, and ask for one as long as one is needed."""
        code = ""
        for left in range(CODE_ATTEMPTS, -1, -1):
            try:
                return attempt(code)
            except SecondFactorNeeded as error:
                reason = error.facts.get("reason")
                if reason == "enrol" or not left:
                    raise
                if reason != "missing":
                    self._terminal.tell(str(error))
            code = self._terminal.ask("Code from your authenticator app (or a recovery code): ")
        raise AssertionError("the last attempt returns or raises")

    def enrol(self, name: str, password: str) -> LoginReply:
        """Set up a second factor: show a secret, ask for a first code, show recovery codes. Returns the new log-in."""
        made = self._api.begin_second_factor(name, password)
        on_terminal = self._terminal.output.isatty()
        encoding = (self._terminal.output.encoding or "ascii") if on_terminal else None
        self._terminal.say(secret_text(made, width=self._terminal.width, encoding=encoding))
        self._terminal.tell("Enter the secret in your authenticator app, or scan the code.")
        for left in range(CODE_ATTEMPTS - 1, -1, -1):
            code = self._terminal.ask("The code that the app shows now: ")
            try:
                reply = self._api.confirm_second_factor(name, password, code)
                break
            except SecondFactorNeeded as error:
                if not left:
                    raise
                self._terminal.tell(str(error))
        self._terminal.tell(
            "From now on a log-in needs a code; your other log-ins have ended. Keep these recovery codes, each for one "
            "log-in without the app. They are shown only now:"
        )
        self._terminal.say(recovery_text(reply.recovery_codes))
        return reply.login

    def manage(self, argument: str) -> None:
        """Show the second factor, and offer what can be done with it."""
        state = self._api.second_factor()
        self._terminal.say(state_text(state)[0].upper() + state_text(state)[1:] + ".")
        if not state.enabled:
            if self._asked("Set one up now? Type yes, or Enter to leave it: ", "yes"):
                self.enrol(self.account, self._terminal.ask_secret("Password: "))
            return
        wanted = self._terminal.ask('Type "codes" for new recovery codes, "disable", or Enter to leave it: ').lower()
        if wanted == "codes":
            password = self._terminal.ask_secret("Password: ")
            codes = self.with_code(lambda code: self._api.new_recovery_codes(self.account, password, code))
            self._terminal.say("The earlier recovery codes no longer work. The new ones, shown only now:")
            self._terminal.say(recovery_text(codes))
        elif wanted == "disable":
            password = self._terminal.ask_secret("Password: ")
            self.with_code(lambda code: self._api.disable_second_factor(self.account, password, code))
            self._terminal.say("Your second factor is disabled: the password alone logs you in.")

    def _asked(self, question: str, word: str) -> bool:
        return self._terminal.ask(question).lower() == word
