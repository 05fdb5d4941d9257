"""The calls about second factors. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from lockstep_store.client.api.caller import ApiCaller, segment
from lockstep_store.wire.messages.second_factor import (
    EnabledSecondFactor,
    NewSecondFactor,
    RecoveryCodes,
    SecondFactorState,
)
from lockstep_store.wire.messages.users import UserInfo


class SecondFactorCalls(ApiCaller):
    """One's own second factor, which the password changes, and the reset by administrators.

    Each change raises NotLoggedIn for a wrong password and SecondFactorNeeded for a wrong code.
    """

    def second_factor(self) -> SecondFactorState:
        """Return whether there is one, and how many recovery codes are left."""
        return self._ask(SecondFactorState, "GET", "/api/v1/auth/mfa")

    def begin_second_factor(self, username: str, password: str) -> NewSecondFactor:
        """Return a secret for an authenticator app; it counts once it is confirmed. Conflict if there is one."""
        return self._ask(NewSecondFactor, "POST", "/api/v1/auth/mfa", message=_body(username, password))

    def confirm_second_factor(self, username: str, password: str, code: str) -> EnabledSecondFactor:
        """Enable the secret with a first code, and use the new log-in from now on; earlier ones end."""
        body = _body(username, password, code)
        reply = self._ask(EnabledSecondFactor, "POST", "/api/v1/auth/mfa/confirm", message=body)
        self.transport.credential = reply.login.token
        return reply

    def disable_second_factor(self, username: str, password: str, code: str) -> None:
        """Delete the second factor. Conflict if there is none, or the account must have one."""
        self.transport.request("POST", "/api/v1/auth/mfa/disable", message=_body(username, password, code))

    def new_recovery_codes(self, username: str, password: str, code: str) -> list[str]:
        """Replace the recovery codes."""
        body = _body(username, password, code)
        return self._ask(RecoveryCodes, "POST", "/api/v1/auth/mfa/recovery-codes", message=body).recovery_codes

    def reset_second_factor(self, name: str) -> UserInfo:
        """Delete the second factor of an account that has lost it, and end its log-ins (administrators)."""
        return self._ask(UserInfo, "DELETE", f"/api/v1/users/{segment(name)}/mfa")


def _body(username: str, password: str, code: str | None = None) -> dict[str, str]:
    body = {"username": username, "password": password}
    return body if code is None else {**body, "code": code}
