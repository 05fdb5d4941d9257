"""The tables of second factors: secrets of authenticator apps, and recovery codes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, LargeBinary

from directory_server.metadata.schema_base import Name, table

# The secret is sealed with the storage keys. `last_step` is the time step (RFC 6238) of the last code that was used:
# only codes of later steps are good, so each is used at most once.
second_factor = table(
    "second_factor",
    Column("account", Name, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("enabled_at", Float, comment="NULL until a first code was given"),
)

# Hashes of the recovery codes that are not used yet.
recovery_code = table(
    "recovery_code",
    Column("account", Name, primary_key=True),
    Column("code_hash", LargeBinary(32), primary_key=True),
)
