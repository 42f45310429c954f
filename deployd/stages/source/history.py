"""What a mirror says of commits without checking one out: which is newer, what changed, what a file or message says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from deployd.stages.source import git, mirror, objects
from deployd.stages.source.mirror import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from deployd.process import Completed
    from deployd.stages.source.mirror import Mirror

_MOST = 1_000_000  # bytes of one file
_MOST_PACKAGES = 2000
_DEPENDENCIES = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")


@dataclass(frozen=True, slots=True)
class History:
    """A mirror that was fetched a moment ago; commits are full or short ids. What was read once is not read again."""

    mirror: Mirror
    _read: dict[str, objects.Found | None] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def in_folder(cls, git_dir: Path) -> History:
        """Of a bare repository of our own."""
        return cls(mirror.Mirror(git_dir, str(git_dir)))

    def look_ahead(self, branch: str | None, pushed: str | None, paths: Iterable[str]) -> None:
        """Read at once what will be asked of a push: its commits, the default branch's, and these files in them."""
        tip = f"refs/heads/{git.checked_ref(branch)}" if branch else None
        for name in (HEAD, tip, pushed):
            if name:
                self._read.update(dict.fromkeys([f"{name}^{{commit}}", *(f"{name}:{path}" for path in paths)]))
        names = [name for name, found in self._read.items() if found is None]
        self._read.update(zip(names, objects.read(self.mirror.git_dir, names), strict=True))
        for name, found in tuple(self._read.items()):  # a commit is asked for by its id later
            ref, _, path = name.partition(":")
            commit = self._read.get(f"{ref}^{{commit}}")
            if path and commit is not None:
                self._read[f"{commit.oid}:{path}"] = found
            elif commit is None and name.endswith("^{commit}") and found is not None:
                self._read[f"{found.oid}^{{commit}}"] = found

    def default(self) -> str | None:
        """The commit of the far side's default branch; None when it has none."""
        return self._commit(HEAD)

    def tip(self, branch: str) -> str | None:
        """The commit of a branch; None when it is gone."""
        return self._commit(f"refs/heads/{git.checked_ref(branch)}")

    def tagged(self, tag: str) -> str | None:
        """The commit of a tag; None when it is gone."""
        return self._commit(f"refs/tags/{git.checked_ref(tag)}")

    def has(self, commit: str) -> bool:
        """Whether the commit is here."""
        return self._commit(commit) is not None

    def _commit(self, name: str) -> str | None:
        found = self._object(f"{name}^{{commit}}")
        return found.oid if found is not None else None

    def _object(self, name: str) -> objects.Found | None:
        if name not in self._read:
            (self._read[name],) = objects.read(self.mirror.git_dir, [name])
        return self._read[name]

    def is_ancestor(self, one: str, other: str) -> bool:
        """Whether `one` comes before `other` (or is it)."""
        return one == other or self._git("merge-base", "--is-ancestor", one, other).returncode == 0

    def newest(self, branch: str, pushed: str | None) -> str | None:
        """What a push to a branch means by now: the branch's tip, or the pushed commit where it is ahead of that.

        An old delivery that is sent again so brings nothing old back.
        """
        tip = self.tip(branch)
        if pushed is None or tip is None or not self.has(pushed):
            return tip
        return pushed if self.is_ancestor(tip, pushed) else tip

    def changed(self, before: str, after: str) -> tuple[str, ...] | None:
        """The paths that differ between two commits; None when one of them is not here."""
        return self._paths(before, after)

    def _paths(self, *words: str) -> tuple[str, ...] | None:
        done = self._git("diff", "--name-only", "--no-renames", "-z", *words, "--")
        if done.returncode != 0:
            return None
        return tuple(path for path in done.stdout.decode(errors="replace").split("\0") if path)

    def changed_on(self, base: str, commit: str) -> tuple[str, ...] | None:
        """The paths that a branch changed since it left `base`; None when that cannot be told."""
        return self._paths(f"{base}...{commit}")

    def message(self, commit: str) -> str:
        """A commit's message; "" when it is not here."""
        found = self._object(f"{commit}^{{commit}}")
        return _message(found.data) if found is not None else ""

    def file(self, commit: str, path: str) -> str | None:
        """A file's text; None when it is not there."""
        return _text(self._object(f"{commit}:{path}"))

    def used_folders(self, commit: str, subdir: str) -> tuple[str, ...]:
        """The folders of the repository's packages that the package in `subdir` depends on, over any number of steps.

        A package of the repository is told by the `name` in its package.json, whatever the workspace's globs say.
        """
        own = self._package(commit, f"{subdir}/package.json" if subdir else "package.json")
        if own is None:
            return ()
        known = {found["name"]: (folder, found) for folder, found in self._packages(commit) if "name" in found}
        wanted, used = _names(own), set[str]()
        while wanted:
            name = wanted.pop()
            folder, found = known.pop(name, (None, None))
            if folder is not None and found is not None and folder != subdir:
                used.add(folder)
                wanted |= _names(found)
        return tuple(sorted(used))

    def _packages(self, commit: str) -> list[tuple[str, dict[str, Any]]]:
        done = self._git("ls-tree", "-r", "--name-only", "-z", commit)
        paths = [path for path in done.stdout.decode(errors="replace").split("\0") if path.endswith("/package.json")]
        own = [path for path in paths if "/node_modules/" not in f"/{path}"][:_MOST_PACKAGES]
        read = objects.read(self.mirror.git_dir, [f"{commit}:{path}" for path in own])
        packages = [(str(PurePosixPath(path).parent), _parsed(_text(one))) for path, one in zip(own, read, strict=True)]
        return [(folder, package) for folder, package in packages if package is not None]

    def _package(self, commit: str, path: str) -> dict[str, Any] | None:
        return _parsed(self.file(commit, path))

    def _git(self, *words: str) -> Completed:
        return git.run(*words, git_dir=self.mirror.git_dir, check=False, timeout=60.0)


def _text(found: objects.Found | None) -> str | None:
    if found is None or found.kind != "blob" or len(found.data) > _MOST:
        return None
    return found.data.decode(errors="replace")


def _parsed(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _message(commit: bytes) -> str:
    """The message of a commit as git keeps it; it may say in which encoding it is."""
    head, _, message = commit.partition(b"\n\n")
    named = [line.removeprefix(b"encoding ") for line in head.split(b"\n") if line.startswith(b"encoding ")]
    try:
        return message.decode(named[0].decode("ascii") if named else "utf-8", errors="replace")
    except (LookupError, UnicodeDecodeError):
        return message.decode(errors="replace")


def _names(package: dict[str, Any]) -> set[str]:
    parts = [package.get(key) for key in _DEPENDENCIES]
    return {name for part in parts if isinstance(part, dict) for name in part}
