"""The body of a form upload. As in S3, fields after the file are ignored."""

from __future__ import annotations

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.form_body import FormBody


class PostedForm(FormBody):
    """A form whose errors are S3's."""

    def malformed(self, why: str) -> Exception:
        return S3Error("MalformedPOSTRequest", f"the body is not well-formed multipart/form-data: {why}")

    def too_much(self, what: str) -> Exception:
        return S3Error("MaxPostPreDataLengthExceededError", what)

    def no_file(self) -> Exception:
        return S3Error("InvalidArgument", "POST requires exactly one file upload per request.")
