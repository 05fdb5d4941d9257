"""The menu's requests about files: list, read, upload, download, delete, versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lockstep_store.client.api.answers import RemoteFile
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.local_storage import LocalFileError, LocalStorage
from lockstep_store.client.menu.terminal import Terminal
from lockstep_store.client.text import formatting
from lockstep_store.client.text.progress_bars import file_bar, tree_bar
from lockstep_store.client.transfers import ReadCheck, TreeReport, download, put_tree, upload
from lockstep_store.wire.errors import BadRequest, LockstepError, NotFound
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.names import FILES_BUCKET, check_path

SHOWN_BYTES = 1024 * 1024
SHOWN_NAMES = 20
COMPLETED_NAMES = 200
FOUND_NAMES = 50
RENAME = " -> "


class FileRequests:
    """Requests about files in the bucket `files`."""

    def __init__(self, api: ApiCalls, storage: LocalStorage, terminal: Terminal) -> None:
        self._api = api
        self._storage = storage
        self._terminal = terminal
        self._versions_of = ""
        self._versions: list[FileVersion] = []

    def list(self, prefix: str) -> None:
        """List all files, or those whose names begin with `prefix`."""
        self._terminal.page(self._listing(prefix))

    def _listing(self, prefix: str) -> Iterator[str]:
        count = total = 0
        for page in self._api.list_pages(prefix):
            if page.files:
                yield formatting.files_table(page.files, self._terminal.width)
            count += len(page.files)
            total += sum(file.size for file in page.files)
        if count:
            yield f"{formatting.counted(count, 'file')}, {formatting.size(total)}"
        elif prefix:
            yield f"No file's name begins with {formatting.safe(prefix)}."
        else:
            yield "No files yet. Upload one with 4, or write one with 3."

    def names(self, beginning: str) -> Iterable[str]:
        """Files and folders whose names begin so; none when the cluster cannot say."""
        try:
            page = self._api.list_page(beginning, delimiter="/", limit=COMPLETED_NAMES)
        except LockstepError:
            return ()
        return [*page.prefixes, *(file.path for file in page.files)]

    def local_names(self, beginning: str) -> Iterable[str]:
        """The same for files that can be uploaded."""
        return [name for name in self._storage.names() if name.startswith(beginning)][:COMPLETED_NAMES]

    def search(self, words: str) -> None:
        """Find files by words in their names."""
        found = self._api.search_page(words, bucket=FILES_BUCKET, limit=FOUND_NAMES)
        if not found.hits:
            self._terminal.say(f"Nothing found for {formatting.safe(words)}.")
        else:
            self._terminal.page([formatting.files_table([hit.file for hit in found.hits], self._terminal.width)])
        if found.hits and found.hits[0].match == "similar":
            self._terminal.say("No name has these words; these are similar.")
        if found.next_after is not None:
            self._terminal.say("There are more: add words.")
        if not found.complete:
            self._terminal.say("The search index is still being filled: some older files are not found yet.")

    def read(self, path: str) -> None:
        """Show a file's text."""
        self._show(self._api.stat(path))

    def _show(self, file: RemoteFile) -> None:
        if file.size > SHOWN_BYTES:
            name = formatting.safe(file.path)
            self._terminal.tell(f"{name} has {formatting.size(file.size)}, too much to show: download it with 5 {name}")
            return
        reader = ReadCheck(self._api, file)
        content = b"".join(reader.blocks())
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            name = formatting.safe(file.path)
            self._terminal.tell(f"{name} is not text ({formatting.size(file.size)}): download it with 5 {name}")
            return
        if text:
            self._terminal.say(formatting.safe_lines(text.replace("\r\n", "\n")).rstrip("\n"))
        cache = f", cache {reader.receipt.cache}" if reader.receipt.cache else ""
        self._terminal.tell(
            f"-- {formatting.safe(file.path)} version {file.version}, {formatting.size(file.size)}, verified{cache}"
        )

    def show_folder(self) -> None:
        """List the files that can be uploaded."""
        names = self._storage.names()
        where = f"{self._storage.root}"
        if not names:
            self._terminal.say(f"{where} is empty: put files there first.")
            return
        self._terminal.say(f"In {where}: {formatting.counted(len(names), 'file')}")
        for name in names[:SHOWN_NAMES]:
            self._terminal.say(f"  {formatting.safe(name)}")
        if len(names) > SHOWN_NAMES:
            self._terminal.say(f"  … and {len(names) - SHOWN_NAMES} more")

    def upload(self, argument: str) -> None:
        """Upload a file or folder from local storage. `A -> B` saves A under the name B."""
        local, _, other = argument.partition(RENAME)
        local, path = local.strip(), other.strip() or local.strip().rstrip("/")
        source = self._storage.resolve(local.rstrip("/"))
        if source.is_dir():
            self._upload_folder(local.rstrip("/"), path.rstrip("/"))
            return
        if not source.exists():
            raise LocalFileError(f"{source} does not exist: put the file there first, or check its name")
        check_path(path)
        size = source.stat().st_size
        with file_bar(self._terminal.output, "sending", local, size) as progress:
            sent = upload(self._api, source, FILES_BUCKET, path, progress=progress)
        note = f" ({formatting.size(sent.bytes_sent)} sent)" if sent.delta else ""
        self._terminal.tell(formatting.saved_line(sent.saved) + note)

    def _upload_folder(self, local: str, path: str) -> None:
        with tree_bar(self._terminal.output, "sending") as bar:
            report = put_tree(
                self._api, self._storage.resolve(local), FILES_BUCKET, f"{check_path(path)}/", progress=bar
            )
        self._say_report(report)

    def _say_report(self, report: TreeReport) -> None:
        self._terminal.tell(
            f"saved {formatting.counted(report.moved, 'file')} ({formatting.size(report.size)}), "
            f"{report.skipped:,} already there"
        )
        troubles = [*report.refused, *((name, str(error)) for name, error in report.failed)]
        for name, reason in troubles[:SHOWN_NAMES]:
            self._terminal.say(f"  not saved: {formatting.safe(name)}: {reason}")
        if len(troubles) > SHOWN_NAMES:
            self._terminal.say(f"  … and {len(troubles) - SHOWN_NAMES} more that were not saved")

    def download(self, argument: str) -> None:
        """Download a file into local storage. `A -> B` stores A under the name B."""
        path, _, other = argument.partition(RENAME)
        path, local = path.strip(), other.strip() or path.strip()
        check_path(path)
        target = self._storage.for_writing(local)
        remote = self._api.stat(path)
        with file_bar(self._terminal.output, "fetching", path, remote.size) as progress:
            fetched = download(self._api, FILES_BUCKET, path, target, known=remote, progress=progress)
        state = "was already" if fetched.unchanged else "is now"
        self._terminal.tell(
            f"{formatting.safe(path)} version {fetched.file.version} {state} in {target} "
            f"({formatting.size(fetched.file.size)}, verified)"
        )

    def delete(self, path: str) -> None:
        """Delete a file. Its versions are kept."""
        reply = self._api.delete(path)
        name = formatting.safe(path)
        if not reply.existed:
            raise NotFound(f"{name} does not exist")
        self._terminal.tell(f"deleted {name}; its versions are kept, 7 {name} shows them")

    def versions(self, path: str) -> None:
        """List a file's versions, and remember their numbers for `read N` and `restore N`."""
        found = self._api.versions(path)
        if not found:
            raise NotFound(f"{formatting.safe(path)} has no versions")
        self._versions_of, self._versions = path, found
        self._terminal.say(f"{formatting.safe(path)}: {formatting.counted(len(found), 'version')}")
        self._terminal.say(formatting.versions_table(found, self._terminal.width))
        self._terminal.say('Type "read 2" or "restore 2" for one of them, or any other request.')

    def read_version(self, number: str) -> bool:
        """Carry out `read N` after a list of versions. False if there was no list: then N is a file's name."""
        version = self._numbered(number)
        if version is None:
            return False
        self._show(self._api.stat(self._versions_of, version=version.version))
        return True

    def restore_version(self, number: str) -> bool:
        """Carry out `restore N` after a list of versions."""
        version = self._numbered(number)
        if version is None:
            raise BadRequest("show a file's versions first (7 NAME), then type restore and a number from that list")
        saved = self._api.restore(self._versions_of, version.version)
        self._terminal.tell(formatting.saved_line(saved, "restored"))
        return True

    def _numbered(self, number: str) -> FileVersion | None:
        if not number.isdecimal() or not 1 <= int(number) <= len(self._versions):
            return None
        version = self._versions[int(number) - 1]
        if version.delete_marker:
            raise BadRequest(f"number {number} is a deletion and has no content: choose another number")
        return version
