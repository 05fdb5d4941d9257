"""What people do with their own second factor. Each change asks for the password, and for a code if there is one.

So a stolen token neither disables a second factor nor locks its owner out with a new one, and an account that must have
one before it can log in can set it up.
"""

from __future__ import annotations

from directory_server.metadata.statements import people
from directory_server.metadata.store import Tx
from directory_server.people.accounts import Accounts
from directory_server.people.log_ins import LogIns, Proven
from directory_server.people.person import Person
from directory_server.people.second_factors import SecondFactors
from lockstep_store.wire.errors import Conflict
from lockstep_store.wire.messages.second_factor import (
    EnabledSecondFactor,
    NewSecondFactor,
    RecoveryCodes,
    SecondFactorRequest,
    SecondFactorState,
)


class OwnSecondFactor:
    """Thread-safe. Each call but `state` raises NotLoggedIn for a wrong or one-time password."""

    def __init__(self, log_ins: LogIns, factors: SecondFactors, accounts: Accounts) -> None:
        self._log_ins = log_ins
        self._factors = factors
        self._accounts = accounts
        self._audit = accounts.audit

    def state(self, person: Person) -> SecondFactorState:
        return self._factors.state(person.account)

    def begin(self, request: SecondFactorRequest) -> NewSecondFactor:
        """Make a secret for an authenticator app. Conflict if there is a second factor."""
        proven = self._proven(request)
        return self._log_ins.change(proven, "", lambda tx: self._factors.begin(tx, proven.name))

    def confirm(self, request: SecondFactorRequest) -> EnabledSecondFactor:
        """Enable the secret with a first code. Other log-ins end. SecondFactorNeeded for a wrong code."""
        proven = self._proven(request)

        def work(tx: Tx) -> list[str]:
            codes = self._factors.confirm(tx, proven.name, request.code)
            tx.run(people.DELETE_SESSIONS_OF, of_account=proven.name)
            self._audit.write(tx, "second factor enabled", proven.name, address=request.address)
            return codes

        codes = self._log_ins.change(proven, request.code, work)
        self._accounts.forget_all()
        return EnabledSecondFactor(codes, self._log_ins.enter(proven, request.client))

    def disable(self, request: SecondFactorRequest) -> None:
        """Delete the second factor. Conflict if there is none, or the account must have one."""
        proven = self._proven(request)

        def work(tx: Tx) -> None:
            self._demand_factor(tx, proven.name)
            if self._factors.is_required(tx, proven.name):
                raise Conflict("this account must have a second factor: only an administrator can change that")
            self._log_ins.use_code(tx, proven, request.code)
            self._factors.drop(tx, proven.name)
            self._audit.write(tx, "second factor disabled", proven.name, address=request.address)

        self._log_ins.change(proven, request.code, work)

    def new_recovery_codes(self, request: SecondFactorRequest) -> RecoveryCodes:
        """Make recovery codes in place of the earlier ones. Conflict if there is no second factor."""
        proven = self._proven(request)

        def work(tx: Tx) -> list[str]:
            self._demand_factor(tx, proven.name)
            self._log_ins.use_code(tx, proven, request.code)
            self._audit.write(tx, "recovery codes made", proven.name, address=request.address)
            return self._factors.new_recovery_codes(tx, proven.name)

        return RecoveryCodes(self._log_ins.change(proven, request.code, work))

    def _proven(self, request: SecondFactorRequest) -> Proven:
        proven = self._log_ins.prove(request.name, request.password, request.address)
        proven.refuse_one_time()
        return proven

    def _demand_factor(self, tx: Tx, account: str) -> None:
        if not self._factors.is_enabled(tx, account):
            raise Conflict("this account has no second factor: enable one first (lockstep mfa enable)")
