"""What builds keep for the next ones: entries below one folder come in, a list, a smaller folder, or a file goes out.

    caches/<app>/<environment>/installs/<key>/     installed packages by what decides an install
    caches/<app>/<environment>/kept/<branch>/      what the framework keeps: .next/cache, .turbo/cache, ...
    caches/<app>/<environment>/stores/             what package managers fetched

What one environment's builds left is never in reach of another's: a pull request's build must not write what
production's will run. Each entry has a `record.json`, whose time says when it was last used.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from deployd import process, sandbox
from deployd.domain.quantity import format_size
from deployd.errors import CommandError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Kind = Literal["installs", "kept", "stores"]
RECORD = "record.json"
_KINDS: tuple[Kind, ...] = ("installs", "kept", "stores")
_LEFT_OVER = 24 * 3600.0
_TAR = ("--numeric-owner", "--one-file-system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that is kept. `used` is in seconds since the epoch, `folder` absolute."""

    app: str
    environment: str
    kind: Kind
    name: str
    size: int
    used: float
    folder: str

    def to_json(self) -> dict[str, Any]:
        """The entry for scripts, without its folder."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}


def zone(caches: Path, environment: str) -> Path:
    """The folder of an environment's entries in the app's own cache folder."""
    return caches / (environment or "any")


def entries(caches: Path, *, app: str | None = None) -> list[Entry]:
    """All entries below the folder of all apps' caches, or those of one app, the one that was used last first."""
    found: list[Entry] = []
    for place in sorted(caches.glob("*/*")):
        name = place.parent.name
        real = place.is_dir() and not place.is_symlink() and not place.parent.is_symlink()
        if real and not name.startswith(".") and app in (None, name.removesuffix(".alone")):
            found += _in_zone(place)
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def _in_zone(place: Path) -> Iterator[Entry]:
    for kind in _KINDS:
        folders = [place / kind] if kind == "stores" else sorted((place / kind).glob("[!.]*"))
        for folder in folders:
            if not folder.is_dir():
                continue
            with contextlib.suppress(OSError):  # it was moved into a build at this moment
                known = read(folder)
                if known.get("bytes") is None:
                    write(folder, known | {"bytes": size_of(folder)}, used=_used(folder))
                yield Entry(
                    app=place.parent.name,
                    environment=place.name,
                    kind=kind,
                    name=str(known.get("branch") or folder.name),
                    size=int(read(folder).get("bytes") or 0),
                    used=_used(folder),
                    folder=str(folder),
                )


def _used(folder: Path) -> float:
    record = folder / RECORD
    return (record if record.exists() else folder).stat().st_mtime


def read(folder: Path) -> dict[str, Any]:
    """An entry's record; empty when there is none, or a damaged one."""
    try:
        record = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write(folder: Path, record: dict[str, Any], *, used: float | None = None) -> None:
    """Write an entry's record; `used` is now unless given."""
    aside = folder / f".{RECORD}.{os.getpid()}"
    aside.write_text(json.dumps(record))
    when = time.time() if used is None else used
    os.utime(aside, (when, when))
    aside.rename(folder / RECORD)


def size_of(folder: Path) -> int:
    """The bytes on disk of a folder; a file with several names counts once."""
    total, seen, waiting = 0, set[int](), [str(folder)]
    while waiting:
        with contextlib.suppress(FileNotFoundError), os.scandir(waiting.pop()) as found:
            for item in found:
                if item.is_dir(follow_symlinks=False):
                    waiting.append(item.path)
                    continue
                info = item.stat(follow_symlinks=False)
                if info.st_nlink == 1 or info.st_ino not in seen:
                    total += info.st_blocks * 512
                    seen.add(info.st_ino)
    return total


def put(fresh: Path, target: Path) -> None:
    """Put a finished folder in an entry's place; a reader meets the old one or the new one."""
    trash = _trash(target.parent)
    with contextlib.suppress(FileNotFoundError):
        target.rename(trash / "old")
    fresh.rename(target)
    shutil.rmtree(trash, ignore_errors=True)


def _trash(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent, prefix=".trash-"))


@contextmanager
def held(place: Path, kind: Kind, *, alone: bool, wait: bool = True) -> Iterator[bool]:
    """Hold a zone's entries of one kind, with others or alone; False where another holds them and `wait` is off."""
    place.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place / f".{kind}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def clear(chosen: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Remove entries. Returns those that are gone, and those that a build is using and therefore stay."""
    gone, busy = list[Entry](), list[Entry]()
    for entry in chosen:
        (gone if _removed(entry) else busy).append(entry)
    return gone, busy


