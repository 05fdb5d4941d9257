"""Policy documents, and the question that they are asked."""

from __future__ import annotations

import json
from typing import Any

from directory_server.access.policy import Question
from directory_server.access.policy_documents import parse

BUCKET = "box"


def statement(**more: Any) -> dict[str, Any]:
    """One that allows everybody to read everything, apart from what is said."""
    plain = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    return {name: value for name, value in (plain | more).items() if value is not None}


def text_of(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


def ask(text: str, account: str = "ann", action: str = "s3:GetObject", key: str = "k", **keys: str) -> str | None:
    """The verdict on a request; condition keys are given with `__` for the colon."""
    known = {name.replace("__", ":"): [value] for name, value in keys.items()} | {"aws:username": [account]}
    resource = f"{BUCKET}/{key}" if key else BUCKET
    return parse(text, BUCKET).verdict(Question(account, action, resource, known.get))
