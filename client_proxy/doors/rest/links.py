"""Links in the API's document, by which tools follow a reply to what it created."""

from __future__ import annotations

from typing import Any

Links = dict[str, dict[str, Any]]
_BODY = "$response.body#"
_ADDRESS = {"bucket": "$request.path.bucket", "path": "$request.path.path"}
_COMMITTED = {"bucket": f"{_BODY}/version/bucket", "path": f"{_BODY}/version/path"}
_READS = ("read_file", "stat_file", "read_manifest", "list_versions", "delete_file", "write_file")


def _links(parameters: dict[str, str], *operations: str) -> Links:
    return {id: {"operationId": id, "parameters": parameters} for id in operations}


def _version(id: str, parameters: dict[str, str], version: str) -> Links:
    """A link to one version, with its own name."""
    return {f"{id}_version": {"operationId": id, "parameters": {**parameters, "version": version}}}


_TO_FILE: Links = {
    **_links(_COMMITTED, *_READS),
    **_version("read_file", _COMMITTED, f"{_BODY}/version/version"),
    **_version("delete_file", _COMMITTED, f"{_BODY}/version/version"),
    "restore_version": {
        "operationId": "restore_version",
        "parameters": _COMMITTED,
        "requestBody": {"version": f"{_BODY}/version/version"},
    },
    "acquire_lock": {"operationId": "acquire_lock", "requestBody": {"paths": [_COMMITTED]}},
}
_OLDEST_SHOWN = f"{_BODY}/versions/0/version"
LINKS: dict[tuple[str, int], Links] = {
    **{(id, status): _TO_FILE for id in ("write_file", "copy_file", "restore_version") for status in (200, 201)},
    ("list_versions", 200): {
        **_version("read_file", _ADDRESS, _OLDEST_SHOWN),
        "restore_version": {
            "operationId": "restore_version",
            "parameters": _ADDRESS,
            "requestBody": {"version": _OLDEST_SHOWN},
        },
    },
    ("list_files", 200): _links(
        {"bucket": "$request.path.bucket", "path": f"{_BODY}/files/0/path"}, "read_file", "list_versions"
    ),
    ("list_buckets", 200): _links({"bucket": f"{_BODY}/buckets/0/name"}, "get_bucket", "list_files", "write_file"),
    ("create_bucket", 201): _links(
        {"bucket": f"{_BODY}/name"}, "get_bucket", "list_files", "write_file", "change_bucket", "delete_bucket"
    ),
    ("acquire_lock", 200): {
        **_links({"id": f"{_BODY}/lock/id"}, "renew_lock", "release_lock"),
        "write_file": {
            "operationId": "write_file",
            "parameters": {
                "bucket": f"{_BODY}/lock/paths/0/bucket",
                "path": f"{_BODY}/lock/paths/0/path",
                "X-Lockstep-Lock": f"{_BODY}/lock/number",
            },
        },
    },
    ("acquire_lock", 202): _links({"id": f"{_BODY}/waiter/id"}, "release_lock"),
    ("renew_lock", 200): _links({"id": f"{_BODY}/id"}, "release_lock"),
    ("create_key", 201): _links({"id": f"{_BODY}/id"}, "revoke_key"),
}
"""By operation and status; by its name, where each link leads and what it takes along."""
