"""The menu's requests about people: one's own password; for administrators the accounts and the security events."""

from __future__ import annotations

from collections.abc import Callable

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.menu.second_factor_requests import MUST_ENROL, SecondFactorRequests
from lockstep_store.client.menu.terminal import Terminal
from lockstep_store.client.text import formatting
from lockstep_store.client.text.people import accounts_text, events_text
from lockstep_store.wire.errors import BadRequest, SecondFactorNeeded
from lockstep_store.wire.messages.people import LoginReply
from lockstep_store.wire.messages.users import AuditEvent, CreatedUser, UserInfo

EVENTS_SHOWN = 20


class PeopleRequests:
    """Requests about accounts. `account` is the person's own."""

    def __init__(self, api: ApiCalls, terminal: Terminal, factor: SecondFactorRequests) -> None:
        self._api = api
        self._terminal = terminal
        self._factor = factor
        self._numbered: list[UserInfo] = []
        self.account = ""
        # Requests about the list of accounts that was shown last.
        self.following: dict[str, Callable[[str], bool]] = {
            "create": self._create,
            "reset": self._reset,
            "disable": self._disable,
            "enable": self._enable,
            "remove": self._remove,
            "reset-mfa": self._reset_factor,
        }

    def change_password(self, argument: str) -> None:
        """Change the person's own password; their other log-ins end."""
        old = self._terminal.ask_secret("Current password: ")
        self.set_password(self.account, old)

    def set_password(self, name: str, old: str) -> LoginReply:
        """Ask for a new password twice, and set it in place of `old`. Returns the new log-in."""
        new = self._terminal.ask_secret("New password: ")
        if self._terminal.ask_secret("The same again: ") != new:
            raise BadRequest("the two passwords differ: nothing was changed")
        try:
            reply = self._factor.with_code(lambda code: self._api.change_password(name, old, new, code=code))
        except SecondFactorNeeded as error:
            if error.facts.get("reason") != "enrol":
                raise
            self._terminal.tell(f"Your password was changed. {MUST_ENROL}")
            return self._factor.enrol(name, new)
        self._terminal.say("Your password was changed; your other log-ins have ended.")
        return reply

    def accounts(self, argument: str) -> None:
        """List the accounts. Remembers numbers for the requests that follow."""
        self._numbered = self._api.users()
        self._terminal.say(accounts_text(self._numbered, self._terminal.width, numbered=True))
        self._terminal.tell(
            'Type "create" and a name, or "reset" (the password), "reset-mfa", "disable", "enable" or "remove" and a '
            "number: disable 1."
        )

    def events(self, argument: str) -> None:
        """Show the newest security events."""
        events: list[AuditEvent] = []
        while page := self._api.audit(events[-1].id if events else 0):
            events = (events + page)[-EVENTS_SHOWN:]
        self._terminal.say(events_text(events, self._terminal.width))
        self._terminal.say("All of them, as JSON lines: lockstep audit")

    def _create(self, name: str) -> bool:
        if not name:
            raise BadRequest("type create and the name of the new account: create ann")
        self._show_password(self._api.create_user(name))
        return True

    def _reset(self, number: str) -> bool:
        self._show_password(self._api.reset_password(self._account(number, "reset").name))
        return True

    def _reset_factor(self, number: str) -> bool:
        user = self._api.reset_second_factor(self._account(number, "reset-mfa").name)
        self._terminal.say(f"{formatting.safe(user.name)} no longer has a second factor; its log-ins have ended")
        return True

    def _show_password(self, made: CreatedUser) -> None:
        name = formatting.safe(made.user.name)
        self._terminal.say(f"one-time password of {name}: {made.password}")
        self._terminal.tell(f"It is shown only now. {name} sets another one at the first log-in.")

    def _disable(self, number: str) -> bool:
        return self._set_disabled(self._account(number, "disable"), True)

    def _enable(self, number: str) -> bool:
        return self._set_disabled(self._account(number, "enable"), False)

    def _set_disabled(self, user: UserInfo, disabled: bool) -> bool:
        changed = self._api.change_user(user.name, disabled=disabled)
        done = "disabled" if changed.disabled else "enabled"
        self._terminal.say(f"{done} {formatting.safe(changed.name)}")
        return True

    def _remove(self, number: str) -> bool:
        user = self._account(number, "remove")
        name = formatting.safe(user.name)
        heir = ""
        if user.buckets:
            owned = formatting.counted(len(user.buckets), "bucket")
            heir = self._terminal.ask(f"{name} owns {owned}. Which account gets them? ")
        if self._terminal.ask(f"Delete {name} with its log-ins and keys? Its files stay. Type its name: ") != user.name:
            self._terminal.say("Nothing was deleted.")
            return True
        self._api.delete_user(user.name, heir)
        self._terminal.say(f"deleted {name}")
        return True

    def _account(self, number: str, what: str) -> UserInfo:
        if not number.isdecimal() or not 1 <= int(number) <= len(self._numbered):
            raise BadRequest(f"show the accounts first (13), then type {what} and a number from that list")
        return self._numbered[int(number) - 1]
