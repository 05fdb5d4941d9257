"""Names: what is kept as given, and what is refused with a reason."""

from __future__ import annotations

import unicodedata

import pytest

from lockstep_store.wire.errors import BadName
from lockstep_store.wire.names import (
    RESERVED_BUCKETS,
    check_account,
    check_bucket,
    check_key,
    check_path,
    quoted,
    tenant_of,
)


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b/c.txt",
        "with space.txt",
        " leading",
        "trailing/",
        "a//b",
        "..a",
        "a..b",
        "...",
        ".hidden",
        "emoji 🦊.png",
        "a%2Fb",
        unicodedata.normalize("NFC", "é"),
        unicodedata.normalize("NFD", "é"),
        "x" * 1024,
        "é" * 512,
        "line\u2028separator",
    ],
)
def test_a_good_path_is_kept_exactly(path: str) -> None:
    """A path is never changed: not its case, spaces, slashes or Unicode form."""
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "..",
        ".",
        "a/..",
        "../a",
        "a/../b",
        "a/./b",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "x" * 1025,
        "é" * 513,
        "\ud800",
    ],
)
def test_a_bad_path_is_refused_with_a_sentence(path: str) -> None:
    """Climbing, absolute, empty, control characters, too long and invalid Unicode are refused."""
    with pytest.raises(BadName) as caught:
        check_path(path)
    assert len(caught.value.detail) > 15


@pytest.mark.parametrize("key", ["/", "/a", "..", ".", "a/..", "../a", "a/./b", "//"])
def test_a_key_need_not_be_a_path(key: str) -> None:
    """The directory and S3 accept names that have another meaning in addresses and folders."""
    assert check_key(key) == key
    with pytest.raises(BadName, match="only S3 clients"):
        check_path(key)


@pytest.mark.parametrize("key", ["", "a\0b", "a\nb", "a\x7fb", "x" * 1025, "\ud800"])
def test_what_cannot_be_written_anywhere_is_no_key(key: str) -> None:
    """Control characters, too long, invalid Unicode and nothing at all are refused at every door."""
    with pytest.raises(BadName):
        check_key(key)


@pytest.mark.parametrize("bucket", ["abc", "files", "a.b-c", "0-9", "a" * 63])
def test_a_good_bucket(bucket: str) -> None:
    """Names that S3 allows are allowed."""
    assert check_bucket(bucket) == bucket


@pytest.mark.parametrize(
    "bucket",
    [
        "",
        "ab",
        "a" * 64,
        "Abc",
        "a_b",
        "a..b",
        "-ab",
        "ab-",
        ".ab",
        "192.168.0.1",
        "xn--abc",
        "abc-s3alias",
        "a/b",
        "é12",
        *sorted(RESERVED_BUCKETS),
    ],
)
def test_a_bad_bucket_is_refused(bucket: str) -> None:
    """S3's rules and the proxy's own addresses."""
    with pytest.raises(BadName):
        check_bucket(bucket)


@pytest.mark.parametrize(
    "name", ["", "a" * 65, " a", "a ", "a/b", "a:b", "a\nb", "a\\b", "a\uff0fb", "a\uff1ab", "a\uff3cb"]
)
def test_a_bad_account_name_is_refused(name: str) -> None:
    """Account names stay printable and unambiguous."""
    with pytest.raises(BadName):
        check_account(name)


@pytest.mark.parametrize(
    "name", ["\\a", "ab\\", "ab\\a\\b", "AB\\a", "a\\b", "-ab\\c", "ab-\\c", "ab\\ c", "x" * 33 + "\\a"]
)
def test_a_bad_name_in_a_tenant_is_refused(name: str) -> None:
    """A tenant's name, one backslash, and a name that an account may have."""
    with pytest.raises(BadName):
        check_account(name, in_tenant=True)


def test_an_accounts_name_says_its_tenant() -> None:
    """One without has none, also where one with a tenant may be given."""
    assert check_account("acme\\Ann Lee", in_tenant=True) == "acme\\Ann Lee"
    assert check_account("ann", in_tenant=True) == "ann"
    assert (tenant_of("acme\\ann"), tenant_of("ann"), tenant_of("")) == ("acme", "", "")
    assert quoted("acme\\ann") == "'acme\\ann'"
