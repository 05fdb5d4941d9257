"""The menu's log-in: a user name and a password, a new account, a second factor, or single sign-on."""

from __future__ import annotations

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.menu.people_requests import PeopleRequests
from lockstep_store.client.menu.second_factor_requests import MUST_ENROL, SecondFactorRequests
from lockstep_store.client.menu.sign_on import MenuSignOn
from lockstep_store.client.menu.terminal import EndOfInput, Terminal
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import LockstepError, NotLoggedIn, SecondFactorNeeded, Unavailable
from lockstep_store.wire.messages.people import LoginReply

ATTEMPTS = 5
YES = ("y", "yes")
OTHER_NAME = "Press Enter for another user name."


class RefusedLogIn(Exception):
    """Nobody logged in."""


class LogIn:
    """Asks until somebody has logged in."""

    def __init__(self, api: ApiCalls, terminal: Terminal, factor: SecondFactorRequests, people: PeopleRequests) -> None:
        self._api = api
        self._terminal = terminal
        self._factor = factor
        self._people = people
        self._sign_on = MenuSignOn(api, terminal)

    def run(self) -> tuple[str, LoginReply]:
        """Return the user name that was typed, and the log-in.

        Raises RefusedLogIn after too many wrong passwords, or when the input ends after one; EndOfInput when it ends
        before; Unavailable.
        """
        name, offers, refused = "", self._sign_on.offers(), False
        for _ in range(ATTEMPTS):
            try:
                if not name:
                    name = self._terminal.ask(self._sign_on.question(offers))
                    if not name and not offers:
                        continue
                password = self._terminal.ask_secret("Password: ") if name else ""
                if name and not password and refused and self._terminal.interactive:
                    name = ""
                    continue
            except EndOfInput:
                if refused:
                    raise RefusedLogIn from None
                raise
            try:
                return name, self._log_in_as(name, password) if name else self._sign_on.log_in(offers)
            except EndOfInput:
                raise RefusedLogIn from None
            except Unavailable:
                raise
            except LockstepError as error:
                self._terminal.tell(f"Not logged in: {error}")
                refused = True
                # Who types answers has seen which question comes next; a pipe has them all prepared.
                keep = isinstance(error, NotLoggedIn) and self._terminal.interactive
                if keep and name and not error.facts.get("no_account"):
                    self._terminal.say(OTHER_NAME)
                else:
                    name = ""
        self._terminal.say("Too many wrong passwords: start again when you know it.")
        raise RefusedLogIn

    def _log_in_as(self, name: str, password: str) -> LoginReply:
        """Log in; someone with a one-time password sets another one first, and a second factor asks for a code."""
        create = not self._terminal.interactive
        try:
            return self._factor.with_code(lambda code: self._api.login(name, password, code=code, create=create))
        except SecondFactorNeeded as error:
            if error.facts.get("reason") != "enrol":
                raise
            self._terminal.tell(MUST_ENROL)
            return self._factor.enrol(name, password)
        except NotLoggedIn as error:
            if error.facts.get("no_account") and not create:
                return self._create(name, password, error)
            if not error.facts.get("must_change"):
                raise
        self._terminal.say("This is a one-time password: set your own.")
        return self._people.set_password(name, password)

    def _create(self, name: str, password: str, refusal: NotLoggedIn) -> LoginReply:
        """Make the account, if the person meant that; who only mistyped a name is asked for it again."""
        question = f"There is no account {formatting.safe(name)!r}. Create it? [y/N] "
        if self._terminal.ask(question).lower() not in YES:
            raise refusal
        if self._terminal.ask_secret("The password again: ") != password:
            raise NotLoggedIn("the two passwords differ: nothing was created", no_account=True)
        return self._factor.with_code(lambda code: self._api.login(name, password, code=code))
