"""What S3 says of an object, and where Lockstep keeps it.

A version's metadata holds the person's own (`x-amz-meta-…`, the same that other doors show) and, under names that no
header can have, S3's own facts: the ETag, checksums, Cache-Control and its friends. A version that another door wrote
has none of these; its ETag is then made of its digest.
"""

from __future__ import annotations

from urllib.parse import quote

from client_proxy.core.content_types import guessed_type
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import write_time
from client_proxy.doors.s3.protocol.version_ids import version_id_of
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.s3 import CHECKSUM_FACTS, ETAG_FACT, etag_of_content

OWN = "s3:"
MAX_USER_METADATA_BYTES = 2048
UNKNOWN_TYPE = "binary/octet-stream"
# Parameters that come back on reading as they were sent on writing, and the facts' names.
_KEPT = {
    "CacheControl": "cache-control",
    "ContentDisposition": "content-disposition",
    "ContentEncoding": "content-encoding",
    "ContentLanguage": "content-language",
    "WebsiteRedirectLocation": "website-redirect-location",
}
_EXPIRES = f"{OWN}expires"
_STORAGE_CLASS = f"{OWN}storage-class"
CHECKSUM_ALGORITHM = f"{CHECKSUM_FACTS}algorithm"
"""The fact of an upload that says by which algorithm its parts have checksums."""
CHECKSUM_TYPE = f"{CHECKSUM_FACTS}type"
_NOT_COPIED = frozenset({_STORAGE_CLASS, f"{OWN}website-redirect-location"})
_SAID = frozenset({_EXPIRES, _STORAGE_CLASS, *(OWN + fact for fact in _KEPT.values())})
"""The facts that a person chooses; all others come from the content."""
STORAGE_CLASSES = frozenset(
    {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
)
"""Those whose objects can be read at once: nothing is ever archived here."""
_REDIRECTS = ("/", "http://", "https://")


def written_metadata(values: Values, expires: str | None) -> dict[str, str]:
    """What a write's parameters add to the version's metadata. S3Error when the person's own is too long.

    `expires` is that header as it was sent: it comes back so, whether it is a date or not.
    """
    own = {name.lower(): text for name, text in (values.get("Metadata") or {}).items()}
    size = sum(len(name) + len(text.encode()) for name, text in own.items())
    if size > MAX_USER_METADATA_BYTES:
        raise S3Error(
            "MetadataTooLarge",
            f"the x-amz-meta- headers have {size} bytes; at most {MAX_USER_METADATA_BYTES} are kept",
            Size=str(size),
            MaxSizeAllowed=str(MAX_USER_METADATA_BYTES),
        )
    redirect = values.get("WebsiteRedirectLocation")
    if redirect is not None and not redirect.startswith(_REDIRECTS):
        raise S3Error(
            "InvalidRedirectLocation", "x-amz-website-redirect-location must begin with /, http:// or https://"
        )
    facts = {OWN + fact: str(values[name]) for name, fact in _KEPT.items() if values.get(name) is not None}
    encoding = _without_aws_chunked(facts.pop(f"{OWN}content-encoding", ""))
    if encoding:
        facts[f"{OWN}content-encoding"] = encoding
    if expires is not None:
        facts[_EXPIRES] = expires
    storage_class = values.get("StorageClass")
    if storage_class is not None and storage_class != "STANDARD":
        if storage_class not in STORAGE_CLASSES:
            raise S3Error("InvalidStorageClass", f"the storage class {storage_class[:40]!r} is not known here")
        facts[_STORAGE_CLASS] = storage_class
    return own | facts


def content_facts(md5: str, sums: dict[str, str], kind: str = "FULL_OBJECT") -> dict[str, str]:
    """What is known of the content once it was read: its ETag, and the checksums that were asked for."""
    facts = {ETAG_FACT: md5}
    for name, value in sums.items():
        facts[checksum_fact(name)] = value
    if sums:
        facts[CHECKSUM_TYPE] = kind
    return facts


def checksum_fact(algorithm: str) -> str:
    """The name of the fact that has the checksum."""
    return f"{CHECKSUM_FACTS}{algorithm.lower()}"


def copied_metadata(version: FileVersion, values: Values) -> dict[str, str]:
    """A copy's metadata that keeps the source's. Its storage class and redirect are what the request says, as in S3."""
    asked: Values = {name: values[name] for name in ("StorageClass", "WebsiteRedirectLocation") if name in values}
    left = {name: text for name, text in version.metadata.items() if name not in _NOT_COPIED}
    return left | written_metadata(asked, None)


def said_metadata(version: FileVersion, values: Values) -> dict[str, str]:
    """The same without what follows from the content, for a copy whose bytes are written anew."""
    kept = copied_metadata(version, values)
    return {name: text for name, text in kept.items() if not name.startswith(OWN) or name in _SAID}


def replaced_metadata(version: FileVersion, values: Values, expires: str | None) -> dict[str, str]:
    """A copy's metadata as its request says; what is said of the content itself stays the source's."""
    facts = {name: text for name, text in version.metadata.items() if name.startswith(OWN) and name not in _SAID}
    return facts | written_metadata(values, expires)


def has_checksum(version: FileVersion, algorithm: str) -> bool:
    """Whether the whole content's checksum of that algorithm is known."""
    known = checksum_fact(algorithm) in version.metadata
    return known and version.metadata.get(CHECKSUM_TYPE, "FULL_OBJECT") == "FULL_OBJECT"


def etag_of(version: FileVersion) -> str:
    """Without quotes."""
    return etag_of_content(version.metadata, version.digest)


def checksums_of(version: FileVersion) -> Values:
    """The members `ChecksumCRC32` and so on, and `ChecksumType`; empty when none was asked for on writing."""
    found = sums_in(version.metadata)
    if found:
        found["ChecksumType"] = version.metadata.get(CHECKSUM_TYPE, "FULL_OBJECT")
    return found


def sums_in(facts: dict[str, str]) -> Values:
    """The members `ChecksumCRC32` and so on among facts of a content, or of a part."""
    found: Values = {}
    for algorithm in checksums.ALGORITHMS.values():
        value = facts.get(checksum_fact(algorithm.name))
        if value is not None:
            found[algorithm.member] = value
    return found


def user_metadata(version: FileVersion) -> dict[str, str]:
    """The person's own."""
    return {name: text for name, text in version.metadata.items() if not name.startswith(OWN)}


def content_type_of(version: FileVersion) -> str:
    """As it was written, or as the name suggests."""
    return version.content_type or guessed_type(version.path)


def expires_of(version: FileVersion) -> str | None:
    """The Expires header as it was sent on writing."""
    return version.metadata.get(_EXPIRES)


def storage_class_of(version: FileVersion) -> str:
    return version.metadata.get(_STORAGE_CLASS, "STANDARD")


def read_values(version: FileVersion) -> Values:
    """The members that GetObject and HeadObject share, apart from the content's length."""
    values: Values = {
        "ETag": f'"{etag_of(version)}"',
        "LastModified": version.created_at,
        "ContentType": content_type_of(version),
        "AcceptRanges": "bytes",
        "Metadata": user_metadata(version),
    }
    for name, fact in _KEPT.items():
        value = version.metadata.get(OWN + fact)
        if value is not None:
            values[name] = value
    storage_class = storage_class_of(version)
    if storage_class != "STANDARD":
        values["StorageClass"] = storage_class
    return values | version_id_of(version) | expiration_of(version)


def expiration_of(version: FileVersion) -> Values:
    """`Expiration`, where a rule of the bucket's lifecycle is about the version."""
    if version.expires is None:
        return {}
    rule = quote(version.expires.rule, safe="")
    return {"Expiration": f'expiry-date="{write_time(version.expires.at, "rfc822")}", rule-id="{rule}"'}


def _without_aws_chunked(encoding: str) -> str:
    """The framing of the transfer is no encoding of the content."""
    return ",".join(part.strip() for part in encoding.split(",") if part.strip().lower() not in ("aws-chunked", ""))
