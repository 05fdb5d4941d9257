"""Wires the calls about the trash to their component."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.messages import trash as m


class TrashApi:
    """Wires `components.trash` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        trash = components.trash
        api.serve(m.TRASH, lambda request, _: trash.page(request), PROXY)
        api.serve(m.TRASH_TOTALS, lambda request, _: trash.totals(request), PROXY)
        api.serve(m.RESTORE_TRASH, lambda request, _: trash.restore(request), PROXY)
        api.serve(m.EMPTY_TRASH, lambda request, _: trash.empty(request), PROXY)
