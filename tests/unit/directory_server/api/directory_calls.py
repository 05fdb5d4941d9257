"""A whole directory, called as programs call it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from directory_server.bootstrap import DirectoryServer
from directory_server.settings import Settings
from lockstep_store.runtime.peers.caller import PEER_HEADER
from lockstep_store.runtime.storage.sealing import KeyRing
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.wire.codec import Call, decode_problem, encode
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    from_problem,
)
from lockstep_store.wire.messages import (
    access,
    analytics,
    facts,
    file_ids,
    quotas,
    read_leases,
    redo,
    search,
    second_factor,
    shares,
    tenants,
    users,
)
from lockstep_store.wire.messages import authorities as ca
from lockstep_store.wire.messages import buckets as bm
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import files as m
from lockstep_store.wire.messages import folders as fm
from lockstep_store.wire.messages import groups as gm
from lockstep_store.wire.messages import identities as im
from lockstep_store.wire.messages import journal as jm
from lockstep_store.wire.messages import kms as km
from lockstep_store.wire.messages import locks as lm
from lockstep_store.wire.messages import people as am
from lockstep_store.wire.messages import programs as pm
from lockstep_store.wire.messages import recovery as rm
from lockstep_store.wire.messages import s3 as s3
from lockstep_store.wire.messages import servers as s
from lockstep_store.wire.messages import single_sign_on as sso
from lockstep_store.wire.messages import storage_keys as sk
from lockstep_store.wire.messages import targets as tm
from lockstep_store.wire.messages import trash as tr
from lockstep_store.wire.messages import uploads as um
from lockstep_store.wire.messages import writes as wm
from lockstep_store.wire.messages.writes import BEGIN, BeginItem, BeginRequest
from tests.fakes.clock import ManualClock
from tests.fakes.directory_rig import heartbeat
from tests.fakes.metadata_engines import open_metadata
from tests.fakes.wsgi import Answer, ask

FROM_FILE_SERVERS = [
    s.COMMIT,
    s.REGISTER,
    s.HEARTBEAT,
    s.HELD,
    s.DAMAGED,
    s.COLLECT,
    s.INVENTORY,
    s.FOUND,
    s.REDO,
    s.REPLAY,
    s.RESEAL,
]
FROM_PROXIES = {
    value.path: value
    for module in (
        m,
        bm,
        wm,
        lm,
        am,
        ca,
        cm,
        fm,
        gm,
        pm,
        im,
        jm,
        km,
        quotas,
        access,
        analytics,
        facts,
        file_ids,
        read_leases,
        rm,
        redo,
        s3,
        search,
        second_factor,
        shares,
        sk,
        sso,
        tenants,
        tm,
        tr,
        um,
        users,
    )
    for value in vars(module).values()
    if isinstance(value, Call)
}
ALL_CALLS = [*FROM_PROXIES.values(), *FROM_FILE_SERVERS]


class Directory:
    """A whole directory in `folder` without its port, called as its peers do."""

    def __init__(self, folder: Path, authority: CertificateAuthority, **settings: Any) -> None:
        self.time = ManualClock(start=100.0)
        # Each test's programs and rotations are its own: what one removes is a member in the next.
        certs = folder / "certs"
        if not (certs / "authority").exists():
            theirs = authority.programs.crl_file.parent
            shutil.copytree(theirs / "authority", certs / "authority", ignore=lambda *_: ["programs.json"])
            (certs / "ca.pem").write_text(authority.ca_pem)
        self.authority = CertificateAuthority.load(certs)
        self.settings = Settings(data=folder / "directory_server", certs=folder / "certs", **settings)
        self.store = open_metadata(self.settings.metadata_file)
        keys = folder.parent / "certs" / "storage-keys.json"
        KeyRing.load_or_create(keys)
        self.server = DirectoryServer(self.settings, self.store, self.authority, keys, self.time)
        self.app = SimpleNamespace(wsgi_app=self.server.wsgi)
        found = msgspec.json.decode(self.settings.credentials_file.read_bytes())
        self.admin: str = found["api_key"]

    def ask(self, call: Call[Any, Any], request: Any, role: str = "client_proxy", id: str = "1") -> Answer:
        return self.ask_with(self.authority.peer_token(role, id), call, request)

    def ask_with(self, token: str, call: Call[Any, Any], request: Any) -> Answer:
        return ask(self.app, "POST", call.path, encode(request), headers={PEER_HEADER: token})

    def call(self, call: Call[Any, Any], request: Any, role: str = "client_proxy", id: str = "1") -> Any:
        """The reply, or the refusal raised, as PeerClient would."""
        answer = self.ask(call, request, role, id)
        if answer.status != 200:
            raise from_problem(decode_problem(answer.body, answer.status))
        return call.decode_reply(answer.body)

    def person(self, name: str) -> str:
        """A log-in; its token."""
        token: str = self.call(am.LOGIN, am.PasswordRequest(name, "a secret word")).token
        return token

    def file_servers_up(self, *ids: str) -> s.RegisterReply:
        for id in ids:
            request = s.RegisterRequest(f"https://server-{id}", f"store-{id}")
            reply: s.RegisterReply = self.call(s.REGISTER, request, "file_server", id)
            assert self.beat(id).registered
        return reply

    def beat(self, id: str) -> s.HeartbeatReply:
        reply: s.HeartbeatReply = self.call(
            s.HEARTBEAT, heartbeat(f"https://server-{id}", f"store-{id}"), "file_server", id
        )
        return reply

    def write(self, credential: str, path: str, content: bytes, write_id: str, **fields: Any) -> m.FileVersion:
        """A write as proxy and master make it together."""
        item = BeginItem(credential, write_id, "files", path, **fields)
        begun = self.call(BEGIN, BeginRequest([item])).results[0].unwrap()
        commit = s.CommitItem(begun.ticket, chunk_digest(content), len(content), ["1", "2"])
        reply = self.call(s.COMMIT, s.CommitRequest([commit]), "file_server", begun.master.id)
        version: m.FileVersion = reply.results[0].unwrap().version
        return version


def health_of(directory: Directory) -> tuple[int, cm.Health]:
    answer = ask(directory.app, "GET", "/health")
    return answer.status, msgspec.json.decode(answer.body, type=cm.Health)
