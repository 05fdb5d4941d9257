"""Who may give a version settings, read them, or override a retention in governance mode."""

from __future__ import annotations

from directory_server.access.acl import is_private
from directory_server.access.decisions import Standing
from directory_server.metadata.statements.access import ACL
from lockstep_store.wire.messages.s3 import LEGAL_HOLD, RETENTION, TAGS

_ACTIONS = {
    TAGS: "s3:PutObjectTagging",
    ACL: "s3:PutObjectAcl",
    RETENTION: "s3:PutObjectRetention",
    LEGAL_HOLD: "s3:PutObjectLegalHold",
}
"""The action that a writer needs, in addition to writing, to give a new version the setting."""
_COMES_WITH_WRITING = frozenset({TAGS, ACL})
"""Every writer may set these unless the policy denies it."""
_READ_ACTIONS = {RETENTION: "s3:GetObjectRetention", LEGAL_HOLD: "s3:GetObjectLegalHold"}


def demand_settings(place: Standing, path: str, settings: dict[str, str]) -> None:
    """Raise Forbidden unless the person may give a new version of `path` these settings."""
    for name in settings.keys() & _ACTIONS.keys():
        if name == ACL and is_private(settings[ACL]):  # some clients send it with every write
            continue
        if name not in _COMES_WITH_WRITING or place.denied(_ACTIONS[name], path):
            place.demand(_ACTIONS[name], path)


def shown(place: Standing, path: str, version: str | None, settings: dict[str, str]) -> dict[str, str]:
    """Return a version's settings without the locks that the person may not read."""
    hidden = {
        name
        for name, action in _READ_ACTIONS.items()
        if name in settings and not place.may(action, path, version=version)
    }
    return {name: value for name, value in settings.items() if name not in hidden} if hidden else settings


def may_bypass_governance(place: Standing, path: str, version: str | None) -> bool:
    """Whether the person may override a retention in governance mode: the owner, administrators, and whom the policy
    allows it. Sharing a bucket does not give this right."""
    return place.may("s3:BypassGovernanceRetention", path, version=version, owners_only=True)
