"""Repositories that people push to over SSH: where they are, and how a push that is not accepted yet is looked at.

git keeps what a push brings apart until its pre-receive hook says yes, and only that hook sees it. So each app has two
bare repositories: `<app>.git`, which people push to, and `<app>.checked.git`, which the hook copies a branch to for the
daemon to fetch and build; where the release fails, the copy is taken back and the push refused. Pushes of one ref take
turns: git would notice a second one only after its release is live.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.stages.source import git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# not GIT_QUARANTINE_PATH: the far half of the push would inherit it, and refuse to change its own refs
_QUARANTINE = ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
_DEFAULTS = ("refs/heads/main", "refs/heads/master")
_MOVING = 10.0  # seconds that git may take to move a ref after its hook
_OFD_SETLK = 37  # fcntl.F_OFD_SETLK, of the open file and not of the process; Python 3.11 has no name for it
_LARGEST = 2 * 1024**3  # bytes of one push


@dataclass(frozen=True, slots=True, kw_only=True)
class Repositories:
    """The two repositories of an app, below `folder`."""

    folder: Path
    app: str

    @property
    def pushed(self) -> Path:
        """What people push to."""
        return self.folder / f"{self.app}.git"

    @property
    def checked(self) -> Path:
        """What the daemon fetches from."""
        return self.folder / f"{self.app}.checked.git"

    def make(self) -> None:
        """Make both, once."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.pushed, self.checked):
            if not (path / "HEAD").exists():
                git.run("init", "--quiet", "--bare", "--initial-branch=main", "--", str(path))

    def take_turn(self, ref: str) -> int | None:
        """Hold a ref for this process alone, until the descriptor is closed; None while another process does."""
        where = int.from_bytes(hashlib.sha256(ref.encode(errors="surrogateescape")).digest()[:4], "big")
        descriptor = os.open(self.folder / f"{self.app}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, where, 1, 0)
        try:
            fcntl.fcntl(descriptor, _OFD_SETLK, wanted)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def moved(self, ref: str, before: str | None) -> bool:
        """Whether a ref is no longer what a push found when it began. Only with its turn held.

        The push before us leaves its turn a moment before git moves the ref: what is shown and not there yet is
        waited for.
        """
        deadline = time.monotonic() + _MOVING
        while True:
            if _id_of(ref, self.pushed) != before:
                return True
            if _id_of(ref, self.checked) in {before, None} or time.monotonic() > deadline:
                return False
            time.sleep(0.05)

    def stays(self, ref: str) -> bool:
        """Whether a ref must not be deleted: deployd.toml of `main` (or `master`) says what every branch is for."""
        return ref in _DEFAULTS and ref == git.run("symbolic-ref", "HEAD", git_dir=self.checked).text.strip()

    def commit(self, pushed: str) -> str | None:
        """The commit that a pushed object (a commit, or an annotated tag) means. Only in the push's hook."""
        done = git.run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{pushed}^{{commit}}", env=_inside(), check=False
        )
        return done.text.strip() or None if done.returncode == 0 else None

    def show(self, ref: str, pushed: str) -> None:
        """Copy what is being pushed to a ref, so that the daemon sees it there. Only in the push's hook."""
        git.run("push", "--quiet", "--force", str(self.checked), f"{pushed}:{ref}", env=_inside())
        if ref.startswith("refs/heads/"):
            self._head(self.checked, ref)

    def take_back(self, ref: str, before: str | None) -> None:
        """Let the ref be what it was (or gone)."""
        words = ("update-ref", ref, before) if before else ("update-ref", "-d", ref)
        git.run(*words, git_dir=self.checked)

    def at(self, ref: str) -> str | None:
        """What the daemon sees of a ref."""
        return _id_of(ref, self.checked)

    def _head(self, path: Path, ref: str) -> None:
        """The default branch is `main`, or else `master`, or else the first that was pushed."""
        named = git.run("symbolic-ref", "HEAD", git_dir=path).text.strip()
        better = _DEFAULTS[: _DEFAULTS.index(named)] if named in _DEFAULTS else _DEFAULTS
        if ref in better or _id_of(named, path) is None:
            git.run("symbolic-ref", "HEAD", ref, git_dir=path)


def _id_of(ref: str, git_dir: Path) -> str | None:
    """The id that a ref has in a repository; an annotated tag's is its own."""
    done = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", ref, git_dir=git_dir, check=False)
    return done.text.strip() or None if done.returncode == 0 else None


def _inside() -> dict[str, str]:
    """What git gave its hook, so that it sees objects which are not accepted yet."""
    return {name: os.environ[name] for name in _QUARANTINE if name in os.environ}


def receive_argv(repository: Path, hooks: Path) -> tuple[str, ...]:
    """The program that takes a push, with our hook and nobody else's settings."""
    settings = (
        f"core.hooksPath={hooks}",
        "safe.directory=*",
        "transfer.fsckObjects=true",
        "receive.denyDeletes=false",
        "receive.denyNonFastForwards=false",
        "receive.autogc=false",
        f"receive.maxInputSize={_LARGEST}",
    )
    words = [word for setting in settings for word in ("-c", setting)]
    return ("git", *words, "receive-pack", str(repository))


def receive_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What `receive-pack` and its hook get: no setting of the machine's or of the pusher's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "GIT_PROTOCOL") if name in os.environ}
    return kept | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"} | dict(extra)
