"""Zip files of folders and selections: each file is judged as in a read of its own."""

from __future__ import annotations

import io
import zipfile

import pytest

from client_proxy.doors.archives import MISSING
from tests.security.people import Person

SECRET = b"nobody else's business"


@pytest.fixture
def bucket(olga: Person, eve: Person) -> str:
    """Olga's bucket: eve may list it all, and read what is below `open/`."""
    name = olga.bucket()
    for path, content in (("open/a.txt", b"a"), ("open/b.txt", b"b"), ("closed.txt", SECRET), ("z.txt", SECRET)):
        assert olga.put(name, path, content).status == 201
    olga.let_each(name, eve, {"": ["s3:ListBucket"], "/open/*": ["s3:GetObject"]})
    return name


def _entries(person: Person, target: str) -> dict[str, bytes]:
    answer = person.ask("GET", target)
    assert answer.status == 200, answer.body
    with zipfile.ZipFile(io.BytesIO(answer.body)) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def test_what_may_not_be_read_is_not_packed(olga: Person, eve: Person, bucket: str) -> None:
    """The archive has what its reader may read, and names the rest without a byte of it."""
    packed = _entries(eve, f"/archives/{bucket}")
    assert {name: packed[name] for name in ("open/a.txt", "open/b.txt")} == {"open/a.txt": b"a", "open/b.txt": b"b"}
    assert packed[MISSING].decode().splitlines()[1:] == ["closed.txt", "z.txt"]
    assert SECRET not in b"".join(packed.values())
    assert _entries(olga, f"/archives/{bucket}?name=closed.txt") == {"closed.txt": SECRET}


@pytest.mark.parametrize("query", ["?name=closed.txt", "?name=open/a.txt&name=closed.txt"])
def test_a_chosen_file_that_may_not_be_read_is_refused(eve: Person, bucket: str, query: str) -> None:
    """Before the first byte, as a read of it is."""
    answer = eve.ask("GET", f"/archives/{bucket}{query}")
    assert (answer.status, answer.json["code"]) == (403, "forbidden")


def test_strangers_get_no_archive(ben: Person, bucket: str) -> None:
    """Neither of a folder nor of a file, and it makes no difference whether there is one."""
    for query in ("", "?folder=open", "?folder=none", "?name=open/a.txt", "?name=none"):
        assert ben.ask("GET", f"/archives/{bucket}{query}").status == 403


def test_a_customers_encryption_stays_closed(olga: Person) -> None:
    """A file under a key that the cluster lacks is named; chosen by itself, it is refused with the reason."""
    bucket, key = olga.bucket(), {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    olga.s3.put_object(Bucket=bucket, Key="in/sealed", Body=SECRET, **key)
    assert list(_entries(olga, f"/archives/{bucket}?folder=in")) == [MISSING]
    assert olga.ask("GET", f"/archives/{bucket}?name=in/sealed").status == 400
