"""The cluster: its servers, its health, and how programs join it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.authorities import AuthorityInfo
from lockstep_store.wire.messages.base import (
    MAX_LISTING,
    Bucket,
    Credential,
    CredentialRequest,
    Message,
    Nothing,
    PathText,
    Size,
    Text,
)
from lockstep_store.wire.messages.programs import ProxyInfo
from lockstep_store.wire.messages.recovery import RecoveryInfo
from lockstep_store.wire.messages.storage_keys import StorageKeyInfo
from lockstep_store.wire.messages.targets import TargetInfo

ServerState = Literal["joining", "up", "suspect", "down", "draining", "removed"]


class FileServerInfo(Message):
    id: str
    url: str
    state: ServerState
    zone: str
    capacity_bytes: int
    free_bytes: int
    blobs: int
    stored_bytes: int
    problem: str
    seconds_since_heartbeat: float
    version: str = ""
    held_blobs: int = 0
    """Blobs whose copy on this server the directory counts; `blobs` is the server's own count."""
    drained: bool = False
    """It is draining, and everything it holds has enough copies elsewhere: it can be removed, though what it holds may
    not all be dropped yet."""
    leaving: bool = False
    """It is draining, also while it does not answer."""
    refuses: str = ""
    """Why it takes no new files, though it is up: a clause such as `full`; empty if it does."""


class ServersReply(Message):
    """The cluster's file servers, by id. Sent by proxies to people."""

    file_servers: list[FileServerInfo]


class RepairInfo(Message):
    """The state of repair: blobs with too few copies, and blobs without any readable copy."""

    under_copied: int
    without_living_copy: int
    ordered: int
    repaired_since_start: int
    to_move: int = 0
    """Copies that only draining servers have."""
    surplus: int = 0
    """Copies beyond the required number, which will be dropped."""
    dropped_since_start: int = 0
    balancing: bool = False
    to_balance: int = 0
    """Copies that a running rebalance still has to move."""
    walking: bool = False
    """A walk over the metadata is running, so the counts may still rise."""
    silent: list[str] = []
    """Ids of file servers that do not answer but whose copies still count. Repair begins after their grace period."""


class OtherDirectory(Message):
    """A directory server beside the active one. One that has not ended in good order stays in the list for a day."""

    url: str
    seconds_since_seen: float


class DirectoryInfo(Message):
    """How the directory server is. Only administrators get more than `writable`."""

    writable: bool = True
    """It can acknowledge writes, deletes and locks."""
    problems: list[str] = []
    """What is wrong, each as a clause."""
    capacity_bytes: int | None = None
    """The size of the disk with the metadata."""
    free_bytes: int | None = None
    is_low: bool = False
    """That disk is almost full."""
    backup_seconds: float | None = None
    """Seconds since a continuous backup last asked for changes; None if none has since the directory's start."""
    backup_behind: int = 0
    """The changes that it lacked then."""
    last_backup_at: float | None = None
    """When the newest whole backup was made; None if none was since the last restore."""
    restored_at: float | None = None
    """When the metadata was restored, if there is no newer backup."""
    others: list[OtherDirectory] = []
    """The directory servers that stand by, or should."""


class ClusterReply(Message):
    directory_version: str
    started_at: float
    uptime_seconds: float
    copies: int
    cursor: int
    files: int
    versions: int
    blobs: int
    logical_bytes: int
    locks: int
    waiters: int
    file_servers: list[FileServerInfo]
    repair: RepairInfo
    recovery: RecoveryInfo | None = None
    """None unless the directory was restored from a backup."""
    targets: list[TargetInfo] = []
    """For administrators: where notifications go, and what is waiting for delivery."""
    storage_keys: list[StorageKeyInfo] = []
    """For administrators: the storage keys, the current one first."""
    directory: DirectoryInfo | None = None
    """None from an older directory."""
    proxies: list[ProxyInfo] = []
    """For administrators: every proxy that is a member."""
    authorities: list[AuthorityInfo] = []
    """For administrators: the certificate authorities, the one that issues first."""


class DrainRequest(Message):
    """Administrator: drain a file server, so that it can be removed; with `stop`, cancel the draining."""

    credential: Credential
    id: Text
    stop: bool = False


class RemoveServerRequest(Message):
    """Administrator: remove a file server from the cluster.

    Conflict while blobs that it holds have too few copies elsewhere; with `force` those copies are given up.
    """

    credential: Credential
    id: Text
    force: bool = False


