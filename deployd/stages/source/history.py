"""What a mirror says of commits without checking one out: which is newer, what changed, what a file or message says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from deployd.stages.source import git, mirror
from deployd.stages.source.mirror import HEAD, commit_of, has

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.process import Completed
    from deployd.stages.source.mirror import Mirror

_MOST = 1_000_000  # bytes of one file
_MOST_PACKAGES = 2000
_DEPENDENCIES = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")


@dataclass(frozen=True, slots=True)
class History:
    """A mirror that was fetched a moment ago; commits are full or short ids."""

    mirror: Mirror

    @classmethod
    def in_folder(cls, git_dir: Path) -> History:
        """Of a bare repository of our own."""
        return cls(mirror.Mirror(git_dir, str(git_dir)))

    def default(self) -> str | None:
        """The commit of the far side's default branch; None when it has none."""
        return commit_of(HEAD, git_dir=self.mirror.git_dir)

    def tip(self, branch: str) -> str | None:
        """The commit of a branch; None when it is gone."""
        return commit_of(f"refs/heads/{git.checked_ref(branch)}", git_dir=self.mirror.git_dir)

    def tagged(self, tag: str) -> str | None:
        """The commit of a tag; None when it is gone."""
        return commit_of(f"refs/tags/{git.checked_ref(tag)}", git_dir=self.mirror.git_dir)

    def has(self, commit: str) -> bool:
        """Whether the commit is here."""
        return has(self.mirror, commit)

    def is_ancestor(self, one: str, other: str) -> bool:
        """Whether `one` comes before `other` (or is it)."""
        return self._git("merge-base", "--is-ancestor", one, other).returncode == 0

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
        done = self._git("log", "-1", "--format=%B", commit, "--")
        return done.text if done.returncode == 0 else ""

    def file(self, commit: str, path: str) -> str | None:
        """A file's text; None when it is not there."""
        done = self._git("cat-file", "blob", f"{commit}:{path}")
        return done.stdout.decode(errors="replace") if done.returncode == 0 and len(done.stdout) <= _MOST else None

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
        found = []
        for path in [path for path in paths if "/node_modules/" not in f"/{path}"][:_MOST_PACKAGES]:
            package = self._package(commit, path)
            if package is not None:
                found.append((str(PurePosixPath(path).parent), package))
        return found

    def _package(self, commit: str, path: str) -> dict[str, Any] | None:
        text = self.file(commit, path)
        try:
            found = json.loads(text or "null")
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def _git(self, *words: str) -> Completed:
        return git.run(*words, git_dir=self.mirror.git_dir, check=False, timeout=60.0)


def _names(package: dict[str, Any]) -> set[str]:
    parts = [package.get(key) for key in _DEPENDENCIES]
    return {name for part in parts if isinstance(part, dict) for name in part}
