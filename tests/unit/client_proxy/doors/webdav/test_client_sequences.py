"""Requests such as desktops make, in their order. They are written from what the protocols ask, and not recorded."""

from __future__ import annotations

from tests.fakes.webdav import DavPerson, header, hrefs, token, tree

FINDER = {"User_Agent": "WebDAVFS/3.0.0 (03008000) Darwin/24.0.0 (arm64)"}
EXPLORER = {"User_Agent": "Microsoft-WebDAV-MiniRedir/10.0.26100", "Translate": "f"}
OFFICE = {"User_Agent": "Microsoft Office Word 2014", "Translate": "f"}
FINDER_PROPS = (
    '<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:getlastmodified/>'
    "<D:getcontentlength/><D:creationdate/><D:resourcetype/></D:prop></D:propfind>"
)
FINDER_QUOTA = (
    '<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/>'
    "<D:quota-used-bytes/><D:quota/><D:quotaused/></D:prop></D:propfind>"
)
FINDER_LOCK = (
    '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype><D:owner><D:href>http://www.apple.com/webdav_fs/</D:href></D:owner></D:lockinfo>"
)
WINDOWS_LOCK = (
    '<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype><D:owner><D:href>OFFICE\\olga</D:href></D:owner></D:lockinfo>"
)
WINDOWS_TIMES = (
    '<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:">'
    "<D:set><D:prop><Z:Win32CreationTime>Mon, 30 Nov 2026 18:00:00 GMT</Z:Win32CreationTime>"
    "<Z:Win32LastAccessTime>Mon, 30 Nov 2026 18:00:00 GMT</Z:Win32LastAccessTime>"
    "<Z:Win32LastModifiedTime>Mon, 30 Nov 2026 18:00:00 GMT</Z:Win32LastModifiedTime>"
    "<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>"
)


def _statuses(answer: object) -> set[str]:
    return {one.text or "" for one in tree(answer).iter("{DAV:}status")}  # type: ignore[arg-type]


def test_the_finder_connects_and_saves(olga: DavPerson, bucket: str) -> None:
    """A file is put empty, locked, and put again in chunks; beside it a file of the Finder's own."""
    assert olga.ask("OPTIONS", f"{bucket}/", **FINDER).status == 200
    assert olga.ask("PROPFIND", f"{bucket}/", FINDER_PROPS, Depth="0", **FINDER).status == 207
    assert olga.ask("PROPFIND", f"{bucket}/", FINDER_QUOTA, Depth="0", **FINDER).status == 207
    assert olga.ask("PROPFIND", f"{bucket}/", FINDER_PROPS, Depth="1", **FINDER).status == 207
    for path in (f"{bucket}/._plan.txt", f"{bucket}/plan.txt"):
        assert olga.ask("PROPFIND", path, FINDER_PROPS, Depth="0", **FINDER).status == 404
        assert olga.put(path, b"", **FINDER).status == 201
        locked = olga.ask("LOCK", path, FINDER_LOCK, Depth="0", Timeout="Second-600", **FINDER)
        assert locked.status == 200
        assert b"webdav_fs" in locked.body
        body = path.encode() * 1000
        sent = olga.put(
            path,
            body,
            chunked="yes",
            X_Expected_Entity_Length=str(len(body)),
            If=f"({token(locked)})",
            **FINDER,
        )
        assert sent.status == 204
        assert olga.ask("PROPFIND", path, FINDER_PROPS, Depth="0", **FINDER).status == 207
        renewed = olga.ask("LOCK", path, If=f"({token(locked)})", Timeout="Second-600", **FINDER)
        assert renewed.status == 200
        assert olga.unlock(path, token(locked)).status == 204
    assert olga.move(f"{bucket}/plan.txt", f"{bucket}/plan 2.txt".replace(" ", "%20"), **FINDER).status == 201
    assert olga.get(f"{bucket}/plan%202.txt", **FINDER).body == f"{bucket}/plan.txt".encode() * 1000


