"""Statements about second factors and recovery codes, for `directory_server.people`."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Boolean, and_, bindparam, delete, func, insert, or_, select, update

from directory_server.metadata.schema import account, session
from directory_server.metadata.schema_second_factor import recovery_code, second_factor
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx


@dataclass(frozen=True)
class FactorRow:
    """A second factor with its sealed secret; `enabled_at` is None until a first code was given."""

    account: str
    sealed: bytes = field(repr=False)
    last_step: int
    enabled_at: float | None


_COLUMNS = (second_factor.c.account, second_factor.c.secret, second_factor.c.last_step, second_factor.c.enabled_at)
_OF_ACCOUNT = second_factor.c.account == bindparam("of_account")
_FIND = Statement(select(*_COLUMNS).where(_OF_ACCOUNT))
_ALL = Statement(select(*_COLUMNS))
_INSERT = Statement(insert(second_factor).values({column.name: bindparam(column.name) for column in second_factor.c}))
_DELETE = Statement(delete(second_factor).where(_OF_ACCOUNT))
_ENABLE = Statement(update(second_factor).where(_OF_ACCOUNT).values(enabled_at=bindparam("new_enabled_at")))
_USE_STEP = Statement(update(second_factor).where(_OF_ACCOUNT).values(last_step=bindparam("new_step")))
_RESEAL = Statement(
    update(second_factor)
    .where(_OF_ACCOUNT, second_factor.c.secret == bindparam("old_secret"))
    .values(secret=bindparam("new_secret"))
)
_INSERT_CODE = Statement(insert(recovery_code).values(account=bindparam("account"), code_hash=bindparam("code_hash")))
_COUNT_CODES = Statement(select(func.count()).where(recovery_code.c.account == bindparam("of_account")))
_DELETE_CODE = Statement(
    delete(recovery_code).where(
        recovery_code.c.account == bindparam("of_account"), recovery_code.c.code_hash == bindparam("hash")
    )
)
_DELETE_CODES = Statement(delete(recovery_code).where(recovery_code.c.account == bindparam("of_account")))
_REQUIRE = Statement(
    update(account)
    .where(account.c.name == bindparam("of_account"))
    .values(second_factor_required=bindparam("new_required"))
)
DELETE_ALL_OF = (_DELETE, _DELETE_CODES)
_ADMINISTRATOR = or_(account.c.admin, account.c.tenant_admin)
_REQUIRED = Statement(
    select(_ADMINISTRATOR, account.c.second_factor_required).where(account.c.name == bindparam("name"))
)
_ENABLED = select(second_factor.c.account).where(second_factor.c.enabled_at.is_not(None))
_END_SESSIONS_WITHOUT = Statement(
    delete(session).where(
        session.c.account.in_(
            select(account.c.name).where(
                or_(
                    account.c.second_factor_required,
                    and_(_ADMINISTRATOR, bindparam("of_administrators", type_=Boolean)),
                    bindparam("of_everyone", type_=Boolean),
                ),
                account.c.name.not_in(_ENABLED),
                account.c.password_hash != b"",  # without a password, all log-ins are by single sign-on
            )
        )
    )
)


def find(reader: Reader, account: str) -> FactorRow | None:
    row = reader.one(_FIND, of_account=account)
    return None if row is None else FactorRow(*row)


def all_factors(reader: Reader) -> list[FactorRow]:
    return [FactorRow(*row) for row in reader.all(_ALL)]


def put(tx: Tx, made: FactorRow) -> None:
    """Store a factor in place of an earlier one."""
    tx.run(_DELETE, of_account=made.account)
    tx.run(
        _INSERT,
        account=made.account,
        secret=made.sealed,
        last_step=made.last_step,
        enabled_at=made.enabled_at,
    )


def enable(tx: Tx, account: str, at: float) -> None:
    tx.run(_ENABLE, of_account=account, new_enabled_at=at)


def use_step(tx: Tx, account: str, step: int) -> None:
    """From now on only codes of later steps are good."""
    tx.run(_USE_STEP, of_account=account, new_step=step)


def reseal(tx: Tx, row: FactorRow, sealed: bytes) -> int:
    """Store other sealed bytes of a factor unless they have changed; return the number of rows changed."""
    return tx.run(_RESEAL, of_account=row.account, old_secret=row.sealed, new_secret=sealed)


def drop(tx: Tx, account: str) -> int:
    """Delete a factor and its recovery codes; return 0 if there was no factor."""
    tx.run(_DELETE_CODES, of_account=account)
    return tx.run(_DELETE, of_account=account)


def put_recovery_codes(tx: Tx, account: str, hashes: list[bytes]) -> None:
    """Store recovery codes in place of the earlier ones."""
    tx.run(_DELETE_CODES, of_account=account)
    for hash in hashes:
        tx.run(_INSERT_CODE, account=account, code_hash=hash)


def count_recovery_codes(reader: Reader, account: str) -> int:
    row = reader.one(_COUNT_CODES, of_account=account)
    assert row is not None
    return int(row[0])


def use_recovery_code(tx: Tx, account: str, hash: bytes) -> bool:
    """Delete a recovery code; return whether there was one."""
    return tx.run(_DELETE_CODE, of_account=account, hash=hash) > 0


def standing(reader: Reader, account: str) -> tuple[bool, bool]:
    """Whether an account is an administrator's, and whether a second factor is required of it by name."""
    row = reader.one(_REQUIRED, name=account)
    return (False, False) if row is None else (bool(row[0]), bool(row[1]))


def require(tx: Tx, account: str, required: bool) -> None:
    """Note whether a second factor is required of an account by name."""
    tx.run(_REQUIRE, of_account=account, new_required=required)


def end_sessions_without(tx: Tx, *, of_administrators: bool, of_everyone: bool) -> int:
    """End the log-ins of accounts that need a second factor and have none; return how many there were."""
    return tx.run(_END_SESSIONS_WITHOUT, of_administrators=of_administrators, of_everyone=of_everyone)
