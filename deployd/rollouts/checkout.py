"""The source of a release on this machine: a wish comes in, a clean tree at one path goes out.

Next.js writes the checkout's path into what it builds, so each app and environment has one path, or no two builds would
be equal. A process that resumes a rollout checks out anew, and first ends what a dead one's build tools left running.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.errors import DeploydError, SourceError
from deployd.rollouts import values
from deployd.rollouts.wishes import ReleaseWish
from deployd.stages import source as source_stage
from deployd.stages.source import remove

if TYPE_CHECKING:
    from deployd.domain.stages import SourceTree
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json


def source(rollout: Rollout) -> Json:
    """Check the wished tree out."""
    return {**values.to_json(_check_out(rollout)), "attempt": rollout.attempt}


def _check_out(rollout: Rollout) -> SourceTree:
    wish = rollout.wish
    if not isinstance(wish, ReleaseWish) or wish.source is None:
        raise DeploydError("there is no source to check out", code="internal", fix="this is a bug: report it")
    folder = clear(rollout)
    return source_stage.checkout(
        wish.source, mirrors=rollout.paths.mirrors, into=folder, report=rollout.report, cancel=rollout.stop
    )


def here(rollout: Rollout, checked_out: Json) -> SourceTree:
    """The tree as this process checked it out; anew, when another process did and may have begun to build in it."""
    tree = tree_of(checked_out)
    if checked_out["attempt"] == rollout.attempt:
        return tree
    again = _check_out(rollout)
    if again.tree_hash != tree.tree_hash:
        raise SourceError(
            f"{tree.ref} is not any more what it was when the release began",
            code="source-moved",
            live="unchanged",
            fix="release again: deployd release",
        )
    return again


def clear(rollout: Rollout) -> Path:
    """The one checkout folder of the app and environment, removed, with whatever still runs in it ended."""
    folder = rollout.paths.checkouts / f"{rollout.app}-{rollout.environment}"
    if folder.exists():
        for pid in _processes_in(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        remove(folder)
    return folder


def _processes_in(folder: Path) -> list[int]:
    """Processes whose folder is in there: build tools of a deployd that was killed outlive it in their own session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink().is_relative_to(folder.resolve()):
                    found.append(int(entry.name))
    return found


def tree_of(checked_out: Json) -> SourceTree:
    """The tree that `source` kept."""
    return values.source_tree({name: value for name, value in checked_out.items() if name != "attempt"})
