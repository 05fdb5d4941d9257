"""Evaluates the limits of a key: the policies of its user or role, and those of its session.

An explicit Deny in any of them wins. Otherwise one of the identity's policies must allow the action, and so must each
policy of the session. A bucket's policy that names the identity itself replaces the first Allow, as at AWS.
"""

from __future__ import annotations

from directory_server.access import policy
from directory_server.access.own_keys import OWN_KEYS
from directory_server.access.policy_documents import parse_identity
from directory_server.people.limits import Limits
from directory_server.people.person import Person
from lockstep_store.wire.errors import Forbidden


def allow(limits: Limits, question: policy.Question, *, named: bool = False) -> bool:
    """Whether the limits allow the action. `named`: a policy of the resource allows it to this very identity."""
    if limits.own is not None:
        verdicts = {parse_identity(text).verdict(question) for text in limits.own}
        if "Deny" in verdicts or not ("Allow" in verdicts or named):
            return False
    return all(parse_identity(text).verdict(question) == "Allow" for text in limits.session)


def demand(person: Person, action: str, resource: str, at: float) -> None:
    """Raise Forbidden unless the person's limits, if any, allow an action that no bucket's policy decides about.

    `resource` follows the last colon of the ARN; `at` is seconds since 1970.
    """
    limits = person.limits
    if limits is None:
        return

    def key(name: str) -> list[str] | None:
        known = OWN_KEYS.get(name)
        if known is not None:
            return known(person, at)
        return person.access.keys.get(name) if person.access is not None else None

    if not allow(limits, policy.Question(person.account, action, resource, key, limits.principal)):
        raise Forbidden(f"{limits.who} may not do {action} on {resource}")
