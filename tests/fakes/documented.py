"""A check on every answer of the API in a test: the document lists its status for that operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask

from client_proxy.doors.rest.operation import Operation


class UndocumentedStatus(BaseException):
    """No `Exception`: Flask would answer it with a 500."""


def check_statuses(app: Flask, unless: Callable[[], bool] = lambda: False) -> None:
    """Make `app` fail a request whose answer has a status that its operation does not document.

    `unless` says that a fake was told to refuse as the real cluster never would.
    """
    api = app.extensions["lockstep"]
    answer = api.answer

    def checked(operation: Operation, environ: dict[str, Any], params: dict[str, str]) -> Any:
        reply = answer(operation, environ, params)
        if reply.status not in operation.statuses and not unless():
            raise UndocumentedStatus(f"{operation.id} answered {reply.status}, which its declaration does not list")
        return reply

    api.answer = checked
