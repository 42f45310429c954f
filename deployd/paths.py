"""Every path of deployd's own, in one place: what is in the state folder, and where the shipped data files are."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deployd.errors import ConfigError


def default_state_dir() -> Path:
    """`/var/lib/deployd` as root, otherwise `$XDG_STATE_HOME/deployd`."""
    if os.geteuid() == 0:
        return Path("/var/lib/deployd")
    return Path(os.environ.get("XDG_STATE_HOME") or home() / ".local" / "state") / "deployd"


def cache_dir() -> Path:
    """For what can be made again: `/var/cache/deployd` as root, else `$XDG_CACHE_HOME/deployd`."""
    if os.geteuid() == 0:
        return Path("/var/cache/deployd")
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache") / "deployd"


def home() -> Path:
    """The person's own folder; raises ConfigError when there is none."""
    try:
        return Path.home()
    except RuntimeError as error:  # a user without an entry in passwd, and no HOME
        raise ConfigError(
            "this user has no home folder",
            code="state-dir-unusable",
            fix="name a folder that you can write, with --state-dir or DEPLOYD_STATE_DIR",
        ) from error


def data_dir(name: str) -> Path:
    """A shipped folder, `playbooks`, `systemd` or `etc`: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).parent
    inside = package / "_data" / name
    return inside if inside.is_dir() else package.parent / name


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The state folder: everything deployd keeps. Only its owner reads it (0700)."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by flock by the one process that owns the folder; its text says who."""
        return self.root / "lock"

    @property
    def socket(self) -> Path:
        """The daemon's own unix socket; whoever reads this folder may speak there."""
        return self.root / "deployd.sock"

    @property
    def database(self) -> Path:
        """SQLite: our tables and the engine's."""
        return self.root / "deployd.sqlite"

    @property
    def key(self) -> Path:
        """The key that encrypts secrets, 0600; systemd may give it to the daemon as the credential `deployd-key`."""
        given = os.environ.get("CREDENTIALS_DIRECTORY")
        credential = Path(given) / "deployd-key" if given else None
        return credential if credential and credential.exists() else self.root / "key"

    @property
    def ssh_key(self) -> Path:
        """The private key that hosts accept for the deployd user, 0600; `.pub` beside it."""
        return self.root / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Pinned host keys in OpenSSH's format, written from the store for rsync's ssh."""
        return self.root / "ssh" / "known_hosts"

    @property
    def mirrors(self) -> Path:
        """Bare git mirrors."""
        return self.root / "mirrors"

    @property
    def checkouts(self) -> Path:
        """Source trees being built, one folder for each attempt."""
        return self.root / "checkouts"

    @property
    def caches(self) -> Path:
        """Build caches, one folder for each app."""
        return self.root / "caches"

    @property
    def artifacts(self) -> Path:
        """`objects/ab/<sha256>` and `manifests/<name>.json`."""
        return self.root / "artifacts"

    @property
    def runtimes(self) -> Path:
        """Pinned Node.js binaries."""
        return self.root / "runtimes"

    @property
    def logs(self) -> Path:
        """One build log for each rollout."""
        return self.root / "logs"

    def make(self) -> StatePaths:
        """Make the folder and its children, for the owner only; raises ConfigError."""
        os.umask(0o077)
        inner = (self.mirrors, self.checkouts, self.caches, self.artifacts, self.runtimes, self.logs)
        try:
            for folder in (self.root, self.root / "ssh", *inner):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the state folder {self.root} cannot be made: {error.strerror}",
                code="state-dir-unusable",
                fix="name a folder that you can write, with --state-dir or DEPLOYD_STATE_DIR",
            ) from error
        return self

    def hand_over(self) -> None:
        """Give what root made in another user's state folder to that user, so that the daemon can use it."""
        if os.geteuid() != 0 or not self.root.is_dir():
            return
        owner = self.root.stat()
        if owner.st_uid == 0:
            return
        for folder, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                path = f"{folder}/{name}"
                with suppress(FileNotFoundError):
                    if os.lstat(path).st_uid == 0:
                        os.lchown(path, owner.st_uid, owner.st_gid)
