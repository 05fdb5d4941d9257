"""RenameObject: another key for an object, in the same bucket."""

from __future__ import annotations

from typing import Protocol

from client_proxy.core.requests import Copy, Stat
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects import conditional
from client_proxy.doors.s3.objects.copy_source import ObjectSource, read_source, source_version, while_overwritten
from client_proxy.doors.s3.objects.object_write import read_write_conditions
from client_proxy.doors.s3.objects.tagging import tag_settings, tags_in
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.messages.files import CommittedReply, FileVersion, Preconditions
from lockstep_store.wire.names import check_key


class RenameFiles(Protocol):
    """The file store as RenameObject uses it."""

    def stat(self, request: Stat) -> FileVersion: ...
    def copy(self, request: Copy) -> CommittedReply: ...


class RenameHandlers:
    """RenameObject."""

    def __init__(self, files: RenameFiles) -> None:
        self._files = files

    def handlers(self) -> Handlers:
        return {"RenameObject": self.rename}

    def rename(self, call: S3Call) -> Values:
        """RenameObject: the new name appears and the old one is deleted in one transaction."""
        source = read_source(_in_bucket(call), "x-amz-rename-source")
        if source.version is not None:
            raise S3Error("InvalidArgument", "only the current version can be renamed; leave out versionId")
        path = check_key(call.key)
        if source.key == path:
            raise S3Error("InvalidRequest", "the object has this name already")
        return while_overwritten(source, lambda: self._rename(call, source, path))

    def _rename(self, call: S3Call, source: ObjectSource, path: str) -> Values:
        version = source_version(
            self._files, call.credential, source, conditional.Conditions.of(call.values, "Source"), with_settings=True
        )
        self._files.copy(
            Copy(
                call.credential,
                call.bucket,
                path,
                source_bucket=source.bucket,
                source_path=source.key,
                move=True,
                lock_number=read_write_conditions(call).lock_number,
                preconditions=self._target_conditions(call, path),
                settings=tag_settings(tags_in(version.settings)),
                source_if_version=version.version,
            )
        )
        return {}

    def _target_conditions(self, call: S3Call, path: str) -> Preconditions:
        """Return what the commit must check of the target. Dates are checked here, on the version it then requires."""
        asked = conditional.Conditions.of(call.values, "Destination")
        if asked._replace(if_none_match=None) == conditional.Conditions():
            return conditional.for_commit(None, asked.if_none_match, None)
        current = conditional.current_version(self._files, call.credential, call.bucket, path)
        if current is not None:
            conditional.check_copy_source(current, asked._replace(if_match=None, if_none_match=None))
        if_match = asked.if_match or ("*" if current is not None else None)
        return conditional.for_commit(if_match, asked.if_none_match, current)


def _in_bucket(call: S3Call) -> str:
    """The source, which the header names with or without its bucket."""
    text: str = call.values.get("RenameSource") or ""
    rest = text.removeprefix("/")
    return rest if rest.startswith(f"{call.bucket}/") else f"{call.bucket}/{rest}"
