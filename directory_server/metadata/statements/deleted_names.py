"""Takes the name of a deleted account out of stored policies, access control lists and multipart uploads: somebody else
may take the name.

Where it gives access, the name is replaced by an id that nobody can be. Where it only takes access away (a Deny to the
account, an Allow to all others), it stays: whoever takes the name gets no more than before. An upload's list is only
asked for until it is complete, and must name accounts, so it loses its grants to the account.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from typing import Any, Final

from sqlalchemy import and_, bindparam, func, literal, or_, select, update

from directory_server.metadata.principals import is_of_account
from directory_server.metadata.schema_identities import identity
from directory_server.metadata.schema_s3 import upload, version_setting
from directory_server.metadata.statement import Position, Statement
from directory_server.metadata.statements import access, buckets, s3_settings
from directory_server.metadata.store import MetadataStore, Tx
from lockstep_store.wire.names import tenant_of

PREFIX: Final = "deleted:"
"""Begins the id. No account's name has a colon, and names of users and roles also have a slash, which no id has."""
MAX_AT_ONCE: Final = 10_000
"""Lists of versions that one transaction changes."""
_TRUSTS = Statement(
    select(identity.c.account, identity.c.folded, identity.c.trust)
    .where(identity.c.kind == literal("role"))
    .order_by(identity.c.account, identity.c.folded)
)
_SET_TRUST = Statement(
    update(identity)
    .where(
        identity.c.account == bindparam("of_account"),
        identity.c.kind == literal("role"),
        identity.c.folded == bindparam("of_folded"),
    )
    .values(trust=bindparam("new_trust"))
)
# The server writes lists itself, so their spelling is known.
_NAMES_IT = and_(
    version_setting.c.name == literal(access.ACL), Position(version_setting.c.value, bindparam("old_id")) > literal(0)
)
_VERSIONS = Statement(
    select(version_setting.c.version)
    .where(version_setting.c.version > bindparam("after"), _NAMES_IT)
    .order_by(version_setting.c.version)
    .limit(bindparam("count"))
)
_REPLACE = (
    update(version_setting)
    .where(_NAMES_IT)
    .values(
        value=func.replace(
            func.replace(version_setting.c.value, bindparam("old_id"), bindparam("new_id")),
            bindparam("old_name"),
            bindparam("new_name"),
        )
    )
)
_REPLACE_SOME = Statement(
    _REPLACE.where(version_setting.c.version > bindparam("after"), version_setting.c.version <= bindparam("last"))
)
_REPLACE_ALL = Statement(_REPLACE)


_UPLOADS = Statement(
    select(upload.c.id, upload.c.settings).where(
        or_(upload.c.account == bindparam("of_account"), Position(upload.c.settings, bindparam("part")) > literal(0))
    )
)
_SET_UPLOAD = Statement(
    update(upload).where(upload.c.id == bindparam("of_id")).values(settings=bindparam("new_settings"))
)
_DISOWN_UPLOADS = Statement(
    update(upload).where(upload.c.account == bindparam("of_account")).values(account=bindparam("new_account"))
)


def new_id() -> str:
    """Return an id that stands for one deleted account."""
    return f"{PREFIX}{secrets.token_hex(8)}"


def replace_in_most_versions(store: MetadataStore, account: str, id: str) -> None:
    """Replace the account in the lists of versions until less than `MAX_AT_ONCE` name it.

    Call it before the transaction that replaces the others. There, a million lists would stop every writer for many
    seconds and take a gigabyte of memory.
    """
    after, words = "", _words(account, id)
    while True:
        with store.read() as reader:
            found = reader.all(_VERSIONS, old_id=words["old_id"], after=after, count=MAX_AT_ONCE)
        if len(found) < MAX_AT_ONCE:
            return
        _replace_some(store, words, after, found[-1][0])
        after = found[-1][0]


def _replace_some(store: MetadataStore, words: dict[str, str], after: str, last: str) -> None:
    store.write(lambda tx: tx.run(_REPLACE_SOME, after=after, last=last, **words))


