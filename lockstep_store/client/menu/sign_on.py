"""The menu's log-in by single sign-on: an empty line in place of a user name."""

from __future__ import annotations

from lockstep_store.client import single_sign_on
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.menu.terminal import Terminal
from lockstep_store.client.single_sign_on import SignOnChoice
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.people import LoginReply
from lockstep_store.wire.messages.single_sign_on import SignOnOffer


class MenuSignOn:
    """Asks the person for a provider if there are several, and shows what to do there."""

    def __init__(self, api: ApiCalls, terminal: Terminal) -> None:
        self._api = api
        self._terminal = terminal

    def offers(self) -> list[SignOnOffer]:
        """Return the providers; none if the proxy does not know of any, or cannot tell."""
        try:
            return self._api.sign_on_offers()
        except LockstepError:
            return []

    def question(self, offers: list[SignOnOffer]) -> str:
        """What to ask for a user name."""
        if not offers:
            return "User name (a new name creates an account): "
        where = offers[0].name if len(offers) == 1 else "your organisation"
        return f"User name (Enter alone: log in at {formatting.safe(where)}): "

    def log_in(self, offers: list[SignOnOffer]) -> LoginReply:
        """Log in at a provider. Raises what `lockstep_store.client.single_sign_on.log_in` does."""
        provider = ""
        if len(offers) > 1:
            names = ", ".join(formatting.safe(one.name) for one in offers)
            provider = self._terminal.ask(f"Where ({names}): ")
        choice = SignOnChoice(provider)
        return single_sign_on.log_in(self._api, choice, lambda text: self._terminal.say(formatting.safe(text)))
