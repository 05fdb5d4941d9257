"""Properties: the live ones, which follow from the resource, and the dead ones, which clients store.

Dead properties are a setting of the file's version, which the directory gives to the next one, and to a copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import formatdate

import msgspec

from client_proxy.doors.webdav.conditions import token_of
from client_proxy.doors.webdav.held_locks import tag_of
from client_proxy.doors.webdav.lock_lookup import FILE_CLIENT, FOLDER_CLIENT, SHARED_CLIENT, is_of_folder, is_shared
from client_proxy.doors.webdav.replies import status_line
from client_proxy.doors.webdav.resources import Resource
from client_proxy.doors.webdav.xml import DAV, XML_NAMESPACE, XmlElement, XmlName, empty, escape
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.content_types import type_of
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.locks import LockInfo
from lockstep_store.wire.messages.s3 import DEAD_PROPERTIES

MAX_DEAD_CHARACTERS = 16 * 1024
"""Of all dead properties of a file, as they are stored."""
MAX_ASKED_CHARACTERS = 8 * 1024
"""Of the names in a PROPFIND, which are repeated for each resource that lacks them."""
_dead = decoder(dict[str, str])
_LANGUAGE = XmlName(XML_NAMESPACE, "lang")
_LOCK_ENTRIES = "".join(
    f"<D:lockentry><D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
    for scope in ("exclusive", "shared")
)

Facts = Mapping[str, str]
"""Live properties that are not the resource's own, by name, as XML."""
Live = Callable[[Resource], str | None]
"""The XML in a live property; None if the resource does not have it."""


def _displayname(resource: Resource) -> str | None:
    return escape(resource.address.name)


def _resourcetype(resource: Resource) -> str | None:
    return "<D:collection/>" if resource.is_folder else ""


def _creationdate(resource: Resource) -> str | None:
    at = _created(resource)
    return None if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _getlastmodified(resource: Resource) -> str | None:
    at = _created(resource)
    return None if at is None else formatdate(int(at), usegmt=True)


def _created(resource: Resource) -> float | None:
    return resource.version.created_at if resource.version is not None else resource.created_at


def _getcontentlength(resource: Resource) -> str | None:
    version = resource.version
    if resource.reserved_by is not None:
        return "0"
    return str(version.size) if version is not None and not resource.is_folder and version.readable else None


def _getcontenttype(resource: Resource) -> str | None:
    if resource.version is None or resource.is_folder:
        return None
    version = resource.version
    return escape(type_of(version.path, version.content_type, version.metadata))


def _getetag(resource: Resource) -> str | None:
    return (tag_of(resource.version) or None) if resource.version is not None and not resource.is_folder else None


def _supportedlock(resource: Resource) -> str | None:
    return _LOCK_ENTRIES if resource.kind in ("file", "folder") else ""


LIVE: dict[str, Live] = {
    "creationdate": _creationdate,
    "displayname": _displayname,
    "getcontentlength": _getcontentlength,
    "getcontenttype": _getcontenttype,
    "getetag": _getetag,
    "getlastmodified": _getlastmodified,
    "resourcetype": _resourcetype,
    "supportedlock": _supportedlock,
}
LOCK_DISCOVERY = "lockdiscovery"
QUOTA = ("quota-available-bytes", "quota-used-bytes")
PROTECTED = frozenset({*LIVE, LOCK_DISCOVERY, *QUOTA, "getcontentlanguage"})


class Wanted:
    """What a PROPFIND asks for: all properties, their names, or those that it names."""

    def __init__(self, body: XmlElement | None) -> None:
        self.names: list[XmlName] = []
        self.only_names = False
        self.all = body is None
        if body is None:
            return
        if body.name != XmlName(DAV, "propfind"):
            raise BadRequest("the body of PROPFIND must be DAV:propfind, or empty")
        kinds = [child for child in body.children if child.name.space == DAV]
        words = [child.name.local for child in kinds if child.name.local in ("prop", "allprop", "propname")]
        if len(words) != 1:
            raise BadRequest("DAV:propfind must contain one of DAV:prop, DAV:allprop and DAV:propname")
        self.all = words == ["allprop"]
        self.only_names = words == ["propname"]
        named = body.find("prop") or body.find("include")
        if named is not None and not self.only_names:
            self.names = list(dict.fromkeys(child.name for child in named.children))
        if sum(len(name.space) + len(name.local) for name in self.names) > MAX_ASKED_CHARACTERS:
            raise BadRequest(
                f"PROPFIND names more properties than fit into {MAX_ASKED_CHARACTERS} characters: ask for fewer at once"
            )

    def asks(self, *locals: str) -> bool:
        """Whether it names one of these live properties."""
        return any(XmlName(DAV, local) in self.names for local in locals)

    @property
    def asks_dead(self) -> bool:
        return (
            self.all or self.only_names or any(name.space != DAV or name.local not in PROTECTED for name in self.names)
        )


