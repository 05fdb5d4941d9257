"""Writes replies and refusals of the Query protocol as XML."""

from __future__ import annotations

from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import UNSAYABLE, escape, write_members
from client_proxy.doors.s3.query.description import QueryOperation
from client_proxy.doors.s3.query.errors import QueryError
from lockstep_store.runtime.http.api import RawReply

_TYPE = ("Content-Type", "text/xml")


def write_reply(operation: QueryOperation, namespace: str, output: Values, request_id: str) -> RawReply:
    """The reply of an operation."""
    result = ""
    if operation.wrapper:
        result = f"<{operation.wrapper}>{write_members(operation.output, output)}</{operation.wrapper}>"
    facts = f"<ResponseMetadata><RequestId>{escape(request_id)}</RequestId></ResponseMetadata>"
    name = f"{operation.name}Response"
    return _reply(200, f'<{name} xmlns="{namespace}">{result}{facts}</{name}>', request_id)


def write_refusal(error: QueryError, namespace: str, request_id: str) -> RawReply:
    """The reply to a refused request."""
    side = "Receiver" if error.status >= 500 else "Sender"
    message = escape(UNSAYABLE.sub("\ufffd", error.message))
    inner = f"<Error><Type>{side}</Type><Code>{error.code}</Code><Message>{message}</Message></Error>"
    body = f'<ErrorResponse xmlns="{namespace}">{inner}<RequestId>{escape(request_id)}</RequestId></ErrorResponse>'
    return _reply(error.status, body, request_id)


def _reply(status: int, text: str, request_id: str) -> RawReply:
    body = text.encode()
    return RawReply(status, [_TYPE, ("x-amzn-RequestId", request_id), ("Content-Length", str(len(body)))], [body])
