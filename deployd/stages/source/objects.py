"""Names of a repository's objects come in, what it has under each goes out: one git for all of them.

A git takes 5 to 10 ms to start, and a push is looked at with a dozen questions before its build may begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.stages.source import git

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

_HEAD_FIELDS = 3  # id, kind, size


@dataclass(frozen=True, slots=True)
class Found:
    """An object: its full id, `commit`, `tree`, `blob` or `tag`, and its bytes."""

    oid: str
    kind: str
    data: bytes


def read(git_dir: Path, names: Sequence[str], *, cancel: threading.Event | None = None) -> tuple[Found | None, ...]:
    """What each name (`refs/heads/main^{commit}`, `<commit>:<path>`) is; None where there is nothing of that name."""
    asked = [name for name in names if name and "\n" not in name and "\0" not in name]
    lines = "".join(f"{name}\n" for name in asked).encode(errors="surrogateescape")
    done = git.run("cat-file", "--batch", git_dir=git_dir, check=False, stdin=lines, cancel=cancel) if asked else None
    try:
        found = _parsed(done.stdout, len(asked)) if done else []
    except (ValueError, IndexError):  # more than is kept of a program's output, or git ended in the middle
        if len(asked) == 1:
            return (None,) * len(names)
        found = [read(git_dir, [name], cancel=cancel)[0] for name in asked]
    known = dict(zip(asked, found, strict=True))
    return tuple(known.get(name) for name in names)


def _parsed(output: bytes, count: int) -> list[Found | None]:
    """The replies of `cat-file --batch`, in order. Raises ValueError or IndexError when they are not all there."""
    found: list[Found | None] = []
    at = 0
    while len(found) < count:
        end = output.index(b"\n", at)
        head = output[at:end]
        at = end + 1
        if head.endswith((b" missing", b" ambiguous")):
            found.append(None)
            continue
        fields = head.split(b" ")
        if len(fields) != _HEAD_FIELDS:
            raise ValueError(head[:100])
        size = int(fields[2])
        if output[at + size : at + size + 1] != b"\n":
            raise ValueError(size)
        found.append(Found(fields[0].decode(), fields[1].decode(), output[at : at + size]))
        at += size + 1
    return found
