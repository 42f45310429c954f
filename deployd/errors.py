"""The one error shape, and the tree of errors.

    DeploydError                what, code, host, live, details, fix, docs, exit_code, retryable
    ├── UsageError              2  wrong usage or configuration; nothing was tried
    │   └── ConfigError         2  a setting or deployd.toml is wrong
    ├── SourceError             1  the commit could not be had
    │   └── RefError            2  the repository has no such branch, tag or commit; nothing was tried
    ├── BuildError              1  install or build failed
    ├── PackageError            1  the files could not be traced or packaged
    ├── CommandError            1  a local program failed
    ├── SandboxError            1  this machine cannot contain what an app's code does
    ├── CertificateError        1  a certificate cannot be had, or is of no use
    ├── HostError               1  a host refused or failed
    │   ├── UnreachableError    6  no connection; nothing changed
    │   ├── HostKeyError        6  the host key is not the pinned one
    │   ├── HostLockedError     4  another rollout holds the app on that host
    │   └── ProbeError          1  the release did not become healthy
    ├── BusyError               4  another rollout or process holds this
    ├── NotFoundError           2  a name that does not exist
    ├── NotAllowedError         5  not allowed
    ├── EngineError             1  the engine lost a rollout
    ├── DatabaseError           1  the database cannot be used
    ├── StorageError            1  the store of artifacts that daemons share cannot be used
    ├── CancelledError          130
    ├── SupersededError         7
    └── PartlyLiveError         3  needs a person

`code` is kebab-case, and listed in docs/errors.md. `live` says what is live now; with `fix` it is mandatory for
whatever touches a host. Errors survive pickling, because the engine checkpoints them.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar, Self, TypeVar

_E = TypeVar("_E", bound="DeploydError")
_NO_ROOM = "make room on this machine (`df -h`, `df -i`), then run the command again"
_NOT_YOURS = "run it as a user that may, or name another folder with --app-dir or --state-dir"
_OF_THE_MACHINE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EACCES: _NOT_YOURS,
    errno.EPERM: _NOT_YOURS,
    errno.EROFS: _NOT_YOURS,
    errno.EMFILE: "raise the limit of open files (`ulimit -n`), then run the command again",
    errno.ENOMEM: "free some memory, then run the command again",
    errno.EIO: "look at the disk (`dmesg`), then run the command again",
}


class DeploydError(Exception):
    """An error for people: what happened, on which host, what is live now, and what to do."""

    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "failed"

    def __init__(
        self,
        what: str,
        *,
        fix: str,
        code: str | None = None,
        host: str | None = None,
        live: str | None = None,
        details: str | None = None,
        docs: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.code = code or self.default_code
        self.host = host
        self.live = live
        self.details = details
        self.docs = docs
        self.retryable = retryable

    def fields(self) -> dict[str, Any]:
        """The constructor's arguments, as keyword arguments."""
        return {
            "what": self.what,
            "fix": self.fix,
            "code": self.code,
            "host": self.host,
            "live": self.live,
            "details": self.details,
            "docs": self.docs,
            "retryable": self.retryable,
        }

    def to_json(self) -> dict[str, Any]:
        """The body of `{"error": ...}`."""
        return {
            "code": self.code,
            "what": self.what,
            "host": self.host,
            "live": self.live,
            "details": self.details,
            "fix": self.fix,
            "docs": self.docs or f"errors.md#{self.code}",
        }

    def but(self, **changes: Any) -> Self:
        """The same error with some fields changed (for example `live`, once it is known)."""
        return _rebuild(type(self), self.fields() | changes)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.fields()))


def on_host(name: str, what: str) -> str:
    """`what`, said of the host once: many an error's words begin with its name already."""
    return what if what.startswith((f"{name}: ", f"{name} ")) else f"{name}: {what}"


def _rebuild(cls: type[_E], fields: dict[str, Any]) -> _E:
    return cls(**fields)


class UsageError(DeploydError):
    """Wrong usage; nothing was tried."""

    exit_code = 2
    default_code = "usage"


class ConfigError(UsageError):
    """A setting or `deployd.toml` is wrong; nothing was tried."""

    default_code = "config-invalid"


class NotFoundError(UsageError):
    """A host, release or rollout of that name does not exist."""

    default_code = "not-found"


class SourceError(DeploydError):
    """The commit could not be had."""

    default_code = "source-failed"


class RefError(SourceError):
    """A branch, tag or commit that the repository does not have, or that none can be."""

    exit_code = 2
    default_code = "ref-unknown"


class BuildError(DeploydError):
    """The install or the app's build failed."""

    default_code = "build-failed"


class PackageError(DeploydError):
    """The files could not be traced or packaged."""

    default_code = "package-failed"


class CommandError(DeploydError):
    """A local program failed."""

    default_code = "command-failed"


class SandboxError(DeploydError):
    """This machine cannot contain what an app's code does; none of it was run."""

    default_code = "sandbox-refused"


class CertificateError(DeploydError):
    """A certificate could not be had from its authority, or is of no use for the app's names."""

    default_code = "certificate-failed"


class HostError(DeploydError):
    """A host refused or failed."""

    default_code = "host-failed"


class UnreachableError(HostError):
    """No connection to a host; nothing was changed there."""

    exit_code = 6
    default_code = "host-unreachable"


class HostKeyError(UnreachableError):
    """The host's key is not the pinned one."""

    default_code = "host-key-changed"


class HostLockedError(HostError):
    """Another rollout holds this app on the host."""

    exit_code = 4
    default_code = "lock-held"


class ProbeError(HostError):
    """The release did not become healthy."""

    default_code = "probe-failed"


class BusyError(DeploydError):
    """Another process or rollout holds this."""

    exit_code = 4
    default_code = "busy"


class NotAllowedError(DeploydError):
    """Not allowed."""

    exit_code = 5
    default_code = "not-allowed"


class EngineError(DeploydError):
    """The engine lost a rollout: its kept steps do not fit the recipe, or the database failed."""

    default_code = "engine-failed"


class DatabaseError(DeploydError):
    """The database cannot be used: it is away, refuses, or was written by another version."""

    default_code = "database-failed"


class StorageError(DeploydError):
    """The store of artifacts that daemons share cannot be used."""

    default_code = "storage-failed"


class CancelledError(DeploydError):
    """Cancelled by a person or a signal."""

    exit_code = 130
    default_code = "cancelled"


class SupersededError(DeploydError):
    """A newer rollout took over."""

    exit_code = 7
    default_code = "superseded"


class PartlyLiveError(DeploydError):
    """Some hosts have the new release and some the old: needs a person."""

    exit_code = 3
    default_code = "partly-live"


def machine_refused(error: OSError) -> DeploydError | None:
    """What this machine refused (no room, no right to write), as people are told; None for what may be a bug."""
    fix = _OF_THE_MACHINE.get(error.errno or 0)
    if fix is None:
        return None
    place = f"{error.filename}: " if error.filename else ""
    return DeploydError(f"this machine refused: {place}{error.strerror}", code="machine-refused", fix=fix)
