"""The calls about the cluster itself. See `client_proxy.api_client`."""

from __future__ import annotations

from client_proxy.api_call import ApiCaller
from wire.cluster_messages import ClusterReply, EnrolReply, EnrolRequest, Health, JoinSecretReply


class ClusterCalls(ApiCaller):
    """Health and state, and how programs join."""

    def health(self) -> Health:
        """The proxy's own health; needs no log-in. Unavailable when it is not well."""
        return self._ask(Health, "GET", "/api/v1/health")

    def cluster(self) -> ClusterReply:
        return self._ask(ClusterReply, "GET", "/api/v1/cluster")

    def join_secret(self, valid_seconds: float) -> JoinSecretReply:
        return self._ask(
            JoinSecretReply, "POST", "/api/v1/cluster/join-secret", message={"valid_seconds": valid_seconds}
        )

    def enrol(self, request: EnrolRequest) -> EnrolReply:
        """Have a new program's certificate request signed; the secret inside vouches for it, no log-in is needed."""
        return self._ask(EnrolReply, "POST", "/api/v1/enrol", message=request)
