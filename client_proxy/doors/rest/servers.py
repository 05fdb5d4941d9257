"""Operating the cluster: its file servers, draining and removing them, balance, and what repair has to say.

Administrators only, except for the list; who is one, and what may be done now, the directory decides.
"""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import FLAG, Answer, Content, Operation, Parameter
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
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
_operation = partial(
    Operation, tag="Cluster", refusals=(errors.Forbidden, errors.NotFound, errors.Conflict, errors.Unavailable)
)


class StopBody(JsonBody):
    """`stop`: end it where it is instead of beginning it."""

    stop: bool = False


class ServerRoutes:
    """The routes below /cluster that change how the cluster is made up."""

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
                description="Each with its state, its zone, and how much it holds.",
                answers={200: Answer("The file servers.", Content(ServersReply))},
                refusals=(errors.Unavailable,),
            ),
            _operation(
                id="drain_server",
                method="POST",
                template="/cluster/servers/{id}/drain",
                handler=self.drain,
                summary="Have everything moved off a file server, so that it can leave (administrators)",
                description="It goes on serving meanwhile. When `drained` is true it can be removed without loss.",
                bodies=(Content(StopBody),),
                body_optional=True,
                answers={200: Answer("The file server as it is now.", Content(FileServerInfo))},
            ),
            _operation(
                id="remove_server",
                method="DELETE",
                template="/cluster/servers/{id}",
                handler=self.remove,
                summary="Have a file server forgotten (administrators)",
                description="Refused while it has copies that are nowhere else, unless `force` gives them up.",
                parameters=(
                    Parameter(
                        "force", "query", "`true`: give up copies that are nowhere else. DANGER: they are lost.", FLAG
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
                summary="Have copies moved from full file servers to empty ones (administrators)",
                description=(
                    "It ends by itself when every file server is near its share. With `stop` it ends where it is."
                ),
                bodies=(Content(StopBody),),
                body_optional=True,
                answers={200: Answer("What repair has to do now.", Content(RepairInfo))},
            ),
            _operation(
                id="repair_report",
                method="GET",
                template="/cluster/repair",
                handler=self.report,
                summary="What repair did and has to do, and what is lost, by name (administrators)",
                description="`finished` says that nothing is left to do. Lost files come in pages.",
                parameters=(
                    Parameter("after", "query", "`bucket/path/version` of the last lost file seen (`next_after`)."),
                    Parameter(
                        "limit",
                        "query",
                        "Lost files in one page.",
                        {"type": "integer", "minimum": 1, "maximum": MAX_LISTING},
                    ),
                ),
                answers={200: Answer("The report.", Content(RepairReport))},
                refusals=(errors.BadRequest, errors.Forbidden, errors.Unavailable),
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
    """Bucket, path and version: neither bucket nor version has a slash, so the path is what is between."""
    if not text:
        return None
    bucket, _, rest = text.partition("/")
    path, slash, version = rest.rpartition("/")
    if not (slash and version):
        raise BadRequest(f"the argument after must be bucket/path/version, not {text[:80]!r}")
    return check_bucket(bucket), check_key(path), version
