"""Calls about what is stored."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.messages import analytics as am


class AnalyticsApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        analytics = components.about_files.analytics
        api.serve(am.STORAGE, lambda request, _: analytics.storage(request), PROXY)
        api.serve(am.FILE_TYPES, lambda request, _: analytics.file_types(request), PROXY)
        api.serve(am.GROWTH, lambda request, _: analytics.growth(request), PROXY)
        api.serve(am.FOLDER_USAGE, lambda request, _: analytics.folder(request), PROXY)
