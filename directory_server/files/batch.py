"""Runs the items of a batch, each with its own outcome: one item's error never fails the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from lockstep_store.runtime.tracing import log, request_id
from lockstep_store.wire.errors import InternalError, LockstepError, to_problem
from lockstep_store.wire.messages.base import Outcome

T = TypeVar("T")
P = ParamSpec("P")


def attempt(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | LockstepError:
    """The result of `work`, or the error it raised. Unexpected exceptions are logged and become InternalError."""
    try:
        return work(*args, **kwargs)
    except LockstepError as error:
        return error
    except Exception:  # noqa: BLE001 - one item's defect must not fail the others
        log.exception("unexpected failure in one item of a batch")
        return InternalError(f"an unexpected error in the directory: its log has details under {request_id()}")


def outcome(result: T | LockstepError) -> Outcome[T]:
    """Wrap a result for the reply."""
    if isinstance(result, LockstepError):
        return Outcome(problem=to_problem(result))
    return Outcome(value=result)
