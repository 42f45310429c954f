"""Ids as parsed types: text comes in, a checked `str` subclass goes out, so no unchecked string reaches a path.

Each class has `parse`, which raises `ValueError` with a sentence for people. All of them are `str`, so they
serialise, compare and format as text.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import ClassVar, Self


class _Id(str):
    __slots__ = ()
    pattern: ClassVar[re.Pattern[str]]
    rule: ClassVar[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return `text` as this id; raises ValueError that states the rule."""
        if not cls.pattern.fullmatch(text):
            msg = f"{text!r} is not a valid {cls.noun()}: {cls.rule}"
            raise ValueError(msg)
        return cls(text)

    @classmethod
    def noun(cls) -> str:
        """The id's name for people: `ReleaseId` is "release id"."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()


class AppName(_Id):
    """An app: a DNS label of at most 30 characters that begins with a letter."""

    __slots__ = ()
    pattern = re.compile(r"[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?")
    rule = "use a-z, 0-9 and '-', begin with a letter, end with a letter or digit, at most 30 characters"


class EnvironmentName(_Id):
    """An environment. No '-': unit and socket names join app and environment by one, and must split again."""

    __slots__ = ()
    pattern = re.compile(r"[a-z][a-z0-9]{0,15}")
    rule = "use a-z and 0-9, begin with a letter, at most 16 characters"


class HostName(_Id):
    """A host's name in deployd (not its address)."""

    __slots__ = ()
    pattern = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
    rule = "use a-z, 0-9, '.' and '-', at most 63 characters"


class ReleaseId(_Id):
    """A release: a DNS label of at most 40 characters that sorts by time and shows the commit's short hash."""

    __slots__ = ()
    pattern = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-z]{7}-[0-9a-z]{4}")
    rule = "it looks like 20261121-101530-3fa9c01-k2x7"

    @classmethod
    def new(cls, *, commit: str | None, at: datetime | None = None) -> Self:
        """Make a fresh id; `commit` is a full hash, or None for a tree that has none (shown as `nocommi`)."""
        moment = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%d-%H%M%S")
        short = (commit or "nocommit")[:7].lower()
        tail = "".join(secrets.choice("0123456789abcdefghjkmnpqrstvwxyz") for _ in range(4))
        return cls.parse(f"{moment}-{short}-{tail}")


class RolloutId(_Id):
    """A rollout; sorts by time."""

    __slots__ = ()
    pattern = re.compile(r"r-[0-9]{8}-[0-9]{6}-[0-9a-z]{6}")
    rule = "it looks like r-20261121-101530-k2x7ab"

    @classmethod
    def new(cls, *, at: datetime | None = None) -> Self:
        """Make a fresh id."""
        moment = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%d-%H%M%S")
        tail = "".join(secrets.choice("0123456789abcdefghjkmnpqrstvwxyz") for _ in range(6))
        return cls.parse(f"r-{moment}-{tail}")


class BuildId(_Id):
    """Hash of the source tree and the build's inputs, known before the build; Next.js's deployment id."""

    __slots__ = ()
    pattern = re.compile(r"b[0-9a-f]{20}")
    rule = "a 'b' and 20 hex digits"


class ArtifactName(_Id):
    """An artifact, named by its content."""

    __slots__ = ()
    pattern = re.compile(r"a[0-9a-f]{32}")
    rule = "an 'a' and 32 hex digits"


class RuntimeName(_Id):
    """A runtime: `node-22.22.3-linux-x64-glibc`."""

    __slots__ = ()
    pattern = re.compile(r"node-[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}-linux-(?:x64|arm64)-(?:glibc|musl)")
    rule = "it looks like node-22.22.3-linux-x64-glibc"

    @property
    def version(self) -> str:
        """The Node.js version: `22.22.3`."""
        return self.split("-")[1]

    @property
    def cpu(self) -> str:
        """`x64` or `arm64`."""
        return self.split("-")[3]

    @property
    def libc(self) -> str:
        """`glibc` or `musl`."""
        return self.split("-")[4]
