"""Everybody who may ask something of a cluster, each with a credential for the API and one for S3.

Olga owns a bucket. Its policy lets the reader and the writer do what their names say, and the account of the role
read-only everything. The stranger has an account, and no right in the bucket. The outsider is an administrator of a
tenant; everybody else belongs to none. Limited is a service account of Olga's
that may only read: its key is for S3 alone, and its secret is all that it can show the API. The credentials of the last
three were an administrator's until the account was disabled, they ended, or they were revoked.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lockstep_store.wire.messages.s3 import CREATE_S3_KEY, CreateS3KeyRequest
from tests.authenticator import Authenticator
from tests.fakes.wsgi import Answer
from tests.s3.people import anonymous_client, document, header_client, statement
from tests.s3.rig import S3Rig

PASSWORD = "correct horse"
READING = ("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions")
WRITING = (
    *READING,
    *("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
    *("s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads"),
)
VOID = frozenset({"anonymous", "disabled", "expired", "revoked"})
"""Those whom no account stands behind."""
LIVE = frozenset({"stranger", "reader", "writer", "read-only", "owner", "administrator"})
LIMITED = frozenset({"limited"})
EVERYBODY = VOID | LIVE | LIMITED
MEMBERS = LIVE - {"read-only"}
READERS = frozenset({"reader", "writer", "read-only", "owner", "administrator"})
WRITERS = frozenset({"writer", "owner", "administrator"})
OWNERS = frozenset({"owner", "administrator"})
OWNER = frozenset({"owner"})
ADMINISTRATORS = frozenset({"administrator"})

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Identity:
    """`headers` are for the API, `s3` is a boto3 client that signs, `s3_by_header` one that sends those headers."""

    name: str
    headers: dict[str, str]
    s3: Any
    s3_by_header: Any


class Identities:
    """All identities of one cluster by name, and buckets that treat them as this module says."""

    def __init__(self, rig: S3Rig) -> None:
        self._rig = rig
        self.all: dict[str, Identity] = {"anonymous": self._identity("anonymous", {}, anonymous_client(rig))}
        self._expired()
        for name, role in (
            *(("stranger", "member"), ("reader", "member"), ("writer", "member"), ("read-only", "read-only")),
            *(("owner", "member"), ("administrator", "administrator")),
            *(("disabled", "administrator"), ("revoked", "administrator")),
        ):
            self.all[name] = self._made(name, role)
        self.all["limited"] = self._limited()
        assert self.ask("administrator", "POST", "/tenants", b'{"name": "beta"}').status == 201
        self.all["outsider"] = self._made("beta\\outsider", "administrator")
        assert self.ask("administrator", "PATCH", "/users/disabled", b'{"disabled": true}').status == 200
        assert self.ask("administrator", "DELETE", "/users/revoked/access").status == 200

    def ask(self, who: str, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """One request to the API; `target` begins after /api/v1."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._rig.cluster.ask_with(self.all[who].headers | named, method, target, body)

    def authenticator(self, secret: str) -> Authenticator:
        """An app whose clock is the directory's."""
        return Authenticator(secret, self._rig.cluster.directory.clock.wall)

    def file_server(self) -> str:
        """The id of a new file server, which holds nothing."""
        id = str(100 + next(_numbers))
        self._rig.cluster.start_server(id)
        return id

    def bucket(self, paths: Sequence[str] = ("k",), **more: Any) -> str:
        """A new bucket of the owner's, with these files."""
        name, s3 = f"olgas-{next(_numbers)}", self.all["owner"].s3
        s3.create_bucket(Bucket=name, **more)
        for path in paths:
            s3.put_object(Bucket=name, Key=path, Body=b"content")
        self.let_in(name)
        return name

    def let_in(self, bucket: str) -> None:
        """Give a bucket of the owner's the policy."""
        allowed = [
            statement("Allow", who, list(actions), bucket, f"{bucket}/*")
            for who, actions in (("reader", READING), ("writer", WRITING), ("read-only", ("s3:*",)))
        ]
        self.all["owner"].s3.put_bucket_policy(Bucket=bucket, Policy=document(*allowed))

    def _identity(self, name: str, headers: dict[str, str], s3: Any) -> Identity:
        return Identity(name, headers, s3, header_client(self._rig, headers))

    def _log_in(self, name: str) -> dict[str, str]:
        body = json.dumps({"username": name, "password": PASSWORD, "create": False}).encode()
        answer = self._rig.cluster.ask_with({}, "POST", "/auth/login", body)
        assert answer.status == 200, answer.body
        return {"Authorization": f"Bearer {answer.json['token']}"}

    def _made(self, name: str, role: str) -> Identity:
        """An API key and an S3 key: what stays when a log-in ends."""
        body = json.dumps({"name": name, "role": role, "password": PASSWORD}).encode()
        assert self._rig.cluster.ask("POST", "/users", body).status == 201
        answer = self._rig.cluster.ask_with(self._log_in(name), "POST", "/auth/keys", b'{"name": "key"}')
        key = answer.json["key"]
        return self._identity(name, {"X-Api-Key": key}, self._rig.client(self._rig.key(key)))

    def _limited(self) -> Identity:
        allowed = {"Effect": "Allow", "Action": list(READING), "Resource": "*"}
        body = json.dumps({"name": "limited", "policy": {"Statement": [allowed]}}).encode()
        assert self.ask("owner", "POST", "/auth/service-accounts", body).status == 201
        key = self.ask("owner", "POST", "/auth/service-accounts/limited/keys").json
        headers = {"Authorization": f"Bearer {key['secret']}"}
        return self._identity("limited", headers, self._rig.client((key["access_key_id"], key["secret"])))

    def _expired(self) -> None:
        """A log-in and a temporary key that nobody ended."""
        body = json.dumps({"name": "expired", "role": "administrator", "password": PASSWORD}).encode()
        assert self._rig.cluster.ask("POST", "/users", body).status == 201
        headers = self._log_in("expired")
        token = headers["Authorization"].removeprefix("Bearer ")
        made = self._rig.directory.call(CREATE_S3_KEY, CreateS3KeyRequest(token, "test", 3600.0))
        client = self._rig.client((made.access_key_id, made.secret, made.session_token))
        assert client.list_buckets()["Buckets"] is not None
        self._rig.cluster.pass_time(13 * 3600.0)
        self.all["expired"] = self._identity("expired", headers, client)
