"""STS: who the caller is, and temporary keys."""

from __future__ import annotations

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.query.api import QueryCall, QueryHandlers
from client_proxy.doors.s3.query.errors import QueryError
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.identities import (
    CALLER,
    MAX_POLICY_CHARACTERS,
    NEW_SESSION,
    WEB_IDENTITY_SESSION,
    NewSession,
    NewSessionRequest,
    WebIdentityRequest,
)
from lockstep_store.wire.messages.s3 import S3KeyInfo

ROLE_SECONDS = 3600
TOKEN_SECONDS = 43_200
_NOT_HERE = ("PolicyArns", "SerialNumber", "TokenCode", "ProvidedContexts", "ProviderId", "MinimumSessionTokenSize")
"""Parameters that change what the keys may do, and that nothing here has."""


class StsHandlers:
    """The operations of STS."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def handlers(self) -> QueryHandlers:
        return {
            ("sts", "GetCallerIdentity"): self.caller,
            ("sts", "GetSessionToken"): self.session_token,
            ("sts", "AssumeRole"): self.assume_role,
            ("sts", "AssumeRoleWithWebIdentity"): self.web_identity,
        }

    def caller(self, call: QueryCall) -> Values:
        found = self._directory.call(CALLER, CredentialRequest(call.credential))
        return {"UserId": found.id, "Account": found.account, "Arn": found.arn}

    def session_token(self, call: QueryCall) -> Values:
        _refuse_unsupported(call)
        seconds = call.values.get("DurationSeconds", TOKEN_SECONDS)
        return {"Credentials": _credentials(self._session(NewSessionRequest(call.credential, seconds)).key)}

    def assume_role(self, call: QueryCall) -> Values:
        _refuse_unsupported(call)
        values, policies, keys = call.values, [], dict(call.keys)
        if "Policy" in values:
            policies = [_session_policy(values["Policy"])]
        if "ExternalId" in values:
            keys["sts:externalid"] = [values["ExternalId"]]
        made = self._session(
            NewSessionRequest(
                call.credential,
                values.get("DurationSeconds", ROLE_SECONDS),
                values["RoleArn"],
                values["RoleSessionName"],
                policies,
                keys,
            )
        )
        user = {"AssumedRoleId": made.signer.id, "Arn": made.signer.arn}
        output: Values = {"Credentials": _credentials(made.key), "AssumedRoleUser": user}
        if "SourceIdentity" in values:
            output["SourceIdentity"] = values["SourceIdentity"]
        return output

    def web_identity(self, call: QueryCall) -> Values:
        _refuse_unsupported(call)
        values = call.values
        made = self._directory.call(
            WEB_IDENTITY_SESSION,
            WebIdentityRequest(
                values["RoleArn"],
                values["RoleSessionName"],
                values["WebIdentityToken"],
                values.get("DurationSeconds", ROLE_SECONDS),
                [_session_policy(values["Policy"])] if "Policy" in values else [],
                call.keys,
                call.keys["aws:sourceip"][0],
            ),
        )
        return {
            "Credentials": _credentials(made.key),
            "AssumedRoleUser": {"AssumedRoleId": made.signer.id, "Arn": made.signer.arn},
            "SubjectFromWebIdentityToken": made.subject,
            "Audience": made.audience,
            "Provider": made.issuer,
        }

    def _session(self, request: NewSessionRequest) -> NewSession:
        made: NewSession = self._directory.call(NEW_SESSION, request)
        return made


def _session_policy(text: str) -> str:
    if len(text) > MAX_POLICY_CHARACTERS:
        raise QueryError("ValidationError", f"a session policy may have at most {MAX_POLICY_CHARACTERS} characters")
    return text


def _refuse_unsupported(call: QueryCall) -> None:
    for name in _NOT_HERE:
        if call.values.get(name):
            raise QueryError("NotImplemented", f"{call.operation.name} does not support the parameter {name}")


def _credentials(key: S3KeyInfo) -> Values:
    return {
        "AccessKeyId": key.access_key_id,
        "SecretAccessKey": key.secret,
        "SessionToken": key.session_token,
        "Expiration": key.expires_at,
    }
