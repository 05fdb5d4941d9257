"""The routes for file servers: list, drain, remove, balance; and the repair report.

The directory admits only administrators, except to the list, and decides what is possible now.
"""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import FLAG, Answer, Content, Operation, Parameter
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from client_proxy.doors.rest.schemas import LOST_FILE
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.base import MAX_LISTING, CredentialRequest
from lockstep_store.wire.messages.cluster import (
    BALANCE,
    CLUSTER,
    DRAIN_SERVER,
    REMOVE_SERVER,
    REPAIR_REPORT,
    BalanceRequest,
    ClusterReply,
    DrainRequest,
    FileServerInfo,
    RemoveServerRequest,
    RepairInfo,
    RepairReport,
    RepairReportRequest,
    ServersReply,
)
from lockstep_store.wire.names import MAX_PATH_BYTES, check_bucket, check_key

LOST_IN_ONE_PAGE = 100
_operation = partial(Operation, tag="Cluster", refusals=(errors.Forbidden, errors.NotFound, errors.Conflict))


class StopBody(JsonBody):
    """`stop`: stop it instead of starting it."""

    stop: bool = False


class ServerRoutes:
    """The routes below /cluster for file servers and their copies."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [*self._servers(), *self._copies()]

    def _servers(self) -> list[Operation]:
        return [
            _operation(
                id="list_servers",
                method="GET",
                template="/cluster/servers",
                handler=self.list_servers,
                summary="List the file servers",
                description="Each with its state, zone, space and number of blobs.",
                answers={200: Answer("The file servers.", Content(ServersReply))},
                refusals=(),
            ),
            _operation(
                id="drain_server",
                method="POST",
                template="/cluster/servers/{id}/drain",
                handler=self.drain,
                summary="Drain a file server, so that it can be removed (administrators)",
                description="It still serves reads meanwhile. When `drained` is true, it can be removed without loss.",
                bodies=(Content(StopBody),),
                body_optional=True,
                answers={200: Answer("The file server.", Content(FileServerInfo))},
            ),
            _operation(
                id="remove_server",
                method="DELETE",
                template="/cluster/servers/{id}",
                handler=self.remove,
                summary="Remove a file server (administrators)",
                description="Refused while it has the only copies of anything, unless `force` gives them up.",
                parameters=(
                    Parameter(
                        "force",
                        "query",
                        "`true`: give up copies that exist nowhere else. DANGER: they are lost.",
                        FLAG,
                    ),
                ),
                answers={204: Answer("Removed.")},
            ),
        ]

    def _copies(self) -> list[Operation]:
        return [
            _operation(
                id="balance",
                method="POST",
                template="/cluster/balance",
                handler=self.balance,
                summary="Balance the file servers (administrators)",
                description=("Moves copies until all file servers are about equally full. `stop` ends it."),
                bodies=(Content(StopBody),),
                body_optional=True,
                answers={200: Answer("The state of repair.", Content(RepairInfo))},
            ),
            _operation(
                id="repair_report",
                method="GET",
                template="/cluster/repair",
                handler=self.report,
                summary="Get the repair report: work done and pending, and the lost files (administrators)",
                description="`finished` is true when nothing is left to do. Lost files come in pages.",
                parameters=(
                    Parameter(
                        "after",
                        "query",
                        "`next_after` of the previous page: its last `bucket/path/version`.",
                        LOST_FILE,
                    ),
                    Parameter(
                        "limit",
                        "query",
                        "Maximum number of lost files in a page.",
                        {"type": "integer", "minimum": 1, "maximum": MAX_LISTING},
                    ),
                ),
                answers={200: Answer("The report.", Content(RepairReport))},
                refusals=(errors.BadRequest, errors.Forbidden),
            ),
        ]

    def list_servers(self, request: RestRequest) -> RawReply:
        reply: ClusterReply = self._directory.call(CLUSTER, CredentialRequest(request.credential()))
        return json_reply(ServersReply(reply.file_servers))

    def drain(self, request: RestRequest) -> RawReply:
        credential, id = request.credential(), request.segment("id")
        body = request.message(StopBody, optional=True)
        return json_reply(self._directory.call(DRAIN_SERVER, DrainRequest(credential, id, body.stop)))

    def remove(self, request: RestRequest) -> RawReply:
        wanted = RemoveServerRequest(request.credential(), request.segment("id"), request.flag_argument("force"))
        self._directory.call(REMOVE_SERVER, wanted)
        return empty_reply()

    def balance(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        body = request.message(StopBody, optional=True)
        return json_reply(self._directory.call(BALANCE, BalanceRequest(credential, body.stop)))

    def report(self, request: RestRequest) -> RawReply:
        wanted = RepairReportRequest(
            request.credential(),
            _lost_file(request.argument("after", limit=2 * MAX_PATH_BYTES)),
            request.number_argument("limit", LOST_IN_ONE_PAGE, 1, MAX_LISTING),
        )
        return json_reply(self._directory.call(REPAIR_REPORT, wanted))


def _lost_file(text: str) -> tuple[str, str, str] | None:
    """Split bucket/path/version. Buckets and versions have no slash, so the path is what lies between."""
    if not text:
        return None
    bucket, _, rest = text.partition("/")
    path, slash, version = rest.rpartition("/")
    if not (slash and version):
        raise BadRequest(f"the argument after must be bucket/path/version, not {text[:80]!r}")
    return check_bucket(bucket), check_key(path), version
