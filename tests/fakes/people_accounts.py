"""Accounts of the cluster in memory: passwords, log-ins, API keys and S3 keys."""

from __future__ import annotations

import threading
import time

from lockstep_store.wire.errors import (
    AlreadyExists,
    NotFound,
    NotLoggedIn,
)
from lockstep_store.wire.messages import people as am
from lockstep_store.wire.messages import s3 as s3
from lockstep_store.wire.messages.base import CredentialRequest, Nothing
from lockstep_store.wire.messages.s3_access import S3Access

ADMIN = "admin"
ADMIN_PASSWORD = "admin-password"


class AccountsCore:
    """Knows everybody by a credential. `calls` lists what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Condition(threading.RLock())
        self.passwords = {ADMIN: ADMIN_PASSWORD}
        self.tokens: dict[str, str] = {}
        self.keys: dict[str, tuple[str, am.ApiKeyInfo]] = {}
        self.s3_access_keys: dict[str, s3.S3KeyInfo] = {}
        self.calls: list[str] = []

    def _login(self, request: am.PasswordRequest) -> am.LoginReply:
        with self._guard:
            self.calls.append("login")
            known = self.passwords.get(request.name)
            if known is not None and request.register == "must":
                raise AlreadyExists(f"the user name {request.name} is taken")
            if known is not None and known != request.password:
                raise NotLoggedIn("the password does not match this user name")
            self.passwords[request.name] = request.password
            token = f"lst_{len(self.tokens)}_{request.name}"
            self.tokens[token] = request.name
            return am.LoginReply(token, request.name, request.name == ADMIN, time.time() + 3600, known is None)

    def _logout(self, request: CredentialRequest) -> Nothing:
        self._who(request.credential, "logout")
        self.tokens.pop(request.credential, None)
        return Nothing()

    def _who_am_i(self, request: CredentialRequest) -> am.AccountInfo:
        account = self._who(request.credential, "who_am_i")
        return am.AccountInfo(account, account == ADMIN, 0.0)

    def _api_keys(self, request: CredentialRequest) -> am.ApiKeysReply:
        account = self._who(request.credential, "api_keys")
        return am.ApiKeysReply([key for owner, key in self.keys.values() if owner == account])

    def _api_keys_create(self, request: am.CreateApiKeyRequest) -> am.ApiKeyInfo:
        account = self._who(request.credential, "create_key")
        key = am.ApiKeyInfo(f"key{len(self.keys)}", request.name, 1.7e9)
        secret = f"lsk_{key.id}"
        self.keys[key.id] = (account, key)
        self.tokens[secret] = account
        return am.ApiKeyInfo(key.id, key.name, key.created_at, secret)

    def _api_keys_revoke(self, request: am.RevokeApiKeyRequest) -> Nothing:
        self._who(request.credential, "revoke_key")
        if self.keys.pop(request.key_id, None) is None:
            raise NotFound("no such API key")
        self.tokens.pop(f"lsk_{request.key_id}", None)
        return Nothing()

    def _s3_keys(self, request: CredentialRequest) -> s3.S3KeysReply:
        account = self._who(request.credential, "s3_keys")
        return s3.S3KeysReply([key for key in self.s3_access_keys.values() if key.account == account])

    def _s3_keys_create(self, request: s3.CreateS3KeyRequest) -> s3.S3KeyInfo:
        account = self._who(request.credential, "create_s3_key")
        key = s3.S3KeyInfo(f"LS{len(self.calls)}", account, 1.7e9, request.name)
        self.s3_access_keys[key.access_key_id] = key
        token = "session" if request.valid_seconds else ""
        return s3.S3KeyInfo(key.access_key_id, account, 1.7e9, request.name, "secret of " + key.access_key_id, token)

    def _s3_keys_rotate(self, request: s3.S3KeyRequest) -> s3.S3KeyInfo:
        self._who(request.credential, "rotate_s3_key")
        old = self.s3_access_keys.pop(request.access_key_id)
        return self._s3_keys_create(s3.CreateS3KeyRequest(request.credential, old.name))

    def _s3_keys_revoke(self, request: s3.S3KeyRequest) -> Nothing:
        self._who(request.credential, "revoke_s3_key")
        if self.s3_access_keys.pop(request.access_key_id, None) is None:
            raise NotFound("no such S3 key")
        return Nothing()

    def _who(self, credential: str, what: str) -> str:
        self.calls.append(what)
        access = S3Access.decode(credential)
        account = self.tokens.get(credential if access is None else access.credential)
        if account is None:
            raise NotLoggedIn("this token is wrong, expired or revoked: log in again")
        return account
