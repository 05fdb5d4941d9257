"""The calls about the cluster itself. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep_store.client.api.caller import ApiCaller, segment
from lockstep_store.wire.messages.authorities import AuthoritiesReply, AuthorityInfo, TrustNews
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.cluster import (
    ClusterReply,
    EnrolReply,
    EnrolRequest,
    FileServerInfo,
    Health,
    JoinSecretReply,
    RepairInfo,
    RepairReport,
    ServersReply,
)
from lockstep_store.wire.messages.programs import ProxiesReply, ProxyInfo
from lockstep_store.wire.messages.storage_keys import StorageKeyInfo, StorageKeysReply
from lockstep_store.wire.messages.targets import RemovedTarget, TargetInfo, TargetsReply


class ClusterCalls(ApiCaller):
    """Health and state, and how programs join."""

    def health(self) -> Health:
        """The proxy's health; needs no log-in. Unavailable if it is not healthy."""
        return self._ask(Health, "GET", "/api/v1/health")

    def status(self) -> ClusterReply:
        """Return the cluster's state: sizes in bytes, file servers, repair, recovery."""
        return self._ask(ClusterReply, "GET", "/api/v1/cluster")

    def servers(self) -> list[FileServerInfo]:
        """The file servers, by id."""
        return self._ask(ServersReply, "GET", "/api/v1/cluster/servers").file_servers

    def drain_server(self, id: str, *, stop: bool = False) -> FileServerInfo:
        """Drain a file server, or `stop` draining it (administrators)."""
        address = f"/api/v1/cluster/servers/{segment(id)}/drain"
        return self._ask(FileServerInfo, "POST", address, message={"stop": stop}, repeatable=True)

    def remove_server(self, id: str, *, force: bool = False) -> None:
        """Remove a file server; with `force` even if it has the only copies (administrators)."""
        params = {"force": "true"} if force else {}
        self.transport.request("DELETE", f"/api/v1/cluster/servers/{segment(id)}", params=params)

    def balance(self, *, stop: bool = False) -> RepairInfo:
        """Balance the file servers, or `stop` balancing (administrators)."""
        return self._ask(RepairInfo, "POST", "/api/v1/cluster/balance", message={"stop": stop}, repeatable=True)

    def repair_report(self, after: tuple[str, str, str] | None = None, limit: int = MAX_LISTING) -> RepairReport:
        """Return one page of the repair report; its `next_after` is the next page's `after` (administrators)."""
        params = {"limit": str(limit)}
        if after is not None:
            params["after"] = "/".join(after)
        return self._ask(RepairReport, "GET", "/api/v1/cluster/repair", params=params)

    def targets(self) -> list[TargetInfo]:
        """The notification targets, by name (administrators)."""
        return self._ask(TargetsReply, "GET", "/api/v1/cluster/targets").targets

    def add_target(self, name: str, url: str, *, secret: str = "", token: str = "", ca_pem: str = "") -> TargetInfo:
        """Add a target, or change its address (administrators)."""
        wanted = {"url": url, "secret": secret, "token": token, "ca_pem": ca_pem}
        message = {key: value for key, value in wanted.items() if value}
        address = f"/api/v1/cluster/targets/{segment(name)}"
        return self._ask(TargetInfo, "PUT", address, message=message, repeatable=True)

    def remove_target(self, name: str) -> RemovedTarget:
        """Remove a target that no bucket uses (administrators)."""
        return self._ask(RemovedTarget, "DELETE", f"/api/v1/cluster/targets/{segment(name)}")

    def test_target(self, name: str) -> None:
        """Send a test message; Unavailable, with the reason, when it is not accepted (administrators)."""
        self.transport.request("POST", f"/api/v1/cluster/targets/{segment(name)}/test", message={})

    def proxies(self) -> list[ProxyInfo]:
        """The proxies that were ever members, by id (administrators)."""
        return self._ask(ProxiesReply, "GET", "/api/v1/cluster/proxies").proxies

    def remove_proxy(self, id: str) -> None:
        """Remove a proxy: its token and certificates are void (administrators)."""
        self.transport.request("DELETE", f"/api/v1/cluster/proxies/{segment(id)}")

    def revoke_program(self, role: str, id: str) -> None:
        """End the token and certificates of a `file_server` or `client_proxy` (administrators)."""
        self.transport.request("POST", f"/api/v1/cluster/programs/{segment(role)}/{segment(id)}/revoke", message={})

    def storage_keys(self) -> list[StorageKeyInfo]:
        """The storage keys with what needs them, the current one first (administrators)."""
        return self._ask(StorageKeysReply, "GET", "/api/v1/cluster/storage-keys").keys

    def rotate_storage_keys(self) -> list[StorageKeyInfo]:
        """Add a storage key for everything new, and begin to seal the rest again (administrators)."""
        return self._ask(StorageKeysReply, "POST", "/api/v1/cluster/storage-keys/rotate", message={}).keys

    def retire_storage_key(self, id: str, *, forget_backups: bool = False) -> list[StorageKeyInfo]:
        """Delete an old storage key that nothing needs; Conflict with the reason if something does (administrators)."""
        message = {"forget_backups": forget_backups}
        address = f"/api/v1/cluster/storage-keys/{segment(id)}/retire"
        return self._ask(StorageKeysReply, "POST", address, message=message).keys

    def trusted_authorities(self) -> TrustNews:
        """The certificate authorities that the proxy trusts; needs no log-in. `lockstep_store.client.trust` uses it."""
        return self._ask(TrustNews, "GET", "/api/v1/authorities")

    def authorities(self) -> list[AuthorityInfo]:
        """The certificate authorities, the one that issues certificates first (administrators)."""
        return self._ask(AuthoritiesReply, "GET", "/api/v1/cluster/authorities").authorities

    def rotate_authority(self) -> list[AuthorityInfo]:
        """Make another certificate authority, which all programs move to (administrators)."""
        return self._ask(AuthoritiesReply, "POST", "/api/v1/cluster/authorities/rotate", message={}).authorities

    def retire_authority(self, id: str, without: Sequence[tuple[str, str]] = ()) -> list[AuthorityInfo]:
        """End the trust in an old authority; Conflict with the reasons while programs need it (administrators).

        `without` names programs to leave behind, as (role, id).
        """
        message = {"without": [{"role": role, "id": id} for role, id in without]}
        address = f"/api/v1/cluster/authorities/{segment(id)}/retire"
        return self._ask(AuthoritiesReply, "POST", address, message=message).authorities

    def join_secret(
        self, valid_seconds: float, role: str = "file_server", id: str = "", hosts: Sequence[str] = ()
    ) -> JoinSecretReply:
        """Invite one program, under these names; without an id any file server (administrators)."""
        message = {"valid_seconds": valid_seconds, "role": role, "id": id, "hosts": list(hosts)}
        return self._ask(JoinSecretReply, "POST", "/api/v1/cluster/join-secret", message=message)

    def enrol(self, request: EnrolRequest) -> EnrolReply:
        """Sign a new program's certificate request, authenticated by the join secret in it."""
        return self._ask(EnrolReply, "POST", "/api/v1/enrol", message=request)