def _removed(entry: Entry) -> bool:
    folder = Path(entry.folder)
    place = folder.parent if entry.kind == "stores" else folder.parent.parent
    with held(place, entry.kind, alone=True, wait=False) as mine:
        if not mine:
            return False
        trash = _trash(folder.parent)
        with contextlib.suppress(FileNotFoundError):  # it was moved into a build at this moment
            folder.rename(trash / "old")
    shutil.rmtree(trash, ignore_errors=True)
    return True


def keep_within(caches: Path, budget: int) -> list[Entry]:
    """Remove what was used least recently until all entries together take at most `budget` bytes; returns what went."""
    _sweep(caches)
    found = entries(caches)
    total, gone = sum(entry.size for entry in found), list[Entry]()
    for entry in reversed(found):
        if total <= budget:
            break
        if _removed(entry):
            total -= entry.size
            gone.append(entry)
    return gone


def _sweep(caches: Path) -> None:
    """Remove what a deployd that was killed left half-way, once it is older than any build."""
    for pattern in ("*/*/.run-*", "*/*/.trash-*", "*/*/*/.trash-*", "*/*/*/.new-*", ".import-*"):
        for rest in caches.glob(pattern):
            with contextlib.suppress(OSError):
                if time.time() - rest.stat().st_mtime > _LEFT_OVER:
                    shutil.rmtree(rest, ignore_errors=True)


def export(caches: Path, file: Path, *, app: str | None = None) -> list[Entry]:
    """Write the entries to a tar file, packed as its name says (.tar.gz); raises NotFoundError, UsageError."""
    found = entries(caches, app=app)
    if not found:
        raise NotFoundError(
            "there is no cache to export" + (f" of {app}" if app else ""),
            code="cache-empty",
            fix="build once: deployd release, or deployd build",
        )
    if not file.absolute().parent.is_dir():
        raise UsageError(
            f"there is no folder {file.absolute().parent}", code="cache-file", fix="make it, or name another file"
        )
    names = [str(Path(entry.folder).relative_to(caches)) for entry in found]
    aside = file.absolute().with_name(f".{os.getpid()}-{file.name}")
    try:
        process.run(
            [
                "tar",
                "--create",
                "--auto-compress",
                *_TAR,
                "--file",
                str(aside),
                "--directory",
                str(caches),
                "--",
                *names,
            ],
            timeout=3600,
        )
        aside.chmod(0o600)  # it may hold what builds fetched
        aside.rename(file)
    except CommandError as error:
        raise UsageError(
            f"{file} could not be written", code="cache-file", details=error.details, fix="name it NAME.tar.gz or .tar"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    return found


def import_(caches: Path, file: Path) -> list[str]:
    """Take in the entries of a tar file instead of those of the same name; raises UsageError. Returns their names.

    Builds run what is in it: take in only what `export` wrote on a machine that is trusted as this one is.
    """
    if not file.is_file():
        raise UsageError(
            f"there is no file {file}", code="cache-file", fix="name one that `deployd cache export` wrote"
        )
    with tempfile.TemporaryDirectory(dir=caches, prefix=".import-") as folder:
        aside = Path(folder)
        try:
            process.run(
                [
                    "tar",
                    "--extract",
                    *_TAR[:1],
                    "--file",
                    str(file.absolute()),
                    "--directory",
                    folder,
                    "--no-same-owner",
                ],
                timeout=3600,
            )
        except CommandError as error:
            raise UsageError(
                f"{file} is no cache: tar could not read it",
                code="cache-file",
                details=error.details,
                fix="name one that `deployd cache export` wrote",
            ) from error
        found = entries(aside)
        if not found:
            raise UsageError(
                f"{file} holds no cache", code="cache-file", fix="name one that `deployd cache export` wrote"
            )
        for entry in found:
            fresh = Path(entry.folder)
            sandbox.give(fresh)
            target = caches / fresh.relative_to(aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            place = target.parent if entry.kind == "stores" else target.parent.parent
            with held(place, entry.kind, alone=True, wait=False) as mine:
                if not mine:
                    raise UsageError(
                        f"a build of {entry.app} is using its caches",
                        code="cache-busy",
                        fix="wait until it ended: deployd rollouts",
                    )
                put(fresh, target)
    return [f"{entry.app} {entry.environment} {entry.kind} {entry.name} ({format_size(entry.size)})" for entry in found]