def response(resource: Resource, wanted: Wanted, facts: Facts) -> str:
    """The `DAV:response` about a resource. `facts` are the live properties that it does not know itself."""
    dead = dead_of(resource)
    values: dict[XmlName, str] = {XmlName(DAV, local): value for local, value in facts.items()}
    if wanted.all or wanted.only_names or any(name.space == DAV for name in wanted.names):
        values |= {XmlName(DAV, local): value for local, live in LIVE.items() if (value := live(resource)) is not None}
    found: list[str] = []
    missing: list[str] = []
    if wanted.only_names:
        found += map(empty, [*values, *dead])
    else:
        names = [*(name for name in values if name.local not in QUOTA), *dead] if wanted.all else []
        for name in dict.fromkeys([*names, *wanted.names]):
            if name in dead:
                found.append(dead[name])
            elif name in values:
                found.append(f"<D:{name.local}>{values[name]}</D:{name.local}>")
            else:
                missing.append(empty(name))
    stats = [(found, 200)] if found or not missing else []
    stats += [(missing, 404)] if missing else []
    return response_of(resource.href, [(" ".join(props), status) for props, status in stats])


def response_of(href: str, stats: list[tuple[str, int]]) -> str:
    """A `DAV:response` with the status of each group of properties."""
    parts = (f"<D:propstat><D:prop>{props}</D:prop>{status_line(status)}</D:propstat>" for props, status in stats)
    return f"<D:response><D:href>{href}</D:href>{''.join(parts)}</D:response>"


# ---------------------------------------------------------------- dead properties


def dead_of(resource: Resource) -> dict[XmlName, str]:
    """The dead properties of a resource, as XML. Only a version that was read with its settings has them."""
    value = resource.version.settings.get(DEAD_PROPERTIES) if resource.version is not None else None
    if value is None:
        return {}
    return {_name(key): xml for key, xml in _dead.decode(value).items()}


def stored_form(properties: Mapping[XmlName, str]) -> str | None:
    """Dead properties as they are stored; None for none."""
    if not properties:
        return None
    return msgspec.json.encode({f"{{{name.space}}}{name.local}": xml for name, xml in properties.items()}).decode()


def _name(key: str) -> XmlName:
    space, _, local = key[1:].rpartition("}")
    return XmlName(space, local)


class PropertyChanges:
    """What a PROPPATCH asks for, in order: each property with its XML, or None to remove it."""

    def __init__(self, body: XmlElement | None) -> None:
        if body is None or body.name != XmlName(DAV, "propertyupdate"):
            raise BadRequest("the body of PROPPATCH must be DAV:propertyupdate")
        self.items: list[tuple[XmlName, str | None]] = []
        for action in body.children:
            if action.name not in (XmlName(DAV, "set"), XmlName(DAV, "remove")):
                continue
            prop = action.find("prop")
            if prop is None:
                raise BadRequest(f"DAV:{action.name.local} must contain DAV:prop")
            language = next(
                (one.attributes[_LANGUAGE] for one in (prop, action, body) if _LANGUAGE in one.attributes), ""
            )
            for one in prop.children:
                if language:
                    one.attributes.setdefault(_LANGUAGE, language)
                self.items.append((one.name, one.write() if action.name.local == "set" else None))
        if not self.items:
            raise BadRequest("DAV:propertyupdate names no property")

    def made_to(self, properties: Mapping[XmlName, str]) -> dict[XmlName, str]:
        """Return the properties after the changes."""
        changed = dict(properties)
        for name, xml in self.items:
            changed.pop(name, None)
            if xml is not None:
                changed[name] = xml
        return changed

    @property
    def protected(self) -> list[XmlName]:
        """Those that nobody can change."""
        return [name for name, _ in self.items if name.space == DAV and name.local in PROTECTED]


# ---------------------------------------------------------------- locks


def active_lock(lock: LockInfo, href: str, owner: str = "", token: str = "") -> str:
    """A lock as `DAV:activelock`. `owner` is what the client called itself, as XML; by default what is stored of it."""
    scope = "shared" if is_shared(lock) else "exclusive"
    depth = "infinity" if is_of_folder(lock) else "0"
    said = lock.client.removesuffix(FOLDER_CLIENT).removesuffix(FILE_CLIENT).removesuffix(SHARED_CLIENT)
    return (
        f"<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{scope}/></D:lockscope>"
        f"<D:depth>{depth}</D:depth><D:owner>{owner or escape(said or lock.account)}</D:owner>"
        f"<D:timeout>Second-{lock.seconds_left:.0f}</D:timeout>"
        f"<D:locktoken><D:href>{token or token_of(lock.number)}</D:href></D:locktoken>"
        f"<D:lockroot><D:href>{href}</D:href></D:lockroot></D:activelock>"
    )
