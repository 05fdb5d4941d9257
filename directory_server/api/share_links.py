"""Calls about share links."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.messages import shares as sm


class ShareApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        links = components.share_links
        api.serve(sm.CREATE_SHARE, lambda request, _: links.create(request), PROXY)
        api.serve(sm.SHARES, lambda request, _: links.list(request), PROXY)
        api.serve(sm.REVOKE_SHARE, lambda request, _: links.revoke(request), PROXY)
        api.serve(sm.OPEN_SHARE, lambda request, _: links.open(request), PROXY)
        api.serve(sm.USE_SHARE, lambda request, _: links.use(request), PROXY)
