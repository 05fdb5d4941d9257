"""Refusals of STS and IAM, with AWS's codes and statuses, and the table from the cluster's errors to them."""

from __future__ import annotations

from typing import NamedTuple

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire import errors as e

# Source: "Common Errors" of both API references, and the errors of their operations.
_STATUS = {
    "AccessDenied": 403,
    "DeleteConflict": 409,
    "EntityAlreadyExists": 409,
    "ExpiredToken": 403,
    "ExpiredTokenException": 400,
    "IDPCommunicationError": 400,
    "IncompleteSignature": 400,
    "InternalFailure": 500,
    "InvalidAction": 400,
    "InvalidClientTokenId": 403,
    "InvalidIdentityToken": 400,
    "LimitExceeded": 409,
    "MalformedPolicyDocument": 400,
    "MissingAuthenticationToken": 403,
    "NoSuchEntity": 404,
    "NotImplemented": 501,
    "RequestExpired": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "Throttling": 400,
    "ValidationError": 400,
}


class QueryError(Exception):
    """A request that STS or IAM refuses with `code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = _STATUS[code]
        self.message = message


class _Row(NamedTuple):
    """Errors of `kind` that have this `fact`, if one is named, and their code."""

    kind: type[e.LockstepError]
    fact: str
    code: str


_TABLE = (
    _Row(e.NotLoggedIn, "expired_token", "ExpiredTokenException"),
    _Row(e.NotLoggedIn, "id_token", "InvalidIdentityToken"),
    _Row(e.NotLoggedIn, "expired", "ExpiredToken"),
    _Row(e.NotLoggedIn, "signature", "SignatureDoesNotMatch"),
    _Row(e.NotLoggedIn, "", "InvalidClientTokenId"),
    _Row(e.Forbidden, "", "AccessDenied"),
    _Row(e.NotFound, "", "NoSuchEntity"),
    _Row(e.AlreadyExists, "", "EntityAlreadyExists"),
    _Row(e.Conflict, "in_use", "DeleteConflict"),
    _Row(e.Conflict, "identity_provider", "IDPCommunicationError"),
    _Row(e.Conflict, "", "LimitExceeded"),
    _Row(e.TooManyRequests, "", "Throttling"),
    _Row(e.Overloaded, "", "Throttling"),
    _Row(e.Unavailable, "identity_provider", "IDPCommunicationError"),
    _Row(e.Unavailable, "", "ServiceUnavailable"),
    _Row(e.BadRequest, "s3_code", "MalformedPolicyDocument"),
    _Row(e.BadRequest, "", "ValidationError"),
    _Row(e.LockstepError, "", "InternalFailure"),
)
_OF_S3 = {
    "RequestTimeTooSkewed": "SignatureDoesNotMatch",
    "InvalidRequest": "ValidationError",
    "ExpiredToken": "ExpiredToken",
    "InvalidToken": "InvalidClientTokenId",
    "MaxMessageLengthExceeded": "ValidationError",
    "IncompleteBody": "ValidationError",
    "InvalidURI": "ValidationError",
}
"""Codes of what reads requests for every service; any other is about the signature's form."""


def as_query_error(error: e.LockstepError | S3Error) -> QueryError:
    """The refusal of STS and IAM for a failure."""
    if isinstance(error, S3Error):
        return QueryError(_OF_S3.get(error.code, "IncompleteSignature"), error.message)
    row = next(one for one in _TABLE if isinstance(error, one.kind) and (not one.fact or error.facts.get(one.fact)))
    return QueryError(row.code, str(error))