def test_the_explorer_copies_a_file_and_renames_a_folder(olga: DavPerson, bucket: str) -> None:
    """A file is put empty, locked, given its times, put, and given its times again under the lock."""
    options = olga.ask("OPTIONS", "", **EXPLORER)
    assert (header(options, "MS-Author-Via"), header(options, "DAV")) == ("DAV", "1, 2, 3")
    assert olga.ask("PROPFIND", "/", Depth="0", **EXPLORER).status == 207
    assert hrefs(olga.ask("PROPFIND", f"{bucket}", Depth="1", **EXPLORER)) == [f"/dav{bucket}/"]
    path = f"{bucket}/report.docx"
    assert olga.ask("PROPFIND", path, Depth="0", **EXPLORER).status == 404
    assert olga.put(path, b"", **EXPLORER).status == 201
    held = token(olga.ask("LOCK", path, WINDOWS_LOCK, Timeout="Second-3600", **EXPLORER))
    assert _statuses(olga.ask("PROPPATCH", path, WINDOWS_TIMES, If=f"({held})", **EXPLORER)) == {"HTTP/1.1 200 OK"}
    assert olga.ask("HEAD", path, **EXPLORER).status == 200
    assert olga.put(path, b"words", If=f"({held})", **EXPLORER).status == 204
    assert _statuses(olga.ask("PROPPATCH", path, WINDOWS_TIMES, If=f"({held})", **EXPLORER)) == {"HTTP/1.1 200 OK"}
    assert olga.ask("UNLOCK", path, Lock_Token=held, **EXPLORER).status == 204
    assert olga.property(path, "Win32FileAttributes", "urn:schemas-microsoft-com:") == "00000020"
    assert olga.ask("MKCOL", f"{bucket}/New%20folder", **EXPLORER).status == 201
    assert olga.move(f"{bucket}/New%20folder", f"{bucket}/Reports", Overwrite="F", **EXPLORER).status == 201
    assert olga.move(path, f"{bucket}/Reports/report.docx", Overwrite="F", **EXPLORER).status == 201
    assert olga.names(f"{bucket}/Reports/") == [f"/dav{bucket}/Reports/report.docx"]


def test_office_edits_in_place_while_somebody_else_wants_to(olga: DavPerson, eve: DavPerson) -> None:
    """Word locks what it opens, keeps the lock alive, and saves under it. The other Word learns who has the file."""
    name = olga.bucket()
    olga.api("PATCH", f"/buckets/{name}", b'{"shared": true}')
    path = f"/{name}/letter.docx"
    olga.put(path, b"Dear all")
    assert olga.ask("OPTIONS", f"/{name}/", **OFFICE).status == 200
    assert olga.ask("HEAD", path, **OFFICE).status == 200
    held = token(olga.ask("LOCK", path, WINDOWS_LOCK, Timeout="Second-3600", **OFFICE))
    assert olga.get(path, **OFFICE).body == b"Dear all"
    refused = eve.ask("LOCK", path, WINDOWS_LOCK, Timeout="Second-3600", **OFFICE)
    assert (refused.status, header(refused, "X-Lockstep-Lock-Holder")) == (423, "olga")
    found = tree(eve.ask("PROPFIND", path, Depth="0", **OFFICE))
    assert found.findtext(".//{DAV:}activelock/{DAV:}owner") == "OFFICE\\olga"
    assert eve.get(path, **OFFICE).body == b"Dear all"
    for text in (b"Dear all, hello", b"Dear all, hello again"):
        assert olga.put(path, text, If=f"({held})", **OFFICE).status == 204
        assert olga.ask("LOCK", path, If=f"({held})", Timeout="Second-3600", **OFFICE).status == 200
    assert olga.ask("UNLOCK", path, Lock_Token=held, **OFFICE).status == 204
    assert token(eve.ask("LOCK", path, WINDOWS_LOCK, **OFFICE))
    assert eve.get(path, **OFFICE).body == b"Dear all, hello again"


def test_office_saves_a_new_file(olga: DavPerson, bucket: str) -> None:
    """It locks the name first; the name looks like an empty file until the content comes."""
    path = f"{bucket}/new.docx"
    locked = olga.ask("LOCK", path, WINDOWS_LOCK, Timeout="Second-3600", **OFFICE)
    assert locked.status == 201
    assert olga.ask("HEAD", path, **OFFICE).status == 200
    assert olga.put(path, b"first words", If=f"({token(locked)})", **OFFICE).status == 201
    assert olga.ask("UNLOCK", path, Lock_Token=token(locked), **OFFICE).status == 204
    assert olga.api("GET", f"/files{path}").body == b"first words"
