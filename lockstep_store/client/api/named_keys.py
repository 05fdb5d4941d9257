"""The calls about named keys (SSE-KMS). See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from lockstep_store.client.api.caller import ApiCaller, segment
from lockstep_store.wire.messages.kms import KmsKeyInfo, KmsKeysReply


class NamedKeyCalls(ApiCaller):
    """The calls about named keys, for administrators. `key` is a key's id or its name."""

    def kms_keys(self) -> list[KmsKeyInfo]:
        return self._ask(KmsKeysReply, "GET", "/api/v1/kms/keys").keys

    def create_kms_key(self, name: str) -> KmsKeyInfo:
        return self._ask(KmsKeyInfo, "POST", "/api/v1/kms/keys", message={"name": name})

    def enable_kms_key(self, key: str, *, enabled: bool) -> KmsKeyInfo:
        """Enable or disable a key."""
        action = "enable" if enabled else "disable"
        return self._ask(KmsKeyInfo, "POST", f"/api/v1/kms/keys/{segment(key)}/{action}", message={}, repeatable=True)

    def rotate_kms_key(self, key: str) -> KmsKeyInfo:
        """Create a new version of a key; content written from now on uses it."""
        return self._ask(KmsKeyInfo, "POST", f"/api/v1/kms/keys/{segment(key)}/rotate", message={})