class BalanceRequest(Message):
    """Administrator: move copies from full file servers to empty ones; with `stop`, cancel the rebalance."""

    credential: Credential
    stop: bool = False


class LostFile(Message):
    """A version whose content no file server can serve now."""

    bucket: Bucket
    path: PathText
    version: str
    digest: Digest
    size: Size
    current: bool
    damaged: bool
    """True: every known copy failed its check. False: the servers that have it do not answer."""
    file_servers: list[str]
    """Ids of the file servers that have or had a copy."""
    last_good_version: str = ""
    """The newest readable version of the same path; empty when there is none."""


class RepairReportRequest(Message):
    """Administrator: report what repair has done, what it has to do, and which files are lost."""

    credential: Credential
    after: tuple[str, str, str] | None = None
    """(bucket, path, version) of the last lost file seen; continue after it."""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = 100


class RepairReport(Message):
    repair: RepairInfo
    finished: bool
    """Every blob was examined, and everything that can be repaired is repaired."""
    lost: list[LostFile]
    next_after: tuple[str, str, str] | None


ProgramId = Annotated[str, Meta(min_length=1, max_length=32, pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$")]
InvitedRole = Literal["file_server", "client_proxy"]
HostNames = Annotated[list[Annotated[str, Meta(max_length=253)]], Meta(max_length=16)]


class JoinSecretRequest(Message):
    """Administrator: invite one program.

    `id` may be empty for a file server, which then chooses a free one. `hosts` are the names that its certificates
    will have in addition to localhost; wildcards are refused.
    """

    credential: Credential
    valid_seconds: Annotated[float, Meta(ge=60, le=7 * 86400)] = 3600.0
    role: InvitedRole = "file_server"
    id: Annotated[str, Meta(max_length=32, pattern="^([A-Za-z0-9][A-Za-z0-9_-]*)?$")] = ""
    hosts: HostNames = []


class JoinSecretReply(Message):
    secret: str
    expires_at: float
    ca_pem: str
    directory_url: str = ""
    """The directory server's address, for the new program."""


class EnrolRequest(Message):
    """A new program's certificate request, authorised by a join secret. Role and id must be those invited."""

    secret: Annotated[str, Meta(max_length=256)]
    role: InvitedRole
    id: ProgramId
    csr_pem: Annotated[str, Meta(max_length=16384)]
    hosts: HostNames = []
    """Ignored, and sent only by earlier versions: names come from the invitation."""


class RenewCertificateRequest(Message):
    """The certificate request of a program that already has a valid peer token. Its names stay those invited."""

    csr_pem: Annotated[str, Meta(max_length=16384)]
    hosts: HostNames = []
    """Ignored, and sent only by earlier versions."""


class EnrolReply(Message):
    ca_pem: str
    cert_pem: str
    peer_token: str = ""
    storage_keys_json: str = ""
    """Only to programs that seal with them."""
    directory_url: str = ""
    revoked_pem: str = ""
    """The signed list of revoked certificates."""
    links_pem: str = ""
    """For each rotation of the authority, the new one's key, certified by the one before."""


class Health(Message):
    """Every program's reply at GET /health, and the proxy's at /api/v1/health.

    A proxy tells other machines only whether it is `healthy`, unless they show a credential.
    """

    healthy: bool
    program: str = ""
    id: str = ""
    version: str = ""
    problems: list[str] = []
    uptime_seconds: float = 0.0
    pid: int = 0
    facts: dict[str, Any] = {}


CLUSTER = Call("/v1/cluster", CredentialRequest, ClusterReply)
JOIN_SECRET = Call("/v1/join-secret", JoinSecretRequest, JoinSecretReply)
ENROL = Call("/v1/enrol", EnrolRequest, EnrolReply)
RENEW_CERTIFICATE = Call("/v1/renew-certificate", RenewCertificateRequest, EnrolReply)
DRAIN_SERVER = Call("/v1/servers/drain", DrainRequest, FileServerInfo)
REMOVE_SERVER = Call("/v1/servers/remove", RemoveServerRequest, Nothing)
BALANCE = Call("/v1/servers/balance", BalanceRequest, RepairInfo)
REPAIR_REPORT = Call("/v1/repair/report", RepairReportRequest, RepairReport)
