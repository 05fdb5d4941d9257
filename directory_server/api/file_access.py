"""Calls about access to files and folders."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.messages import access as am


class FileAccessApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        file_access = components.about_files.access
        api.serve(am.ACCESS, lambda request, _: file_access.show(request), PROXY)
        api.serve(am.SET_ACCESS, lambda request, _: file_access.set(request), PROXY)
        api.serve(am.PREVIEW_POLICY, lambda request, _: file_access.preview(request), PROXY)
        api.serve(am.SHARED_WITH_ME, lambda request, _: file_access.shared_with_me(request), PROXY)
