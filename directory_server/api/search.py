"""The call that searches."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.messages.search import SEARCH


class SearchApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        api.serve(SEARCH, lambda request, _: components.searches.search(request), PROXY)