def _words(account: str, id: str) -> dict[str, str]:
    return {
        f"{which}_{part}": f'"{member}": {json.dumps(name)}'
        for which, name in (("old", account), ("new", id))
        for part, member in (("id", "ID"), ("name", "DisplayName"))
    }


def replace_deleted(tx: Tx, account: str, id: str) -> None:
    """Replace a deleted account, whose buckets have a new owner already, in all policies and lists."""
    tenant = tenant_of(account)
    for bucket in access.buckets_with(tx, access.POLICY, tenant):
        stored = s3_settings.bucket_value(tx, bucket, access.POLICY) or "{}"
        text = policy_without(stored, account, id)
        if text != stored:
            s3_settings.put_bucket_value(tx, bucket, access.POLICY, text)
    for bucket in access.buckets_with(tx, access.ACL, tenant):
        stored = s3_settings.bucket_value(tx, bucket, access.ACL) or "{}"
        text = _list_without(stored, account, id, buckets.require(tx, bucket).owner)
        if text != stored:
            s3_settings.put_bucket_value(tx, bucket, access.ACL, text)
    for owner, folded, stored in tx.all(_TRUSTS):
        text = policy_without(stored, account, id) if tenant_of(owner) == tenant else stored
        if text != stored:
            tx.run(_SET_TRUST, of_account=owner, of_folded=folded, new_trust=text)
    tx.run(_REPLACE_ALL, **_words(account, id))
    _replace_in_uploads(tx, account, id)


def _replace_in_uploads(tx: Tx, account: str, id: str) -> None:
    # Whatever wrote a list, and however it escapes the rest of a name, letters and digits stand for themselves.
    part = max(re.findall("[A-Za-z0-9]+", account), key=len, default=access.ACL)
    for upload_id, stored in tx.all(_UPLOADS, of_account=account, part=part):
        settings = json.loads(stored or "{}")
        if access.ACL in settings:
            settings[access.ACL] = _asked_without(settings[access.ACL], account)
            tx.run(_SET_UPLOAD, of_id=upload_id, new_settings=json.dumps(settings, separators=(",", ":")))
    tx.run(_DISOWN_UPLOADS, of_account=account, new_account=id)


def _asked_without(text: str, account: str) -> str:
    """Return a list that a request asks for, without the account."""
    asked = json.loads(text)
    if (asked.get("Owner") or {}).get("ID") == account:
        del asked["Owner"]
    if asked.get("Grants"):
        given = [(grant, grant.get("Grantee") or {}) for grant in asked["Grants"]]
        asked["Grants"] = [grant for grant, to in given if account not in (to.get("ID"), to.get("EmailAddress"))]
    return json.dumps(asked)


def policy_without(text: str, account: str, id: str) -> str:
    """Return a stored policy document with `id` for the account, its users and its roles, where they get access.

    A document without them is returned as it is.
    """
    document = json.loads(text or "{}", parse_float=_number)
    statements = document.get("Statement", [])
    changed = False
    for one in statements if isinstance(statements, list) else [statements]:
        gives = "Principal" if one["Effect"] == "Allow" else "NotPrincipal"
        named = one.get(gives)
        if not isinstance(named, dict):
            continue
        for kind in named.keys() & {"AWS", "CanonicalUser"}:
            given = named[kind]
            names = given if isinstance(given, list) else [given]
            # Once, however many it replaces: documents must not grow with every user of an account.
            kept = list(dict.fromkeys(id if is_of_account(name, account) else name for name in names))
            if id in kept:
                named[kind] = kept if isinstance(given, list) else id
                changed = True
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) if changed else text


def _number(text: str) -> Any:
    found = float(text)
    return found if math.isfinite(found) else text  # infinity cannot be written as JSON; as text it compares the same


def _list_without(text: str, account: str, id: str, owner: str) -> str:
    """Return a bucket's list with `id` for the account; one of its own former buckets gets the new owner instead."""
    found = json.loads(text)
    if found["Owner"]["ID"] == account:
        id = owner
    everybody = [found["Owner"], *(grant["Grantee"] for grant in found["Grants"])]
    for one in everybody:
        if one.get("ID") == account:
            one.update(ID=id, DisplayName=id)
    return json.dumps(found)
