"""An example of every JSON request body, for the API's document and the tools that read it."""

from __future__ import annotations

from typing import Any

from client_proxy.doors.rest.access_keys import NewS3Key
from client_proxy.doors.rest.accounts import LoginBody, NewKey, PasswordBody
from client_proxy.doors.rest.authorities import AuthorityRetirement
from client_proxy.doors.rest.buckets import BucketChange, NewBucket
from client_proxy.doors.rest.cluster import JoinSecretBody
from client_proxy.doors.rest.facts import FactsBody
from client_proxy.doors.rest.file_access import AccessBody
from client_proxy.doors.rest.files import CopyBody
from client_proxy.doors.rest.folders import FolderMove, NewFolder
from client_proxy.doors.rest.groups import GroupChangeBody, NewGroupBody
from client_proxy.doors.rest.lifecycles import LifecycleBody
from client_proxy.doors.rest.locks import AcquireBody, RenewBody
from client_proxy.doors.rest.maintenance import FsckBody, RecoverBody
from client_proxy.doors.rest.named_keys import NewKmsKey
from client_proxy.doors.rest.policies import BucketPolicyBody, BucketPolicyPreviewBody
from client_proxy.doors.rest.quotas import BucketQuotaBody, QuotaBody, TenantQuotaBody
from client_proxy.doors.rest.second_factor import CodeBody, SecondFactorBody
from client_proxy.doors.rest.servers import StopBody
from client_proxy.doors.rest.service_accounts import NewServiceAccount, NewServiceKey, PolicyBody, ServiceKeyState
from client_proxy.doors.rest.shares import NewShare, ShareRuleBody
from client_proxy.doors.rest.single_sign_on import LinkBody, ProviderBody, SignOnAnswer, SignOnBody
from client_proxy.doors.rest.storage_keys import Retirement
from client_proxy.doors.rest.targets import NewTarget
from client_proxy.doors.rest.tenants import NewTenantBody
from client_proxy.doors.rest.trash import EmptyTrashBody, RestoreTrashBody, TrashDaysBody
from client_proxy.doors.rest.users import NewPasswordBody, NewUserBody, UserChangeBody
from client_proxy.doors.rest.versions import RestoreBody

_READING = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::plans/roof/*"}
_OPEN = {**_READING, "Principal": {"AWS": ["ann"]}}
EXAMPLES: dict[Any, Any] = {
    LoginBody: {"username": "ann", "password": "correct horse battery"},
    PasswordBody: {"username": "ann", "password": "correct horse battery"},
    NewPasswordBody: {"username": "ann", "password": "correct horse battery", "new_password": "staple, correctly"},
    SecondFactorBody: {"username": "ann", "password": "correct horse battery"},
    CodeBody: {"username": "ann", "password": "correct horse battery", "code": "287082"},
    NewUserBody: {"name": "ben", "role": "member"},
    UserChangeBody: {"disabled": True},
    NewTenantBody: {"name": "acme", "description": "the company next door"},
    TenantQuotaBody: {"quotas": {"bytes": 1099511627776, "accounts": 50}},
    NewGroupBody: {"name": "editors", "accounts": {"ann": "manager", "ben": "member"}},
    GroupChangeBody: {"accounts": {"ben": None}},
    NewKey: {"name": "nightly script"},
    NewS3Key: {"name": "backup tool"},
    NewServiceAccount: {"name": "backup", "policy": {"Version": "2012-10-17", "Statement": [_READING]}},
    PolicyBody: {"Version": "2012-10-17", "Statement": [_READING]},
    NewServiceKey: {"valid_seconds": 2592000},
    ServiceKeyState: {"active": False},
    NewBucket: {"name": "plans", "versioning": "enabled"},
    BucketChange: {"shared": True},
    CopyBody: {"source": {"bucket": "files", "path": "plans/roof.txt"}, "bucket": "files", "path": "plans/roof-2.txt"},
    LifecycleBody: {"rules": [{"prefix": "drafts/", "expire_days": 30, "noncurrent_days": 7}]},
    TrashDaysBody: {"days": 30},
    RestoreTrashBody: {"path": "plans/roof.txt", "marker": "0000000000000007"},
    EmptyTrashBody: {"prefix": "plans/"},
    NewFolder: {"bucket": "files", "path": "plans/2026/"},
    FolderMove: {"bucket": "files", "path": "plans/2026/", "to_path": "archive/2026/"},
    RestoreBody: {"version": "0000000000000004"},
    AcquireBody: {"paths": ["files/plans/roof.txt"], "wait_seconds": 10, "lease_seconds": 60, "client": "editor"},
    RenewBody: {"lease_seconds": 60},
    FsckBody: {"deep": False},
    RecoverBody: {"unnamed": "keep"},
    JoinSecretBody: {"valid_seconds": 3600},
    NewKmsKey: {"name": "invoices"},
    StopBody: {"stop": True},
    Retirement: {"forget_backups": True},
    AuthorityRetirement: {"without": [{"role": "file_server", "id": "3"}]},
    QuotaBody: {"quotas": {"bytes": 10737418240, "keys": None}},
    BucketQuotaBody: {"quotas": {"bytes": 10737418240, "files": None}},
    SignOnBody: {"provider": "company", "redirect_uri": "http://127.0.0.1:8400/callback", "client": "editor"},
    SignOnAnswer: {"id": "the id of the log-in", "answer": "code=abc&state=xyz"},
    ProviderBody: {
        "issuer": "https://login.example.org/realms/company",
        "client_id": "lockstep",
        "create_accounts": True,
        "require": ["groups=staff"],
    },
    LinkBody: {"provider": "company", "subject": "248289761001", "account": "ann"},
    NewShare: {"bucket": "files", "path": "plans/", "password": "correct horse", "expires_in": 604800},
    FactsBody: {"description": "Offer for the roof", "tags": {"team": "roof", "draft": None}},
    AccessBody: {"path": "plans/", "grants": [{"account": "ann", "level": "write"}]},
    BucketPolicyBody: {"policy": {"Version": "2012-10-17", "Statement": [_OPEN]}},
    BucketPolicyPreviewBody: {"policy": {"Version": "2012-10-17", "Statement": [_OPEN]}, "path": "roof/"},
    ShareRuleBody: {"links": "any"},
    NewTarget: {"url": "https://hooks.example.org/lockstep", "secret": "a long random text"},
}
