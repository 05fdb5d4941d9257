"""The stored access control lists of a bucket and its versions. acl.py has what a list means."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from directory_server.access import acl
from directory_server.access.rules import ENFORCED, PREFERRED, Rules
from directory_server.metadata.statements import access as rows
from directory_server.metadata.statements import files, people, s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import Reader, Row
from lockstep_store.wire.errors import BadRequest, Forbidden
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.names import tenant_of


class AccessLists:
    """Reads and prepares the lists of one bucket, within one snapshot."""

    def __init__(self, reader: Reader, bucket: Bucket, rules: Rules) -> None:
        self._reader = reader
        self._bucket = bucket
        self._rules = rules

    def of_bucket(self) -> acl.Acl:
        """Return the bucket's access control list, or the default one where lists are disabled."""
        default = acl.default(self._bucket.owner)
        return default if self._rules.acl is None or self._rules.ownership == ENFORCED else self._rules.acl

    def of_version(self, row: Row) -> acl.Acl:
        """Return a version's access control list."""
        if self._rules.ownership == ENFORCED:
            return acl.default(self._bucket.owner)
        text = s3_settings.version_values(self._reader, row[2]).get(rows.ACL)
        found: acl.Acl = json.loads(text) if text is not None else acl.default(row[7])
        return found

    def on_path(self, path: str) -> list[acl.Acl]:
        """Return the lists that concern a path: the bucket's, and its current version's if there is one."""
        row = self._reader.one(files.CURRENT, bucket=self._bucket.name, path=path)
        return [self.of_bucket(), *([self.of_version(row)] if row is not None else [])]

    def owner_of(self, row: Row) -> str:
        """Return a version's owner: its writer, unless its list names another."""
        return str(self.of_version(row)["Owner"]["ID"])

    def owner_of_all(self) -> str | None:
        """Return who owns every version, empty if each one's author does; None if it depends on the version."""
        if self._rules.ownership == PREFERRED:
            return None
        return self._bucket.owner if self._rules.ownership == ENFORCED else ""

    def fill_in_owners(self, listed: Iterable[FileVersion]) -> None:
        """Fill in the owners of a listing's versions where the bucket's ownership controls can change them."""
        if self._rules.ownership == ENFORCED:
            for version in listed:
                version.owner = self._bucket.owner
        elif self._rules.ownership == PREFERRED:
            for version in listed:
                text = s3_settings.short_version_values(self._reader, version.version).get(rows.ACL)
                version.owner = json.loads(text)["Owner"]["ID"] if text is not None else ""

    def owner_to_be(self, settings: Mapping[str, str]) -> str:
        """Return who will own a version with these settings, which are not settled; empty for its author."""
        if self._rules.ownership == ENFORCED:
            return self._bucket.owner
        asked = settings.get(rows.ACL) if self._rules.ownership == PREFERRED else None
        is_given = asked is not None and json.loads(asked).get("canned") == acl.CANNED_FOR_OWNER
        return self._bucket.owner if is_given else ""

    def settled(self, settings: dict[str, str], author: str) -> dict[str, str]:
        """Return a new version's settings with the access control list that its writer requests in them.

        Raises Forbidden or BadRequest if the bucket does not allow that list.
        """
        asked = settings[rows.ACL]
        kept = self.settled_acl(asked, "object", author)
        if acl.is_private(asked):  # a version without a stored list has the default one
            return {name: value for name, value in settings.items() if name != rows.ACL}
        return settings | {rows.ACL: kept}

    def settled_acl(self, asked: str, scope: acl.Scope, owner: str) -> str:
        """Return the list that a request asks for, in stored form."""
        name = self._bucket.owner
        try:
            if self._rules.ownership == ENFORCED:
                if scope == "bucket" or acl.read_asked(asked).get("canned") != acl.CANNED_FOR_OWNER:
                    raise BadRequest("the bucket does not allow ACLs", s3_code="AccessControlListNotSupported")
                owner = name
            elif self._rules.ownership == PREFERRED and acl.read_asked(asked).get("canned") == acl.CANNED_FOR_OWNER:
                owner = name
            found = acl.settled(asked, scope, owner, name, self._is_account)
        except acl.BadAcl as error:
            if error.code == "AccessDenied":
                raise Forbidden(str(error)) from error
            raise BadRequest(str(error), s3_code=error.code) from error
        if "BlockPublicAcls" in self._rules.blocked and acl.is_public(found):
            raise Forbidden(f"bucket {self._bucket.name!r} blocks public ACLs", bucket=self._bucket.name)
        return json.dumps(found)

    def _is_account(self, name: str) -> bool:
        known = self._reader.one(people.ACCOUNT, name=name) is not None
        return known and tenant_of(name) == tenant_of(self._bucket.owner)
