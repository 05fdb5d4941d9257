"""The local folder for uploads and downloads, and the rules for safe names in it.

Names in the cluster may be anything that `wire.names` allows, chosen by anyone. A local name must also stay inside the
folder, follow no link, and not collide with Lockstep's own temporary files. `client.transfers` reads and writes the
contents.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from lockstep_store.wire.errors import BadRequest, LockstepError

DEFAULT_FOLDER = "local_storage"
FOLDER_VARIABLE = "LOCKSTEP_LOCAL_STORAGE"
TEMPORARY_PREFIX = ".lockstep-"
MAX_SEGMENT_BYTES = 255


class LocalFileError(LockstepError):
    """A problem with a local file: unreadable, no space, a refused name."""

    code, status, title = "local_file", 400, "Problem with a local file"


class NameRefused(LocalFileError):
    """A name that leads outside the folder, or that cannot be a file name."""

    code, title = "local_name_refused", "Invalid name"


class FileChanged(LocalFileError):
    """Another program changed the file during the upload."""

    code, title = "file_changed", "File changed while it was sent"


def local_problem(doing: str, path: Path | str, error: OSError) -> LocalFileError:
    """Return the error for a failed system call on a local file."""
    advice = {
        errno.ENOENT: "check the name",
        errno.EACCES: "check its permissions",
        errno.EPERM: "check its permissions",
        errno.EISDIR: "it is a folder; use -r for folders",
        errno.ENOSPC: "free space on that disk and run the command again; it resumes",
        errno.EDQUOT: "your disk quota is used up",
        errno.EROFS: "that disk is read-only",
    }.get(error.errno or 0, "look at that disk")
    return LocalFileError(f"cannot {doing} {path} ({error.strerror or error}): {advice}")


def make_private(folder: Path) -> None:
    """Create a folder, and those above it that are missing, for this user only: names tell others enough."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)


def read_text(path: Path) -> str:
    """Return the content of a file that a person named. LocalFileError, or BadRequest if it is not UTF-8."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise local_problem("read", path, error) from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"{path} is not text") from error


class LocalStorage:
    """Resolves names in a folder. Creates nothing before it is needed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def default(cls) -> LocalStorage:
        """Return the folder `LOCKSTEP_LOCAL_STORAGE`, or `local_storage` in the current folder."""
        return cls(Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER))

    def resolve(self, name: str) -> Path:
        """The path of `name` in the folder. NameRefused if it leads outside or cannot be a file name.

        Links are followed, as long as they lead to another place inside the folder.
        """
        parts = _segments(name)
        home = Path(os.path.realpath(self.root))
        target = self.root.joinpath(*parts)
        real = Path(os.path.realpath(target))
        if not real.is_relative_to(home) or real == home:
            raise NameRefused(f"{shown(name)} leads outside {self.root} through a link: it is left alone")
        return target

    def for_writing(self, name: str) -> Path:
        """Like `resolve`, but creates the folders above the file, and refuses to write through a link."""
        target = self.resolve(name)
        if target.is_symlink():
            raise NameRefused(f"{shown(name)} is a link in {self.root}: remove it there first")
        if target.is_dir():
            raise NameRefused(f"{shown(name)} is a folder in {self.root}: a file cannot take its place")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise NameRefused(f"{shown(name)} needs a folder where {self.root} has a file: it is left alone") from None
        except OSError as error:
            raise local_problem("make the folder", target.parent, error) from error
        return target

    def make_folder(self, name: str) -> None:
        """Create the folder `name`, or the root itself for an empty name; not through a link out of the root."""
        target = self.resolve(name) if name else self.root
        try:
            target.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise NameRefused(f"{shown(name)} needs a folder where {self.root} has a file: it is left alone") from None
        except OSError as error:
            raise local_problem("make the folder", target, error) from error

    def names(self) -> list[str]:
        """The relative names of all regular files in the folder, sorted, without links and temporary files."""
        return sorted(relative for _, relative, skipped in walk_files(self.root) if not skipped)

    def keep_copy_name(self, name: str, stamp: str) -> str:
        """A free name beside `name`, for a copy that must not be overwritten: `notes.txt.unsaved-<stamp>`."""
        for turn in range(1000):
            candidate = f"{name}.{stamp}" if turn == 0 else f"{name}.{stamp}-{turn}"
            if not os.path.lexists(self.resolve(candidate)):
                return candidate
        raise LocalFileError(f"{self.root} already holds a thousand copies of {shown(name)}: remove some")


def _segments(name: str) -> list[str]:
    if not name:
        raise NameRefused("the file name is empty")
    if name.startswith("/"):
        raise NameRefused(f"{shown(name)} starts with a slash: names are relative to the folder")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise NameRefused(f"{shown(name)} is not valid Unicode") from None
    parts = name.split("/")
    for part in parts:
        if part in (".", ".."):
            raise NameRefused(f"{shown(name)} has a {part!r} part: it would lead outside the folder")
        if not part:
            raise NameRefused(f"{shown(name)} has an empty part, which a folder cannot hold")
        if any(ord(character) < 32 or ord(character) == 127 for character in part):
            raise NameRefused(f"{shown(name)} has a control character")
        if part.startswith(TEMPORARY_PREFIX):
            raise NameRefused(f"{shown(name)} begins like Lockstep's own temporary files ({TEMPORARY_PREFIX})")
        if len(part.encode("utf-8")) > MAX_SEGMENT_BYTES:
            raise NameRefused(
                f"{shown(name)} has a part of more than {MAX_SEGMENT_BYTES} bytes, which no folder can hold"
            )
    return parts


def walk_files(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Every file below `root`, in name order: (path, relative name with slashes, reason to skip it).

    Links are never followed, so a tree cannot lead out of itself or around in circles.
    """
    pending = [(root, "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield folder, prefix.rstrip("/") or ".", f"cannot be listed ({error.strerror})"
            continue
        below = []
        for entry in entries:
            relative = prefix + entry.name
            if entry.is_symlink():
                yield Path(entry.path), relative, "is a link, which is not followed"
            elif entry.is_dir(follow_symlinks=False):
                below.append((Path(entry.path), relative + "/"))
            elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                yield Path(entry.path), relative, "is not a regular file"
            elif not entry.name.startswith(TEMPORARY_PREFIX):
                yield Path(entry.path), relative, ""
        pending.extend(reversed(below))


def shown(text: str, limit: int = 120) -> str:
    """Return `text` in quotes for a message, with control characters escaped."""
    return repr(text if len(text) <= limit else text[:limit] + "…")
