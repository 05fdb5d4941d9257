"""The names by which the programs check rights, reviewed by hand, and what each comes to when it is taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Arguments = tuple[Any, ...]
Allow = Callable[[Callable[..., Any], Arguments, Mapping[str, Any]], Any]
"""What a call returns when it may not refuse."""


def _constant(value: Any) -> Allow:
    return lambda called, arguments, named: value


def _bucket(called: Callable[..., Any], arguments: Arguments, named: Mapping[str, Any]) -> Any:
    return getattr(called.__self__, "bucket", None)  # type: ignore[attr-defined]


def _any_account(called: Callable[..., Any], arguments: Arguments, named: Mapping[str, Any]) -> Any:
    return called.__self__.authenticate(*arguments)  # type: ignore[attr-defined]


def _anybody(called: Callable[..., Any], arguments: Arguments, named: Mapping[str, Any]) -> Any:
    # Not above: what is imported there is imported before the hook.
    from directory_server.people.person import Person
    from lockstep_store.wire.errors import NotLoggedIn

    try:
        return called(*arguments, **named)
    except NotLoggedIn:
        return Person("admin", True, "nobody's")


def _argument(place: int) -> Allow:
    return lambda called, arguments, named: arguments[place]


def _own_number(called: Callable[..., Any], arguments: Arguments, named: Mapping[str, Any]) -> Any:
    return arguments[-1] or 0


TRUE, FALSE, NOTHING = _constant(True), _constant(False), _constant(None)
CALLS: dict[str, Allow] = {
    # Rights in buckets
    "demand": _bucket,
    "demand_settings": NOTHING,
    "denied": FALSE,
    "hide": _argument(0),
    "judged_as": _argument(0),
    "may": TRUE,
    "may_bypass_governance": TRUE,
    "may_hide": FALSE,
    "may_read": TRUE,
    "shown": _argument(3),
    "changes_as_reader": FALSE,
    "_granted": TRUE,
    "_verdict": _constant("Allow"),
    # People
    "check_enabled": NOTHING,
    "federates": TRUE,
    "demand_required": NOTHING,
    "demand_unchanged": NOTHING,
    "_demand_unchanged": _constant(False),
    "administrator": _any_account,
    "anyone": _anybody,
    "authenticate": _anybody,
    "identify": _anybody,
    "who": _anybody,
    "is_made_with": TRUE,
    "refuse_one_time": NOTHING,
    "use_code": NOTHING,
    "must_enrol": FALSE,
    "is_required": FALSE,
    "demand_operator": NOTHING,
    "_is_from_here": TRUE,
    # Locks
    "check_write": _own_number,
    "_only_owner": NOTHING,
    "administers": TRUE,
    "refused": NOTHING,
    # Programs
    "check_request": NOTHING,
    "compare_digest": TRUE,
    "is_role": TRUE,
    "refuse_member": NOTHING,
    "key.verify": NOTHING,
    "verify_directly_issued_by": NOTHING,
    # S3 signatures
    "check_all_signed": NOTHING,
    "check_form_day": NOTHING,
    "check_time": NOTHING,
}
"""Calls that demand a right or answer whether there is one, by the name that is called."""

ROLES = frozenset({"serve", "serve_raw"})
"""Calls that register a route for programs of some roles. Taken away: every role."""

ERRORS = frozenset(
    {
        *("Forbidden", "NotLoggedIn", "SecondFactorNeeded", "PeerRefused", "TicketRefused"),
        *("LockStale", "locked", "stale"),
    }
)
"""Refusals, or what makes them. Taken away: the `raise` that one of them is in."""
CODES = frozenset({"AccessDenied", "RequestTimeTooSkewed", "SignatureDoesNotMatch"})
"""S3Errors that are refusals, by their first argument."""
ERROR_MAKERS = frozenset({"_denied"})

ATTRIBUTES: dict[str, bool] = {
    **{"admin": True, "disabled": False, "read_only": False, "trusted": True},
    **{"hidden": False, "tenant_admin": True},
}
"""Properties of a person that a condition asks for, with the value that lets anybody in."""
OWNER = "owner"
"""A comparison of this attribute with an `account` is true when it is taken away."""

NO_CHECKS: dict[str, str] = {
    "client_proxy.doors.rest.limited:_LimitedHandler.__call__:identify": "counts a request; the directory decides",
    **{
        f"client_proxy.doors.s3.query.iam:IamHandlers.{name}": "writes what an answer shows of an identity"
        for name in (
            *("create:shown", "get:shown", "group:shown", "group:shown#2", "groups_of_user:shown", "list:shown"),
        )
    },
    "directory_server.access.refusals:forbidden:changes_as_reader": "chooses the words of a refusal",
    "directory_server.access.decisions:Standing.decide:owner": "chooses the words of an explanation",
    "directory_server.api.router:DirectoryApi._put_bucket_setting:identify": "names who changed it, after the change",
    "directory_server.files.buckets:Buckets.create.work:owner": "chooses the words of a refusal",
    "client_proxy.doors.s3.door:S3Door._answer:identify": "asks the gate, whose own checks are in the list",
    "directory_server.identity_providers.provider:role_of:read_only": "a provider's rules, not a person's role",
    "directory_server.people.second_factors:SecondFactors.state:is_required": "shows it",
    "lockstep_store.runtime.tls.join_token:JoinToken.decode:is_role": "a client reads its own invitation",
}
"""Places that have one of the names and decide about nobody's right, with the reason."""

_LATER = "the directory refuses it with the same status"
SURVIVORS: dict[str, str] = {
    "client_proxy.doors.callers:check_credential:NotLoggedIn#2": _LATER,
    "client_proxy.doors.rest.request:RestRequest.credential:NotLoggedIn": _LATER,
    "client_proxy.doors.s3.auth.gate:Gate._caller:NotLoggedIn": _LATER,
    "client_proxy.doors.s3.buckets.buckets:BucketHandlers.list:AccessDenied": _LATER,
    "lockstep_store.runtime.peers.proofs:ProofCheck._check:PeerRefused": "what is no proof fails in the next lines",
    "lockstep_store.runtime.tls.certificate_authority:CertificateAuthority.verify_peer_token:is_role": (
        "a token of another role has no right code, which the next lines ask for"
    ),
    "directory_server.access.known_content:may_hide:trusted": "without rules only those may list at all",
    "directory_server.access.lists:AccessLists.settled_acl:Forbidden": "the next line refuses with the same S3 code",
    "directory_server.people.accounts:person_of_credential:NotLoggedIn": "the next line refuses with the same status",
    "directory_server.people.accounts:Accounts.who_am_i:NotLoggedIn": "for an account that is deleted at that moment",
    "client_proxy.doors.s3.auth.signature:check_signature:is_made_with#2": "the next line asks again",
}
"""Checks that no test can miss, with the reason."""
