"""Routes for administrators: the cluster at a glance, and what was allowed and denied, and why."""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from client_proxy.doors.rest.schemas import BUCKET
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.access import DECISIONS, DecisionsReply, DecisionsRequest
from lockstep_store.wire.messages.analytics import STORAGE, StorageReply, StorageRequest
from lockstep_store.wire.messages.base import CredentialRequest, Message
from lockstep_store.wire.messages.cluster import CLUSTER, ClusterReply

_operation = partial(Operation, method="GET", tag="Cluster", refusals=(errors.Forbidden,))


class DashboardReply(Message):
    """The cluster's state, what is stored in it, and the decisions about access since the directory started."""

    cluster: ClusterReply
    storage: StorageReply
    decisions: DecisionsReply


class DecisionRoutes:
    """The routes below /metrics."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="dashboard",
                template="/metrics/dashboard",
                handler=self.dashboard,
                summary="Get the cluster's state, what is stored, and what was denied (administrators)",
                description="What `/cluster`, `/analytics/storage` and `/metrics/policy` reply, in one reply.",
                answers={200: Answer("The three replies.", Content(DashboardReply))},
            ),
            _operation(
                id="policy_metrics",
                template="/metrics/policy",
                handler=self.policy,
                summary="Get what was allowed and denied, how often, and why (administrators)",
                description=(
                    "Counts since the directory's start, by bucket, action and ground. Reads that a proxy answers "
                    "under a read lease are not decided again, so they are not counted."
                ),
                parameters=(Parameter("bucket", "query", "Only this bucket.", BUCKET),),
                answers={200: Answer("The counts, the largest first.", Content(DecisionsReply))},
                refusals=(errors.BadName, errors.Forbidden),
            ),
        ]

    def dashboard(self, request: RestRequest) -> RawReply:
        """GET /metrics/dashboard. What only administrators may see is asked for first."""
        credential = request.access()
        decisions = self._directory.call(DECISIONS, DecisionsRequest(credential))
        storage = self._directory.call(STORAGE, StorageRequest(credential))
        cluster = self._directory.call(CLUSTER, CredentialRequest(credential))
        return json_reply(DashboardReply(cluster, storage, decisions))

    def policy(self, request: RestRequest) -> RawReply:
        """GET /metrics/policy."""
        asked = DecisionsRequest(request.access(), request.bucket_argument())
        return json_reply(self._directory.call(DECISIONS, asked))
