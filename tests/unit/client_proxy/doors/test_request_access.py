"""What policies may ask about a request travels with its credential."""

from __future__ import annotations

from typing import Any

import pytest

from client_proxy.doors.request_access import access_of
from lockstep_store.wire.messages.s3_access import S3Access

PLAIN = {"aws:sourceip": ["10.0.0.7"], "aws:securetransport": ["true"]}


@pytest.mark.parametrize(
    ("environ", "keys"),
    [
        ({}, PLAIN),
        ({"REMOTE_ADDR": "10.0.0.7:4711"}, PLAIN),
        ({"wsgi.url_scheme": "http"}, PLAIN | {"aws:securetransport": ["false"]}),
        (
            {"HTTP_USER_AGENT": "curl/8", "HTTP_REFERER": "https://a.example"},
            PLAIN | {"aws:useragent": ["curl/8"], "aws:referer": ["https://a.example"]},
        ),
    ],
)
def test_a_credential_takes_the_condition_keys_along(environ: dict[str, Any], keys: dict[str, list[str]]) -> None:
    sent = {"REMOTE_ADDR": "10.0.0.7", "wsgi.url_scheme": "https"} | environ
    assert S3Access.decode(access_of(sent, "a token")) == S3Access(credential="a token", keys=keys)
