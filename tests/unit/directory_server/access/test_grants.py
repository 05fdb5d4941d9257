"""What a grant means, as statements; tests/security/test_access.py has what people can do with one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory_server.access.grants import ACTIONS, Grant, is_folder, parse, stored
from directory_server.access.policy import Question
from lockstep_store.wire.messages.access import EVERYBODY, AccessLevel

PATHS = st.text(st.sampled_from("ab/*?${}"), max_size=8)


def allowed(grant: Grant, account: str, action: str, key: str) -> bool:
    """Whether the stored grant allows the action on a key, or a listing of a prefix."""
    text = stored([grant])
    assert text is not None
    found = parse(text, "album")
    listing = action.startswith("s3:List")
    resource = "album" if listing else f"album/{key}"
    question = Question(account, action, resource, lambda name: [key] if name == "s3:prefix" and listing else None)
    return any(one is not None and one.verdict(question) == "Allow" for one in (found.named, found.public))


@given(PATHS, PATHS.filter(bool))
def test_a_grant_is_for_its_path_letter_by_letter(path: str, key: str) -> None:
    """A folder's for whatever begins with it, a file's for itself; no letter of a name is a pattern."""
    inside = key.startswith(path) if is_folder(path) else key == path
    grant = Grant(path, "ann", "read")
    assert grant.covers(key) == inside
    assert allowed(grant, "ann", "s3:GetObject", key) == inside
    assert not allowed(grant, "ben", "s3:GetObject", key)
    assert allowed(grant, "ann", "s3:ListBucket", key) == (inside and is_folder(path))


@pytest.mark.parametrize(("level", "count"), [("read", 1), ("write", 2), ("manage", 3)])
def test_a_level_includes_those_before_it(level: AccessLevel, count: int) -> None:
    """Reading, then changing, then what cannot be taken back."""
    grant = Grant("in/", "ann", level)
    asked = ["s3:GetObject", "s3:PutObject", "s3:PutObjectAcl"]
    assert [allowed(grant, "ann", action, "in/f") for action in asked] == [n < count for n in range(3)]
    assert allowed(grant, "ann", "s3:DeleteObjectVersion", "in/f") == (level == "manage")
    assert set(ACTIONS["read"]) < set(ACTIONS["write"]) < set(ACTIONS["manage"])


def test_everybody_is_everybody() -> None:
    """With an account or without; such a grant is kept apart, because a bucket can switch those off."""
    grant = Grant("in/", EVERYBODY, "read")
    assert allowed(grant, "", "s3:GetObject", "in/f")
    assert allowed(grant, "ben", "s3:GetObject", "in/f")
    assert not allowed(grant, "", "s3:PutObject", "in/f")
    found = parse(stored([grant, Grant("", "ann", "read")]) or "", "album")
    assert found.public is not None
    assert found.public.public
    assert found.named is not None
    assert not found.named.public


def test_no_grants_are_no_setting() -> None:
    """A bucket without any is judged as before; what is stored has an order, so equal grants are equal texts."""
    assert stored([]) is None
    some = [Grant("b", "ann", "read"), Grant("a", "ben", "write")]
    assert stored(some) == stored(reversed(some))
