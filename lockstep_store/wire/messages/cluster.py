"""The cluster: its servers, its health, and how programs join it. See lockstep_store/wire/messages/files.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import (
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
from lockstep_store.wire.messages.recovery import RecoveryInfo
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
    """Blobs whose copy here counts in the directory's books; `blobs` is what the server itself says it has."""
    drained: bool = False
    """It is draining, and everything it holds has its copies elsewhere: it can be removed."""


class RepairInfo(Message):
    """What the repair planner knows: blobs below the promised copies, and those with none."""

    under_copied: int
    without_living_copy: int
    ordered: int
    repaired_since_start: int
    to_move: int = 0
    """Copies that draining servers still have and others do not."""
    surplus: int = 0
    """Copies beyond the promised number, which will be dropped."""
    dropped_since_start: int = 0
    balancing: bool = False
    to_balance: int = 0
    """Copies that a running rebalance has still to move."""
    walking: bool = False
    """The books are being looked through, so the figures may still rise."""
    silent: list[str] = []
    """File servers that do not answer but whose copies still count. Repair begins when their grace period ends."""


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
    """For administrators: where notifications go, and what waits for them."""


class DrainRequest(Message):
    """An administrator has everything moved off a file server, so that it can leave; with `stop`, lets it stay."""

    credential: Credential
    id: Text
    stop: bool = False


class RemoveServerRequest(Message):
    """An administrator has a file server forgotten. Conflict while it holds what has too few copies elsewhere,
    unless `force` says that those copies are given up."""

    credential: Credential
    id: Text
    force: bool = False


class BalanceRequest(Message):
    """An administrator has copies moved from full file servers to empty ones; `stop` ends that where it is."""

    credential: Credential
    stop: bool = False


class LostFile(Message):
    """A version whose content no file server can give now."""

    bucket: Bucket
    path: PathText
    version: str
    digest: Digest
    size: Size
    current: bool
    damaged: bool
    """True: every known copy failed its check. False: the servers that have it are away."""
    file_servers: list[str]
    """Ids of the file servers that have or had a copy."""
    last_good_version: str = ""
    """The newest version of the same path that can be read; empty when there is none."""


class RepairReportRequest(Message):
    """An administrator asks what repair did, what it has to do, and what is lost, by name."""

    credential: Credential
    after: tuple[str, str, str] | None = None
    """(bucket, path, version) of the last lost file seen; continue behind it."""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = 100


class RepairReport(Message):
    repair: RepairInfo
    finished: bool
    """Every blob has been looked at, and everything that can be repaired is."""
    lost: list[LostFile]
    next_after: tuple[str, str, str] | None


class JoinSecretRequest(Message):
    """An administrator asks for a one-time join secret."""

    credential: Credential
    valid_seconds: Annotated[float, Meta(ge=60, le=7 * 86400)] = 3600.0


class JoinSecretReply(Message):
    secret: str
    expires_at: float
    ca_pem: str
    directory_url: str = ""
    """Where the new program will find the directory server."""


class EnrolRequest(Message):
    """A new program's certificate request, vouched for by a join secret (first time)."""

    secret: Annotated[str, Meta(max_length=256)]
    role: Literal["file_server", "client_proxy"]
    id: Annotated[str, Meta(min_length=1, max_length=32, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    hosts: Annotated[list[Annotated[str, Meta(max_length=253)]], Meta(max_length=16)]
    csr_pem: Annotated[str, Meta(max_length=16384)]


class RenewCertificateRequest(Message):
    """The same, for a program that already has a valid peer token."""

    hosts: Annotated[list[Annotated[str, Meta(max_length=253)]], Meta(max_length=16)]
    csr_pem: Annotated[str, Meta(max_length=16384)]


class EnrolReply(Message):
    ca_pem: str
    cert_pem: str
    peer_token: str = ""
    storage_keys_json: str = ""
    directory_url: str = ""


class Health(Message):
    """Every program's answer at GET /health, and the proxy's at /api/v1/health."""

    program: str
    id: str
    version: str
    healthy: bool
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
