"""The key of the ids that files have at older addresses (`client_proxy/doors/rest/file_ids.py`)."""

from __future__ import annotations

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Message, Nothing

FILE_ID_KEY_BYTES = 64


class FileIdKeyReply(Message):
    """`key` in hex. It opens no file: who shows an id may do what their account may do with the file it names."""

    key: str


FILE_ID_KEY = Call("/v1/file-id-key", Nothing, FileIdKeyReply)
