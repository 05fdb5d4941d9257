"""Wires the calls about folders to their component."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.messages import folders as m


class FolderApi:
    """Wires `components.folders` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        folders = components.folders
        api.serve(m.MOVE_FOLDER, lambda request, _: folders.move(request), PROXY)
        api.serve(m.DELETE_FOLDER, lambda request, _: folders.delete(request), PROXY)
        api.serve(m.FOLDER_CHANGES, lambda request, _: folders.all(request), PROXY)
        api.serve(m.FOLDER_CHANGE, lambda request, _: folders.get(request), PROXY)
        api.serve(m.STEER_FOLDER_CHANGE, lambda request, _: folders.steer(request), PROXY)
