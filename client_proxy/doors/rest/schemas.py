"""The JSON schemas in the API's document: msgspec's, adapted to the tools that read them.

Client generators fail on tuples (`prefixItems` with `items: false`). They also assume that members with a default are
always present, but our replies omit members that have their default.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from client_proxy.doors.rest.json_body import JsonBody
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BY_CODE, Problem
from lockstep_store.wire.messages.single_sign_on import PROVIDER_NAME
from lockstep_store.wire.names import MAX_PATH_BYTES

REFERENCE = "#/components/schemas/{name}"
_NO_ADDRESS = "(?![0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+$)"
_NOT_S3S = "(?!xn--|sthree-)(?!.*(-s3alias|--ol-s3|\\.mrap|--x-s3|--table-s3)$)"
BUCKET = {
    "type": "string",
    "pattern": f"^{_NO_ADDRESS}{_NOT_S3S}(?!.*(\\.[.-]|-\\.))[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]$",
}
_NO_CONTROLS = "[^\\u0000-\\u001f\\u007f-\\u009f]"
_PATH = f"(?!/)(?!(.*/)?\\.\\.?(/|$)){_NO_CONTROLS}+"
PATH = {"type": "string", "minLength": 1, "maxLength": MAX_PATH_BYTES, "pattern": f"^{_PATH}$"}
OPTIONAL_PATH = {"pattern": f"^({_PATH})?$"}
"""Of a member that may be empty, which means the whole bucket."""
ID = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[ -.0-~]+$"}
IDENTITY = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9_+=,.@-]+$"}
TENANT = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,30}[a-z0-9]$"}
PROVIDER = {"type": "string", "pattern": PROVIDER_NAME}
LOST_FILE = {"type": "string", "pattern": "^[^/]*/.*/[^/]+$"}
DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TAG = '(W/)?("[^"]*"|[^\\s",*]+)'
TAGS = {"type": "string", "pattern": f"^(\\*|{_TAG}(, ?{_TAG})*)$"}
"""Entity tags, or `*` for any."""
_BY_LENGTH = {63: BUCKET, MAX_PATH_BYTES: PATH}
"""Descriptions of strings, by the bounds of their declarations."""


def schemas(shapes: Iterable[Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """The schema of each shape, and the components that the schemas refer to."""
    shapes = list(dict.fromkeys([*shapes, Problem]))
    found, components = msgspec.json.schema_components(shapes, schema_hook=_hook, ref_template=REFERENCE)
    classes = {cls.__name__: cls for shape in shapes for cls in structs(shape)}
    for name, component in components.items():
        _put_tuples_right(component)
        _put_members_right(component, classes[name])
    problem = components["Problem"]
    problem["properties"]["code"]["enum"] = sorted(BY_CODE)
    problem["properties"]["status"] |= {"minimum": 400, "maximum": 599}
    problem["additionalProperties"] = True
    return dict(zip(shapes, found, strict=True)), components


def structs(shape: Any) -> list[type[msgspec.Struct]]:
    """`shape`, if it is a struct, and every struct inside it."""
    pending, found = [msgspec.inspect.type_info(shape)], []
    while pending:
        info: Any = pending.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls not in found:
                found.append(info.cls)
                pending += [field.type for field in info.fields]
            continue
        names = ("item_type", "key_type", "value_type", "type")
        pending += [getattr(info, name) for name in names if hasattr(info, name)]
        pending += [*getattr(info, "types", ()), *getattr(info, "item_types", ())]
    return found


def _put_tuples_right(schema: Any) -> None:
    if isinstance(schema, list):
        for each in schema:
            _put_tuples_right(each)
    if isinstance(schema, dict):
        if "prefixItems" in schema:
            kinds = schema.pop("prefixItems")
            schema["items"] = kinds[0] if all(kind == kinds[0] for kind in kinds) else {"anyOf": kinds}
        for each in schema.values():
            _put_tuples_right(each)


def _put_members_right(component: dict[str, Any], cls: type[msgspec.Struct]) -> None:
    asked = issubclass(cls, JsonBody)
    for member in component["properties"].values():
        if asked and "default" not in member and member.get("type") == "string":
            member |= _BY_LENGTH.get(member.get("maxLength", 0), {})
        if asked and member.get("default") == "" and member.get("maxLength") == MAX_PATH_BYTES:
            member |= OPTIONAL_PATH
        if not asked:
            member.pop("default", None)
    if not asked and not cls.__struct_config__.omit_defaults:
        component["required"] = list(component["properties"])


def _hook(kind: type) -> dict[str, Any]:
    if kind is Digest:
        return {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "A content hash."}
    raise NotImplementedError(f"{kind.__name__} has no schema")
