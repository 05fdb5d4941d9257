"""Second factors: codes of an authenticator app, and recovery codes for when it is lost.

The rules, inside the caller's transaction; transactions run one after another, so a code that is used up in one is used
in every later one. `own_second_factor` has the calls, `log_ins` asks for codes.

The secret itself is stored, because checking a code needs it, sealed with the storage keys. Recovery codes are random,
so one fast hash of them is enough.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Iterator

from blake3 import blake3

from directory_server.defaults import Requirement
from directory_server.metadata.sealed_rows import SealedRow
from directory_server.metadata.statements import second_factor as rows
from directory_server.metadata.statements.second_factor import FactorRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people import totp
from directory_server.people.access_keys import PeopleClock
from lockstep_store.runtime.storage.sealing import Sealer
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import Conflict, Damaged, LockstepError, SecondFactorNeeded
from lockstep_store.wire.messages.second_factor import RECOVERY_CODES, NewSecondFactor, SecondFactorState

_RECOVERY_BYTES = 10
"""80 bits: nobody guesses it, not even with its hash. 16 letters and digits."""
_CODE = re.compile(rf"[0-9]{{{totp.DIGITS}}}")
_RECOVERY_CODE = re.compile(r"[a-z2-7]{16}")


def plain_code(typed: str) -> str:
    """A code without what people put between its parts."""
    return re.sub(r"[\s-]", "", typed).lower()


def is_recovery_code(typed: str) -> bool:
    """Whether it has the form of a recovery code."""
    return _RECOVERY_CODE.fullmatch(plain_code(typed)) is not None


class SecondFactors:
    """The second factors of accounts. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: PeopleClock,
        sealer: Callable[[], Sealer],
        required_of: Requirement = "nobody",
    ) -> None:
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self._required_of = required_of

    # ------------------------------------------------------------ what accounts have and need

    def state(self, account: str) -> SecondFactorState:
        """Return an account's second factor, without secrets."""
        with self._store.read() as reader:
            row = rows.find(reader, account)
            left = rows.count_recovery_codes(reader, account)
            required = self.is_required(reader, account)
        enabled_at = row.enabled_at if row is not None else None
        return SecondFactorState(enabled_at is not None, enabled_at, left, required)

    def is_required(self, reader: Reader, account: str) -> bool:
        """Whether the account may not log in without one."""
        admin, by_name = rows.standing(reader, account)
        return by_name or self._required_of == "everyone" or (admin and self._required_of == "administrators")

    def must_enrol(self, reader: Reader, account: str) -> bool:
        """Whether the account needs a second factor and has none."""
        return self.is_required(reader, account) and not self.is_enabled(reader, account)

    def is_enabled(self, reader: Reader, account: str) -> bool:
        row = rows.find(reader, account)
        return row is not None and row.enabled_at is not None

    def end_sessions_without(self) -> None:
        """End the log-ins of accounts that need a second factor and have none, from before it was required."""
        self._store.write(
            lambda tx: rows.end_sessions_without(
                tx,
                of_administrators=self._required_of == "administrators",
                of_everyone=self._required_of == "everyone",
            )
        )

    # ------------------------------------------------------------ enrolment

    def begin(self, tx: Tx, account: str) -> NewSecondFactor:
        """Make a secret, in place of one that was never confirmed. Conflict if there is a second factor."""
        if self.is_enabled(tx, account):
            raise Conflict("this account has a second factor already: disable it first (lockstep mfa disable)")
        secret = totp.new_secret()
        sealed = self._sealer().seal(_sealed_under(account), secret)
        rows.put(tx, FactorRow(account, sealed, -1, None))
        return NewSecondFactor(totp.base32_text(secret), totp.otpauth_uri(secret, account))

    def confirm(self, tx: Tx, account: str, code: str) -> list[str]:
        """Enable what was begun, with a first code, which is used up. Returns recovery codes.

        Conflict if nothing was begun, SecondFactorNeeded for a wrong code.
        """
        row = rows.find(tx, account)
        if row is None or row.enabled_at is not None:
            raise Conflict("there is no new second factor to confirm: begin again (lockstep mfa enable)")
        self._use_app_code(tx, row, plain_code(code))
        rows.enable(tx, account, self._clock.wall())
        return self.new_recovery_codes(tx, account)

    def new_recovery_codes(self, tx: Tx, account: str) -> list[str]:
        """Make recovery codes in place of the earlier ones."""
        plain = [base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
        rows.put_recovery_codes(tx, account, [_hash(code) for code in plain])
        return ["-".join(code[start : start + 4] for start in range(0, len(code), 4)) for code in plain]

    def drop(self, tx: Tx, account: str) -> bool:
        """Delete a second factor with its recovery codes; return whether there was one that counted."""
        enabled = self.is_enabled(tx, account)
        rows.drop(tx, account)
        return enabled

    # ------------------------------------------------------------ codes

    def use_code(self, tx: Tx, account: str, code: str) -> int | None:
        """Use up a code, if the account has a second factor.

        Returns how many recovery codes are left after one was used, None after a code of the app. Raises
        SecondFactorNeeded for a missing or wrong one, and one that was used.
        """
        row = rows.find(tx, account)
        if row is None or row.enabled_at is None:
            return None
        plain = plain_code(code)
        if not plain:
            raise SecondFactorNeeded(
                "this account has a second factor: give a code from your authenticator app, or a recovery code, with "
                "the password",
                reason="missing",
            )
        if not is_recovery_code(plain):
            self._use_app_code(tx, row, plain)
            return None
        if not rows.use_recovery_code(tx, account, _hash(plain)):
            raise SecondFactorNeeded("this recovery code is wrong, or was used already", reason="wrong")
        return rows.count_recovery_codes(tx, account)

    def _use_app_code(self, tx: Tx, row: FactorRow, plain: str) -> None:
        now = totp.step_at(self._clock.wall())
        steps = totp.steps_of(self._secret(row), plain, now) if _CODE.fullmatch(plain) else []
        later = [step for step in steps if step > row.last_step]
        if later:
            rows.use_step(tx, row.account, later[0])
        elif steps:
            raise SecondFactorNeeded("this code was used already: wait for your app's next one", reason="used")
        else:
            raise SecondFactorNeeded(
                f"the code is wrong: give the {totp.DIGITS} digits that your app shows now; if they are refused again, "
                "its clock is wrong",
                reason="wrong",
            )

    def _secret(self, row: FactorRow) -> bytes:
        try:
            return self._sealer().open(_sealed_under(row.account), row.sealed)
        except LockstepError as error:
            raise Damaged(
                f"the second factor of {row.account} cannot be read ({error}): an administrator can reset it"
            ) from error

    def sealed_rows(self, reader: Reader) -> Iterator[SealedRow]:
        """Return every sealed secret."""
        yield from map(_sealed_row, rows.all_factors(reader))


def _hash(code: str) -> bytes:
    return blake3(code.encode()).digest()


def _sealed_under(account: str) -> Digest:
    """What a secret is bound to: one that is moved to another account's row does not open."""
    return chunk_digest(b"lockstep second factor\0" + account.encode())


def _sealed_row(row: FactorRow) -> SealedRow:
    return SealedRow(_sealed_under(row.account), row.sealed, lambda tx, sealed: rows.reseal(tx, row, sealed))
